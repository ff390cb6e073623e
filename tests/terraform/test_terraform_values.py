"""What Terraform has to write down once more, because it cannot read Python, is what the code says."""

from __future__ import annotations

import json
import re
from typing import Any

import hcl2
import pytest

from functions.reconcile import handler
from scripts.dev import terraform_docs
from scripts.local import proxy
from shared import config, outbox

TERRAFORM = terraform_docs.TERRAFORM


def local(file: str, name: str) -> Any:
    """A local value that stands there as it is."""
    document = hcl2.loads((TERRAFORM / file).read_text(), serialization_options=terraform_docs.AS_WRITTEN)
    (value,) = [block[name] for block in document["locals"] if name in block]
    return value


def variable(file: str, name: str) -> dict[str, Any]:
    """A variable's block."""
    document = hcl2.loads((TERRAFORM / file).read_text(), serialization_options=terraform_docs.AS_WRITTEN)
    (block,) = [named[json.dumps(name)] for named in document["variable"] if json.dumps(name) in named]
    found: dict[str, Any] = block
    return found


ALARMS = "modules/monitoring/alarms.tf"


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
    assert local(ALARMS, "standstill_seconds") >= 2 * 60 * int(slowest)


def test_the_roots_deadline_is_one_that_the_functions_take() -> None:
    deadline = variable("variables.tf", "deadline_seconds")
    assert deadline["default"] == config.Settings.deadline_seconds
    lowest, highest = map(float, re.findall(r"[<>]= ([\d.]+)", deadline["validation"][0]["condition"]))
    for seconds in (lowest, highest):
        assert config.load({"VALKEY_HOST": "x", "DEADLINE_SECONDS": str(seconds)}).deadline_seconds == seconds
    for seconds in (lowest * 0.99, highest * 1.01):
        with pytest.raises(config.MisconfiguredError):
            config.load({"VALKEY_HOST": "x", "DEADLINE_SECONDS": str(seconds)})


def test_the_deadline_is_checked_in_one_place() -> None:
    for file in TERRAFORM.glob("modules/*/variables.tf"):
        assert not re.search(r"condition .*var\.deadline_seconds [<>]", file.read_text()), file


def test_a_function_runs_as_long_here_as_there() -> None:
    assert variable("variables.tf", "timeout_seconds")["default"] == proxy.FUNCTION_SECONDS
