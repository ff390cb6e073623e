"""Profiles: what is true about each player, one hash each."""

from __future__ import annotations

import re
from typing import NamedTuple

from shared.store import Store

PREFIX, RECEIPTS = "user:", ":receipts:"

OWNER = re.compile(re.escape(f"{{{PREFIX}") + "(.*)" + re.escape("}" + RECEIPTS) + "[ab]", re.DOTALL)
"""The key of a player's receipts."""


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
    """The hash, in the profile's slot, that knows a player's sessions: each id with the second at which it ends, and
    the field `rate`. A crash may leave an id there that is nobody's session, or another player's: the session says
    whose it is."""
    return f"{{{PREFIX}{user_id}}}:sessions"


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
