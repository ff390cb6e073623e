"""The log: one JSON line per event, on standard output, where Lambda and a terminal both take it as it is."""

from __future__ import annotations

import datetime
import sys
import threading
import traceback
from typing import Any, Literal

import orjson

Level = Literal["INFO", "WARNING", "ERROR"]

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
_thread = threading.local()


def belongs_to(request_id: str | None) -> None:
    """Gives this id to every line that this thread writes from now on; None to no more."""
    _thread.request_id = request_id


def write(level: Level, message: str, **facts: object) -> None:
    """Writes a constant phrase with its facts. No fact may be an e-mail, a body, a key or an exception's text."""
    put(line(level, message) | facts)


def where(error: BaseException) -> list[str]:
    """An exception's type and the places it passed through, without its text, which may hold a player's data."""
    frames = traceback.extract_tb(error.__traceback__)
    return [type(error).__name__, *(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:])]


def line(level: Level, message: str) -> dict[str, Any]:
    """How each line begins."""
    begun = {"timestamp": datetime.datetime.now(datetime.UTC), "level": level, "message": message}
    if request_id := getattr(_thread, "request_id", None):
        begun["requestId"] = request_id
    return begun


def put(whole: dict[str, Any]) -> None:
    """Writes a line that began with `line`."""
    sys.stdout.write(orjson.dumps(whole, option=_OPTIONS).decode())
