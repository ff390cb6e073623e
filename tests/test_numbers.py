"""Numbers at their edges: where Lua's text, a double and a 64-bit integer each give up, everything stays exact."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import valkey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import board, config, deadline
from shared.profiles import State
from shared.store import Store
from tests import invariants
from tests.conftest import Api

LARGEST = 2**53 - 1
TOTALS = "{leaderboard:global}:totals"
EDGES = [0, 1, -1, 749, 750, 10**12 - 1, 10**12, 10**12 + 1, 10**14 + 1, 10**15 - 1, 2**52 + 1, LARGEST - 1, LARGEST]
NUMBERS = st.sampled_from([*EDGES, *(-edge for edge in EDGES)]) | st.integers(-LARGEST, LARGEST)
SUMS = st.sampled_from(
    [0, 2**53, 2**63 - 1, 2**63, -(2**63), 10**12, -(10**12), 10**24, 10**20 - 1, -(10**20)]
) | st.integers(-(10**30), 10**30)


@pytest.fixture
def widest(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A deployment that allows every score that a sorted set holds exactly."""
    monkeypatch.setenv("SCORE_MIN", str(-LARGEST))
    monkeypatch.setenv("SCORE_MAX", str(LARGEST))
    config.settings.cache_clear()
    yield
    monkeypatch.undo()
    config.settings.cache_clear()


@pytest.mark.parametrize("score", [*EDGES, *(-edge for edge in EDGES)])
def test_a_score_comes_back_to_the_last_digit(api: Api, raw: valkey.Valkey, widest: None, score: int) -> None:
    user = api.create(userId="ada", score=score)
    assert user["score"] == score
    assert user["level"] == max(1, score // 750 + 1)
    reply = api.put("/users/ada/score", json={"score": score}).json()
    assert reply["user"]["score"] == reply["receipt"]["score"] == reply["receipt"]["previousScore"] == score
    assert api.get("/leaderboard").json()["leaderboard"][0]["score"] == score
    assert api.get("/users/ada/rank").json()["rank"]["score"] == score
    assert api.get("/stats").json()["stats"]["totalScore"] == score
    assert raw.hget("user:ada", "score") == str(score)
    assert raw.hget("user:ada", "level") == str(user["level"])
    invariants.settle(raw)


@given(before=NUMBERS, amount=NUMBERS, operator=st.sampled_from(["set", "best", "increment", "decrement"]))
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_operators_calculate_as_integers_do(
    api: Api, raw: valkey.Valkey, widest: None, before: int, amount: int, operator: str
) -> None:
    raw.flushall()
    api.create(userId="ada", score=before)
    after = {"set": amount, "best": max(before, amount), "increment": before + amount, "decrement": before - amount}
    response = api.put("/users/ada/score", json={"score": amount, "operator": operator})
    if abs(after[operator]) <= LARGEST:
        receipt = response.json()["receipt"]
        assert (receipt["previousScore"], receipt["score"]) == (before, after[operator])
        assert receipt["delta"] == after[operator] - before
        best = max(before, after[operator])
        assert raw.hget("user:ada", "bestScore") == str(best)
        assert api.get("/stats").json()["stats"]["totalScore"] == after[operator]
    else:
        assert response.status_code == 400
        assert str(LARGEST) in response.json()["error"]
        assert api.get("/users/ada").json()["user"]["score"] == before
    assert raw.zcard("{leaderboard:global}:pending") == 0


@given(
    total=SUMS, games=st.integers(0, 10**20), moves=st.lists(st.tuples(NUMBERS, st.integers(0, LARGEST)), max_size=6)
)
@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_totals_of_any_size_move_exactly(
    raw: valkey.Valkey, total: int, games: int, moves: list[tuple[int, int]]
) -> None:
    raw.flushall()
    raw.hset(TOTALS, mapping={"totalScore": str(total), "totalGames": str(games), "highScore": "0"})
    deadline.start(math.inf)
    store = Store(config.settings())
    score = played = 0
    for revision, (next_score, next_played) in enumerate(moves, start=1):
        board.project(store, State("ada", str(revision), str(next_score), str(next_played), str(next_score), "Ada"))
        total += next_score - score
        games += next_played - played
        score, played = next_score, next_played
        assert raw.hmget(TOTALS, "totalScore", "totalGames") == [str(total), str(games)]
    store.close()


@pytest.mark.parametrize("total", [2**63 - 1, 2**63 - 10, -(2**63), 10**30])
def test_a_total_beyond_64_bits_refuses_nobody_and_is_told_exactly(api: Api, raw: valkey.Valkey, total: int) -> None:
    api.create(userId="ada")
    raw.hset(TOTALS, "totalScore", str(total))
    assert api.put("/users/ada/score", json={"score": 100}).status_code == 200
    assert api.get("/stats").json()["stats"]["totalScore"] == total + 100


@pytest.mark.parametrize("games", [LARGEST, 2**53, 2**63 - 1])
def test_a_game_that_cannot_be_counted_is_refused_and_changes_nothing(api: Api, raw: valkey.Valkey, games: int) -> None:
    api.create(userId="ada", score=5)
    raw.hset("user:ada", "gamesPlayed", str(games))
    before = {key: raw.dump(key) for key in raw.scan_iter() if raw.type(key) != "string"}
    response = api.put("/users/ada/score", json={"score": 6})
    assert response.status_code == 400
    assert "games" in response.json()["error"]
    assert {key: raw.dump(key) for key in raw.scan_iter() if raw.type(key) != "string"} == before


def test_the_last_game_that_can_be_counted_is(api: Api, raw: valkey.Valkey) -> None:
    api.create(userId="ada")
    raw.hset("user:ada", "gamesPlayed", str(LARGEST - 1))
    assert api.put("/users/ada/score", json={"score": 6}).json()["user"]["gamesPlayed"] == LARGEST
    invariants.settle(raw, damaged=True)


def test_a_revision_from_the_future_is_followed_by_a_newer_one(api: Api, raw: valkey.Valkey) -> None:
    future = 2**52
    api.create(userId="ada")
    raw.hset("user:ada", "revision", str(future))
    for score in (1, 2, 3):
        assert api.put("/users/ada/score", json={"score": score}).json()["receipt"]["score"] == score
        assert api.get("/users/ada/rank").json()["rank"]["score"] == score
    assert raw.hget("user:ada", "revision") == str(future + 3)
    invariants.settle(raw)


def test_a_best_score_is_kept_when_the_score_falls(api: Api, raw: valkey.Valkey) -> None:
    api.create(userId="ada", score=900)
    api.put("/users/ada/score", json={"score": 5})
    assert raw.hget("user:ada", "bestScore") == "900"
    assert api.get("/stats").json()["stats"]["highScore"] == 900
    invariants.settle(raw)
