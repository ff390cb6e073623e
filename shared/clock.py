"""The time of day, as everything outside reads it."""

from __future__ import annotations

import datetime


def now() -> str:
    """ISO-8601 in UTC with milliseconds and a Z: such texts sort as the times they name."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
