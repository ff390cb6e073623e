"""Reconcile: what a schedule runs, so that whatever a crash has left half-done is finished within a minute or two."""

from __future__ import annotations

import time
from typing import Any, TypedDict

from shared import activity, audit, deadline, outbox, projections, statistics, sweeps
from shared.store import Store

BATCH = 500
SWEEP_PLAYERS = 20_000
"""How many players of the sweep a scheduled run verifies, at most."""

RESERVE_SECONDS = 1.0
"""No further slice is begun with less time left than this."""

COMPARING_SECONDS = 1.0
"""How long one call of a check compares before it looks again at the players it suspects."""

PAUSE_SECONDS = 1.0
"""How long to wait between two looks at a player: far longer than between the two round trips of a submission."""

LOOKS = 5
"""A player who has moved between each of this many looks cannot be compared."""

MOST_SUSPECTS = 2_000
"""About how many differences one call of a check returns: Lambda allows 6 MB."""

LONGEST_TEXT = 160
"""How many characters of a text are shown: what somebody else has written may be of any length."""


class Report(TypedDict):
    """What a run did. Intents: `found` due, `projected` from a profile, `cleared`, the oldest one's age in seconds.
    Sweep: players `swept`, `mended`, `unreadable`, generations of receipts `forgotten`, its position, and the cursor
    that a rebuild goes on from, which is its number: the position is in Valkey. Players who were active `today` and in
    the last `month`, None in a rebuild."""

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
    activeToday: int | None
    activeMonth: int | None


class Comparison(TypedDict):
    """What a check has found so far: what the totals should be for the profiles that it met, the differences, and how
    many players never stood still; the fingerprint before and after; the cursor that a check goes on from, which is a
    position of the audit."""

    sums: dict[str, Any]
    differences: list[dict[str, str]]
    unsettled: int
    before: dict[str, Any]
    after: dict[str, Any]
    cursor: str
    finished: bool


def run(store: Store) -> Report:
    """Settles the intents that are due, goes on with the sweep, refreshes `stats:game`, counts who was active.

    Idempotent, and safe to run twice at once and beside live writes. It ends before the deadline; the rest is for the
    next run.
    """
    report = _report()
    _settle_intents(store, report)
    _sweep(store, report, sweeps.begin(store, anew=False), SWEEP_PLAYERS)
    statistics.publish(store)
    report["activeToday"], report["activeMonth"] = activity.take_stock(store)
    return report


def rebuild(store: Store, number: str | None) -> Report:
    """Begins a sweep, or goes on with the one of that number or a later one, until it has ended or time is up.

    If only older ones are known, a failover has lost that one, and another is begun.
    """
    report = _report()
    sweep = sweeps.current(store)
    if number is None or int(sweep.number) < int(number):
        sweep = sweeps.begin(store, anew=True)
    _sweep(store, report, sweep, None)
    statistics.publish(store)
    return report


def check(store: Store, position: str | None) -> Comparison:
    """Compares the board with the profiles, from a position of the audit on, and writes nothing.

    Players who differ are looked at again a moment later: those who are playing may differ between the two sides.
    """
    began = time.monotonic()
    before = _fingerprint(store)
    position = position or audit.BEGINNING
    sums = audit.Sums()
    suspects: list[audit.Player] = []
    found: list[audit.Difference] = []
    while True:
        position, players, differences = audit.step(store, position)
        sums = sums.with_(players)
        suspects += (player for player in players if audit.compare(player))
        found += differences
        enough = len(suspects) + len(found) >= MOST_SUSPECTS or time.monotonic() - began >= COMPARING_SECONDS
        if not position or enough:
            break
    unsettled = _look_again(store, suspects, found)
    return {
        "sums": sums._asdict(),
        "differences": [{name: _shown(text) for name, text in difference._asdict().items()} for difference in found],
        "unsettled": unsettled,
        "before": before,
        "after": _fingerprint(store),
        "cursor": position,
        "finished": not position,
    }


def _look_again(store: Store, suspects: list[audit.Player], found: list[audit.Difference]) -> int:
    """Adds to `found` what is wrong with those who have not moved since they were seen; returns how many never stood
    still."""
    for _ in range(LOOKS - 1):
        if not suspects or deadline.remaining() < PAUSE_SECONDS + RESERVE_SECONDS:
            break
        time.sleep(PAUSE_SECONDS)
        moved = []
        for start in range(0, len(suspects), audit.SLICE):
            seen = suspects[start : start + audit.SLICE]
            for earlier, now in zip(seen, audit.look(store, [player.user_id for player in seen]), strict=True):
                if now == earlier:
                    found += audit.compare(now)
                elif audit.compare(now):
                    moved.append(now)
        suspects = moved
    return len(suspects)


def _fingerprint(store: Store) -> dict[str, Any]:
    totals, members, pending = audit.fingerprint(store)
    return audit.Fingerprint([total and _shown(total) for total in totals], members, pending)._asdict()


def _shown(text: str) -> str:
    """A text that any JSON can hold: not too long, and with bytes that are not text written out."""
    return text.encode(errors="backslashreplace").decode()[:LONGEST_TEXT]


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
        "activeToday": None,
        "activeMonth": None,
    }


def _settle_intents(store: Store, report: Report) -> None:
    left = 0
    while deadline.remaining() > RESERVE_SECONDS:
        due = outbox.due(store, left, BATCH)
        if not due:
            break
        settled = projections.settle(store, [(overdue.user_id, overdue.intent) for overdue in due])
        report["found"] += len(due)
        report["oldestSeconds"] = max(report["oldestSeconds"], due[0].age_seconds)
        report["projected"] += sum(1 for projection in settled if projection and projection.index_now >= 0)
        report["cleared"] += len(due) - settled.count(None)
        report["unreadable"] += settled.count(None)
        left += settled.count(None)


def _sweep(store: Store, report: Report, sweep: sweeps.Sweep, most: int | None) -> None:
    while sweep.position and deadline.remaining() > RESERVE_SECONDS and (most is None or report["swept"] < most):
        part = sweeps.advance(store, sweep, BATCH)
        sweep = part.sweep
        report["swept"] += part.seen
        report["mended"] += part.mended
        report["unreadable"] += part.unreadable
        report["forgotten"] += part.forgotten
    report["cursor"], report["position"], report["finished"] = sweep.number, sweep.position, not sweep.position
