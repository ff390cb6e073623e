"""Players: the profile of each is the truth about them, and what they submit goes through here."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

from shared import board, clock, idempotency, outbox, profiles, projections
from shared.config import Operator, Rules
from shared.idempotency import Key
from shared.problems import (
    NO_INTEGER_WITHIN,
    InvalidArguments,
    KeyReused,
    NotYetVisible,
    Problem,
    StaleAttempt,
    TooManyKeys,
    Unavailable,
    UserExists,
    UserNotFound,
)
from shared.profiles import State
from shared.store import Script, Store, value

SUBMIT = Script("submit", writes=True)

PUBLIC_FIELDS = ("username", "email", "score", "level", "gamesPlayed", "createdAt", "lastActive")

UNKEYED = ("", "-" * 16, 60)
"""Name and digest of no key, and how long a receipt lives without one in seconds: for our own second try."""

REFUSALS: dict[str, type[UserNotFound | UserExists | KeyReused | StaleAttempt]] = {
    "missing": UserNotFound,
    "taken": UserExists,
    "reused": KeyReused,
    "stale": StaleAttempt,
}
BROKEN_RULES = {
    "outside": NO_INTEGER_WITHIN,
    "below": "would become lower than {}, the lowest score allowed",
    "above": "would become higher than {}, the highest score allowed",
    "step": "would change by more than {}, the largest change allowed",
    "games": "cannot be counted: the player has {} games, the most there can be",
}


class User(TypedDict):
    """A profile as its owner sees it. Times are ISO-8601 in UTC with milliseconds."""

    userId: str
    username: str
    email: str
    score: int
    level: int
    gamesPlayed: int
    createdAt: str
    lastActive: str


class Next(TypedDict):
    """What it takes to pass the player directly above: the score, and the points that are missing to it."""

    score: int
    points: int


class Receipt(TypedDict):
    """What a submission did, and where the player stands now; `previousRank` is None in a replay."""

    submissionId: str
    operator: Operator
    applied: bool
    previousScore: int
    score: int
    delta: int
    previousRank: int | None
    rank: int
    totalPlayers: int
    percentile: float
    next: Next | None


class Submitted(NamedTuple):
    """An accepted submission; `replayed` if an earlier request with its key had done it."""

    user: User
    receipt: Receipt
    replayed: bool


def find(store: Store, user_id: str) -> User:
    """A player's profile, in one round trip. Raises UserNotFound."""
    ((username, *values),) = store.ask(("HMGET", profiles.profile_key(user_id), *PUBLIC_FIELDS))
    if username is None:
        raise UserNotFound
    return _user(user_id, username, *values)


def create(
    store: Store,
    rules: Rules,
    key: Key | None,
    *,
    username: str,
    email: str,
    user_id: str | None = None,
    score: int | None = None,
) -> Submitted:
    """A new player, ranked at once, in two round trips; without a user_id a UUID names them, which follows from the key
    if there is one; without a score they start at the rules' starting score.

    So a key makes one player at most: when its receipt is no more, it finds them taken.
    Raises UserExists, KeyReused, and InvalidArguments for a score against the rules.
    """
    chosen = user_id or (key.made_id if key else str(uuid.uuid4()))
    if score is None:
        score = rules.starting_score
    return _submit(store, rules, key, chosen, "create", score, username, email)


def submit(
    store: Store, rules: Rules, key: Key | None, *, user_id: str, score: int, operator: Operator = "set"
) -> Submitted:
    """Applies a score to a player's and counts a game, in two round trips: the profile, then the board.

    Raises UserNotFound, KeyReused, and InvalidArguments for a result against the rules: then nothing has changed.
    Raises Unavailable when nobody knows whether it was applied, NotYetVisible when it was but the board lags behind.
    """
    return _submit(store, rules, key, user_id, operator, score)


def _submit(
    store: Store, rules: Rules, key: Key | None, user_id: str, operator: str, amount: int, *creation: str
) -> Submitted:
    attempt = idempotency.attempt()
    intent = outbox.intent(user_id, attempt)
    name, digest, life = (key.name, key.digest, rules.receipt_seconds) if key else UNKEYED
    kept = profiles.receipts_keys(user_id) if key else [profiles.unkeyed_receipt_key(user_id, attempt)]
    step = "" if rules.score_step_max is None else rules.score_step_max
    sent = time.time_ns() // 1_000_000
    _, reply = store.exchange(
        outbox.add(intent, sent),
        SUBMIT.call(
            [profiles.profile_key(user_id), *kept],
            *(operator, amount, rules.score_min, rules.score_max, step, board.POINTS_PER_LEVEL),
            *(attempt, sent, outbox.FENCE_SECONDS * 1000, clock.text(sent), name, digest, life, rules.receipts_max),
            *((user_id, *creation) if creation else ()),
        ),
    )
    outcome, *facts = value(reply)
    if outcome not in ("done", "replayed"):
        if store.repeated:  # the first try may be still to come, or has done it: reconcile clears its intent
            raise StaleAttempt if outcome == "stale" else Unavailable
        with contextlib.suppress(Unavailable):  # the refusal stands; reconcile clears what this could not
            outbox.clear(store, intent)
        raise _refusal(rules, outcome, facts)
    state = State(user_id, *facts[:5])
    try:
        place = _project(store, state, intent)
    except Unavailable as problem:
        raise NotYetVisible from problem
    if not place.rank:
        raise Unavailable  # the profile was lost meanwhile, and the submission with it
    return _submitted(state, facts[5:], place, name, replayed=outcome == "replayed" and facts[9] != attempt)


def _project(store: Store, state: State, intent: str) -> board.Place:
    """Brings the board to the state, which it may have passed: by a later submission, or because this slot has lost its
    last writes and the clock stood still since; then the profile gets a newer revision, so that its owner sees it."""
    place = board.project(store, state, intent)
    if int(place.revision) > int(state.revision):
        (settled,) = projections.settle(store, [(state.user_id, None)])
        place = settled._replace(previous_rank=place.previous_rank) if settled else place
    return place


def _refusal(rules: Rules, outcome: str, facts: Sequence[str]) -> Problem:
    if outcome in REFUSALS:
        return REFUSALS[outcome]()
    if outcome == "many":
        return TooManyKeys(rules.receipts_max, int(facts[0]))
    return InvalidArguments([{"name": "score", "in": "body", "detail": BROKEN_RULES[outcome].format(*facts)}])


def _submitted(state: State, facts: Sequence[Any], place: board.Place, name: str, *, replayed: bool) -> Submitted:
    email, level, created_at, last_active, attempt, operator, previous, then = facts
    user = _user(state.user_id, state.username, email, state.score, level, state.games_played, created_at, last_active)
    above = None
    if place.above is not None:
        above = Next(score=place.above + 1, points=place.above + 1 - place.score)
    receipt: Receipt = {
        "submissionId": idempotency.derived_id(state.user_id, name, attempt),
        "operator": operator,
        "applied": operator != "best" or then != previous,
        "previousScore": int(previous),
        "score": int(then),
        "delta": int(then) - int(previous),
        "previousRank": None if replayed else place.previous_rank,
        "rank": place.rank,
        "totalPlayers": place.total_players,
        "percentile": board.percentile(place.rank, place.total_players),
        "next": above,
    }
    return Submitted(user, receipt, replayed)


def _user(
    user_id: str,
    username: str,
    email: str,
    score: str,
    level: str,
    games_played: str,
    created_at: str,
    last_active: str,
) -> User:
    return {
        "userId": user_id,
        "username": username,
        "email": email,
        "score": int(score),
        "level": int(level),
        "gamesPlayed": int(games_played),
        "createdAt": created_at,
        "lastActive": last_active,
    }
