"""The board: what is projected of the profiles, ranked, with a row beside each member, all in one slot.

Its order is that of ZREVRANK and ZRANGE … REV: the highest score first, and among equal scores the userId that is
greatest byte by byte. Whatever reads an order, here or in a script, reads this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from shared import records
from shared.problems import NotFound, NotRanked, UserNotFound
from shared.records import Entry, Projection, Row, State
from shared.store import Command, Script, Store

BOARD = "leaderboard:global"
PLAYERS = f"{{{BOARD}}}:players"
TOTALS = f"{{{BOARD}}}:totals"
SWEEP = f"{{{BOARD}}}:sweep"
PENDING = f"{{{BOARD}}}:pending"

PAGE = Script("page", writes=False)
AROUND = Script("around", writes=False)
PROJECT = Script("project", writes=True)


class Neighbour(Entry):
    """An entry near a player, or the player."""

    isCurrentUser: bool


class Page(TypedDict):
    """Some consecutive entries, best first, and how many players there are in all."""

    leaderboard: list[Entry]
    totalPlayers: int


class Standing(TypedDict):
    """Where a player stands; `percentile` is the share of players at or below them, in percent."""

    userId: str
    rank: int
    score: int
    totalPlayers: int
    percentile: float


def percentile(rank: int, total_players: int) -> float:
    """The share of players at or below a rank, in percent, two decimals."""
    return round(100 * (total_players - rank + 1) / total_players, 2)


def top(store: Store, limit: int, offset: int) -> Page:
    """`limit` entries from index `offset` on, or fewer at the end, in one round trip."""
    ((total, flat, rows),) = store.ask(PAGE.command([BOARD, PLAYERS], offset, offset + limit - 1))
    return {"leaderboard": records.entries(offset, flat, rows), "totalPlayers": total}


def around(store: Store, user_id: str, reach: int) -> list[Neighbour]:
    """A player with up to `reach` neighbours on each side, in one round trip. Raises UserNotFound and NotRanked, in
    two."""
    (found,) = store.ask(AROUND.command([BOARD, PLAYERS], user_id, reach))
    if found is None:
        raise _absence(store, user_id)
    return [{**entry, "isCurrentUser": entry["userId"] == user_id} for entry in records.entries(*found)]


def standing(store: Store, user_id: str) -> Standing:
    """A player's rank, in one round trip. Raises UserNotFound and NotRanked, in two."""
    found, total = store.ask(("ZREVRANK", BOARD, user_id, "WITHSCORE"), ("ZCARD", BOARD))
    if found is None:
        raise _absence(store, user_id)
    index, score = found
    rank = index + 1
    return {
        "userId": user_id,
        "rank": rank,
        "score": records.whole_score(score),
        "totalPlayers": total,
        "percentile": percentile(rank, total),
    }


def project_command(state: State, intent: str | None = None, active_key: str | None = None) -> Command:
    """The command that brings the board to a player's state and settles an intent; its reply is a Projection. With the
    key of a day, it counts the player as active then: that is for requests alone."""
    keys = [BOARD, PLAYERS, TOTALS, SWEEP, PENDING, *(() if active_key is None else (active_key,))]
    return PROJECT.command(keys, *state, *(() if intent is None else (intent,)))


def project(store: Store, state: State, intent: str | None = None, active_key: str | None = None) -> Projection:
    """Brings the board to a player's state, in one round trip; nothing moves if it is past that revision already."""
    (reply,) = store.ask(project_command(state, intent, active_key))
    return Projection(*reply)


def rows(store: Store, user_ids: Sequence[str]) -> list[Row | None]:
    """The rows of some players, None where there is none or it is not a row, in one round trip. (model: row)"""
    (texts,) = store.ask(("HMGET", PLAYERS, *user_ids)) if user_ids else ([],)
    return [records.row(text) for text in texts]


def scan_rows(store: Store, cursor: str, count: int) -> tuple[str, list[tuple[str, Row | None]]]:
    """A slice of all rows with their userIds, and the cursor to go on from, '0' at the end."""
    ((following, flat),) = store.ask(("HSCAN", PLAYERS, cursor, "COUNT", count))
    return following, [(user_id, records.row(text)) for user_id, text in zip(flat[::2], flat[1::2], strict=True)]


def scan_members(store: Store, cursor: str, count: int) -> tuple[str, list[str]]:
    """A slice of all members of the sorted set, and the cursor to go on from, '0' at the end."""
    ((following, flat),) = store.ask(("ZSCAN", BOARD, cursor, "COUNT", count))
    return following, flat[::2]


def _absence(store: Store, user_id: str) -> NotFound:
    """Why a player is not on the board: a hidden one has a row that shows something."""
    (row,) = rows(store, [user_id])
    return NotRanked() if row and row.shown else UserNotFound()
