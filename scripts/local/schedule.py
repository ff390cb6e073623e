"""The schedule on this machine: calls the reconcile function at intervals, as EventBridge does on AWS."""

from __future__ import annotations

import contextlib
import datetime
import io
import math
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TextIO

from functions.reconcile import handler
from scripts.local import proxy
from shared import config, logs
from shared.store import store

FUNCTION = f"leaderboard-{proxy.STAGE}-reconcile"
INTERVAL_SECONDS = 30
END_SECONDS = 0.2
TELLING = ("found", "mended", "unreadable")
"""What a run reports if it did something: one whose report has 0 in all of these is not worth a line here."""


class Watch(Protocol):
    """Who is told of the runs, and of what they wrote that nobody needs to read."""

    def invocation(self, function: str) -> contextlib.AbstractContextManager[None]:
        """Stands around each run."""

    def hushed(self, text: str) -> None:
        """Hears of a run's log that was not printed."""


class _Holding(io.TextIOBase):
    """Standard output that holds back what one thread writes; `take` hands it out and starts anew."""

    def __init__(self, real: TextIO, thread: threading.Thread):
        self._real, self._thread = real, thread
        self._held: list[str] = []

    def write(self, text: str) -> int:
        """Passes on only what the other threads write."""
        if threading.current_thread() is not self._thread:
            return self._real.write(text)
        self._held.append(text)
        return len(text)

    def flush(self) -> None:
        self._real.flush()

    def isatty(self) -> bool:
        return self._real.isatty()

    def take(self) -> str:
        """What was held back since the last call."""
        text = "".join(self._held)
        self._held.clear()
        return text


def interval_seconds(environ: Mapping[str, str]) -> float:
    """How long the schedule waits between two runs. Raises MisconfiguredError."""
    text = environ.get("RECONCILE_SECONDS", "").strip()
    try:
        value = float(text) if text else INTERVAL_SECONDS
    except ValueError:
        value = math.nan
    if not 0.05 <= value <= 86_400:
        raise config.MisconfiguredError(f"RECONCILE_SECONDS is {text!r}: it should be a number from 0.05 to 86400")
    return value


def invoke(event: dict[str, Any], seconds: float = proxy.FUNCTION_SECONDS) -> dict[str, Any]:
    """What the reconcile function returns for an event, called as Lambda calls it with so many seconds to run."""
    return handler.handler(event, proxy.Context(seconds, "reconcile"))


@contextlib.contextmanager
def running(seconds: float, watch: Watch | None = None) -> Iterator[None]:
    """Calls the function now, and again this many seconds after each run, on a thread of its own, until the block ends.

    Prints a run's log if the run failed, or if it found, mended or could not read something. The end of the block does
    not wait for a run: the next one does what that leaves undone.
    """
    stopping = threading.Event()
    real = sys.stdout
    thread = threading.Thread(
        target=lambda: _run(stopping, seconds, held.take, real, watch), name="schedule", daemon=True
    )
    held = _Holding(real, thread)
    sys.stdout = held
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(END_SECONDS)
        if not thread.is_alive():  # otherwise what it still writes stays held back
            sys.stdout = real


def _run(
    stopping: threading.Event, seconds: float, take: Callable[[], str], output: TextIO, watch: Watch | None
) -> None:
    while not stopping.is_set():
        matters = True
        try:
            with watch.invocation("reconcile") if watch else contextlib.nullcontext():
                report = invoke(_event())
            matters = any(report[name] for name in TELLING)
        except Exception as error:
            logs.write("ERROR", "reconcile failed", cause=type(error).__name__)
        text = take()
        if matters and not stopping.is_set():
            output.write(text)
            output.flush()
        elif watch:
            watch.hushed(text)
        stopping.wait(seconds)
    store().close()


def _event() -> dict[str, Any]:
    """What EventBridge sends for a rule with a rate."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": proxy.ACCOUNT_ID,
        "time": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
        "region": proxy.REGION,
        "resources": [f"arn:aws:events:{proxy.REGION}:{proxy.ACCOUNT_ID}:rule/{FUNCTION}"],
        "detail": {},
    }
