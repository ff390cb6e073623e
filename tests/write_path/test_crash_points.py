"""Crash points: a worker is killed before and after each of its commands - at every point, one by one.

Then the client asks again, or does not; a minute passes, reconcile runs, and every invariant holds.
With CRASH_SCALE above 1 the retry of every operation crashes as well, at each of its own points.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import valkey

from scripts.local import embedded_valkey
from tests.support import invariants, telling
from tests.support.invariants import SCALE
from tests.support.invoking import Answer, Invoker, event, invoker
from tests.support.lines import Lines
from tests.support.workers import Death, Job, Snapshot, Stage, snapshot, stage

KEY = "7b0c6a1e-5d1f-4f6a-9a55-0c3e2c7b9d41"
USED = "used-before"
NEW = {"username": "New", "email": "new@example.com", "score": 70}

Facts = dict[str, tuple[int, int, int]]

tried: Counter[str] = Counter()


class Operation(NamedTuple):
    """A request, its key, and the status of its answer."""

    function: str
    method: str
    path: str
    body: dict[str, Any]
    key: str | None
    status: int

    def event(self) -> dict[str, Any]:
        """The request as a new event."""
        headers = {} if self.key is None else {"Idempotency-Key": self.key}
        return event(self.method, self.path, json_body=self.body, headers=headers)

    def job(self) -> Job:
        """The request as a worker's job."""
        return Job(self.function, self.event())


def creation(key: str | None, status: int = 201, **members: Any) -> Operation:
    """POST /users."""
    return Operation("create_user", "POST", "/users", {**NEW, **members}, key, status)


def submission(operator: str, key: str | None, status: int = 200, user_id: str = "ada", score: int = 7) -> Operation:
    """PUT /users/{userId}/score."""
    body = {"score": score, "operator": operator}
    return Operation("update_score", "PUT", f"/users/{user_id}/score", body, key, status)


def session(key: str | None, status: int = 201, user_id: str = "ada") -> Operation:
    """POST /sessions."""
    return Operation("sessions", "POST", "/sessions", {"userId": user_id, "sessionData": {"map": "a"}}, key, status)


OPERATORS = ("set", "best", "increment", "decrement")

UNKEYED = {
    "creation": creation(None),
    "creation with an id": creation(None, userId="new"),
    **{operator: submission(operator, None) for operator in OPERATORS},
    "best that is better": submission("best", None, score=1000),
}
KEYED = {
    "creation": creation(KEY),
    "creation with an id": creation(KEY, userId="new"),
    **{operator: submission(operator, KEY) for operator in OPERATORS},
    "best that is better": submission("best", KEY, score=1000),
}
WRITES = {
    **{f"{name} without a key": operation for name, operation in UNKEYED.items()},
    **{f"{name} with a key": operation for name, operation in KEYED.items()},
    "replay": submission("increment", USED, score=5),
}
REFUSALS = {
    "unknown player": submission("set", None, 404, user_id="nobody"),
    "unknown player with a key": submission("set", KEY, 404, user_id="nobody"),
    "below the lowest": submission("decrement", None, 400, score=1000),
    "below the lowest with a key": submission("decrement", KEY, 400, score=1000),
    "above the highest with a key": submission("increment", KEY, 400, score=10**12),
    "taken id": creation(None, 409, userId="ada"),
    "taken id with a key": creation(KEY, 409, userId="ada"),
    "used key": submission("decrement", USED, 422),
    "key of another creation": creation(f"{USED}-creation", 422, userId="kim", score=151),
}
FREED = {
    "unknown player with a key": submission("set", KEY),
    "below the lowest with a key": submission("decrement", KEY),
    "above the highest with a key": submission("increment", KEY),
    "taken id with a key": creation(KEY, userId="new"),
}
"""What may come with the same key after the refusal."""


@pytest.fixture(scope="module")
def workers(server: embedded_valkey.Server) -> Iterator[Stage]:
    """The stage on which they die."""
    with stage(server.port) as opened:
        yield opened


@pytest.fixture(scope="module", autouse=True)
def _tally(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tells how much was tried."""
    with telling.tallied(request, tried, "crash points: {} tried"):
        yield


@pytest.fixture
def call(server: embedded_valkey.Server, raw: valkey.Valkey) -> Iterator[Invoker]:
    """Another worker, which stays alive; three players, two used keys, and all scripts known to the server."""
    with invoker(server.port) as handlers:
        for user_id, score in (("ada", 100), ("bob", 200), ("eve", 50)):
            assert answer(handlers, creation(None, userId=user_id, score=score)).status == 201
        assert answer(handlers, submission("increment", USED, score=5)).status == 200
        assert answer(handlers, creation(f"{USED}-creation", userId="kim", score=150)).status == 201
        assert answer(handlers, submission("set", None, 404, user_id="nobody")).status == 404
        assert answer(handlers, session("to-know-the-script")).status == 201
        assert answer(handlers, creation(KEY, 409, userId="ada")).status == 409
        for pattern in ("session:*", f"{invariants.ACTIVE}*"):
            for key in raw.scan_iter(pattern):
                raw.delete(key)
        invariants.settle(raw)
        yield handlers


@pytest.fixture
def start(server: embedded_valkey.Server, call: Invoker) -> Iterator[Snapshot]:
    """The server as each worker finds it."""
    with snapshot(server.port) as taken:
        yield taken


def answer(call: Invoker, operation: Operation) -> Answer:
    """The answer of a worker that stays alive."""
    return call(
        operation.function,
        operation.method,
        operation.path,
        json_body=operation.body,
        headers={} if operation.key is None else {"Idempotency-Key": operation.key},
    )


def facts(raw: valkey.Valkey) -> Facts:
    """Each player's score, games and best score. A generated id is called 'new'."""
    return {
        "new" if profile["username"] == "New" and user_id not in ("ada", "bob", "eve", "kim") else user_id: (
            int(profile["score"]),
            int(profile["gamesPlayed"]),
            int(profile["bestScore"]),
        )
        for user_id, profile in invariants.profiles(raw).items()
    }


def shown(raw: valkey.Valkey) -> dict[str, int]:
    """The scores on the board, by the same names."""
    known = ("ada", "bob", "eve", "kim")
    return {user_id if user_id in known else "new": score for user_id, score in invariants.look(raw).board.items()}


def outcome(call: Invoker, raw: valkey.Valkey, start: Snapshot, operation: Operation) -> tuple[Facts, Facts]:
    """The facts before and after an operation in which nobody dies."""
    start.restore()
    before = facts(raw)
    assert answer(call, operation).status == operation.status
    return before, facts(raw)


def metric_of(operation: Operation) -> str:
    """What counts an operation that is done."""
    return {"create_user": "PlayersCreated", "update_score": "Submissions", "sessions": "SessionsStarted"}[
        operation.function
    ]


def status_of(death: Death) -> int:
    """The status that the worker had answered with before it was killed."""
    status: int = death.answer["statusCode"]
    return status


@pytest.mark.parametrize("known", [True, False], ids=["", "scripts-forgotten"])
@pytest.mark.parametrize("name", WRITES)
def test_a_worker_that_dies_at_any_point_has_done_it_once_or_not_at_all(
    name: str, known: bool, workers: Stage, call: Invoker, raw: valkey.Valkey, start: Snapshot, logged: Lines
) -> None:
    operation = WRITES[name]
    before, after = outcome(call, raw, start, operation)

    def prepare() -> None:
        start.restore()
        if not known:
            raw.script_flush()

    done = []
    for death in workers.kill_everywhere(operation.job, prepare):
        tried["without a retry"] += 1
        found, active = facts(raw), invariants.active(raw, "ada")
        assert found in (before, after), death
        done.append(found == after)
        if death.answer is not None:
            assert status_of(death) == operation.status
            assert found == after, "what was answered with 2xx is there"
            before_it = logged.counted.copy()
            logged.add_output(death.logged)
            assert logged.since(before_it, metric_of(operation)) == (before != after), "and counted, if it is no replay"
            plays = operation.function == "update_score"
            assert active == ({"ada"} if plays else set()), "and its player is active, unless they were only created"
            assert shown(raw) == {user_id: score for user_id, (score, _, _) in after.items()}, "and seen at once"
        invariants.settle(raw)
        assert (facts(raw), invariants.active(raw, "ada")) == (found, active), "reconcile makes nobody active"
    assert done == sorted(done), "once it is done, it stays done"
    if before != after:
        assert set(done) == {False, True}
        assert done.index(True) % 2 == 1, "it is done while the worker does not yet know it"


@pytest.mark.parametrize("known", [True, False], ids=["", "scripts-forgotten"])
@pytest.mark.parametrize("name", KEYED)
def test_the_retry_of_a_worker_that_died_at_any_point_makes_it_exactly_once(
    name: str, known: bool, workers: Stage, call: Invoker, raw: valkey.Valkey, start: Snapshot, logged: Lines
) -> None:
    operation = KEYED[name]
    before, after = outcome(call, raw, start, operation)

    def prepare() -> None:
        start.restore()
        if not known:
            raw.script_flush()

    for death in workers.kill_everywhere(operation.job, prepare):
        tried["with a retry"] += 1
        was_done = facts(raw) != before
        before_it = logged.counted.copy()
        logged.add_output(death.logged)
        retry_until_exact(call, raw, operation, after, was_done=was_done)
        lost = was_done and death.answer is None
        assert logged.since(before_it, metric_of(operation)) == (0 if lost else 1), "counted once, by whom did it"
        invariants.settle(raw)
        assert facts(raw) == after, death


def retry_until_exact(call: Invoker, raw: valkey.Valkey, operation: Operation, after: Facts, *, was_done: bool) -> None:
    """Asserts that the client's retry succeeds, says whether it found the work done, and shows it at once."""
    reply = answer(call, operation)
    assert reply.status == operation.status
    assert ("Idempotency-Replayed" in reply.headers) == was_done
    assert facts(raw) == after
    assert shown(raw) == {user_id: score for user_id, (score, _, _) in after.items()}
    user_id = reply.json()["user"]["userId"]
    rank = call("rank", "GET", f"/users/{user_id}/rank").json()["rank"]
    assert rank["score"] == reply.json()["user"]["score"]


@pytest.mark.timeout(600 * SCALE)
@pytest.mark.parametrize("name", [name for name in KEYED if SCALE > 1 or name in ("creation", "increment")])
def test_the_retry_may_die_as_well_at_any_point(
    name: str, workers: Stage, call: Invoker, raw: valkey.Valkey, start: Snapshot, server: embedded_valkey.Server
) -> None:
    operation = KEYED[name]
    before, after = outcome(call, raw, start, operation)
    for first in workers.kill_everywhere(operation.job, start.restore):
        with snapshot(server.port) as between:
            for second in workers.kill_everywhere(operation.job, between.restore):
                tried["twice"] += 1
                was_done = facts(raw) != before
                if (first.point + second.point) % 2:
                    invariants.settle(raw)
                    assert (facts(raw) != before) == was_done
                retry_until_exact(call, raw, operation, after, was_done=was_done)
                assert invariants.active(raw, "ada") == ({"ada"} if operation.function == "update_score" else set())
                invariants.settle(raw)
                assert facts(raw) == after, (first, second)


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_that_dies_at_any_point_changes_nothing_and_keeps_no_key(
    name: str, workers: Stage, call: Invoker, raw: valkey.Valkey, start: Snapshot
) -> None:
    operation = REFUSALS[name]
    before, after = outcome(call, raw, start, operation)
    assert before == after
    for death in workers.kill_everywhere(operation.job, start.restore):
        tried["refusals"] += 1
        assert facts(raw) == before
        assert invariants.active_days(raw) == {}
        if death.answer is not None:
            assert status_of(death) == operation.status
            assert raw.zcard(invariants.PENDING) == 0, "it has cleared its own intent"
        if death.point % 4 < 2:
            invariants.settle(raw)
        assert answer(call, operation).status == operation.status, "refused afresh"
        if name in FREED:
            assert answer(call, FREED[name]).status < 300, "the key is free again"
            assert "Idempotency-Replayed" in answer(call, FREED[name]).headers
        world = invariants.settle(raw)
        assert name in FREED or facts(raw) == before
        assert "nobody" not in world.profiles


@pytest.mark.parametrize("retried", [False, True], ids=["", "retried"])
@pytest.mark.parametrize("operation", [session(None), session(KEY)], ids=["without-a-key", "with-a-key"])
def test_a_session_whose_creation_dies_at_any_point_is_opened_once_at_most(
    operation: Operation,
    retried: bool,
    workers: Stage,
    call: Invoker,
    raw: valkey.Valkey,
    start: Snapshot,
    logged: Lines,
) -> None:
    for death in workers.kill_everywhere(operation.job, start.restore):
        tried["sessions"] += 1
        before_it = logged.counted.copy()
        logged.add_output(death.logged)
        opened = [json.loads(raw.get(key)) for key in raw.scan_iter("session:*")]
        assert len(opened) <= 1
        assert {each["sessionId"] for each in opened} <= {*raw.zrange("{user:ada}:sessions", 0, -1)}
        if death.answer is not None:
            assert [json.loads(death.answer["body"])["session"]] == opened
            assert invariants.active(raw, "ada")
        if retried and operation.key:
            reply = answer(call, operation)
            assert reply.status == 201
            assert ("Idempotency-Replayed" in reply.headers) == bool(opened)
            assert logged.since(before_it, "SessionsStarted") == (0 if opened and death.answer is None else 1)
            session_id = reply.json()["session"]["sessionId"]
            assert opened in ([], [reply.json()["session"]])
            assert invariants.active(raw, "ada"), "even if the first got no further than the session"
            assert [key.removeprefix("session:") for key in raw.scan_iter("session:*")] == [session_id]
            assert session_id in raw.zrange("{user:ada}:sessions", 0, -1)
            assert call("sessions", "GET", f"/sessions/{session_id}").json() == {"session": reply.json()["session"]}
        invariants.settle(raw)


def test_a_refused_session_that_dies_at_any_point_leaves_its_key_free(
    workers: Stage, call: Invoker, raw: valkey.Valkey, start: Snapshot
) -> None:
    operation = session(KEY, 404, user_id="nobody")
    for _ in workers.kill_everywhere(operation.job, start.restore):
        tried["sessions"] += 1
        assert list(raw.scan_iter("session:*")) == []
        assert invariants.active_days(raw) == {}
        assert answer(call, operation).status == 404
        assert answer(call, session(KEY)).status == 201


def leave_undone(workers: Stage, call: Invoker, raw: valkey.Valkey) -> Facts:
    """Leaves the work of workers that died: a mere intent, a refusal, profiles without a projection, one overtaken."""
    for operation, commands in (
        (submission("increment", None, user_id="bob"), 1),
        (submission("set", None, user_id="nobody"), 2),
        (submission("increment", KEY), 2),
        (creation(KEY, userId="new"), 2),
        (submission("best", None, user_id="eve", score=500), 2),
        (submission("set", None, user_id="kim", score=20), 2),
    ):
        death = workers.kill(operation.job(), 2 * commands - 1)
        assert death.answer is None
        assert len(death.executed) == commands
    assert answer(call, submission("set", None, user_id="kim", score=30)).status == 200
    found = facts(raw)
    assert {user_id: entry[:2] for user_id, entry in found.items()} == {
        "ada": (112, 2),
        "bob": (200, 0),
        "eve": (500, 1),
        "kim": (30, 2),
        "new": (70, 0),
    }
    assert raw.zcard(invariants.PENDING) == 6
    return found


@pytest.mark.parametrize("known", [True, False], ids=["", "scripts-forgotten"])
def test_reconcile_may_die_at_any_point(
    known: bool, workers: Stage, call: Invoker, raw: valkey.Valkey, server: embedded_valkey.Server
) -> None:
    expected = leave_undone(workers, call, raw)
    invariants.a_minute_passes(raw)
    job = Job("reconcile", invariants.EVENTBRIDGE, {"shared.reconcile.BATCH": 4})
    with snapshot(server.port) as start:

        def prepare() -> None:
            start.restore()
            if not known:
                raw.script_flush()

        for death in workers.kill_everywhere(lambda: job, prepare):
            tried["reconcile"] += 1
            if death.answer is not None:
                assert (death.answer["found"], death.answer["cleared"], death.answer["finished"]) == (6, 6, True)
                invariants.check(raw)
            invariants.settle(raw)
            assert facts(raw) == expected, death


def test_a_retry_beside_a_reconcile_that_died_is_exact(
    workers: Stage, call: Invoker, raw: valkey.Valkey, server: embedded_valkey.Server
) -> None:
    expected = leave_undone(workers, call, raw)
    invariants.a_minute_passes(raw)
    job = Job("reconcile", invariants.EVENTBRIDGE, {"shared.reconcile.SWEEP_PLAYERS": 0})
    with snapshot(server.port) as start:
        for death in workers.kill_everywhere(lambda: job, start.restore):
            tried["reconcile"] += 1
            for operation in (submission("increment", KEY), creation(KEY, userId="new")):
                reply = answer(call, operation)
                assert (reply.status, "Idempotency-Replayed" in reply.headers) == (operation.status, True), death
            invariants.settle(raw)
            assert facts(raw) == expected, death


def damage(raw: valkey.Valkey) -> None:
    """Plants ghosts, a missing member, a wrong row, wrong totals, and a profile that is older than its projection."""
    old = raw.hgetall("user:bob")
    raw.hset("user:bob", "revision", int(old["revision"]) - 1000)
    raw.zadd(invariants.BOARD, {"ghost": 7, "eve": 3, "phantom": 10**11})
    revision, score, games, sweep, username = raw.hget(invariants.PLAYERS, "kim").split(" ")
    raw.hset(invariants.PLAYERS, "kim", f"{revision} {int(score) + 1} {int(games) + 5} {sweep} {username}")
    raw.hset(invariants.PLAYERS, "spectre", f"{revision} 5 5 {sweep} Spectre")
    raw.hset(invariants.PLAYERS, "phantom", f"{revision} 5 5 {sweep} Phantom")
    raw.zrem(invariants.BOARD, "ada")
    raw.hset(invariants.TOTALS, mapping={"totalGames": "99", "totalScore": "-5", "highScore": "123456"})


@pytest.mark.timeout(600)
@pytest.mark.parametrize("resumed", [False, True], ids=["begun-anew", "resumed"])
def test_a_rebuild_may_die_at_any_point(
    resumed: bool, workers: Stage, call: Invoker, raw: valkey.Valkey, server: embedded_valkey.Server
) -> None:
    expected = facts(raw)
    damage(raw)
    job = Job("reconcile", {"rebuild": {"cursor": None}}, {"shared.reconcile.BATCH": 2})
    with snapshot(server.port) as start:
        for death in workers.kill_everywhere(lambda: job, start.restore):
            tried["rebuild"] += 1
            if death.answer is not None:
                assert death.answer["finished"]
                invariants.check(raw)
            if resumed:
                report = invariants.run_reconcile(raw, {"rebuild": {"cursor": raw.hget(invariants.SWEEP, "number")}})
                assert report["finished"]
                invariants.check(raw)
            invariants.settle(raw, damaged=not resumed)
            assert facts(raw) == expected, death


def test_a_rebuild_may_die_at_any_point_while_players_play_on(
    workers: Stage, call: Invoker, raw: valkey.Valkey, server: embedded_valkey.Server
) -> None:
    damage(raw)
    job = Job("reconcile", {"rebuild": {"cursor": None}}, {"shared.reconcile.BATCH": 3})
    with snapshot(server.port) as start:
        for death in workers.kill_everywhere(lambda: job, start.restore):
            tried["rebuild"] += 1
            for operation in (submission("increment", None), creation(None, userId="new")):
                assert answer(call, operation).status == operation.status
            workers.kill(submission("increment", None, user_id="bob").job(), 3)
            invariants.a_minute_passes(raw)
            number = raw.hget(invariants.SWEEP, "number")
            report = invariants.run_reconcile(raw, {"rebuild": {"cursor": number}})
            assert report["finished"]
            invariants.settle(raw, damaged=True)
            found = facts(raw)
            assert (found["ada"][:2], found["bob"][:2], found["new"][:2]) == ((112, 2), (207, 1), (70, 0)), death
