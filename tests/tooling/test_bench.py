"""The benchmark runs, and has a row for every handler. No test looks at what it measures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scripts.local import examples
from tests.support import contract, processes


def bench(*arguments: str, players: int = 300) -> str:
    """What `make bench` prints for a small board."""
    size = ["--players", str(players), "--iterations", "50"]
    done = processes.finished("scripts.bench", *size, *arguments, seconds=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """The figures, as JSON."""
    parsed: dict[str, Any] = json.loads(bench("--json"))
    return parsed


def test_every_handler_is_clocked(result: dict[str, Any]) -> None:
    clocked = {row["name"].partition(" ")[0] for row in result["rows"]}
    open_to_all = [each for each in examples.load().values() if not each.needs_a_token]
    assert clocked == {each.operation_id for each in open_to_all if each.method not in ("DELETE", "HEAD")}


def test_a_row_compares_the_same_round_trips(result: dict[str, Any]) -> None:
    operations = contract.operations()
    for row in result["rows"]:
        is_read = operations[row["name"].partition(" ")[0]].method == "GET"
        assert row["trips"] in ((1,) if is_read else (1, 2)), row
        assert row["ratio"] == pytest.approx(row["handler_microseconds"] / row["bare_microseconds"], rel=0.01)
        assert row["bare_microseconds"] > 0


def test_people_get_a_table() -> None:
    printed = bench("--only", "leaderboard").splitlines()
    assert [line.split()[:2] for line in printed[-2:]] == [["leaderboard", "10"], ["leaderboard", "100"]]
    assert "ratio" in printed[-3]


def test_memory_is_told_by_part_and_the_parts_make_the_whole() -> None:
    facts = json.loads(bench("--memory", "--json", players=3000))
    parts = facts["bytes"]
    assert parts["all"] == pytest.approx(sum(parts[name] for name in ("profiles", "board", "rows", "totals")), abs=25)
    assert 200 < parts["profiles"] < 800
    assert 60 < parts["board"] < 200
    assert 60 < parts["rows"] < 250
    assert 40 < parts["further_receipt"] < parts["first_receipt"] < 400
    names = [work["name"] for work in facts["work"]]
    assert [name.split(",")[0].split(":")[0] for name in names] == [
        "make rebuild",
        "make rebuild",
        "CHECK=1 make rebuild",
        "a sweep of the schedule",
    ]
    assert all(work["seconds"] > 0 for work in facts["work"])


def test_a_first_request_is_clocked_in_both_kinds_of_environments() -> None:
    facts = json.loads(bench("--first", "--json", "--samples", "1"))
    assert [row.pop("name") for row in facts["rows"]] == ["connected by init", "connected by the request"]
    assert all(figure > 0 for row in facts["rows"] for figure in row.values())


def test_a_requests_line_is_clocked_with_every_handler() -> None:
    facts = json.loads(bench("--line", "--json", "--only", "s"))
    assert {"stats", "rank", "update_score"} & {row["name"] for row in facts["rows"]} == {"stats", "update_score"}
    for row in facts["rows"]:
        difference = row["with_microseconds"] - row["without_microseconds"]
        assert row["line_microseconds"] == pytest.approx(difference, abs=0.2), "each is rounded by itself"
        assert row["without_microseconds"] > 0
