"""Reconcile - not a route: a schedule runs it, and `{"rebuild": {"cursor": null}}` begins a rebuild.

Anything else is refused, and nothing runs.
A rebuild goes on over as many calls as it takes: pass the cursor that the last one returned until it says `finished`.
"""

from typing import Any

from shared import deadline, logs, reconcile
from shared.store import store

RESERVE_SECONDS = 5.0
LONGEST_SECONDS = 45.0


class UnknownEventError(ValueError):
    """Neither a schedule's event nor a rebuild's: the message says what they look like."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An EventBridge event, or a rebuild's: what was found and done, and the cursor of the sweep."""
    rebuilding, cursor = _asked(event)
    deadline.start(min(LONGEST_SECONDS, context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS))
    report = reconcile.rebuild(store(), cursor) if rebuilding else reconcile.run(store())
    logs.write("INFO", "reconciled", **report)
    return {**report}


def _asked(event: Any) -> tuple[bool, str | None]:
    """Whether an event asks for a rebuild, and its cursor. Raises UnknownEventError if it asks for neither."""
    match event:
        case {"source": "aws.events", "detail-type": "Scheduled Event"} if "rebuild" not in event:
            return False, None
        case {"rebuild": {"cursor": None, **others}} if len(event) == 1 and not others:
            return True, None
        case {"rebuild": {"cursor": str(cursor), **others}} if len(event) == 1 and not others and _is_number(cursor):
            return True, cursor
    raise UnknownEventError(
        'The event should be a schedule\'s, or {"rebuild": {"cursor": null}} with null or digits as its cursor.'
    )


def _is_number(cursor: str) -> bool:
    return cursor.isascii() and cursor.isdecimal()
