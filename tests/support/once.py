"""Things that the workers of one test run make once and share."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def folder(factory: pytest.TempPathFactory) -> Path:
    """A folder of this test run, the same for all its workers."""
    base = factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@contextlib.contextmanager
def one_at_a_time(factory: pytest.TempPathFactory, name: str) -> Iterator[None]:
    """While this lasts, no other worker enters with the same name."""
    with (folder(factory) / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def made(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The file or folder of this name, made once by make(path), here or in another worker."""
    path = folder(factory) / name
    with one_at_a_time(factory, name):
        if not path.exists():
            make(path)
    return path
