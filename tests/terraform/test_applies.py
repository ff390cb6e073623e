"""`terraform apply` of every environment into an empty account, a second plan, and a destroy.

The provider is the real one, and so is what it sends: AWS's API is emulated, see tests/support/aws_api.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future

import pytest

from scripts.aws import caches
from tests.support import terraforms
from tests.terraform.applies import ACCOUNTS, DESTROYED, Applied
from tests.terraform.plans import EMULATED, ENVIRONMENTS

Applies = Mapping[str, Future[Applied]]

READS = ("Describe", "Get", "Head", "List")
"""Terraform learns from a 404 that there is no state, for instance."""

environments = pytest.mark.parametrize("environment", ACCOUNTS)


def test_every_environment_on_aws_is_applied() -> None:
    assert set(ENVIRONMENTS) - {EMULATED} == set(ACCOUNTS)


@environments
def test_the_first_apply_is_refused_nothing(applies: Applies, environment: str) -> None:
    calls = applies[environment].result().calls
    assert len(calls) > 500
    assert [call for call in calls if call.error and not call.operation.startswith(READS)] == []


@environments
def test_nothing_updates_the_api_after_its_import(applies: Applies, environment: str) -> None:
    calls = [call.operation for call in applies[environment].result().calls if call.service == "apigateway"]
    assert "CreateDeployment" in calls[calls.index("PutRestApi") :]
    assert "UpdateRestApi" not in calls


@environments
def test_a_second_plan_is_empty(applies: Applies, environment: str) -> None:
    assert terraforms.UNCHANGED in applies[environment].result().second_plan


def test_an_own_host_name_closes_the_other_way_in(applies: Applies) -> None:
    apis = {
        name: applies[name].result().account.client("apigateway").get_rest_apis()["items"]
        for name in ("prod", "staging")
    }
    assert [api["disableExecuteApiEndpoint"] for api in apis["prod"]] == [False]
    assert [api["disableExecuteApiEndpoint"] for api in apis["staging"]] == [True]


def test_a_destroy_that_is_broken_off_in_the_middle_goes_on_where_it_was(applies: Applies) -> None:
    """The whole tree, by the command: SIGTERM, as from a pipeline, while Terraform deletes."""
    done = applies[DESTROYED].result().destroyed
    assert done
    assert done.broken_off.returncode == 1, done.broken_off.stderr
    assert "run make destroy ENV=dev again" in done.broken_off.stderr
    assert done.between["resources"], "some are left"
    assert done.again.returncode == 0, done.again.stderr
    assert done.left["resources"] == []
    (snapshot,) = caches.snapshots(applies[DESTROYED].result().account.client("elasticache"), "leaderboard-dev")
    assert f"Left: the snapshot {snapshot['ARN']}\n" in done.again.stdout


def test_a_destroy_leaves_nothing_but_keys_that_wait_for_their_end(applies: Applies) -> None:
    destroyed = applies[DESTROYED].result()
    keys = destroyed.account.client("kms")
    states = [keys.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] for key in keys.list_keys()["Keys"]]
    assert states == ["PendingDeletion"] * 4, "two that encrypt, and two that sign tokens"
    tagged = destroyed.account.client("resourcegroupstaggingapi").get_resources()["ResourceTagMappingList"]
    assert [one["ResourceARN"] for one in tagged if ":kms:" not in one["ResourceARN"]] == []
