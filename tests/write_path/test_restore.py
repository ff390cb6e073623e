"""A snapshot is restored into another server: what it has goes on there, and what it lacks can be sent again.

The files of a real Valkey, taken while players play. AWS does not say that a snapshot of a serverless cache is of one
moment in all slots; what becomes of slots of different moments is test_lost_tail.py's subject.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import valkey

from tests.support import invariants, telling
from tests.support.nodes import Crew, crew, node, standing


def take(raw: valkey.Valkey, source: Path, target: Path) -> None:
    """A snapshot of all, into a folder that a server can begin with."""
    raw.save()
    target.mkdir()
    shutil.copy(source / "dump.rdb", target)


def assert_nothing_is_lost(raw: valkey.Valkey, workers: Crew) -> None:
    """Every submission that was ever acknowledged counts, once."""
    expected = workers.expected()
    assert standing(raw, list(expected)) == expected


def test_with_the_writers_stopped_the_switch_loses_nothing(tmp_path: Path) -> None:
    with node(tmp_path / "old") as old, crew(old.port) as workers:
        workers.create()
        with workers.at_work():
            workers.wait_for(100)
        take(old.client, tmp_path / "old", tmp_path / "new")
        with node(tmp_path / "new") as new, crew(new.port) as again:
            assert_nothing_is_lost(new.client, workers)
            invariants.settle(new.client)
            for submission in workers.acknowledged:
                assert again.send(submission).headers["Idempotency-Replayed"] == "true"
            assert_nothing_is_lost(new.client, workers)


def test_after_a_disaster_whoever_sends_again_what_the_snapshot_lacks_is_counted_once(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with node(tmp_path / "old") as old, crew(old.port) as workers:
        workers.create()
        with workers.at_work():
            workers.wait_for(100)
            take(old.client, tmp_path / "old", tmp_path / "new")
            workers.wait_for(100)
        with node(tmp_path / "new") as new, crew(new.port) as again:
            invariants.rebuild(new.client)
            invariants.settle(new.client, damaged=True)
            lost = sum(
                again.send(submission).headers.get("Idempotency-Replayed") != "true"
                for submission in workers.acknowledged
            )
            assert lost >= 100
            assert_nothing_is_lost(new.client, workers)
            invariants.settle(new.client)
            telling.tell(
                request,
                f"restored a snapshot: {len(workers.acknowledged)} submissions acknowledged, {lost} after it, "
                "all counted once when they were sent again",
            )
