"""How long the request that this thread is answering may still take."""

from __future__ import annotations

import math
import threading
import time

_request = threading.local()


def start(seconds: float) -> None:
    """Gives this thread's request so many seconds from now."""
    _request.ends = time.monotonic() + seconds


def remaining() -> float:
    """Seconds that are left, negative when they are over; infinite before the first `start`."""
    ends: float = getattr(_request, "ends", math.inf)
    return ends - time.monotonic()
