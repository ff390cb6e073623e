"""Sessions: a player's play from its start until it is ended or its time is over."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from shared import claims, clock
from shared.claims import Claim
from shared.idempotency import Key
from shared.problems import SessionNotFound, UserNotFound
from shared.profiles import profile_key
from shared.store import Script, Store

OPEN = Script("open", writes=True)

RESERVED_NAMES = ("sessionId", "userId", "startTime")
"""What a session says of itself; the client's data cannot overwrite it."""


def is_reserved(name: str) -> bool:
    """Whether a client could read this name as one of the session's own: Go and .NET match names in any case."""
    return name.casefold() in {reserved.casefold() for reserved in RESERVED_NAMES}


def session_key(session_id: str) -> str:
    """The string that holds a session, until it expires."""
    return f"session:{session_id}"


def opened_key(session_id: str) -> str:
    """The string that tells, in the session's slot, that a keyed request has opened it, however long it lived."""
    return f"{{session:{session_id}}}:opened"


class Opened(NamedTuple):
    """A session as its client sees it; `replayed` if an earlier request with its key had opened it."""

    session: dict[str, Any]
    replayed: bool


def create(
    store: Store,
    lifetime_seconds: int,
    receipt_seconds: int,
    key: Key | None,
    *,
    user_id: str,
    session_data: Mapping[str, Any] | None = None,
) -> Opened:
    """A new session with the client's data as members of its own, in one round trip, with a key in two.

    Raises UserNotFound, and KeyReused.
    """
    own = Claim(key.digest if key else "", str(uuid.uuid4()), clock.now())
    if key is None:
        session = _session(own, user_id, session_data)
        exists, _ = store.ask(
            ("EXISTS", profile_key(user_id)),
            ("SET", session_key(own.named), orjson.dumps(session), "NX", "EX", lifetime_seconds),
        )
        if not exists:
            store.ask(("DEL", session_key(own.named)))
            raise UserNotFound
        return Opened(session, replayed=False)

    reply, exists = store.ask(claims.command(key, own, receipt_seconds), ("EXISTS", profile_key(user_id)))
    claim = claims.read(reply, own)
    if not exists:
        claims.release(store, key, claim)
        raise UserNotFound
    session = _session(claim, user_id, session_data)
    keys = [session_key(claim.named), opened_key(claim.named)]
    (opened,) = store.ask(OPEN.call(keys, orjson.dumps(session), lifetime_seconds, receipt_seconds, own.named))
    replayed = opened != own.named
    if not replayed and claim != own:
        claims.prolong(store, key, receipt_seconds)
    return Opened(session, replayed)


def find(store: Store, session_id: str) -> orjson.Fragment:
    """A session as it was stored, in one round trip; its life is not prolonged. Raises SessionNotFound."""
    (session,) = store.ask(("GET", session_key(session_id)))
    if session is None:
        raise SessionNotFound
    return orjson.Fragment(session)


def delete(store: Store, session_id: str) -> None:
    """Ends a session, in one round trip. Raises SessionNotFound."""
    (deleted,) = store.ask_once(("DEL", session_key(session_id)))
    if not deleted:
        raise SessionNotFound


def _session(claim: Claim, user_id: str, session_data: Mapping[str, Any] | None) -> dict[str, Any]:
    data = {name: value for name, value in (session_data or {}).items() if not is_reserved(name)}
    return {"sessionId": claim.named, "userId": user_id, "startTime": claim.time, **data}
