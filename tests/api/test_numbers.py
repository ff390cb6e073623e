"""Numbers at their limits: a double skips whole numbers beyond 2^53, Lua's own text loses digits beyond 10^14, and a
total has no limit. Python's integers, which have none either, say what is right."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import valkey
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scripts.local import embedded_valkey
from shared import board, config, deadline, records, statistics
from shared.store import Store
from tests.support import invariants
from tests.support.invoking import Answer, Invoker, event, invoker

LARGEST = 2**53 - 1
LIMITS = {"score_min": -LARGEST, "score_max": LARGEST}

EDGES = sorted(
    {
        sign * number
        for sign in (1, -1)
        for base in (0, 750, 10**12, 10**14, 10**15, 2**31, 2**52, LARGEST // 2)
        for number in (base - 1, base, base + 1)
    }
    | {LARGEST - 1, LARGEST, 1 - LARGEST, -LARGEST, LARGEST // 750 * 750 - 1, LARGEST // 750 * 750}
)

whole = st.integers(-LARGEST, LARGEST) | st.sampled_from(EDGES)


@pytest.fixture
def call(server: embedded_valkey.Server, raw: valkey.Valkey) -> Iterator[Invoker]:
    """Handlers that allow every score that a double holds."""
    with invoker(server.port, **LIMITS) as handlers:
        yield handlers


def create(call: Callable[..., Answer], user_id: str, score: int = 0) -> None:
    body = {"userId": user_id, "username": user_id, "email": f"{user_id}@example.com", "score": score}
    answer = call("create_user", "POST", "/users", json_body=body)
    assert answer.status == 201, answer.body


def submit(call: Callable[..., Answer], user_id: str, score: int, operator: str = "set") -> Answer:
    return call("update_score", "PUT", f"/users/{user_id}/score", json_body={"score": score, "operator": operator})


def test_the_largest_profile_holds_less_than_a_kibibyte(call: Callable[..., Answer], raw: valkey.Valkey) -> None:
    """As the contract and docs/api.md say. What the client chooses is as long as it may be, and so is the rest."""
    user_id, username, email = "u" * 64, "\U0001f600" * 32, f"a@{'b' * 249}.cc"
    body = {"userId": user_id, "username": username, "email": email, "score": LARGEST}
    for name, more in (("userId", "u"), ("username", "\U0001f600"), ("email", "c")):
        assert call("create_user", "POST", "/users", json_body={**body, name: body[name] + more}).status == 400  # type: ignore[operator]
    assert call("create_user", "POST", "/users", json_body=body).status == 201
    raw.hset(f"user:{user_id}", "gamesPlayed", LARGEST - 1)
    assert submit(call, user_id, LARGEST).status == 200
    profile = raw.hgetall(f"user:{user_id}")
    assert (profile["username"], profile["email"], profile["gamesPlayed"]) == (username, email, str(LARGEST))
    signs = len(("score", "bestScore"))  # of a player below 0, whose level is shorter
    size = signs + sum(len(text.encode()) for field in profile.items() for text in field)
    assert 600 < size <= 1024


def exact_level(score: int) -> int:
    """750 points per level, counted in whole numbers."""
    return max(1, score // 750 + 1)


@pytest.mark.parametrize("score", EDGES)
def test_a_score_is_the_same_in_every_reply_to_the_last_digit(score: int, call: Invoker, raw: valkey.Valkey) -> None:
    create(call, "ada", score)
    create(call, "bob")
    answer = submit(call, "bob", score)
    assert answer.status == 200, answer.body
    user, receipt = answer.json()["user"], answer.json()["receipt"]
    assert (user["score"], user["level"]) == (score, exact_level(score))
    assert (receipt["score"], receipt["previousScore"], receipt["delta"]) == (score, 0, score)
    for user_id in ("ada", "bob"):
        found = call("get_user", "GET", f"/users/{user_id}").json()["user"]
        assert (found["score"], found["level"]) == (score, exact_level(score))
        assert call("rank", "GET", f"/users/{user_id}/rank").json()["rank"]["score"] == score
    for function, path in (("leaderboard", "/leaderboard"), ("nearby", "/users/ada/nearby")):
        answer = call(function, "GET", path)
        assert answer.status == 200, answer.body
        entries = answer.json()["leaderboard" if function == "leaderboard" else "players"]
        assert [(entry["score"], entry["level"]) for entry in entries] == [(score, exact_level(score))] * 2
    stats = call("stats", "GET", "/stats").json()["stats"]
    assert (stats["totalScore"], stats["highScore"], stats["totalGames"]) == (2 * score, max(score, 0), 1)
    invariants.settle(raw)


def test_the_next_score_is_exact_at_the_top(call: Invoker, raw: valkey.Valkey) -> None:
    create(call, "ada", LARGEST - 1)
    create(call, "bob", LARGEST - 2)
    receipt = submit(call, "bob", 0, "increment").json()["receipt"]
    assert receipt["next"] == {"score": LARGEST, "points": 2}
    assert receipt["rank"] == 2
    assert submit(call, "bob", 2, "increment").json()["receipt"]["rank"] == 1
    assert submit(call, "bob", 1, "increment").status == 400
    invariants.settle(raw)


def everything(raw: valkey.Valkey) -> dict[str, bytes]:
    """Every key as the server dumps it, without how long it lives."""
    with valkey.Valkey(port=raw.connection_pool.connection_kwargs["port"]) as client:
        return {key.decode(): client.dump(key) for key in sorted(client.scan_iter(count=1000))}


def after(before: int, operator: str, amount: int) -> int:
    """What an operator makes of a score."""
    by_operator = {
        "set": amount,
        "best": max(before, amount),
        "increment": before + amount,
        "decrement": before - amount,
    }
    return by_operator[operator]


@pytest.mark.parametrize(
    ("before", "operator", "amount"),
    [
        (LARGEST, "increment", 1),
        (LARGEST, "increment", LARGEST),
        (LARGEST - 1, "increment", 2),
        (LARGEST - 1, "increment", LARGEST),
        (LARGEST, "decrement", -1),
        (LARGEST, "decrement", -LARGEST),
        (-LARGEST, "decrement", 1),
        (-LARGEST, "decrement", LARGEST),
        (1 - LARGEST, "decrement", 2),
        (-LARGEST, "increment", -1),
        (-LARGEST, "increment", -LARGEST),
    ],
)
def test_a_sum_beyond_what_a_double_holds_is_refused_and_changes_nothing(
    before: int, operator: str, amount: int, call: Invoker, raw: valkey.Valkey
) -> None:
    create(call, "ada", before)
    dump = everything(raw)
    answer = submit(call, "ada", amount, operator)
    assert answer.status == 400
    assert str(LARGEST) in answer.json()["detail"]
    assert everything(raw) == dump


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bounds=st.tuples(whole, whole).map(sorted),
    step=st.none() | st.integers(1, 2 * LARGEST) | st.sampled_from([1, LARGEST, LARGEST + 1, 2 * LARGEST - 1]),
    first=whole,
    steps=st.lists(st.tuples(st.sampled_from(["set", "best", "increment", "decrement"]), whole), max_size=6),
)
@example(bounds=[-LARGEST, LARGEST], step=2 * LARGEST - 2, first=-LARGEST, steps=[("set", LARGEST - 1)])
@example(bounds=[-LARGEST, LARGEST], step=2 * LARGEST - 1, first=-LARGEST, steps=[("set", LARGEST)])
def test_bounds_and_steps_are_those_of_whole_numbers(
    bounds: list[int],
    step: int | None,
    first: int,
    steps: list[tuple[str, int]],
    server: embedded_valkey.Server,
    raw: valkey.Valkey,
) -> None:
    raw.flushall()
    low, high = bounds
    first = min(max(first, low), high)
    limits = {"score_min": low, "score_max": high, **({} if step is None else {"score_step_max": step})}
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        try:
            config.load({"VALKEY_HOST": "x", **{name.upper(): str(value) for name, value in limits.items()}})
        except config.MisconfiguredError:
            return  # a largest step that the code does not promise to keep to the last digit
        patch.setattr("shared.logs.put", lambda _: None)
        call = stack.enter_context(invoker(server.port, **limits))
        start = min(max(0, low), high)
        if step is not None and abs(first - start) > step:
            body = {"userId": "ada", "username": "Ada", "email": "ada@example.com", "score": first}
            assert call("create_user", "POST", "/users", json_body=body).status == 400
            first = start
        create(call, "ada", first)
        score, games, best = first, 0, first
        for operator, amount in steps:
            answer = submit(call, "ada", amount, operator)
            wanted = after(score, operator, amount)
            allowed = low <= wanted <= high and (step is None or abs(wanted - score) <= step)
            assert (answer.status == 200) == allowed, (score, operator, amount, limits, answer.body)
            if allowed:
                receipt = answer.json()["receipt"]
                assert (receipt["previousScore"], receipt["score"], receipt["delta"]) == (score, wanted, wanted - score)
                score, games, best = wanted, games + 1, max(best, wanted)
        held = raw.hmget("user:ada", "score", "gamesPlayed", "bestScore", "level")
        assert held == [str(score), str(games), str(best), str(exact_level(score))]


PLANTED = sorted(
    {
        sign * (base + off)
        for sign in (1, -1)
        for base in (0, 10**12, 2**53, 3 * 10**12, 10**15, 2**63, 2**64, 10**20, 10**24, 10**27)
        for off in (-1, 0, 1)
    }
)
totals = st.integers(-(10**27), 10**27) | st.sampled_from(PLANTED)
states = st.tuples(st.sampled_from("abc"), whole, st.integers(0, LARGEST))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(score=totals, games=totals, moves=st.lists(states, min_size=1, max_size=8), gone=st.booleans())
@example(score=-1, games=0, moves=[("a", 1, 0), ("a", 0, 0), ("a", 2, 0)], gone=True)
@example(score=10**12 - 1, games=10**24 - 1, moves=[("a", 1, 1), ("a", -1, 0)], gone=True)
@example(score=-(10**12), games=0, moves=[("a", 10**12 - 1, 1), ("a", 10**12 + 1, 1)], gone=False)
@example(score=2**63 - 1, games=2**63 - 1, moves=[("a", LARGEST, LARGEST), ("b", LARGEST, LARGEST)], gone=False)
def test_totals_are_exact_at_any_size(
    score: int,
    games: int,
    moves: list[tuple[str, int, int]],
    gone: bool,
    server: embedded_valkey.Server,
    raw: valkey.Valkey,
) -> None:
    raw.flushall()
    raw.hset(board.TOTALS, mapping={"totalScore": str(score), "totalGames": str(games), "highScore": str(-LARGEST)})
    store = Store(config.load({"VALKEY_HOST": server.host, "VALKEY_PORT": str(server.port)}))
    deadline.start(60)
    held: dict[str, tuple[int, int]] = {}
    best = -LARGEST
    try:
        for revision, (user_id, points, played) in enumerate(moves, 1):
            state = records.State(user_id, str(revision), str(points), str(played), str(points), "name")
            board.project(store, state)
            held[user_id] = (points, played)
            best = max(best, points)
            assert read_totals(raw) == expected(score, games, held, best)
        if gone:
            for user_id in list(held):
                row = raw.hget(board.PLAYERS, user_id)
                board.project(store, records.State(user_id, row.split(" ")[0], "", "", "", ""))
                del held[user_id]
                assert read_totals(raw) == expected(score, games, held, best)
        read = statistics.read(store)
        assert (read["totalScore"], read["totalGames"]) == expected(score, games, held, best)[:2]
    finally:
        store.close()


def read_totals(raw: valkey.Valkey) -> tuple[int, int, int]:
    """Score, games and high score, which must be in the one form in which a number is written."""
    texts = raw.hmget(board.TOTALS, "totalScore", "totalGames", "highScore")
    assert [str(int(text)) for text in texts] == texts
    return int(texts[0]), int(texts[1]), int(texts[2])


def expected(score: int, games: int, held: dict[str, tuple[int, int]], best: int) -> tuple[int, int, int]:
    """Score, games and high score: what was planted, and the players' own."""
    return score + sum(points for points, _ in held.values()), games + sum(played for _, played in held.values()), best


@pytest.mark.parametrize("total", [2**53 - 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**20 + 1, -(2**63) - 1])
def test_the_statistics_are_exact_in_json_however_large(
    total: int, invoke: Callable[..., Answer], raw: valkey.Valkey
) -> None:
    raw.hset(board.TOTALS, mapping={"totalScore": str(total), "totalGames": "1", "highScore": str(LARGEST)})
    answer = invoke("stats", event("GET", "/stats"))
    assert answer.status == 200, answer.body
    assert json.loads(answer.body)["stats"]["totalScore"] == total
    assert f'"totalScore":{total}' in answer.body.decode()


def test_a_total_of_more_than_2_to_the_64_is_reached_by_playing(call: Invoker, raw: valkey.Valkey) -> None:
    create(call, "first", LARGEST)
    with raw.pipeline(transaction=False) as pipeline:  # 2,100 more of them, as they would be
        profile = raw.hgetall("user:first")
        for number in range(2100):
            pipeline.hset(f"user:p{number}", mapping={**profile, "userId": f"p{number}"})
        pipeline.execute()
    invariants.rebuild(raw)
    answer = call("stats", "GET", "/stats")
    assert answer.status == 200
    assert json.loads(answer.body)["stats"]["totalScore"] == 2101 * LARGEST > 2**64
    assert call("create_user", "POST", "/users", json_body=NEW).status == 201
    world = invariants.settle(raw)
    assert world.stats["totalScore"] == str(2101 * LARGEST + 5)


NEW = {"userId": "new", "username": "New", "email": "new@example.com", "score": 5}


def test_totals_cross_zero_and_come_back(call: Invoker, raw: valkey.Valkey) -> None:
    create(call, "ada")
    create(call, "bob", -LARGEST)
    total = -LARGEST
    score = 0
    for target in (LARGEST, -LARGEST, 10**12, -(10**12), 1, -1, 0, LARGEST):
        assert submit(call, "ada", target).status == 200
        total += target - score
        score = target
        assert call("stats", "GET", "/stats").json()["stats"]["totalScore"] == total
    invariants.settle(raw)


@pytest.mark.parametrize(
    ("games", "status"), [(LARGEST - 1, 200), (LARGEST, 400), (2**53, 400), (2**63 - 1, 400), (10**30, 400)]
)
@pytest.mark.parametrize("operator", ["set", "best", "increment", "decrement"])
def test_a_player_with_the_most_games_there_can_be_is_refused_another(
    games: int, status: int, operator: str, call: Invoker, raw: valkey.Valkey
) -> None:
    create(call, "ada", 5)
    raw.hset("user:ada", "gamesPlayed", str(games))
    dump = everything(raw)
    answer = submit(call, "ada", 1, operator)
    assert answer.status == status, answer.body
    if status == 400:
        assert str(LARGEST) in answer.json()["detail"]
        assert everything(raw) == dump
    else:
        assert answer.json()["user"]["gamesPlayed"] == LARGEST
        assert submit(call, "ada", 1, operator).status == 400
        invariants.settle(raw, damaged=True)


@pytest.mark.parametrize("planted", [2**52, 2**53 - 3, 2**53 - 1, 2**53])
@pytest.mark.parametrize("where", ["profile", "row", "both"])
def test_revisions_at_their_edge_still_show_each_submission_at_once(
    planted: int, where: str, call: Invoker, raw: valkey.Valkey
) -> None:
    create(call, "ada", 5)
    create(call, "bob", 6)
    if where != "row":
        raw.hset("user:ada", "revision", str(planted))
    if where != "profile":
        row = raw.hget(board.PLAYERS, "ada")
        raw.hset(board.PLAYERS, "ada", f"{planted} {row.split(' ', 1)[1]}")
    for score in (7, 3, 8, 4):
        answer = submit(call, "ada", score)
        assert answer.status == 200, answer.body
        assert answer.json()["receipt"]["rank"] == (1 if score > 6 else 2)
        assert call("rank", "GET", "/users/ada/rank").json()["rank"]["score"] == score
        assert (
            call("leaderboard", "GET", "/leaderboard").json()["leaderboard"][answer.json()["receipt"]["rank"] - 1][
                "score"
            ]
            == score
        )
    invariants.settle(raw, damaged=True)


@pytest.mark.parametrize("planted", [2**52, 2**53 - 1, 2**53, 2**63 - 1])
def test_a_row_with_a_revision_at_its_edge_is_healed_by_a_sweep(
    planted: int, call: Invoker, raw: valkey.Valkey
) -> None:
    create(call, "ada", 5)
    raw.hset(board.PLAYERS, "ada", f"{planted} 77 3 0 somebody")
    raw.zadd(board.BOARD, {"ada": 77})
    invariants.rebuild(raw)
    invariants.settle(raw, damaged=True)


@pytest.mark.parametrize("score", [0, 1, 749, 750, 751, 1499, 1500, 10**12, LARGEST, -1, -749, -750, -751, -LARGEST])
def test_a_level_is_the_same_in_the_profile_and_on_the_board(score: int, call: Invoker, raw: valkey.Valkey) -> None:
    create(call, "ada", score)
    assert records.level(score) == exact_level(score) == int(raw.hget("user:ada", "level"))
    assert call("leaderboard", "GET", "/leaderboard").json()["leaderboard"][0]["level"] == exact_level(score)


@given(whole)
def test_the_boards_level_is_that_of_whole_numbers(score: int) -> None:
    assert records.level(score) == exact_level(score)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(levels=st.lists(st.integers(1, LARGEST // 750), min_size=50, max_size=50))
@example(levels=[LARGEST // 750 - number for number in range(50)])
def test_the_scripts_level_is_that_of_whole_numbers(levels: list[int], raw: valkey.Valkey) -> None:
    scores = [score for level in levels for score in (level * 750 - 1, level * 750)]
    arithmetic = "text(math.max(1, math.floor(after / points_per_level) + 1))"
    source = Path(board.__file__).parent / "lua" / "submit.lua"
    assert arithmetic in source.read_text(encoding="utf-8"), "what is tried here is not what the script does"
    script = f"""
        local points_per_level, levels = 750, {{}}
        local function text(number) return string.format('%.0f', number) end
        for index, after in ipairs(ARGV) do levels[index] = {arithmetic} end
        return levels"""
    found: Any = raw.eval(script, 1, "any", *scores)
    assert [int(level) for level in found] == [exact_level(score) for score in scores]


def test_the_last_game_that_can_be_counted_is(call: Invoker, raw: valkey.Valkey) -> None:
    create(call, "ada")
    raw.hset("user:ada", "gamesPlayed", str(LARGEST - 1))
    assert submit(call, "ada", 6).json()["user"]["gamesPlayed"] == LARGEST
    invariants.settle(raw, damaged=True)


def test_a_best_score_is_kept_when_the_score_falls(call: Invoker, raw: valkey.Valkey) -> None:
    create(call, "ada", 900)
    submit(call, "ada", 5)
    assert raw.hget("user:ada", "bestScore") == "900"
    assert call("stats", "GET", "/stats").json()["stats"]["highScore"] == 900
    invariants.settle(raw)
