"""How long tests wait: for what will be so one day, and for what must be so in time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

import valkey

ANSWER_SECONDS = 3
"""Nobody waits longer for an answer, whatever happens to Valkey."""

PATIENCE_SECONDS = 60
"""A patience, not a promise: a busy machine takes several times as long as another."""

Result = TypeVar("Result")


def wait_until(condition: Callable[[], Result], seconds: float = PATIENCE_SECONDS) -> Result:
    """What it returns, once that is true. A Valkey that cannot be asked yet is one of which it is not."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(valkey.ValkeyError):
            if found := condition():
                return found
        waited = time.monotonic() - began
        assert waited < seconds, f"not so after {seconds} s"
        time.sleep(min(0.5, 0.01 + waited / 50))


def in_time(seconds: float, work: Callable[[], Result]) -> Result:
    """What work returns, which takes less than so many seconds: once in three, for a busy machine may stand still."""
    for _ in range(3):
        began = time.monotonic()
        result = work()
        if time.monotonic() - began < seconds:
            return result
    raise AssertionError(f"not within {seconds} s, three times")
