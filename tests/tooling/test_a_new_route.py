"""A made-up operation in a copy of the project: its author is asked for what CONTRIBUTING.md says, and no more."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.dev import operations
from scripts.places import ROOT
from tests.support import processes

DEMANDED = {
    "tests/access/test_permissions.py": "test_the_functions_know_the_scopes_of_the_contract",
    "tests/api/test_contract.py": "test_every_module_of_a_function_is_one_of_the_contracts",
    "tests/terraform/test_access_strings.py": "test_every_function_can_do_its_work_as_its_own_user",
    "tests/tooling/test_docs.py": "test_there_is_an_example_of_every_operation",
    "tests/terraform/test_terraform_docs.py": "test_the_costs_count_the_methods_of_the_contract",
    "tests/tooling/test_bench.py": "test_every_handler_is_clocked",
}
"""The files by which CONTRIBUTING.md says one is told of a forgotten step, and the test in each that does."""

WRITTEN_BY_HAND = {"tests/tooling/test_docs.py", "tests/terraform/test_terraform_docs.py"}
"""The files that still ask for something when everything a machine reads has been written."""

NEEDS_TERRAFORM = "tests/terraform/test_plans.py"

ANSWERING = ["tests/api/test_events.py", "tests/api/test_contract.py", "tests/connection/test_round_trips.py"]
"""Some suites that ask every operation and take little time."""

SUITES = [
    "tests/connection",
    "tests/api/test_contract.py",
    "tests/tooling/test_imports.py",
    "tests/aws/test_build.py",
]
"""Suites with a test for each operation or function."""

LEFT_OUT = shutil.ignore_patterns(".*", "node_modules", "build")

CAREFUL = '''"""GET /users/{userId}/whereabouts - where a player stands."""

from shared import board, fields
from shared.endpoint import Reply, endpoint
from shared.store import store


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)


@endpoint(Arguments)
def handler(user_id: str) -> Reply:
    return 200, {"rank": board.standing(store(), user_id)}
'''

CARELESS = (
    CAREFUL.replace('"""GET', '"""Says')
    .replace("{userId}", "")
    .replace("    return 200", '    store().ask(("TYPE", f"user:{user_id}"))\n    return 200')
)
"""Without its path in the docstring, and with a command that nobody is granted."""


def copy(folder: Path, method: str, handler: str) -> Path:
    """The project with one more operation, which answers as GET /users/{userId}/rank does."""
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    contract = folder / "functions" / "openapi.yaml"
    text = contract.read_text(encoding="utf-8")
    (rank,) = re.findall(r"^  /users/\{userId\}/rank:\n(?:    .*\n|\n)+", text, re.MULTILINE)
    added = rank.replace("/rank:", "/whereabouts:").replace("Id: rank", "Id: whereabouts").replace("get:", f"{method}:")
    contract.write_text(text.replace(rank, rank + added), encoding="utf-8")
    (folder / "functions" / "whereabouts").mkdir()
    (folder / "functions" / "whereabouts" / "handler.py").write_text(handler, encoding="utf-8")
    if handler == CAREFUL:
        operations.main([], contract, folder / "shared" / "operations.py")
    return folder


def run(folder: Path, *tests: str, **environment: str) -> dict[str, str]:
    """The outcomes of tests in a copy, by their ids: PASSED, FAILED, ERROR."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", *tests],
        cwd=folder,
        env=processes.environment(**environment),
        check=False,
        capture_output=True,
        text=True,
    )
    found = {test: outcome for outcome, test in re.findall(r"^(PASSED|FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)}
    assert found, done.stdout + done.stderr
    return found


def demanded_by(outcomes: dict[str, str]) -> set[str]:
    """The files of the tests that did not pass."""
    return {test.partition("::")[0] for test, outcome in outcomes.items() if outcome != "PASSED"}


def collected(folder: Path, *tests: str) -> list[str]:
    """The ids of the tests in a copy."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *tests],
        cwd=folder,
        env=processes.environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()


def of(tests: list[str], name: str) -> set[str]:
    """The tests of the operation or function of this name, without the name."""
    named = re.compile(rf"(?<=[\[-]){name}(?=[\]-])")
    return {named.sub("…", test) for test in tests if named.search(test)}


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which everything on the list has been done, except for what people read."""
    return copy(tmp_path_factory.mktemp("careful") / "copy", "get", CAREFUL)


def test_the_list_names_the_tests_that_demand_something() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n### An operation\n")[1].split("\n### ")[0]
    steps = section.partition("\n\n`tests/")[0]
    assert set(re.findall(r"\(`(tests/[^`]+)`", steps)) == {*DEMANDED, NEEDS_TERRAFORM}


def test_who_forgets_a_step_is_told_by_the_test_that_stands_beside_it(tmp_path: Path) -> None:
    careless = copy(tmp_path / "copy", "post", CARELESS)
    assert demanded_by(run(careless, *map("::".join, DEMANDED.items()))) == set(DEMANDED)


def test_who_has_done_the_steps_is_asked_for_no_more(careful: Path) -> None:
    outcomes = run(careful, *map("::".join, DEMANDED.items()))
    assert demanded_by(outcomes) == WRITTEN_BY_HAND
    answered = run(careful, *ANSWERING, "-k", "whereabouts or every_handler")
    assert demanded_by(answered) == set()
    assert len(answered) > 10


def test_the_suites_of_every_route_have_the_new_one(careful: Path) -> None:
    tests = collected(careful, *SUITES)
    assert of(tests, "whereabouts") == of(tests, "rank")
    assert len(of(tests, "rank")) > 20
