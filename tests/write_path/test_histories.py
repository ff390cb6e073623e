"""Any history of submissions, acts, erasures, retries, lost replies, crashes, sweeps, lost tails, evictions and passing
days ends as a plain dictionary says."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import valkey
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from shared import board, config, deadline, idempotency, people, players, sweeps
from shared.problems import InvalidArguments, NotRanked, NotYetVisible, Unavailable, UserExists, UserNotFound
from shared.store import Store
from tests.support import invariants, telling
from tests.support.wires import Proxy, proxy_to
from tests.write_path.slots import Snapshot, put_back, taken

EXAMPLES = int(os.environ.get("HISTORY_EXAMPLES", "0"))
"""How many histories, different ones in every run; without it 150, the same ones every time."""

USERS = ("ada", "bob", "cleo")
OPERATORS = st.sampled_from(["set", "best", "increment", "decrement"])
FATES = st.sampled_from(["well"] * 4 + ["lost", "lost twice", "killed 0", "killed 1", "killed 2"])
"""What happens to a request: its first reply, or the first two, are lost; its process dies after some round trips."""


LIFE, ALLOWANCE = 86_400, 600
"""The life of a receipt, and how long a history may take by the server's own clock; in seconds."""


class Killed(BaseException):
    """The process is dead."""


class Dying(Store):
    """The connection of a process that is killed after so many round trips."""

    def __init__(self, configured: config.Settings, left: int):
        super().__init__(configured)
        self.left = left

    def trip(self, commands: Any) -> list[Any]:
        if not self.left:
            raise Killed
        self.left -= 1
        return super().trip(commands)


@dataclass
class Player:
    """What is true about a player."""

    score: int = 0
    best: int = 0
    games: int = 0
    hidden: bool = False
    name: str = ""
    done: dict[str, float] = field(default_factory=dict)
    """The keys that were applied, and when."""


@dataclass
class Request:
    """A keyed submission that can be sent again."""

    key: str
    user_id: str
    operator: str
    amount: int


def applied(player: Player, request: Request, now: float) -> Player | None:
    """The player after the submission, None if it breaks the rules."""
    before, amount = player.score, request.amount
    after = {"set": amount, "best": max(before, amount), "increment": before + amount, "decrement": before - amount}
    score = after[request.operator]
    if not 0 <= score <= 10**12:
        return None
    done = player.done | {request.key: now}
    return dataclasses.replace(player, score=score, best=max(player.best, score), games=player.games + 1, done=done)


class Histories(RuleBasedStateMachine):
    """One server, three players, and everything that can happen."""

    raw: valkey.Valkey
    binary: valkey.Valkey
    proxy: Proxy
    sent = 0

    @initialize()
    def begin(self) -> None:
        """An empty server."""
        deadline.start(math.inf)
        self.raw.flushall()
        self.proxy.cuts = 0
        self.players: dict[str, Player] = {}
        self.active: set[str] = set()
        self.played: set[str] = set()
        self.requests: list[Request] = []
        self.erased: set[str] = set()
        """Who is gone, and whose name is not free again."""
        self.past: dict[str, tuple[Snapshot, Player | None, bool, float]] = {}
        self.now = 0.0
        self.store = Store(config.settings())

    def teardown(self) -> None:
        """At the end everything agrees."""
        if hasattr(self, "store"):
            self.settle()
            self.store.close()

    def through(self, fate: str) -> Store:
        """A connection with this fate."""
        if fate.startswith("killed"):
            return Dying(config.settings(), int(fate[-1]))
        if fate == "well":
            return self.store
        self.proxy.cuts = 1 if fate == "lost" else 2
        return Store(config.load({"VALKEY_HOST": "127.0.0.1", "VALKEY_PORT": str(self.proxy.port)}))

    def is_kept(self, user_id: str, key: idempotency.Key, text: str) -> bool:
        """Whether a player has a receipt of the key, which must live for one life and may live for two."""
        generations = [f"{{user:{user_id}}}:receipts:{generation}" for generation in "ab"]
        seconds, _ = self.raw.time()
        kept = any(
            self.raw.hexists(generation, key.name) and int(self.raw.hget(generation, "ends") or 0) > seconds
            for generation in generations
        )
        player = self.players.get(user_id)
        age = math.inf if player is None or text not in player.done else self.now - player.done[text]
        assert kept or age > LIFE - ALLOWANCE
        assert not kept or age < 2 * LIFE + ALLOWANCE
        return kept

    def attempt(self, request: Request, fate: str) -> None:
        """Sends a request, and notes in the dictionary what must have become of it."""
        Histories.sent += 1
        player = self.players.get(request.user_id)
        key = idempotency.key("", request.key, "submit", {"operator": request.operator, "score": request.amount})
        is_done = self.is_kept(request.user_id, key, request.key)
        after = player if is_done or player is None else applied(player, request, self.now)
        store = self.through(fate)
        try:
            done = players.submit(
                store,
                config.settings().rules,
                key,
                user_id=request.user_id,
                score=request.amount,
                operator=request.operator,  # type: ignore[arg-type]
            )
        except (Killed, Unavailable, NotYetVisible):
            assert fate != "well"
        except UserNotFound:
            assert player is None
        except InvalidArguments:
            assert after is None
        else:
            assert after is not None
            assert done.replayed is is_done
            assert done.user["score"] == after.score
            assert bool(done.receipt["rank"]) is not after.hidden
            self.stands(request.user_id, after)
            self.active.add(request.user_id)
        finally:
            self.proxy.cuts = 0
            if store is not self.store:
                store.close()
        if after is not None and fate != "killed 0":
            self.players[request.user_id] = after
            self.played.add(request.user_id)

    @rule(user_id=st.sampled_from(USERS), score=st.integers(0, 50), fate=FATES)
    def create(self, user_id: str, score: int, fate: str) -> None:
        """A player is created."""
        Histories.sent += 1
        store = self.through(fate)
        try:
            players.create(
                store,
                config.settings().rules,
                None,
                username=user_id.title(),
                email="e@example.com",
                user_id=user_id,
                score=score,
            )
        except (Killed, Unavailable):
            assert fate != "well"
        except UserExists:
            assert user_id in self.players or user_id in self.erased
        else:
            assert user_id not in self.players
            assert user_id not in self.erased
            assert board.standing(self.store, user_id)["score"] == score
        finally:
            self.proxy.cuts = 0
            if store is not self.store:
                store.close()
        if fate != "killed 0" and user_id not in self.erased:
            self.players.setdefault(user_id, Player(score, score, name=user_id.title()))

    @rule(which=st.integers(0, 2), fate=FATES)
    def create_for_a_key(self, which: int, fate: str) -> None:
        """A player is created whose id follows from the key, perhaps not for the first time."""
        Histories.sent += 1
        text = f"new-{which}"
        key = idempotency.key("", text, "create", {"score": which})
        is_there, is_done = key.made_id in self.players, self.is_kept(key.made_id, key, text)
        store = self.through(fate)
        try:
            done = players.create(
                store, config.settings().rules, key, username=text, email="e@example.com", score=which
            )
        except (Killed, Unavailable, NotYetVisible):
            assert fate != "well"
        except UserExists:
            assert is_there or key.made_id in self.erased
            assert not is_done
        else:
            assert done.user["userId"] == key.made_id
            assert done.replayed is is_done
            assert is_done is is_there
        finally:
            self.proxy.cuts = 0
            if store is not self.store:
                store.close()
        if fate != "killed 0" and key.made_id not in self.erased:
            self.players.setdefault(key.made_id, Player(which, which, name=text, done={text: self.now}))

    def stands(self, user_id: str, player: Player) -> None:
        """Asserts that a player stands where they belong, which is nowhere if they are hidden."""
        if player.hidden:
            with pytest.raises(NotRanked):
                board.standing(self.store, user_id)
        else:
            assert board.standing(self.store, user_id)["score"] == player.score

    def act(self, user_id: str, fate: str, work: Callable[[Store], Any], **changes: Any) -> bool:
        """Does something to a player, and notes it in the dictionary; whether it was answered."""
        Histories.sent += 1
        player, store, answered = self.players.get(user_id), self.through(fate), False
        after = dataclasses.replace(player, **changes) if player else None
        try:
            work(store)
        except (Killed, Unavailable, NotYetVisible):
            assert fate != "well"
        except UserNotFound:
            assert after is None
        else:
            assert after is not None
            answered = True
        finally:
            self.proxy.cuts = 0
            if store is not self.store:
                store.close()
        if after and fate != "killed 0":
            self.players[user_id] = after
        return answered

    @rule(user_id=st.sampled_from(USERS), hidden=st.booleans(), fate=FATES)
    def hide(self, user_id: str, hidden: bool, fate: str) -> None:
        """A player is hidden, or shown again."""
        rules = config.settings().rules
        was = user_id in self.players and self.players[user_id].hidden

        def work(store: Store) -> None:
            change = players.set_hidden(store, rules, user_id=user_id, hidden=hidden)
            assert change == (was, hidden)

        if self.act(user_id, fate, work, hidden=hidden):
            self.stands(user_id, self.players[user_id])

    @rule(user_id=st.sampled_from(USERS), name=st.sampled_from(["Ada", "Lovelace"]), fate=FATES)
    def rename(self, user_id: str, name: str, fate: str) -> None:
        """A player gets another name."""
        rules = config.settings().rules
        self.act(user_id, fate, lambda store: players.amend(store, rules, user_id=user_id, username=name), name=name)

    @rule(user_id=st.sampled_from(USERS), score=st.integers(0, 30), fate=FATES)
    def correct(self, user_id: str, score: int, fate: str) -> None:
        """A player's score is put right, and their best score with it."""
        rules = config.settings().rules
        work = functools.partial(players.correct, user_id=user_id, score=score, best_score=score)
        self.act(user_id, fate, lambda store: work(store, rules, None), score=score, best=score)

    @rule(user_id=st.sampled_from(USERS), fate=FATES)
    def erase(self, user_id: str, fate: str) -> None:
        """A player is erased."""
        Histories.sent += 1
        store = self.through(fate)
        try:
            people.erase(store, config.settings().rules, user_id=user_id)
        except (Killed, Unavailable, NotYetVisible):
            assert fate != "well"
        except UserNotFound:
            assert user_id not in self.players
        else:
            assert user_id in self.players
            with pytest.raises(UserNotFound):
                board.standing(self.store, user_id)
        finally:
            self.proxy.cuts = 0
            if store is not self.store:
                store.close()
        if fate != "killed 0" and self.players.pop(user_id, None):
            self.erased.add(user_id)

    @rule()
    def marks_end(self) -> None:
        """Nothing late can come any more, and a sweep comes by."""
        invariants.marks_grow_older(self.raw, 2 * LIFE)
        invariants.rebuild(self.raw)
        self.erased.clear()
        assert not invariants.marks(self.raw)

    @rule(user_id=st.sampled_from(USERS), operator=OPERATORS, amount=st.integers(0, 60), fate=FATES)
    def submit(self, user_id: str, operator: str, amount: int, fate: str) -> None:
        """A game was played."""
        self.requests.append(Request(f"key-{len(self.requests)}", user_id, operator, amount))
        self.attempt(self.requests[-1], fate)

    @precondition(lambda self: self.requests)
    @rule(which=st.integers(0, 5), fate=FATES)
    def retry(self, which: int, fate: str) -> None:
        """One of the last requests is sent again."""
        self.attempt(self.requests[-1 - which % len(self.requests)], fate)

    @rule(lives=st.sampled_from([0.3, 0.3, 0.6, 2.5]))
    def time_passes(self, lives: float) -> None:
        """Ages the receipts of keys, by a part of their life or until all have ended."""
        self.now += lives * LIFE
        invariants.receipts_grow_older(self.raw, "*", int(lives * LIFE))

    @rule(user_id=st.sampled_from(USERS), fate=FATES)
    def two_days_of_games(self, user_id: str, fate: str) -> None:
        """Fills both generations with receipts; then each game is sent once more."""
        for amount in range(4):
            self.submit(user_id, "increment", amount, fate)
            self.time_passes(0.6)
        for which in range(4):
            self.retry(which, fate)

    @rule()
    def evict(self) -> None:
        """Memory pressure evicts all that it can."""
        for key in self.raw.scan_iter(count=1000):
            if self.raw.ttl(key) != -1:
                self.raw.delete(key)

    @rule()
    def reconcile(self) -> None:
        """A minute passes, and the schedule fires."""
        invariants.a_minute_passes(self.raw)
        invariants.run_reconcile(self.raw)

    @rule(anew=st.booleans(), slices=st.integers(1, 3))
    def sweep(self, anew: bool, slices: int) -> None:
        """A sweep goes on for a little, or a rebuild begins."""
        sweep = sweeps.begin(self.store, anew=anew)
        for _ in range(slices):
            if sweep.position:
                sweep = sweeps.advance(self.store, sweep, 1).sweep

    @rule(slot=st.sampled_from([*USERS, "board"]))
    def remember(self, slot: str) -> None:
        """A replica receives this state of a slot."""
        player = copy.deepcopy(self.players.get(slot))
        self.past[slot] = (taken(self.binary, slot), player, slot in self.erased, self.now)

    @precondition(lambda self: self.past)
    @rule(which=st.integers(0, 3))
    def lose_a_tail(self, which: int) -> None:
        """The replica takes over: the slot is as it was then."""
        slot = sorted(self.past)[which % len(self.past)]
        snapshot, player, was_erased, then = self.past[slot]
        put_back(self.binary, slot, snapshot)
        invariants.receipts_grow_older(self.raw, slot, int(self.now - then))
        if slot == "board":
            self.active.clear()
        else:
            self.players.pop(slot, None)
            self.erased.discard(slot)
            if was_erased:
                self.erased.add(slot)
            if player is not None:
                self.players[slot] = copy.deepcopy(player)

    @rule()
    def settle(self) -> None:
        """Everything has had its time: now it is as the dictionary says."""
        world = invariants.settle(self.raw, damaged=True)
        found = {
            user_id: (
                int(profile["score"]),
                int(profile["bestScore"]),
                int(profile["gamesPlayed"]),
                bool(profile.get("hidden")),
                profile["username"],
            )
            for user_id, profile in world.profiles.items()
        }
        assert self.active <= invariants.active(self.raw, *USERS) <= self.played
        assert found == {
            name: (player.score, player.best, player.games, player.hidden, player.name)
            for name, player in self.players.items()
        }
        assert world.marks.keys() == self.erased


def test_every_history_ends_as_the_dictionary_says(raw: valkey.Valkey, request: pytest.FixtureRequest) -> None:
    options = raw.connection_pool.connection_kwargs
    Histories.sent = 0
    for script in (Path(board.__file__).parent / "lua").glob("*.lua"):
        raw.script_load(script.read_text())  # an unknown script would cost a process one of its trips
    with valkey.Valkey(host=options["host"], port=options["port"]) as binary, proxy_to(options["port"]) as proxy:
        Histories.raw, Histories.binary, Histories.proxy = raw, binary, proxy
        run_state_machine_as_test(
            Histories,
            settings=settings(
                max_examples=EXAMPLES or 150,
                stateful_step_count=30,
                derandomize=not EXAMPLES,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    telling.tell(request, f"histories: {EXAMPLES or 150}, with {Histories.sent} requests")
