"""Equal scores have one order, userId descending byte by byte, and every operation that shows an order shows it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import valkey
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shared import board
from tests.support.invoking import Answer, event

IDS = st.text("abAB01_-", min_size=1, max_size=3)

BOARDS = st.dictionaries(IDS, st.integers(0, 2), min_size=1, max_size=16)

ENDS_OF_ASCII = {"-": 1, "0": 1, "9": 1, "A": 1, "Z": 1, "_": 1, "a": 1, "z": 1, "zz": 1, "z-": 1}


def create(invoke: Callable[..., Answer], user_id: str, score: int) -> None:
    """Makes a player through the handler."""
    body = {"userId": user_id, "username": user_id, "email": "ada@example.com", "score": score}
    assert invoke("create_user", event("POST", "/users", json_body=body)).status == 201


def submit(invoke: Callable[..., Answer], user_id: str, score: int) -> None:
    """Sets a player's score through the handler."""
    answer = invoke("update_score", event("PUT", f"/users/{user_id}/score", json_body={"score": score}))
    assert answer.status == 200


def read(invoke: Callable[..., Answer], function: str, path: str) -> Any:
    """What a GET returns."""
    answer = invoke(function, event("GET", path))
    assert answer.status == 200
    return answer.json()


def assert_one_order(invoke: Callable[..., Answer], board: dict[str, int], limit: int, reach: int) -> None:
    """Leaderboard (in pages of `limit`), rank and nearby (`reach` on each side) agree with each other and the rule."""
    pages = [
        read(invoke, "leaderboard", f"/leaderboard?limit={limit}&offset={offset}")["leaderboard"]
        for offset in range(0, len(board), limit)
    ]
    listed = [entry for page in pages for entry in page]
    order = sorted(board, key=lambda user_id: (board[user_id], user_id.encode()), reverse=True)
    assert [entry["userId"] for entry in listed] == order
    assert [entry["rank"] for entry in listed] == list(range(1, len(board) + 1)), "equal scores share a rank"
    for index, entry in enumerate(listed):
        standing = read(invoke, "rank", f"/users/{entry['userId']}/rank")["rank"]
        assert (standing["rank"], standing["score"]) == (entry["rank"], entry["score"])
        near = read(invoke, "nearby", f"/users/{entry['userId']}/nearby?range={reach}")["players"]
        assert [other["userId"] for other in near if other.pop("isCurrentUser")] == [entry["userId"]]
        assert near == listed[max(0, index - reach) : index + reach + 1]


@settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(board=BOARDS, limit=st.integers(1, 7), reach=st.integers(1, 7))
@example(board=ENDS_OF_ASCII, limit=3, reach=2)
def test_rank_leaderboard_and_nearby_never_disagree_about_equal_scores(
    invoke: Callable[..., Answer], raw: valkey.Valkey, board: dict[str, int], limit: int, reach: int
) -> None:
    raw.flushall()
    for user_id, score in board.items():
        create(invoke, user_id, score)
    assert_one_order(invoke, board, limit, reach)


def test_coming_to_a_score_later_changes_nothing_in_its_order(invoke: Callable[..., Answer]) -> None:
    for user_id, score in (("b", 7), ("a", 3), ("c", 9)):
        create(invoke, user_id, score)
    for user_id in ("c", "a"):
        submit(invoke, user_id, 7)
    assert_one_order(invoke, {"a": 7, "b": 7, "c": 7}, limit=2, reach=1)
    submit(invoke, "b", 7)
    assert_one_order(invoke, {"a": 7, "b": 7, "c": 7}, limit=1, reach=2)


@pytest.mark.parametrize("score", [0, 1, 10**12])
def test_many_equal_scores_have_one_order(invoke: Callable[..., Answer], score: int) -> None:
    board = {f"player-{number}": score for number in range(60)}
    for user_id in board:
        create(invoke, user_id, score)
    assert_one_order(invoke, board, limit=100, reach=50)


def test_the_order_is_that_of_two_commands_wherever_it_is_read() -> None:
    layer = Path(board.__file__).parent
    sources = [path.read_text(encoding="utf-8") for path in (*layer.glob("*.py"), *layer.glob("lua/*.lua"))]
    read = re.findall(r"""["'](Z\w*(?:RANK|RANGE|POP)\w*)["'], (?:board|BOARD)\b(.*)""", "\n".join(sources))
    assert [command for command, rest in read if command != "ZREVRANK" and "'REV'" not in rest] == []
    assert {command for command, _ in read} == {"ZREVRANK", "ZRANGE"}
    assert len(read) == 7
