"""Reconcile - not a route: a schedule runs it, and `{"rebuild": {"cursor": null}}` begins a rebuild.

A rebuild goes on over as many calls as it takes: pass the cursor that the last one returned until it says `finished`.
"""

from typing import Any

from shared import deadline, logs, reconcile
from shared.store import store

RESERVE_SECONDS = 5.0
LONGEST_SECONDS = 45.0


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An EventBridge event, or a rebuild's: what was found and done, and the cursor of the sweep."""
    deadline.start(min(LONGEST_SECONDS, context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS))
    asked = event.get("rebuild")
    report = reconcile.run(store()) if asked is None else reconcile.rebuild(store(), asked.get("cursor"))
    logs.write("INFO", "reconciled", **report)
    return {**report}
