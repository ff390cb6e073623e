"""The example pipeline: what it names exists, and no job has more permissions than it needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from scripts.aws import build, infrastructure
from scripts.places import ROOT, TERRAFORM

README = (TERRAFORM / "README.md").read_text().split("\n## In a pipeline\n")[1].split("\n## ")[0]
MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOW: dict[Any, Any] = yaml.safe_load((TERRAFORM / "pipelines" / "github-actions.yml").read_text())
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]

every_job = pytest.mark.parametrize("job", JOBS)


def commands() -> Iterator[str]:
    """The lines that go to a shell: first the README's, then the workflow's, each in order."""
    (block,) = re.findall(r"^```\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    yield from (line.partition("#")[0].strip() for line in block.splitlines())
    for job in JOBS.values():
        yield from (step["run"] for step in job["steps"] if "run" in step)


@pytest.mark.parametrize("command", [*commands()])
def test_each_command_is_a_target_that_reads_its_variables(command: str) -> None:
    make, target, *given = command.split()
    assert make == "make"
    recipe = re.search(rf"^{target}: ## .*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe, command
    for variable in given:
        assert f"$({variable.partition('=')[0]})" in recipe[1], command


def test_every_target_of_a_pipeline_is_told_in_its_order() -> None:
    told = [command.split()[1] for command in commands()]
    assert told[:5] == ["build", "plan", "apply", "smoke", "drift"]


def test_what_is_planned_is_applied() -> None:
    (planned,) = {found for command in commands() for found in re.findall(r"\bOUT=(\S+)", command)}
    (applied,) = {found for command in commands() for found in re.findall(r"\bPLAN=(\S+)", command)}
    assert planned == applied
    (kept,) = [step["with"]["path"].split() for step in JOBS["plan"]["steps"] if "upload" in step.get("uses", "")]
    assert kept == [planned, f"{planned}.json", "build/"]


def test_the_environment_is_one() -> None:
    for name in {found for command in commands() for found in re.findall(r"\bENV=(\S+)", command)}:
        assert infrastructure.region(name)


@every_job
def test_no_job_may_more_than_read_the_tree_and_take_its_role(job: str) -> None:
    assert WORKFLOW["permissions"] == {}
    assert JOBS[job]["permissions"] == {"contents": "read", "id-token": "write"}
    assert "secrets." not in yaml.safe_dump(JOBS[job])
    roles = re.findall(r"vars\.(\w+)", yaml.safe_dump(JOBS[job]))
    assert roles == ["APPLY_ROLE" if job == "apply" else "PLAN_ROLE"]
    environment = JOBS[job]["environment"]
    (role,) = re.findall(rf"^\| .*environment:{environment}` \|", README, re.MULTILINE)
    assert role.startswith("| apply" if job == "apply" else "| plan and drift")


@every_job
def test_the_tools_are_those_that_the_tree_is_made_for(job: str) -> None:
    given = {step["uses"].partition("@")[0]: step.get("with", {}) for step in JOBS[job]["steps"] if "uses" in step}
    assert given["actions/setup-python"]["python-version"] == build.PYTHON
    version = given["hashicorp/setup-terraform"]["terraform_version"]
    assert tuple(map(int, version.split(".")))[:2] >= infrastructure.OLDEST


def test_one_run_at_a_time_and_none_is_broken_off() -> None:
    assert WORKFLOW["concurrency"]["cancel-in-progress"] is False
    assert set(WORKFLOW[True]) == {"push", "schedule"}, "YAML reads `on` as true; a pull request gets no role"
