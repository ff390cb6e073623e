"""What a request did: gathered on its thread, and written as one line that is its metrics at the same time.

CloudWatch makes metrics of the line by its embedded metric format: `_aws` says which members of the line they are, so
that no request waits for a call. `functions/metrics.yaml` is the table of all metrics; a test binds this one to it.
"""

from __future__ import annotations

import functools
import os
import re
import threading
import time
from collections.abc import Container, Mapping
from typing import Any, Literal, NamedTuple

import orjson

from shared import config, logs

Kind = Literal["read", "submission"]
"""What an operation counts as, besides being a request."""

NO_DIMENSIONS: Mapping[str, str] = {}


class Metric(NamedTuple):
    """A metric's unit, the dimension by which it is counted besides its total, and whether a total means anything."""

    unit: Literal["Count", "Milliseconds", "Seconds", "None"]
    by: str | None = None
    has_total: bool = True


METRICS = {
    "Requests": Metric("Count", "Route"),
    "Latency": Metric("Milliseconds", "Route"),
    "SlowRequests": Metric("Count"),
    "ServerErrors": Metric("Count", "Route"),
    "ClientErrors": Metric("Count", "Route"),
    "Problems": Metric("Count", "Code"),
    "ColdStarts": Metric("Count", "Route"),
    "InitTime": Metric("Milliseconds"),
    "ProcessorTime": Metric("Milliseconds", "Route"),
    "ValkeyTrips": Metric("Count", "Route"),
    "ValkeyTripTime": Metric("Milliseconds"),
    "ValkeyConnections": Metric("Count"),
    "ValkeyRetries": Metric("Count"),
    "Replays": Metric("Count", "Route"),
    "ReadsAnswered": Metric("Count"),
    "SecurityEvents": Metric("Count", "Kind"),
    "PlayersCreated": Metric("Count"),
    "Submissions": Metric("Count"),
    "SubmissionsRefused": Metric("Count", "Reason"),
    "ScoreVolume": Metric("Count"),
    "SessionsStarted": Metric("Count"),
    "Revenue": Metric("None", "Currency", has_total=False),
    "RevenueUnreadable": Metric("Count"),
    "ActivePlayersToday": Metric("Count"),
    "ActivePlayersMonth": Metric("Count"),
    "OldestIntentSeconds": Metric("Seconds"),
    "IntentsFound": Metric("Count"),
    "PlayersMended": Metric("Count"),
    "PlayersUnreadable": Metric("Count"),
}

ALWAYS = {
    "Requests": 1,
    "Latency": 0,
    "ProcessorTime": 0,
    "ValkeyTrips": 0,
    "ColdStarts": 0,
    "SlowRequests": 0,
    "ServerErrors": 0,
    "ClientErrors": 0,
}
"""What every request is counted as, whatever becomes of it."""

MOST_VALUES = 100
"""So many values of one metric CloudWatch takes from a line."""

_ROOT = re.compile(r"Root=(1-[0-9a-f]{8}-[0-9a-f]{24})(?:;|\Z)")
_thread = threading.local()
first = {"first": True}
"""Empty once a request of this process has been answered."""

_ready: list[float] = []
"""When this process could take a request, in seconds since the machine was started: the last one is it."""


class _Request:
    """What is known of a request by now. Times are in nanoseconds."""

    __slots__ = ("dimensions", "event", "noted", "processor_started", "route", "started", "values")

    def __init__(self, event: Mapping[str, Any], operations: Container[str]):
        self.event, self.route = event, event.get("resource")
        operation = f"{event.get('httpMethod')} {self.route}"
        self.dimensions = {"Route": operation} if operation in operations else {}
        self.values: dict[str, Any] = ALWAYS.copy()
        self.noted: dict[str, object] | None = None
        self.started, self.processor_started = time.perf_counter_ns(), time.thread_time_ns()


def ready() -> None:
    """Says that this process can take a request from now on: the last call counts, before the first request."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        _ready.append(time.clock_gettime(time.CLOCK_BOOTTIME))


def start(request_id: str, event: Mapping[str, Any], operations: Container[str]) -> None:
    """Begins to gather what this thread's request does. One that is none of the `operations`, such as `GET /stats`, is
    counted by no route."""
    logs.belongs_to(request_id)
    _thread.request = _Request(event, operations)


def is_first() -> bool:
    """Whether this process has not answered a request yet."""
    return bool(first)


def add(metric: str, value: float = 1, by: str | None = None) -> None:
    """Counts something for this thread's request; without one, nothing happens.

    Counts add up, times become a list. `by` is the value of the metric's dimension: a request has one of each.
    """
    request: _Request | None = getattr(_thread, "request", None)
    if request is None:
        return
    unit, dimension, _ = METRICS[metric]
    if unit != "Milliseconds":
        request.values[metric] = request.values.get(metric, 0) + value
    elif len(several := request.values.setdefault(metric, [])) < MOST_VALUES:
        several.append(value)
    if by is not None and dimension:
        request.dimensions[dimension] = by


def note(**facts: object) -> None:
    """Adds facts to the line of this thread's request: nothing about a person."""
    request: _Request | None = getattr(_thread, "request", None)
    if request is not None:
        request.noted = facts if request.noted is None else request.noted | facts


def route() -> object:
    """The path of this thread's request, as the contract has it; None without a request."""
    request: _Request | None = getattr(_thread, "request", None)
    return request and request.route


def answered(status: int, code: str | None, outcome: str, kind: Kind | None) -> None:
    """Writes the line of this thread's request, which ends here: how it was answered, and what it counts as."""
    request: _Request = _thread.request
    values, dimensions = request.values, request.dimensions
    milliseconds = (time.perf_counter_ns() - request.started) // 1000 / 1000
    is_cold = first.pop("first", False)
    trips = len(values.get("ValkeyTripTime", ()))
    values["Latency"], values["ValkeyTrips"] = milliseconds, trips
    if milliseconds > config.measuring().slow_milliseconds:
        values["SlowRequests"] = 1
    if status >= 400:
        values["ServerErrors" if status >= 500 else "ClientErrors"] = 1
    if is_cold:
        values["ColdStarts"] = 1
        if (init := _init_milliseconds()) is not None:
            values["InitTime"] = init
    if outcome == "replayed":
        values["Replays"] = 1
    if code:
        values["Problems"], dimensions["Code"] = 1, code
        if kind == "submission" and status < 500:
            values["SubmissionsRefused"], dimensions["Reason"] = 1, code
    if kind == "read" and (status < 400 or status == 404):
        values["ReadsAnswered"] = 1 if status < 400 else 0
    facts = {
        "traceId": _trace_id(request.event),
        "method": request.event.get("httpMethod"),
        "route": request.route,
        "status": status,
        "code": code,
        "milliseconds": milliseconds,
        "trips": trips,
        "cold": is_cold,
        "outcome": outcome,
    }
    if request.noted:
        facts |= request.noted
    values["ProcessorTime"] = (time.thread_time_ns() - request.processor_started) // 1000 / 1000
    write("INFO" if status < 500 else "WARNING", "request answered", facts, values, dimensions)
    _thread.request = None
    logs.belongs_to(None)


def write(
    level: logs.Level,
    message: str,
    facts: Mapping[str, object],
    values: Mapping[str, Any],
    dimensions: Mapping[str, str] = NO_DIMENSIONS,
) -> None:
    """Writes one line with these facts, and with the metrics' values and the dimensions by which they are counted."""
    own = config.measuring()
    directives = _directives(own.metrics_namespace, own.metrics_depth, tuple(values), tuple(dimensions))
    about = {"Timestamp": time.time_ns() // 1_000_000, "CloudWatchMetrics": directives}
    line = logs.line(level, message)
    line |= facts
    line["_aws"] = about
    line |= dimensions
    line |= values
    logs.put(line)


@functools.lru_cache(maxsize=512)
def _directives(namespace: str, depth: str, names: tuple[str, ...], dimensions: tuple[str, ...]) -> orjson.Fragment:
    """What CloudWatch is to make of a line with these metrics and dimensions, as JSON."""
    groups: dict[tuple[tuple[str, ...], ...], list[dict[str, str]]] = {}
    for name in names:
        unit, dimension, has_total = METRICS[name]
        sets: list[tuple[str, ...]] = [()] if has_total else []
        if dimension in dimensions and (dimension != "Route" or depth == "routes"):
            sets.append((str(dimension),))
        groups.setdefault(tuple(sets), []).append({"Name": name, "Unit": unit})
    return orjson.Fragment(
        orjson.dumps(
            [{"Namespace": namespace, "Dimensions": sets, "Metrics": metrics} for sets, metrics in groups.items()]
        )
    )


def _trace_id(event: Mapping[str, Any]) -> str | None:
    """The trace's id, from the request's header or from Lambda. A client may send any text there."""
    found = _ROOT.search((event.get("headers") or {}).get("X-Amzn-Trace-Id") or config.trace())
    return found[1] if found else None


def _init_milliseconds() -> float | None:
    """From the start of this process until it was ready, where the system tells."""
    try:
        with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
            began = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None
    return max(0.0, round((_ready[-1] - began) * 1000, 1)) if _ready else None
