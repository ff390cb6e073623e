"""The checks of `make smoke`: real HTTP and TLS, and recorded answers of AWS."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import valkey

from scripts.aws import live_checks
from scripts.aws.live_checks import Deployment, Looking
from scripts.aws.verdicts import LOOK, NO, NOT_NEEDED, OK, Verdict
from scripts.local import examples
from tests.aws.recorded import ANY, Recorded
from tests.support import invariants
from tests.support.guarded import Guarded
from tests.support.tunnels import Authority, Tunnel, speaking_only, tunnel_to
from tests.support.wires import free_port

TOPIC = "arn:aws:sns:eu-central-1:111111111111:leaderboard-prod-page"
GROUPS = {"health": "/aws/lambda/leaderboard-prod-health", "api": "/aws/apigateway/leaderboard-prod"}
FUNCTION, APPLICATION = "leaderboard-prod-health", "leaderboard-prod"

FAILURES = ["leaderboard-prod", "rank-failures", {"stat": "Sum", "label": "rank"}]
LATENCY = ["AWS/ApiGateway", "Latency", "ApiName", "leaderboard-prod", "Stage", "v1", {"stat": "p50", "label": "p50"}]
REPLAYS = ["leaderboard-prod", "Replays", {"stat": "Sum"}]
REQUESTS = ["leaderboard-prod", "Requests", "Route", "GET /stats", {"stat": "Sum"}]
MATH = [{"id": "share", "expression": "100 * bad"}]
ERRORS = ["AWS/Lambda", "Errors", "FunctionName", FUNCTION, {"stat": "Sum"}]


def deployment(aws: Recorded, url: str = "", values: dict[str, Any] | None = None, **outputs: Any) -> Deployment:
    """An applied environment whose API is at a URL."""
    usual = {
        "api_url": url,
        "api_key_values": {"somebody": "key"},
        "alarm_topic_arns": {"page": TOPIC},
        "page_alarm_name": "leaderboard-prod-slo-page",
        "dashboard_name": "leaderboard-prod",
        "log_group_names": GROUPS,
        "function_names": {"health": FUNCTION},
        "cache_name": "leaderboard-prod",
        "deployment": {"application_name": APPLICATION, "group_names": {"health": FUNCTION}},
    }
    given = {
        name: value for name, value in {**usual, **outputs}.items() if value is not None
    }  # as Terraform prints them
    return Deployment("leaderboard-prod", {"valkey_major_version": "8", **(values or {})}, given, aws)


def followed(looking: Looking, longest: int = 100) -> tuple[list[str], Verdict]:
    """Everything that a check waits for, in order, and its verdict."""
    waited = []
    for _ in range(longest):
        try:
            waited.append(next(looking))
        except StopIteration as end:
            return waited, end.value
    raise AssertionError(f"it still waits: {waited[-1]}")


class TestRequests:
    """Against the local API with a Valkey of its own."""

    def test_health_is_asked_until_it_is_well(self, aws: Recorded, gateway: str) -> None:
        waited, verdict = followed(live_checks.health(deployment(aws, gateway)))
        assert (waited, verdict.verdict) == ([], OK)

    def test_an_api_that_does_not_answer_is_waited_for(self, aws: Recorded) -> None:
        looking = live_checks.health(deployment(aws, f"http://127.0.0.1:{free_port()}"))
        assert "refused" in next(looking)

    def test_every_operation_is_asked_and_one_player_without_points_is_left(
        self, aws: Recorded, gateway: str, raw: valkey.Valkey
    ) -> None:
        for _ in range(2):  # the second run finds the player
            waited, verdict = followed(live_checks.requests(deployment(aws, gateway)))
            assert (waited, verdict.verdict) == ([], OK)
            assert verdict.seen == f"{len(examples.load())} of {len(examples.load())}"
        assert raw.zrange(invariants.BOARD, 0, -1, withscores=True) == [(live_checks.PLAYER, 0.0)]
        assert not list(raw.scan_iter("*session*")), "sessions are deleted again"

    def test_where_access_is_protected_whatever_takes_a_token_has_to_refuse(
        self, aws: Recorded, guarded: Guarded, gateway: str, raw: valkey.Valkey
    ) -> None:
        values = {"access": "protected"}
        waited, verdict = followed(live_checks.requests(deployment(aws, guarded.base_url, values)))
        assert (waited, verdict.verdict) == ([], OK)
        assert raw.dbsize() == 0
        asked = next(live_checks.requests(deployment(aws, gateway, values)))  # it does not ask for a token
        assert "create_user: 403" in asked
        assert "sessions.get: 403" in asked

    def test_what_does_not_answer_as_it_should_is_named(
        self, aws: Recorded, gateway: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = live_checks.ask

        def without_rank(deployment: Deployment, method: str, target: str, *more: Any) -> live_checks.Reply:
            return real(deployment, method, target.replace("/rank", "/wrong"), *more)

        monkeypatch.setattr(live_checks, "ask", without_rank)
        assert next(live_checks.requests(deployment(aws, gateway))) == "rank: 404"


class TestTls:
    """Against a TLS tunnel whose certificate this process trusts."""

    @pytest.fixture
    def authority(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
        one = Authority(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(one.file))
        return one

    @pytest.fixture
    def modern(self, authority: Authority) -> Iterator[Tunnel]:
        with tunnel_to(free_port(), authority.context("localhost")) as tunnel:
            yield tunnel

    @pytest.fixture
    def old(self, authority: Authority) -> Iterator[Tunnel]:
        context = authority.context("localhost")
        with tunnel_to(free_port(), speaking_only(ssl.TLSVersion.TLSv1_1, context)) as tunnel:
            yield tunnel

    def tls(self, aws: Recorded, url: str, policy: str | None = "SecurityPolicy_X") -> Verdict:
        return followed(live_checks.tls(deployment(aws, url, {"tls_policy": policy})))[1]

    def test_the_newest_is_spoken_and_no_old_one(self, aws: Recorded, modern: Tunnel) -> None:
        verdict = self.tls(aws, f"https://localhost:{modern.port}/v1")
        assert verdict.verdict == OK
        assert verdict.seen.startswith("TLSv1.3, and none of 1.0 and 1.1 (")
        assert "PROTOCOL_VERSION" in verdict.seen, "it is the other side that refuses"

    def test_an_old_one_is_against_the_policy(self, aws: Recorded, old: Tunnel) -> None:
        verdict = self.tls(aws, f"https://localhost:{old.port}/v1")
        assert (verdict.verdict, verdict.seen) == (NO, "none, and TLSv1.1")

    def test_without_a_policy_it_is_worth_a_look(self, aws: Recorded, old: Tunnel) -> None:
        verdict = self.tls(aws, f"https://localhost:{old.port}/v1", None)
        assert (verdict.verdict, verdict.remedy) == (LOOK, "without tls_policy, AWS takes old versions too: set it.")

    def test_an_emulator_has_none(self, aws: Recorded) -> None:
        assert self.tls(aws, "http://localhost:4566").verdict == NOT_NEEDED


class TestCache:
    USERS = ("leaderboard-prod-read", "leaderboard-prod-write")

    def cache(self, aws: Recorded, status: str = "available", major: str = "8") -> None:
        one = {"Engine": "valkey", "MajorEngineVersion": major, "FullEngineVersion": f"{major}.0", "Status": status}
        answer = {"ServerlessCaches": [{**one, "UserGroupId": "group"}]}
        aws.answer("elasticache", "describe_serverless_caches", answer, ServerlessCacheName="leaderboard-prod")

    def users(self, aws: Recorded, *states: str) -> None:
        group = {"UserGroups": [{"UserIds": [*self.USERS]}]}
        aws.answer("elasticache", "describe_user_groups", group, UserGroupId="group")
        for user, state in zip(self.USERS, states, strict=True):
            aws.answer("elasticache", "describe_users", {"Users": [{"Status": state}]}, UserId=user)

    def test_engine_and_users_are_as_they_should_be(self, aws: Recorded) -> None:
        self.cache(aws)
        self.users(aws, "active", "modifying")
        self.cache(aws)
        self.users(aws, "active", "active")
        waited, verdict = followed(live_checks.cache(deployment(aws)))
        assert waited == ["cache: available, leaderboard-prod-write: modifying"]
        assert (verdict.verdict, verdict.seen) == (OK, "valkey 8.0, 2 users active")

    def test_another_engine_than_the_values_say_is_wrong(self, aws: Recorded) -> None:
        self.cache(aws, major="7")
        self.users(aws, "active", "active")
        assert followed(live_checks.cache(deployment(aws)))[1].verdict == NO

    def test_without_a_cache_there_is_nothing_to_see(self, aws: Recorded) -> None:
        assert followed(live_checks.cache(deployment(aws, cache_name=None)))[1].verdict == NOT_NEEDED


class TestAlarms:
    def alarms(self, aws: Recorded, *states: str) -> None:
        found = [
            {"AlarmName": f"leaderboard-prod-{number}", "StateValue": state} for number, state in enumerate(states)
        ]
        aws.answer("cloudwatch", "describe_alarms", {"MetricAlarms": found}, AlarmNamePrefix="leaderboard-prod-")

    def test_all_have_to_have_data(self, aws: Recorded) -> None:
        self.alarms(aws)
        self.alarms(aws, "OK", *["INSUFFICIENT_DATA"] * 4)
        self.alarms(aws, "OK", "OK")
        waited, verdict = followed(live_checks.alarms(deployment(aws)))
        names = "leaderboard-prod-1, leaderboard-prod-2, leaderboard-prod-3 and 1 more"
        assert waited == ["0 of 0 without data", f"4 of 5 without data: {names}"]
        assert (verdict.verdict, verdict.seen) == (OK, "2 with data")

    def test_one_that_rings_is_worth_a_look(self, aws: Recorded) -> None:
        self.alarms(aws, "OK", "ALARM")
        assert followed(live_checks.alarms(deployment(aws)))[1].verdict == LOOK


class TestCharts:
    def dashboard(self, aws: Recorded, **charts: list[Any]) -> None:
        widgets = [{"type": "alarm", "properties": {"alarms": []}}]
        widgets += [
            {"type": "metric", "properties": {"title": title, "metrics": [one, MATH]}} for title, one in charts.items()
        ]
        answer = {"DashboardBody": json.dumps({"widgets": widgets})}
        aws.answer("cloudwatch", "get_dashboard", answer, DashboardName="leaderboard-prod")

    def values(self, aws: Recorded, *found: float) -> None:
        result = {"Id": "m0", "Values": [*found], "Timestamps": [datetime.now(UTC) for _ in found]}
        aws.answer("cloudwatch", "get_metric_data", {"MetricDataResults": [result]})

    def test_every_chart_has_to_have_a_line_and_failures_need_none(self, aws: Recorded) -> None:
        self.dashboard(aws, Latency=LATENCY, Failures=FAILURES)
        self.values(aws)
        self.values(aws, 3.0)
        waited, verdict = followed(live_checks.charts(deployment(aws)))
        assert waited == ["1 of 2 empty: Latency"]
        assert (verdict.verdict, verdict.seen) == (OK, "1 of 2 and 1 of what has not happened")

    def test_a_metric_is_asked_for_by_its_very_dimensions(self) -> None:
        dimensions = [{"Name": "ApiName", "Value": "leaderboard-prod"}, {"Name": "Stage", "Value": "v1"}]
        expected = {"Namespace": "AWS/ApiGateway", "MetricName": "Latency", "Dimensions": dimensions}
        assert live_checks.metric(LATENCY) == expected

    def test_a_metric_of_lambda_comes_with_every_call_and_ours_may_not(self, aws: Recorded) -> None:
        for drawn, expected in ((FAILURES, False), (REPLAYS, False), (REQUESTS, True), (ERRORS, True)):
            assert live_checks.is_steady(deployment(aws), live_checks.metric(drawn)) == expected

    def test_reconciles_figures_are_waited_for(self, aws: Recorded) -> None:
        self.values(aws)
        self.values(aws, 0.0)
        waited, verdict = followed(live_checks.log_metrics(deployment(aws)))
        assert (len(waited), verdict.verdict) == (1, OK)


class TestLogsAndTraces:
    def events(self, aws: Recorded, group: str, *messages: str) -> None:
        events = [{"message": message} for message in messages]
        question = {"logGroupName": GROUPS[group], "startTime": ANY, "filterPattern": '"r-1"'}
        aws.answer("logs", "filter_log_events", {"events": events}, **question)

    def test_a_request_has_to_be_in_both_logs(self, aws: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(live_checks, "ask", lambda *_: live_checks.Reply(200, {"x-request-id": "r-1"}, ""))
        self.events(aws, "health", '{"requestId": "r-1"}')
        self.events(aws, "api", '{"requestId": "another", "tlsVersion": "TLSv1.2"}')
        self.events(aws, "api", '{"requestId": "r-1", "tlsVersion": "TLSv1.3"}')
        waited, verdict = followed(live_checks.logs(deployment(aws)))
        assert waited == [f"no line of request r-1 in {GROUPS['api']}"]
        assert (verdict.verdict, verdict.seen) == (OK, "both, with TLSv1.3")

    def segments(self, aws: Recorded, *origins: str) -> None:
        """A trace with these origins; a name that does not begin with AWS:: is a part of Lambda's segment."""
        theirs = [origin for origin in origins if origin.startswith("AWS::")]
        parts = [{"name": "health.handler.handler", "subsegments": [{"name": name}]} for name in {*origins} - {*theirs}]
        documents = [{"Document": json.dumps({"origin": origin, "subsegments": parts})} for origin in theirs]
        aws.answer("xray", "batch_get_traces", {"Traces": [{"Segments": documents}] if origins else []}, TraceIds=ANY)

    def test_a_trace_has_to_have_both_ends_and_our_own_part(self, aws: Recorded, gateway: str) -> None:
        self.segments(aws)
        self.segments(aws, "AWS::ApiGateway::Stage", "AWS::Lambda")
        theirs = ("AWS::ApiGateway::Stage", "AWS::Lambda", "AWS::Lambda::Function")
        self.segments(aws, *theirs)
        self.segments(aws, *theirs, "health.report")
        waited, verdict = followed(live_checks.traces(deployment(aws, gateway)))
        assert [text.split(" has ")[1] for text in waited] == [
            "nothing",
            "AWS::ApiGateway::Stage, AWS::Lambda",
            "AWS::ApiGateway::Stage, AWS::Lambda, AWS::Lambda::Function",
        ]
        assert verdict.verdict == OK

    def test_the_request_asks_for_its_trace(self, aws: Recorded) -> None:
        sent: list[httpx.Headers] = []
        self.segments(aws, *live_checks.TRACED)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(live_checks, "ask", lambda *_, headers: sent.append(headers))
            followed(live_checks.traces(deployment(aws)))
        ((name, value),) = sent[0].items()
        assert name == "X-Amzn-Trace-Id"
        assert value.startswith("Root=1-")
        assert value.endswith(";Sampled=1")


class TestAlarmMail:
    NAME = "leaderboard-prod-slo-page"

    def begin(self, aws: Recorded, state: str = "OK", listener: str = f"{TOPIC}:1234") -> None:
        question = {"AlarmNames": [self.NAME], "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]}
        aws.answer("cloudwatch", "describe_alarms", {"CompositeAlarms": [{"StateValue": state}]}, **question)
        listeners = {"Subscriptions": [{"SubscriptionArn": listener}]}
        aws.answer("sns", "list_subscriptions_by_topic", listeners, TopicArn=TOPIC)
        self.set(aws, "ALARM")

    def set(self, aws: Recorded, state: str) -> None:
        question = {"AlarmName": self.NAME, "StateValue": state, "StateReason": ANY}
        aws.answer("cloudwatch", "set_alarm_state", {}, **question)

    def history(self, aws: Recorded, *summaries: str) -> None:
        items = {"AlarmHistoryItems": [{"HistorySummary": summary} for summary in summaries]}
        question = {"AlarmName": self.NAME, "HistoryItemType": "Action", "StartDate": ANY}
        aws.answer("cloudwatch", "describe_alarm_history", items, **question)

    def test_an_alarm_is_published_and_put_back(self, aws: Recorded) -> None:
        self.begin(aws)
        self.history(aws)
        self.history(aws, "Successfully executed action arn:other", f"Successfully executed action {TOPIC}")
        self.set(aws, "OK")
        waited, verdict = followed(live_checks.alarm_mail(deployment(aws)))
        assert len(waited) == 1
        assert verdict.verdict == OK
        assert verdict.seen == "Successfully executed action, 1 of 1 listeners confirmed"

    def test_a_topic_that_refuses_is_wrong(self, aws: Recorded) -> None:
        self.begin(aws, "INSUFFICIENT_DATA")
        self.history(aws, f"Failed to execute action {TOPIC}. Received error: KMSAccessDenied")
        self.set(aws, "INSUFFICIENT_DATA")
        verdict = followed(live_checks.alarm_mail(deployment(aws)))[1]
        assert verdict.verdict == NO
        assert "look at its key's policy" in verdict.remedy

    def test_one_that_nobody_hears_is_worth_a_look(self, aws: Recorded) -> None:
        self.begin(aws, listener="PendingConfirmation")
        self.history(aws, f"Successfully executed action {TOPIC}")
        self.set(aws, "OK")
        assert followed(live_checks.alarm_mail(deployment(aws)))[1].verdict == LOOK

    def test_whoever_stops_waiting_has_it_put_back(self, aws: Recorded) -> None:
        self.begin(aws)
        self.history(aws)
        self.set(aws, "OK")
        looking = live_checks.alarm_mail(deployment(aws))
        next(looking)
        looking.close()


class TestWhatShowsLater:
    FUNCTION_ARN = f"arn:aws:lambda:eu-central-1:111111111111:function:{FUNCTION}"
    KEY_ARN = "arn:aws:kms:eu-central-1:111111111111:key/1234"

    def events(self, aws: Recorded, *contexts: dict[str, str] | None) -> None:
        told = [json.dumps({"requestParameters": {"encryptionContext": one} if one else None}) for one in contexts]
        events = [{"EventName": "Decrypt", "CloudTrailEvent": one} for one in told]
        events.append({"EventName": "GenerateDataKey", "CloudTrailEvent": "not looked at"})
        attribute = {"AttributeKey": "ResourceName", "AttributeValue": self.KEY_ARN}
        aws.answer("cloudtrail", "lookup_events", {"Events": events}, LookupAttributes=[attribute], StartTime=ANY)

    def test_a_call_of_decrypt_with_the_function_is_waited_for(self, aws: Recorded) -> None:
        function = {"FunctionArn": self.FUNCTION_ARN, "KMSKeyArn": self.KEY_ARN}
        aws.answer("lambda", "get_function_configuration", function, FunctionName=FUNCTION)
        self.events(aws, None, {"aws:logs:arn": "x"})
        self.events(aws, {"aws:lambda:FunctionArn": self.FUNCTION_ARN.replace("health", "rank")})
        self.events(aws, {"aws:lambda:FunctionArn": self.FUNCTION_ARN})
        waited, verdict = followed(live_checks.decryption(deployment(aws)))
        assert waited == ["2 calls of Decrypt, with aws:logs:arn", "1 calls of Decrypt, with aws:lambda:FunctionArn"]
        assert verdict.verdict == OK

    def test_a_longer_body_stops_at_the_firewall(
        self, aws: Recorded, gateway: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looking = live_checks.firewall(deployment(aws, gateway, {"waf": {}}))
        assert next(looking) == "400 for 64 KiB, 413 for more", "the local gateway has no firewall"
        real = live_checks.ask

        def behind_a_firewall(deployment: Deployment, method: str, target: str, body: Any) -> live_checks.Reply:
            reply = real(deployment, method, target, body)
            return live_checks.Reply(403, {}, "") if reply.status == 413 else reply

        monkeypatch.setattr(live_checks, "ask", behind_a_firewall)
        assert followed(looking)[1].verdict == OK

    def test_without_a_firewall_there_is_nothing_to_see(self, aws: Recorded) -> None:
        assert followed(live_checks.firewall(deployment(aws, values={"waf": None})))[1].verdict == NOT_NEEDED

    @pytest.mark.parametrize(("to", "verdict"), [("OK", OK), ("ALARM", LOOK)])
    def test_the_alarm_on_missing_runs_has_never_rung(self, aws: Recorded, to: str, verdict: str) -> None:
        summaries = ["Alarm updated from INSUFFICIENT_DATA to " + to, "Alarm updated from ALARM to OK"]
        items = [{"HistorySummary": one, "Timestamp": datetime(2026, 11, 28, tzinfo=UTC)} for one in summaries]
        question = {"AlarmName": "leaderboard-prod-reconcile-not-running", "HistoryItemType": "StateUpdate"}
        aws.answer("cloudwatch", "describe_alarm_history", {"AlarmHistoryItems": items}, **question)
        found = followed(live_checks.first_run(deployment(aws)))[1]
        assert found.verdict == verdict
        assert ("2026-11-28 00:00" in found.seen) == (verdict == LOOK)

    @pytest.mark.parametrize(("messages", "verdict"), [([], OK), (["valkey trip failed"], LOOK)])
    def test_no_trip_has_failed(self, aws: Recorded, messages: list[str], verdict: str) -> None:
        page = {"events": [], "nextToken": "more"}  # a page of CloudWatch's answer may be empty, and another follow
        question = {"logGroupName": GROUPS["health"], "startTime": ANY, "filterPattern": '"valkey trip failed"'}
        aws.answer("logs", "filter_log_events", page, **question)
        events = [{"message": message} for message in messages]
        aws.answer("logs", "filter_log_events", {"events": events}, **question, nextToken="more")
        assert followed(live_checks.trips(deployment(aws)))[1].verdict == verdict


class TestCanary:
    """Version 3 runs. It is published again as version 4, which is given a share of the calls and loses it."""

    def alias(self, aws: Recorded, version: str = "3", **weights: float) -> None:
        routing = {"AdditionalVersionWeights": {name.removeprefix("v"): share for name, share in weights.items()}}
        found = {"FunctionVersion": version, "RoutingConfig": routing} if weights else {"FunctionVersion": version}
        aws.answer("lambda", "get_alias", found, FunctionName=FUNCTION, Name="live")

    def begin(self, aws: Recorded) -> None:
        self.alias(aws)
        versions = [{"Version": "$LATEST"}, {"Version": "2"}, {"Version": "3"}]
        aws.answer("lambda", "list_versions_by_function", {"Versions": versions}, FunctionName=FUNCTION)

    def published(self, aws: Recorded) -> None:
        described = {"Description": "GET /health", "LastUpdateStatus": "Successful"}
        aws.answer("lambda", "get_function_configuration", described, FunctionName=FUNCTION)
        aws.answer("lambda", "update_function_configuration", {}, FunctionName=FUNCTION, Description=ANY)
        aws.answer("lambda", "get_function_configuration", {"LastUpdateStatus": "InProgress"}, FunctionName=FUNCTION)
        aws.answer("lambda", "get_function_configuration", {"LastUpdateStatus": "Successful"}, FunctionName=FUNCTION)
        aws.answer("lambda", "publish_version", {"Version": "4"}, FunctionName=FUNCTION)
        aws.answer("lambda", "update_function_configuration", {}, FunctionName=FUNCTION, Description="GET /health")
        aws.answer("lambda", "get_function_configuration", {"LastUpdateStatus": "Successful"}, FunctionName=FUNCTION)
        for state in ("Pending", "Active"):
            question = {"FunctionName": FUNCTION, "Qualifier": "4"}
            aws.answer("lambda", "get_function_configuration", {"State": state}, **question)

    def deployed(self, aws: Recorded, name: str, current: str, target: str) -> None:
        names = {"Name": FUNCTION, "Alias": "live", "CurrentVersion": current, "TargetVersion": target}
        resource = {"Type": "AWS::Lambda::Function", "Properties": names}
        content = json.dumps({"version": 0.0, "Resources": [{"function": resource}]})
        aws.answer(
            "codedeploy",
            "create_deployment",
            {"deploymentId": name},
            applicationName=APPLICATION,
            deploymentGroupName=FUNCTION,
            revision={"revisionType": "AppSpecContent", "appSpecContent": {"content": content}},
            description=ANY,
        )

    def status(self, aws: Recorded, name: str, status: str, message: str = "") -> None:
        info = {"status": status, **({"errorInformation": {"message": message}} if message else {})}
        aws.answer("codedeploy", "get_deployment", {"deploymentInfo": info}, deploymentId=name)

    def deleted(self, aws: Recorded) -> None:
        aws.answer("lambda", "delete_function", {}, FunctionName=FUNCTION, Qualifier="4")

    def canary(self, aws: Recorded) -> Looking:
        return live_checks.canary(deployment(aws))

    def test_a_tenth_goes_there_and_comes_back(self, aws: Recorded) -> None:
        self.begin(aws)
        self.published(aws)
        self.deployed(aws, "d-1", "3", "4")
        self.alias(aws)
        self.status(aws, "d-1", "InProgress")
        self.alias(aws, v4=0.1)
        aws.answer("codedeploy", "stop_deployment", {}, deploymentId="d-1", autoRollbackEnabled=True)
        self.alias(aws, v4=0.1)
        self.alias(aws)
        self.alias(aws)
        self.deleted(aws)
        waited, verdict = followed(self.canary(aws))
        assert waited == [
            f"{FUNCTION} is being updated",
            f"version 4 of {FUNCTION} is pending",
            "deployment d-1: InProgress",
            "10% of the calls went to version 4, and are on their way back",
        ]
        assert (verdict.verdict, verdict.seen) == (OK, "10% to version 4, then all back to 3")

    def test_what_goes_there_at_once_comes_back_at_once(self, aws: Recorded) -> None:
        self.begin(aws)
        self.published(aws)
        self.deployed(aws, "d-1", "3", "4")
        self.alias(aws, "4")
        self.deployed(aws, "d-2", "4", "3")
        self.alias(aws)
        self.alias(aws)
        self.deleted(aws)
        assert followed(self.canary(aws))[1].seen == "100% to version 4, then all back to 3"

    def test_a_deployment_that_fails_is_told_with_its_reason(self, aws: Recorded) -> None:
        self.begin(aws)
        self.published(aws)
        self.deployed(aws, "d-1", "3", "4")
        self.alias(aws)
        self.status(aws, "d-1", "Failed", "the role may not")
        self.alias(aws)
        self.deleted(aws)
        verdict = followed(self.canary(aws))[1]
        assert (verdict.verdict, verdict.seen) == (NO, "Failed: the role may not")

    def test_whoever_stops_waiting_has_it_rolled_back(self, aws: Recorded) -> None:
        self.begin(aws)
        self.published(aws)
        self.deployed(aws, "d-1", "3", "4")
        self.alias(aws)
        self.status(aws, "d-1", "InProgress")
        aws.answer("codedeploy", "stop_deployment", {}, deploymentId="d-1", autoRollbackEnabled=True)
        self.alias(aws, v4=0.1)  # so the version stays, for somebody to look at
        looking = self.canary(aws)
        while "deployment" not in next(looking):
            pass
        looking.close()

    def test_a_release_that_waits_is_left_alone(self, aws: Recorded) -> None:
        self.alias(aws, "2")
        aws.answer("lambda", "list_versions_by_function", {"Versions": [{"Version": "3"}]}, FunctionName=FUNCTION)
        verdict = followed(self.canary(aws))[1]
        assert verdict.verdict == LOOK
        assert "version 3 of leaderboard-prod-health waits for its deployment" in verdict.remedy

    def test_where_terraform_moves_the_alias_there_is_none(self, aws: Recorded) -> None:
        assert followed(live_checks.canary(deployment(aws, deployment=None)))[1].verdict == NOT_NEEDED
