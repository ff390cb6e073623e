"""The checks before a plan and an apply, on recorded answers of AWS."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scripts.aws import preflight, verdicts
from scripts.aws.preflight import Caller, Target
from scripts.aws.verdicts import LOOK, NO, NOT_KNOWN, NOT_NEEDED, OK, Verdict
from scripts.refusal import Refusal
from tests.aws.recorded import ANY, Recorded

ACCOUNT, OTHER = "111111111111", "222222222222"
USER = Caller(f"arn:aws:iam::{ACCOUNT}:user/ops/somebody", ACCOUNT)
SESSION = Caller(f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/run-7", ACCOUNT)

STATES = {
    "bucket": "states",
    "region": "eu-central-1",
    "kms_key_id": f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/1234",
}

ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/ci/deploy"

MADE = {"Path": "/", "RoleId": "AROA0123456789ABCDEF", "CreateDate": "2026-11-28T00:00:00Z"}
"""What every role has."""


def target(*, backend: dict[str, str] | None = None, own: bool = False, **given: Any) -> Target:
    """An environment with a few functions and the values given."""
    usual = {
        "project": "leaderboard",
        "environment": "prod",
        "region": "eu-central-1",
        "availability_zone_count": 3,
        "interface_endpoints": [],
    }
    functions = ("leaderboard", "reconcile", "update_score")
    return Target("prod", {**usual, **given}, functions, backend or STATES, "terraform/backend.hcl", own)


class TestWhere:
    """Credentials, values and state belong to the same account and Region."""

    def where(self, aws: Recorded, wanted: Target, caller: Caller = USER) -> dict[str, Verdict]:
        return {row.check: row for row in preflight.where(aws, wanted, caller)}

    def bucket(self, aws: Recorded, region: str = "eu-central-1") -> None:
        aws.answer("s3", "head_bucket", {"BucketRegion": region}, Bucket="states")

    def test_all_agree(self, aws: Recorded) -> None:
        self.bucket(aws)
        rows = self.where(aws, target(account_id=ACCOUNT))
        assert [row.verdict for row in rows.values()] == [OK, OK]
        assert "user/ops/somebody" in rows["account"].seen

    def test_credentials_of_another_account_are_refused(self, aws: Recorded) -> None:
        self.bucket(aws)
        row = self.where(aws, target(account_id=OTHER))["account"]
        assert (row.verdict, row.needed) == (NO, OTHER)
        assert row.remedy == f"these credentials are for another account than prod's: use those of {OTHER}."

    def test_without_an_account_it_says_which_line_to_write(self, aws: Recorded) -> None:
        self.bucket(aws)
        row = self.where(aws, target())["account"]
        assert row.verdict == LOOK
        assert f'account_id = "{ACCOUNT}" into terraform/environments/prod.tfvars' in row.remedy

    @pytest.mark.parametrize(
        "other", [{"region": "us-east-1"}, {"kms_key_id": f"arn:aws:kms:eu-central-1:{OTHER}:key/1234"}]
    )
    def test_everybodys_backend_of_another_place_is_refused(self, aws: Recorded, other: dict[str, str]) -> None:
        row = self.where(aws, target(backend={**STATES, **other}))["states"]
        assert row.verdict == NO
        assert "terraform/environments/prod.backend.hcl" in row.remedy

    def test_an_environments_own_backend_may_be_anywhere(self, aws: Recorded) -> None:
        wanted = target(backend={**STATES, "region": "us-east-1"}, own=True)
        assert self.where(aws, wanted)["states"].verdict == LOOK

    def test_a_bucket_that_is_not_there_is_refused(self, aws: Recorded) -> None:
        aws.refuse("s3", "head_bucket", "404", Bucket="states")
        row = self.where(aws, target())["states"]
        assert (row.verdict, row.seen) == (NO, "no bucket states")

    def test_a_bucket_in_another_region_than_is_written_is_refused(self, aws: Recorded) -> None:
        self.bucket(aws, "eu-west-1")
        row = self.where(aws, target())["states"]
        assert (row.verdict, row.remedy) == (NO, 'write region = "eu-west-1" into terraform/backend.hcl.')

    def test_a_bucket_that_may_not_be_looked_at_is_not_known(self, aws: Recorded) -> None:
        aws.refuse("s3", "head_bucket", "403", Bucket="states")
        row = self.where(aws, target())["states"]
        assert (row.verdict, row.seen) == (NOT_KNOWN, "HeadBucket: 403")

    def test_credentials_that_aws_does_not_take_are_refused(self, aws: Recorded) -> None:
        aws.refuse("sts", "get_caller_identity", "ExpiredToken")
        with pytest.raises(Refusal, match=r"does not take these credentials \(ExpiredToken\): sign in again"):
            preflight.whose(aws)


class TestConcurrency:
    """What the environment reserves fits into the account's quota beside what Lambda keeps back."""

    def ask(self, aws: Recorded, free: int, *held: tuple[str, Any], quota: int = 1000, **given: Any) -> Verdict:
        """The verdict when this much is free and the functions hold this much (operation and answer, or error)."""
        limit = {"ConcurrentExecutions": quota, "UnreservedConcurrentExecutions": free}
        aws.answer("lambda", "get_account_settings", {"AccountLimit": limit})
        for operation, said in held:
            if isinstance(said, str):
                aws.refuse("lambda", operation, said)
            else:
                aws.answer("lambda", operation, said)
        return preflight.concurrency(aws, target(**given))

    def test_nothing_reserved_asks_for_nothing(self, aws: Recorded) -> None:
        assert preflight.concurrency(aws, target()).verdict == NOT_NEEDED

    def test_the_quota_of_a_new_account_is_refused_with_what_to_ask_for(self, aws: Recorded) -> None:
        absent = ("get_function_concurrency", "ResourceNotFoundException")
        row = self.ask(aws, 10, absent, quota=10, reserved_concurrency={"reconcile": 2})
        assert (row.verdict, row.seen, row.needed) == (NO, "10 unreserved of 10", "2 and 100 unreserved")
        assert row.remedy == (
            "ask AWS for 1,000 (aws service-quotas request-service-quota-increase --region eu-central-1 --service-code "
            "lambda --quota-code L-B99A9384 --desired-value 1000), and meanwhile set reserved_concurrency = {} and "
            "provisioned_concurrency = {} in terraform/environments/prod.tfvars."
        )

    def test_an_account_that_is_not_new_has_room(self, aws: Recorded) -> None:
        assert self.ask(aws, 1000, reserved_concurrency={"reconcile": 2}).verdict == OK

    def test_the_authorizer_counts_where_there_is_one(self) -> None:
        read = {
            name: preflight.target(name, "environments/local.backend.hcl", is_own_backend=False)
            for name in ("dev", "prod")
        }
        assert read["prod"].by_function("reserved_concurrency") == {"authorizer": 50, "reconcile": 2}
        assert "authorizer" not in read["dev"].functions

    def test_the_last_one_fits(self, aws: Recorded) -> None:
        assert self.ask(aws, 106, reserved_concurrency={"default": 2}).verdict == OK

    def test_one_more_does_not_fit_and_is_added_to_the_quota(self, aws: Recorded) -> None:
        held = [("get_function_concurrency", dict[str, Any]())] * 3
        row = self.ask(aws, 105, *held, quota=2000, reserved_concurrency={"default": 2})
        assert row.verdict == NO
        assert "ask AWS for 2,001 " in row.remedy

    def test_warm_functions_count_unless_they_are_part_of_a_reservation(self, aws: Recorded) -> None:
        warm = {"reconcile": 2, "leaderboard": 5}
        row = self.ask(aws, 900, reserved_concurrency={"reconcile": 2}, provisioned_concurrency=warm)
        assert (row.verdict, row.needed) == (OK, "7 and 100 unreserved")

    def test_what_the_environment_has_already_is_not_asked_for_again(self, aws: Recorded) -> None:
        kept = [{"RequestedProvisionedConcurrentExecutions": 5}]
        held = (
            ("get_function_concurrency", {"ReservedConcurrentExecutions": 40}),
            ("list_provisioned_concurrency_configs", {"ProvisionedConcurrencyConfigs": kept}),
        )
        reserved, warm = {"reconcile": 40}, {"leaderboard": 5}
        row = self.ask(aws, 100, *held, quota=140, reserved_concurrency=reserved, provisioned_concurrency=warm)
        assert row.verdict == OK

    def test_whoever_may_not_ask_has_not_failed(self, aws: Recorded) -> None:
        aws.refuse("lambda", "get_account_settings")
        row = preflight.concurrency(aws, target(reserved_concurrency={"reconcile": 2}))
        assert (row.verdict, row.seen) == (NOT_KNOWN, "GetAccountSettings: AccessDeniedException")


class TestWhat:
    """The account has what an apply needs in this Region."""

    def zones(self, aws: Recorded, names: str = "abcd", **ids: str) -> None:
        found = [
            {"ZoneName": f"eu-central-1{name}", "ZoneId": ids.get(name, f"euc1-az{number}")}
            for number, name in enumerate(names)
        ]
        aws.answer("ec2", "describe_availability_zones", {"AvailabilityZones": found[::-1]}, Filters=ANY)

    def service(self, aws: Recorded, name: str, names: str) -> None:
        one = {"ServiceName": name, "AvailabilityZones": [f"eu-central-1{zone}" for zone in names]}
        full = f"com.amazonaws.eu-central-1.{name}"
        aws.answer("ec2", "describe_vpc_endpoint_services", {"ServiceDetails": [one]}, ServiceNames=[full])

    def test_the_role_for_the_gateways_logs(self, aws: Recorded) -> None:
        aws.answer("apigateway", "get_account", {"cloudwatchRoleArn": f"arn:aws:iam::{ACCOUNT}:role/logs"})
        assert preflight.gateway_logs(aws, target()).verdict == OK

    def test_without_that_role_bootstrap_is_named(self, aws: Recorded) -> None:
        aws.answer("apigateway", "get_account", {"apiKeyVersion": "4"})
        row = preflight.gateway_logs(aws, target())
        assert row.verdict == NO
        assert "apply terraform/bootstrap" in row.remedy

    def test_elasticaches_role_is_there(self, aws: Recorded) -> None:
        role = {"RoleName": "AWSServiceRoleForElastiCache", "Arn": f"arn:aws:iam::{ACCOUNT}:role/x/y", **MADE}
        aws.answer("iam", "get_role", {"Role": role}, RoleName="AWSServiceRoleForElastiCache")
        assert preflight.cache_role(aws, USER, "it").verdict == OK

    @pytest.mark.parametrize(("decision", "verdict"), [("allowed", OK), ("implicitDeny", NO), ("explicitDeny", NO)])
    def test_elasticaches_role_can_be_made_or_not(self, aws: Recorded, decision: str, verdict: str) -> None:
        aws.refuse("iam", "get_role", "NoSuchEntity", RoleName="AWSServiceRoleForElastiCache")
        aws.answer("iam", "get_role", {"Role": {"RoleName": "deploy", "Arn": ROLE_ARN, **MADE}}, RoleName="deploy")
        result = {"EvalActionName": "iam:CreateServiceLinkedRole", "EvalDecision": decision}
        aws.answer(
            "iam",
            "simulate_principal_policy",
            {"EvaluationResults": [result]},
            PolicySourceArn=ROLE_ARN,
            ActionNames=["iam:CreateServiceLinkedRole"],
            ResourceArns=[
                f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/elasticache.amazonaws.com/AWSServiceRoleForElastiCache"
            ],
            ContextEntries=ANY,
        )
        row = preflight.cache_role(aws, SESSION, "it")
        assert row.verdict == verdict
        assert ("aws iam create-service-linked-role" in row.remedy) == (verdict == NO)

    def test_whether_somebody_without_policies_can_make_it_is_not_known(self, aws: Recorded) -> None:
        aws.refuse("iam", "get_role", "NoSuchEntity")
        federated = Caller(f"arn:aws:sts::{ACCOUNT}:federated-user/somebody", ACCOUNT)
        assert preflight.cache_role(aws, federated, "it").verdict == NOT_KNOWN

    def test_the_first_zones_by_name_serve_all(self, aws: Recorded) -> None:
        self.zones(aws)
        self.service(aws, "elasticache", "abcd")
        row = preflight.zones(aws, target())
        assert (row.verdict, row.seen) == (OK, "eu-central-1a, eu-central-1b, eu-central-1c")

    def test_a_zone_that_the_network_does_not_use_is_passed_over(self, aws: Recorded) -> None:
        self.zones(aws, b="use1-az3")
        self.service(aws, "elasticache", "acd")
        assert preflight.zones(aws, target()).seen == "eu-central-1a, eu-central-1c, eu-central-1d"

    def test_too_few_zones_are_refused(self, aws: Recorded) -> None:
        self.zones(aws, "ab")
        row = preflight.zones(aws, target())
        assert (row.verdict, row.needed) == (NO, "3")
        assert "set availability_zone_count" in row.remedy

    def test_the_cache_takes_two_zones_where_the_functions_take_one(self, aws: Recorded) -> None:
        self.zones(aws)
        self.service(aws, "elasticache", "ab")
        assert preflight.zones(aws, target(availability_zone_count=1)).seen == "eu-central-1a, eu-central-1b"

    def test_a_wanted_endpoint_that_a_zone_lacks_is_worth_a_look(self, aws: Recorded) -> None:
        """modules/network makes it in the zones that offer it."""
        self.zones(aws)
        self.service(aws, "elasticache", "abc")
        self.service(aws, "logs", "ac")
        row = preflight.zones(aws, target(interface_endpoints=["elasticache", "logs"]))
        assert (row.verdict, row.needed) == (LOOK, "3 with elasticache, logs")
        assert row.remedy == (
            "logs has no endpoint in eu-central-1b: it is made in the other zones, and calls from there go to one of "
            "these."
        )

    def test_a_wanted_endpoint_that_no_zone_of_a_function_has_is_refused(self, aws: Recorded) -> None:
        """The cache's second zone holds no functions, and so needs no endpoint."""
        self.zones(aws)
        self.service(aws, "elasticache", "ab")
        self.service(aws, "logs", "b")
        row = preflight.zones(aws, target(interface_endpoints=["logs"], availability_zone_count=1))
        assert (row.verdict, row.needed) == (NO, "2 with logs")
        assert row.remedy.startswith("logs has no endpoint in eu-central-1a: take it out of interface_endpoints")

    def test_a_network_that_others_have_made_has_its_zones(self, aws: Recorded) -> None:
        assert preflight.zones(aws, target(vpc={"function_subnet_ids": ["subnet-1"]})).verdict == NOT_NEEDED

    def test_a_service_that_the_region_does_not_have_is_refused(self, aws: Recorded) -> None:
        self.zones(aws)
        aws.refuse("ec2", "describe_vpc_endpoint_services", "InvalidServiceName")
        row = preflight.zones(aws, target(interface_endpoints=["elasticache"]))
        assert row.verdict == NO

    def test_a_zone_where_elasticache_has_no_endpoint_of_its_own_is_worth_a_look(self, aws: Recorded) -> None:
        self.zones(aws)
        self.service(aws, "elasticache", "bc")
        row = preflight.zones(aws, target())
        assert row.verdict == LOOK
        assert "eu-central-1a" in row.remedy

    def test_whoever_may_look_at_nothing_has_not_failed(self, aws: Recorded) -> None:
        for service, operation in [
            ("lambda", "get_account_settings"),
            ("apigateway", "get_account"),
            ("iam", "get_role"),
            ("ec2", "describe_availability_zones"),
        ]:
            aws.refuse(service, operation)
        rows = list(preflight.what(aws, target(reserved_concurrency={"reconcile": 1}), USER))
        assert [row.verdict for row in rows] == [NOT_KNOWN] * 4


ROWS = [Verdict("one", "seen", "needed", OK), Verdict("two", "x", "y", NO, "do this.")]


def test_the_table_has_what_to_do_below_it() -> None:
    assert verdicts.table(ROWS, coloured=False).splitlines() == [
        "check  seen  needed  verdict",
        "one    seen  needed  ok",
        "two    x     y       no",
        "two: do this.",
    ]


def test_only_the_verdicts_have_a_colour() -> None:
    lines = verdicts.table(ROWS, coloured=True).splitlines()
    assert lines[0] == "check  seen  needed  verdict"
    assert lines[2] == "two    x     y       \033[31mno     \033[0m"


def test_the_table_for_programs_has_the_same() -> None:
    assert json.loads(json.dumps(verdicts.as_json(ROWS)))[1] == {
        "check": "two",
        "seen": "x",
        "needed": "y",
        "verdict": "no",
        "remedy": "do this.",
    }
