"""The whole game in five numbers."""

from __future__ import annotations

from typing import TypedDict

from shared.board import BOARD, TOTALS
from shared.store import Store


class Statistics(TypedDict):
    """Totals over all players; `averageScore` is the total score per game played, two decimals, 0 with no games."""

    totalGames: int
    totalScore: int
    highScore: int
    averageScore: float
    totalPlayers: int


STATS = "stats:game"
"""The hash for tools that look at Valkey: a copy, as old as the last run of reconcile."""

LONGEST_TOTAL = 40
"""More digits than any total of ours can have; Python does not read a number with thousands of them."""


def publish(store: Store) -> None:
    """Brings the copy for tools up to date."""
    published = [text for name, value in read(store).items() if name != "totalPlayers" for text in (name, str(value))]
    store.ask(("HSET", STATS, *published))


def read(store: Store) -> Statistics:
    """The present totals, in one round trip."""
    totals, total_players = store.ask(("HMGET", TOTALS, "totalGames", "totalScore", "highScore"), ("ZCARD", BOARD))
    games, score, high = (_whole(total) for total in totals)
    return {
        "totalGames": games,
        "totalScore": score,
        "highScore": high,
        "averageScore": round(score / games, 2) if games else 0,
        "totalPlayers": total_players,
    }


def _whole(total: str | None) -> int:
    """A total; 0 for one that is missing, or malformed until a sweep has counted anew."""
    is_number = total and len(total) <= LONGEST_TOTAL and total.isascii() and total.removeprefix("-").isdigit()
    return int(total or 0) if is_number else 0
