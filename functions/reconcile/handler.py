"""Reconcile - not an operation of the API: a schedule runs it, `{"rebuild": {"cursor": null}}` begins a rebuild, and
`{"check": {"cursor": null}}` begins a check, which compares and writes nothing.

Anything else is refused, and nothing runs.
Rebuild and check take as many calls as they need: pass the cursor that the last one returned, until it says `finished`.
"""

import re
from typing import Any

from shared import audit, deadline, logs, reconcile, telemetry
from shared.store import store

RESERVE_SECONDS = 5.0
LONGEST_SECONDS = 45.0

CURSORS = {"rebuild": re.compile("[0-9]{1,20}"), "check": audit.POSITION}

COUNTED = {
    "IntentsFound": "found",
    "OldestIntentSeconds": "oldestSeconds",
    "PlayersMended": "mended",
    "PlayersUnreadable": "unreadable",
    "ActivePlayersToday": "activeToday",
    "ActivePlayersMonth": "activeMonth",
}
"""The metrics of a run, and which member of its report each of them is. A rebuild does not count who was active."""


class UnknownEventError(ValueError):
    """Not an event of a schedule, a rebuild or a check: the message says what those look like."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An EventBridge event, a rebuild's or a check's: what was found and done, and the cursor to go on from."""
    asked, cursor = _asked(event)
    deadline.start(min(LONGEST_SECONDS, context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS))
    if asked == "check":
        found = reconcile.check(store(), cursor)
        logs.write("INFO", "compared", players=found["sums"]["players"], differences=len(found["differences"]))
        return {**found}
    report = reconcile.rebuild(store(), cursor) if asked == "rebuild" else reconcile.run(store())
    known = {name: value for name, value in report.items() if value is not None}
    counted = {metric: known[name] for metric, name in COUNTED.items() if name in known}
    telemetry.write("INFO", "reconciled", known, counted)
    return {**report}


def _asked(event: Any) -> tuple[str, str | None]:
    """What an event asks for, '' for a schedule's, and its cursor. Raises UnknownEventError if it is none of them."""
    match event:
        case {"source": "aws.events", "detail-type": "Scheduled Event"} if not CURSORS.keys() & event.keys():
            return "", None
        case {"rebuild": {"cursor": None | str() as cursor}} if _is_asked("rebuild", event, cursor):
            return "rebuild", cursor
        case {"check": {"cursor": None | str() as cursor}} if _is_asked("check", event, cursor):
            return "check", cursor
    raise UnknownEventError(
        'The event should be a schedule\'s, {"rebuild": {"cursor": null}} or {"check": {"cursor": null}}, with null or '
        "the cursor that the last call returned."
    )


def _is_asked(name: str, event: dict[str, Any], cursor: str | None) -> bool:
    """Whether there is nothing else in an event, and its cursor is a valid one."""
    return event == {name: {"cursor": cursor}} and (cursor is None or bool(CURSORS[name].fullmatch(cursor)))
