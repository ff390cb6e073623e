"""How a command of ours ends: on Ctrl-C or SIGTERM, at once and quietly. Imports next to nothing, to be ready first."""

import contextlib
import os
import signal
import sys
from typing import NoReturn


def interrupt_once() -> None:
    """From now on the first SIGINT or SIGTERM raises KeyboardInterrupt; later ones do not disturb the cleaning up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def leave(code: int) -> NoReturn:
    """Ends this process, waiting for no thread: one may wait for a Valkey that is away, and nobody for its reply."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
