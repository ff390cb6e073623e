"""The time of day, in the form that clients read."""

from __future__ import annotations

import datetime
import time


def text(milliseconds: int) -> str:
    """A time in ms since 1970 as ISO-8601 in UTC with milliseconds and a Z: such texts sort like their times."""
    seconds, rest = divmod(milliseconds, 1000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(microsecond=rest * 1000, tzinfo=None)
    return f"{moment.isoformat(timespec='milliseconds')}Z"


def now() -> str:
    """The present time, as `text` writes it."""
    return text(time.time_ns() // 1_000_000)
