"""Reconcile: what a schedule runs, so that whatever a crash has left half-done is done within a minute or two."""

from __future__ import annotations

from typing import TypedDict

from shared import deadline, outbox, projections, statistics, sweeps
from shared.store import Store

BATCH = 500
SWEEP_PLAYERS = 20_000
"""How many players of the sweep a scheduled run verifies, at most."""

RESERVE_SECONDS = 1.0
"""No further slice is begun with less time than this."""


class Report(TypedDict):
    """What a run did. Intents: `found` due, `projected` from a profile, `cleared`, the oldest one's age in seconds.
    Sweep: players `swept`, `mended`, `unreadable`, generations of receipts `forgotten`, its number and position."""

    found: int
    projected: int
    cleared: int
    oldestSeconds: float
    swept: int
    mended: int
    unreadable: int
    forgotten: int
    cursor: str
    position: str
    finished: bool


def run(store: Store) -> Report:
    """Settles the intents that are due, goes on with the sweep, refreshes `stats:game`.

    Idempotent; safe twice at once and beside live writes; ends in time for the deadline, the rest is for the next run.
    """
    report = _report()
    _settle_intents(store, report)
    _sweep(store, report, sweeps.begin(store, anew=False), SWEEP_PLAYERS)
    statistics.publish(store)
    return report


def rebuild(store: Store, number: str | None) -> Report:
    """Begins a sweep, or goes on with the one of that number or a later one, and ends with it or when time is over.

    Where only older ones are known, a failover has lost that one, and another is begun.
    """
    report = _report()
    sweep = sweeps.current(store)
    if number is None or int(sweep.number) < int(number):
        sweep = sweeps.begin(store, anew=True)
    _sweep(store, report, sweep, None)
    statistics.publish(store)
    return report


def _report() -> Report:
    return {
        "found": 0,
        "projected": 0,
        "cleared": 0,
        "oldestSeconds": 0.0,
        "swept": 0,
        "mended": 0,
        "unreadable": 0,
        "forgotten": 0,
        "cursor": "",
        "position": "",
        "finished": False,
    }


def _settle_intents(store: Store, report: Report) -> None:
    left = 0
    while deadline.remaining() > RESERVE_SECONDS:
        due = outbox.due(store, left, BATCH)
        if not due:
            break
        places = projections.settle(store, [(entry.user_id, entry.intent) for entry in due])
        report["found"] += len(due)
        report["oldestSeconds"] = max(report["oldestSeconds"], due[0].age_seconds)
        report["projected"] += sum(1 for place in places if place and place.rank)
        report["cleared"] += len(due) - places.count(None)
        report["unreadable"] += places.count(None)
        left += places.count(None)


def _sweep(store: Store, report: Report, sweep: sweeps.Sweep, most: int | None) -> None:
    while sweep.position and deadline.remaining() > RESERVE_SECONDS and (most is None or report["swept"] < most):
        part = sweeps.advance(store, sweep, BATCH)
        sweep = part.sweep
        report["swept"] += part.seen
        report["mended"] += part.mended
        report["unreadable"] += part.unreadable
        report["forgotten"] += part.forgotten
    report["cursor"], report["position"], report["finished"] = sweep.number, sweep.position, not sweep.position
