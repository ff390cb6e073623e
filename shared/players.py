"""Players: the profile of each is the truth about them, and what they submit goes through here."""

from __future__ import annotations

import uuid
from typing import TypedDict

from shared import board, clock
from shared.problems import FieldError, InvalidArguments, UserExists, UserNotFound
from shared.store import Script, Store

SUBMIT = Script("submit", writes=True)

PUBLIC_FIELDS = ("username", "email", "score", "level", "gamesPlayed", "createdAt", "lastActive")


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


def profile_key(user_id: str) -> str:
    """The hash that holds a player's profile."""
    return f"user:{user_id}"


def find(store: Store, user_id: str) -> User:
    """A player's profile, in one round trip. Raises UserNotFound."""
    ((username, *values),) = store.read(("HMGET", profile_key(user_id), *PUBLIC_FIELDS))
    if username is None:
        raise UserNotFound
    return _user(user_id, username, *values)


def create(
    store: Store, bounds: tuple[int, int], *, username: str, email: str, user_id: str | None = None, score: int = 0
) -> User:
    """A new player, ranked at once, in two round trips; without a user_id a random UUID names them.

    Raises UserExists, and InvalidArguments for a score outside bounds.
    """
    chosen = user_id or str(uuid.uuid4())
    return _submit(store, bounds, chosen, "create", score, chosen, username, email)


def submit(store: Store, bounds: tuple[int, int], *, user_id: str, score: int) -> User:
    """Sets a player's score and counts a game, in two round trips: the profile, then the board.

    Raises UserNotFound, and InvalidArguments for a score outside bounds.
    """
    return _submit(store, bounds, user_id, "set", score)


def _submit(store: Store, bounds: tuple[int, int], user_id: str, operator: str, score: int, *creation: str) -> User:
    ((outcome, *facts),) = store.write(
        SUBMIT.call([profile_key(user_id)], operator, score, *bounds, board.POINTS_PER_LEVEL, clock.now(), *creation)
    )
    if outcome == "missing":
        raise UserNotFound
    if outcome == "taken":
        raise UserExists
    if outcome == "out of bounds":
        raise InvalidArguments([_out_of_bounds(bounds)])
    revision, username, email, new_score, level, games_played, created_at, last_active, best_score = facts
    board.project(store, user_id, revision, new_score, games_played, best_score, username)
    return _user(user_id, username, email, new_score, level, games_played, created_at, last_active)


def _out_of_bounds(bounds: tuple[int, int]) -> FieldError:
    lowest, highest = bounds
    return {"name": "score", "in": "body", "detail": f"must be from {lowest} to {highest}"}


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
