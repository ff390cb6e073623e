"""How our commands end: on Ctrl-C or SIGTERM, at once and quietly. Imports next to nothing, to be ready early."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM)


def interrupt_once() -> None:
    """From now on the first SIGINT or SIGTERM raises KeyboardInterrupt; later ones do not interrupt the cleanup."""
    for number in ENDING:
        signal.signal(number, _interrupt)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Lets SIGINT and SIGTERM wait until the block ends: libvalkey crashes if one comes while it packs a number."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def leave(code: int) -> NoReturn:
    """Ends this process without waiting for its threads: one may be waiting for a Valkey that is away."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
