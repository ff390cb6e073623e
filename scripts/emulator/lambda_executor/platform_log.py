"""The lines that Lambda itself writes to a function's log, as text or, where the function asks for it, as JSON."""

from __future__ import annotations

import datetime
import json
import math
from dataclasses import dataclass
from typing import Any

LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]


@dataclass(frozen=True)
class Format:
    """A function's `LoggingConfig`; the system's level only matters in JSON."""

    is_json: bool = False
    application_level: str = "INFO"
    system_level: str = "INFO"


@dataclass(frozen=True)
class Report:
    """What an invocation took. `status` is success, error or timeout; `error_type` says how the process ended if it
    did; `init_ms` is None unless the process was started for it."""

    request_id: str
    status: str
    error_type: str | None
    duration_ms: float
    memory_mb: int
    used_mb: int
    init_ms: float | None

    @property
    def billed_ms(self) -> int:
        """Whole milliseconds, cold start included."""
        return math.ceil(self.duration_ms + (self.init_ms or 0))


def start(format_: Format, request_id: str, version: str) -> str:
    """An invocation begins."""
    if format_.is_json:
        return _event(format_, "INFO", "platform.start", {"requestId": request_id, "version": version})
    return f"START RequestId: {request_id} Version: {version}\n"


def timed_out(format_: Format, request_id: str, seconds: float) -> str:
    """An invocation took too long; in JSON only the report says so."""
    return "" if format_.is_json else f"{_now()} {request_id} Task timed out after {seconds:.2f} seconds\n"


def exited(format_: Format, request_id: str, error_type: str, message: str) -> str:
    """The process ended itself or was killed; in JSON only the report says so."""
    return "" if format_.is_json else f"RequestId: {request_id} Error: {message}\n{error_type}\n"


def end(format_: Format, report: Report) -> str:
    """An invocation is over, and what it took."""
    if format_.is_json:
        metrics: dict[str, float] = {
            "durationMs": round(report.duration_ms, 3),
            "billedDurationMs": report.billed_ms,
            "memorySizeMB": report.memory_mb,
            "maxMemoryUsedMB": report.used_mb,
        }
        if report.init_ms is not None:
            metrics["initDurationMs"] = round(report.init_ms, 3)
        record = {"requestId": report.request_id, "metrics": metrics, "status": report.status}
        if report.error_type:
            record["errorType"] = report.error_type
        return _event(format_, "INFO" if report.status == "success" else "WARN", "platform.report", record)
    figures = [
        f"REPORT RequestId: {report.request_id}",
        f"Duration: {report.duration_ms:.2f} ms",
        f"Billed Duration: {report.billed_ms} ms",
        f"Memory Size: {report.memory_mb} MB",
        f"Max Memory Used: {report.used_mb} MB",
    ]
    if report.init_ms is not None:
        figures.append(f"Init Duration: {report.init_ms:.2f} ms")
    if report.status == "timeout":
        figures.append("Status: timeout")
    elif report.error_type:
        figures += ["Status: error", f"Error Type: {report.error_type}"]
    return f"END RequestId: {report.request_id}\n" + "\t".join(figures) + "\t\n"


def _event(format_: Format, level: str, kind: str, record: dict[str, Any]) -> str:
    if LEVELS.index(level) < LEVELS.index(format_.system_level):
        return ""
    return json.dumps({"time": _now(), "type": kind, "record": record}) + "\n"


def _now() -> str:
    return f"{datetime.datetime.now(datetime.UTC).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"
