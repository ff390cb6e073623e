"""A saved plan is applied only where it belongs: with the zips, the Terraform and the account that it was made with."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from scripts.aws import saved_plans
from scripts.aws.saved_plans import Facts
from scripts.refusal import Refusal


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with two zips."""
    monkeypatch.setattr(saved_plans, "ROOT", tmp_path)
    monkeypatch.setattr(saved_plans, "TERRAFORM", tmp_path / "terraform")
    for name in ("rank", "stats"):
        (tmp_path / "build").mkdir(exist_ok=True)
        (tmp_path / "build" / f"{name}.zip").write_text(name)
    return tmp_path


def uploading(name: str, *actions: str) -> dict[str, Any]:
    """A function whose zip the plan names."""
    after = {"filename": f"./../build/{name}.zip", "source_code_hash": "abc"}
    return {"address": f"aws_lambda_function.{name}", "change": {"actions": [*actions], "after": after}}


@pytest.fixture
def plan(tree: Path) -> Path:
    """A plan that uploads one of the zips, with its facts beside it."""
    path = tree / "dev.tfplan"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tfstate", json.dumps({"serial": 3, "lineage": "one"}))
    changes = [
        uploading("rank", "update"),
        uploading("stats", "no-op"),
        {"change": {"actions": ["delete"], "after": None}},
    ]
    document = {"terraform_version": "1.11.4", "resource_changes": changes}
    found = saved_plans.facts(path, document, "dev", "111111111111")
    saved_plans.beside(path).write_text(json.dumps({**dataclasses.asdict(found), "changes": []}))
    return path


def facts(plan: Path) -> Facts:
    """The facts, read back from the file."""
    return saved_plans.read(plan)[0]


def test_the_zips_that_an_apply_would_upload_are_part_of_it(plan: Path) -> None:
    assert [*facts(plan).zips] == ["build/rank.zip"]
    saved_plans.check(facts(plan), plan, "dev", "1.11.4")
    saved_plans.check(facts(plan), plan, "", "1.11.4")


@pytest.mark.parametrize("change", [lambda zip_: zip_.write_text("other"), lambda zip_: zip_.unlink()])
def test_another_zip_than_at_the_plan_is_refused(tree: Path, plan: Path, change: Any) -> None:
    change(tree / "build" / "rank.zip")
    with pytest.raises(Refusal, match=r"build/rank\.zip is not the file that .* was made with"):
        saved_plans.check(facts(plan), plan, "dev", "1.11.4")


def test_another_terraform_is_refused(plan: Path) -> None:
    with pytest.raises(Refusal, match=r"made by Terraform 1\.11\.4, and this is 1\.12\.0"):
        saved_plans.check(facts(plan), plan, "dev", "1.12.0")


def test_another_account_is_refused_where_it_is_known(plan: Path) -> None:
    for account in ("111111111111", None):
        saved_plans.check_account(facts(plan), plan, account)
    with pytest.raises(Refusal, match="a plan for account 111111111111, and these credentials are for 222222222222"):
        saved_plans.check_account(facts(plan), plan, "222222222222")


def state(serial: int, lineage: str) -> str:
    """A state as Terraform prints it."""
    return json.dumps({"version": 4, "serial": serial, "lineage": lineage})


@pytest.mark.parametrize("pulled", [state(4, "one"), state(3, "other"), ""])
def test_another_state_is_refused(plan: Path, pulled: str) -> None:
    saved_plans.check_state(plan, "dev", state(3, "one"))
    with pytest.raises(Refusal, match="is stale, since dev was changed after it was made"):
        saved_plans.check_state(plan, "dev", pulled)


def test_a_plan_without_its_facts_is_refused(plan: Path) -> None:
    saved_plans.beside(plan).unlink()
    with pytest.raises(Refusal, match=r"dev\.tfplan\.json is missing"):
        facts(plan)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"environment": "dev"}'])
def test_facts_that_are_none_are_refused(plan: Path, text: str) -> None:
    saved_plans.beside(plan).write_text(text)
    with pytest.raises(Refusal, match="is not what make plan wrote"):
        facts(plan)


def test_facts_of_another_plan_are_refused(plan: Path) -> None:
    plan.write_bytes(plan.read_bytes() + b" ")
    with pytest.raises(Refusal, match="keep the two of one plan together"):
        facts(plan)


def test_a_plan_that_is_not_there_is_refused(tree: Path) -> None:
    with pytest.raises(Refusal, match="There is no plan"):
        facts(tree / "gone")
