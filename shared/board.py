"""The board: a projection of the profiles, ranked, with the names beside it, all in one slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from shared.problems import UserNotFound
from shared.store import Script, Store

BOARD = "leaderboard:global"
PLAYERS = f"{{{BOARD}}}:players"
TOTALS = f"{{{BOARD}}}:totals"

POINTS_PER_LEVEL = 750

PAGE = Script("page", writes=False)
AROUND = Script("around", writes=False)
PROJECT = Script("project", writes=True)


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


def top(store: Store, limit: int, offset: int) -> Page:
    """`limit` entries from the one at index `offset` on, none beyond the end, in one round trip."""
    ((total, flat, rows),) = store.read(PAGE.call([BOARD, PLAYERS], offset, offset + limit - 1))
    return {"leaderboard": _entries(offset, flat, rows), "totalPlayers": total}


def around(store: Store, user_id: str, reach: int) -> list[Neighbour]:
    """A player with up to `reach` neighbours on each side, in one round trip. Raises UserNotFound."""
    (found,) = store.read(AROUND.call([BOARD, PLAYERS], user_id, reach))
    if found is None:
        raise UserNotFound
    return [{**entry, "isCurrentUser": entry["userId"] == user_id} for entry in _entries(*found)]


def standing(store: Store, user_id: str) -> Standing:
    """A player's rank, in one round trip. Raises UserNotFound."""
    found, total = store.read(("ZREVRANK", BOARD, user_id, "WITHSCORE"), ("ZCARD", BOARD))
    if found is None:
        raise UserNotFound
    index, score = found
    percentile = round(100 * (total - index) / total, 2)
    return {"userId": user_id, "rank": index + 1, "score": int(score), "totalPlayers": total, "percentile": percentile}


def project(
    store: Store, user_id: str, revision: str, score: str, games_played: str, best_score: str, username: str
) -> None:
    """Brings the board to a player's state at a revision, in one round trip; nothing if it stood there or beyond."""
    store.write(PROJECT.call([BOARD, PLAYERS, TOTALS], user_id, revision, score, games_played, best_score, username))


def _entries(first: int, flat: Sequence[str], rows: Sequence[str | None]) -> list[Entry]:
    """Entries from a sorted set's flat reply and the rows 'revision gamesPlayed username' beside it."""
    return [
        {
            "rank": rank,
            "userId": user_id,
            "username": row.split(" ", 2)[2] if row else "",
            "score": (score := int(text)),
            "level": level(score),
        }
        for rank, (user_id, text, row) in enumerate(zip(flat[::2], flat[1::2], rows, strict=True), first + 1)
    ]
