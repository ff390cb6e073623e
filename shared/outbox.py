"""The outbox: what is about to be submitted, so that a crash between profile and board is found and mended."""

from __future__ import annotations

from typing import NamedTuple

from shared.board import PENDING
from shared.store import Command, Store

DUE_SECONDS = 60
"""An intent that is older belongs to an attempt that has ended: its submission happened, or the fence refuses it."""


class Due(NamedTuple):
    """An intent whose attempt has not cleared it in time."""

    user_id: str
    intent: str
    age_seconds: float


def intent(user_id: str, attempt: str) -> str:
    """An attempt's entry in the outbox. It belongs to this attempt: nobody else clears it but reconcile."""
    return f"{user_id}:{attempt}"


def add(entry: str, milliseconds: int) -> Command:
    """The command that puts an entry there with the attempt's time, ms since 1970. (model: intent)"""
    return ("ZADD", PENDING, milliseconds, entry)


def clear(store: Store, entry: str) -> None:
    """Takes an entry out again: its attempt has changed nothing. (model: clear)"""
    store.ask(("ZREM", PENDING, entry))


def due(store: Store, skipped: int, count: int) -> list[Due]:
    """The oldest intents that are due by the server's clock, after so many skipped ones. (model: pick)"""
    ((seconds, microseconds),) = store.ask(("TIME",))
    now = int(seconds) * 1000 + int(microseconds) // 1000
    latest = now - DUE_SECONDS * 1000
    (flat,) = store.ask(("ZRANGE", PENDING, "-inf", latest, "BYSCORE", "LIMIT", skipped, count, "WITHSCORES"))
    return [
        Due(entry.partition(":")[0], entry, (now - int(float(sent))) / 1000)
        for entry, sent in zip(flat[::2], flat[1::2], strict=True)
    ]
