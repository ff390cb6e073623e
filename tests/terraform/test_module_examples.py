"""The module in trees of other people's: every example under terraform/examples/ is planned."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

import pytest

from scripts.places import ROOT
from tests.support import contract
from tests.terraform.plan_rules import RULES
from tests.terraform.plans import KEY_ARNS, Plan, Resource, Tree

EXAMPLES = sorted(path.name for path in (ROOT / "terraform" / "examples").iterdir())

MakePlan = Callable[[str], Plan]


@pytest.fixture(scope="module")
def planned(tree: Tree) -> MakePlan:
    """The plan of an example; all are begun with the first."""
    tree.start_examples(EXAMPLES)
    return tree.plan


def written(name: str) -> str:
    """An example's text."""
    return (ROOT / "terraform" / "examples" / name / "main.tf").read_text(encoding="utf-8")


@pytest.mark.parametrize("example", ["complete", "minimal"])
def test_a_system_of_ones_own_keeps_the_rules(planned: MakePlan, example: str) -> None:
    plan = planned(example)
    assert [offence for rule in RULES for offence in rule(plan)] == []
    assert len(plan.of("aws_lambda_function")) > 5


def test_a_network_and_keys_that_exist_are_used_and_none_are_made(planned: MakePlan) -> None:
    plan = planned("existing-vpc")
    network = r"aws_(vpc|subnet|security_group|network|route|flow|kms)"
    made = {one.type for one in plan.resources if re.match(network, one.type) and ".module.access." not in one.address}
    assert made == set(), "but for the keys that sign tokens"
    text = written("existing-vpc")
    ids = {name: re.findall(r'"([^"]+)"', row) for name, row in re.findall(r"(\w+_ids) += \[(.*)\]", text)}
    inside = [function for function in plan.of("aws_lambda_function") if contract.cache_role(str(function.key))]
    assert len(inside) > 5
    for function in inside:
        assert set(function.value("vpc_config", "subnet_ids")) == set(ids["function_subnet_ids"])
        assert set(function.value("vpc_config", "security_group_ids")) == set(ids["function_security_group_ids"])
    for cache in plan.of("aws_elasticache_serverless_cache"):
        assert set(cache.value("subnet_ids")) == set(ids["cache_subnet_ids"])
        assert set(cache.value("security_group_ids")) == set(ids["cache_security_group_ids"])
    keys = {
        (one.type, str(value)[-1])
        for one in plan.resources
        for name, value in one.values.items()
        if re.fullmatch(r"kms_\w*(id|arn)", name) and value
    }
    operations = ("aws_cloudwatch_log_group", "aws_lambda_function", "aws_sns_topic")
    assert {(one, "1") for one in operations} | {("aws_elasticache_serverless_cache", "2")} <= keys
    assert {key for one, key in keys if one != "aws_elasticache_serverless_cache"} == {"1"}


def test_one_call_makes_as_many_systems_as_one_likes(planned: MakePlan) -> None:
    """With for_each, which Terraform refuses for a module that configures a provider."""
    made = [re.match(r'module\.leaderboard\["(\w+)"\]\.(.*)', one.address) for one in planned("existing-vpc").resources]
    found = {game: {one[2] for one in made if one and one[1] == game} for game in ("chess", "darts")}
    assert sum(map(len, found.values())) == len(made)
    assert found["chess"] == found["darts"]
    assert len(found["chess"]) > 100
    roles = names(planned("existing-vpc").resources)
    assert {name.split("-")[0] for name in roles} == set(found)
    assert len(roles) == len(planned("existing-vpc").of("aws_iam_role"))


@pytest.mark.parametrize("example", ["complete", "existing-vpc"])
def test_every_role_has_the_path_and_the_boundary(planned: MakePlan, example: str) -> None:
    (path,) = re.findall(r'role_path += "(.*)"', written(example))
    (boundary,) = re.findall(r'permissions_boundary_arn += "[^"]*policy/(.*)"', written(example))
    roles = planned(example).of("aws_iam_role")
    assert len(roles) > 5
    assert {(one.value("path"), one.value("permissions_boundary").split("/")[-1]) for one in roles} == {
        (path, boundary)
    }


def test_what_takes_tags_has_those_of_the_provider(planned: MakePlan) -> None:
    tagged = [one for one in planned("complete").resources if "tags_all" in one.values]
    assert len(tagged) > 50
    assert [one.address for one in tagged if one.value("tags_all", "CostCenter") != "4711"] == []


def test_two_regions_have_nothing_in_common(planned: MakePlan) -> None:
    plan = planned("two-regions")
    regions = {"europe": "eu-central-1", "america": "us-east-1"}
    assert set(re.findall(r'region = "(.*)"', written("two-regions"))) == set(regions.values())
    halves = {name: [one for one in plan.resources if one.address.startswith(f"module.{name}.")] for name in regions}
    assert sum(map(len, halves.values())) == len(plan.resources)
    for name, resources in halves.items():
        values = json.dumps([one.values for one in resources]).replace(KEY_ARNS[0], "")  # made up, the same for all
        named = set(re.findall(r"\b(?:eu-central|us-east)-1(?=[a-f:])", values))
        assert named == {regions[name]}
    roles = [names(halves[name]) for name in regions]
    assert len(roles[0]) == len(roles[1]) > 5
    assert not roles[0] & roles[1]


def names(resources: Iterable[Resource]) -> set[str]:
    """Of the roles, which are the whole account's."""
    return {one.value("name") for one in resources if one.type == "aws_iam_role"}
