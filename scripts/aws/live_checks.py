"""What only AWS can show, one check each: terraform/README.md lists them under the same names.

A check is a generator. It yields what it still waits for, as often as it is asked, and returns its verdict; closing it
early puts everything back.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from typing import Any

from scripts.aws import canaries
from scripts.aws.accounts import Aws
from scripts.aws.verdicts import LOOK, NO, NOT_NEEDED, OK, Verdict
from scripts.local import examples
from shared.endpoint import LARGEST_BODY_BYTES

PLAYER = "smoke-test"
"""The one player that stays behind, without points."""

REQUEST_SECONDS = 35
"""A little longer than API Gateway waits for a function."""

RECENT = timedelta(hours=3)
"""How far back metrics, logs and CloudTrail are searched."""

COUNTED = "IntentsFound"
"""What each run of reconcile says."""

STEADY = {COUNTED, "Requests", "Latency", "SlowRequests", "ServerErrors", "ClientErrors", "ColdStarts", "ProcessorTime"}
STEADY |= {"ValkeyTrips", "OldestIntentSeconds", "PlayersMended", "PlayersUnreadable"}
"""Our own metrics that every request, or every run of reconcile, gives."""

SPILLED = "ProvisionedConcurrencySpilloverInvocations"
"""Only functions that are kept warm have it."""

LOWEST_TLS, OLD_TLS = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_1

CONTEXT = "aws:lambda:FunctionArn"

TRIP = "health.report"
TRACED = {"AWS::ApiGateway::Stage", "AWS::Lambda::Function", TRIP}
"""Where a request's trace comes from: X-Ray's names for gateway and Lambda, and our code's for its trip to Valkey."""


@dataclass(frozen=True)
class Deployment:
    """An environment that has been applied."""

    name: str
    """What every name begins with."""
    values: Mapping[str, Any]
    outputs: Mapping[str, Any]
    """Those of terraform/outputs.tf. Terraform leaves out what is null."""
    aws: Aws

    @property
    def url(self) -> str:
        """The API's, without a slash at the end."""
        return str(self.outputs["api_url"])


Looking = Generator[str, None, Verdict]

Check = Callable[[Deployment], Looking]


@dataclass(frozen=True)
class Reply:
    """An HTTP reply, with header names in lower case. Status 0 means that none came; the body then says why."""

    status: int
    headers: Mapping[str, str]
    body: str


def ask(
    deployment: Deployment, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Reply:
    """One request to the API, with a key of its own."""
    keys: Mapping[str, str] = deployment.outputs["api_key_values"]
    sent = {"x-api-key": next(iter(keys.values()), ""), "content-type": "application/json", **(headers or {})}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(deployment.url + target, data, sent, method=method)  # noqa: S310 - our own API
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as response:  # noqa: S310
            return Reply(response.status, _lower(response.headers), response.read().decode())
    except urllib.error.HTTPError as error:
        return Reply(error.code, _lower(error.headers), error.read().decode(errors="replace"))
    except OSError as error:
        return Reply(0, {}, str(error))


def health(deployment: Deployment) -> Looking:
    """A function starts, signs in to the cache with an IAM token, and gets an answer."""
    needed = "200"
    while (reply := ask(deployment, "GET", "/health")).status != 200:
        yield f"{reply.status or reply.body}"
    return Verdict("health", f"200, {json.loads(reply.body)['valkey']['responseTime']} to Valkey and back", needed, OK)


def requests(deployment: Deployment) -> Looking:
    """Every function does its work, reading and writing as its own user of the cache. This has no token: what takes one
    has to refuse."""
    failed = {"all": "not asked yet"}
    while failed:
        failed = _asked(deployment)
        if failed:
            yield ", ".join(f"{name}: {status}" for name, status in failed.items())
    count = len(examples.load())
    return Verdict("requests", f"{count} of {count}", "an answer of every operation", OK)


def tls(deployment: Deployment) -> Looking:
    """The API speaks what tls_policy says, and nothing older."""
    yield from ()
    address = urllib.parse.urlsplit(deployment.url)
    needed = "TLS 1.2 or newer"
    if address.scheme != "https" or not address.hostname:
        return Verdict("tls", address.scheme, needed, NOT_NEEDED)
    where = (address.hostname, address.port or 443)
    spoken, _ = _handshake(where, LOWEST_TLS, ssl.TLSVersion.MAXIMUM_SUPPORTED)
    old, why = _handshake(where, ssl.TLSVersion.TLSv1, OLD_TLS)
    seen = f"{spoken or 'none'}, and {old or f'none of 1.0 and 1.1 ({why})'}"
    if old is None:
        return Verdict("tls", seen, needed, OK if spoken else NO)
    if deployment.values.get("tls_policy"):
        return Verdict("tls", seen, needed, NO, "the API does not keep to tls_policy: look at its security policy.")
    return Verdict("tls", seen, needed, LOOK, "without tls_policy, AWS takes old versions too: set it.")


def cache(deployment: Deployment) -> Looking:
    """ElastiCache has taken the engine, and every user's access string."""
    name = deployment.outputs.get("cache_name")
    if name is None:
        return Verdict("cache", "none", "", NOT_NEEDED)
    client, major = deployment.aws("elasticache"), str(deployment.values["valkey_major_version"])
    needed = f"Valkey {major}, users active"
    (found,) = client.describe_serverless_caches(ServerlessCacheName=name)["ServerlessCaches"]
    while True:
        (group,) = client.describe_user_groups(UserGroupId=found["UserGroupId"])["UserGroups"]
        states = {user: client.describe_users(UserId=user)["Users"][0]["Status"] for user in group["UserIds"]}
        waiting = [f"{user}: {state}" for user, state in states.items() if state != "active"]
        if found["Status"] == "available" and not waiting:
            break
        yield ", ".join([f"cache: {found['Status']}", *waiting])
        (found,) = client.describe_serverless_caches(ServerlessCacheName=name)["ServerlessCaches"]
    seen = f"{found['Engine']} {found['FullEngineVersion']}, {len(states)} users active"
    return Verdict("cache", seen, needed, OK if found["MajorEngineVersion"] == major else NO)


def alarms(deployment: Deployment) -> Looking:
    """Every alarm has data to go by."""
    needed = "none without data"
    while True:
        pages = deployment.aws("cloudwatch").get_paginator("describe_alarms")
        states = {
            alarm["AlarmName"]: alarm["StateValue"]
            for page in pages.paginate(AlarmNamePrefix=f"{deployment.name}-")
            for alarm in page["MetricAlarms"]
        }
        blind = sorted(name for name, state in states.items() if state == "INSUFFICIENT_DATA")
        if states and not blind:
            break
        yield f"{len(blind)} of {len(states)} without data{': ' if blind else ''}{_few(blind)}"
    ringing = sorted(name for name, state in states.items() if state == "ALARM")
    seen = f"{len(states)} with data"
    if ringing:
        return Verdict("alarms", f"{seen}, {len(ringing)} of them in alarm", needed, LOOK, f"read {_few(ringing)}.")
    return Verdict("alarms", seen, needed, OK)


def charts(deployment: Deployment) -> Looking:
    """Every chart of the dashboard has a line; what counts only what happens now and then has none until it does."""
    client = deployment.aws("cloudwatch")
    name = deployment.outputs["dashboard_name"]
    body = json.loads(client.get_dashboard(DashboardName=name)["DashboardBody"])
    drawn = {
        widget["properties"]["title"]: [metric(one) for one in widget["properties"]["metrics"] if len(one) > 1]
        for widget in body["widgets"]
        if widget["type"] == "metric"
    }
    quiet = {title for title, metrics in drawn.items() if not any(is_steady(deployment, one) for one in metrics)}
    needed, empty = "a line in every chart", set(drawn) - quiet
    while empty := {title for title in empty if not any(_values(client, drawn[title]))}:
        yield f"{len(empty)} of {len(drawn)} empty: {_few(sorted(empty))}"
    rest = f" and {len(quiet)} of what has not happened" if quiet else ""
    return Verdict("charts", f"{len(drawn) - len(quiet)} of {len(drawn)}{rest}", needed, OK)


def logs(deployment: Deployment) -> Looking:
    """Log lines of function and gateway arrive, without an endpoint in the network."""
    began = datetime.now(UTC)
    request_id = ask(deployment, "GET", "/health").headers.get("x-request-id", "")
    groups = {key: deployment.outputs["log_group_names"][key] for key in ("health", "api")}
    found: dict[str, str] = {}
    while missing := {key: group for key, group in groups.items() if key not in found}:
        for key, group in missing.items():
            if request_id and (line := _line(deployment, group, began, request_id)):
                found[key] = line
        if empty := [group for key, group in groups.items() if key not in found]:
            yield f"no line of request {request_id or '(without an id)'} in {_few(empty)}"
    spoken = json.loads(found["api"]).get("tlsVersion", "?")
    return Verdict("logs", f"both, with {spoken}", "a request's line of function and gateway", OK)


def log_metrics(deployment: Deployment) -> Looking:
    """Lambda hands our lines on as they are, so that figures in them become metrics."""
    metric = {"Namespace": deployment.name, "MetricName": COUNTED, "Dimensions": []}
    while not any(_values(deployment.aws("cloudwatch"), [metric])):
        yield f"no figure of {deployment.name} {COUNTED}"
    return Verdict("log-metrics", COUNTED, "a figure of a run of reconcile", OK)


def traces(deployment: Deployment) -> Looking:
    """A trace arrives from gateway, Lambda and our code, without an endpoint in the network."""
    trace = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
    ask(deployment, "GET", "/health", headers={"X-Amzn-Trace-Id": f"Root={trace};Sampled=1"})
    seen: set[str] = set()
    while not seen >= TRACED:
        found = deployment.aws("xray").batch_get_traces(TraceIds=[trace])["Traces"]
        documents = [segment["Document"] for one in found for segment in one["Segments"]]
        seen = {json.loads(document).get("origin", "") for document in documents}
        seen |= {TRIP for document in documents if f'"{TRIP}"' in document}
        if not seen >= TRACED:
            yield f"trace {trace} has {_few(sorted(seen)) or 'nothing'}"
    return Verdict("traces", ", ".join(sorted(seen)), "gateway, Lambda and our code", OK)


def alarm_mail(deployment: Deployment) -> Looking:
    """The alarm that pages is published, through the topic's key, to somebody who has confirmed. It has to be put back:
    a composite one stays as it was set until one of its alarms changes."""
    client, topic = deployment.aws("cloudwatch"), deployment.outputs["alarm_topic_arns"]["page"]
    name, needed = deployment.outputs["page_alarm_name"], "published, and heard by somebody"
    found = client.describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    (alarm,) = found.get("MetricAlarms") or found["CompositeAlarms"]
    listeners = deployment.aws("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    confirmed = [one for one in listeners if one["SubscriptionArn"].startswith("arn:")]
    began, why = datetime.now(UTC), "make smoke: a test, nothing has happened"
    client.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason=why)
    try:
        while not (done := _actions(client, name, topic, began)):
            yield f"{name} is in alarm, and has not notified its topic"
    finally:
        back = alarm["StateValue"] if alarm["StateValue"] != "ALARM" else "OK"
        client.set_alarm_state(AlarmName=name, StateValue=back, StateReason=why)
    seen = f"{done[0].partition(' arn:')[0]}, {len(confirmed)} of {len(listeners)} listeners confirmed"
    if not done[0].startswith("Successfully"):
        return Verdict(
            "alarm-mail", seen, needed, NO, f"CloudWatch may not publish to {topic}: look at its key's policy."
        )
    if not confirmed:
        remedy = "alarms go off unheard: set alarm_emails or alarm_channels, and follow the link in the mail."
        return Verdict("alarm-mail", seen, needed, LOOK, remedy)
    return Verdict("alarm-mail", seen, needed, OK)


def decryption(deployment: Deployment) -> Looking:
    """Lambda decrypts the settings of a function with that function as the encryption context."""
    name = deployment.outputs["function_names"]["health"]
    function = deployment.aws("lambda").get_function_configuration(FunctionName=name)
    arn, trail = function["FunctionArn"], deployment.aws("cloudtrail")
    attribute = {"AttributeKey": "ResourceName", "AttributeValue": function["KMSKeyArn"]}
    needed = f"{CONTEXT} = {name}"
    while True:
        events = trail.lookup_events(LookupAttributes=[attribute], StartTime=datetime.now(UTC) - RECENT)["Events"]
        found = [json.loads(one["CloudTrailEvent"]) for one in events if one["EventName"] == "Decrypt"]
        contexts = [(one.get("requestParameters") or {}).get("encryptionContext") or {} for one in found]
        if any(context.get(CONTEXT) == arn for context in contexts):
            return Verdict("decryption", needed, needed, OK)
        others = sorted({name for context in contexts for name in context})
        yield f"{len(found)} calls of Decrypt, with {_few(others) or 'no context'}"


def firewall(deployment: Deployment) -> Looking:
    """A body of 64 KiB gets past the firewall, to the function or to whoever wants a token; a longer one does not."""
    if deployment.values.get("waf") is None:
        yield from ()
        return Verdict("firewall", "none", "", NOT_NEEDED)
    passed = 401 if deployment.values.get("access") == "protected" else 400
    needed = f"{passed} for 64 KiB, 403 for more"
    while (seen := _of_sizes(deployment, LARGEST_BODY_BYTES, LARGEST_BODY_BYTES + 1)) != [passed, 403]:
        yield "{} for 64 KiB, {} for more".format(*seen)
    return Verdict("firewall", needed, needed, OK)


def first_run(deployment: Deployment) -> Looking:
    """Reconcile's first run was counted before its absence could raise the alarm."""
    yield from ()
    name, needed = f"{deployment.name}-reconcile-not-running", "never in alarm"
    client = deployment.aws("cloudwatch")
    found = client.describe_alarm_history(AlarmName=name, HistoryItemType="StateUpdate")["AlarmHistoryItems"]
    rung = [one["Timestamp"] for one in found if one["HistorySummary"].endswith("to ALARM")]
    if rung:
        remedy = "right only if reconcile stood still then: otherwise the alarm is too early."
        return Verdict("first-run", f"in alarm at {rung[-1]:%Y-%m-%d %H:%M}", needed, LOOK, remedy)
    return Verdict("first-run", f"{len(found)} changes, none to an alarm", needed, OK)


def trips(deployment: Deployment) -> Looking:
    """No request met a connection that had died while Lambda kept the function frozen."""
    yield from ()
    groups = [group for key, group in deployment.outputs["log_group_names"].items() if key != "api"]
    since = datetime.now(UTC) - RECENT
    failed = [group for group in groups if _line(deployment, group, since, "valkey trip failed")]
    needed = f"none in {RECENT.total_seconds() / 3600:.0f} hours"
    if failed:
        remedy = "look whether they came after quiet times: then the time of day is wrong when a function thaws."
        return Verdict("trips", f"some in {_few(failed)}", needed, LOOK, remedy)
    return Verdict("trips", f"none in {len(groups)} log groups", needed, OK)


def canary(deployment: Deployment) -> Looking:
    """CodeDeploy gives a new version some of the calls, and rolls back when it is stopped."""
    delivery = deployment.outputs.get("deployment")
    if delivery is None:
        yield from ()
        return Verdict("canary", "Terraform moves the alias", "", NOT_NEEDED)
    function, group = deployment.outputs["function_names"]["health"], delivery["group_names"]["health"]
    return (yield from canaries.there_and_back(deployment.aws, function, delivery["application_name"], group))


CHECKS: dict[str, Check] = {
    "health": health,
    "requests": requests,
    "tls": tls,
    "cache": cache,
    "alarms": alarms,
    "charts": charts,
    "logs": logs,
    "log-metrics": log_metrics,
    "traces": traces,
    "alarm-mail": alarm_mail,
    "decryption": decryption,
    "firewall": firewall,
    "first-run": first_run,
    "trips": trips,
    "canary": canary,
}
"""In the order of terraform/README.md: the first two cause what the others look for."""


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _asked(deployment: Deployment) -> dict[str, str]:
    """The status of every operation that did not answer as the contract says, each asked once; the player may exist."""
    failed: dict[str, str] = {}
    if deployment.values.get("access") == "protected":  # nobody is there to be found, unless access was open before
        for example in examples.load(dict.fromkeys(examples.ids(), PLAYER)).values():
            expected = {401} if example.scopes else {example.status, 404 if example.parameters else example.status}
            if (reply := ask(deployment, example.method, example.target, example.body)).status not in expected:
                failed[example.operation_id] = str(reply.status or reply.body)
        return failed

    def send(example: examples.Example) -> dict[str, Any]:
        body = dict(example.body) if example.body is not None else None
        if example.operation_id == "create_user":
            body = {**{name: value for name, value in (body or {}).items() if name != "score"}, "userId": PLAYER}
        elif example.operation_id == "update_score":
            body = {"operator": "increment", "score": 0}
        reply = ask(deployment, example.method, example.target, body)
        if example.operation_id == "create_user" and reply.status == 409:
            return {"userId": PLAYER}
        if reply.status != (403 if example.needs_a_token else example.status):
            failed[example.operation_id] = str(reply.status or reply.body)
            return {}
        return dict(json.loads(reply.body)) if reply.body else {}

    made = set()

    def make(example: examples.Example) -> dict[str, Any]:
        made.add(example.operation_id)
        return send(example)

    with contextlib.suppress(KeyError, LookupError):  # what could not be made has failed, and ends it
        for example in examples.load(examples.existing(make)).values():
            if example.operation_id not in made:
                send(example)
    return failed


def _handshake(where: tuple[str, int], lowest: ssl.TLSVersion, highest: ssl.TLSVersion) -> tuple[str | None, str]:
    """The TLS version that is agreed on between these two; None, and why, if there is none."""
    context = ssl.create_default_context()
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of the old versions
            context.set_ciphers("DEFAULT:@SECLEVEL=0")  # otherwise this side would refuse them
            context.minimum_version, context.maximum_version = lowest, highest
        with (
            socket.create_connection(where, REQUEST_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=where[0]) as wrapped,
        ):
            return wrapped.version(), ""
    except (OSError, ValueError) as error:
        return None, getattr(error, "reason", None) or str(error)


def _of_sizes(deployment: Deployment, *sizes: int) -> list[int]:
    """The statuses for bodies of these sizes in bytes, each of which also has one fault."""
    empty = len(json.dumps({"surprise": ""}))
    return [ask(deployment, "POST", "/users", {"surprise": "x" * (size - empty)}).status for size in sizes]


def metric(drawn: list[Any]) -> dict[str, Any]:
    """A metric as a dashboard writes it: namespace, name, dimension, value, …, and how to draw it."""
    namespace, name, *rest = [part for part in drawn if isinstance(part, str)]
    dimensions = [{"Name": key, "Value": value} for key, value in zip(rest[::2], rest[1::2], strict=True)]
    return {"Namespace": namespace, "MetricName": name, "Dimensions": dimensions}


def is_steady(deployment: Deployment, metric: Mapping[str, Any]) -> bool:
    """Whether a metric comes with every request or run, not only with some."""
    name = metric["MetricName"]
    return bool(name in STEADY if metric["Namespace"] == deployment.name else name != SPILLED)


def _values(client: Any, metrics: list[dict[str, Any]]) -> Iterator[bool]:
    """Whether each metric has had a value recently."""
    now = datetime.now(UTC)
    queries = [
        {"Id": f"m{number}", "MetricStat": {"Metric": metric, "Period": 300, "Stat": "SampleCount"}}
        for number, metric in enumerate(metrics)
    ]
    answer = client.get_metric_data(
        MetricDataQueries=queries, StartTime=now - RECENT, EndTime=now + timedelta(minutes=5)
    )
    for result in answer["MetricDataResults"]:
        yield bool(result["Values"])


def _actions(client: Any, name: str, topic: str, since: datetime) -> list[str]:
    """The results of an alarm's actions on its topic since then."""
    found = client.describe_alarm_history(AlarmName=name, HistoryItemType="Action", StartDate=since)
    return [one["HistorySummary"] for one in found["AlarmHistoryItems"] if topic in one["HistorySummary"]]


def _line(deployment: Deployment, group: str, since: datetime, text: str) -> str | None:
    """The first line of a log group since then that contains a text. A page may be empty without being the last."""
    question = {"logGroupName": group, "startTime": int(since.timestamp() * 1000), "filterPattern": f'"{text}"'}
    pages = deployment.aws("logs").get_paginator("filter_log_events").paginate(**question)
    lines = (str(event["message"]) for page in pages for event in page["events"])
    return next((line for line in lines if text in line), None)  # emulators ignore the pattern


def _few(names: list[str]) -> str:
    """The first three, and how many more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
