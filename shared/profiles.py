"""Profiles: what is true about each player, one hash each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from shared.store import Command, Store

PREFIX = "user:"

STATE = re.compile(r"-?[0-9]{1,16} -?[0-9]{1,16} [0-9]{1,16} -?[0-9]{1,16} [^\ud800-\udfff]*\Z")
"""A state as a submission writes it, its parts joined by spaces; bytes that are no text are read as surrogates."""


class State(NamedTuple):
    """What the board shows of a player, at a revision; numbers as decimal text. An empty score: there is no profile."""

    user_id: str
    revision: str
    score: str
    games_played: str
    best_score: str
    username: str


def profile_key(user_id: str) -> str:
    """The hash that holds a player's profile."""
    return f"{PREFIX}{user_id}"


def receipt_key(user_id: str, name: str) -> str:
    """The hash that holds what a submission of a player did, in the slot of the profile."""
    return f"{{{PREFIX}{user_id}}}:submission:{name}"


def reading(user_id: str) -> Command:
    """The command that reads a player's state; its reply is for `state`. (model: read)"""
    return ("HMGET", profile_key(user_id), "revision", "score", "gamesPlayed", "bestScore", "username")


def state(user_id: str, reply: Sequence[Any]) -> State | None:
    """A player's state from the reply to `reading`; None for a hash that is no profile of ours."""
    if set(reply) == {None}:
        return State(user_id, "0", "", "", "", "")
    return State(user_id, *reply) if None not in reply and STATE.match(" ".join(reply)) else None


def scan(store: Store, cursor: str, count: int) -> tuple[str, list[str]]:
    """A slice of all players, about `count` keys long: the cursor to go on from ('0' at the end), and userIds."""
    ((following, keys),) = store.ask(("SCAN", cursor, "MATCH", f"{PREFIX}*", "COUNT", count))
    return following, [key.removeprefix(PREFIX) for key in keys]
