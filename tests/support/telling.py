"""Lines for the report of a test run, such as figures that a test has seen; pytest-xdist's workers hand them over."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

KEY = "told"
"""The name under which a worker hands over its lines."""


def tell(request: pytest.FixtureRequest, line: str) -> None:
    """Adds a line to the report; without workers it is printed at once."""
    if hand_over(request.config, line):
        return
    plugins = request.config.pluginmanager
    reporter, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")
    if reporter and capture:
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(line)


@contextlib.contextmanager
def tallied(request: pytest.FixtureRequest, tried: Counter[str], line: str) -> Iterator[None]:
    """Counts anew, and tells at the end how much was tried: `line` has a place for the total; its parts follow."""
    tried.clear()
    yield
    parts = ", ".join(f"{count} {name}" for name, count in sorted(tried.items()))
    tell(request, f"{line.format(tried.total())} ({parts})")


def hand_over(config: pytest.Config, line: str) -> bool:
    """Keeps a line for the end if this is a worker; returns whether it is."""
    output: dict[str, Any] | None = getattr(config, "workeroutput", None)
    if output is not None:
        output.setdefault(KEY, []).append(line)
    return output is not None


def handed_over(node: Any) -> list[str]:
    """The lines of a worker that has ended."""
    lines: list[str] = getattr(node, "workeroutput", {}).get(KEY, [])
    return lines
