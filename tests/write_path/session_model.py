"""The model of a session that a key opens: every interleaving of a few attempts between its player's slot and its own.

A state is what the two slots hold, whether the player exists and is active, and how far each attempt is. Between two
steps of an attempt anything may happen elsewhere: another attempt, an eviction, a session's end, the player's erasure.
Steps have the names that the code in `shared/` carries as marks; `GUARDS` are what the proof rests on: each, if taken
away, breaks something. Time passes in moments of 30 s, as in `model.py`, which says more about how to read this.

Whoever erases a player deletes the sessions that the record knows, and once more when the fence has passed. Left out:
the pace, which is a submission's, and other players: a crash may leave one's session in another's record, so whoever
reads a record looks whose each session is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.write_path.model import FENCE, Explored, Guard, search

STEPS = {
    "enter": "the script in the player's slot enters the session into the record, knows it already, or has no room",
    "look": "in the same trip, the attempt sees whether the player exists",
    "open": "the script in the session's slot opens it, or finds that this has been done",
    "stale": "the script refuses to open a session that comes too late, or whose time is over",
    "leave": "an attempt that has opened nothing takes out of the record what it has entered",
    "count": "in the trip that opens, a command in the board's slot counts the player as active",
}

MISHAPS = {
    "tick": "30 s pass",
    "lose": "a trip's reply is lost: the attempt makes it again",
    "appear": "the player is created",
    "end": "the client ends the session",
    "strike": "and then the record forgets it",
    "expire": "its time is over, whether it was opened or not",
    "evict": "memory pressure evicts the session, or what is kept of its opening",
    "erase": "the player is erased: the record is gone, and what it knew is known to the mark",
    "sweep": "once the fence has passed, the sessions are deleted that the mark knows",
}

APPEARING, REUSED, PRESSURE = "a player who appears", "another payload", "evictions"
ERASING, FEW = "an erasure", "room for one"

GUARDS = {
    "derived id": Guard(APPEARING, "the id of what a key opens follows from the key"),
    "own entry": Guard(APPEARING, "an attempt takes out of the record only what no other has entered since"),
    "again": Guard(APPEARING, "whoever goes on where another has stopped enters the session anew before it is opened"),
    "opening": Guard(REUSED, "what is kept of an opening is written with the session, and outlives it"),
    "own payload": Guard(PRESSURE, "if that was evicted, the living session tells what the key was for"),
    "replay counts": Guard(REUSED, "an attempt that finds its session open counts the player all the same"),
    "payload": Guard(REUSED, "a key that comes with another payload is refused"),
    "record": Guard(ERASING, "a session is in the record before it is opened"),
    "look last": Guard(ERASING, "whether the player exists is asked after the session was entered"),
    "fence": Guard(ERASING, "a session that comes late is not opened"),
    "entry's end": Guard(ERASING, "a session whose time is over by the record is not opened"),
    "most": Guard(FEW, "a session is not entered where there is no room"),
    "room": Guard(FEW, "sessions that have ended make room"),
    "free replay": Guard(FEW, "a session that the record knows needs no room"),
    "free replay of the past": Guard(FEW, "nor does one that has been opened and has ended"),
}


class World(NamedTuple):
    """The payload of each attempt, in capitals with another key, whether the player exists at the start, what may
    happen, when the clock stops, and how many sessions may be open."""

    payloads: tuple[str, ...]
    exists: bool = True
    evicts: bool = False
    loses: bool = False
    expires: bool = False
    erases: bool = False
    moments: int = 0
    most: int = 9
    without: str = ""

    def has(self, guard: str) -> bool:
        return guard != self.without

    def id(self, number: int) -> str:
        """The id of what an attempt would open."""
        if not self.has("derived id"):
            return str(number)
        return "lower" if self.payloads[number].islower() else "upper"


WORLDS = {
    APPEARING: World(("p", "p", "p"), exists=False),
    REUSED: World(("p", "p", "q")),
    PRESSURE: World(("p", "q"), loses=True, evicts=True),
    ERASING: World(("p", "p"), expires=True, erases=True, moments=2),
    FEW: World(("p", "p", "P"), expires=True, most=1),
}

Session = tuple[str, str, int]
"""A session's id, its payload, and the attempt that opened it."""

Entry = tuple[str, int]
"""A session's id in the record, and when it ends: each time it is entered is later than the last."""


class Attempt(NamedTuple):
    """How far an attempt is: ready, looking, opening, seeing (whether it was opened), again, leaving, counting; or at
    its end: not found, refused, full, late, opened (and which session)."""

    step: str = "ready"
    sent: int = 0
    word: str = ""  # what the record's script has said
    ends: int = 0
    then: str = ""  # how it will end
    lost: bool = False  # one of its replies
    opened: Session | None = None


class State(NamedTuple):
    """What is in the two slots, which ends of entries are past, and what the mark of an erased player knows. For the
    verdict: which sessions have ended or were evicted, and what was wrong with a refusal."""

    exists: bool
    attempts: tuple[Attempt, ...]
    sessions: tuple[Session, ...] = ()
    openings: tuple[Session, ...] = ()
    record: tuple[Entry, ...] = ()
    past: frozenset[Entry] = frozenset()
    active: bool = False
    moment: int = 0
    mark: tuple[frozenset[str], int] | None = None
    swept: bool = False
    gone: frozenset[Session] = frozenset()
    ended: frozenset[str] = frozenset()
    forgotten: bool = False
    wrong: str = ""

    def living(self, id_: str) -> Session | None:
        return next((session for session in self.sessions if session[0] == id_), None)

    def entry(self, id_: str) -> Entry | None:
        return next((entry for entry in self.record if entry[0] == id_), None)


To = Callable[..., State]
"""The state after a step of an attempt: what else has changed, and what has changed in the attempt."""

Step = tuple[str, State]


def steps(world: World, state: State) -> Iterator[Step]:
    """Everything that may happen next."""
    for number, attempt in enumerate(state.attempts):
        for name, following in attempt_steps(world, state, number, attempt):
            yield f"{number}: {name}", following
    if state.moment < world.moments:
        yield "tick", state._replace(moment=state.moment + 1)
    if not state.exists and not state.mark:
        yield "appear", state._replace(exists=True)
    yield from endings(world, state)
    if world.erases and state.exists:
        known = frozenset(id_ for id_, _ in state.record)
        yield "erase", state._replace(exists=False, record=(), mark=(known, state.moment))
    if state.mark and state.moment - state.mark[1] > FENCE and not state.swept:
        after = state._replace(swept=True)
        for session in state.sessions:
            after = without(after, session) if session[0] in state.mark[0] else after
        yield "sweep", after


def endings(world: World, state: State) -> Iterator[Step]:
    """What may take away a session, what is kept of it, or its entry in the record."""
    for session in state.sessions:
        yield "end", ended(state, session)
        if world.evicts:
            yield "evict session", without(state, session)
    for opening in state.openings if world.evicts else ():
        yield "evict opening", state._replace(openings=less(state.openings, opening), forgotten=True)
    for entry in state.record:
        living = state.living(entry[0])
        if not living and any(session[0] == entry[0] for session in state.gone):
            yield "strike", state._replace(record=less(state.record, entry))
        if world.expires and entry not in state.past:
            after = ended(state, living) if living else state
            yield "expire", after._replace(past=state.past | {entry})


def attempt_steps(world: World, state: State, number: int, attempt: Attempt) -> Iterator[Step]:
    """What an attempt may do next: sessions.create with a key."""

    def to(after: State = state, **changes: object) -> State:
        new = remembered(attempt._replace(**changes))  # type: ignore[arg-type]
        return after._replace(attempts=(*after.attempts[:number], new, *after.attempts[number + 1 :]))

    step = attempt.step
    if step in ("ready", "again"):
        yield from enter_steps(world, state, world.id(number), attempt, to)
    elif step == "looking":
        yield from look_steps(world, state, world.id(number), attempt, to)
    elif step in ("opening", "seeing"):
        yield from open_steps(world, state, number, attempt, to)
    elif step.startswith("counting"):
        yield "count", to(state._replace(active=True), step="leaving" if "leaving" in step else attempt.then)
    elif step == "leaving":
        entry = state.entry(world.id(number))
        own = entry and (entry[1] == attempt.ends or not world.has("own entry"))
        record = less(state.record, entry) if entry and own else state.record
        yield "leave", to(state._replace(record=record), step=attempt.then)
        yield "leave, lose", to(step=attempt.then)


def enter_steps(world: World, state: State, id_: str, attempt: Attempt, to: To) -> Iterator[Step]:
    """The first command of the trip to the player's slot."""
    sent = state.moment if attempt.step == "ready" else attempt.sent
    if not world.has("record"):
        yield "look", to(step="opening" if state.exists else "not found", sent=sent)
    elif not world.has("look last") and not attempt.then:
        yield "look", to(then="seen" if state.exists else "unseen", sent=sent)
    else:
        word, ends, after = entered(world, state, id_, again=attempt.step == "again")
        if word == "full" and all(entry in state.past or entry[0] == id_ for entry in state.record):
            after = after._replace(wrong="a session was refused for want of room that it has, or that nobody needs")
        yield f"enter: {word}", to(after, step="looking", word=word, ends=ends, sent=sent)
        if world.loses and not attempt.lost:
            yield f"enter: {word}, lose", to(after, sent=sent, lost=True)


def look_steps(world: World, state: State, id_: str, attempt: Attempt, to: To) -> Iterator[Step]:
    """The second command of that trip, and what the attempt makes of both replies."""
    word, was_opened = attempt.word, any(opening[0] == id_ for opening in state.openings)
    if not (state.exists if world.has("look last") else attempt.then == "seen"):
        yield "look", to(step="leaving" if word in ("entered", "again") else "not found", then="not found")
    elif word in ("entered", "again") or (word == "known" and not world.has("again")):
        yield "look", to(step="opening")
    elif word == "known" or (was_opened and world.has("free replay of the past")):
        yield "look", to(step="seeing")
    else:
        wrong = "a replay was refused for want of room" if was_opened else ""
        yield "look", to(state._replace(wrong=wrong), step="full")


def open_steps(world: World, state: State, number: int, attempt: Attempt, to: To) -> Iterator[Step]:
    """The first command of the trip to the session's slot."""
    after, first = opened(world, state, number, attempt)
    if first:
        refused = first[1] != world.payloads[number] and world.has("payload")
        then, leaves = "refused" if refused else "opened", attempt.word == "entered" and not after.living(first[0])
        step = "counting, leaving" if leaves else "counting"
        if first[2] != number and not world.has("replay counts"):
            step = "leaving" if leaves else then
        yield "open", to(after, step=step, then=then, opened=None if refused else first)
        if world.loses and not attempt.lost:
            yield "open, lose", to(after, lost=True)
    elif attempt.step == "seeing":
        yield "stale: not open", to(step="full" if attempt.word == "full" else "again")
    else:
        yield "stale", to(step="leaving" if attempt.word == "entered" else "late", then="late")


def remembered(attempt: Attempt) -> Attempt:
    """An attempt without what makes no difference any more."""
    step, _, _, ends, then, _, opened = attempt
    if step == "leaving" or step.startswith("counting"):
        return Attempt(step, ends=ends if "leaving" in step else 0, then=then, opened=opened)
    return attempt if step in ("ready", "looking", "opening", "seeing", "again") else Attempt(step, opened=opened)


def entered(world: World, state: State, id_: str, *, again: bool) -> tuple[str, int, State]:
    """enter.lua: its word, when the session ends, and the state after it."""
    entry = state.entry(id_)
    known = entry is not None and entry not in state.past and world.has("free replay")
    if known and not again:
        assert entry
        return "known", entry[1], state
    under_way = [each for each in state.record if each not in state.past or not world.has("room")]
    if len(under_way) >= world.most and not known and world.has("most"):
        return "full", 0, state
    before = [ends for each, ends in (*state.past, *state.record) if each == id_]
    before += [attempt.ends for number, attempt in enumerate(state.attempts) if world.id(number) == id_]
    new = (id_, max(before) + 1)
    record = less(state.record, entry) if entry else state.record
    return "again" if known else "entered", new[1], state._replace(record=tuple(sorted((*record, new))))


def opened(world: World, state: State, number: int, attempt: Attempt) -> tuple[State, Session | None]:
    """open.lua: the state after it, and the opening that counts, None if there is none."""
    mine = (world.id(number), world.payloads[number], number)
    kept = next((each for each in state.openings if each[0] == mine[0]), None)
    living = state.living(mine[0])
    if kept and world.has("opening"):
        return state, kept
    if living and world.has("own payload"):
        return state, living
    late = state.moment - attempt.sent > FENCE and world.has("fence")
    over = any(id_ == mine[0] and ends >= attempt.ends for id_, ends in state.past) and world.has("entry's end")
    if attempt.step == "seeing" or late or over:
        return state, None
    sessions = less(state.sessions, living) if living else state.sessions
    openings = less(state.openings, kept) if kept else state.openings
    return (
        state._replace(sessions=tuple(sorted((*sessions, mine))), openings=tuple(sorted((*openings, mine)))),
        mine,
    )


def less(several: tuple[Any, ...], one: object) -> tuple[Any, ...]:
    """All but one of them."""
    return tuple(each for each in several if each != one)


def without(state: State, session: Session) -> State:
    """The state once a session is gone, because it ended or was evicted."""
    return state._replace(sessions=less(state.sessions, session), gone=state.gone | {session})


def ended(state: State, session: Session) -> State:
    """The state once a session has ended."""
    return without(state, session)._replace(ended=state.ended | {session[0]})


def complaint(world: World, state: State) -> str:
    """What is wrong with a state, '' if nothing is."""
    if state.wrong:
        return state.wrong
    if len({world.payloads[number].islower() for _, _, number in state.sessions}) < len(state.sessions):
        return "one key has opened two sessions"
    if len(state.sessions) > world.most:
        return "more sessions are open than may be"
    known = {entry[0] for entry in state.record if entry not in state.past}
    if not state.mark and not world.evicts and any(session[0] not in known for session in state.sessions):
        return "a session is open that its player's record does not know"
    if state.swept and state.sessions:
        return "a session of a player who was erased is open"
    for number, attempt in enumerate(state.attempts):
        if attempt.step == "opened" and not state.active:
            return f"{number} was told of a session, and its player is not active"
        if attempt.opened and attempt.opened not in (*state.sessions, *state.gone):
            return f"{number} was told of a session that is not there, although nobody has ended it"
        if attempt.opened and attempt.opened[1] != world.payloads[number]:
            return f"{number} was told of a session that it did not ask for"
    if any(session[0] in state.ended for session in state.sessions) and not state.forgotten:
        return "a session that had ended was opened again"
    return ""


def world(name: str, without: str = "") -> World:
    """A world, perhaps without a guard."""
    return WORLDS[name]._replace(without=without)


def explore(world: World) -> Explored:
    """Every state that can be reached in a world, up to the first bad one."""
    first = State(world.exists, tuple(Attempt() for _ in world.payloads))
    return search(first, functools.partial(steps, world), functools.partial(complaint, world))
