"""The model of a session that a key opens: every interleaving of a few attempts in its slot.

A state is what the session's slot holds, whether the player exists and is active, and how far each attempt is. Between
two steps of an attempt anything may happen elsewhere: another attempt, an eviction, the session's end. Steps have the
names that the code in `shared/` carries as marks; `GUARDS` are what the proof rests on: each, if taken away, breaks
something.
`model.py` says more about how to read this.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

from tests.write_path.model import Explored, Guard, search

STEPS = {
    "look": "an attempt sees whether the player exists",
    "open": "the script in the session's slot opens it, or finds that this has been done",
    "count": "in the same trip, a command in the board's slot counts the player as active",
}

MISHAPS = {
    "lose": "the script's reply is lost: the attempt runs it again",
    "appear": "the player is created",
    "end": "the client ends the session, or it expires",
    "evict": "memory pressure evicts the session, or what is kept of its opening",
}

APPEARING, REUSED, PRESSURE = "a player who appears", "another payload", "evictions"

GUARDS = {
    "derived id": Guard(APPEARING, "the id of what a key opens follows from the key"),
    "nothing undone": Guard(APPEARING, "an attempt that finds no player ends there, and takes nothing away"),
    "opening": Guard(REUSED, "what is kept of an opening is written with the session, and outlives it"),
    "own payload": Guard(PRESSURE, "if that was evicted, the living session tells what the key was for"),
    "replay counts": Guard(REUSED, "an attempt that finds its session open counts the player all the same"),
    "payload": Guard(REUSED, "a key that comes with another payload is refused"),
}


class World(NamedTuple):
    """The payload of each attempt, whether the player exists at the start, and what may be evicted."""

    payloads: tuple[str, ...]
    exists: bool = True
    evicts: bool = False
    without: str = ""


WORLDS = {
    APPEARING: World(("p", "p", "p"), exists=False),
    REUSED: World(("p", "p", "q")),
    PRESSURE: World(("p", "p", "q"), evicts=True),
}


class Attempt(NamedTuple):
    """How far an attempt is: ready, undoing, looked, counting; or at its end: not found, refused, opened (and which
    session)."""

    step: str = "ready"
    opened: tuple[int, str, int] | None = None


class State(NamedTuple):
    """The sessions that live, each as the attempt in its id (0 if the id is derived), its payload and the attempt that
    opened it; what is kept of the opening, likewise; the attempts; whether the player is active. For the verdict: which
    sessions have ended or were evicted."""

    exists: bool
    sessions: tuple[tuple[int, str, int], ...]
    opening: tuple[int, str, int] | None
    attempts: tuple[Attempt, ...]
    active: bool = False
    gone: frozenset[tuple[int, str, int]] = frozenset()
    ended: bool = False
    forgotten: bool = False


def steps(world: World, state: State) -> Iterator[tuple[str, State]]:
    """Everything that may happen next."""
    for number, attempt in enumerate(state.attempts):
        for name, following in attempt_steps(world, state, number, attempt):
            yield f"{number}: {name}", following
    if not state.exists:
        yield "appear", state._replace(exists=True)
    for session in state.sessions:
        yield "end", without(state, session)._replace(ended=True)
        if world.evicts:
            yield "evict session", without(state, session)
    if world.evicts and state.opening:
        yield "evict opening", state._replace(opening=None, forgotten=True)


def attempt_steps(world: World, state: State, number: int, attempt: Attempt) -> Iterator[tuple[str, State]]:
    """What an attempt may do next: sessions.create with a key."""

    def to(new: Attempt, state: State = state) -> State:
        return state._replace(attempts=(*state.attempts[:number], new, *state.attempts[number + 1 :]))

    opening = (number + 1 if world.without == "derived id" else 0, world.payloads[number], number)
    if attempt.step == "ready":
        undoes = world.without == "nothing undone"
        yield "look", to(Attempt("looked" if state.exists else "undoing" if undoes else "not found"))
    elif attempt.step == "undoing":
        (gone,) = state.sessions[:1] or (None,)
        undone = state._replace(sessions=tuple(each for each in state.sessions if each != gone), opening=None)
        yield "undo", to(Attempt("not found"), undone)
    elif attempt.step == "looked":
        after, first = opened(world, state, opening)
        refused = first[1] != opening[1] and world.without != "payload"
        ending = Attempt("refused" if refused else "opened", None if refused else first)
        counts = first == opening or world.without != "replay counts"
        yield "open", to(Attempt(f"counting, then {ending.step}", ending.opened) if counts else ending, after)
        yield "open, lose", to(attempt, after)
    elif attempt.step.startswith("counting, then "):
        ending = attempt._replace(step=attempt.step.removeprefix("counting, then "))
        yield "count", to(ending, state._replace(active=True))


def opened(world: World, state: State, opening: tuple[int, str, int]) -> tuple[State, tuple[int, str, int]]:
    """open.lua: the state after it, and the opening that counts."""
    living = next((each for each in state.sessions if each[0] == opening[0]), None)
    if state.opening and state.opening[0] == opening[0] and world.without != "opening":
        return state, state.opening
    if living and world.without != "own payload":
        return state, living
    others = tuple(each for each in state.sessions if each != living)
    return state._replace(sessions=(*others, opening), opening=opening), opening


def without(state: State, session: tuple[int, str, int]) -> State:
    """The state once a session is gone, because it ended or was evicted."""
    rest = tuple(each for each in state.sessions if each != session)
    return state._replace(sessions=rest, gone=state.gone | {session})


def complaint(world: World, state: State) -> str:
    """What is wrong with a state, '' if nothing is."""
    if len(state.sessions) > 1:
        return "one key has opened two sessions"
    for number, attempt in enumerate(state.attempts):
        if attempt.step == "opened" and not state.active:
            return f"{number} was told of a session, and its player is not active"
        if attempt.opened and attempt.opened not in (*state.sessions, *state.gone):
            return f"{number} was told of a session that is not there, although nobody has ended it"
        if attempt.opened and attempt.opened[1] != world.payloads[number]:
            return f"{number} was told of a session that it did not ask for"
    if state.ended and state.sessions and not state.forgotten:
        return "a session that had ended was opened again"
    return ""


def world(name: str, without: str = "") -> World:
    """A world, perhaps without a guard."""
    return WORLDS[name]._replace(without=without)


def explore(world: World) -> Explored:
    """Every state that can be reached in a world, up to the first bad one."""
    first = State(world.exists, (), None, tuple(Attempt() for _ in world.payloads))
    return search(first, functools.partial(steps, world), functools.partial(complaint, world))
