"""A change of provisioned concurrency that AWS would refuse is refused beforehand.

The plans here have the shape that Terraform 1.11 and provider 5.100 give to one of modules/functions.
"""

from __future__ import annotations

from typing import Any

import pytest

from scripts.aws import weights
from scripts.refusal import Refusal

Change = dict[str, Any]


def alias(key: str, *, moved_to: str | None = "4", weighted: bool = False) -> Change:
    """The alias of a function, so far at version 4; None is a version that only the apply will know."""
    routing = [{"additional_version_weights": {"5": 0.1}}] if weighted else []
    before = {"function_name": f"game-{key}", "name": "live", "function_version": "4", "routing_config": routing}
    return {
        "type": "aws_lambda_alias",
        "module_address": "module.functions",
        "index": key,
        "change": {
            "actions": ["no-op" if moved_to == "4" else "update"],
            "before": before,
            "after": {**before, "function_version": moved_to} if moved_to else {**before},
            "after_unknown": {} if moved_to else {"function_version": True},
        },
    }


def warm(key: str, number: int) -> Change:
    """How many environments of a function are to be kept warm; so far there were two."""
    before = {"function_name": f"game-{key}", "qualifier": "live", "provisioned_concurrent_executions": 2}
    return {
        "type": "aws_lambda_provisioned_concurrency_config",
        "module_address": "module.functions",
        "index": key,
        "change": {
            "actions": ["no-op" if number == 2 else "update"],
            "before": before,
            "after": {**before, "provisioned_concurrent_executions": number},
            "after_unknown": {},
        },
    }


def new(change: Change) -> Change:
    """The same change for a resource that did not exist."""
    return {**change, "change": {**change["change"], "actions": ["create"], "before": None}}


def check(*changes: Change) -> None:
    """Checks a plan with these changes."""
    weights.check({"resource_changes": [*changes, {"type": "aws_sqs_queue", "change": {"actions": ["no-op"]}}]})


def test_concurrency_does_not_change_in_the_middle_of_a_deployment() -> None:
    with pytest.raises(
        Refusal, match=r"of game-rank, game-stats in the middle of a deployment.*: wait until CodeDeploy"
    ):
        check(
            *(change for key in ("stats", "rank") for change in (alias(key, weighted=True), warm(key, 3))),
            *(alias("sessions"), warm("sessions", 3)),
        )


def test_nor_is_it_first_given() -> None:
    with pytest.raises(Refusal, match=r"of game-rank in the middle of a deployment"):
        check(alias("rank", weighted=True), new(warm("rank", 3)))


@pytest.mark.parametrize("version", ["5", None])
def test_concurrency_does_not_change_together_with_the_code(version: str | None) -> None:
    with pytest.raises(Refusal, match=r"both code and provisioned concurrency of game-rank,.*: apply with"):
        check(alias("rank", moved_to=version), warm("rank", 3))


def test_all_else_may_change_while_one_is_deployed() -> None:
    check(
        alias("rank", weighted=True), warm("rank", 2), alias("stats"), warm("stats", 3), alias("sessions", moved_to="5")
    )


def test_what_is_new_has_no_weights_yet() -> None:
    check(new(alias("rank")), new(warm("rank", 3)))


def test_an_alias_that_keeps_nothing_warm_moves_at_once() -> None:
    check(alias("rank", moved_to="5"), new(warm("rank", 3)))


def test_a_function_of_another_module_is_another() -> None:
    check({**alias("rank", weighted=True), "module_address": "module.other.module.functions"}, warm("rank", 3))
