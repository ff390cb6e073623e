"""What Terraform has to repeat, because it cannot read Python, is what the code says."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hcl2
import pytest

from functions.reconcile import handler
from scripts.dev import terraform_docs, terraform_root
from scripts.local import proxy
from scripts.places import ROOT
from shared import config, endpoint, outbox

TERRAFORM = terraform_docs.TERRAFORM


def local(file: str, name: str) -> Any:
    """A local value, as it is written."""
    document = hcl2.loads((TERRAFORM / file).read_text(), serialization_options=terraform_docs.AS_WRITTEN)
    (value,) = [block[name] for block in document["locals"] if name in block]
    return value


def variable(file: str, name: str) -> dict[str, Any]:
    """The block of a variable."""
    document = hcl2.loads((TERRAFORM / file).read_text(), serialization_options=terraform_docs.AS_WRITTEN)
    (block,) = [named[json.dumps(name)] for named in document["variable"] if json.dumps(name) in named]
    found: dict[str, Any] = block
    return found


ALARMS = "modules/monitoring/alarms.tf"
THRESHOLDS = "modules/monitoring/thresholds.tf"


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("reconcile_longest_seconds", handler.LONGEST_SECONDS),
        ("reconcile_reserve_seconds", handler.RESERVE_SECONDS),
        ("reconcile_due_seconds", outbox.DUE_SECONDS),
    ],
)
def test_the_alarms_know_reconciles_own_times(name: str, seconds: float) -> None:
    assert local(ALARMS, name) == seconds


def test_the_slowest_schedule_has_two_runs_before_it_is_a_standstill() -> None:
    condition = variable("modules/functions/variables.tf", "reconcile_schedule")["validation"][0]["condition"]
    (slowest,) = re.findall(r"\[2-(\d)\] minutes", condition)
    assert local(THRESHOLDS, "threshold_defaults")["reconcile_standstill_minutes"] >= 2 * int(slowest)


@pytest.mark.parametrize(
    ("name", "number", "a_little"),
    [("receipt_seconds", int, 1), ("session_seconds", int, 1), ("deadline_seconds", float, 0.005)],
)
def test_the_root_takes_the_lives_that_the_functions_take(
    name: str, number: Callable[[str], float], a_little: float
) -> None:
    condition = variable(f"{terraform_root.MODULE}/variables.tf", name)["validation"][0]["condition"]
    lowest, highest = map(number, re.findall(r"[<>]= ([\d.]+)", condition))
    for seconds in (lowest, highest):
        assert getattr(config.load({"VALKEY_HOST": "x", name.upper(): str(seconds)}), name) == seconds
    for seconds in (lowest - a_little, highest + a_little):
        with pytest.raises(config.MisconfiguredError):
            config.load({"VALKEY_HOST": "x", name.upper(): str(seconds)})


def test_a_setting_that_has_a_variable_is_called_like_it() -> None:
    settings = local(f"{terraform_root.MODULE}/locals.tf", "settings")
    assert set(settings) >= {"RECEIPT_SECONDS", "SESSION_SECONDS", "DEADLINE_SECONDS"}
    for name, expression in settings.items():
        assert f"var.{name.lower()}" in expression
        assert name.lower() in {field.name for field in dataclasses.fields(config.Settings)}


def test_the_deadline_is_checked_in_one_place() -> None:
    condition = re.compile(r"condition .*var\.deadline_seconds [<>]")
    files = [path for path in TERRAFORM.rglob("variables.tf") if condition.search(path.read_text())]
    assert files == [TERRAFORM / terraform_root.MODULE / "variables.tf"]


def test_the_firewall_stops_the_bodies_that_the_functions_refuse() -> None:
    assert local("modules/api/waf.tf", "largest_body_bytes") == endpoint.LARGEST_BODY_BYTES


def test_a_function_runs_as_long_here_as_there() -> None:
    assert variable(f"{terraform_root.MODULE}/variables.tf", "timeout_seconds")["default"] == {
        "default": proxy.FUNCTION_SECONDS
    }


@pytest.mark.parametrize("folder", sorted({path.parent for path in TERRAFORM.rglob("variables.tf")}), ids=str)
def test_every_variable_is_used(folder: Path) -> None:
    """Even one that is only passed on to a module, which has a default of its own."""
    code = "".join(path.read_text() for path in folder.glob("*.tf") if path.name != "variables.tf")
    declared = re.findall(r'^variable "(\w+)"', (folder / "variables.tf").read_text(), re.MULTILINE)
    assert declared
    assert [name for name in declared if not re.search(rf"\bvar\.{name}\b", code)] == []


@pytest.mark.parametrize("file", sorted(TERRAFORM.glob("environments/*.tfvars")), ids=lambda file: file.stem)
def test_an_environment_sets_what_there_is(file: Path) -> None:
    """Terraform only warns of a name that it does not know."""
    root = "".join(path.read_text() for path in TERRAFORM.glob("*.tf"))
    declared = set(re.findall(r'^variable "(\w+)"', root, re.MULTILINE))
    set_here = set(hcl2.loads(file.read_text(), serialization_options=terraform_docs.AS_WRITTEN))
    assert set_here - declared == set()


def test_the_recipe_for_tflocal_names_what_there_is() -> None:
    """That the file alone plans no ElastiCache is seen by the walk over the plans."""
    recipe = (ROOT / "docs" / "emulator.md").read_text().split("tflocal init ")[0].rsplit("```\n", 1)[1]
    backend = hcl2.loads((TERRAFORM / "environments" / "local.backend.hcl").read_text())
    values = hcl2.loads((TERRAFORM / "environments" / "local.tfvars").read_text())
    assert f"s3://{json.loads(backend['bucket'])}\n" in recipe
    assert f"AWS_REGION={json.loads(values['region'])}\n" in recipe
    assert backend["region"] == values["region"]
    apply = (ROOT / "docs" / "emulator.md").read_text().split("tflocal apply ")[1].split("```")[0]
    assert "-var-file=environments/local.tfvars " in apply
    (given,) = re.findall(r"-var 'emulator=\{(.*)\}'", apply)
    assert set(re.findall(r"(\w+)=", given)) == set(values["emulator"])
    assert set(re.findall(r"-var '?(\w+)=", apply)) == {"architecture", "emulator"}, (
        "as `make emulate` sets, on its Python"
    )
    assert "localstack_providers_override.tf" in (ROOT / ".gitignore").read_text().splitlines()
