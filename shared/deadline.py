"""How long the request that this thread is answering may still take."""

from __future__ import annotations

import math
import threading
import time

_request = threading.local()


def start(seconds: float) -> None:
    """Gives this thread's request this many seconds from now."""
    _request.ends = time.monotonic() + seconds


def remaining() -> float:
    """How many seconds are left, negative if time is up; infinite before the first `start`."""
    ends: float = getattr(_request, "ends", math.inf)
    return ends - time.monotonic()
