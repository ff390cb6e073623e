"""The summary of a plan: what would be lost comes first, and no value is shown."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.aws import changes
from scripts.aws.changes import PLAIN, RED, Change


def resource(address: str, *actions: str, mode: str = "managed", **more: Any) -> dict[str, Any]:
    """An entry of `resource_changes`; members that are not its own go into its `change`."""
    own = {name: more.pop(name) for name in ("deposed", "previous_address") if name in more}
    return {"address": address, "mode": mode, "change": {"actions": [*actions], **more}, **own}


CACHE = resource("aws_cache.this", "delete", "create", replace_paths=[["subnet_ids"], ["engine", 0]])

PLAN = {
    "resource_changes": [
        resource("aws_same.this", "no-op"),
        resource("aws_read.this", "read", mode="data"),
        resource(
            'aws_lambda.this["rank"]',
            "update",
            before={"memory": 128, "key": "secret", "same": 1, "version": "1"},
            after={"memory": 512, "key": "public", "same": 1},
            after_unknown={"version": True},
        ),
        resource('aws_lambda.this["stats"]', "update", before={"timeout": 1}, after={"timeout": 2}, after_unknown={}),
        *(resource(f"aws_alarm.this[{number}]", "create", before=None, after={}) for number in range(3)),
        resource("aws_layer.this", "create", "delete", replace_paths=[["hash"]]),
        resource("aws_old.this", "delete"),
        resource("aws_cert.this", "delete", deposed="ab12"),
        resource("aws_gone.this", "forget"),
        resource("aws_taken.this", "no-op", importing={"id": "x"}),
        resource("module.a.aws_vpc.this", "no-op", previous_address="aws_vpc.this"),
        CACHE,
    ],
    "resource_drift": [resource('aws_lambda.this["stats"]', "update"), resource("aws_same.this", "update")],
    "output_changes": {"url": {"actions": ["update"]}, "same": {"actions": ["no-op"]}},
}

SUMMARY = """\
replaced   aws_layer.this: hash
replaced   aws_cache.this: engine, subnet_ids
destroyed  aws_old.this
destroyed  aws_cert.this (deposed ab12)
forgotten  aws_gone.this
added      aws_alarm.this, 3 of them
imported   aws_taken.this
changed    aws_lambda.this, 2 of them: key, memory, timeout, version  [changed outside Terraform]
moved      module.a.aws_vpc.this
output     output.url
2 to replace, 2 to destroy, 1 to forget, without destroying them, 3 to add, 1 to import, 2 to change, \
1 to call by another name, 1 of the outputs to change."""


def test_the_worst_comes_first_and_no_value_is_told() -> None:
    assert changes.summary(changes.read(PLAN), coloured=False) == SUMMARY


def test_what_would_be_lost_is_red_and_so_is_the_sum() -> None:
    lines = changes.summary(changes.read(PLAN), coloured=True).splitlines()
    red = [line for line in lines if line.startswith(RED) and line.endswith(PLAIN)]
    assert red == [*lines[:5], lines[-1]]


def test_a_plan_that_loses_nothing_has_no_red() -> None:
    harmless = {"resource_changes": [resource("aws_alarm.this", "create", before=None, after={})]}
    assert RED not in changes.summary(changes.read(harmless), coloured=True)


def test_of_many_that_would_be_lost_each_is_named() -> None:
    both = {"resource_changes": [resource(f'aws_cache.this["{name}"]', "delete") for name in "ab"]}
    said = changes.summary(changes.read(both), coloured=False).splitlines()
    assert said[:2] == ['destroyed  aws_cache.this["a"]', 'destroyed  aws_cache.this["b"]']


def test_programs_get_every_instance_and_its_attributes() -> None:
    found = changes.as_json(changes.read(PLAN))
    assert [one["address"] for one in found if one["kind"] == "changed"] == [
        'aws_lambda.this["rank"]',
        'aws_lambda.this["stats"]',
    ]
    assert found[1] == {
        "kind": "replaced",
        "address": "aws_cache.this",
        "attributes": ("engine", "subnet_ids"),
        "outside": False,
    }


def test_nothing_is_said_to_be_nothing() -> None:
    assert changes.summary([], coloured=True) == "Nothing would change."


@pytest.mark.parametrize("action", ["burn", "open"])
def test_an_action_that_is_not_known_is_not_passed_over(action: str) -> None:
    with pytest.raises(KeyError, match=action):
        changes.read({"resource_changes": [resource("aws_cache.this", action)]})


def test_what_is_read_again_is_the_same() -> None:
    first = changes.read(PLAN)
    again = [Change(**one) for one in changes.as_json(first)]
    assert changes.summary(again, coloured=False) == SUMMARY
