"""The whole game in five numbers."""

from __future__ import annotations

from typing import TypedDict

from shared.board import BOARD, TOTALS
from shared.store import Store


class Statistics(TypedDict):
    """Totals over all players; `averageScore` is the total score by the games played, two decimals, 0 with no games."""

    totalGames: int
    totalScore: int
    highScore: int
    averageScore: float
    totalPlayers: int


def read(store: Store) -> Statistics:
    """The totals of this moment, in one round trip."""
    totals, total_players = store.read(("HMGET", TOTALS, "totalGames", "totalScore", "highScore"), ("ZCARD", BOARD))
    games, score, high = (int(total or 0) for total in totals)
    return {
        "totalGames": games,
        "totalScore": score,
        "highScore": high,
        "averageScore": round(score / games, 2) if games else 0,
        "totalPlayers": total_players,
    }
