"""Sessions: a player's play from its start until it is ended or its time is over."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from shared import clock
from shared.players import profile_key
from shared.problems import SessionNotFound, UserNotFound
from shared.store import Store

RESERVED_NAMES = ("sessionId", "userId", "startTime")
"""What a session says of itself; the client's data cannot overwrite it."""


def session_key(session_id: str) -> str:
    """The string that holds a session, until it expires."""
    return f"session:{session_id}"


def create(
    store: Store, lifetime_seconds: int, *, user_id: str, session_data: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A new session with the client's data as members of its own, in one round trip. Raises UserNotFound."""
    session_id = str(uuid.uuid4())
    session = {
        "sessionId": session_id,
        "userId": user_id,
        "startTime": clock.now(),
        **{name: value for name, value in (session_data or {}).items() if name not in RESERVED_NAMES},
    }
    exists, _ = store.write(
        ("EXISTS", profile_key(user_id)),
        ("SET", session_key(session_id), orjson.dumps(session), "NX", "EX", lifetime_seconds),
    )
    if not exists:
        store.write(("DEL", session_key(session_id)))
        raise UserNotFound
    return session


def find(store: Store, session_id: str) -> orjson.Fragment:
    """A session as it was stored, in one round trip; its life is not prolonged. Raises SessionNotFound."""
    (session,) = store.read(("GET", session_key(session_id)))
    if session is None:
        raise SessionNotFound
    return orjson.Fragment(session)


def delete(store: Store, session_id: str) -> None:
    """Ends a session, in one round trip. Raises SessionNotFound."""
    (deleted,) = store.write(("DEL", session_key(session_id)))
    if not deleted:
        raise SessionNotFound
