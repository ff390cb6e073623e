"""Slots that come back older, and data that our code did not write: healed while writes go on, or reported, but never
in anybody else's way. (test_lost_tail rolls back one slot and heals everything; here players are created meanwhile,
several slots go back at once, and nobody waits for the sweep.)"""

from __future__ import annotations

import importlib
import itertools
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import valkey

from scripts.local import embedded_valkey
from scripts.local.proxy import Context
from shared import reconcile
from shared.config import Settings
from shared.store import Store
from tests.support import invariants, telling
from tests.support.invoking import Answer, event
from tests.support.nodes import crew

Invoke = Callable[..., Answer]
Slot = dict[str, tuple[bytes, int]]

PLAYERS = ("ada", "bob", "cleo")
SLOTS = (*PLAYERS, "board")

HISTORY: list[tuple[str, int, str]] = [
    ("ada", 100, "create"),
    ("ada", 40, "increment"),
    ("bob", 0, "create"),
    ("ada", 20, "decrement"),
    ("bob", 300, "best"),
    ("cleo", 900, "create"),
    ("cleo", 5, "set"),
    ("bob", 7, "increment"),
]


def act(invoke: Invoke, user_id: str, score: int, operator: str) -> Answer:
    """Takes a step of a history."""
    if operator == "create":
        body = {"userId": user_id, "username": f"The {user_id}", "email": f"{user_id}@example.com", "score": score}
        return invoke("create_user", event("POST", "/users", json_body=body))
    body = {"score": score, "operator": operator}
    return invoke("update_score", event("PUT", f"/users/{user_id}/score", json_body=body))


def taken(client: valkey.Valkey) -> dict[str, Slot]:
    """Every slot with everything in it: a player's profile and receipts, the board with everything beside it."""
    slots: dict[str, Slot] = {name: {} for name in SLOTS}
    keys = sorted(client.scan_iter(count=1000))
    with client.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.dump(key).pttl(key)
        found = pipeline.execute()
    for key, dump, lifetime in zip(keys, found[::2], found[1::2], strict=True):
        name = key.decode()
        owners = [user_id for user_id in PLAYERS if name.startswith((f"user:{user_id}", f"{{user:{user_id}}}"))]
        if owners or "leaderboard:global" in name:
            slots[owners[0] if owners else "board"][name] = (dump, max(0, lifetime))
    return slots


def put_back(client: valkey.Valkey, slots: dict[str, Slot]) -> None:
    """Makes these slots everything that the server holds."""
    client.flushall()
    with client.pipeline(transaction=False) as pipeline:
        for name, (dump, lifetime) in itertools.chain.from_iterable(slot.items() for slot in slots.values()):
            pipeline.restore(name, lifetime, dump)
        pipeline.execute()


def by_the_next_submissions(invoke: Invoke, raw: valkey.Valkey) -> None:
    """Everybody who exists plays once; then everything but the high score agrees, at once and without reconcile."""
    for user_id, profile in invariants.profiles(raw).items():
        answer = act(invoke, user_id, 3, "increment")
        assert answer.status == 200
        assert answer.json()["receipt"]["previousScore"] == int(profile["score"])
        rank = invoke("rank", event("GET", f"/users/{user_id}/rank")).json()["rank"]
        assert rank["score"] == int(profile["score"]) + 3
        assert int(raw.hget(f"user:{user_id}", "revision")) > int(profile["revision"])
    world = invariants.look(raw)
    for user_id, profile in world.profiles.items():
        assert world.board[user_id] == int(profile["score"])
        assert world.rows[user_id].startswith(f"{profile['revision']} {profile['score']} {profile['gamesPlayed']} ")
    if set(world.board) == set(world.profiles):  # a ghost, and what it adds to the totals, is left to the sweep
        profiles = world.profiles.values()
        assert int(world.totals.get("totalGames", 0)) == sum(int(profile["gamesPlayed"]) for profile in profiles)
        assert int(world.totals.get("totalScore", 0)) == sum(int(profile["score"]) for profile in profiles)


def by_reconcile(_: Invoke, raw: valkey.Valkey) -> None:
    """The sweep that is running, and the next one."""
    for _run in range(2):
        invariants.run_reconcile(raw)


def by_rebuild(_: Invoke, raw: valkey.Valkey) -> None:
    invariants.rebuild(raw)


@pytest.mark.parametrize("heal", [by_the_next_submissions, by_reconcile, by_rebuild], ids=lambda heal: heal.__name__)
@pytest.mark.parametrize("slots", [(slot,) for slot in SLOTS] + [("ada", "board"), ("bob", "cleo")], ids="+".join)
def test_slots_that_come_back_older_agree_again(
    slots: tuple[str, ...],
    heal: Callable[[Invoke, valkey.Valkey], None],
    invoke: Invoke,
    raw: valkey.Valkey,
    server: embedded_valkey.Server,
) -> None:
    with valkey.Valkey(port=server.port) as client:
        states = [taken(client)]
        for step in HISTORY:
            assert act(invoke, *step).status in (200, 201)
            states.append(taken(client))
        for then, now in itertools.combinations(range(len(states)), 2):
            before = {slot: states[then][slot] for slot in slots}
            if all(before[slot] == states[now][slot] for slot in slots):
                continue
            put_back(client, {**states[now], **before})
            kept = {user_id: profile["score"] for user_id, profile in invariants.profiles(raw).items()}
            heal(invoke, raw)
            if heal is not by_the_next_submissions:
                world = invariants.check(raw)
                assert {user_id: profile["score"] for user_id, profile in world.profiles.items()} == kept
            invariants.settle(raw, damaged=True)


def test_a_profile_that_was_rolled_back_gets_a_newer_revision_than_any_that_was_seen(
    invoke: Invoke, raw: valkey.Valkey, server: embedded_valkey.Server
) -> None:
    act(invoke, "ada", 100, "create")
    with valkey.Valkey(port=server.port) as client:
        before = taken(client)["ada"]
        lost = int(act(invoke, "ada", 40, "increment") and raw.hget("user:ada", "revision"))
        put_back(client, {**taken(client), "ada": before})
    assert int(raw.hget("user:ada", "revision")) < lost
    assert invariants.rebuild(raw) == 1
    world = invariants.check(raw)
    assert world.profiles["ada"]["score"] == "100"
    assert int(world.profiles["ada"]["revision"]) > lost
    revision = world.profiles["ada"]["revision"]
    assert invariants.rebuild(raw) == 0
    assert raw.hget("user:ada", "revision") == revision, "once is enough"


def plant(raw: valkey.Valkey, users: list[str], number: int) -> None:
    """Plants everything that can be wrong without being malformed, all over the place."""
    chance = random.Random(number)
    revision = raw.hget("user:" + users[0], "revision")
    raw.hset(invariants.TOTALS, mapping={"totalGames": "99999", "totalScore": "-5", "highScore": "123456789"})
    for user_id in chance.sample(users, 20):
        raw.zadd(invariants.BOARD, {user_id: chance.randrange(10**6)})
    raw.zrem(invariants.BOARD, *chance.sample(users, 20))
    raw.hdel(invariants.PLAYERS, *chance.sample(users, 20))
    for user_id in chance.sample(users, 20):
        raw.hset(invariants.PLAYERS, user_id, f"{int(revision) + chance.randrange(10**7)} 17 4 0 Somebody Else")
    for user_id in chance.sample(users, 20):
        raw.hset(invariants.PLAYERS, user_id, "1 17 4 0 Old")
    raw.zadd(invariants.BOARD, {f"ghost-{index}": index for index in range(20)})
    for index in range(10, 30):
        raw.hset(invariants.PLAYERS, f"ghost-{index}", f"{revision} {index} 1 0 Ghost")


def test_everything_that_is_wrong_is_healed_by_one_sweep_while_writes_go_on(
    server: embedded_valkey.Server, raw: valkey.Valkey, request: pytest.FixtureRequest
) -> None:
    rounds = 2 * invariants.SCALE
    with crew(server.port, size=5, players=200) as workers:
        workers.create()
        users = [f"player-{number}" for number in range(200)]
        for number in range(rounds):
            with workers.at_work():
                workers.wait_for(50)
                plant(raw, users, number)
                invariants.rebuild(raw)
                began = len(workers.acknowledged)
                invariants.rebuild(raw)
                assert len(workers.acknowledged) > began, "writes go on meanwhile"
            invariants.a_minute_passes(raw)
            assert_in_line(raw)
        expected = workers.expected()
        world = invariants.settle(raw)
        found = {user_id: (profile["score"], profile["gamesPlayed"]) for user_id, profile in world.profiles.items()}
        assert found == expected
        telling.tell(
            request,
            f"damage healed beside writes: {rounds} times, {len(workers.acknowledged)} submissions acknowledged, "
            "none lost",
        )


def assert_in_line(raw: valkey.Valkey) -> None:
    """Asserts that board, rows and totals agree with the profiles once nobody writes; no sweep has run since."""
    world = invariants.look(raw)
    profiles = world.profiles.values()
    assert world.board == {user_id: int(profile["score"]) for user_id, profile in world.profiles.items()}
    assert set(world.rows) == set(world.profiles)
    assert int(world.totals["totalScore"]) == sum(int(profile["score"]) for profile in profiles)
    assert int(world.totals["totalGames"]) == sum(int(profile["gamesPlayed"]) for profile in profiles)
    assert int(world.totals["highScore"]) == max(int(profile["bestScore"]) for profile in profiles)


MALFORMED: dict[str, tuple[Any, ...]] = {
    "a score that is not a number": ("HSET", "user:bad", "score", "many"),
    "a score with a fraction": ("HSET", "user:bad", "score", "1.5"),
    "an infinite score": ("HSET", "user:bad", "score", "inf"),
    "a score that is not decimal": ("HSET", "user:bad", "score", "0x10"),
    "no score": ("HDEL", "user:bad", "score"),
    "an empty score": ("HSET", "user:bad", "score", ""),
    "games that are not a number": ("HSET", "user:bad", "gamesPlayed", "nan"),
    "no games": ("HDEL", "user:bad", "gamesPlayed"),
    "a best score that is not a number": ("HSET", "user:bad", "bestScore", "-"),
    "no best score": ("HDEL", "user:bad", "bestScore"),
    "a revision that is not a number": ("HSET", "user:bad", "revision", "new"),
    "a negative revision": ("HSET", "user:bad", "revision", "-7"),
    "no revision": ("HDEL", "user:bad", "revision"),
    "no username": ("HDEL", "user:bad", "username"),
    "a username that is not text": ("HSET", "user:bad", "username", b"\xff\xfe"),
    "a score that is not text": ("HSET", "user:bad", "score", b"\xff"),
    "another type": ("SET", "user:bad", "x"),
    "a name that nobody can have": ("HSET", "user:{}", "score", "1"),
    "a name that is not text": ("HSET", b"user:\xff", "score", "1"),
    "no name": ("HSET", "user:", "revision", "1"),
}

HEALED = {"a negative revision"}
"""What a sweep puts right, so that there is nothing to report."""

MALFORMED_ROWS: dict[str, Any] = {
    "garbage": "garbage",
    "empty": "",
    "not text": b"\xff\xff",
    "letters for numbers": "5 a b c d",
    "a revision that is not decimal": "\u00b2 1 1 1 x",
    "negative games": "5 1 -1 0 x",
    "a fraction": "5 1.5 1 0 x",
    "a huge revision": f"{10**30} 1 1 0 x",
    "too few": "5 1",
    "another game's": '{"revision": 5}',
}


@pytest.fixture
def good(invoke: Invoke, raw: valkey.Valkey) -> list[str]:
    """Forty good players, and one who will not be good."""
    for number in range(40):
        act(invoke, f"good-{number}", number, "create")
    act(invoke, "bad", 500, "create")
    return [f"good-{number}" for number in range(40)]


def assert_good_are_right(raw: valkey.Valkey, good: list[str]) -> None:
    """Asserts that the good ones are all right, whatever is wrong with another player."""
    for user_id in good:
        score, revision = raw.hmget(f"user:{user_id}", "score", "revision")
        assert raw.zscore(invariants.BOARD, user_id) == int(score)
        assert raw.hget(invariants.PLAYERS, user_id).startswith(f"{revision} {score} ")


def is_served(function: str, path: str) -> bool:
    """Whether a read is answered, even with a name that is not one of ours, which the contract cannot know."""
    handler = importlib.import_module(f"functions.{function}.handler").handler
    return bool(handler(event("GET", path), Context())["statusCode"] == 200)


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_profile_is_reported_and_stops_neither_the_sweep_nor_the_outbox(
    name: str, invoke: Invoke, raw: valkey.Valkey, good: list[str]
) -> None:
    command = MALFORMED[name]
    if command[0] == "SET":
        raw.delete("user:bad")
    raw.execute_command(*command)
    raw.zadd(invariants.BOARD, {good[3]: 777})
    raw.zadd(invariants.PENDING, {"bad:attempt": 1, f"{good[5]}:attempt": 1})
    raw.zadd(invariants.BOARD, {good[5]: 778})
    report = invariants.run_reconcile(raw)
    assert report["finished"]
    if name not in HEALED:
        assert report["unreadable"] >= 1
    assert raw.zscore(invariants.PENDING, f"{good[5]}:attempt") is None, "the other player's intent is settled"
    assert_good_are_right(raw, good)
    assert is_served("leaderboard", "/leaderboard?limit=100")
    assert invoke("stats", event("GET", "/stats")).status == 200
    for user_id in good[:2]:
        assert act(invoke, user_id, 9, "increment").status == 200
    for key in (command[1], "user:bad"):
        raw.delete(key)
    invariants.a_minute_passes(raw)
    invariants.rebuild(raw)
    invariants.settle(raw, damaged=True)


@pytest.mark.parametrize("whose", ["a player's", "nobody's"])
@pytest.mark.parametrize("name", MALFORMED_ROWS)
def test_a_malformed_row_is_healed_and_is_in_nobodys_way(
    name: str, whose: str, invoke: Invoke, raw: valkey.Valkey, good: list[str]
) -> None:
    user_id = good[7] if whose == "a player's" else "ghost"
    raw.hset(invariants.PLAYERS, user_id, MALFORMED_ROWS[name])
    raw.zadd(invariants.BOARD, {user_id: 999})
    raw.zadd(invariants.BOARD, {good[3]: 777})
    assert is_served("leaderboard", "/leaderboard?limit=100")
    report = invariants.run_reconcile(raw)
    assert report["finished"]
    invariants.run_reconcile(raw)
    assert_good_are_right(raw, good)
    invariants.settle(raw, damaged=True)


def test_reconcile_twice_at_once_beside_writes_makes_nothing_wrong(
    server: embedded_valkey.Server, raw: valkey.Valkey
) -> None:
    with crew(server.port, size=3, players=50) as workers:
        workers.create()
        together = threading.Barrier(2)

        def run(_: int) -> None:
            store = Store(Settings("127.0.0.1", server.port, command_seconds=10))
            together.wait()
            for _round in range(4):
                report = reconcile.rebuild(store, None)
                assert report["finished"], "no deadline"
            store.close()

        with workers.at_work(), ThreadPoolExecutor(2) as threads:
            list(threads.map(run, range(2)))
        invariants.settle(raw)


BESIDE = {
    "totals": ("{leaderboard:global}:totals", ("totalGames", "totalScore", "highScore", "sweep", "sweeps")),
    "sweep": ("{leaderboard:global}:sweep", ("number", "position", "totalGames", "totalScore", "highScore")),
}


@pytest.mark.parametrize("malformed", ["", "x", "1e3", "1.5", "-", " 7"])
@pytest.mark.parametrize(("key", "name"), [(key, name) for key, names in BESIDE.values() for name in names])
def test_a_malformed_total_or_sweep_stops_no_write_and_is_healed(
    invoke: Invoke, raw: valkey.Valkey, key: str, name: str, malformed: str
) -> None:
    for step in HISTORY:
        act(invoke, *step)
    if key == invariants.SWEEP:  # a sweep is running
        reconcile.run(Store(Settings("127.0.0.1", raw.connection_pool.connection_kwargs["port"])))
    raw.hset(key, name, malformed)
    assert act(invoke, "ada", 5, "increment").status == 200
    assert act(invoke, "dora", 70, "create").status == 201
    invariants.settle(raw, damaged=True)


DIGITS = "9" * 5000


@pytest.mark.parametrize(
    ("key", "name", "malformed"),
    [
        ("sweep", "position", "foo 0"),
        ("sweep", "position", "profiles 99999999999999999999"),
        ("sweep", "position", f"rows {DIGITS}"),
        ("sweep", "number", DIGITS),
        ("totals", "sweeps", DIGITS),
        ("totals", "sweeps", "9" * 17),
        ("totals", "sweep", DIGITS),
    ],
)
def test_a_sweep_that_nobody_can_go_on_with_is_begun_anew_by_the_schedule(
    invoke: Invoke, raw: valkey.Valkey, key: str, name: str, malformed: str
) -> None:
    for step in HISTORY:
        act(invoke, *step)
    raw.hset(invariants.SWEEP, mapping={"number": "7", "position": "profiles 0", "totalGames": "0", "totalScore": "0"})
    raw.hset(BESIDE[key][0], name, malformed)
    assert [invariants.run_reconcile(raw)["finished"] for _ in range(2)] == [True, True]
    assert raw.exists(invariants.SWEEP) == 0
    invariants.settle(raw, damaged=True)


@pytest.mark.parametrize("damage", ["row", "ends", "total"])
def test_a_check_gets_over_a_number_of_any_length(invoke: Invoke, raw: valkey.Valkey, damage: str) -> None:
    for step in HISTORY:
        act(invoke, *step)
    if damage == "row":
        raw.hset(invariants.PLAYERS, "ada", f"{DIGITS} 1 1 1 Ada")
    elif damage == "ends":
        raw.hset("{user:ada}:receipts:a", mapping={"born": "1", "ends": DIGITS})
    else:
        raw.hset(invariants.TOTALS, "totalScore", DIGITS)
    assert invoke("stats", event("GET", "/stats")).status == 200
    report = invariants.run_reconcile(raw, {"check": {"cursor": None}})
    assert report["finished"]
    assert [difference["user_id"] for difference in report["differences"]] == ([] if damage == "total" else ["ada"])
