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
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import orjson

from shared import config, logs


class Metric(NamedTuple):
    """A metric's unit, the dimension by which it is counted besides its total, and whether a total means anything."""

    unit: Literal["Count", "Milliseconds", "Seconds", "None"]
    by: str | None = None
    has_total: bool = True


METRICS = {
    "Requests": Metric("Count", "Route"),
    "Latency": Metric("Milliseconds", "Route"),
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

MOST_VALUES = 100
"""So many values of one metric CloudWatch takes from a line."""

_ROOT = re.compile(r"Root=(1-[0-9a-f]{8}-[0-9a-f]{24})(?:;|\Z)")
_thread = threading.local()
_first = ["first"]
"""Empty once a request of this process has been answered."""

_ready: list[float] = []
"""When this process could take a request, in seconds since the machine was started: the last one is it."""


def ready() -> None:
    """Says that this process can take a request from now on: the last call counts, before the first request."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        _ready.append(time.clock_gettime(time.CLOCK_BOOTTIME))


def start() -> None:
    """Begins to gather what this thread's request does."""
    _thread.values, _thread.dimensions, _thread.facts = {}, {}, {}
    _thread.started, _thread.processor_started = time.perf_counter_ns(), time.thread_time_ns()


def add(metric: str, value: float = 1, by: str | None = None) -> None:
    """Counts something for this thread's request; without one, nothing happens.

    Counts add up, times become a list. `by` is the value of the metric's dimension: the last one counts.
    """
    values: dict[str, Any] | None = getattr(_thread, "values", None)
    if values is None:
        return
    unit, dimension, _ = METRICS[metric]
    if unit != "Milliseconds":
        values[metric] = values.get(metric, 0) + value
    elif len(several := values.setdefault(metric, [])) < MOST_VALUES:
        several.append(value)
    if by is not None and dimension:
        _thread.dimensions[dimension] = by


def note(**facts: object) -> None:
    """Adds facts to the request's line: nothing about a person."""
    if (known := getattr(_thread, "facts", None)) is not None:
        known.update(facts)


def answered(request_id: str, event: Mapping[str, Any], status: int, code: str | None, outcome: str) -> None:
    """Writes the line of this thread's request, which ends here."""
    milliseconds = (time.perf_counter_ns() - _thread.started) / 1e6
    is_first = bool(_first) and bool(_first.pop())
    method, route = event.get("httpMethod"), event.get("resource")
    values: dict[str, Any] = {
        "Requests": 1,
        "Latency": milliseconds,
        "ServerErrors": int(status >= 500),
        "ClientErrors": int(400 <= status < 500),
        "ColdStarts": int(is_first),
        "ProcessorTime": (time.thread_time_ns() - _thread.processor_started) / 1e6,
        "ValkeyTrips": 0,
        **_thread.values,
    }
    if is_first and (init := _init_milliseconds()) is not None:
        values["InitTime"] = init
    if outcome == "replayed":
        values["Replays"] = 1
    if code:
        values["Problems"] = 1
        _thread.dimensions["Code"] = code
    if method and route and code != "endpoint_not_found":
        _thread.dimensions["Route"] = f"{method} {route}"
    _thread.values = values
    write(
        "INFO" if status < 500 else "WARNING",
        "request answered",
        requestId=request_id,
        traceId=_trace_id(event),
        method=method,
        route=route,
        status=status,
        code=code,
        milliseconds=round(milliseconds, 3),
        trips=values["ValkeyTrips"],
        cold=is_first,
        outcome=outcome,
    )


def write(level: Literal["INFO", "WARNING", "ERROR"], message: str, **facts: object) -> None:
    """Writes these facts, those that were noted, and what was counted since `start`, as one line."""
    values, dimensions = _thread.values, _thread.dimensions
    directives = _directives(*_measuring(), tuple(values), tuple(dimensions))
    about = {"Timestamp": time.time_ns() // 1_000_000, "CloudWatchMetrics": directives}
    logs.write(level, message, **facts, **_thread.facts, _aws=about, **dimensions, **values)
    del _thread.values, _thread.dimensions, _thread.facts


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


def _measuring() -> tuple[str, str]:
    """Namespace and depth, even if another setting is wrong."""
    try:
        own = config.settings()
    except config.MisconfiguredError:
        return config.Settings.metrics_namespace, config.Settings.metrics_depth
    return own.metrics_namespace, own.metrics_depth


def _trace_id(event: Mapping[str, Any]) -> str | None:
    """The trace's id, from Lambda or from the request's header. A client may send any text there."""
    text = config.trace() or (event.get("headers") or {}).get("X-Amzn-Trace-Id") or ""
    found = _ROOT.search(text)
    return found[1] if found else None


def _init_milliseconds() -> float | None:
    """From the start of this process until it was ready, where the system tells."""
    try:
        with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
            began = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None
    return max(0.0, round((_ready[-1] - began) * 1000, 1)) if _ready else None
