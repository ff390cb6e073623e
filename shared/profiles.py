"""Profiles: what is true about each player, one hash each."""

from __future__ import annotations

import re
from typing import NamedTuple

from shared.store import Store

PREFIX, RECEIPTS, MARK = "user:", ":receipts:", ":erased"

OWNER = re.compile(
    re.escape(f"{{{PREFIX}") + "(.*)" + re.escape("}") + f"({re.escape(RECEIPTS)}[ab]|{re.escape(MARK)})", re.DOTALL
)
"""The key of a player's receipts, or of the mark of somebody who was erased."""


def profile_key(user_id: str) -> str:
    """The hash that holds a player's profile."""
    return f"{PREFIX}{user_id}"


def receipts_keys(user_id: str) -> list[str]:
    """The two hashes, in the slot of the profile, that hold what a player's submissions with a key did."""
    return [f"{{{PREFIX}{user_id}}}{RECEIPTS}{generation}" for generation in ("a", "b")]


def unkeyed_receipt_key(user_id: str, attempt: str) -> str:
    """The string, in the profile's slot, that holds what a submission without a key did, for its own second try."""
    return f"{{{PREFIX}{user_id}}}:submission:{attempt}"


def sessions_key(user_id: str) -> str:
    """The sorted set, in the profile's slot, that knows a player's sessions, by the seconds at which they end. A crash
    may leave an id there that is nobody's session, or another player's: the session says whose it is."""
    return f"{{{PREFIX}{user_id}}}:sessions"


def record_keys(user_id: str) -> list[str]:
    """The record of a player's sessions, and the string beside it that holds their pace."""
    return [sessions_key(user_id), f"{{{PREFIX}{user_id}}}:pace"]


def mark_key(user_id: str) -> str:
    """The hash, in the slot of the profile, that is left of somebody who was erased: their revision, the attempt that
    erased them, in which second, in which second the mark ends, and the ids of their sessions, with blanks between."""
    return f"{{{PREFIX}{user_id}}}{MARK}"


class Scanned(NamedTuple):
    """A slice of all keys: the cursor to go on from ('0' at the end), who has a profile, who has receipts, and who was
    erased."""

    cursor: str
    user_ids: list[str]
    receipts_of: list[str]
    erased: list[str]


def scan(store: Store, cursor: str, count: int) -> Scanned:
    """A slice of all players, of their receipts and of the marks, about `count` keys long. Any may come twice."""
    ((following, keys),) = store.ask(("SCAN", cursor, "MATCH", f"*{PREFIX}*", "COUNT", count))
    user_ids = [key.removeprefix(PREFIX) for key in keys if key.startswith(PREFIX)]
    owners = [found for found in map(OWNER.fullmatch, keys) if found]
    receipts_of = dict.fromkeys(found[1] for found in owners if found[2] != MARK)
    return Scanned(following, user_ids, [*receipts_of], [found[1] for found in owners if found[2] == MARK])
