"""Whether the system can do its work."""

from __future__ import annotations

import math
import time
from typing import Any

from shared import clock
from shared.problems import Unavailable
from shared.store import Store


def report(store: Store) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of a health check: one round trip to Valkey and how long it took, in whole ms."""
    started = time.perf_counter()
    try:
        store.ask(("PING",))
    except Unavailable as problem:
        body = {"status": "unhealthy", "valkey": {"connected": False}, "timestamp": clock.now()}
        return problem.status, body, {"Retry-After": str(problem.retry_after_seconds)}
    milliseconds = math.ceil((time.perf_counter() - started) * 1000)
    valkey = {"connected": True, "responseTime": f"{milliseconds}ms"}
    return 200, {"status": "healthy", "valkey": valkey, "timestamp": clock.now()}, {}
