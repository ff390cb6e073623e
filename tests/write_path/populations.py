"""Players by the dozen, as the API leaves them or as mere profiles, and everything that the server holds of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import valkey

from shared import config, players
from shared.store import Store
from tests.support.invariants import everything

OLD = 1_700_000_000_000_000
"""A revision of 2023."""

Damage = Callable[[valkey.Valkey], Any]
"""What somebody does to the data behind our backs."""


def play(count: int, games: int = 2, prefix: str = "p") -> None:
    """Makes p0, p1 … with some games each, as the API leaves them."""
    settings = config.settings()

    def work() -> None:
        store = Store(settings)
        for number in range(count):
            user_id, mail = f"{prefix}{number}", f"p{number}@example.com"
            name = f"Player {number}"
            players.create(store, settings.rules, None, user_id=user_id, username=name, email=mail, score=number)
            for game in range(games):
                players.submit(store, settings.rules, None, user_id=user_id, score=100 * number + 7 - game)
        store.close()

    elsewhere(work)


def elsewhere(work: Callable[[], Any]) -> Any:
    """Does work in a thread of its own, which has its own deadline and connection."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(work).result()


def plant(raw: valkey.Valkey, count: int) -> None:
    """Makes p0, p1 … of whom nothing is there but the profiles."""
    with raw.pipeline(transaction=False) as pipeline:
        for number in range(count):
            profile = {
                "userId": f"p{number}",
                "username": f"Player {number}",
                "email": f"p{number}@example.com",
                "createdAt": "2026-01-01T00:00:00.000Z",
                "score": number,
                "level": max(1, number // 750 + 1),
                "gamesPlayed": number % 7,
                "lastActive": "2026-01-01T00:00:00.000Z",
                "bestScore": number + 1,
                "revision": OLD + number,
            }
            pipeline.hset(f"user:p{number}", mapping=profile)
        pipeline.execute()


def contents(raw: valkey.Valkey) -> dict[str, Any]:
    """The same without the receipts that expire."""
    return {key: value for key, value in everything(raw).items() if ":submission:" not in key}
