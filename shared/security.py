"""Security events: what somebody who watches over the system may want to look at, each a line of its own.

The line has `event` "security", a `kind`, and, where a request is behind it, its id and route; it is the metric
SecurityEvents by Kind at the same time. What the gateway refuses - a missing key, too many requests - never gets here:
its access log has that.
"""

from __future__ import annotations

from typing import Literal, get_args

from shared import logs, telemetry

Kind = Literal[
    "validation_refused",
    "oversize",
    "idempotency_conflict",
    "too_many_keys",
    "too_many_submissions",
    "too_many_sessions",
    "not_allowed",
    "stale_attempt",
    "token_refused",
    "authorizer_failed",
    "cache_authentication_failed",
    "cache_permission_denied",
    "cache_certificate_refused",
    "unreadable_player",
]

LEVELS: dict[Kind, logs.Level] = {
    "validation_refused": "INFO",
    "oversize": "INFO",
    "idempotency_conflict": "INFO",
    "too_many_keys": "INFO",
    "too_many_submissions": "INFO",
    "too_many_sessions": "INFO",
    "not_allowed": "WARNING",
    "stale_attempt": "WARNING",
    "token_refused": "INFO",
    "authorizer_failed": "ERROR",
    "cache_authentication_failed": "ERROR",
    "cache_permission_denied": "ERROR",
    "cache_certificate_refused": "ERROR",
    "unreadable_player": "ERROR",
}

KINDS = get_args(Kind)

OF_CODES: dict[str, Kind] = {
    "invalid_arguments": "validation_refused",
    "malformed_body": "validation_refused",
    "unsupported_media_type": "validation_refused",
    "body_too_large": "oversize",
    "idempotency_key_reused": "idempotency_conflict",
    "too_many_keys": "too_many_keys",
    "too_many_submissions": "too_many_submissions",
    "too_many_sessions": "too_many_sessions",
    "not_allowed": "not_allowed",
    "stale_attempt": "stale_attempt",
}
"""The kinds that are a problem's."""


def refused(code: str) -> None:
    """Reports that this thread's request was answered with a problem, where its code is of a kind."""
    if kind := OF_CODES.get(code):
        report(kind, code=code)


def report(kind: Kind, **facts: object) -> None:
    """Writes an event's line: nothing about a person but, of a player that we cannot read, the id."""
    about = {"event": "security", "kind": kind, "route": telemetry.route(), **facts}
    telemetry.write(LEVELS[kind], "security event", about, {"SecurityEvents": 1}, {"Kind": kind})
