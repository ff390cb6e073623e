"""How long tests wait: for what will come true at some point, and for what must be done in time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

import valkey

ANSWER_SECONDS = 3
"""Nobody waits longer than this for an answer, whatever happens to Valkey."""

PATIENCE_SECONDS = 60
"""Patience, not a promise: a busy machine takes several times as long as an idle one."""

Result = TypeVar("Result")


def wait_until(condition: Callable[[], Result], seconds: float = PATIENCE_SECONDS) -> Result:
    """What the condition returns, once that is true. A Valkey that cannot be asked yet counts as false."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(valkey.ValkeyError):
            if found := condition():
                return found
        waited = time.monotonic() - began
        assert waited < seconds, f"still not true after {seconds} s"
        time.sleep(min(0.5, 0.01 + waited / 50))


def in_time(seconds: float, work: Callable[[], Result]) -> Result:
    """What work returns. It must take less than so many seconds in one of three tries: a busy machine may stall."""
    for _ in range(3):
        began = time.monotonic()
        result = work()
        if time.monotonic() - began < seconds:
            return result
    raise AssertionError(f"not within {seconds} s, three times")
