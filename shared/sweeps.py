"""The sweep: one walk after another over all players, which brings the board in line with the profiles and counts them.

A sweep goes over the profiles, then over the rows and the members of the board that no profile has accounted for. It
keeps totals of its own, which every projection moves along with the real ones, and which replace them at its end: so
wrong totals heal as wrong entries do, while writes go on. Its position is in Valkey: any run continues it, two at once
do no harm, and a rebuild is simply a new sweep that does not wait for the schedule. On its way a sweep drops receipts
that have ended, and the marks of those who were erased once nothing late can come any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from shared import board, outbox, profiles, projections, sessions
from shared.store import Script, Store

SWEEP = Script("sweep", writes=True)
FORGET = Script("forget", writes=True)
PHASES = ("profiles", "rows", "members")


class Sweep(NamedTuple):
    """A sweep's number and its position 'phase cursor', '' when it has ended."""

    number: str
    position: str


class Slice(NamedTuple):
    """How far the sweep is after a slice, how many players the slice had, how many of them needed mending or were
    unreadable, and how many generations of receipts it dropped."""

    sweep: Sweep
    seen: int
    mended: int
    unreadable: int
    forgotten: int


def begin(store: Store, *, anew: bool) -> Sweep:
    """The sweep that is running, else a new one; always a new one if `anew`."""
    return _state(store, "new" if anew else "join")


def current(store: Store) -> Sweep:
    """The sweep that is running, or the last one with the position ''."""
    return _state(store, "look")


def advance(store: Store, sweep: Sweep, count: int) -> Slice:
    """Does the next slice, of about `count` players. Another run may do the same one, to the same end. (model: scan)"""
    phase, cursor = sweep.position.split(" ")
    following, user_ids, receipts_of, erased = _slice(store, sweep.number, phase, cursor, count)
    forgotten = _forget(store, receipts_of, profiles.receipts_keys)
    lifted = _lift(store, erased)
    settled = projections.settle(store, [(user_id, None) for user_id in (*user_ids, *erased)])
    if following != "0":
        position = f"{phase} {following}"
    elif phase != PHASES[-1]:
        position = f"{PHASES[PHASES.index(phase) + 1]} 0"
    else:
        position = ""
    return Slice(
        sweep=_state(store, "move", *sweep, position),
        seen=len(user_ids),
        mended=sum(
            projection.mended
            for user_id, projection in zip((*user_ids, *erased), settled, strict=True)
            if projection and user_id not in lifted
        ),
        unreadable=settled.count(None),
        forgotten=sum(forgotten),
    )


def _slice(store: Store, number: str, phase: str, cursor: str, count: int) -> profiles.Scanned:
    if phase == "profiles":
        return profiles.scan(store, cursor, count)
    if phase == "rows":
        following, rows = board.scan_rows(store, cursor, count)
        user_ids = [user_id for user_id, row in rows if row is None or row.counted_in != number]
    else:
        following, members = board.scan_members(store, cursor, count)
        beside = board.rows(store, members)
        user_ids = [user_id for user_id, row in zip(members, beside, strict=True) if row is None]
    return profiles.Scanned(following, user_ids, [], [])


def _forget(store: Store, user_ids: Sequence[str], keys: Callable[[str], list[str]]) -> list[int]:
    """How many of each player's keys have ended and are dropped."""
    now, tolerance = time.time_ns() // 1_000_000, outbox.FENCE_SECONDS * 1000
    commands = [FORGET.command(keys(user_id), now, tolerance) for user_id in user_ids]
    return [each or 0 for each in projections.readable(store, user_ids, commands)]


def _lift(store: Store, erased: Sequence[str]) -> set[str]:
    """Ends the sessions of those who were erased, since one may have been opened late, and drops the marks that have
    ended: whose those were."""
    commands = [("HMGET", profiles.mark_key(user_id), "sessions") for user_id in erased]
    named = zip(erased, projections.readable(store, erased, commands), strict=True)
    sessions.end(store, [(user_id, id) for user_id, reply in named if reply for id in (reply[0] or "").split()])
    dropped = _forget(store, erased, lambda user_id: [profiles.mark_key(user_id)])
    return {user_id for user_id, count in zip(erased, dropped, strict=True) if count}


def _state(store: Store, *arguments: str) -> Sweep:
    (reply,) = store.ask(SWEEP.command([board.TOTALS, board.SWEEP], *arguments))
    return Sweep(*reply)
