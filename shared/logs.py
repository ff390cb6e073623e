"""The log: one JSON line per event, on standard output, where Lambda and a terminal both take it as it is."""

from __future__ import annotations

import datetime
import sys
from typing import Literal

import orjson


def write(level: Literal["INFO", "WARNING", "ERROR"], message: str, **facts: object) -> None:
    """Writes a constant phrase with its facts. No fact may be an e-mail, a body, a key or an exception's text."""
    now = datetime.datetime.now(datetime.UTC)
    line = orjson.dumps({"timestamp": now, "level": level, "message": message, **facts}, option=orjson.OPT_UTC_Z)
    sys.stdout.write(line.decode() + "\n")
