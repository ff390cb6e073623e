"""The outbox: what is about to be submitted, so that a crash between profile and board is found and mended."""

from __future__ import annotations

import time
from typing import NamedTuple

from shared.board import PENDING
from shared.store import Command, Store

DUE_SECONDS = 60
"""An intent that is older belongs to an attempt that has ended: its submission happened, or the fence refuses it."""

FENCE_SECONDS = 30
"""An attempt whose own time is further from the server's is refused: reconcile may have cleared its intent."""

EARLY_SECONDS = FENCE_SECONDS
"""An intent whose time is further ahead belongs to a clock that is wrong: the fence refuses its submission."""


class Due(NamedTuple):
    """An intent whose attempt has not cleared it in time; its age is negative if its time is still to come."""

    user_id: str
    intent: str
    age_seconds: float


def intent(user_id: str, attempt: str) -> str:
    """An attempt's intent. It belongs to this attempt: nobody else clears it but reconcile."""
    return f"{user_id}:{attempt}"


def add_command(intent: str, milliseconds: int) -> Command:
    """The command that adds an intent with the attempt's time, ms since 1970. (model: intent)"""
    return ("ZADD", PENDING, milliseconds, intent)


def clear(store: Store, intent: str) -> None:
    """Takes an intent out again: its attempt has changed nothing. (model: clear)"""
    store.ask(("ZREM", PENDING, intent))


def due(store: Store, skipped: int, count: int) -> list[Due]:
    """The oldest intents that are due by the server's clock and by our own, after the first `skipped`: by a server's
    clock that was ahead for a moment, we would clear those whose submissions are still to come. (model: pick)"""
    now = min(server_time(store), time.time_ns() // 1_000_000)
    return _between(store, now, "-inf", now - DUE_SECONDS * 1000, skipped, count)


def early(store: Store, skipped: int, count: int) -> list[Due]:
    """The intents from the future by the server's clock, the nearest first, after the first `skipped`."""
    now = server_time(store)
    return _between(store, now, f"({now + EARLY_SECONDS * 1000}", "+inf", skipped, count)


def server_time(store: Store) -> int:
    """The server's time in ms since 1970."""
    ((seconds, microseconds),) = store.ask(("TIME",))
    return int(seconds) * 1000 + int(microseconds) // 1000


def _between(store: Store, now: int, lowest: str, highest: int | str, skipped: int, count: int) -> list[Due]:
    (flat,) = store.ask(("ZRANGE", PENDING, lowest, highest, "BYSCORE", "LIMIT", skipped, count, "WITHSCORES"))
    return [
        Due(intent.partition(":")[0], intent, (now - float(sent)) / 1000)
        for intent, sent in zip(flat[::2], flat[1::2], strict=True)
    ]
