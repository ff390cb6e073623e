"""The model: every interleaving of the write path in some small worlds, and the loss that each guard prevents.

    python -m tests.write_path.model                    every world, in the size that the tests explore
    python -m tests.write_path.model --size large       with more attempts and runners: some minutes
    python -m tests.write_path.model --without fence    take a guard away, and read how a score is lost

One player is enough: players share nothing but the totals. A state is what the player's slot and the board's slot
hold, and how far each process is: an attempt to submit, a runner of reconcile or of a sweep. A step is one script or
command of one process; between two of its steps anything may happen elsewhere. Steps have the names that the scripts
and docstrings in `shared/` carry as marks; a test compares them with `STEPS`. What network, clock and failover do are
steps as well: `MISHAPS`. `GUARDS` are what the proof rests on, each with the world that breaks without it.

A crash needs no step: it is a process that takes no more steps, and what must hold must hold in every state. (A
runner that crashes is started again by its schedule; that is a step.) Time passes in moments of 30 s: an attempt may be
one moment old (FENCE_SECONDS), an intent is due after two (DUE_SECONDS); the revisions of moment 3 begin at 30.

Receipts of keys, and the mark of somebody who was erased, end only in the worlds that say so, where a life is two
moments long. A key that comes again after its receipt's life may count again; before that it may not. No process is
held up for as long as a mark lives: what it has read of somebody who was erased, it has projected by then.

A player's pace holds only in the world that says so: one submission a moment, and no burst.

Left out: the sorted set beside the rows (one script moves both, so the sweep's last phase finds nothing), how much a
run does at most, how many receipts there may be, user names. Sessions have a model of their own (`session_model`).
"""

from __future__ import annotations

import argparse
import functools
import gc
import itertools
import operator
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

STEPS = {
    "intent": "an attempt puts its intent into the outbox",
    "submit": "the script in the player's slot applies the submission and keeps a receipt",
    "replay": "the script finds a receipt of the key: the same payload gets its facts again",
    "stale": "the script refuses an attempt that comes too late",
    "refuse": "the script refuses: no such player, taken, the key was used with another payload, out of bounds",
    "limit": "the script refuses: the player has submitted as often as players may",
    "clear": "a refused attempt takes its intent out again",
    "expire": "the receipt of an attempt without a key ends",
    "forget": "a runner drops a generation of receipts that has ended",
    "amend": "a script in the player's slot hides the player, or shows them again; so it does with their name",
    "erase": "a script in the player's slot takes away profile and receipts of keys, and leaves a mark",
    "lift": "a runner drops the mark of somebody who was erased, once it has ended",
    "project": "the script in the board's slot brings row and totals to a state, and clears the intent; for "
    "a request that submits a score it counts the player as active",
    "remove": "the same script takes away the row of a player without a profile",
    "pick": "reconcile finds an intent that is due",
    "read": "a player's profile is read",
    "row": "there was no profile, so the player's row is read",
    "mark": "there was none after that either, so the mark of somebody who was erased is looked for",
    "renew": "a profile that is older than its row gets a newer revision",
    "begin": "a runner joins the sweep that is running, or begins one",
    "scan": "a runner sees which players are in its slice of the sweep",
    "move": "a runner moves the sweep on to its next position",
    "finish": "a runner ends the sweep: its totals become the totals",
}

MISHAPS = {
    "tick": "30 s pass",
    "lose": "a reply is lost: the attempt tries again, once, with the same id and time",
    "restart": "a runner crashes or runs out of time, and is free for something else",
    "snapshot": "a replica has got this far",
    "failover": "the replica takes over: the slot falls back to what the replica had",
    "full": "the board's slot refuses the intent, though the player's takes the submission",
    "unreadable": "a sweep cannot read the player, and goes on without them",
    "evict": "memory pressure evicts what has a TTL",
    "astray": "the server's clock is ahead of everybody else's",
    "righted": "the server's clock is put right",
}

RETRIES, FROZEN, LATE = "retries and refusals", "a frozen container", "a first try that arrives late"
CREATION, RECONCILE = "creation races", "two runs of reconcile"
SWEEPS, COUNTING = "sweeps beside writers", "wrong totals"
MEETING = "a sweep and reconcile"
FULL, UNREADABLE = "a full memory", "an unreadable player"
PROFILE, NEWCOMER, BOARD = "lost tail of the profile", "lost tail with a creation", "lost tail of the board"
CLOCK = "lost tail and a late clock"
AHEAD = "a client's clock that is ahead"
EXPIRY, NEWBORN = "receipts that end", "a creation whose receipt ends"
FORGETTING, PRESSURE = "a sweep that drops receipts", "evictions"
ASTRAY = "a server's clock that is ahead for a while"
PACE = "a player's pace"
HIDING, RECOUNT = "a player who is hidden and shown", "a sweep that counts anew"
ERASURE, SWEPT = "an erasure beside writers", "an erasure beside a sweep"
REMADE, LIFTING = "a creation after an erasure", "a mark that ends"
REBORN = "lost tail with a mark"


class Guard(NamedTuple):
    """The world that breaks without a guard, and what the guard is."""

    world: str
    meaning: str


GUARDS = {
    "intent": Guard(RETRIES, "an intent is in the outbox before its submission is made"),
    "own intent": Guard(RETRIES, "an intent belongs to one attempt, not to a key"),
    "own clear": Guard(RETRIES, "a refused attempt clears its own intent, not all of the player's"),
    "receipt": Guard(RETRIES, "a receipt is written with the submission"),
    "digest": Guard(RETRIES, "a key that comes with another payload is refused"),
    "fence": Guard(FROZEN, "a late attempt is refused"),
    "due": Guard(FROZEN, "reconcile leaves young intents alone"),
    "stale keeps": Guard(FROZEN, "an attempt refused as stale at its second try leaves its intent to reconcile"),
    "doubt": Guard(LATE, "an attempt refused at its second try answers 503, because the first may still arrive"),
    "doubt keeps": Guard(LATE, "an attempt refused at its second try leaves its intent to reconcile"),
    "revision": Guard(RECONCILE, "an older state does not overwrite a newer one"),
    "row's revision": Guard(CREATION, "a row without a profile is removed only at the revision that was read"),
    "read again": Guard(CREATION, "a missing profile is read again after its row: it may have been made in between"),
    "once a sweep": Guard(SWEEPS, "a sweep counts a player once: the row names the sweep that has counted it"),
    "position": Guard(SWEEPS, "a sweep is moved on only from where the runner's slice was"),
    "last sweep": Guard(UNREADABLE, "the totals hold a row only if the last sweep, or a later one, has counted it"),
    "sweep number": Guard(BOARD, "no two sweeps have the same number, not even after a failover"),
    "time": Guard(PROFILE, "a revision is not behind the time"),
    "renew": Guard(PROFILE, "a profile older than its row gets a newer revision"),
    "check": Guard(CLOCK, "an attempt whose projection met a newer row settles the player before it answers"),
    "renewed": Guard(CLOCK, "whoever is second to renew a profile projects what it is now, not what it was"),
    "no TTL": Guard(PRESSURE, "what has no TTL is not evicted: receipts of keys have none"),
    "two generations": Guard(EXPIRY, "a generation is kept for a life after the last receipt it took"),
    "both read": Guard(EXPIRY, "a key is looked for in both generations"),
    "forget late": Guard(FORGETTING, "a runner drops a generation only when it has ended"),
    "due by both": Guard(ASTRAY, "an intent is due when it is old by the server's clock and by the runner's"),
    "forget in time": Guard(
        ASTRAY, "a runner drops none if its time and the server's are further apart than the fence"
    ),
    "derived id": Guard(NEWBORN, "the id of what a key makes follows from the key"),
    "pace": Guard(PACE, "an accepted submission moves its player's rate in the same script"),
    "free replay": Guard(PACE, "a receipt is looked for before the rate"),
    "free refusal": Guard(PACE, "a submission that is refused does not move the rate"),
    "rate in reach": Guard(
        PACE, "a rate that is further ahead than a full burst was counted by a clock that was ahead"
    ),
    "refusal": Guard(CREATION, "an attempt that is refused counts nobody as active"),
    "hidden": Guard(RECOUNT, "what is projected of a submission says whether the player is hidden"),
    "no high score": Guard(RECOUNT, "a player who is hidden or was erased gives no high score"),
    "tombstone": Guard(ERASURE, "what is projected of an erasure is a row, whose revision older states respect"),
    "mark's revision": Guard(ERASURE, "a missing profile has the revision of the mark in its place, if there is one"),
    "mark": Guard(REMADE, "a player who was erased is not made again as long as there is a mark"),
    "lift late": Guard(LIFTING, "a runner drops a mark only when it has ended"),
    "lift in time": Guard(LIFTING, "a runner drops no mark if its time and the server's are too far apart"),
    "mark renewed": Guard(REBORN, "a mark older than the row gets a newer revision"),
    "counts anyway": Guard(RECONCILE, "a request counts its player as active even if its state was projected already"),
}

MISSING_FROM_THE_CODE: tuple[str, ...] = ()
"""Guards that the model needs and `shared/` does not have: each is a hole; `--without` prints the way to it."""

FENCE, DUE, LIFETIME = 1, 2, 2
"""In moments: how late an attempt may come, when an intent is due, how long a receipt lives at least."""

INTERVAL, FULL = 1, 1
"""In moments: a player's even pace, and how far ahead of the time a full burst leaves the rate."""


class Submission(NamedTuple):
    """What a client asks for. The same key and name make a retry, the same key with another name another payload. What
    is no game is an act: hide, show, erase, correct."""

    name: str
    key: str = ""
    amount: int = 1
    creates: bool = False
    act: str = ""

    @property
    def plays(self) -> bool:
        """Whether it is a game."""
        return not self.creates and not self.act


A, A_AGAIN, A_OTHER = Submission("a", "K1", 1), Submission("a", "K1", 1), Submission("other", "K1", 100)
B, UNKEYED, DOWN = Submission("b", "K2", 10), Submission("unkeyed", "", 1000), Submission("down", "K3", -1)
CREATE, RIVAL = Submission("create", "K4", 5, creates=True), Submission("rival", "K5", 7, creates=True)
CREATE_AGAIN = Submission("create", "K4", 5, creates=True)
HIDE, SHOW = Submission("hide", act="hide"), Submission("show", act="show")
ERASE, CORRECT = Submission("erase", act="erase"), Submission("correct", "K6", 3, act="correct")
SUBMISSIONS = {each.name: each for each in (A, A_OTHER, B, UNKEYED, DOWN, CREATE, RIVAL, HIDE, SHOW, ERASE, CORRECT)}


class World(NamedTuple):
    """What there is in a world, and what may happen in it."""

    attempts: tuple[Submission, ...]
    retries: tuple[bool, ...]  # which of them try a second time if a reply is lost
    runners: tuple[str, ...] = ()  # reconcile; sweep: joins one or begins one; rebuild: always begins one
    exists: bool = True  # the player, at the start
    late: bool = False  # a first try that got no reply may still arrive, after the second
    moments: int = 2  # the clock stops at this moment
    sweeps: int = 0  # how many may begin
    wrong_totals: bool = False  # at the start
    full: bool = False  # the board's slot may refuse an intent
    unreadable: bool = False  # a sweep may fail to read the player
    loses: str = ""  # whose slot loses its last writes, once: player or board
    clock_stands: bool = False  # the server that takes over has a clock that is behind
    ends: bool = False  # receipts of keys end
    ahead: int = 0  # how many moments the first attempt's clock is ahead
    astray: int = 0  # how many moments the server's clock may be ahead for a while
    crash: bool = False  # every attempt ends with its submission
    pressure: bool = False  # there are evictions
    paced: bool = False  # the player is held to a pace
    acts: bool = False  # the high score is right when a sweep that began after the last act has ended
    erases: bool = False  # there is an erasure
    without: frozenset[str] = frozenset()

    def has(self, guard: str) -> bool:
        return guard not in self.without


ENDS = ("acknowledged", "unseen", "refused", "over")
"""The steps of an attempt that has ended."""

Applied = tuple[str, ...]
"""The names of the submissions that make up a player's score, in order."""

Intent = str | int
"""An attempt's number, or a key if attempts with one key share it; '' for none."""

Outbox = frozenset[tuple[Intent, int]]
"""Intents, each with its attempt's time."""


class Player(NamedTuple):
    """A player's state at a revision. If `absent`, there is no profile, and the revision is that of the row."""

    revision: int
    applied: Applied
    absent: bool = False


class Receipt(NamedTuple):
    """A receipt, kept under a key, or under the attempt's number if it has none."""

    key: str | int
    name: str
    moment: int


class Generation(NamedTuple):
    """Receipts of keys that end together: it takes them for one life, and ends one life after it took the last."""

    born: int = -99
    ends: int = -99
    receipts: tuple[Receipt, ...] = ()


class Pace(NamedTuple):
    """When the next submission would come. For the verdict: when the last was accepted, by the server's clock, and when
    one was refused first since then, while that clock stood right; and what was wrong with a refusal."""

    rate: int = -99
    accepted: int = -99
    refused: int = 99
    wrong: str = ""


class Mark(NamedTuple):
    """What is left of somebody who was erased: a revision, which attempt did it, and when the mark ends."""

    revision: int
    attempt: int
    ends: int


class PlayerSlot(NamedTuple):
    """What is in the player's slot: the profile, receipts of attempts without a key, two generations of those of keys,
    the younger first, the pace, and a mark. For the verdict: when each key counted, whether one has made a second
    player, what was done by and to whoever was erased, when, and whether they were made again within a life."""

    profile: Player | None
    receipts: tuple[Receipt, ...]
    generations: tuple[Generation, Generation] = (Generation(), Generation())
    counted: tuple[tuple[str, int], ...] = ()
    second: bool = False
    pace: Pace = Pace()
    mark: Mark | None = None
    gone: Applied = ()
    gone_at: int = -99
    remade: bool = False


class Row(NamedTuple):
    """What was last projected, and the sweep that last counted it. The sorted set holds the same."""

    revision: int
    applied: Applied
    sweep: int


class Totals(NamedTuple):
    """Sums over the rows; `high` only grows, until a sweep has counted anew."""

    games: int
    score: int
    high: int


class Sweep(NamedTuple):
    """The sweep that is running."""

    number: int
    position: str
    totals: Totals


class BoardSlot(NamedTuple):
    """What is in the board's slot."""

    row: Row | None
    totals: Totals
    swept: int  # the last sweep that ended
    begun: int  # the last sweep that began
    sweep: Sweep | None
    outbox: Outbox
    active: bool = False  # whether the player is in the day's HyperLogLog


class Task(NamedTuple):
    """How far a process has got with settling a player: the next step, what it has read, the newer revision it met."""

    step: str
    held: Player | None = None
    met: int = 0


class Attempt(NamedTuple):
    """How far an attempt is: ready, intended, clearing, submitted, settling; or at its end: acknowledged, unseen (gone
    by the time it was acknowledged), refused, over (503, or what it did is lost)."""

    step: str
    sent: int = -1
    tried: bool = False  # once, without a reply
    late: int = 0  # how many commands of the first try are still on their way
    task: Task | None = None
    lost: bool = False  # a failover has taken what this attempt did


class Runner(NamedTuple):
    """How far a runner is: its kind, what it works on (an intent, or a sweep's number and position), and its task."""

    kind: str
    intent: Intent = ""
    number: int = 0
    position: str = ""
    task: Task | None = None


class State(NamedTuple):
    """Everything. `damage`: 0 none, 2 some, 1 if the sweep that is running began after it and will heal it."""

    moment: int
    astray: int  # how many moments the server's clock is ahead
    player: PlayerSlot
    board: BoardSlot
    sweeps: int  # how many have begun
    damage: int
    tail: PlayerSlot | BoardSlot | None  # what the replica has
    lost: bool  # the failover has happened
    attempts: tuple[Attempt, ...]
    runners: tuple[Runner, ...]

    @property
    def server(self) -> int:
        """The moment by the server's clock."""
        return self.moment + self.astray


NOTHING = Totals(0, 0, 0)
ERASED: Applied = ("erase",)
"""What a row holds of somebody who was erased."""

ACCEPTED = ("submit", "replay", "amend", "erase")
"""The outcomes of an attempt that was accepted."""

READ, MOVE, SCAN = Task("read"), Task("move"), Task("scan")
Step = tuple[str, State]
"""What happens, and the state after it."""

To = Callable[..., State]
"""`with_attempt`, for the attempt whose step it is."""


@functools.cache
def counted(applied: Applied) -> Totals:
    """What one player adds to the totals."""
    score = high = games = 0
    shown = True
    for name in applied:
        submission = SUBMISSIONS[name]
        if submission.act in ("hide", "show", "erase"):
            shown = submission.act == "show"
        elif submission.act == "correct":
            score = high = submission.amount
        else:
            score += submission.amount
            high = max(high, score)
            games += submission.plays
    return Totals(games, score, high) if shown else NOTHING


# --- The scripts


def submit(world: World, state: State, number: int) -> tuple[str, PlayerSlot]:
    """submit.lua: the outcome of an attempt, and the player's slot after it."""
    submission, slot, moment = world.attempts[number], state.player, state.server
    if submission.act == "erase":
        return erase(world, state, number)
    profile = slot.profile
    applied = (profile.applied if profile else ()) + (submission.name,)
    word = judged(world, state, number, applied)
    if word == "limit":
        return word, refused(world, state, submission)
    if word == "second":
        return "refuse", slot._replace(second=True)
    if word:
        return word, slot
    if submission.creates and world.ends and state.moment - slot.gone_at < LIFETIME:
        slot = slot._replace(remade=True)
    if world.paced:
        slot = slot._replace(pace=accepted(world, state))
    word = "amend" if submission.act in ("hide", "show") else "submit"
    slot = slot._replace(profile=Player(revision(world, profile.revision if profile else 0, moment), applied))
    if not world.has("receipt"):
        return word, slot
    receipt = Receipt(submission.key or number, submission.name, moment)
    if not submission.key:
        return word, slot._replace(receipts=tuple(sorted((*slot.receipts, receipt), key=repr)))
    if world.ends:
        slot = slot._replace(counted=(*slot.counted, (submission.key, state.moment)))
    return word, slot._replace(generations=with_receipt(world, slot.generations, receipt))


def judged(world: World, state: State, number: int, applied: Applied) -> str:
    """Why submit.lua does not apply an attempt, '' if it does; `second` if that would make a second player."""
    submission, attempt, slot = world.attempts[number], state.attempts[number], state.player
    late = abs(state.server - attempt.sent) > FENCE and world.has("fence")
    limit = world.paced and held_back(world, state)
    if limit and not late and not world.has("free replay"):
        return "limit"
    kept = next((receipt.name for receipt in found(world, slot, submission.key or number, state.server)), None)
    if kept and kept != submission.name and world.has("digest"):
        return "refuse"
    if kept and slot.profile:
        return "replay"
    if late:
        return "stale"
    creator = SUBMISSIONS[slot.profile.applied[0]].key if slot.profile and slot.profile.applied else None
    if submission.creates and creator == submission.key and not world.has("derived id"):
        return "second"
    if submission.creates == bool(slot.profile) or (submission.creates and slot.mark and world.has("mark")):
        return "refuse"  # taken, missing, or as if it were taken
    if limit:
        return "limit"
    return "refuse" if counted(applied).score < 0 else ""


def erase(world: World, state: State, number: int) -> tuple[str, PlayerSlot]:
    """erase.lua: the outcome of an attempt, and the player's slot after it."""
    slot, moment, profile = state.player, state.server, state.player.profile
    if not profile:
        return "replay" if slot.mark and slot.mark.attempt == number else "refuse", slot
    if abs(moment - state.attempts[number].sent) > FENCE and world.has("fence"):
        return "stale", slot
    mark = Mark(revision(world, profile.revision, moment), number, moment + LIFETIME if world.ends else 0)
    gone, gone_at = (*profile.applied, *ERASED), state.moment if world.ends else -99
    return "erase", PlayerSlot(None, slot.receipts, counted=slot.counted, mark=mark, gone=gone, gone_at=gone_at)


def in_slot(player: PlayerSlot) -> Player | None:
    """What the reply of a script in the player's slot tells: the profile, or what is projected of a mark."""
    return player.profile or (Player(player.mark.revision, ERASED) if player.mark else None)


def held_back(world: World, state: State) -> bool:
    """Whether the player has submitted as often as players may."""
    rate = state.player.pace.rate
    if rate > state.server + FULL and world.has("rate in reach"):
        return False
    return rate > state.server


def accepted(world: World, state: State) -> Pace:
    """The pace once the rate has moved."""
    moment, (rate, before, _, wrong) = state.server, state.player.pace
    if before == moment:
        wrong = "more was accepted than the pace allows"
    if world.has("pace"):
        rate = moment + INTERVAL
    return Pace(rate, moment, wrong=wrong)


def refused(world: World, state: State, submission: Submission) -> PlayerSlot:
    """The slot once a submission was held to the pace."""
    slot, (rate, before, first, wrong) = state.player, state.player.pace
    if any(receipt.name == submission.name for receipt in found(world, slot, submission.key, state.server)):
        wrong = "a replay was held to the pace"
    if not state.astray:
        first = min(first, state.moment)
    if state.moment - first >= FULL:
        wrong = "a player was locked out for longer than a full burst"
    if not world.has("free refusal"):
        rate += INTERVAL
    return slot._replace(pace=Pace(rate, before, first, wrong))


def found(world: World, slot: PlayerSlot, key: str | int, moment: int) -> Iterator[Receipt]:
    """The receipts that the script finds for a key, or for an attempt without one."""
    read = slot.generations if world.has("both read") else slot.generations[:1]
    living = (generation.receipts for generation in read if generation.ends > moment or not world.ends)
    for receipts in (slot.receipts, *living):
        yield from (receipt for receipt in receipts if receipt.key == key)


def with_receipt(
    world: World, generations: tuple[Generation, Generation], receipt: Receipt
) -> tuple[Generation, Generation]:
    """The generations with one more receipt."""
    young, old = generations
    moment = receipt.moment if world.ends else 0
    if not world.ends:
        receipt = receipt._replace(moment=0)
    if moment - young.born >= LIFETIME and (moment >= old.ends or not world.has("two generations")):
        young, old = Generation(born=moment), young
        if not world.has("two generations"):
            old = Generation()
    receipts = tuple(sorted((*young.receipts, receipt), key=repr))
    return Generation(young.born, max(young.ends, moment + LIFETIME), receipts), old


def revision(world: World, previous: int, moment: int) -> int:
    """The revision after a previous one."""
    return max(previous + 1, moment * 10) if world.has("time") else previous + 1


def project(
    world: World, board: BoardSlot, held: Player, intent: Intent, counts: bool = False
) -> tuple[BoardSlot, int]:
    """project.lua: the board's slot after it, and the revision that the row has now; `counts` if a request submits."""
    row, totals, swept, begun, sweep, outbox, active = board
    if intent != "":
        outbox = cleared(outbox, intent)
    seen = row.revision if row else 0
    if held.absent:
        wanted = held.revision == seen or not world.has("row's revision")
    else:
        wanted = held.revision >= seen or not world.has("revision")
    if wanted:
        in_totals = row and (row.sweep >= swept or not world.has("last sweep"))
        high = best(held.applied) if world.acts and not world.has("no high score") else 0
        totals = moved(totals, row.applied if row and in_totals else (), held.applied, high)
        if sweep:
            in_sweep = row and row.sweep == sweep.number and world.has("once a sweep")
            before = row.applied if row and in_sweep else ()
            sweep = sweep._replace(totals=moved(sweep.totals, before, held.applied, high))
        number = sweep.number if sweep else swept
        removed = held.absent or (held.applied == ERASED and not world.has("tombstone"))
        row = None if removed else Row(held.revision, held.applied, number)
    active = active or (counts and (wanted or world.has("counts anyway")))
    return BoardSlot(row, totals, swept, begun, sweep, outbox, active), row.revision if row else 0


def moved(totals: Totals, before: Applied, after: Applied, high: int = 0) -> Totals:
    """Totals that held a player's state before, and hold another one now."""
    old, new = counted(before), counted(after)
    return Totals(
        totals.games - old.games + new.games, totals.score - old.score + new.score, max(totals.high, new.high, high)
    )


def best(applied: Applied) -> int:
    """The best score that a player had, hidden or not."""
    return counted(tuple(name for name in applied if SUBMISSIONS[name].act not in ("hide", "erase"))).high


def cleared(outbox: Outbox, intent: Intent) -> Outbox:
    """The outbox without an intent."""
    return frozenset(entry for entry in outbox if entry[0] != intent)


def another(world: World, board: BoardSlot, moment: int) -> BoardSlot:
    """sweep.lua beginning a new one."""
    number = max(board.begun + 1, moment * 10) if world.has("sweep number") else board.begun + 1
    return board._replace(begun=number, sweep=Sweep(number, "profiles", NOTHING))


def moved_on(world: World, board: BoardSlot, number: int, position: str) -> tuple[str, BoardSlot]:
    """sweep.lua moving a sweep on from a position, or ending it."""
    sweep = board.sweep
    if not sweep or (world.has("position") and (sweep.number, sweep.position) != (number, position)):
        return "move", board
    if position == "profiles":
        return "move", board._replace(sweep=sweep._replace(position="rows"))
    return "finish", board._replace(totals=sweep.totals, swept=sweep.number, sweep=None)


def settle(
    world: World, moment: int, player: PlayerSlot, board: BoardSlot, task: Task, intent: Intent
) -> tuple[str, PlayerSlot, BoardSlot, Task | None]:
    """One step of projections.settle: read the profile, project it, and renew it if it is older than its row."""
    step, held, met = task
    profile = player.profile
    if step == "row":
        gone = Player(board.row.revision if board.row else 0, (), absent=True)
        return "row", player, board, Task("read again" if world.has("read again") else "project", gone, met)
    if step in ("read", "read again"):
        if profile is None:
            following = "mark" if world.erases else "project"
            return "read", player, board, Task("row", None, met) if step == "read" else Task(following, held, met)
        return "read", player, board, Task("renew" if profile.revision < met else "project", profile, met)
    if step == "mark":
        mark = player.mark if world.has("mark's revision") else None
        if mark is None:
            return "mark", player, board, Task("project", held, met)
        older = mark.revision < met and world.has("mark renewed")
        return "mark", player, board, Task("renew" if older else "project", Player(mark.revision, ERASED), met)
    assert held is not None
    if step == "renew" and held.applied == ERASED:
        mark = player.mark
        if mark and mark.revision == held.revision:
            mark = mark._replace(revision=max(met + 1, revision(world, mark.revision, moment)))
            player, held = player._replace(mark=mark), Player(mark.revision, ERASED)
        return "renew", player, board, Task("project", held, met)
    if step == "renew":
        if profile and profile.revision == held.revision:
            profile = Player(max(met + 1, revision(world, profile.revision, moment)), profile.applied)
            return "renew", player._replace(profile=profile), board, Task("project", profile, met)
        return "renew", player, board, Task("project", profile if profile and world.has("renewed") else held, met)
    board, seen = project(world, board, held, intent)
    again = not met and not held.absent and seen > held.revision and world.has("renew")
    return "remove" if held.absent else "project", player, board, Task("read", None, seen) if again else None


# --- The processes


def with_attempt(
    state: State,
    number: int,
    new: Attempt,
    player: PlayerSlot | None = None,
    board: BoardSlot | None = None,
    damage: int | None = None,
) -> State:
    """The state after an attempt's step, which may have changed a slot."""
    if new.step in ENDS:
        new = Attempt(new.step, new.sent, late=new.late) if new.late else Attempt(new.step)
    attempts = (*state.attempts[:number], new, *state.attempts[number + 1 :])
    return state._replace(
        player=state.player if player is None else player,
        board=state.board if board is None else board,
        attempts=attempts,
        damage=state.damage if damage is None else damage,
    )


def intent_of(world: World, number: int) -> Intent:
    """The name of an attempt's intent."""
    key = world.attempts[number].key
    return key if key and not world.has("own intent") else number


def attempt_steps(world: World, state: State, number: int) -> Iterator[Step]:
    """What an attempt may do next: players._submit, with the second try of store.exchange."""
    attempt, submission = state.attempts[number], world.attempts[number]
    to = functools.partial(with_attempt, state, number)
    for name, following in late_steps(world, state, number, to):
        yield f"{submission.name} ({number}): {name}, late", following
    if attempt.step in NEXT:
        for name, following in NEXT[attempt.step](world, state, number, to):
            yield f"{submission.name} ({number}): {name}", following


def late_steps(world: World, state: State, number: int, to: To) -> Iterator[Step]:
    """The rest of the first try arrives, although nobody waits for a reply any more."""
    attempt = state.attempts[number]
    if attempt.late == 2:
        yield "intent", to(attempt._replace(late=1), board=intended(world, state, number, attempt.sent))
    elif attempt.late == 1:
        outcome, player = submit(world, state, number)
        yield outcome, to(attempt._replace(late=0), player, damage=stale_high(world, number, outcome))


def stale_high(world: World, number: int, outcome: str) -> int | None:
    """The damage that an act does: until a sweep has counted anew, the high score may be that of what is gone."""
    is_done = outcome in ("submit", "amend", "erase")
    return 2 if is_done and world.attempts[number].act else None


def ready_steps(world: World, state: State, number: int, to: To) -> Iterator[Step]:
    """The first command of the first trip."""
    attempt = state.attempts[number]
    sent = attempt.sent if attempt.tried else state.moment + (0 if number else world.ahead)
    new = attempt._replace(step="intended", sent=sent)
    yield "intent", to(new, board=intended(world, state, number, sent))
    if world.full:
        yield "full", to(new, damage=2)
    if world.late and world.retries[number] and not attempt.tried:
        yield "lose", to(Attempt("ready", sent, tried=True, late=2))


def intended_steps(world: World, state: State, number: int, to: To) -> Iterator[Step]:
    """The second command of the first trip, and its reply."""
    attempt, board = state.attempts[number], state.board
    outcome, player = submit(world, state, number)
    keeps = True
    if outcome in ACCEPTED:
        held = in_slot(player)
        if held and not world.has("hidden") and world.attempts[number].act != "hide":
            held = held._replace(applied=tuple(name for name in held.applied if name != "hide"))
        new = attempt._replace(step="submitted", task=Task("project", held))
        if world.crash:
            new = Attempt("over")
    elif outcome == "stale" and attempt.tried:
        new, keeps = attempt._replace(step="over"), world.has("stale keeps")
    elif attempt.tried and (world.has("doubt") or world.has("doubt keeps")):
        new = attempt._replace(step="over" if world.has("doubt") else "refused")
        keeps = world.has("doubt keeps")
    else:
        new = attempt._replace(step="clearing")
    if not keeps:
        board = board._replace(outbox=cleared(board.outbox, intent_of(world, number)))
    damage = stale_high(world, number, outcome)
    yield outcome, to(new, player, board, damage)
    if world.retries[number] and not attempt.tried:
        yield f"{outcome}, lose", to(Attempt("ready", attempt.sent, tried=True), player, damage=damage)
        if world.late:
            yield "lose", to(Attempt("ready", attempt.sent, tried=True, late=1))


def clearing_steps(world: World, state: State, number: int, to: To) -> Iterator[Step]:
    """The second trip of an attempt that was refused; if it fails, the refusal stands."""
    new, board = state.attempts[number]._replace(step="refused"), state.board
    outbox = cleared(board.outbox, intent_of(world, number)) if world.has("own clear") else frozenset()
    yield "clear", to(new, board=board._replace(outbox=outbox, active=board.active or not world.has("refusal")))
    yield "lose", to(new)


def submitted_steps(world: World, state: State, number: int, to: To) -> Iterator[Step]:
    """The second trip of an attempt that was accepted."""
    attempt = state.attempts[number]
    assert attempt.task
    assert attempt.task.held
    counts = world.attempts[number].plays
    board, seen = project(world, state.board, attempt.task.held, intent_of(world, number), counts)
    if seen > attempt.task.held.revision and world.has("check"):
        yield "project", to(attempt._replace(step="settling", task=READ), board=board)
    else:
        step = answer(world, attempt, number, state.player, board)
        yield "project", to(attempt._replace(step=step), board=board)
    if world.retries[number]:
        yield "project, lose", to(attempt, board=board)


def settling_steps(world: World, state: State, number: int, to: To) -> Iterator[Step]:
    """The trips that follow if the projection met a newer row."""
    attempt = state.attempts[number]
    assert attempt.task
    name, player, board, task = settle(world, state.server, state.player, state.board, attempt.task, "")
    step = attempt.step if task else answer(world, attempt, number, player, board)
    yield name, to(attempt._replace(step=step, task=task), player, board)
    if name == "renew" and world.retries[number]:
        yield "renew, lose", to(attempt, player)


NEXT: dict[str, Callable[[World, State, int, To], Iterator[Step]]] = {
    "ready": ready_steps,
    "intended": intended_steps,
    "clearing": clearing_steps,
    "submitted": submitted_steps,
    "settling": settling_steps,
}


def intended(world: World, state: State, number: int, sent: int) -> BoardSlot:
    """The board's slot with an attempt's intent."""
    if not world.has("intent"):
        return state.board
    intent = intent_of(world, number)
    return state.board._replace(outbox=cleared(state.board.outbox, intent) | {(intent, sent)})


def answer(world: World, attempt: Attempt, number: int, player: PlayerSlot, board: BoardSlot) -> str:
    """How an attempt ends once it has projected its submission: with a 503 if the player was erased meanwhile."""
    name = world.attempts[number].name
    if attempt.lost or (name in player.gone and not (board.row and name in board.row.applied)):
        return "over"
    return "acknowledged" if board.row and name in board.row.applied else "unseen"


def with_runner(
    state: State, index: int, new: Runner, player: PlayerSlot | None = None, board: BoardSlot | None = None
) -> State:
    """The state after a runner's step, which may have changed a slot."""
    return state._replace(
        player=state.player if player is None else player,
        board=state.board if board is None else board,
        runners=(*state.runners[:index], new, *state.runners[index + 1 :]),
    )


def runner_steps(world: World, state: State, index: int) -> Iterator[Step]:
    """What a runner may do next: reconcile.run and reconcile.rebuild."""
    kind, task = state.runners[index].kind, state.runners[index].task
    if task:
        yield f"{kind}: restart", with_runner(state, index, Runner(kind))
        choices = slice_steps if task.step in ("scan", "move") else settle_steps
    else:
        choices = pick_steps if kind == "reconcile" else join_steps
    for name, following in choices(world, state, index):
        yield f"{kind}: {name}", following


def pick_steps(world: World, state: State, index: int) -> Iterator[Step]:
    """A runner of reconcile looks for work."""
    for intent, sent in state.board.outbox:
        now = min(state.server, state.moment) if world.has("due by both") else state.server
        if now - sent >= DUE or not world.has("due"):
            yield f"pick {intent}", with_runner(state, index, Runner("reconcile", intent, task=READ))


def join_steps(world: World, state: State, index: int) -> Iterator[Step]:
    """A runner of a sweep finds one that is running."""
    kind, sweep = state.runners[index].kind, state.board.sweep
    if sweep and kind == "sweep":
        yield "begin", with_runner(state, index, Runner(kind, "", sweep.number, sweep.position, SCAN))


def new_sweeps(world: World, state: State) -> Iterator[Step]:
    """A runner of a sweep begins one."""
    for index, runner in enumerate(state.runners):
        idle = not runner.task and (runner.kind == "rebuild" or (runner.kind == "sweep" and not state.board.sweep))
        if idle and state.sweeps < world.sweeps:
            board = another(world, state.board, state.server)
            after = with_runner(state, index, Runner(runner.kind, "", board.begun, "profiles", SCAN), board=board)
            damage = 1 if state.damage and not unsettled(world, state) else state.damage
            yield f"{runner.kind}: begin {board.begun}", after._replace(sweeps=state.sweeps + 1, damage=damage)


def slice_steps(world: World, state: State, index: int) -> Iterator[Step]:
    """A runner is at one end of a slice of the sweep."""
    runner, board = state.runners[index], state.board
    assert runner.task
    if runner.task == SCAN:
        row = board.row
        seen = in_slot(state.player) if runner.position == "profiles" else row and row.sweep != runner.number
        yield f"scan {runner.position}", with_runner(state, index, runner._replace(task=READ if seen else MOVE))
        for kept in forgotten_receipts(world, state) if runner.position == "profiles" else ():
            yield "forget", with_runner(state, index, runner, state.player._replace(generations=kept))
    else:
        name, board = moved_on(world, board, runner.number, runner.position)
        after = with_runner(state, index, Runner(runner.kind), board=board)
        yield name, after._replace(damage=0) if name == "finish" and state.damage == 1 else after


def forgotten_receipts(world: World, state: State) -> Iterator[tuple[Generation, Generation]]:
    """forget.lua: the generations without those that have ended, if any have."""
    if world.ends and (state.astray <= FENCE or not world.has("forget in time")):
        kept = tuple(
            generation if generation.ends > state.server and world.has("forget late") else Generation()
            for generation in state.player.generations
        )
        if kept != state.player.generations:
            yield kept  # type: ignore[misc]


def settle_steps(world: World, state: State, index: int) -> Iterator[Step]:
    """A runner is settling the player."""
    runner = state.runners[index]
    assert runner.task
    name, player, board, task = settle(world, state.server, state.player, state.board, runner.task, runner.intent)
    ended = not task and runner.kind == "reconcile"
    new = Runner(runner.kind) if ended else runner._replace(task=task or MOVE)
    yield name, with_runner(state, index, new, player, board)
    if name == "renew":
        yield "renew, lose", with_runner(state, index, runner, player)
    if world.unreadable and runner.task == READ and runner.kind != "reconcile":
        yield "unreadable", with_runner(state, index, runner._replace(task=MOVE))._replace(damage=2)


def unsettled(world: World, state: State) -> bool:
    """Whether what has done damage may go on, so that a sweep that begins now does not end it."""
    return not agree(state.player, state.board, high=False) if world.acts else aftermath(state)


def lifts(world: World, state: State) -> Iterator[Step]:
    """A runner that is at the profiles drops the mark there, if it has ended. What anybody has read before an erasure
    that is a life ago, they have projected by then."""
    mark, gone = state.player.mark, state.player.gone
    held = [process.task.held for process in state.attempts + state.runners if process.task and process.task.held]
    late = any(name in gone for each in held for name in each.applied)
    ended = mark and (mark.ends <= state.server or not world.has("lift late"))
    if not ended or late or (state.astray > FENCE and world.has("lift in time")):
        return
    if any(runner.task == SCAN and runner.position == "profiles" for runner in state.runners):
        moment = state.moment if world.ends else state.moment + 1  # it takes a life, whether that is counted or not
        yield "sweep: lift", state._replace(moment=moment, player=state.player._replace(mark=None))


def aftermath(state: State) -> bool:
    """Whether a process that a failover has made dangerous is still at work: it holds a state of the profile that is
    gone, or its intent is lost. What such a process does after a sweep has begun is left to the next sweep."""
    profile = state.player.profile
    applied = profile.applied if profile else ()
    for process in state.attempts + state.runners:
        held = process.task.held if process.task else None
        if held and held.applied != applied[: len(held.applied)]:
            return True
    intents = {intent for intent, _ in state.board.outbox}
    return any(
        number not in intents and (attempt.step in ("intended", "submitted") or attempt.late == 1)
        for number, attempt in enumerate(state.attempts)
    )


def mishaps(world: World, state: State) -> Iterator[Step]:
    """What may happen to all processes."""
    if state.moment < world.moments:
        yield "tick", state._replace(moment=state.moment + 1)
    for receipt in state.player.receipts:
        if state.server - receipt.moment >= LIFETIME:
            rest = tuple(each for each in state.player.receipts if each != receipt)
            yield f"{receipt.name} ({receipt.key}): expire", state._replace(player=state.player._replace(receipts=rest))
    if world.pressure:
        generations = state.player.generations if world.has("no TTL") else (Generation(), Generation())
        yield "evict", state._replace(player=state.player._replace(receipts=(), generations=generations))
    if world.astray:
        player = state.player._replace(pace=state.player.pace._replace(refused=99))
        yield (
            "righted" if state.astray else "astray",
            state._replace(astray=world.astray - state.astray, player=player if world.paced else state.player),
        )
    if world.loses and not state.lost and not state.tail:
        yield "snapshot", state._replace(tail=state.player if world.loses == "player" else state.board)


def failovers(world: World, state: State) -> Iterator[Step]:
    """The slot falls back. That takes a while, so time has moved on, if the new clock is right."""
    player, board, attempts, tail = state.player, state.board, state.attempts, state.tail
    if not tail:
        return
    if isinstance(tail, PlayerSlot):
        player = tail
        kept = (*(tail.profile.applied if tail.profile else ()), *tail.gone)
        attempts = tuple(
            attempt if submission.name in kept else forgotten(attempt, ("submitted", "settling"))
            for submission, attempt in zip(world.attempts, attempts, strict=True)
        )
    else:
        board = tail
        attempts = tuple(forgotten(attempt, ("settling",)) for attempt in attempts)
    moment = state.moment if world.clock_stands else state.moment + 1
    yield (
        "failover",
        state._replace(moment=moment, player=player, board=board, attempts=attempts, damage=2, tail=None, lost=True),
    )


def forgotten(attempt: Attempt, steps: tuple[str, ...]) -> Attempt:
    """An attempt after a failover has lost its work, if it was at one of these steps or had been acknowledged."""
    if attempt.step == "acknowledged":
        return attempt._replace(step="over")
    return attempt._replace(lost=True) if attempt.step in steps else attempt


# --- What must hold


def attempt_complaint(world: World, state: State, number: int) -> str:
    """What is wrong with the answer that an attempt got, '' if nothing is."""
    name, attempt, profile, row = (
        world.attempts[number].name,
        state.attempts[number],
        state.player.profile,
        state.board.row,
    )
    applied = (*(profile.applied if profile else ()), *state.player.gone)
    if attempt.step == "acknowledged" and name not in applied:
        return f"{name} was acknowledged and is not in the profile"
    if attempt.step == "unseen":
        return f"{name} was acknowledged and is not on the board"
    seen = row.applied if row else ()
    if attempt.step == "acknowledged" and name == "erase":
        if state.player.mark and seen != ERASED and not world.loses:
            return "an erasure was acknowledged, and there is something else on the board"
    elif attempt.step == "acknowledged" and name not in (*seen, *state.player.gone) and not world.clock_stands:
        return f"{name} was acknowledged and is no longer on the board"
    if attempt.step == "acknowledged" and world.attempts[number].plays and not state.board.active:
        return f"{name} was acknowledged, and its player is not active"
    alone = [submission.name for submission in world.attempts].count(name) == 1
    if attempt.step == "refused" and name in applied and alone:
        return f"{name} was refused and counted"
    return ""


def complaint(world: World, state: State) -> str:
    """What is wrong with the slots, '' if nothing is."""
    profile, row = state.player.profile, state.board.row
    applied = profile.applied if profile else ()
    if state.player.second:
        return "a key has made a second player"
    if state.player.pace.wrong:
        return state.player.pace.wrong
    if state.player.remade:
        return "a player was made again while a late request could still come"
    for (key, before), (again, then) in itertools.combinations(state.player.counted, 2):
        if key == again and then - before < LIFETIME:
            return "a key was counted twice within a receipt's life"
    if len(set(applied)) < len(applied) and not world.ends:
        return "a submission was counted twice"
    keys = [SUBMISSIONS[name].key for name in applied if SUBMISSIONS[name].key]
    if len(set(keys)) < len(keys) and not world.ends:
        return "two submissions with one key were counted"
    played = any(SUBMISSIONS[name].plays for name in (*applied, *state.player.gone))
    if state.board.active and world.loses != "player" and not played:
        return "a player is active who has submitted nothing"
    whole = not state.damage
    if not state.board.outbox and (whole or world.acts) and not agree(state.player, state.board, high=whole):
        return "the outbox is empty, and the board is not what the profile says"
    if not world.wrong_totals and state.board.totals[:2] not in (counted(row.applied if row else ())[:2], (0, 0)):
        return "the totals hold neither the whole player nor nothing"
    if not heals(world, state.player, state.board):
        return "after reconcile and a whole sweep the board is not what the profile says"
    return ""


def agree(player: PlayerSlot, board: BoardSlot, *, high: bool = True, swept: bool = False) -> bool:
    """Whether row, membership and totals are what the profile says, or the mark in its place, perhaps but for the high
    score. A mark that has ended leaves a row, until it is swept."""
    expected, row = in_slot(player), board.row
    totals = board.totals if high else board.totals._replace(high=0)
    if expected is None or row is None:
        lifted = row is not None and row.applied == ERASED and not swept
        return expected is None and (row is None or lifted) and totals[:2] == (0, 0)
    same = (expected.revision, expected.applied) == (row.revision, row.applied)
    return same and totals == counted(expected.applied)._replace(**({} if high else {"high": 0}))


def heals(world: World, player: PlayerSlot, board: BoardSlot) -> bool:
    """Whether all is well after the runs of reconcile that follow once all other processes have ended or crashed."""
    moment = world.moments + DUE
    for intent, _ in sorted(board.outbox, key=repr):
        player, board = settled(world, moment, player, board, intent)
    board = another(world, board, moment)
    number = board.begun
    if in_slot(player):
        player, board = settled(world, moment, player, board, "")
    _, board = moved_on(world, board, number, "profiles")
    if board.row and board.row.sweep != number:
        player, board = settled(world, moment, player, board, "")
    _, board = moved_on(world, board, number, "rows")
    return agree(player, board, swept=True) and not board.outbox and not board.sweep


def settled(
    world: World, moment: int, player: PlayerSlot, board: BoardSlot, intent: Intent
) -> tuple[PlayerSlot, BoardSlot]:
    """Both slots after one process has settled the player with no others beside it."""
    task: Task | None = READ
    while task:
        _, player, board, task = settle(world, moment, player, board, task, intent)
    return player, board


# --- The worlds

WORLDS = {
    RETRIES: World((A, A_OTHER, B), (True, False, False), ("reconcile",)),
    FROZEN: World((UNKEYED, B), (True, False), ("reconcile",), moments=3),
    LATE: World((CREATE, A), (False, True), ("reconcile",), exists=False, late=True),
    CREATION: World((CREATE, RIVAL, A), (True, False, False), ("reconcile",), exists=False),
    RECONCILE: World((A, DOWN), (True, False), ("reconcile", "reconcile")),
    SWEEPS: World((A, B), (False, False), ("sweep", "rebuild"), moments=0, sweeps=2),
    COUNTING: World((CREATE, A), (False, False), ("sweep", "rebuild"), False, moments=0, sweeps=2, wrong_totals=True),
    MEETING: World((A, B), (False, False), ("sweep", "reconcile"), sweeps=1),
    FULL: World((A, B), (True, False), ("sweep",), moments=0, sweeps=2, full=True),
    UNREADABLE: World((A, B), (False, False), ("sweep",), moments=0, sweeps=2, unreadable=True),
    PROFILE: World((A, B), (False, True), ("sweep",), moments=0, sweeps=1, loses="player"),
    NEWCOMER: World((CREATE, A), (False, False), ("sweep", "sweep"), False, moments=0, sweeps=1, loses="player"),
    CLOCK: World((A, B, UNKEYED), (False, False, True), moments=0, loses="player", clock_stands=True),
    BOARD: World((A,), (False,), ("sweep", "sweep"), moments=0, sweeps=2, loses="board"),
    AHEAD: World((A, B), (False, False), ("reconcile",), moments=4, ahead=2),
    EXPIRY: World((B, A, A_AGAIN, DOWN), (False, False, False, False), ends=True, crash=True),
    FORGETTING: World((A, A_AGAIN), (False, False), ("sweep",), moments=2, sweeps=1, ends=True),
    PRESSURE: World((A, A_AGAIN, UNKEYED), (True, False, False), moments=0, pressure=True),
    ASTRAY: World((A,), (True,), ("sweep", "reconcile"), sweeps=1, ends=True, astray=3),
    NEWBORN: World((CREATE, CREATE_AGAIN), (True, False), ("reconcile",), exists=False, moments=3, ends=True),
    PACE: World((A, A_AGAIN, B), (True, False, False), moments=1, astray=1, crash=True, paced=True),
    HIDING: World((HIDE, SHOW), (True, False), ("reconcile",), late=True, acts=True),
    RECOUNT: World((A, CORRECT, HIDE), (False, False, False), ("sweep",), moments=0, sweeps=2, acts=True),
    ERASURE: World((A, ERASE), (False, True), ("reconcile",), acts=True, erases=True),
    SWEPT: World((A, ERASE), (False, False), ("sweep",), moments=0, sweeps=2, acts=True, erases=True),
    REMADE: World((ERASE, CREATE), (True, True), moments=1, ends=True, acts=True, erases=True),
    LIFTING: World(
        (ERASE, CREATE),
        (False, False),
        ("sweep",),
        moments=1,
        sweeps=1,
        ends=True,
        astray=3,
        crash=True,
        acts=True,
        erases=True,
    ),
    REBORN: World((ERASE, CREATE), (False, False), ("sweep",), moments=0, sweeps=1, loses="player", erases=True),
}

LARGER: dict[str, dict[str, Any]] = {
    RETRIES: {"attempts": (A, A_AGAIN, A_OTHER, DOWN), "retries": (True, False, False, False)},
    FROZEN: {"retries": (True, True)},
    LATE: {"retries": (True, True)},
    CREATION: {"retries": (True, True, False)},
    RECONCILE: {"attempts": (A, B, DOWN), "retries": (True, False, False)},
    SWEEPS: {"attempts": (A, B, DOWN), "retries": (False, False, False)},
    COUNTING: {"attempts": (CREATE, A, B), "retries": (False, False, False)},
    MEETING: {"sweeps": 2},
    FULL: {"runners": ("sweep", "rebuild")},
    UNREADABLE: {"runners": ("sweep", "rebuild")},
    PROFILE: {"runners": ("sweep", "sweep")},
    NEWCOMER: {"retries": (True, True)},
    CLOCK: {"runners": ("sweep",), "sweeps": 1},
    BOARD: {"attempts": (A, B), "retries": (False, False)},
    AHEAD: {"retries": (True, False)},
    EXPIRY: {"moments": 4},
    FORGETTING: {"moments": 3},
    PRESSURE: {"runners": ("reconcile",), "moments": 2},
    ASTRAY: {"moments": 3},
    NEWBORN: {"attempts": (CREATE, CREATE_AGAIN, A), "retries": (True, True, False)},
    PACE: {"attempts": (A, A_AGAIN, B, UNKEYED), "retries": (True, True, False, False), "moments": 2},
    HIDING: {"attempts": (A, HIDE, SHOW), "retries": (False, True, False)},
    RECOUNT: {"runners": ("sweep", "rebuild")},
    ERASURE: {"retries": (True, True), "runners": ("reconcile", "reconcile")},
    SWEPT: {"runners": ("sweep", "rebuild")},
    REMADE: {"attempts": (A, ERASE, CREATE), "retries": (True, True, True)},
    LIFTING: {"moments": 2, "crash": False},
    REBORN: {"sweeps": 2},
}
"""What is different in each world at its large size."""


def world(name: str, size: str = "small", without: str = "") -> World:
    """A world, perhaps without a guard."""
    changes = LARGER[name] if size == "large" else {}
    return WORLDS[name]._replace(without=frozenset({without} - {""}), **changes)


# --- The exploration


class Explored(NamedTuple):
    """How many states there are, what is wrong with the first bad one, the way to it, and which steps were taken."""

    states: int
    complaint: str
    path: list[str]
    taken: set[str]
    seconds: float


def start(world: World) -> State:
    """The state in which a world begins."""
    player = PlayerSlot(Player(1, ()) if world.exists else None, ())
    totals = Totals(8, 8, 8) if world.wrong_totals else NOTHING
    board = BoardSlot(Row(1, (), 0) if world.exists else None, totals, 0, 0, None, frozenset())
    attempts = tuple(Attempt("ready") for _ in world.attempts)
    runners = tuple(Runner(kind) for kind in world.runners)
    return State(0, 0, player, board, 0, 2 if world.wrong_totals else 0, None, False, attempts, runners)


COMMON = State._fields[:-2]
"""The parts of a state that are not processes."""


class Rule(NamedTuple):
    """Something that may happen or must hold, and the parts of a state that it looks at."""

    sees: tuple[str, ...]
    says: Callable[[World, State], Any]


class Unseen:
    """Takes the place of what a rule does not look at: the rule may pass it on, and fails if it does anything else."""

    def _fail(self, *_: object) -> Any:
        raise AssertionError("a rule looks at a part of the state that it does not name")

    __getattr__ = __bool__ = __eq__ = __add__ = __radd__ = _fail
    __hash__ = None  # type: ignore[assignment]


UNSEEN: Any = Unseen()


def processes(world: World) -> tuple[list[str], list[str]]:
    """The parts of a state that are attempts, and those that are runners."""
    attempts, runners = len(world.attempts), len(world.runners)
    return [f"attempt {each}" for each in range(attempts)], [f"runner {each}" for each in range(runners)]


def happenings(world: World) -> Iterator[Rule]:
    """Everything that may happen."""
    around = ("moment", "astray", "player", "board")
    attempts, runners = processes(world)
    for number, name in enumerate(attempts):
        yield Rule((*around, name), functools.partial(attempt_steps, number=number))
    for index, name in enumerate(runners):
        yield Rule((*around, "damage", name), functools.partial(runner_steps, index=index))
    yield Rule((*around, "tail", "lost"), mishaps)
    if world.loses:
        yield Rule((*around, "tail", *attempts), failovers)
    if world.erases and (world.ends or world.loses):
        yield Rule(("moment", "astray", "player", *attempts, *runners), lifts)
    if world.sweeps:
        whole = world.wrong_totals or world.full or world.unreadable or world.loses
        yield Rule((*COMMON, *attempts, *runners) if whole else (*COMMON, *runners), new_sweeps)


def demands(world: World) -> Iterator[Rule]:
    """Everything that must hold."""
    for number, name in enumerate(processes(world)[0]):
        yield Rule(("player", "board", name), functools.partial(attempt_complaint, number=number))
    yield Rule(("player", "board", "damage"), complaint)


Numbers = tuple[int, ...]


def explore(world: World, tell: Callable[[str], None] | None = None) -> Explored:
    """Every state that can be reached in a world, up to the first bad one.

    States have most of their parts in common. So each part has a number, a state is a row of numbers, and what a rule
    says is worked out once for all states that are the same where it looks. Which runner is which makes no difference.
    """
    names = [*COMMON, *itertools.chain(*processes(world))]
    attempts, runners = len(COMMON), len(COMMON) + len(world.attempts)
    parts: list[Any] = []
    numbers: dict[Any, int] = {}

    def number(part: Any) -> int:
        found = numbers.setdefault(part, len(parts))
        if found == len(parts):
            parts.append(part)
        return found

    def in_a_row(state: State) -> list[Any]:
        return [*state[:attempts], *state.attempts, *state.runners]

    def remembered(rule: Rule, answer: Callable[[Any, list[Any]], Any]) -> Callable[[Numbers], Any]:
        positions = [names.index(name) for name in rule.sees]
        look = operator.itemgetter(*positions)
        known: dict[Numbers, Any] = {}

        def says(state: Numbers) -> Any:
            seen = look(state)
            found = known.get(seen)
            if found is None:
                row = [UNSEEN] * len(names)
                for position, part in zip(positions, seen, strict=True):
                    row[position] = parts[part]
                whole = State(*row[:attempts], tuple(row[attempts:runners]), tuple(row[runners:]))
                found = known[seen] = answer(rule.says(world, whole), row)
            return found

        return says

    def changes(steps: Iterator[Step], before: list[Any]) -> list[tuple[str, list[tuple[int, int]]]]:
        return [(name, [*changed(in_a_row(after), before)]) for name, after in steps]

    def changed(after: list[Any], before: list[Any]) -> Iterator[tuple[int, int]]:
        for position, (part, old) in enumerate(zip(after, before, strict=True)):
            if part is not old:
                yield position, number(part)

    happening = [remembered(rule, changes) for rule in happenings(world)]
    demanded = [remembered(rule, lambda text, _: text) for rule in demands(world)]

    def follow(state: Numbers) -> Iterator[tuple[str, Numbers]]:
        for says in happening:
            for name, new in says(state):
                row = list(state)
                for position, part in new:
                    row[position] = part
                if len(world.runners) > 1:
                    row[runners:] = sorted(row[runners:])
                yield name, tuple(row)

    def judge(state: Numbers) -> str:
        return next(filter(None, (says(state) for says in demanded)), "")

    return search(tuple(map(number, in_a_row(start(world)))), follow, judge, tell)


def search(
    first: Any,
    follow: Callable[[Any], Iterator[tuple[str, Any]]],
    judge: Callable[[Any], str],
    tell: Callable[[str], None] | None = None,
) -> Explored:
    """Every state that can be reached, breadth first, up to the first bad one, so that the way to it is a shortest."""
    began = reported = time.monotonic()
    came_from: dict[Any, tuple[Any, str] | None] = {first: None}
    queue = deque([first])
    taken: set[str] = set()
    wrong, path = "", []
    while queue:
        state = queue.popleft()
        wrong = judge(state)
        if wrong:
            while before := came_from[state]:
                state, name = before
                path.append(name)
            break
        for name, following in follow(state):
            way = state, name
            if came_from.setdefault(following, way) is way:
                queue.append(following)
                taken.add(name)
        if tell and time.monotonic() - reported > 2:
            reported = time.monotonic()
            tell(f"{len(came_from):,} states, {len(queue):,} still to explore")
    return Explored(len(came_from), wrong, path[::-1], taken, time.monotonic() - began)


def main() -> int:
    """Explores the worlds: a line for each, and one at the end. The exit code is 1 if anything broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.write_path.model", description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=("small", "large"), default="small")
    parser.add_argument("--without", choices=GUARDS, default="", metavar="GUARD", help=", ".join(GUARDS))
    options = parser.parse_args()
    gc.disable()  # there are millions of tuples, and no cycles among them
    names = [GUARDS[options.without].world] if options.without else list(WORLDS)
    states = 0
    broken = []
    began = time.monotonic()
    for name in names:
        found = explore(
            world(name, options.size, options.without),
            lambda line, name=name: print(f"{name}: {line}", file=sys.stderr, flush=True),  # type: ignore[misc]
        )
        states += found.states
        print(f"{name}: {found.states:,} states in {found.seconds:.1f} s{breakage(found)}", flush=True)
        if found.complaint:
            broken.append(name)
    outcome = f"BROKEN in {', '.join(broken)}" if broken else "every invariant holds"
    print(f"{len(names)} worlds, {states:,} states, {time.monotonic() - began:.0f} s: {outcome}")
    return int(bool(broken))


def breakage(found: Explored) -> str:
    """What broke and how, one step per line; '' if nothing did."""
    return f"\n  {found.complaint}:\n    " + "\n    ".join(found.path) if found.complaint else ""


if __name__ == "__main__":
    sys.exit(main())
