"""Projections: bringing the board in line with the profiles, whatever has happened to either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shared import board, logs, profiles, records, security
from shared.records import Projection, State
from shared.store import Command, ReplyError, Script, Store, value

RENEW = Script("renew", writes=True)


def state_command(user_id: str) -> Command:
    """The command that reads a player's state; its reply is for `records.state`. (model: read)"""
    return ("HMGET", profiles.profile_key(user_id), *records.STATE_FIELDS)


def mark_command(user_id: str) -> Command:
    """The command that reads the revision of somebody who was erased. (model: mark)"""
    return ("HMGET", profiles.mark_key(user_id), *records.MARK_FIELDS)


def settle(store: Store, intents: Sequence[tuple[str, str | None]]) -> list[Projection | None]:
    """The projections of the present profile of each (userId, intent or None); their intents are settled.

    None if profile or board holds what no submission has written: it is logged and left alone.
    Three round trips for any number of players; more only for those without a profile, or with one that is older than
    its row, which gets a new revision first.
    """
    states = _states(store, [user_id for user_id, _ in intents])
    done = _project(store, states, [intent for _, intent in intents])
    old = [index for index, projection in enumerate(done) if projection and _is_older(states[index], projection)]
    if old:
        pairs = [(states[index], done[index]) for index in old]
        for index, projection in zip(old, _renew(store, pairs), strict=True):
            done[index] = projection
    return done


def _is_older(state: State | None, projection: Projection) -> bool:
    return state is not None and int(state.revision) < int(projection.row_revision)


def _states(store: Store, user_ids: Sequence[str]) -> list[State | None]:
    """States as they are now; that of a player without a profile has the revision of their row on the board, or of
    their mark if they were erased.

    A missing profile is read again after the row: if it was made in between, it would seem missing at the revision of
    its own row. And the mark after that: if they were erased in between, nothing would seem left of them.
    """
    states = _profiles(store, user_ids)
    absent = [index for index, state in enumerate(states) if state and not state.score]
    if absent:
        missing = [user_ids[index] for index in absent]
        rows = board.rows(store, missing)
        for index, row, state in zip(absent, rows, _remains(store, missing), strict=True):
            states[index] = (
                state if state is None or state.score else state._replace(revision=row.revision if row else "0")
            )
    return states


def _profiles(store: Store, user_ids: Sequence[str]) -> list[State | None]:
    replies = readable(store, user_ids, [state_command(user_id) for user_id in user_ids])
    return [_state(user_id, reply) for user_id, reply in zip(user_ids, replies, strict=True)]


def _remains(store: Store, user_ids: Sequence[str]) -> list[State | None]:
    """States from what is in the slots of players who seemed to have no profile: one, or a mark, or nothing."""
    commands = [command(user_id) for user_id in user_ids for command in (state_command, mark_command)]
    replies = readable(store, [user_id for user_id in user_ids for _ in range(2)], commands)
    states = []
    for user_id, profile, mark in zip(user_ids, replies[::2], replies[1::2], strict=True):
        state = _state(user_id, profile)
        states.append(state if state is None or state.score else _state(user_id, mark, records.remains))
    return states


def _state(
    user_id: str, reply: Any, read: Callable[[str, Sequence[Any]], State | None] = records.state
) -> State | None:
    state = read(user_id, reply) if reply else None
    if reply and state is None:
        _log_unreadable(user_id, "malformed profile" if read is records.state else "malformed mark")
    return state


def _project(store: Store, states: Sequence[State | None], intents: Sequence[str | None]) -> list[Projection | None]:
    known = [(index, state) for index, state in enumerate(states) if state]
    commands = [board.project_command(state, intents[index]) for index, state in known]
    replies = readable(store, [state.user_id for _, state in known], commands)
    done: list[Projection | None] = [None] * len(states)
    for (index, _), reply in zip(known, replies, strict=True):
        done[index] = Projection(*reply) if reply else None
    return done


def _renew(store: Store, pairs: Sequence[tuple[Any, Any]]) -> list[Projection | None]:
    """A second look at profiles that were older than the board: they have moved on by now, or get a new revision. So do
    marks."""
    user_ids = [state.user_id for state, _ in pairs]
    states = _states(store, user_ids)
    for index, (state, (_, projection)) in enumerate(zip(states, pairs, strict=True)):
        if state and state.score and _is_older(state, projection):
            (_, key, *fields), read = (
                (mark_command(state.user_id), records.remains)
                if records.is_erased(state)
                else (state_command(state.user_id), records.state)
            )
            (reply,) = store.ask(RENEW.command([key], state.revision, projection.row_revision, *fields))
            states[index] = read(state.user_id, reply)
            logs.write("WARNING", "profile was older than the board", userId=state.user_id)
    return _project(store, states, [None] * len(states))


def readable(store: Store, user_ids: Sequence[str], commands: Sequence[Command]) -> list[Any]:
    """The replies to a command for each player; None for an error, which would recur as long as the data is so."""
    replies = store.exchange(*commands) if commands else []
    for index, reply in enumerate(replies):
        try:
            value(reply)
        except ReplyError:
            _log_unreadable(user_ids[index], type(reply).__name__)
            replies[index] = None
    return replies


def _log_unreadable(user_id: str, cause: str) -> None:
    name = user_id.encode("ascii", "backslashreplace").decode()  # it may not be one of ours, or even text
    security.report("unreadable_player", userId=name, cause=cause)
