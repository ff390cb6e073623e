"""The board: a projection of the profiles, ranked, with the names beside it, all in one slot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

from shared.config import LARGEST_SCORE
from shared.problems import UserNotFound
from shared.profiles import State
from shared.store import Command, Script, Store

BOARD = "leaderboard:global"
PLAYERS = f"{{{BOARD}}}:players"
TOTALS = f"{{{BOARD}}}:totals"
SWEEP = f"{{{BOARD}}}:sweep"
PENDING = f"{{{BOARD}}}:pending"

POINTS_PER_LEVEL = 750

PAGE = Script("page", writes=False)
AROUND = Script("around", writes=False)
PROJECT = Script("project", writes=True)


ROW = re.compile(r"([0-9]{1,16}) (-?[0-9]+) ([0-9]+) ([0-9]+) (.*)\Z", re.DOTALL)
"""A row as project.lua writes and reads it."""


class Row(NamedTuple):
    """What stands beside a member of the board: the revision that was projected, and the sweep that last counted it."""

    revision: str
    sweep: str
    username: str


class Place(NamedTuple):
    """Where a player stands on the board, and at which revision; `above` is the score directly above, None at the top.

    A player who is not there (any more) has rank 0. `mended` tells that the board was not like that before.
    """

    revision: str
    previous_rank: int | None
    rank: int
    total_players: int
    score: int
    above: int | None
    mended: bool


class Entry(TypedDict):
    """A player as everybody sees them. `rank` is 1-based; equal scores are ordered by userId, descending."""

    rank: int
    userId: str
    username: str
    score: int
    level: int


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


def level(score: int) -> int:
    """A score's level: 1 from the start, one more every 750 points."""
    return score // POINTS_PER_LEVEL + 1 if score > 0 else 1


def percentile(rank: int, total_players: int) -> float:
    """The share of players at or below a rank, in percent, two decimals."""
    return round(100 * (total_players - rank + 1) / total_players, 2)


def top(store: Store, limit: int, offset: int) -> Page:
    """`limit` entries from the one at index `offset` on, none beyond the end, in one round trip."""
    ((total, flat, rows),) = store.ask(PAGE.call([BOARD, PLAYERS], offset, offset + limit - 1))
    return {"leaderboard": _entries(offset, flat, rows), "totalPlayers": total}


def around(store: Store, user_id: str, reach: int) -> list[Neighbour]:
    """A player with up to `reach` neighbours on each side, in one round trip. Raises UserNotFound."""
    (found,) = store.ask(AROUND.call([BOARD, PLAYERS], user_id, reach))
    if found is None:
        raise UserNotFound
    return [{**entry, "isCurrentUser": entry["userId"] == user_id} for entry in _entries(*found)]


def standing(store: Store, user_id: str) -> Standing:
    """A player's rank, in one round trip. Raises UserNotFound."""
    found, total = store.ask(("ZREVRANK", BOARD, user_id, "WITHSCORE"), ("ZCARD", BOARD))
    if found is None:
        raise UserNotFound
    index, score = found
    rank = index + 1
    return {
        "userId": user_id,
        "rank": rank,
        "score": _score(score),
        "totalPlayers": total,
        "percentile": percentile(rank, total),
    }


def projection(state: State, intent: str | None = None) -> Command:
    """The command that brings the board to a player's state and settles an intent; its reply is for `place`."""
    return PROJECT.call([BOARD, PLAYERS, TOTALS, SWEEP, PENDING], *state, *(() if intent is None else (intent,)))


def place(reply: Sequence[Any]) -> Place:
    """What a projection found and left."""
    revision, before, index, total_players, score, above, mended = reply
    return Place(
        revision=revision,
        previous_rank=before + 1 if before >= 0 else None,
        rank=index + 1,
        total_players=total_players,
        score=_score(score or "0"),
        above=_score(above) if above else None,
        mended=mended == 1,
    )


def project(store: Store, state: State, intent: str | None = None) -> Place:
    """Brings the board to a player's state, in one round trip; nothing moves if it stood beyond that revision."""
    (reply,) = store.ask(projection(state, intent))
    return place(reply)


def rows(store: Store, user_ids: Sequence[str]) -> list[Row | None]:
    """The rows of some players, None where there is none or it is no row, in one round trip. (model: row)"""
    (texts,) = store.ask(("HMGET", PLAYERS, *user_ids)) if user_ids else ([],)
    return [_row(text) for text in texts]


def scan_rows(store: Store, cursor: str, count: int) -> tuple[str, list[tuple[str, Row | None]]]:
    """A slice of all rows with their userIds, and the cursor to go on from, '0' at the end."""
    ((following, flat),) = store.ask(("HSCAN", PLAYERS, cursor, "COUNT", count))
    return following, [(user_id, _row(text)) for user_id, text in zip(flat[::2], flat[1::2], strict=True)]


def scan_members(store: Store, cursor: str, count: int) -> tuple[str, list[str]]:
    """A slice of all members of the sorted set, and the cursor to go on from, '0' at the end."""
    ((following, flat),) = store.ask(("ZSCAN", BOARD, cursor, "COUNT", count))
    return following, flat[::2]


def _entries(first: int, flat: Sequence[str], rows: Sequence[str | None]) -> list[Entry]:
    """Entries from a sorted set's flat reply and the rows 'revision score gamesPlayed sweep username' beside it."""
    return [
        {
            "rank": rank,
            "userId": user_id,
            "username": row.split(" ", 4)[-1] if row else "",
            "score": (score := _score(text)),
            "level": level(score),
        }
        for rank, (user_id, text, row) in enumerate(zip(flat[::2], flat[1::2], rows, strict=True), first + 1)
    ]


def _score(text: str) -> int:
    """A score of the sorted set: whole, unless somebody else wrote it and no sweep has come by yet."""
    try:
        return int(text)
    except ValueError:
        return round(max(-LARGEST_SCORE, min(float(text), LARGEST_SCORE)))


def _row(text: str | None) -> Row | None:
    found = ROW.match(text or "")
    return Row(*found.group(1, 4, 5)) if found else None
