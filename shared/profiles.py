"""Profiles: what is true about each player, one hash each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from shared.store import Command, Store

PREFIX, RECEIPTS = "user:", ":receipts:"

STATE = re.compile(r"-?[0-9]{1,16} -?[0-9]{1,16} [0-9]{1,16} -?[0-9]{1,16} [^\ud800-\udfff]*\Z")
"""A state as a submission writes it, its parts joined by spaces; bytes that are no text are read as surrogates."""

OWNER = re.compile(re.escape(f"{{{PREFIX}") + "(.*)" + re.escape("}" + RECEIPTS) + "[ab]", re.DOTALL)
"""The key of a player's receipts."""


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


def receipts_keys(user_id: str) -> list[str]:
    """The two hashes, in the slot of the profile, that hold what a player's submissions with a key did."""
    return [f"{{{PREFIX}{user_id}}}{RECEIPTS}{generation}" for generation in ("a", "b")]


def unkeyed_receipt_key(user_id: str, attempt: str) -> str:
    """The string, in the profile's slot, that holds what a submission without a key did, for its own second try."""
    return f"{{{PREFIX}{user_id}}}:submission:{attempt}"


def reading(user_id: str) -> Command:
    """The command that reads a player's state; its reply is for `state`. (model: read)"""
    return ("HMGET", profile_key(user_id), "revision", "score", "gamesPlayed", "bestScore", "username")


def state(user_id: str, reply: Sequence[Any]) -> State | None:
    """A player's state from the reply to `reading`; None for a hash that is no profile of ours."""
    if set(reply) == {None}:
        return State(user_id, "0", "", "", "", "")
    return State(user_id, *reply) if None not in reply and STATE.match(" ".join(reply)) else None


class Scanned(NamedTuple):
    """A slice of all keys: the cursor to go on from ('0' at the end), who has a profile, and who has receipts."""

    cursor: str
    user_ids: list[str]
    receipts_of: list[str]


def scan(store: Store, cursor: str, count: int) -> Scanned:
    """A slice of all players and of their receipts, about `count` keys long. Either may come twice."""
    ((following, keys),) = store.ask(("SCAN", cursor, "MATCH", f"*{PREFIX}*", "COUNT", count))
    owners = {found[1]: None for found in map(OWNER.fullmatch, keys) if found}
    return Scanned(following, [key.removeprefix(PREFIX) for key in keys if key.startswith(PREFIX)], [*owners])
