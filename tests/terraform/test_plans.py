"""What `terraform plan` would make in every environment, held to the rules of plan_rules.py.

The provider is the real one; it asks an emulator of AWS who and where it is, and nothing else.
"""

from __future__ import annotations

import ipaddress
import json
import re
import statistics
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from scripts.dev import planned_dashboard
from scripts.emulator import causes
from scripts.places import DASHBOARD, ROOT, functions
from shared import reconcile, security
from tests.support import contract
from tests.support.terraforms import TerraformError
from tests.terraform import packets, plan_rules
from tests.terraform.plan_rules import RULES, Rule
from tests.terraform.plans import APPLIED, EMULATED, ENVIRONMENTS, WHOLE, Plan, Resource, Tree

FORMER_STATES = sorted((ROOT / "tests" / "terraform" / "states").glob("*.txt"))
"""What states of former trees hold, by their day: all that any environment had and no later tree gave up on purpose."""

FORMER_DATA = ROOT / "tests" / "terraform" / "states" / "2026-11-28-data.json"
"""A state of the tree before it was a module (e06c272), as Terraform wrote it when prod's network, cache and keys were
applied to tests/support/aws_api: that part of a system which cannot be made anew without its data."""

KINDS = ("function", "cache")

NO_EXCEPTIONS = {"ASYMMETRIC", "WAYS_OUT", "UNREAD_NETWORK_RULES", "METRICS", "DIMENSIONS", "OWN", "WIDGETS", "SHOWN"}
"""Tables of plan_rules that let nothing pass: what must not be made, what AWS and we measure, and how it is shown."""

ON_AWS = [name for name in ENVIRONMENTS if name != EMULATED]

MakePlan = Callable[[str], Plan]


@pytest.fixture(scope="module")
def planned(tree: Tree) -> MakePlan:
    """The plan of an environment; all are begun with the first one, and the network is applied."""
    for name in ENVIRONMENTS:
        tree.start(name, name)
    tree.start_networks()
    for state in FORMER_STATES:
        tree.start_moving(state.stem, "prod", state)
    tree.start_upgrading(FORMER_DATA.stem, "prod", FORMER_DATA)
    return tree.plan


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_it_keeps_the_rule(planned: MakePlan, environment: str, rule: Rule) -> None:
    assert rule(planned(environment)) == []


def test_nothing_is_emulated_that_no_emulator_has(planned: MakePlan) -> None:
    assert plan_rules.nothing_that_no_emulator_has(planned(EMULATED)) == []


def test_staging_has_what_production_has(planned: MakePlan) -> None:
    assert plan_rules.differences_are_values(planned("staging"), planned("prod")) == []


def test_credentials_of_another_account_plan_nothing(tree: Tree) -> None:
    def ask_who_it_is(copied: Path) -> None:
        override = copied / "offline_override.tf.json"
        offline = json.loads(override.read_text())
        del offline["provider"]["aws"]["skip_requesting_account_id"]
        override.write_text(json.dumps(offline))

    tree.start("other-account", "dev", ask_who_it_is, {"account_id": "210987654321"})
    with pytest.raises(TerraformError, match="AWS account ID not allowed: 123456789012"):
        tree.plan("other-account")


def test_no_configuration_asks_which_environment_it_is() -> None:
    for path in (ROOT / "terraform").rglob("*.tf"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"var\.environment\s*[!=]=|[!=]=\s*var\.environment", text), path.name


def test_a_rule_of_an_acl_is_where_its_key_says(planned: MakePlan) -> None:
    network = planned(APPLIED)
    assert plan_rules.acl_rules_are_where_their_keys_say(network) == []
    assert len(network.of("aws_network_acl_rule")) >= 12


def test_an_endpoint_is_only_in_zones_that_have_its_service(planned: MakePlan) -> None:
    """AWS refuses it in another, and so does the emulated one: in the account of this network one zone has none."""
    network = planned(APPLIED)
    (endpoint,) = network.of("aws_vpc_endpoint")
    zones = [subnet.value("availability_zone") for subnet in network.linked(endpoint, "subnet_ids")]
    assert sorted(zones) == ["eu-central-1a", "eu-central-1c"]
    assert len([one for one in network.of("aws_subnet") if one.block == "aws_subnet.function"]) == 3


@pytest.mark.parametrize("state", FORMER_STATES, ids=lambda state: state.stem)
def test_an_upgrade_keeps_all_that_there_is(planned: MakePlan, state: Path) -> None:
    """Every instance of a former state goes to where some environment has one: else it would be destroyed."""
    taken_to = planned(state.stem).taken_to
    there = {f"module.{WHOLE}.{one.address}" for name in ENVIRONMENTS for one in planned(name).resources}
    assert {old: new for old, new in taken_to.items() if new not in there} == {}
    assert len(taken_to) == len(state.read_text().splitlines()) > 0


def test_an_upgrade_makes_nothing_anew_that_holds_data(planned: MakePlan) -> None:
    """The provider compares each attribute, as it was applied, with this tree's. A network or a key that is replaced
    takes the cache with it. All else is in the test above, by address alone."""
    plan = planned(FORMER_DATA.stem)
    former = json.loads(FORMER_DATA.read_text(encoding="utf-8"))["resources"]
    assert plan.lost == ()
    assert len(plan.taken_to) == sum(len(one["instances"]) for one in former if one["mode"] == "managed") > 50
    types = {one["type"] for one in former}
    assert types >= {"aws_elasticache_serverless_cache", "aws_elasticache_user", "aws_kms_key", "aws_subnet"}


class TestTheWalker:
    """A rule that finds nothing to look at is always kept."""

    @pytest.mark.parametrize("environment", ON_AWS)
    def test_it_meets_every_pair_of_subnets(self, planned: MakePlan, environment: str) -> None:
        plan = planned(environment)
        subnets = {kind: [one for one in plan.of("aws_subnet") if f".{kind}[" in one.address] for kind in KINDS}
        functions = {host.subnet.name for host in plan_rules.function_hosts(plan)}
        caches = {host.subnet.name for host in plan_rules.cache_hosts(plan)}
        assert functions == {one.address for one in subnets["function"]}
        assert caches == {one.address for one in subnets["cache"]}
        assert min(len(functions), len(caches)) >= 2
        assert all(host.subnet.acl for host in (*plan_rules.function_hosts(plan), *plan_rules.cache_hosts(plan)))

    @pytest.mark.parametrize("environment", ENVIRONMENTS)
    def test_it_meets_every_function(self, planned: MakePlan, environment: str) -> None:
        found = planned(environment).of("aws_lambda_function")
        is_open = {one.value("environment", "variables")["ACCESS"] for one in found} == {"open"}
        left_out = {plan_rules.AUTHORIZER} if is_open else set()
        assert {one.key for one in found} == {*functions()} - left_out

    @pytest.mark.parametrize("environment", ENVIRONMENTS)
    def test_it_reads_every_policy_but_the_listed(self, planned: MakePlan, environment: str) -> None:
        plan = planned(environment)
        read = {resource.address for resource, _ in plan_rules.policy_statements(plan)}
        unread = plan_rules.unknown_policies(plan)
        assert unread == set(plan_rules.UNKNOWN_POLICIES)
        for resource in plan.of(*plan_rules.POLICIES):
            assert resource.address in read or resource.block in unread

    def test_no_exception_outlives_its_use(self, planned: MakePlan) -> None:
        plans = {name: planned(name) for name in ENVIRONMENTS}
        resources = [resource for plan in plans.values() for resource in plan.resources]
        types = {resource.type for resource in resources}
        blocks = {name: {resource.block for resource in plan.resources} for name, plan in plans.items()}
        used = {
            "OPEN": set().union(*blocks.values()),
            "STARS": {
                plan_rules.allowed_by(sid, *star) for plan in plans.values() for _, sid, star in plan_rules.stars(plan)
            },
            "POLICIES": types | {"aws_iam_policy"},  # read if there ever is one
            "UNKNOWN_POLICIES": set().union(*map(plan_rules.unknown_policies, plans.values())),
            "ENCRYPTED": types,
            "BY_THE_SERVICE": {
                one.type for one in resources if one.value(plan_rules.BY_THE_SERVICE.get(one.type, "")) is True
            },
            "NOT_SECRET": {name for one in resources for name in one.value("environment", "variables") or {}},
            "NO_KEYS": {name for resource in resources for name in (*resource.values, *resource.unknown)},
            "ONLY_SOMEWHERE": blocks["staging"] ^ blocks["prod"],
        }
        tables = {name: table for name, table in vars(plan_rules).items() if isinstance(table, dict | set)}
        assert {name for name in tables if name.isupper()} == set(used) | NO_EXCEPTIONS, "a table that no test watches"
        for name, uses in used.items():
            assert set(tables[name]) <= uses, name
        for prefix in plan_rules.NOT_EMULATED:
            assert any(one.startswith(prefix) for one in types), prefix


def test_every_alarm_can_be_drilled_or_has_its_reason(planned: MakePlan) -> None:
    kinds = ("aws_cloudwatch_metric_alarm", "aws_cloudwatch_composite_alarm")
    alarms = {str(one.key) for kind in kinds for one in planned("prod").of(kind)}
    assert {alarm for alarm in alarms if not causes.find(alarm)} == set()
    used = {found[0].alarms for alarm in alarms if (found := causes.find(alarm))}
    assert used == {cause.alarms for cause in causes.CAUSES}, "a row of the table is for no alarm"
    drilled = {alarm for alarm in alarms if (found := causes.find(alarm)) and found[0].make}
    assert {"slo-page", "update-score-failures", "reconcile-not-running", "security-refusals"} <= drilled
    assert not any(alarm.startswith("cache-") for alarm in drilled)


class TestTheReadme:
    """The counts in the costs of terraform/README.md are those of the plans."""

    def test_it_counts_what_production_has(self, planned: MakePlan) -> None:
        counts = counted(planned("prod"))
        units = "|".join(sorted(counts, key=len, reverse=True))
        said = re.findall(rf"(\d[\d,.]*) ({units})\b", COST)
        assert {unit for _, unit in said} == set(counts)
        for number, unit in said:
            assert float(number.replace(",", "")) == counts[unit], f"{number} {unit}"

    def test_dev_is_production_less_three_rows_and_what_codedeploy_reads(self, planned: MakePlan) -> None:
        idle = dict(
            re.findall(r"^\| \**([^|*]+)\** \| [^|]*\| \**([\d.]+)\** \|", COST.split("**A busy")[0], re.MULTILINE)
        )
        left = ("WAF", "interface endpoint", "warm functions")
        (said,) = re.findall(
            r"`dev` has no WAF, no endpoint, no warm functions and no alarms for CodeDeploy: idle it is \$([\d.]+)\.",
            COST,
        )
        counts, dev = counted(planned("prod")), counted(planned("dev"))
        (price,) = re.findall(r"^\| alarms \| `\d+ alarm metrics × ([\d.]+) ", COST, re.MULTILINE)
        alarms = float(price) * (counts["alarm metrics"] - dev["alarm metrics"])
        assert float(said) == round(float(idle["total"]) - sum(float(idle[row]) for row in left) - alarms, 2)
        assert {unit: dev[unit] for unit in ("ACL", "rules", "service", "warm")} == dict.fromkeys(
            ("ACL", "rules", "service", "warm"), 0
        )
        for unit in ("keys", "reconcile metrics", "dashboard", "GB each", "runs"):
            assert dev[unit] == counts[unit], unit

    def test_it_knows_where_each_endpoint_is_on(self, planned: MakePlan) -> None:
        on: dict[tuple[str, str], list[str]] = {}
        for environment in sorted(ENVIRONMENTS):
            for one in planned(environment).of("aws_vpc_endpoint"):
                service, kind = str(one.value("service_name")).split(".", 3)[3], one.value("vpc_endpoint_type").lower()
                on.setdefault((service, kind), []).append(f"`{environment}`")
        section = README.split("## Endpoints")[1].split("\n## ")[0]
        rows = re.findall(
            r"^\| `([\w.-]+)` \| (interface|gateway) \| [^|]+ \| ([\d.]+) \| ([^|]*)\|$", section, re.MULTILINE
        )
        assert {(service, kind) for service, kind, _, _ in rows} >= {*on, ("logs", "interface"), ("s3", "gateway")}
        (price,) = set(re.findall(r"1 service × 3 zones × 730 h × ([\d.]+)`", COST))
        for service, kind, dollars, where in rows:
            assert where.strip() == ", ".join(on.get((service, kind), [])), service
            assert float(dollars) == (round(3 * 730 * float(price), 2) if kind == "interface" else 0), service

    def test_it_counts_the_zones(self, planned: MakePlan) -> None:
        said = dict(re.findall(r"^\| `(\w+)` \| (\w+) zones", README, re.MULTILINE))
        assert set(said) == {"dev", "staging"}
        said["prod"], *_ = re.findall(r"a private network in (\w+) availability zones", README)
        for environment, number in said.items():
            assert NUMBERS[number] == counted(planned(environment))["zones"], environment

    def test_it_names_the_alarms_that_there_are(self, planned: MakePlan) -> None:
        names = {one.key for one in planned("prod").of("aws_cloudwatch_metric_alarm")}
        section = README.split("## What remains to be seen live")[1].split("\n## ")[0]
        said = re.findall(r"alarms? ((?:`[\w*-]+`(?: and )?)+)", section)
        assert len(said) >= 3
        for name in re.findall(r"`([\w*-]+)`", " ".join(said)):
            pattern = f"*{name}" if name.startswith("-") else name
            assert any(fnmatchcase(str(one), pattern) for one in names), name


class TestMonitoring:
    """Whoever emits, draws, watches and explains a metric says the same."""

    def test_each_metric_of_our_own_is_on_its_row_and_no_other_is(self, planned: MakePlan) -> None:
        for environment in ENVIRONMENTS:
            plan = planned(environment)
            charted = rows(plan)
            for name, metric in plan_rules.OWN["metrics"].items():
                assert name in charted[metric["chart"]], f"{name} is not on the row {metric['chart']} of {environment}"
            drawn = set().union(*charted.values()) - set(plan_rules.OWN["metrics"])
            assert {name for name in drawn if not name.endswith("-failures")} <= {"unauthenticated"}

    def test_each_alarm_is_in_the_table_of_the_metric_that_it_reads(self, planned: MakePlan) -> None:
        plan = planned("prod")
        (namespace,) = {
            one.value("environment", "variables")["METRICS_NAMESPACE"] for one in plan.of("aws_lambda_function")
        }
        read: dict[str, set[str]] = {}
        for alarm in plan.of("aws_cloudwatch_metric_alarm"):
            queries = [one["metric"][0] for one in alarm.values.get("metric_query") or [] if one["metric"]]
            for metric in queries or [alarm.values]:
                if metric["namespace"] == namespace and not metric["metric_name"].endswith("-failures"):
                    read.setdefault(metric["metric_name"], set()).add(
                        alarm.value("alarm_name").removeprefix(f"{namespace}-")
                    )
        for name, metric in plan_rules.OWN["metrics"].items():
            watching = read.pop(name, set())
            for pattern in metric["alarms"]:
                found = {alarm for alarm in watching if fnmatchcase(alarm, pattern)}
                assert found, f"no alarm {pattern} reads {name}"
                watching -= found
            assert not watching, f"{name} does not name {watching}"
        assert read == {}

    def test_the_kinds_of_security_events_are_those_that_are_reported(self) -> None:
        assert plan_rules.OWN["kinds"] == list(security.KINDS)

    def test_each_alarm_has_its_section_and_each_section_its_alarm(self, planned: MakePlan) -> None:
        plan = planned("prod")
        alarms = [*plan.of("aws_cloudwatch_metric_alarm"), *plan.of("aws_cloudwatch_composite_alarm")]
        linked = {alarm.value("alarm_description").rpartition("Runbook: docs/operations.md#")[2] for alarm in alarms}
        chapter = OPERATIONS.split("\n## Alarms\n")[1].split("\n## ")[0]
        assert linked == set(re.findall(r"^### (\S+)$", chapter, re.MULTILINE))
        for section in chapter.split("\n### ")[1:]:
            assert len(section.split()) > 15, section.split("\n")[0]

    def test_each_row_of_the_dashboard_is_explained(self, planned: MakePlan) -> None:
        chapter = OPERATIONS.split("\n## The dashboard\n")[1].split("\n## ")[0]
        anchors = set(re.findall(r"^### row-(\w+)$", chapter, re.MULTILINE))
        assert (
            anchors
            == set(rows(planned("prod")))
            == {metric["chart"] for metric in plan_rules.OWN["metrics"].values()} | {"delivery"}
        )

    def test_the_local_page_draws_what_dev_plans(self, planned: MakePlan) -> None:
        plan = planned("dev")
        text = planned_dashboard.rendered((one.type, one.values) for one in plan.resources)
        assert DASHBOARD.read_text(encoding="utf-8") == text, f"run {planned_dashboard.COMMAND}"


def rows(plan: Plan) -> dict[str, set[str]]:
    """Our own metrics on each row of the dashboard, by the row's anchor in the runbook."""
    (dashboard,) = plan.of("aws_cloudwatch_dashboard")
    found: dict[str, set[str]] = {}
    for widget in json.loads(dashboard.value("dashboard_body"))["widgets"]:
        if widget["type"] == "text":
            row = found.setdefault(widget["properties"]["markdown"].rpartition("#row-")[2].rstrip(")"), set())
        for metric in widget["properties"].get("metrics", ()):
            if len(metric) > 1 and not metric[0].startswith("AWS/"):
                row.add(metric[1])
    return found


OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
README = (ROOT / "terraform" / "README.md").read_text(encoding="utf-8")
COST = README.split("## Cost")[1].split("\n## ")[0]
NUMBERS = {"two": 2, "three": 3}


def counted(plan: Plan) -> dict[str, float]:
    """How many there are of what the cost tables count, by the word for it there."""
    alarms = plan.of("aws_cloudwatch_metric_alarm")
    endpoints = [one for one in plan.of("aws_vpc_endpoint") if one.value("vpc_endpoint_type") == "Interface"]
    (rule,), (api,) = plan.of("aws_cloudwatch_event_rule"), plan.of("aws_api_gateway_rest_api")
    memory = statistics.mode(one.value("memory_size") for one in plan.of("aws_lambda_function"))
    (interval,) = re.findall(r"rate\((\d+) minutes?\)", rule.value("schedule_expression"))
    return {
        "ACL": len(plan.of("aws_wafv2_web_acl")),
        "rules": sum(len(one.values["rule"]) for one in plan.of("aws_wafv2_web_acl")),
        "keys": len(plan.of("aws_kms_key")),
        "alarm metrics": sum(max(1, sum(map(bool, _metrics(alarm)))) for alarm in alarms),
        "composites": len(plan.of("aws_cloudwatch_composite_alarm")),
        "log metrics": len(plan.of("aws_cloudwatch_log_metric_filter")),
        "own metrics": len(own_metrics(plan)),
        "reconcile metrics": sum(one["emitter"] == "reconcile" for one in plan_rules.OWN["metrics"].values()),
        "dashboard": len(plan.of("aws_cloudwatch_dashboard")),
        "warm": sum(
            one.value("provisioned_concurrent_executions")
            for one in plan.of("aws_lambda_provisioned_concurrency_config")
        ),
        "GB each": memory / 1024,
        "service": len(endpoints),
        "zones": sum(".function[" in one.address for one in plan.of("aws_subnet")),
        "methods": len(plan_rules.written_operations(api)),
        "runs": 730 * 60 / int(interval),
        "traces": 730 * 60 / int(interval),
        "times": 730 * 60 / int(interval),
        "players": reconcile.SWEEP_PLAYERS,
    }


def _metrics(alarm: Resource) -> list[Any]:
    return [query["metric"] for query in alarm.values.get("metric_query") or []]


def own_metrics(plan: Plan) -> set[tuple[str, ...]]:
    """Each of our metrics with each value of its dimension: what CloudWatch bills."""
    (dashboard,) = plan.of("aws_cloudwatch_dashboard")
    depths = {one.value("environment", "variables")["METRICS_DEPTH"] for one in plan.of("aws_lambda_function")}
    values = {
        "Route": [one.id for one in contract.operations().values()] if depths == {"routes"} else [],
        "Code": contract.codes() - {"forbidden", "too_many_requests", "unauthenticated"} | {"internal_error"},
        "Reason": {one[1] for one in drawn(dashboard, "SubmissionsRefused")},
        "Currency": {one[1] for one in drawn(dashboard, "Revenue")},
        "Kind": plan_rules.OWN["kinds"],
    }
    found = set()
    for name, metric in plan_rules.OWN["metrics"].items():
        found |= {(name,)} if metric.get("total", True) else set()
        found |= {(name, value) for by in metric["by"] for value in values[by]}
    return found


def drawn(dashboard: Resource, metric: str) -> set[tuple[str, str]]:
    """The dimensions by which a metric of our own is on the dashboard."""
    widgets = json.loads(dashboard.value("dashboard_body"))["widgets"]
    lines = [one for widget in widgets for one in widget["properties"].get("metrics", ()) if metric in one]
    return {(one[2], one[3]) for one in lines if len(one) > 3}


class TestPackets:
    """The simulation itself, in a network of two subnets."""

    def test_an_answer_needs_a_rule_of_the_acl_and_none_of_the_group(self) -> None:
        there, back = packets.Entry(True, 6379, 6379, "10.0.1.0/24"), packets.Entry(False, 1024, 65535, "10.0.1.0/24")
        assert refusal((there, back)) is None
        assert "drops the answer" in str(refusal((there,)))

    def test_the_first_rule_decides(self) -> None:
        there, back = packets.Entry(True, 6379, 6379, "10.0.1.0/24"), packets.Entry(False, 1024, 65535, "10.0.1.0/24")
        closed = packets.Entry(True, 0, 65535, "10.0.0.0/8", allow=False)
        assert "does not let it out" in str(refusal((closed, there, back)))
        assert refusal((there, closed, back)) is None

    def test_the_answer_goes_to_the_port_that_the_client_picked(self) -> None:
        there, back = packets.Entry(True, 6379, 6379, "10.0.1.0/24"), packets.Entry(False, 32768, 60999, "10.0.1.0/24")
        assert refusal((there, back), client_port=40000) is None
        assert "drops the answer" in str(refusal((there, back), client_port=1024))

    def test_within_a_subnet_the_groups_alone_decide(self) -> None:
        subnet = packets.Subnet("a", ipaddress.IPv4Network("10.0.0.0/24"), ())
        one, other = (packets.Host(subnet, subnet.block[number], MEMBERS) for number in (4, 5))
        stranger = packets.Host(subnet, subnet.block[6], ())
        assert packets.refusal(one, other, 6379, 40000) is None
        assert "lets it out" in str(packets.refusal(stranger, other, 6379, 40000))
        assert "lets it in" in str(packets.refusal(packets.Host(subnet, subnet.block[6], OUT_ONLY), other, 6379, 40000))


MEMBERS = (("members", (packets.Entry(True, 6379, 6379, "members"), packets.Entry(False, 6379, 6379, "members"))),)
OUT_ONLY = (("others", (packets.Entry(True, 6379, 6379, "members"),)),)


def refusal(acl: tuple[packets.Entry, ...], client_port: int = 40000) -> str | None:
    """What stops a connection to port 6379 of a subnet that lets everything in and out."""
    anything = (packets.Entry(True, 0, 65535, "0.0.0.0/0"), packets.Entry(False, 0, 65535, "0.0.0.0/0"))
    here = packets.Subnet("here", ipaddress.IPv4Network("10.0.0.0/24"), acl)
    there = packets.Subnet("there", ipaddress.IPv4Network("10.0.1.0/24"), anything)
    source, target = (packets.Host(subnet, subnet.block[4], MEMBERS) for subnet in (here, there))
    return packets.refusal(source, target, 6379, client_port)
