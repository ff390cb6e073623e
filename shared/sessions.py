"""Sessions: a player's play from its start until it is ended or expires."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from shared import activity, clock, idempotency, logs, telemetry
from shared.idempotency import Key
from shared.problems import KeyReused, SessionNotFound, UserNotFound
from shared.profiles import profile_key
from shared.store import Command, ReplyError, Script, Store, value

OPEN = Script("open", writes=True)

SPARE_SECONDS = 60
"""How much longer the opening of a session is remembered than both session and receipts."""

RESERVED_NAMES = ("sessionId", "userId", "startTime")
"""What a session says about itself; the client's data cannot overwrite it."""

_RESERVED = frozenset(name.casefold() for name in RESERVED_NAMES)


def is_reserved(name: str) -> bool:
    """Whether a client could read this name as one of the session's own: Go and .NET match names in any case."""
    return name.casefold() in _RESERVED


def session_key(session_id: str) -> str:
    """The string that holds a session, until it expires."""
    return f"session:{session_id}"


def opened_key(session_id: str) -> str:
    """The string, in the session's slot, that remembers which keyed request opened it, however long it lived."""
    return f"{{session:{session_id}}}:opened"


class Opened(NamedTuple):
    """A session as its client sees it; `replayed` if an earlier request with its key had opened it."""

    session: dict[str, Any]
    replayed: bool


class Opening(NamedTuple):
    """What is kept of a keyed request that opened a session: the payload's digest, the time, and the attempt's id."""

    digest: str
    start_time: str
    attempt: str


def create(
    store: Store,
    lifetime_seconds: int,
    receipt_seconds: int,
    key: Key | None,
    *,
    user_id: str,
    session_data: Mapping[str, Any] | None = None,
) -> Opened:
    """A new session, in one round trip, or in two with a key. The client's data become its members; none of their names
    is reserved.

    With a key, the session's id follows from the key: it may be opened anew if everything about it was lost, but there
    is never a second one. Raises UserNotFound and KeyReused.

    Whoever opens one is active on that day, by a command in the same trip, whatever becomes of the session: a replay
    counts again, in case the first request got no further than the session, and without a key even who is not found is
    counted, since whether there is such a player is known only afterwards, in another slot.
    """
    now = clock.now()
    if key is None:
        session = _session(str(uuid.uuid4()), user_id, now, session_data)
        exists, _ = _ask_and_count(
            store,
            session,
            ("EXISTS", profile_key(user_id)),
            ("SET", session_key(session["sessionId"]), orjson.dumps(session), "NX", "EX", lifetime_seconds),
        )
        if not exists:
            store.ask(("DEL", session_key(session["sessionId"])))
            raise UserNotFound
        telemetry.add("SessionsStarted")
        return Opened(session, replayed=False)

    (exists,) = store.ask(("EXISTS", profile_key(user_id)))  # (model: look)
    if not exists:
        raise UserNotFound
    session = _session(key.made_id, user_id, now, session_data)
    opening = Opening(key.digest, now, idempotency.attempt())
    kept, stored = _open(store, key, opening, session, lifetime_seconds, receipt_seconds)
    first = Opening(*kept.split(" ")) if kept else _read(stored, session, opening)
    if first.digest != opening.digest:
        raise KeyReused
    replayed = first.attempt != opening.attempt
    if not replayed:
        telemetry.add("SessionsStarted")
    return Opened(session | {"startTime": first.start_time}, replayed)


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


def end(store: Store, session_ids: Sequence[str]) -> None:
    """Ends whichever of these are open, in one round trip."""
    if session_ids:
        store.ask(*(("UNLINK", session_key(session_id)) for session_id in session_ids))


def _session(session_id: str, user_id: str, start_time: str, session_data: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"sessionId": session_id, "userId": user_id, "startTime": start_time, **(session_data or {})}


def _open(
    store: Store, key: Key, opening: Opening, session: dict[str, Any], lifetime_seconds: int, receipt_seconds: int
) -> tuple[str, str]:
    keys = [session_key(key.made_id), opened_key(key.made_id)]
    kept_seconds = max(lifetime_seconds, receipt_seconds) + SPARE_SECONDS
    command = OPEN.command(keys, orjson.dumps(session), lifetime_seconds, " ".join(opening), kept_seconds)
    (reply,) = _ask_and_count(store, session, command)
    kept, stored = reply
    return kept, stored


def _ask_and_count(store: Store, session: Mapping[str, Any], *commands: Command) -> list[Any]:
    """The replies to commands that open a session; its player is counted as active in the same trip, if that works."""
    *replies, counted = store.exchange(*commands, activity.count_command(session["userId"], session["startTime"]))
    if isinstance(counted, ReplyError):
        logs.write("WARNING", "active player was not counted", cause=type(counted).__name__)
    return [value(reply) for reply in replies]


def _read(stored: str, session: Mapping[str, Any], opening: Opening) -> Opening:
    """What would be kept of an opening, from the session itself: memory pressure may evict one and leave the other."""
    found = orjson.loads(stored)
    same = idempotency.canonical({**found, "startTime": ""}) == idempotency.canonical({**session, "startTime": ""})
    return Opening(opening.digest if same else "", found["startTime"], "")
