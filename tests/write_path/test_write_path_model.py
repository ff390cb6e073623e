"""The model's worlds hold, each guard is needed, and model and code name the same steps."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.places import ROOT
from tests.support import once
from tests.write_path import model, session_model

SHARED = ROOT / "shared"


@pytest.fixture(autouse=True, scope="module")
def _no_search_for_cycles() -> Iterator[None]:
    """There are millions of tuples, and no cycles among them."""
    gc.disable()
    yield
    gc.enable()


Explore = Callable[[str], model.Explored]


@pytest.fixture(scope="session")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Explore:
    """What is in a world. It is explored once per run: the workers of pytest-xdist share it in files."""

    def explore(name: str) -> model.Explored:
        def make(path: Path) -> None:
            found = model.explore(model.world(name))
            path.write_text(json.dumps({**found._asdict(), "taken": sorted(found.taken)}))

        known = json.loads(once.made(tmp_path_factory, f"explored {name}.json", make).read_text())
        return model.Explored(**{**known, "taken": set(known["taken"])})

    return explore


@pytest.mark.parametrize("name", model.WORLDS)
def test_every_invariant_holds_in_every_state_of(explored: Explore, name: str) -> None:
    found = explored(name)
    assert not found.complaint, model.breakage(found)
    print(f"{found.states:,} states")


@pytest.mark.parametrize("name", session_model.WORLDS)
def test_every_invariant_of_a_session_holds_in_every_state_of(name: str) -> None:
    found = session_model.explore(session_model.world(name))
    assert not found.complaint, model.breakage(found)
    print(f"{found.states:,} states")


@pytest.mark.parametrize("guard", session_model.GUARDS)
def test_a_session_is_lost_or_doubled_without_the_guard(guard: str) -> None:
    name = session_model.GUARDS[guard].world
    found = session_model.explore(session_model.world(name, without=guard))
    assert found.complaint, f"{found.states:,} states of “{name}” hold without it"
    print(model.breakage(found))


@pytest.mark.parametrize("guard", model.GUARDS)
def test_something_is_lost_without_the_guard(guard: str) -> None:
    name = model.GUARDS[guard].world
    found = model.explore(model.world(name, without=guard))
    assert found.complaint, f"{found.states:,} states of “{name}” hold without it"
    print(model.breakage(found))


@pytest.mark.parametrize("part", ["moment", "astray", "player", "board", "attempt 0", "tail", "lost"])
def test_a_rule_that_looks_where_it_does_not_say_is_caught(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = model.happenings

    def blinder(world: model.World) -> Iterator[model.Rule]:
        for rule in rules(world):
            yield rule._replace(sees=tuple(name for name in rule.sees if name != part))

    monkeypatch.setattr(model, "happenings", blinder)
    with pytest.raises((AssertionError, TypeError)):
        model.explore(model.world(model.CLOCK))


def test_the_code_has_every_guard_of_the_model() -> None:
    assert not model.MISSING_FROM_THE_CODE


def test_every_world_has_a_larger_one() -> None:
    assert model.LARGER.keys() == model.WORLDS.keys()
    for name in model.WORLDS:
        larger = model.world(name, "large")
        assert larger != model.world(name)
        assert len(larger.retries) == len(larger.attempts)


def test_every_step_of_the_model_is_taken_somewhere(explored: Explore) -> None:
    worlds = [explored(name) for name in model.WORLDS]
    assert not (model.STEPS.keys() | model.MISHAPS.keys()) - words(worlds)
    worlds = [session_model.explore(session_model.world(name)) for name in session_model.WORLDS]
    assert not (session_model.STEPS.keys() | session_model.MISHAPS.keys()) - words(worlds)


def test_the_documentation_says_how_much_is_explored(explored: Explore) -> None:
    states = sum(explored(name).states for name in model.WORLDS)
    guards = len(model.GUARDS) + len(session_model.GUARDS)
    text = " ".join((SHARED.parent / "docs" / "guarantees.md").read_text(encoding="utf-8").split())
    assert f"{states:,} states in `make test`) holds in {len(model.WORLDS)} small worlds" in text
    assert f"in {len(session_model.WORLDS)}. Each of their {guards} guards" in text


def words(worlds: list[model.Explored]) -> set[str]:
    """The words in the names of the steps that were taken."""
    return {word for world in worlds for step in world.taken for word in re.findall(r"\w+", step)}


def test_the_steps_of_the_model_are_the_marks_in_the_code() -> None:
    files = [*SHARED.glob("*.py"), *SHARED.glob("lua/*.lua")]
    marks = [mark for file in files for mark in re.findall(r"\(model: ([^)]+)\)", file.read_text(encoding="utf-8"))]
    names = [name for mark in marks for name in mark.split(", ")]
    assert sorted(names) == sorted([*model.STEPS, *session_model.STEPS])
