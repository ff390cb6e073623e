"""What the local system measures, under the names that it has on AWS: from log lines, the gateway and Valkey."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

import valkey

from scripts.cloudwatch import api_gateway, emf
from scripts.cloudwatch.series import Datum, Metrics
from scripts.local import gateway
from scripts.local.dashboard import bodies
from scripts.local.dashboard.insights import Line
from shared import problems

STAGE = "v1"
MOST_LINES = 5000
"""So many log lines are kept for the tables, about 5 MB."""
MOST_WAITING = 50_000
POLL_SECONDS = 5
THIN_SECONDS = 60

LAMBDA = {"Invocations", "Errors", "Duration", "ConcurrentExecutions"}

GAUGES = {"BytesUsedForCache": "used_memory", "CurrConnections": "connected_clients"}
COUNTERS = {
    "NewConnections": "total_connections_received",
    "CacheHits": "keyspace_hits",
    "CacheMisses": "keyspace_misses",
    "Evictions": "evicted_keys",
    "TotalCmdsCount": "total_commands_processed",
    "NetworkBytesIn": "total_net_input_bytes",
    "NetworkBytesOut": "total_net_output_bytes",
    "AuthenticationFailures": "acl_access_denied_auth",
    "KeyAuthorizationFailures": "acl_access_denied_key",
    "CommandAuthorizationFailures": "acl_access_denied_cmd",
}
"""Metrics of ElastiCache and the members of INFO that mean the same: values, and counts since the server's start."""
CACHE = {*GAUGES, *COUNTERS, "CurrItems", "CurrVolatileItems", "CacheHitRate"}

FAILED = '"message":"request failed"'
"""What the filter of `<function>-failures` looks for in a function's log, as it is written here."""

ERROR_TYPES = {
    problems.Forbidden.code: "INVALID_API_KEY",
    problems.TooManyRequests.code: "THROTTLED",
    problems.EndpointNotFound.code: "MISSING_AUTHENTICATION_TOKEN",
    problems.BodyTooLarge.code: "REQUEST_TOO_LARGE",
    gateway.BadGateway.code: "INTEGRATION_FAILURE",
}
"""How API Gateway names in its access log what it answers itself."""

Info = Callable[[], Mapping[str, Any]]


class Collector:
    """Hears all that happens, and keeps it within bounds. Threads share it."""

    def __init__(self, name: str = bodies.DEPLOYED, clock: Callable[[], float] = time.time):
        self.metrics = Metrics()
        self.clock = clock
        self._name = name
        self._thread = threading.local()
        self._lock = threading.Lock()
        self._running: dict[str, int] = {}
        self._waiting: deque[Line | list[Datum]] = deque(maxlen=MOST_WAITING)
        self._lines: deque[Line] = deque(maxlen=MOST_LINES)
        self._before: Mapping[str, Any] = {}
        self._thinned = clock()

    def has(self, namespace: str, metric: str) -> bool:
        """Whether a metric exists here at all."""
        own = {"AWS/ApiGateway": api_gateway.UNITS, "AWS/Lambda": LAMBDA, "AWS/ElastiCache": CACHE}
        return namespace == self._name or metric in own.get(namespace, ())

    @contextlib.contextmanager
    def invocation(self, function: str) -> Iterator[None]:
        """Counts a call of a function as Lambda does, and takes what its thread writes for the function's log."""
        began, self._thread.function = time.perf_counter(), function
        at_once = self._count(function, 1)
        errors = 1
        try:
            yield
            errors = 0
        finally:
            milliseconds = (time.perf_counter() - began) * 1000
            self._count(function, -1)
            self._thread.function = None
            full = f"{self._name}-{function.replace('_', '-')}"
            named = {"FunctionName": full}
            self._put("AWS/Lambda", "ConcurrentExecutions", {}, at_once[0])
            self._put("AWS/Lambda", "ConcurrentExecutions", named, at_once[1])
            for dimensions in (named, {**named, "Resource": f"{full}:live"}):
                self._put("AWS/Lambda", "Invocations", dimensions, 1)
                self._put("AWS/Lambda", "Errors", dimensions, errors)
                self._put("AWS/Lambda", "Duration", dimensions, milliseconds)

    def answered(self, seen: gateway.Seen) -> None:
        """Counts a request as API Gateway does, and writes its line of the access log."""
        self._waiting.append(
            api_gateway.measured(
                self._name,
                STAGE,
                (seen.method, seen.route) if seen.route else None,
                int(self.clock()),
                status=seen.status,
                milliseconds=seen.milliseconds,
                integration_milliseconds=seen.function_milliseconds,
            )
        )
        line = {
            "requestId": seen.request_id,
            "sourceIp": seen.client,
            "method": seen.method,
            "route": seen.route,
            "status": seen.status,
            "responseMs": round(seen.milliseconds),
            "errorType": ERROR_TYPES.get(seen.code, "DEFAULT_4XX") if seen.code else "-",
            "apiKeyId": "-",
        }
        self._waiting.append(Line(self.clock(), f"/aws/api-gateway/{self._name}", json.dumps(line)))

    def hushed(self, text: str) -> None:
        """Takes what reconcile wrote that nobody needs to read."""
        for line in text.splitlines():
            self._take(line, "reconcile")

    def wrote(self, text: str) -> None:
        """Takes what a thread writes to standard output."""
        if text.startswith("{"):
            function = getattr(self._thread, "function", None)
            for line in text.splitlines():
                self._take(line, function or "reconcile")

    def _take(self, line: str, function: str) -> None:
        group = f"/aws/lambda/{self._name}-{function.replace('_', '-')}"
        self._waiting.append(Line(self.clock(), group, line))

    def settle(self) -> None:
        """Puts what was heard since where it is looked for."""
        with self._lock:
            while self._waiting:
                heard = self._waiting.popleft()
                if isinstance(heard, list):
                    self.metrics.add(heard)
                else:
                    self._lines.append(heard)
                    self.metrics.add(emf.metrics(heard.text, self.clock()))
                    if FAILED in heard.text:
                        name = f"{heard.group.removeprefix(f'/aws/lambda/{self._name}-')}-failures"
                        self.metrics.add([Datum(self._name, name, (), int(heard.seconds), {1: 1}, "Count")])
            if self.clock() > self._thinned + THIN_SECONDS:
                self._thinned = self.clock()
                self.metrics.thin(self._thinned)

    def lines(self, begin: float, end: float) -> list[Line]:
        """The log lines of a time that are still there, oldest first."""
        self.settle()
        with self._lock:
            return [line for line in self._lines if begin <= line.seconds <= end]

    def look(self, info: Mapping[str, Any]) -> None:
        """Takes what Valkey tells of itself. Counts are told since the server's start: the first look makes none."""
        before, self._before = self._before, info
        keys = info.get("db0", {})
        values = {
            **{metric: info[member] for metric, member in GAUGES.items()},
            "CurrItems": keys.get("keys", 0),
            "CurrVolatileItems": keys.get("expires", 0),
        }
        if before:
            rises = {metric: _risen(before, info, member) for metric, member in COUNTERS.items()}
            values |= rises
            if asked := rises["CacheHits"] + rises["CacheMisses"]:
                values["CacheHitRate"] = 100 * rises["CacheHits"] / asked
        for metric, value in values.items():
            self._put("AWS/ElastiCache", metric, {"clusterId": self._name}, value)

    def _count(self, function: str, by: int) -> tuple[int, int]:
        """How many calls run at once: in all, and of this function."""
        with self._lock:
            self._running[function] = self._running.get(function, 0) + by
            return sum(self._running.values()), self._running[function]

    def _put(self, namespace: str, metric: str, dimensions: Mapping[str, str], value: float) -> None:
        names = tuple(sorted(dimensions.items()))
        self._waiting.append([Datum(namespace, metric, names, int(self.clock()), {value: 1})])


def _risen(before: Mapping[str, Any], now: Mapping[str, Any], member: str) -> float:
    """How much a count has risen. A server that was started anew counts from 0."""
    rise = float(now.get(member, 0)) - float(before.get(member, 0))
    return rise if rise >= 0 else float(now.get(member, 0))


class _Hearing(io.TextIOBase):
    """Standard output that a collector hears, too."""

    def __init__(self, real: TextIO, collector: Collector):
        self._real, self._collector = real, collector

    def write(self, text: str) -> int:
        """Passes everything on."""
        self._collector.wrote(text)
        return self._real.write(text)

    def flush(self) -> None:
        self._real.flush()

    def isatty(self) -> bool:
        return self._real.isatty()


@contextlib.contextmanager
def hearing(collector: Collector, info: Info) -> Iterator[None]:
    """Lets a collector hear standard output, and ask Valkey now and then, until the block ends."""
    stopping = threading.Event()
    real = sys.stdout
    sys.stdout = _Hearing(real, collector)
    thread = threading.Thread(target=_poll, args=(collector, info, stopping), name="collector", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        sys.stdout = real


def _poll(collector: Collector, info: Info, stopping: threading.Event) -> None:
    while not stopping.is_set():
        with contextlib.suppress(valkey.ValkeyError, OSError):  # one that is away is what the charts show
            collector.look(info())
        collector.settle()
        stopping.wait(POLL_SECONDS)
