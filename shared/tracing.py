"""A request's trace, as X-Ray shows it. Only this module knows X-Ray's SDK, and imports it when a trace is sent first.

Lambda writes the segment of a request itself, and nobody else can add to it. Ours is a part of it, around the handler,
with a part inside for each trip to Valkey. A request only notes its trips; all else is done once it has its answer, so
that the SDK can neither break what is done for it nor take of its time.
"""

from __future__ import annotations

import functools
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

from valkey.exceptions import NoScriptError, ResponseError

from shared import config, logs

CALLERS = ("functions.", "shared.")
"""Whose functions a trip can be made for."""

BETWEEN = ("shared.store", __name__, "shared.players.carry_out")
"""What only carries it out: modules, and a function."""

Trip = tuple[str, float, float, bool]
"""The function that made it, from when to when in seconds since 1970, and whether it failed."""

Arguments = ParamSpec("Arguments")

_request = threading.local()


def start() -> None:
    """Begins to note what this thread's request does, if Lambda has it traced."""
    if "Sampled=1" in config.trace():
        _request.began, _request.trips = time.time(), []
    else:
        _request.trips = None


def trip(make: Callable[Arguments, list[Any]]) -> Callable[Arguments, list[Any]]:
    """Notes the trips to Valkey that a method makes, which returns their replies."""

    @functools.wraps(make)
    def noted(*arguments: Arguments.args, **named: Arguments.kwargs) -> list[Any]:
        trips: list[Trip] | None = getattr(_request, "trips", None)
        if trips is None:
            return make(*arguments, **named)
        name, began, failed = _caller(), time.time(), True
        try:
            replies = make(*arguments, **named)
            failed = any(isinstance(one, ResponseError) and not isinstance(one, NoScriptError) for one in replies)
        finally:
            trips.append((name, began, time.time(), failed))
        return replies

    return noted


def send(handler: Callable[..., Any], event: Mapping[str, Any], status: int, outcome: str, *, cold: bool) -> None:
    """Sends the trace of this thread's request, which is answered now, if it is traced. It waits for nobody, and raises
    nothing. Annotations, by which X-Ray finds traces, and names hold nothing about a person.
    """
    if (trips := getattr(_request, "trips", None)) is None:
        return
    ended = time.time()
    if (sdk := _sdk()) is None:
        return
    recorder, part_of = sdk
    try:
        recorder.clear_trace_entities()  # of an earlier request in the same trace, whose segment was another
        segment = recorder.current_segment()
        if not segment.sampled:
            return
        around = part_of(_named(handler.__module__, handler.__qualname__), "local", segment)
        segment.add_subsegment(around)
        around.put_annotation("route", f"{event.get('httpMethod')} {event.get('resource')}")
        around.put_annotation("outcome", outcome)
        around.put_annotation("cold", cold)
        around.put_annotation("replay", outcome == "replayed")
        around.apply_status_code(status)
        for name, trip_began, trip_ended, failed in trips:
            part = part_of(name, "remote", segment)
            around.add_subsegment(part)
            if failed:
                part.add_fault_flag()
            part.start_time = trip_began
            part.close(trip_ended)
        around.start_time = _request.began
        around.close(ended)
        recorder.emitter.send_entity(around)
    except Exception as error:
        logs.write("WARNING", "trace not sent", cause=type(error).__name__)


def _named(module: str, function: str) -> str:
    """A function as a trace names it: `board.project`, `rank.handler.handler`."""
    return f"{module.partition('.')[2]}.{function}"


def _caller() -> str:
    """The public function that the present trip is made for."""
    frame = sys._getframe(2)
    while frame := frame.f_back:  # type: ignore[assignment]
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_qualname
        if not module.startswith(CALLERS) or function.startswith(("_", "<")):
            continue
        if module not in BETWEEN and f"{module}.{function}" not in BETWEEN:
            return _named(module, function)
    return "store.trip"


@functools.cache
def _sdk() -> tuple[Any, Any] | None:
    """X-Ray's SDK: its recorder and the class of a segment's parts; None, and a line in the log, if it is of no use."""
    try:
        from aws_xray_sdk.core import xray_recorder  # type: ignore[import-untyped] # noqa: PLC0415 - 20 ms of a core, or more
        from aws_xray_sdk.core.models.subsegment import Subsegment  # type: ignore[import-untyped] # noqa: PLC0415

        socket.inet_aton(xray_recorder.emitter.ip)  # Lambda's is an address; looking a name up may take any time
    except Exception as error:
        logs.write("WARNING", "tracing is off", cause=type(error).__name__)
        return None
    log = logging.getLogger("aws_xray_sdk")
    log.propagate = False
    log.addHandler(_Log(logging.WARNING))
    return xray_recorder, Subsegment


class _Log(logging.Handler):
    """Puts what the SDK complains of into our log, without its words, which may hold anything."""

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.exc_info[0] if record.exc_info else None
        logs.write("WARNING", "trace not sent", cause=cause.__name__ if cause else record.name)


if config.is_initialized_ahead():
    _sdk()
