"""terraform/ on an emulated AWS, from the first request to the last resource: the tests tell a story, in order.

What takes a minute to show - an alarm, a schedule - is set off early and looked for later.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import valkey
from botocore.exceptions import ClientError

from scripts.admin import sites, trail
from scripts.aws import smoke, values, verdicts
from scripts.aws.live_checks import CHECKS, Deployment
from scripts.emulator import dashboard, emulate
from scripts.local import examples
from scripts.places import ROOT
from shared import telemetry, tokens
from tests.emulated.emulation import WAIT_SECONDS, Emulated, end, timed
from tests.support import contract, invariants, lines, permissions, processes
from tests.support.api import Api, fresh_id
from tests.support.patience import wait_until

ALARMED = "stats"
DRILLED = "nearby"
CHANGED = "health"
AT_ONCE = 4
MEASURED = 15
ACCOUNT = "000000000000"

KINDS = {
    "apigateway": ("get_rest_apis", "items", "name"),
    "cloudwatch": ("describe_alarms", "MetricAlarms", "AlarmName"),
    "events": ("list_rules", "Rules", "Name"),
    "iam": ("list_roles", "Roles", "RoleName"),
    "lambda": ("list_functions", "Functions", "FunctionName"),
    "logs": ("describe_log_groups", "logGroups", "logGroupName"),
    "sns": ("list_topics", "Topics", "TopicArn"),
    "sqs": ("list_queues", "QueueUrls", None),
}
"""How each service lists what it has."""


def keys() -> set[str]:
    """The functions that there should be: one for each folder."""
    return {path.parent.name for path in (ROOT / "functions").glob("*/handler.py")}


def invoke(emulated: Emulated, key: str, event: Any) -> dict[str, Any]:
    """Lambda's own answer to a call through the alias."""
    answer = emulated.aws("lambda").invoke(
        FunctionName=emulated.function(key), Qualifier="live", Payload=json.dumps(event)
    )
    return {**answer, "payload": json.loads(answer["Payload"].read())}


def live(emulated: Emulated, key: str) -> dict[str, Any]:
    """The configuration of the version that the alias points to."""
    aws, name = emulated.aws("lambda"), emulated.function(key)
    version = aws.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
    return dict(aws.get_function_configuration(FunctionName=name, Qualifier=version))


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The body of an error, which must be in our shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body.keys() >= contract.PROBLEM_MEMBERS
    assert (body["status"], body["code"]) == (status, code)
    return body


def charts(emulated: Emulated) -> list[dict[str, Any]]:
    """What the dashboard asks of each metric, as queries of GetMetricData."""
    body = emulated.aws("cloudwatch").get_dashboard(DashboardName=emulated.outputs["dashboard_name"])["DashboardBody"]
    queries = []
    for widget in json.loads(body)["widgets"]:
        for chart in widget["properties"].get("metrics", []):
            *named, drawn = chart if isinstance(chart[-1], dict) else [*chart, {}]
            if named:  # and not an expression
                namespace, metric, *pairs = named
                dimensions = [{"Name": name, "Value": value} for name, value in zip(*[iter(pairs)] * 2, strict=True)]
                asked = {
                    "Metric": {"Namespace": namespace, "MetricName": metric, "Dimensions": dimensions},
                    "Period": drawn.get("period", widget["properties"]["period"]),
                    "Stat": drawn.get("stat", widget["properties"].get("stat", "Average")),
                }
                queries.append({"Id": f"q{len(queries)}", "MetricStat": asked})
    return queries


def measured(emulated: Emulated, queries: list[dict[str, Any]]) -> dict[str, list[float]]:
    """What GetMetricData answers to them for the time of these tests, by Id."""
    now = datetime.now(UTC)
    found = emulated.aws("cloudwatch").get_metric_data(
        MetricDataQueries=queries, StartTime=now - timedelta(hours=2), EndTime=now + timedelta(minutes=1)
    )
    return {result["Id"]: result["Values"] for result in found["MetricDataResults"]}


@pytest.fixture(scope="module")
def post(emulated: Emulated) -> str:
    """The URL of a queue that receives every alarm."""
    sqs = emulated.aws("sqs")
    url: str = sqs.create_queue(QueueName="hears-alarms")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    for topic in emulated.outputs["alarm_topic_arns"].values():
        emulated.aws("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return url


@pytest.fixture(scope="module")
def crashed(emulated: Emulated, post: str) -> None:
    """A function crashes, because its caller is not an API."""
    answer = invoke(emulated, ALARMED, [])
    assert answer["FunctionError"] == "Unhandled"
    assert {"errorType", "errorMessage", "stackTrace"} <= answer["payload"].keys()


def drill(emulated: Emulated, *arguments: str) -> subprocess.Popen[str]:
    """`make drill`, just started."""
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.emulator.drill", "--json", *arguments],
        cwd=emulated.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(drilling: subprocess.Popen[str], phrase: str) -> None:
    """Returns once a drill has said something."""
    assert drilling.stderr
    said = []
    for line in drilling.stderr:
        said.append(line)
        if phrase in line:
            return
    raise AssertionError("".join(said))


@pytest.fixture(scope="module")
def drilled(emulated: Emulated) -> Iterator[subprocess.Popen[str]]:
    """A drill of an alarm that has gone off; its cause is gone, and its end takes minutes."""
    with drill(emulated, f"{DRILLED}-failures") as drilling:
        with timed("drilled"):
            told(drilling, "The cause is gone.")
        yield drilling
        drilling.terminate()


@pytest.fixture(scope="module")
def planted(emulated: Emulated, at_api: Api) -> str:
    """A player whom a crash left without a place on the board, two minutes ago."""
    player: str = at_api.create(score=321)["userId"]
    emulated.valkey.zrem(invariants.BOARD, player)
    emulated.valkey.hdel(invariants.PLAYERS, player)
    emulated.valkey.zadd(invariants.PENDING, {f"{player}:{uuid.uuid4().hex}": (time.time() - 120) * 1000})
    return player


@pytest.mark.usefixtures("crashed", "planted", "drilled")
def test_a_plan_right_after_is_empty(emulated: Emulated) -> None:
    with timed("planned"):
        assert sorted(emulated.terraform.plan()) == []


@processes.needs_curl
def test_the_lines_that_it_prints_work(emulated: Emulated) -> None:
    page, written, near, exported, shown = [
        processes.pasted(line) for line in processes.lines_to_paste(emulated.printed)
    ]
    assert 0 < len(page["leaderboard"]) <= 5
    assert written["success"] is True
    (current,) = [entry for entry in near["players"] if entry["isCurrentUser"]]
    assert current["userId"] == written["user"]["userId"] == exported["export"]["user"]["userId"]
    assert shown["visibility"]["hidden"] is False


def test_it_says_what_it_does_and_how_long_that_takes(emulated: Emulated) -> None:
    printed = emulated.printed
    for phrase in ("Zips built", "Terraform ready", r"terraform apply: 150 of \d+ resources", "Terraform applied"):
        assert re.search(rf"{phrase}.* \(\d+(\.\d)? s\)", printed), phrase


def test_no_address_but_loopback_answers(emulated: Emulated) -> None:
    port = emulated.localstack.port
    for other in ("127.0.0.2", *addresses()):
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://{other}:{port}/_localstack/health", timeout=2, trust_env=False)
    assert httpx.get(f"http://127.0.0.1:{port}/_localstack/health", timeout=5, trust_env=False).status_code == 200


def addresses() -> list[str]:
    """This machine's addresses, without those of the loopback interface."""
    found = subprocess.run(["hostname", "-I"], check=False, capture_output=True, text=True).stdout.split()
    return [f"[{address}]" if ":" in address else address for address in found]


class TestWhatIsApplied:
    def test_every_function_has_a_version_that_the_alias_means_and_the_layer(self, emulated: Emulated) -> None:
        aws = emulated.aws("lambda")
        assert emulated.outputs["function_names"].keys() == keys()
        layers = set()
        for key in keys():
            name = emulated.function(key)
            assert aws.get_alias(FunctionName=name, Name="live")["FunctionVersion"] == "1", key
            published = live(emulated, key)
            assert published["Handler"] == f"functions.{key}.handler.handler"
            assert (published["MemorySize"], published["Timeout"]) == (512, 60)
            assert published["LoggingConfig"]["LogFormat"] == "JSON"
            assert bool(published.get("VpcConfig", {}).get("SubnetIds")) == bool(contract.cache_role(key)), key
            layers.add(tuple(layer["Arn"] for layer in published["Layers"]))
        ((layer,),) = layers
        assert layer.endswith(":1")

    def test_every_function_has_the_environment_that_is_planned_and_no_more(self, emulated: Emulated) -> None:
        facts = emulated.facts
        planned = {
            "VALKEY_HOST": facts.valkey_host,
            "VALKEY_PORT": str(facts.valkey_port),
            "VALKEY_TLS": "0",
        }
        for key in keys():
            found = live(emulated, key)["Environment"]["Variables"]
            assert found.items() >= planned.items()
            measured = {
                "METRICS_NAMESPACE",
                "METRICS_DEPTH",
                "CURRENCIES",
                *(["SLOW_MILLISECONDS"] if key not in ("reconcile", "authorizer") else []),
            }
            own = {
                "authorizer": {"TOKEN_ISSUER", "TOKEN_PUBLIC_KEYS", "REVOKED_TOKENS"},
                "issue_token": {"TOKEN_ISSUER", "TOKEN_KEY"},
            }.get(key, set())
            access = {"ACCESS", "PLAYER_OPERATORS"}
            lives = {"RECEIPT_SECONDS", "SESSION_SECONDS", "DEADLINE_SECONDS"}
            assert set(found) - set(planned) == {*lives, *measured, *own, *access, "DEFAULT_OPERATOR"}, key
            assert found["ACCESS"] == "protected"

    def test_each_function_has_a_role_of_its_own(self, emulated: Emulated) -> None:
        roles = [live(emulated, key)["Role"] for key in keys()]
        assert len(set(roles)) == len(roles)

    def test_the_dashboard_is_the_one_that_terraform_wrote(self, emulated: Emulated) -> None:
        state = emulated.aws("s3").get_object(Bucket=emulated.terraform.bucket, Key=emulated.terraform.state)
        written = {
            made["attributes"]["dashboard_name"]: made["attributes"]["dashboard_body"]
            for resource in json.load(state["Body"])["resources"]
            for made in resource["instances"]
            if resource["type"] == "aws_cloudwatch_dashboard"
        }
        assert {name: json.loads(body) for name, body in written.items()} == {
            name: json.loads(emulated.aws("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"])
            for name in [emulated.outputs["dashboard_name"]]
        }

    def test_the_dashboard_names_only_what_exists(self, emulated: Emulated) -> None:
        names = {emulated.function(key) for key in keys()}
        (api,) = emulated.aws("apigateway").get_rest_apis()["items"]
        filters = emulated.aws("logs").describe_metric_filters()["metricFilters"]
        of_ours = {change["metricName"] for found in filters for change in found["metricTransformations"]}
        of_ours |= telemetry.METRICS.keys()
        charted: Counter[str] = Counter()
        for query in charts(emulated):
            metric = query["MetricStat"]["Metric"]
            dimensions = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
            charted[metric["Namespace"]] += 1
            match metric["Namespace"]:
                case "AWS/Lambda":
                    assert dimensions.get("FunctionName") in {*names, None}, "None: of the whole account"
                case "AWS/ApiGateway":
                    assert dimensions["ApiName"] == api["name"]
                case "AWS/SQS":
                    assert any(
                        url.endswith(f"/{dimensions['QueueName']}")
                        for url in emulated.aws("sqs").list_queues()["QueueUrls"]
                    )
                case namespace:
                    assert namespace == emulated.name
                    assert metric["MetricName"] in of_ours
        assert charted["AWS/Lambda"] >= len(names)
        assert charted["AWS/ApiGateway"] >= 3

    def test_alarms_watch_only_functions_that_exist(self, emulated: Emulated) -> None:
        pages = emulated.aws("cloudwatch").get_paginator("describe_alarms").paginate()
        watched = {
            dimension["Value"]
            for page in pages
            for alarm in page["MetricAlarms"]
            for dimension in alarm["Dimensions"]
            if dimension["Name"] == "FunctionName"
        }
        assert watched == {emulated.function(key) for key in keys()}


class TestRequests:
    def test_the_acceptance_tests_pass_for_a_server(self, emulated: Emulated) -> None:
        token = emulated.facts.server_token
        with timed("acceptance tests"):
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "tests/api/test_acceptance.py", "-q", "-p", "no:cacheprovider"],
                cwd=ROOT,
                env={
                    **os.environ,
                    "BASE_URL": emulated.facts.base_url,
                    "API_KEY": emulated.facts.api_key,
                    "TOKEN": str(token),
                },
                check=False,
                capture_output=True,
                text=True,
            )
        assert done.returncode == 0, done.stdout
        summary = done.stdout.splitlines()[-1]
        print(summary)
        assert re.search(r"^\d{2,} passed", summary)
        assert not re.search("skipped|failed|error", summary)

    @pytest.mark.parametrize("key", ["", "wrong", "x" * 1000], ids=["missing", "wrong", "long"])
    def test_without_the_right_key_nothing_is_answered(self, emulated: Emulated, key: str) -> None:
        client = emulated.api(key=key)
        problem(client.get("/leaderboard"), 403, "forbidden")
        problem(client.put("/users/nobody/score", json={"score": 1}), 403, "forbidden")
        assert client.get("/health").status_code == 200
        client.close()

    @pytest.mark.parametrize("body", ["[1]", '"text"', "7", "null", "{", "not json"])
    def test_a_body_that_is_no_object_is_refused_by_the_gateway(
        self, emulated: Emulated, at_api: Api, body: str
    ) -> None:
        refused = at_api.post("/users", content=body, headers={"content-type": "application/json"})
        request_id = problem(refused, 400, "malformed_body")["requestId"]
        later = at_api.post("/users", json={"surprise": True}).headers["x-request-id"]
        wait_until(lambda: any(later in line for line in emulated.log("create_user")), WAIT_SECONDS)
        assert not any(request_id in line for line in emulated.log("create_user")), "the function was called"

    def test_everything_else_is_judged_by_the_function_which_names_every_field(self, at_api: Api) -> None:
        body = problem(
            at_api.post("/users", json={"username": "", "email": 7, "score": "many", "surprise": True}),
            400,
            "invalid_arguments",
        )
        assert {error["name"] for error in body["errors"]} == {"username", "email", "score", "surprise"}

    def test_a_browser_may_ask_first(self, at_api: Api) -> None:
        for operation in contract.operations().values():
            path = re.sub(r"{\w+}", "some-id", operation.path)
            headers = {
                "origin": "https://game.example",
                "access-control-request-method": operation.method,
                "access-control-request-headers": "authorization,content-type,x-api-key,idempotency-key",
            }
            response = httpx.options(at_api.base_url + path, headers=headers, timeout=10, trust_env=False)
            assert response.status_code in (200, 204), path
            assert response.headers["access-control-allow-origin"] == "*"
            assert operation.method in response.headers["access-control-allow-methods"]
            allowed = response.headers["access-control-allow-headers"].lower()
            assert all(name in allowed for name in ("authorization", "content-type", "x-api-key", "idempotency-key"))

    def test_what_is_not_there_is_not_found(self, at_api: Api) -> None:
        problem(at_api.get("/nothing/here"), 404, "endpoint_not_found")

    def test_a_retry_with_its_key_is_counted_once(self, at_api: Api) -> None:
        player = at_api.create()["userId"]
        for _ in range(3):
            response = at_api.put(
                f"/users/{player}/score",
                json={"operator": "increment", "score": 7},
                headers={"Idempotency-Key": f"game-{player}"},
            )
            assert response.status_code == 200, response.text
        assert response.headers["idempotency-replayed"] == "true"
        assert at_api.get(f"/users/{player}").json()["user"]["score"] == 7

    def test_one_environment_answers_one_after_the_other_and_more_answer_at_once(
        self, emulated: Emulated, at_api: Api
    ) -> None:
        def streams() -> int:
            group = emulated.outputs["log_group_names"]["rank"]
            return len(emulated.aws("logs").describe_log_streams(logGroupName=group)["logStreams"])

        player = at_api.create()["userId"]
        path = f"/users/{player}/rank"
        at_api.get(path)
        began = streams()
        for _ in range(5):
            assert at_api.get(path).status_code == 200
        assert streams() == began, "each was a cold start"
        emulated.valkey.client_pause(1000)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            answers = list(threads.map(lambda _: at_api.get(path), range(AT_ONCE)))
        assert {answer.status_code for answer in answers} <= {200, 503}
        wait_until(lambda: streams() >= AT_ONCE, WAIT_SECONDS)


class TestWatching:
    def test_logs_arrive_as_json_in_the_right_groups(self, emulated: Emulated, at_api: Api) -> None:
        name = fresh_id("missing")
        response = at_api.get(f"/users/{name}")
        problem(response, 404, "user_not_found")
        request_id = response.headers["x-request-id"]
        wait_until(lambda: any(request_id in line for line in emulated.log("get_user")), WAIT_SECONDS)
        for line in emulated.log("get_user"):
            event = json.loads(line)
            assert {"timestamp", "level", "message"} <= event.keys() or event["type"].startswith("platform.")
        for key in keys() - {"get_user"}:
            assert not any(request_id in line for line in emulated.log(key)), key

    def test_the_schedule_runs_reconcile_which_mends_what_a_crash_left(
        self, emulated: Emulated, at_api: Api, planted: str
    ) -> None:
        def is_mended() -> bool:
            return not emulated.valkey.zrange(invariants.PENDING, 0, -1)

        with timed("waited for the schedule"):
            wait_until(is_mended, WAIT_SECONDS)
        assert at_api.get(f"/users/{planted}/rank").json()["rank"]["score"] == 321
        reports = wait_until(
            lambda: [
                event
                for event in map(json.loads, emulated.log("reconcile"))
                if event.get("message") == "reconciled" and event["found"]
            ],
            WAIT_SECONDS,
        )
        assert sum(report["projected"] for report in reports) >= 1

    def test_a_requests_line_is_its_metrics(self, emulated: Emulated, at_api: Api) -> None:
        route = "GET /users/{userId}"
        at_api.get(f"/users/{fresh_id('missing')}")

        def emitted(metric: str, event: dict[str, Any]) -> list[float]:
            return (
                list(event[metric])
                if isinstance(event.get(metric), list)
                else [event[metric]]
                if metric in event
                else []
            )

        def asked(metric: str, statistic: str, **dimensions: str) -> dict[str, Any]:
            names = [{"Name": name, "Value": value} for name, value in dimensions.items()]
            one = {"Namespace": emulated.name, "MetricName": metric, "Dimensions": names}
            return {
                "Id": f"{metric.lower()}{len(names)}{statistic.lower()}",
                "MetricStat": {"Metric": one, "Period": 14400, "Stat": statistic},
            }

        def agree() -> bool:
            lines = [event for event in map(json.loads, emulated.log("get_user")) if event.get("Route") == route]
            if not lines:
                return False
            queries = [
                asked(metric, statistic, Route=route)
                for metric in ("Requests", "Latency", "ClientErrors", "ServerErrors")
                for statistic in ("Sum", "SampleCount", "Maximum", "p50")
            ]
            found = measured(emulated, queries)
            for query in queries:
                figures = [
                    value for line in lines for value in emitted(query["MetricStat"]["Metric"]["MetricName"], line)
                ]
                wanted = {
                    "Sum": sum(figures),
                    "SampleCount": len(figures),
                    "Maximum": max(figures),
                    "p50": sorted(figures)[(len(figures) - 1) // 2],
                }
                if sum(found[query["Id"]]) != pytest.approx(wanted[query["MetricStat"]["Stat"]]):
                    return False
            return True

        wait_until(agree, WAIT_SECONDS)
        every = [event for key in keys() for event in map(json.loads, emulated.log(key)) if "Requests" in event]
        (total,) = measured(emulated, [asked("Requests", "Sum")])["requests0sum"]
        assert total >= len(every) > 0

    def test_the_dashboard_is_drawn_with_what_was_measured(self, emulated: Emulated) -> None:
        queries = charts(emulated)
        found = measured(emulated, queries)
        drawn = Counter(query["MetricStat"]["Metric"]["Namespace"] for query in queries if found[query["Id"]])
        assert drawn["AWS/ApiGateway"] == sum(
            query["MetricStat"]["Metric"]["Namespace"] == "AWS/ApiGateway" for query in queries
        )
        assert drawn["AWS/Lambda"] > len(keys())
        assert drawn["AWS/SQS"] == 1
        assert drawn[emulated.name] > 1

    def test_the_page_of_make_dashboard_draws_it(self, emulated: Emulated, tmp_path: Path) -> None:
        output = tmp_path / "output"
        with processes.started(
            "scripts.emulator.dashboard", output, folder=emulated.folder, SOURCE="localstack"
        ) as process:
            wait_until(lambda: "Ctrl-C ends it" in output.read_text() or process.poll() is not None, WAIT_SECONDS)
            (address,) = re.findall(rf"The dashboard of {emulated.name}, .* is at (\S+)", output.read_text())
            with httpx.Client(base_url=address, timeout=60, trust_env=False) as page:
                board = page.get("/dashboard.json").json()
                now = int(time.time())
                times = {"StartTime": now - 7200, "EndTime": now}
                told = {}
                for widget in board["widgets"]:
                    title = widget["properties"].get("title")
                    if widget["type"] == "metric":
                        asked = page.post("/metrics", json={**times, "MetricDataQueries": widget["queries"]})
                        told[title] = [sum(result["Values"]) for result in asked.json()["MetricDataResults"]]
                    elif widget["type"] == "log":
                        asked = page.post("/logs", json={**times, "query": widget["properties"]["query"]})
                        told[title] = asked.json()["rows"]
                listed = {alarm["AlarmName"] for alarm in page.get("/alarms").json()["Alarms"]}
        assert f"{emulated.facts.base_url}/leaderboard" in board["hints"][0]
        assert sum(told["Requests"]) > 0
        assert told["Slowest requests"]
        assert told["Errors by code"]
        assert listed == {f"{emulated.name}-{row['alarm']}" for row in json.loads(drill(emulated).communicate()[0])}

    def test_the_page_asks_for_all_pages_of_what_it_shows(
        self, emulated: Emulated, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queries = [query for query in charts(emulated) if query["MetricStat"]["Metric"]["Namespace"] == "AWS/Lambda"]
        group = emulated.outputs["log_group_names"]["create_user"]
        query = f"SOURCE '{group}' | filter message = \"request answered\" | stats count(*) as requests"
        now = int(time.time())

        def told() -> tuple[Any, Any]:
            source = dashboard.Emulated(emulated.aws("cloudwatch"), emulated.aws("logs"), emulated.name)
            return source.values(queries, now - 7200, now), source.table(query, now - 7200, now).rows

        values, rows = told()
        assert sum(len(result["Values"]) for result in values) > 10
        assert rows[0][0] > 10
        monkeypatch.setattr(dashboard, "POINTS_A_PAGE", 3)
        monkeypatch.setattr(dashboard, "EVENTS_A_PAGE", 2)
        assert told() == (values, rows)

    def test_the_figures_in_its_log_become_metrics_and_other_lines_become_none(self, emulated: Emulated) -> None:
        def counted(metric: str) -> float:
            now = datetime.now(UTC)
            found = emulated.aws("cloudwatch").get_metric_statistics(
                Namespace=emulated.name,
                MetricName=metric,
                StartTime=now - timedelta(hours=1),
                EndTime=now + timedelta(hours=1),
                Period=7200,
                Statistics=["Sum"],
            )
            return float(sum(point["Sum"] for point in found["Datapoints"]))

        def logged() -> float:
            return float(sum(json.loads(line).get("found", 0) for line in emulated.log("reconcile")))

        wait_until(lambda: counted("IntentsFound") == logged() > 0)
        assert counted("health-failures") == 0

    @pytest.mark.usefixtures("crashed")
    def test_a_crash_raises_its_alarm_and_the_alarm_is_heard(self, emulated: Emulated, post: str) -> None:
        name = f"{emulated.name}-{ALARMED}-errors"

        def state() -> str:
            (alarm,) = emulated.aws("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
            return str(alarm["StateValue"])

        heard: list[dict[str, Any]] = []

        def is_heard() -> bool:
            found = emulated.aws("sqs").receive_message(QueueUrl=post, MaxNumberOfMessages=10)
            heard.extend(json.loads(json.loads(message["Body"])["Message"]) for message in found.get("Messages", []))
            return any((alarm["AlarmName"], alarm["NewStateValue"]) == (name, "ALARM") for alarm in heard)

        with timed("waited for the alarm"):
            wait_until(lambda: state() == "ALARM", WAIT_SECONDS)
            wait_until(is_heard, WAIT_SECONDS)
        raised = {alarm["AlarmName"] for alarm in heard if alarm["NewStateValue"] == "ALARM"}
        assert not {other for other in raised if other.endswith("-errors")} - {name}, "nothing else has crashed"


class TestAccess:
    """Who may do what, through the emulated API Gateway, the deployed authorizer, and keys that never leave KMS."""

    def test_the_table_of_permissions(self, emulated: Emulated, at_api: Api) -> None:
        given: dict[str, str] = {}

        def make() -> dict[str, str]:
            given.clear()
            given.update(examples.existing(lambda example: at_api.ask(example).json()))
            return given

        def look() -> object:
            """All that is kept of the player and the session, and how many there are on the board."""
            raw = emulated.valkey
            keys = sorted(key for id in given.values() for key in raw.scan_iter(match=f"*{id}*", count=10_000))
            values = {
                key: raw.hgetall(key)
                if (kind := raw.type(key)) == "hash"
                else raw.get(key)
                if kind == "string"
                else kind
                for key in keys
            }
            rows = raw.hmget(invariants.PLAYERS, list(given.values()))
            return values, rows, raw.zcard(invariants.BOARD)

        with contextlib.closing(emulated.api(is_able=False)) as stranger:

            def ask(asked: permissions.Asked) -> tuple[int, bytes]:
                response = stranger.ask(asked.example, headers=emulated.bearer(asked.scope, asked.subject))
                return response.status_code, response.content

            rows = permissions.rows("protected")
            with timed("table of permissions"):
                assert permissions.faults(rows, ask, make, look) == []
        assert len(rows) > len(contract.operations()) * 5

    def test_tokens_of_both_keys_are_believed_and_no_other_is(self, emulated: Emulated) -> None:
        """So the environment of the authorizer has both keys, each by its kid."""
        key, issuer = emulated.signer
        kms = emulated.aws("kms")
        told = json.loads(live(emulated, "authorizer")["Environment"]["Variables"]["TOKEN_PUBLIC_KEYS"])
        assert key.kid in told
        (other,) = set(told) - {key.kid}
        arn = kms.describe_key(KeyId=other)["KeyMetadata"]["Arn"]
        spare = tokens.kms_key(arn, lambda: kms), issuer
        forged = emulated.token("server", signer=(tokens.Key(other, key.sign), issuer))
        stranger = emulated.token("server", signer=(key, "leaderboard-prod"))
        with contextlib.closing(emulated.api(is_able=False)) as api:

            def asked(**headers: str) -> httpx.Response:
                return api.get(f"/sessions/{uuid.uuid4()}", headers=headers)

            assert asked(authorization=f"Bearer {emulated.token('server', signer=spare)}").status_code == 404
            for headers in (
                {},
                {"authorization": forged},
                *({"authorization": f"Bearer {one}"} for one in (forged, stranger)),
            ):
                refused = asked(**headers)
                problem(refused, 401, "unauthenticated")
                assert refused.headers["www-authenticate"] == "Bearer"
            problem(api.get(f"/sessions/{uuid.uuid4()}?token={emulated.token('server')}"), 401, "unauthenticated")
        wait_until(lambda: any('"token_refused"' in line for line in emulated.log("authorizer")), WAIT_SECONDS)
        secret = forged.rpartition(".")[2]
        assert not any(secret in line for name in ("authorizer", "sessions", "api") for line in emulated.log(name))

    def test_without_an_authorizers_word_nobody_may_do_anything(self, emulated: Emulated) -> None:
        """So a LocalStack that calls no authorizers, which sends events such as this one, is not open."""
        event = {
            "httpMethod": "GET",
            "resource": "/sessions/{sessionId}",
            "path": "/sessions/some-session",
            "pathParameters": {"sessionId": "some-session"},
            "headers": {"Authorization": f"Bearer {emulated.token('admin')}"},
            "requestContext": {"requestId": str(uuid.uuid4()), "identity": {}},
        }
        answer = invoke(emulated, "sessions", event)["payload"]
        assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (403, "not_allowed")

    def test_an_authorizer_that_cannot_be_called_lets_nobody_in(self, emulated: Emulated, at_api: Api) -> None:
        aws, name = emulated.aws("lambda"), emulated.function("authorizer")
        aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        try:
            away = at_api.get("/sessions/some-session", headers=emulated.bearer("server"))
            assert int(away.headers["retry-after"]) > 0
            problem(away, 503, "unavailable")
            assert at_api.get("/stats").status_code == 200, "what is public needs no authorizer"
        finally:
            aws.delete_function_concurrency(FunctionName=name)
        alarm = f"{emulated.name}-authorizer-failures"

        def state() -> str:
            (found,) = emulated.aws("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
            return str(found["StateValue"])

        wait_until(lambda: any('"errorType":"AUTHORIZER_' in line for line in emulated.log("api")), WAIT_SECONDS)
        wait_until(lambda: state() == "ALARM", WAIT_SECONDS)

    def test_what_people_do_by_make_admin_is_in_the_audit(self, emulated: Emulated, at_api: Api) -> None:
        user_id, began = at_api.create()["userId"], time.time() - 60
        functions, facts = emulated.outputs["function_names"], emulated.facts
        site = sites.deployed(emulated.name, emulated.aws, functions, facts.base_url, facts.api_key, {})
        hide = {"hidden": True, "reason": "Impossible scores, ticket 4711"}
        assert site.api.act("PUT", f"/users/{user_id}/visibility", hide).status == 200
        assert site.api.read(f"/users/{user_id}/rank").code == "not_ranked"
        assert site.api.act("DELETE", f"/users/{user_id}").status == 204

        def told() -> list[trail.Entry]:
            found = trail.entries(site.audit(began), user_id)
            return found if [entry["outcome"] for entry in found] == ["ok", "ok"] else []

        hidden, erased = wait_until(told, WAIT_SECONDS)
        assert (hidden["act"], hidden["reason"], hidden["after"]) == (
            "hide",
            hide["reason"],
            {"hidden": True, "recount": False},
        )
        assert (erased["act"], erased["scope"]) == ("erase", "admin")

    def test_what_a_token_costs_in_time(self, emulated: Emulated, at_api: Api) -> None:
        """Reported, not judged: the time is LocalStack's, which calls the function as it calls every other one."""
        headers = emulated.bearer("server")

        def took(path: str, headers: Callable[[], dict[str, str]]) -> float:
            began = []
            for _ in range(MEASURED):
                sent = headers()
                start = time.monotonic()
                at_api.get(path, headers=sent)
                began.append((time.monotonic() - start) * 1000)
            return statistics.median(began)

        path = f"/sessions/{uuid.uuid4()}"
        kept, new = took(path, lambda: headers), took(path, lambda: emulated.bearer("server"))
        public = took(f"/users/{uuid.uuid4().hex}", dict)
        print(f"A public read {public:.1f} ms, one with a known token {kept:.1f} ms, with a new one {new:.1f} ms")

    def test_opening_it_again_would_touch_no_data_and_no_key(self, emulated: Emulated) -> None:
        variables = {**emulated.terraform.variables, "access": "open"}
        with timed("planned open"):
            changed = sorted(dataclasses.replace(emulated.terraform, variables=variables).plan())
        kinds = {re.sub(r"\[.*", "", one).rpartition("module.")[2] for one in changed}
        assert 'module.leaderboard.module.functions.aws_lambda_function.this["authorizer"]' in changed
        assert "api.aws_api_gateway_rest_api.this" in kinds
        assert {
            kind for kind in kinds if re.search(r"aws_(kms|vpc|subnet|security|network|elasticache|sqs)", kind)
        } == set()


class TestDrill:
    def test_an_alarm_goes_off_by_its_cause_is_heard_and_is_over(
        self, emulated: Emulated, drilled: subprocess.Popen[str]
    ) -> None:
        with timed("waited for the drill's end"):
            printed, said = drilled.communicate()
        assert drilled.returncode == 0, said
        outcome = json.loads(printed)
        assert (outcome["alarm"], outcome["severity"]) == (f"{DRILLED}-failures", "ticket")
        assert f"{emulated.function(DRILLED)} answered 500" in outcome["told"]
        assert live(emulated, DRILLED)["Version"] == "1"

    def test_it_lists_every_alarm_and_what_raises_it(self, emulated: Emulated) -> None:
        printed, _ = drill(emulated).communicate()
        rows = {row["alarm"]: row for row in json.loads(printed)}
        kinds = ("MetricAlarms", "CompositeAlarms")
        found = emulated.aws("cloudwatch").describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        assert {f"{emulated.name}-{alarm}" for alarm in rows} == {
            one["AlarmName"] for kind in kinds for one in found[kind]
        }
        assert all(row["how"] and row["severity"] in ("page", "ticket", "deployment") for row in rows.values()), rows
        drilled = {alarm for alarm, row in rows.items() if row["drilled"]}
        assert {"slo-page", "latency-days-3d"} <= drilled
        assert "availability-days-3d" not in drilled
        with pytest.raises(ClientError, match="AWS/ApiGateway for parameter Namespace is invalid"):
            emulated.aws("cloudwatch").put_metric_data(Namespace="AWS/ApiGateway", MetricData=[])
        refused = drill(emulated, "reconcile-duration")
        assert "reconcile-duration cannot be caused here: " in refused.communicate()[1]
        assert refused.returncode == 1

    def test_interrupted_it_leaves_everything_as_it_was(self, emulated: Emulated) -> None:
        events, rule = emulated.aws("events"), f"{emulated.name}-reconcile"
        with drill(emulated, "reconcile-not-running") as drilling:
            wait_until(lambda: events.describe_rule(Name=rule)["State"] == "DISABLED", WAIT_SECONDS)
            drilling.send_signal(signal.SIGINT)
            assert drilling.wait(WAIT_SECONDS) == 130
        assert events.describe_rule(Name=rule)["State"] == "ENABLED"
        assert [url for url in emulated.aws("sqs").list_queues()["QueueUrls"] if "drill-" in url] == []


class TestSmoke:
    """`make smoke` on what LocalStack has; the rest is in tests/aws/."""

    @pytest.fixture
    def deployment(self, emulated: Emulated) -> Deployment:
        outputs = {**emulated.outputs, "api_url": emulated.facts.base_url}
        given = {**values.of("local"), "access": emulated.facts.access}
        return Deployment(emulated.name, given, outputs, lambda service, *_: emulated.aws(service))

    def test_it_sees_what_is_there(self, deployment: Deployment) -> None:
        names = ("health", "requests", "tls", "cache", "log-metrics", "firewall", "first-run", "trips", "canary")
        rows = smoke.walk(deployment, {name: CHECKS[name] for name in names}, WAIT_SECONDS)
        print(verdicts.table(rows, coloured=False))
        found = {row.check: row.verdict for row in rows}
        assert found.pop("first-run") in (verdicts.OK, verdicts.LOOK), "LocalStack may judge before anything has run"
        assert found.pop("trips") in (verdicts.OK, verdicts.LOOK), "on a busy machine one may take too long"
        assert found == {
            **dict.fromkeys(("health", "requests", "log-metrics"), verdicts.OK),
            **dict.fromkeys(("tls", "cache", "firewall", "canary"), verdicts.NOT_NEEDED),
        }

    def test_its_alarm_is_heard_and_put_back(self, emulated: Emulated, deployment: Deployment, post: str) -> None:
        name = emulated.outputs["page_alarm_name"]

        def is_heard() -> bool:
            found = emulated.aws("sqs").receive_message(QueueUrl=post, MaxNumberOfMessages=10)
            told = [json.loads(json.loads(message["Body"])["Message"]) for message in found.get("Messages", [])]
            return (name, "ALARM") in [(one["AlarmName"], one["NewStateValue"]) for one in told]

        looking = CHECKS["alarm-mail"](deployment)
        assert next(looking).endswith("has not notified its topic"), "LocalStack's history has no actions"
        wait_until(is_heard, WAIT_SECONDS)
        looking.close()
        found = emulated.aws("cloudwatch").describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm"])
        assert [alarm["StateValue"] for alarm in found["CompositeAlarms"]] == ["OK"]

    def test_it_says_what_it_still_waits_for(self, deployment: Deployment) -> None:
        names = ("alarms", "charts", "logs", "traces")
        rows = smoke.walk(deployment, {name: CHECKS[name] for name in names}, 0)
        print(verdicts.table(rows, coloured=False))
        seen = {row.check: (row.verdict, row.seen) for row in rows}
        # the emulator judges alarms within seconds: whichever it has not judged yet is named
        assert re.match(r"\d+ of \d+ without data: leaderboard-local-|\d+ with data", seen["alarms"][1])
        assert re.match(r"\d+ of \d+ (empty: |and \d+ of what has not happened)", seen["charts"][1])
        assert seen["traces"][0] == verdicts.NOT_KNOWN, "LocalStack has no X-Ray"


class TestAChange:
    def test_a_second_apply_brings_one_changed_handler_and_touches_nothing_else(
        self, emulated: Emulated, at_api: Api
    ) -> None:
        aws = emulated.aws("lambda")
        path = emulated.folder / "functions" / CHANGED / "handler.py"
        path.write_text(path.read_text() + '\nprint(\'{"message": "the second version"}\')\n')
        emulated.build()
        with timed("applied again"):
            assert sorted(emulated.terraform.plan()) == [
                f'module.leaderboard.module.functions.aws_lambda_alias.moved_by_terraform["{CHANGED}"]',
                f'module.leaderboard.module.functions.aws_lambda_function.this["{CHANGED}"]',
            ]
            emulated.terraform.apply()
        versions = {
            key: aws.get_alias(FunctionName=emulated.function(key), Name="live")["FunctionVersion"] for key in keys()
        }
        assert versions == {key: "2" if key == CHANGED else "1" for key in keys()}
        assert at_api.get("/health").status_code == 200
        wait_until(lambda: any("the second version" in line for line in emulated.log(CHANGED)), WAIT_SECONDS)

    def test_no_line_of_a_function_tells_what_it_may_not(self, emulated: Emulated) -> None:
        every = [line for key in keys() for line in emulated.log(key)]
        ours = [line for line in every if '"message":' in line]  # a crash's own line is Lambda's
        assert sum(line.startswith('{"timestamp"') for line in ours) > len(keys())
        lines.check("\n".join(ours))

    def test_nothing_was_lost_or_is_left_half_done(self, emulated: Emulated) -> None:
        emulated.valkey.delete(invariants.SWEEP)
        invariants.settle(emulated.valkey)


class TestTheEnd:
    def test_another_one_beside_it_is_refused_and_told_of_it(self, emulated: Emulated) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "scripts.emulator.emulate"],
            cwd=emulated.folder,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert f"kill {emulated.facts.process}" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def test_destroy_leaves_nothing(self, emulated: Emulated) -> None:
        emulated.aws("sqs").delete_queue(
            QueueUrl=emulated.aws("sqs").get_queue_url(QueueName="hears-alarms")["QueueUrl"]
        )
        with timed("destroyed"):
            end(emulated.facts)
        log = (emulated.folder / ".emulated" / "emulate.log").read_text()
        assert re.search(r"Terraform destroyed \(\d+", log), log
        left = {}
        for service, (action, members, member) in KINDS.items():
            found = getattr(emulated.aws(service), action)().get(members, [])
            left[service] = [item[member] if member else item for item in found]
        assert {service: names for service, names in left.items() if any(emulated.name in name for name in names)} == {}
        tagged = emulated.aws("ec2").describe_vpcs(Filters=[{"Name": "tag:Project", "Values": ["leaderboard"]}])
        assert tagged["Vpcs"] == []
        assert emulated.terraform.run("state", "list") == ""
        assert not (emulated.folder / ".emulated" / emulate.FACTS.name).exists()
        with pytest.raises(valkey.exceptions.ConnectionError):
            emulated.valkey.ping()

    def test_functions_are_gone_with_it(self, emulated: Emulated) -> None:
        found = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
        mine = str(emulated.folder.parent)
        assert [line for line in found.splitlines() if mine in line and "launch.py" in line] == []
