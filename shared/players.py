"""Players: the profile of each is the truth about them, and what they submit goes through here."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

from shared import board, claims, clock, outbox, projections
from shared.config import Operator, Rules
from shared.idempotency import Key
from shared.problems import (
    InvalidArguments,
    KeyReused,
    NotYetVisible,
    Problem,
    StaleAttempt,
    Unavailable,
    UserExists,
    UserNotFound,
)
from shared.profiles import State, profile_key, receipt_key
from shared.store import Script, Store, value

SUBMIT = Script("submit", writes=True)

PUBLIC_FIELDS = ("username", "email", "score", "level", "gamesPlayed", "createdAt", "lastActive")

FENCE_SECONDS = 30
"""An attempt whose own time is further from the server's is refused: reconcile may have cleared its intent."""

UNKEYED_RECEIPT_SECONDS = 60
"""How long a receipt lives without a client's key: long enough for our own second try."""

REFUSALS: dict[str, type[UserNotFound | UserExists | KeyReused]] = {
    "missing": UserNotFound,
    "taken": UserExists,
    "reused": KeyReused,
}
BROKEN_RULES = {
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
    ((username, *values),) = store.ask(("HMGET", profile_key(user_id), *PUBLIC_FIELDS))
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
    """A new player, ranked at once, in two round trips; without a user_id a random UUID names them, without a score
    they start at the rules' starting score.

    With a key one trip more claims it first, so that the same key always names the same player.
    Raises UserExists, KeyReused, and InvalidArguments for a score against the rules.
    """
    chosen = user_id or str(uuid.uuid4())
    if score is None:
        score = rules.starting_score
    if key is None:
        return _submit(store, rules, None, chosen, "create", score, username, email)
    claim = claims.take(store, key, chosen, rules.receipt_seconds)
    try:
        created = _submit(store, rules, key, claim.named, "create", score, username, email)
    except Unavailable:
        raise
    except Problem:
        claims.release(store, key, claim)
        raise
    if claim.named != chosen and not created.replayed:
        claims.prolong(store, key, rules.receipt_seconds)
    return created


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
    attempt = str(uuid.uuid4())
    intent = outbox.intent(user_id, attempt)
    name, digest, lifetime = (*key, rules.receipt_seconds) if key else (attempt, "", UNKEYED_RECEIPT_SECONDS)
    step = "" if rules.score_step_max is None else rules.score_step_max
    sent = time.time_ns() // 1_000_000
    _, reply = store.exchange(
        outbox.add(intent, sent),
        SUBMIT.call(
            [profile_key(user_id), receipt_key(user_id, name)],
            *(operator, amount, rules.score_min, rules.score_max, step, board.POINTS_PER_LEVEL),
            *(attempt, sent, FENCE_SECONDS * 1000, clock.text(sent), digest, lifetime),
            *((user_id, *creation) if creation else ()),
        ),
    )
    outcome, *facts = value(reply)
    if outcome == "stale":
        raise StaleAttempt
    if outcome not in ("done", "replayed") and store.repeated:
        raise Unavailable  # the first try may be still to come: reconcile clears its intent
    if outcome not in ("done", "replayed"):
        with contextlib.suppress(Unavailable):  # the refusal stands; reconcile clears what this could not
            outbox.clear(store, intent)
        raise _refusal(outcome, facts)
    state = State(user_id, *facts[:5])
    try:
        place = _project(store, state, intent)
    except Unavailable as problem:
        raise NotYetVisible from problem
    if not place.rank:
        raise Unavailable  # the profile was lost meanwhile, and the submission with it
    return _submitted(state, facts[5:], place, replayed=outcome == "replayed" and facts[9] != attempt)


def _project(store: Store, state: State, intent: str) -> board.Place:
    """Brings the board to the state, which it may have passed: by a later submission, or because this slot has lost its
    last writes and the clock stood still since; then the profile gets a newer revision, so that its owner sees it."""
    place = board.project(store, state, intent)
    if int(place.revision) > int(state.revision):
        (settled,) = projections.settle(store, [(state.user_id, None)])
        place = settled._replace(previous_rank=place.previous_rank) if settled else place
    return place


def _refusal(outcome: str, facts: Sequence[str]) -> Problem:
    if outcome in REFUSALS:
        return REFUSALS[outcome]()
    return InvalidArguments([{"name": "score", "in": "body", "detail": BROKEN_RULES[outcome].format(*facts)}])


def _submitted(state: State, facts: Sequence[Any], place: board.Place, *, replayed: bool) -> Submitted:
    email, level, created_at, last_active, submission_id, operator, applied, previous, then = facts
    user = _user(state.user_id, state.username, email, state.score, level, state.games_played, created_at, last_active)
    above = None
    if place.above is not None:
        above = Next(score=place.above + 1, points=place.above + 1 - place.score)
    receipt: Receipt = {
        "submissionId": submission_id,
        "operator": operator,
        "applied": applied == "1",
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
