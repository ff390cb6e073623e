"""Races: many writers at once, with reconcile, rebuilds, crashes and ghosts beside them - and nothing is lost.

What each writer is told is checked at once, in profile, board and rank; what is there at the end, against a plain
model. CRASH_SCALE above 1 makes the long ones longer.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import valkey

from functions.reconcile import handler as reconcile_handler
from scripts.local import embedded_valkey
from scripts.local.proxy import Context
from shared import players, reconcile, sweeps
from shared.config import settings
from shared.problems import Unavailable
from shared.store import Command, Store
from tests.support import invariants, telling
from tests.support.invariants import SCALE
from tests.support.invoking import Answer, event, race
from tests.support.lines import Lines

RACERS = 16
OPERATORS = ("set", "best", "increment", "decrement")

tried: Counter[str] = Counter()

Invoke = Callable[..., Answer]


@pytest.fixture(scope="module", autouse=True)
def _tally(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tells how much was tried."""
    with telling.tallied(request, tried, "races: {} operations"):
        yield


def create(invoke: Invoke, user_id: str, score: int = 0) -> Answer:
    """POST /users."""
    body = {"userId": user_id, "username": f"Name of {user_id}", "email": "a@example.com", "score": score}
    return invoke("create_user", event("POST", "/users", json_body=body))


def submit(invoke: Invoke, user_id: str, score: int, operator: str, key: str | None = None) -> Answer:
    """PUT /users/{userId}/score."""
    headers = {} if key is None else {"Idempotency-Key": key}
    body = {"score": score, "operator": operator}
    return invoke("update_score", event("PUT", f"/users/{user_id}/score", json_body=body, headers=headers))


def assert_seen(invoke: Invoke, raw: valkey.Valkey, user: dict[str, Any], *, grows: bool) -> None:
    """Asserts that right after a 2xx profile, board and rank show that submission, or a later one of the same player.

    The games tell which of two states is the later one; so does the score, if scores only grow.
    """
    user_id = user["userId"]
    profile = invoke("get_user", event("GET", f"/users/{user_id}")).json()["user"]
    rank = invoke("rank", event("GET", f"/users/{user_id}/rank")).json()["rank"]
    with raw.pipeline(transaction=True) as pipeline:
        row, listed = pipeline.hget(invariants.PLAYERS, user_id).zscore(invariants.BOARD, user_id).execute()
    _, score, games, _, _ = row.split(" ", 4)
    assert profile["gamesPlayed"] >= user["gamesPlayed"]
    assert int(games) >= user["gamesPlayed"], "the board has this submission"
    assert int(listed) == int(score), "and shows it"
    if profile["gamesPlayed"] == user["gamesPlayed"]:
        assert profile["score"] == user["score"]
    if int(games) == user["gamesPlayed"]:
        assert int(score) == user["score"]
    if grows:
        assert min(profile["score"], rank["score"], int(score)) >= user["score"]


class Line:
    """Accepted submissions, put in line by the games that they count, and followed by a plain model."""

    def __init__(self, starts: dict[str, int]):
        self._starts = starts
        self._accepted: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        self._lock = threading.Lock()

    def add(self, reply: dict[str, Any], amount: int) -> None:
        """Adds an accepted submission's reply, and the amount that was sent."""
        user, receipt = reply["user"], reply["receipt"]
        with self._lock:
            line = self._accepted[user["userId"]]
            assert user["gamesPlayed"] not in line, "two submissions were told that they were the same game"
            line[user["gamesPlayed"]] = {**receipt, "amount": amount, "shown": user["score"]}

    def follow(self) -> dict[str, tuple[int, int, int]]:
        """Everybody's score, games and best score, if each submission is applied to what the one before has left."""
        ends = {}
        for user_id, start in self._starts.items():
            score = best = start
            line = self._accepted[user_id]
            assert sorted(line) == list(range(1, len(line) + 1)), "every game belongs to a submission, and none is lost"
            for _, receipt in sorted(line.items()):
                amount = receipt["amount"]
                after = {
                    "set": amount,
                    "best": max(score, amount),
                    "increment": score + amount,
                    "decrement": score - amount,
                }[receipt["operator"]]
                assert receipt["applied"] == (receipt["operator"] != "best" or amount > score)
                assert (receipt["previousScore"], receipt["score"]) == (score, after)
                assert (receipt["delta"], receipt["shown"]) == (after - score, after)
                score, best = after, max(best, after)
            ends[user_id] = (score, len(line), best)
        return ends


def ends(world: invariants.World) -> dict[str, tuple[int, int, int]]:
    """Everybody's score, games and best score, as they are."""
    return {
        user_id: (int(profile["score"]), int(profile["gamesPlayed"]), int(profile["bestScore"]))
        for user_id, profile in world.profiles.items()
    }


class Beside:
    """Work that goes on beside the writers, each in its own thread, again and again until they are done."""

    def __init__(self, *works: Callable[[], object]):
        self._works = works
        self._done = threading.Event()
        self.rounds = Counter[int]()

    def __enter__(self) -> Beside:
        self._threads = ThreadPoolExecutor(len(self._works))
        self._running = [self._threads.submit(self._repeat, number) for number in range(len(self._works))]
        return self

    def _repeat(self, number: int) -> None:
        while not self._done.is_set():
            self._works[number]()
            self.rounds[number] += 1

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._threads.shutdown()
        for running in self._running:
            running.result()
        assert len(self.rounds) == len(self._works), "each had its turn"


def reconcile_once() -> dict[str, Any]:
    """The scheduled function, on this thread's connection."""
    return reconcile_handler.handler(invariants.EVENTBRIDGE, Context())


def rebuild_once() -> None:
    """A rebuild, from beginning to end."""
    report = reconcile_handler.handler({"rebuild": {"cursor": None}}, Context())
    while not report["finished"]:
        report = reconcile_handler.handler({"rebuild": {"cursor": report["cursor"]}}, Context())


def test_the_sum_of_racing_increments_is_exact_and_each_is_seen_at_once(invoke: Invoke, raw: valkey.Valkey) -> None:
    create(invoke, "ada")
    each = 75 * SCALE

    def work(racer: int) -> Callable[[], Answer]:
        def increments() -> Answer:
            for number in range(each):
                answer = submit(invoke, "ada", racer + 1, "increment")
                assert answer.status == 200
                tried["increments of one player"] += 1
                if number % 4 == racer % 4:
                    assert_seen(invoke, raw, answer.json()["user"], grows=True)
            return answer

        return increments

    answers = race([work(racer) for racer in range(RACERS)])
    total = each * sum(range(1, RACERS + 1))
    assert max(answer.json()["user"]["score"] for answer in answers) == total
    world = invariants.look(raw)
    assert world.board == {"ada": total}, "at once, with nothing to settle"
    assert sum(invariants.active_days(raw).values()) in (1, 2), "on one day, or on two at midnight"
    assert world.pending == []
    assert world.totals["totalScore"] == str(total)
    world = invariants.settle(raw)
    assert ends(world) == {"ada": (total, each * RACERS, total)}


def test_racing_increments_that_come_twice_are_counted_once(invoke: Invoke, raw: valkey.Valkey, logged: Lines) -> None:
    create(invoke, "ada")
    before = logged.counted.copy()
    each = 20 * SCALE

    def work(racer: int) -> Callable[[], Answer]:
        def increments() -> Answer:
            chance = random.Random(racer)
            order = [*range(each), *range(each)]
            chance.shuffle(order)
            for number in order:  # another racer has the same keys
                answer = submit(invoke, "ada", 1, "increment", f"{racer // 2}-{number}")
                assert answer.status == 200
                tried["increments with a key, four times each"] += 1
            return answer

        return increments

    race([work(racer) for racer in range(RACERS)])
    count = each * RACERS // 2
    assert logged.since(before, "Submissions") == logged.since(before, "ScoreVolume") == count, "in the metrics too"
    assert ends(invariants.settle(raw)) == {"ada": (count, count, count)}


def test_mixed_operators_of_one_player_follow_each_other_without_a_gap(
    invoke: Invoke, raw: valkey.Valkey, logged: Lines
) -> None:
    create(invoke, "ada", 1000)
    before = logged.counted.copy()
    line = Line({"ada": 1000})
    assert_mixed(invoke, raw, line, ["ada"], 60 * SCALE)
    followed = line.follow()
    assert ends(invariants.settle(raw)) == followed
    _, games, _ = followed["ada"]
    assert logged.since(before, "Submissions") == games
    assert logged.since(before, "SubmissionsRefused") == 60 * SCALE * RACERS - games


def assert_mixed(invoke: Invoke, raw: valkey.Valkey, line: Line, user_ids: list[str], each: int) -> None:
    """Sixteen writers with all operators, for any player; refusals of a score below 0 are part of it."""

    def work(racer: int) -> Callable[[], Answer]:
        def submissions() -> Answer:
            chance = random.Random(racer)
            for number in range(each):
                user_id, operator = chance.choice(user_ids), chance.choice(OPERATORS)
                amount = chance.randrange(2000)
                answer = submit(invoke, user_id, amount, operator)
                tried["mixed submissions"] += 1
                assert answer.status == 200 or (answer.status == 400 and operator == "decrement")
                if answer.status == 200:
                    line.add(answer.json(), amount)
                    if number % 4 == racer % 4:
                        assert_seen(invoke, raw, answer.json()["user"], grows=False)
            return answer

        return submissions

    race([work(racer) for racer in range(RACERS)])


@pytest.mark.parametrize("round_number", range(3 * SCALE))
def test_of_two_creations_of_one_id_one_wins_wholly(invoke: Invoke, raw: valkey.Valkey, round_number: int) -> None:
    def creation(score: int) -> Callable[[], Answer]:
        return lambda: create(invoke, "ada", score)

    for attempt in range(10):
        raw.flushall()
        answers = race([creation(1), creation(2)])
        tried["creations"] += 2
        assert sorted(answer.status for answer in answers) == [201, 409]
        (user,) = [answer.json()["user"] for answer in answers if answer.status == 201]
        assert invariants.look(raw).board == {"ada": user["score"]}
        if attempt % 5 == 0:
            assert ends(invariants.settle(raw)) == {"ada": (user["score"], 0, user["score"])}


def test_submissions_to_a_player_who_is_just_being_created_are_counted_or_not_found(
    invoke: Invoke, raw: valkey.Valkey
) -> None:
    for _ in range(10 * SCALE):
        raw.flushall()
        answers = race(
            [lambda: create(invoke, "ada", 5), *[lambda: submit(invoke, "ada", 1, "increment") for _ in range(7)]]
        )
        tried["creations"] += 1
        tried["submissions to who is being created"] += 7
        assert answers[0].status == 201
        assert {answer.status for answer in answers[1:]} <= {200, 404}
        counted = sum(answer.status == 200 for answer in answers[1:])
        assert invariants.look(raw).board == {"ada": 5 + counted}
        assert ends(invariants.settle(raw)) == {"ada": (5 + counted, counted, 5 + counted)}


class MortalStore(Store):
    """The connection of a worker that dies between each submission and its projection."""

    died: list[str]
    dead = False

    def exchange(self, *commands: Command) -> list[Any]:
        """Submits; after that, the intent is all that is left of the worker."""
        self.died, self.dead = [str(commands[0][-1])], False
        replies = super().exchange(*commands)
        self.dead = True
        return replies

    def trip(self, commands: Sequence[Command]) -> list[Any]:
        if self.dead:
            raise Unavailable
        return super().trip(commands)


def die_after_submitting(mortal: MortalStore, user_id: str) -> str:
    """An increment by 1, in the middle of which the worker dies; returns the intent that it leaves."""
    with pytest.raises(Unavailable):
        players.submit(mortal, settings().rules, None, user_id=user_id, score=1, operator="increment")
    tried["submissions that die half-way"] += 1
    return mortal.died[0]


@pytest.mark.timeout(600 * SCALE)
@pytest.mark.parametrize(("count", "each"), [(4, 120), (300, 90)], ids=["a-handful", "hundreds"])
def test_reconcile_and_rebuild_run_beside_writers_and_crashes_and_ghosts(
    count: int, each: int, invoke: Invoke, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two reconciles, two rebuilds, workers that die, ghosts and wrong scores, all at the same time as the writers."""
    monkeypatch.setattr(reconcile, "BATCH", 3 if count < 100 else 40)
    user_ids = [f"player-{number}" for number in range(count)]
    for number, user_id in enumerate(user_ids):
        assert create(invoke, user_id, number * 10).status == 201
    writers = [user_id for user_id in user_ids if not user_id.endswith("3")]
    mortals = [user_id for user_id in user_ids if user_id.endswith("3")]
    line = Line({user_id: number * 10 for number, user_id in enumerate(user_ids) if user_id in writers})
    died: Counter[str] = Counter()
    chance = random.Random(count)
    mortal = MortalStore(settings())

    def crash() -> None:
        user_id = chance.choice(mortals)
        intent = die_after_submitting(mortal, user_id)
        died[user_id] += 1
        raw.zincrby(invariants.PENDING, -61_000, intent)

    def haunt() -> None:
        victim = chance.choice(user_ids)
        number = chance.randrange(10)
        raw.zadd(invariants.BOARD, {f"ghost-{number}": chance.randrange(10**6)})
        raw.hset(invariants.PLAYERS, f"spectre-{number}", f"{chance.randrange(10**17)} 9 9 0 Spectre")
        raw.hset(invariants.PLAYERS, f"wreck-{number}", "no row")
        raw.hincrby(invariants.TOTALS, "totalGames", chance.randrange(-5, 6))
        raw.zadd(invariants.BOARD, {chance.choice(mortals): chance.randrange(10**6), victim: 10**9}, xx=True)
        tried["damages"] += 1

    with Beside(reconcile_once, reconcile_once, rebuild_once, crash) as beside:
        assert_mixed(invoke, raw, line, writers, each * SCALE)
    tried["reconciles and rebuilds beside writers"] += beside.rounds[0] + beside.rounds[1] + beside.rounds[2]
    expected = line.follow()
    for number, user_id in enumerate(user_ids):
        if user_id in mortals:
            score = number * 10 + died[user_id]
            expected[user_id] = (score, died[user_id], score)
    assert ends(invariants.settle(raw)) == expected, "with nothing left to a sweep"

    more = Line({user_id: score for user_id, (score, _, _) in expected.items()})
    games = {user_id: played for user_id, (_, played, _) in expected.items()}
    with Beside(reconcile_once, rebuild_once, rebuild_once, haunt) as beside:
        play_on(invoke, user_ids, each * SCALE // 2, more, games)
    tried["reconciles and rebuilds beside writers"] += beside.rounds[0] + beside.rounds[1] + beside.rounds[2]
    world = invariants.settle(raw, damaged=True)
    assert {user_id: (score, played - games[user_id]) for user_id, (score, played, _) in ends(world).items()} == {
        user_id: (score, played) for user_id, (score, played, _) in more.follow().items()
    }
    assert set(world.board) == set(user_ids)


def play_on(invoke: Invoke, user_ids: list[str], each: int, line: Line, games: dict[str, int]) -> None:
    """Sixteen writers of increments, whose games are counted on from what was played before."""

    def work(racer: int) -> Callable[[], Answer]:
        def increments() -> Answer:
            chance = random.Random(racer)
            for _ in range(each):
                user_id = chance.choice(user_ids)
                answer = submit(invoke, user_id, 3, "increment")
                assert answer.status == 200
                reply = answer.json()
                reply["user"]["gamesPlayed"] -= games[user_id]
                line.add(reply, 3)
                tried["submissions beside ghosts"] += 1
            return answer

        return increments

    race([work(racer) for racer in range(RACERS)])


def test_a_sweep_that_writers_overtake_counts_everybody_once(
    invoke: Invoke, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is wrong but the totals: after each rebuild beside writers they are right."""
    monkeypatch.setattr(reconcile, "BATCH", 5)
    user_ids = [f"player-{number}" for number in range(40)]
    for user_id in user_ids:
        assert create(invoke, user_id, 100).status == 201
    created: list[str] = []

    def newcomers() -> None:
        user_id = f"new-{len(created)}"
        assert create(invoke, user_id, 50).status == 201
        created.append(user_id)
        tried["creations"] += 1

    for _ in range(3 * SCALE):
        raw.hset(invariants.TOTALS, mapping={"totalGames": "7", "totalScore": "77", "highScore": "7777"})
        with Beside(rebuild_once, newcomers):
            assert_all_counted(invoke, user_ids, 10)
        with Beside(rebuild_once, rebuild_once):  # at least one that began after the damage
            pass
        profiles = invariants.profiles(raw)
        totals = raw.hgetall(invariants.TOTALS)
        assert int(totals["totalGames"]) == sum(int(profile["gamesPlayed"]) for profile in profiles.values())
        assert int(totals["totalScore"]) == sum(int(profile["score"]) for profile in profiles.values())
        assert int(totals["highScore"]) == max(int(profile["bestScore"]) for profile in profiles.values())
    invariants.settle(raw)


def assert_all_counted(invoke: Invoke, user_ids: list[str], each: int) -> None:
    """Sixteen writers of increments, each of which must succeed."""

    def work(racer: int) -> Callable[[], Answer]:
        def increments() -> Answer:
            chance = random.Random(racer)
            for _ in range(each):
                answer = submit(invoke, chance.choice(user_ids), 1, "increment")
                assert answer.status == 200
                tried["increments beside a rebuild"] += 1
            return answer

        return increments

    race([work(racer) for racer in range(RACERS)])


def test_two_reconciles_at_once_settle_what_is_due_once(
    invoke: Invoke, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "BATCH", 7)
    user_ids = [f"player-{number}" for number in range(50)]
    for user_id in user_ids:
        assert create(invoke, user_id).status == 201
    mortal = MortalStore(settings())
    for _ in range(2):
        for user_id in user_ids:
            die_after_submitting(mortal, user_id)
    assert raw.zcard(invariants.PENDING) == 100
    invariants.a_minute_passes(raw)
    reports = race_of_reports([reconcile_once] * 4)
    assert sum(report["found"] for report in reports) >= 100
    assert raw.zcard(invariants.PENDING) == 0
    invariants.check(raw)
    assert ends(invariants.settle(raw)) == dict.fromkeys(user_ids, (2, 2, 2))


def race_of_reports(works: list[Callable[[], dict[str, Any]]]) -> list[dict[str, Any]]:
    """The reports of runs that begin at the same moment."""
    with ThreadPoolExecutor(len(works)) as threads:
        return [running.result() for running in [threads.submit(work) for work in works]]


def test_who_is_late_neither_moves_a_sweep_back_nor_ends_another_ones(invoke: Invoke, raw: valkey.Valkey) -> None:
    for number in range(30):
        assert create(invoke, f"player-{number}", 10).status == 201
    store = Store(settings())
    late = sweeps.begin(store, anew=True)
    ahead = sweeps.advance(store, late, 3).sweep
    assert sweeps.advance(store, late, 3).sweep == ahead, "the same slice again does not move it on"
    furthest = sweeps.advance(store, ahead, 3).sweep
    assert sweeps.advance(store, late, 3).sweep == furthest
    while not furthest.position.startswith("members"):
        furthest = sweeps.advance(store, furthest, 1000).sweep
    begun = sweeps.begin(store, anew=True)
    assert sweeps.advance(store, furthest, 1000).sweep == begun, "the last slice of the sweep before does not end it"
    assert sweeps.current(store) == begun
    assert raw.hget(invariants.TOTALS, "totalScore") == "300"
    store.close()
    invariants.settle(raw)


def test_an_intent_that_is_not_due_is_left_alone(invoke: Invoke, raw: valkey.Valkey) -> None:
    create(invoke, "ada")
    mortal = MortalStore(settings())
    intents = [die_after_submitting(mortal, "ada") for _ in range(3)]
    raw.zincrby(invariants.PENDING, -61_000, intents[0])
    raw.zincrby(invariants.PENDING, -50_000, intents[1])
    report = invariants.run_reconcile(raw)
    assert (report["found"], report["cleared"]) == (1, 1)
    assert 60 < report["oldestSeconds"] < 70
    assert raw.zrange(invariants.PENDING, 0, -1) == intents[1:]
    assert invariants.look(raw).board == {"ada": 3}, "it is projected as it is now"
    invariants.settle(raw)


def test_racing_sessions_with_one_key_are_one_session(invoke: Invoke, raw: valkey.Valkey) -> None:
    create(invoke, "ada")

    def opening(key: str) -> Callable[[], Answer]:
        request = event("POST", "/sessions", json_body={"userId": "ada"}, headers={"Idempotency-Key": key})
        return lambda: invoke("sessions", request)

    for number in range(5 * SCALE):
        answers = race([opening(f"key-{number}-{racer % 4}") for racer in range(RACERS)])
        tried["sessions"] += RACERS
        assert {answer.status for answer in answers} == {201}
        assert len({json.dumps(answer.json()) for answer in answers}) == 4
        known = raw.zrange("{user:ada}:sessions", 0, -1)
        assert {*raw.scan_iter("session:*")} == {f"session:{session_id}" for session_id in known}
        assert len(known) == 4 * (number + 1)


def test_each_player_alone_sees_their_own_score_exactly_while_others_write(
    server: embedded_valkey.Server, invoke: Invoke, raw: valkey.Valkey
) -> None:
    """Nobody else writes to this player, so the next read shows exactly this score, in every place."""
    for racer in range(RACERS):
        create(invoke, f"player-{racer}")

    def work(racer: int) -> Callable[[], Answer]:
        def submissions() -> Answer:
            chance = random.Random(racer)
            user_id = f"player-{racer}"
            for _ in range(15 * SCALE):
                answer = submit(invoke, user_id, chance.randrange(10**6), "set")
                score = answer.json()["user"]["score"]
                tried["exact looks"] += 1
                assert invoke("get_user", event("GET", f"/users/{user_id}")).json()["user"]["score"] == score
                assert invoke("rank", event("GET", f"/users/{user_id}/rank")).json()["rank"]["score"] == score
                near = invoke("nearby", event("GET", f"/users/{user_id}/nearby?range=1")).json()["players"]
                assert [entry["score"] for entry in near if entry["isCurrentUser"]] == [score]
                page = invoke("leaderboard", event("GET", "/leaderboard?limit=100")).json()["leaderboard"]
                assert [entry["score"] for entry in page if entry["userId"] == user_id] == [score]
            return answer

        return submissions

    with Beside(reconcile_once, rebuild_once):
        race([work(racer) for racer in range(RACERS)])
    invariants.settle(raw)
