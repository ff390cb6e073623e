"""Sessions: a player's play from its start until it is ended or expires.

A session lies in a slot of its own. The player's slot has a record of them, in which a session stands before it is
opened: so whoever erases a player finds all of them there, and it is where a player's pace is kept.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from shared import activity, clock, idempotency, logs, outbox, telemetry
from shared.config import SessionRules
from shared.idempotency import Key
from shared.problems import (
    KeyReused,
    NotAllowed,
    SessionNotFound,
    StaleAttempt,
    TooManySessions,
    Unavailable,
    UserNotFound,
)
from shared.profiles import profile_key, record_keys, sessions_key
from shared.store import ReplyError, Script, Store, value

ENTER = Script("enter", writes=True)
LEAVE = Script("leave", writes=True)
OPEN = Script("open", writes=True)

SPARE_SECONDS = 60
"""How much longer the opening of a session is remembered than both session and receipts."""

NEVER = "0"
"""When a session would end that must not be opened, but only looked for."""

REFUSED = ("often", "full")
"""The words by which the record's script refuses a session."""

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


class Asked(NamedTuple):
    """A session that is asked for, when (ms since 1970), and what would be kept of its opening."""

    rules: SessionRules
    key: Key | None
    session: dict[str, Any]
    sent: int
    opening: Opening

    @property
    def id(self) -> str:
        return str(self.session["sessionId"])

    @property
    def user_id(self) -> str:
        return str(self.session["userId"])


class Found(NamedTuple):
    """The opening that counts, which is the attempt's own or an earlier one, and the session as it is stored, '' if it
    has ended."""

    first: Opening
    stored: str


class Entry(NamedTuple):
    """What the record's script says: `entered`, `again` or `known`, and the second at which the session ends; or one of
    REFUSED, and after how many seconds there is room."""

    word: str
    number: str


def create(
    store: Store,
    rules: SessionRules,
    key: Key | None,
    *,
    user_id: str,
    session_data: Mapping[str, Any] | None = None,
) -> Opened:
    """A new session, in two round trips. The client's data become its members; none of their names is reserved.

    With a key, the session's id follows from the key: it may be opened anew if everything about it was lost, but there
    is never a second one, and a replay is neither counted nor refused. It takes more trips where an earlier attempt
    has got no further than the record, or where the session has ended.
    Raises UserNotFound, TooManySessions, KeyReused, and StaleAttempt: then no session is opened.

    Whoever opens one is active on that day, by a command in the trip that opens it: a replay counts again, in case the
    first request got no further than the session.
    """
    sent = time.time_ns() // 1_000_000
    session = _session(key.made_id if key else str(uuid.uuid4()), user_id, clock.text(sent), session_data)
    opening = Opening(key.digest if key else "", session["startTime"], idempotency.attempt())
    asked = Asked(rules, key, session, sent, opening)
    entry = enter(store, asked)
    found = None
    if key and entry.word == "known":
        found = _open(store, asked, NEVER)
        if not found:
            entry = enter(store, asked, "again")
    if not found and entry.word in REFUSED:
        found = _open(store, asked, NEVER) if key and _was_opened(store, key) else None
        if not found:
            raise TooManySessions(int(entry.number))
    if not found:
        found = _open(store, asked, entry.number)
        if entry.word == "entered" and not (found and _is_theirs(found.stored, user_id)):
            _leave(store, asked, entry)
    if not found:
        raise StaleAttempt
    return _opened(asked, found)


def find(store: Store, session_id: str, owner: str | None) -> orjson.Fragment:
    """A session as it was stored, in one round trip; its life is not prolonged. Raises SessionNotFound, and NotAllowed
    if there is an owner and it is another's."""
    (session,) = store.ask(("GET", session_key(session_id)))
    if session is None:
        raise SessionNotFound
    if owner is not None and _user_id(session) != owner:
        raise NotAllowed("It is another player's session: a player's token is for that player's own.")
    return orjson.Fragment(session)


def delete(store: Store, session_id: str, owner: str | None) -> None:
    """Ends a session and takes it out of its player's record, in two round trips, and one more to see whose it is if
    there is an owner. Raises SessionNotFound, and NotAllowed if it is another's."""
    if owner is not None:
        find(store, session_id, owner)
    (session,) = store.ask_once(("GETDEL", session_key(session_id)))
    if session is None:
        raise SessionNotFound
    with contextlib.suppress(Unavailable):  # it has ended; the record forgets it when its time is over
        store.ask(("ZREM", sessions_key(_user_id(session)), session_id))


def of(store: Store, owned: Sequence[tuple[str, str]]) -> dict[str, orjson.Fragment]:
    """Of pairs (userId, session's id), the sessions that are open and that player's, by their ids; in one round
    trip."""
    found = store.ask(*(("GET", session_key(session_id)) for _, session_id in owned)) if owned else []
    return {
        session_id: orjson.Fragment(text)
        for (user_id, session_id), text in zip(owned, found, strict=True)
        if text and _user_id(text) == user_id
    }


def end(store: Store, owned: Sequence[tuple[str, str]]) -> int:
    """Ends the sessions that `of` finds, in two round trips: how many."""
    found = of(store, owned)
    return sum(store.ask(*(("UNLINK", session_key(session_id)) for session_id in found))) if found else 0


def _session(session_id: str, user_id: str, start_time: str, session_data: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"sessionId": session_id, "userId": user_id, "startTime": start_time, **(session_data or {})}


def _user_id(session: str) -> str:
    user_id: str = orjson.loads(session)["userId"]
    return user_id


def _is_theirs(stored: str, user_id: str) -> bool:
    """Whether a session lives and is this player's."""
    return bool(stored) and _user_id(stored) == user_id


def enter(store: Store, asked: Asked, *again: str) -> Entry:
    """Enters a session into its player's record; `again` if another attempt with its key has done so and stopped.

    Whether there is such a player is asked after that, in the same slot: so whoever erases the player finds the session
    there, or it is not opened. Raises UserNotFound. (model: look)
    """
    lifetime_seconds, _, pace, open_max = asked.rules
    arguments: list[str | int] = [lifetime_seconds, pace.interval_microseconds, pace.burst, open_max, *again]
    (word, number), exists = store.ask(
        ENTER.command(record_keys(asked.user_id), asked.id, *arguments), ("EXISTS", profile_key(asked.user_id))
    )
    entry = Entry(word, number)
    if not exists:
        if word in ("entered", "again"):
            _leave(store, asked, entry)
        raise UserNotFound
    return entry


def _leave(store: Store, asked: Asked, entry: Entry) -> None:
    """Takes a session out of the record again; if that fails, it is out when it would have ended."""
    interval = asked.rules.pace.interval_microseconds
    with contextlib.suppress(Unavailable):
        store.ask(LEAVE.command(record_keys(asked.user_id), asked.id, entry.number, interval))


def _was_opened(store: Store, key: Key) -> bool:
    """Whether the key has opened a session that the record does not know, mostly because it has ended since."""
    (opened,) = store.ask(("EXISTS", opened_key(key.made_id)))
    return bool(opened)


def _open(store: Store, asked: Asked, ends: str) -> Found | None:
    """Opens the session if that was not done before; None if it comes too late for that. Its player is counted as
    active in the same trip, if that works."""
    rules, key, session, sent, opening = asked
    keys = [session_key(asked.id)]
    arguments: list[Any] = [orjson.dumps(session), rules.lifetime_seconds, ends, sent, outbox.FENCE_SECONDS * 1000]
    if key:
        keys.append(opened_key(asked.id))
        arguments += [" ".join(opening), max(rules.lifetime_seconds, rules.receipt_seconds) + SPARE_SECONDS]
    reply, counted = store.exchange(
        OPEN.command(keys, *arguments), activity.count_command(asked.user_id, opening.start_time)
    )
    if isinstance(counted, ReplyError):
        logs.write("WARNING", "active player was not counted", cause=type(counted).__name__)
    if value(reply) == ["stale"]:
        return None
    kept, stored = reply
    if not key:
        return Found(opening, stored)
    return Found(Opening(*kept.split(" ")) if kept else _read(stored, session, opening), stored)


def _opened(asked: Asked, found: Found) -> Opened:
    """The session as its client sees it. Raises KeyReused."""
    if found.first.digest != asked.opening.digest:
        raise KeyReused
    replayed = found.first.attempt != asked.opening.attempt
    if not replayed:
        telemetry.add("SessionsStarted")
    return Opened(asked.session | {"startTime": found.first.start_time}, replayed)


def _read(stored: str, session: Mapping[str, Any], opening: Opening) -> Opening:
    """What would be kept of an opening, from the session itself: memory pressure may evict one and leave the other."""
    found = orjson.loads(stored)
    same = idempotency.canonical({**found, "startTime": ""}) == idempotency.canonical({**session, "startTime": ""})
    return Opening(opening.digest if same else "", found["startTime"], "")
