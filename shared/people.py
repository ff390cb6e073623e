"""People: what the law gives a player, to read everything that is held about them, and to have it erased."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from shared import clock, idempotency, outbox, players, profiles, records, sessions
from shared.config import Rules
from shared.problems import UserNotFound
from shared.store import Script, Store
from shared.tokens import LONGEST_PLAYER_SECONDS, SKEW_SECONDS

ERASE = Script("erase", writes=True)

TOKEN_SECONDS = LONGEST_PLAYER_SECONDS + SKEW_SECONDS
"""The longest life of a player's token, and how far the clock that judges it may be behind: whoever was erased could
come back with it."""

OPERATORS = {"c": "create", "s": "set", "b": "best", "i": "increment", "d": "decrement", "k": "correct"}
"""What a receipt's letter stands for, as in submit.lua."""


class Erased(NamedTuple):
    """What was erased besides the profile: how many sessions that were open."""

    sessions: int


def export(store: Store, user_id: str) -> dict[str, Any]:
    """Everything that is held about a player, in two round trips: the profile, what is remembered of their keys, and
    the sessions that have not ended. Raises UserNotFound."""
    stored, known, *kept = store.ask(
        ("HMGET", profiles.profile_key(user_id), *records.Profile._fields),
        ("ZRANGE", profiles.sessions_key(user_id), 0, -1),
        *(("HGETALL", key) for key in profiles.receipts_keys(user_id)),
    )
    profile = dict(zip(records.Profile._fields, stored, strict=True))
    if profile["revision"] is None:
        raise UserNotFound
    open_sessions = sessions.of(store, [(user_id, session_id) for session_id in known])
    return {
        "exportedAt": clock.now(),
        "user": records.user(user_id, profile),
        "bestScore": int(profile["bestScore"]),
        "hidden": bool(profile["hidden"]),
        "submissions": [
            submission
            for generation in kept
            for submission in _remembered(user_id, dict(zip(generation[::2], generation[1::2], strict=True)))
        ],
        "sessions": [*open_sessions.values()],
    }


def erase(store: Store, rules: Rules, *, user_id: str) -> Erased:
    """Erases a player, in two round trips: profile, receipts and record of sessions, then row and totals; two more end
    the sessions. What stays is a mark in the player's slot and an empty row, until nothing late can come any more.

    Raises UserNotFound, for somebody erased before as well; Unavailable when nobody knows whether it was done,
    NotYetVisible when it was but the board lags behind.
    """
    attempt, sent = idempotency.attempt(), time.time_ns() // 1_000_000
    intent = outbox.intent(user_id, attempt)
    command = ERASE.command(
        [
            profiles.profile_key(user_id),
            profiles.mark_key(user_id),
            *profiles.record_keys(user_id),
            *profiles.receipts_keys(user_id),
        ],
        *(attempt, sent, outbox.FENCE_SECONDS * 1000, max(rules.receipt_seconds, TOKEN_SECONDS)),
    )
    _, done_by, revision, ids = players.carry_out(store, rules, intent, sent, command)
    players.project(store, records.erased(user_id, revision), intent)
    ended = sessions.end(store, [(user_id, session_id) for session_id in ids.split()])
    if done_by != attempt:
        raise UserNotFound
    return Erased(ended)


def _remembered(user_id: str, generation: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """What is remembered of each submission in a generation of receipts, as submit.lua has written them."""
    for name, receipt in generation.items():
        if name not in ("born", "ends"):
            previous, score = receipt[29:].split(" ")
            yield {
                "submissionId": idempotency.derived_id(user_id, name, receipt[:12]),
                "operator": OPERATORS[receipt[28]],
                "previousScore": int(previous),
                "score": int(score),
            }
