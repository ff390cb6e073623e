"""What an account must have before an environment is planned or applied there, looked at without changing anything.

AWS would refuse each of these too, but halfway through an apply, and in other words. What the caller has no permission
to look at is "not known", and stops nobody.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from scripts.aws import values
from scripts.aws.accounts import Aws, asked, code_of, unless
from scripts.aws.verdicts import LOOK, NO, NOT_KNOWN, NOT_NEEDED, OK, Verdict
from scripts.places import TERRAFORM, functions
from scripts.refusal import Refusal

UNRESERVED = 100
"""How much of an account's concurrency in a Region Lambda keeps back for functions without a reservation."""

AUTHORIZER = "authorizer"
"""The function that there is only where access is protected."""

USUAL_CONCURRENCY = 1000
"""The quota of an account that is no longer new. AWS raises it this far without asking much."""

CONCURRENCY_QUOTA = "L-B99A9384"
"""Service Quotas' code for Lambda's `Concurrent executions`."""

ELASTICACHE = "elasticache.amazonaws.com"
ELASTICACHE_ROLE = "AWSServiceRoleForElastiCache"

CACHE_ZONES = 2
"""The fewest zones that the cache takes (modules/network)."""


@dataclass(frozen=True)
class Target:
    """The environment to build, and where its state is kept."""

    environment: str
    values: Mapping[str, Any]
    functions: tuple[str, ...]
    """Their keys."""
    backend: Mapping[str, Any]
    backend_file: str
    is_own_backend: bool
    """Whether the file is this environment's alone."""

    @property
    def region(self) -> str:
        """The Region to build it in."""
        return str(self.values["region"])

    @property
    def file(self) -> str:
        """The path of its values file, as people write it."""
        return f"terraform/environments/{self.environment}.tfvars"

    def function(self, key: str) -> str:
        """A function's name on AWS."""
        return values.function_name(self.values, key)

    def by_function(self, name: str) -> dict[str, int]:
        """Each function's number in a map by function, in which `default` stands for all that it does not name."""
        given: Mapping[str, int] = self.values.get(name) or {}
        found = {key: given.get(key, given.get("default")) for key in self.functions}
        return {key: number for key, number in found.items() if number is not None}


@dataclass(frozen=True)
class Caller:
    """Whose credentials these are."""

    arn: str
    account: str


def target(environment: str, backend_file: str, *, is_own_backend: bool) -> Target:
    """The target that an environment's files describe. Raises Refusal."""
    given = values.of(environment)
    is_protected = given.get("access") == "protected"
    return Target(
        environment,
        given,
        tuple(key for key in functions() if is_protected or key != AUTHORIZER),
        values.read(TERRAFORM / backend_file),
        f"terraform/{backend_file}",
        is_own_backend,
    )


def whose(aws: Aws) -> Caller:
    """The identity behind the credentials, which anybody may ask for. Raises Refusal if there is none."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped] # noqa: PLC0415

    try:
        found = aws("sts").get_caller_identity()
    except ClientError as error:
        raise Refusal(
            f"AWS does not take these credentials ({code_of(error)}): sign in again (aws sso login), or set others."
        ) from None
    except BotoCoreError as error:
        raise Refusal(f"AWS does not answer ({' '.join(str(error).split())}): check this machine's network.") from None
    return Caller(found["Arn"], found["Account"])


def where(aws: Aws, wanted: Target, caller: Caller) -> Iterator[Verdict]:
    """Whether credentials, values and state belong to the same account and Region."""
    yield _account(wanted, caller)
    needed = f"a bucket in {wanted.region}, account {caller.account}"
    yield asked("states", needed, lambda: _states(aws, wanted, caller, needed))


def what(aws: Aws, wanted: Target, caller: Caller) -> Iterator[Verdict]:
    """Whether the account has in this Region what the environment needs."""
    yield concurrency(aws, wanted)
    yield asked("API Gateway's logs", "a role in this Region", lambda: gateway_logs(aws, wanted))
    needed = f"{ELASTICACHE_ROLE}, or leave to make it"
    yield asked("ElastiCache's role", needed, lambda: cache_role(aws, caller, needed))
    yield zones(aws, wanted)


def _account(wanted: Target, caller: Caller) -> Verdict:
    seen, account = f"{caller.account} ({caller.arn.split(':', 5)[-1]})", wanted.values.get("account_id")
    if not account:
        remedy = f'so that nobody applies it in another one, write account_id = "{caller.account}" into {wanted.file}.'
        return Verdict("account", seen, "any: there is no account_id", LOOK, remedy)
    if account == caller.account:
        return Verdict("account", seen, account, OK)
    remedy = f"these credentials are for another account than {wanted.environment}'s: use those of {account}."
    return Verdict("account", seen, account, NO, remedy)


def _states(aws: Aws, wanted: Target, caller: Caller, needed: str) -> Verdict:
    bucket, region = wanted.backend.get("bucket", ""), wanted.backend.get("region", "")
    key = re.fullmatch(r"arn:[\w-]+:kms:[\w-]+:(\d{12}):.*", wanted.backend.get("kms_key_id", ""))
    account = key[1] if key else None
    seen = f"{bucket} in {region}{f', account {account}' if account else ''}"
    if region != wanted.region or account not in (None, caller.account):
        if wanted.is_own_backend:  # written for this environment on purpose
            return Verdict("states", seen, needed, LOOK)
        remedy = (
            f"{wanted.backend_file} is of another account or Region: apply terraform/bootstrap there, and write its "
            f"backend_config into terraform/environments/{wanted.environment}.backend.hcl."
        )
        return Verdict("states", seen, needed, NO, remedy)
    found = unless({"404", "NoSuchBucket"}, lambda: aws("s3", region).head_bucket(Bucket=bucket))
    if found is None:
        remedy = f"{wanted.backend_file} names a bucket that is not there: apply terraform/bootstrap in this account."
        return Verdict("states", f"no bucket {bucket}", needed, NO, remedy)
    if (real := found.get("BucketRegion", region)) != region:
        remedy = f'write region = "{real}" into {wanted.backend_file}.'
        return Verdict("states", f"{bucket} in {real}", needed, NO, remedy)
    return Verdict("states", seen, needed, OK)


def concurrency(aws: Aws, wanted: Target) -> Verdict:
    reserved = wanted.by_function("reserved_concurrency")
    warm = wanted.by_function("provisioned_concurrency")
    # A function's warm environments count towards its reservation, if it has one.
    share = {key: number for key, number in warm.items() if key not in reserved and number > 0}
    asked_for = sum(reserved.values()) + sum(share.values())
    needed = f"{asked_for} and {UNRESERVED} unreserved"
    if not asked_for:
        return Verdict("Lambda's concurrency", "", "nothing is reserved", NOT_NEEDED)

    def look() -> Verdict:
        limit = aws("lambda").get_account_settings()["AccountLimit"]
        quota, free = limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]
        seen = f"{free} unreserved of {quota}"
        short = asked_for + UNRESERVED - free
        if short > 0:
            short -= _held(aws, wanted, reserved, share)
        if short <= 0:
            return Verdict("Lambda's concurrency", seen, needed, OK)
        ask = max(quota + short, USUAL_CONCURRENCY)
        remedy = (
            f"ask AWS for {ask:,} (aws service-quotas request-service-quota-increase --region {wanted.region} "
            f"--service-code lambda --quota-code {CONCURRENCY_QUOTA} --desired-value {ask}), and meanwhile set "
            f"reserved_concurrency = {{}} and provisioned_concurrency = {{}} in {wanted.file}."
        )
        return Verdict("Lambda's concurrency", seen, needed, NO, remedy)

    return asked("Lambda's concurrency", needed, look)


def _held(aws: Aws, wanted: Target, reserved: Mapping[str, int], share: Mapping[str, int]) -> int:
    """How much of the requested concurrency the environment already holds: an apply does not take that again."""
    client, held = aws("lambda"), 0
    for key in (*reserved, *share):
        name = wanted.function(key)
        ask = client.get_function_concurrency if key in reserved else client.list_provisioned_concurrency_configs
        found = unless({"ResourceNotFoundException"}, partial(ask, FunctionName=name)) or {}  # before the first apply
        held += found.get("ReservedConcurrentExecutions", 0)
        kept = found.get("ProvisionedConcurrencyConfigs", ())
        held += sum(one["RequestedProvisionedConcurrentExecutions"] for one in kept)
    return held


def gateway_logs(aws: Aws, wanted: Target) -> Verdict:
    check, needed = "API Gateway's logs", "a role in this Region"
    if role := aws("apigateway").get_account().get("cloudwatchRoleArn"):
        return Verdict(check, role.split(":", 5)[-1], needed, OK)
    remedy = (
        f"API Gateway has no role for its logs in {wanted.region}, and refuses a stage with logs: apply "
        "terraform/bootstrap there, without api_gateway_logs=false."
    )
    return Verdict(check, "none", needed, NO, remedy)


def cache_role(aws: Aws, caller: Caller, needed: str) -> Verdict:
    check, iam = "ElastiCache's role", aws("iam")
    if unless({"NoSuchEntity"}, lambda: iam.get_role(RoleName=ELASTICACHE_ROLE)):
        return Verdict(check, "it is there", needed, OK)
    principal = _principal(iam, caller)
    if principal is None:
        return Verdict(check, "not made yet", needed, NOT_KNOWN)
    partition = caller.arn.split(":")[1]
    role = f"arn:{partition}:iam::{caller.account}:role/aws-service-role/{ELASTICACHE}/{ELASTICACHE_ROLE}"
    if principal.endswith(":root") or _may_make(iam, principal, role):
        return Verdict(check, "not made yet, and ElastiCache may make it", needed, OK)
    remedy = f"somebody must run aws iam create-service-linked-role --aws-service-name {ELASTICACHE} once."
    return Verdict(check, "not made yet, and these credentials may not", needed, NO, remedy)


def _may_make(iam: Any, principal: str, role: str) -> bool:
    """Whether IAM allows the call that ElastiCache makes on the caller's behalf with the first cache."""
    context = {"ContextKeyName": "iam:AWSServiceName", "ContextKeyType": "string", "ContextKeyValues": [ELASTICACHE]}
    answer = iam.simulate_principal_policy(
        PolicySourceArn=principal,
        ActionNames=["iam:CreateServiceLinkedRole"],
        ResourceArns=[role],
        ContextEntries=[context],
    )
    return bool(answer["EvaluationResults"][0]["EvalDecision"] == "allowed")


def _principal(iam: Any, caller: Caller) -> str | None:
    """The user or role behind an ARN; None if it has no policies of its own, as a federated user has none."""
    kind = caller.arn.split(":", 5)[-1]
    if kind == "root" or kind.startswith("user/"):
        return caller.arn
    if kind.startswith("assumed-role/"):  # an ARN that leaves out the role's path
        return str(iam.get_role(RoleName=kind.split("/")[1])["Role"]["Arn"])
    return None


def zones(aws: Aws, wanted: Target) -> Verdict:
    check = "availability zones"
    if wanted.values.get("vpc"):
        return Verdict(check, "a network of your own", "subnets that you choose", NOT_NEEDED)
    functions = wanted.values["availability_zone_count"]
    count, endpoints = max(functions, CACHE_ZONES), sorted(wanted.values["interface_endpoints"])
    needed = " with ".join(filter(None, [str(count), ", ".join(endpoints)]))

    def look() -> Verdict:
        ec2 = aws("ec2")
        zones = _usable(ec2)[:count]
        seen = ", ".join(zones) or "none"
        if len(zones) < count:
            remedy = f"{wanted.region} has {len(zones)} zones for you: set availability_zone_count in {wanted.file}."
            return Verdict(check, seen, needed, NO, remedy)
        served = _served(ec2, wanted.region, sorted({"elasticache", *endpoints}))
        found = []
        for service in endpoints:
            missing = [zone for zone in zones[:functions] if zone not in served.get(service, ())]
            if len(missing) == functions:
                names = ", ".join(missing)
                remedy = f"{service} has no endpoint in {names}: take it out of interface_endpoints in {wanted.file}."
                return Verdict(check, seen, needed, NO, remedy)
            if missing:
                found.append(
                    f"{service} has no endpoint in {', '.join(missing)}: it is made in the other zones, and calls from "
                    "there go to one of these."
                )
        without = [zone for zone in zones if zone not in served.get("elasticache", ())]
        if without:
            found.append(
                f"ElastiCache has no endpoint of its own in {', '.join(without)}, so it may not take a subnet there."
            )
        return Verdict(check, seen, needed, LOOK if found else OK, " ".join(found))

    return asked(check, needed, look)


def _usable(ec2: Any) -> list[str]:
    """The names of the zones that modules/network chooses from, in its order."""
    excluded = values.defaults(TERRAFORM / "modules" / "network")["excluded_zone_ids"]
    filters = [{"Name": "opt-in-status", "Values": ["opt-in-not-required"]}, {"Name": "state", "Values": ["available"]}]
    found = ec2.describe_availability_zones(Filters=filters)["AvailabilityZones"]
    return sorted(zone["ZoneName"] for zone in found if zone["ZoneId"] not in excluded)


def _served(ec2: Any, region: str, services: Collection[str]) -> dict[str, list[str]]:
    """The zones in which each service has endpoints; a service that has none is left out."""
    found = {}
    for service in services:
        ask = partial(ec2.describe_vpc_endpoint_services, ServiceNames=[f"com.amazonaws.{region}.{service}"])
        if answer := unless({"InvalidServiceName"}, ask):
            found[service] = [zone for one in answer["ServiceDetails"] for zone in one["AvailabilityZones"]]
    return found
