"""After a failover a slot may come back without its last writes: whatever it has lost, everything agrees again.

A slot goes back as a whole: a player's profile with its receipts, or the board with rows, totals, sweep and outbox.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import valkey

from tests.support import invariants
from tests.support.api import Api
from tests.write_path.slots import Snapshot, put_back, taken

HISTORY = [
    ("ada", {"score": 100}),
    ("ada", {"score": 40, "operator": "increment"}),
    ("ada", {"score": 20, "operator": "decrement"}),
    ("bob", {"score": 300}),
    ("ada", {"score": 900, "operator": "best"}),
    ("ada", {"score": 5}),
]
"""What happens once both players have been created."""

SLOTS = ("ada", "board")

POINTS = list(itertools.combinations(range(len(HISTORY) + 1), 2))
"""Pairs of numbers: the slot's state after the first number of submissions comes back after the second number."""


@pytest.fixture
def binary(raw: valkey.Valkey) -> Iterator[valkey.Valkey]:
    """A client that does not decode what it reads."""
    options = raw.connection_pool.connection_kwargs
    with valkey.Valkey(host=options["host"], port=options["port"]) as client:
        yield client


def played(api: Api, client: valkey.Valkey, slot: str, length: int = len(HISTORY)) -> list[Snapshot]:
    """The slot's states before and after each submission at the beginning of the history."""
    api.create(userId="ada", score=10)
    api.create(userId="bob")
    states = [taken(client, slot)]
    for user_id, body in HISTORY[:length]:
        assert api.put(f"/users/{user_id}/score", json=body).status_code == 200
        states.append(taken(client, slot))
    return states


def submit(api: Api, raw: valkey.Valkey) -> None:
    """The next submission of each player; the rest is left to the sweep."""
    for user_id in ("ada", "bob"):
        before = api.get(f"/users/{user_id}").json()["user"]
        reply = api.put(f"/users/{user_id}/score", json={"score": 7, "operator": "increment"})
        assert reply.status_code == 200
        assert reply.json()["receipt"]["previousScore"] == before["score"]
        assert api.get(f"/users/{user_id}/rank").json()["rank"]["score"] == before["score"] + 7
    invariants.rebuild(raw)


def sweep(_: Api, raw: valkey.Valkey) -> None:
    """Scheduled runs of reconcile until a sweep that began after the loss has ended."""
    numbers = {invariants.run_reconcile(raw)["cursor"] for _ in range(3)}
    assert len(numbers) > 1


def rebuild(_: Api, raw: valkey.Valkey) -> None:
    invariants.rebuild(raw)


@pytest.mark.parametrize("heal", [submit, sweep, rebuild], ids=lambda heal: heal.__name__)
@pytest.mark.parametrize("slot", SLOTS)
def test_a_slot_without_its_last_writes_is_brought_in_line(
    api: Api, raw: valkey.Valkey, binary: valkey.Valkey, slot: str, heal: Callable[[Api, valkey.Valkey], None]
) -> None:
    for then, now in POINTS:
        raw.flushall()
        states = played(api, binary, slot, now)
        put_back(binary, slot, states[then])
        heal(api, raw)
        invariants.settle(raw, damaged=True)


def test_a_submission_after_the_loss_is_seen_at_once_with_all_its_numbers(
    api: Api, raw: valkey.Valkey, binary: valkey.Valkey
) -> None:
    states = played(api, binary, "ada")
    put_back(binary, "ada", states[1])
    reply = api.put("/users/ada/score", json={"score": 1, "operator": "increment"}).json()
    assert reply["receipt"]["previousScore"] == 100
    assert reply["user"]["score"] == 101
    assert reply["user"]["gamesPlayed"] == 2
    assert api.get("/users/ada/rank").json()["rank"]["score"] == 101
    assert api.get("/stats").json()["stats"]["totalGames"] == 2 + 1


def test_a_keyed_submission_that_was_lost_is_applied_anew_exactly_once(
    api: Api, raw: valkey.Valkey, binary: valkey.Valkey
) -> None:
    api.create(userId="ada")
    before = taken(binary, "ada")
    request: dict[str, Any] = {
        "json": {"score": 50, "operator": "increment"},
        "headers": {"Idempotency-Key": "round-1"},
    }
    assert api.put("/users/ada/score", **request).status_code == 200
    put_back(binary, "ada", before)
    for _ in range(2):
        assert api.put("/users/ada/score", **request).json()["user"]["score"] == 50
    assert invariants.settle(raw).profiles["ada"]["gamesPlayed"] == "1"


@pytest.mark.parametrize("lost", ["the session", "what tells of it", "both"])
def test_a_keyed_session_that_was_lost_is_opened_anew_under_its_own_id(
    api: Api, raw: valkey.Valkey, binary: valkey.Valkey, lost: str
) -> None:
    """Its slot holds both, but a replica may have received one and not the other."""
    api.create(userId="ada")
    request: dict[str, Any] = {"json": {"userId": "ada"}, "headers": {"Idempotency-Key": "play-1"}}
    first = api.post("/sessions", **request).json()["session"]
    for key in [*raw.scan_iter("session:*"), *raw.scan_iter("*:opened")]:
        if lost == "both" or (lost == "the session") == key.startswith("session:"):
            raw.delete(key)
    again = api.post("/sessions", **request)
    assert again.status_code == 201
    assert again.json()["session"]["sessionId"] == first["sessionId"]
    assert (again.headers.get("Idempotency-Replayed") == "true") == (lost != "both")


def test_a_player_whose_profile_was_lost_leaves_the_board(api: Api, raw: valkey.Valkey) -> None:
    api.create(userId="ada", score=5)
    api.create(userId="bob", score=3)
    raw.delete("user:ada")
    invariants.rebuild(raw)
    world = invariants.settle(raw)
    assert set(world.board) == {"bob"}
    assert world.totals["totalScore"] == "3"


def test_a_player_who_comes_back_under_a_lost_name_is_new(api: Api, raw: valkey.Valkey) -> None:
    api.create(userId="ada", score=500)
    raw.delete("user:ada")
    api.create(userId="ada", username="Ada again", score=1)
    assert api.get("/leaderboard").json()["leaderboard"][0] == {
        "rank": 1,
        "userId": "ada",
        "username": "Ada again",
        "score": 1,
        "level": 1,
    }
    invariants.settle(raw, damaged=True)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(("ZADD", "leaderboard:global", 99, "ghost"), id="a ghost on the board"),
        pytest.param(("HSET", "{leaderboard:global}:players", "ghost", "5 9 1 0 Ghost"), id="a row of nobody"),
        pytest.param(("HSET", "{leaderboard:global}:players", "ada", "garbage"), id="a row that is not one"),
        pytest.param(("ZADD", "leaderboard:global", 99, "ada"), id="a wrong score"),
        pytest.param(("ZREM", "leaderboard:global", "ada"), id="a member missing"),
        pytest.param(("HDEL", "{leaderboard:global}:players", "ada"), id="a row missing"),
        pytest.param(("HSET", "{leaderboard:global}:totals", "totalScore", "-17"), id="a wrong total score"),
        pytest.param(("HSET", "{leaderboard:global}:totals", "totalGames", "4000"), id="wrong games"),
        pytest.param(("HSET", "{leaderboard:global}:totals", "highScore", "4000"), id="a high score too high"),
        pytest.param(("HDEL", "{leaderboard:global}:totals", "highScore"), id="no high score"),
        pytest.param(("DEL", "{leaderboard:global}:totals"), id="no totals"),
        pytest.param(("DEL", "{leaderboard:global}:players"), id="no rows"),
        pytest.param(("DEL", "leaderboard:global"), id="no board"),
        pytest.param(("HSET", "user:ada", "revision", "1"), id="a revision from long ago"),
        pytest.param(("DEL", "user:bob"), id="a profile missing"),
    ],
)
@pytest.mark.parametrize("heal", [sweep, rebuild], ids=lambda heal: heal.__name__)
def test_damage_of_every_kind_is_healed(
    api: Api, raw: valkey.Valkey, damage: tuple[Any, ...], heal: Callable[[Api, valkey.Valkey], None]
) -> None:
    for number in range(30):
        api.create(userId=f"p{number}", score=number)
    api.create(userId="ada", score=10)
    api.create(userId="bob", score=20)
    raw.execute_command(*damage)
    heal(api, raw)
    invariants.check(raw)


def test_a_profile_that_is_none_neither_stops_the_sweep_nor_loses_its_place(api: Api, raw: valkey.Valkey) -> None:
    for user_id in ("ada", "bob", "cleo", "dora"):
        api.create(userId=user_id, score=10)
    raw.zadd("leaderboard:global", {"dora": 99})
    raw.hdel("user:ada", "score")
    raw.hset("user:bob", "bestScore", "much")
    raw.set("user:eve", "a string")
    report = invariants.run_reconcile(raw, {"rebuild": {"cursor": None}})
    assert report["finished"]
    assert report["unreadable"] >= 3
    assert raw.zscore("leaderboard:global", "dora") == 10
    assert raw.zscore("leaderboard:global", "ada") == 10
