"""What a request's line says and counts: functions and table of metrics agree, and nothing personal is in any line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import valkey
import yaml

from scripts.local import embedded_valkey, examples
from scripts.local.proxy import Context
from scripts.places import ROOT
from shared import config, endpoint, logs, revenue, security, telemetry
from tests.support import invariants, lines
from tests.support.invoking import Answer, Invoker, event, invoker
from tests.support.lines import Lines
from tests.support.wires import Proxy, proxy_to

TABLE: dict[str, Any] = yaml.safe_load((ROOT / "functions/metrics.yaml").read_text(encoding="utf-8"))

EMITTERS = {
    "request": "request answered",
    "write": "request answered",
    "reconcile": "reconciled",
    "security": "security event",
}
"""Which line is whose."""

ADA = {"userId": "ada", "username": "Ada Lovelace", "email": "ada@example.com"}

Invoke = Callable[..., Answer]
Line = dict[str, Any]


@pytest.fixture
def kept(logged: Lines) -> list[Line]:
    """The lines that are written from now on."""
    logged.kept = []
    return logged.kept


@pytest.fixture
def ada(invoke: Invoke) -> str:
    """A player."""
    assert invoke("create_user", event("POST", "/users", json_body=ADA)).status == 201
    return "ada"


def submit(invoke: Invoke, key: str | None = None, user_id: str = "ada", **body: Any) -> Answer:
    """PUT /users/{userId}/score."""
    headers = {} if key is None else {"Idempotency-Key": key}
    return invoke(
        "update_score", event("PUT", f"/users/{user_id}/score", json_body={"score": 5, **body}, headers=headers)
    )


def answered(written: list[Line]) -> Line:
    """The last request's line."""
    return [line for line in written if line["message"] == "request answered"][-1]


def dimensions(line: Mapping[str, Any]) -> dict[str, tuple[str, list[list[str]]]]:
    """The unit and the sets of dimensions of each metric of a line."""
    return {
        metric["Name"]: (metric["Unit"], directive["Dimensions"])
        for directive in line["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
    }


class TestTable:
    def test_the_functions_know_the_metrics_of_the_table(self) -> None:
        assert {
            name: (metric.unit, [metric.by] if metric.by else [], metric.has_total)
            for name, metric in telemetry.METRICS.items()
        } == {name: (row["unit"], row["by"], row.get("total", True)) for name, row in TABLE["metrics"].items()}
        assert {metric.by for metric in telemetry.METRICS.values() if metric.by} == set(TABLE["dimensions"])

    @pytest.mark.usefixtures("raw")
    @pytest.mark.parametrize("depth", ["routes", "totals"])
    def test_each_metric_is_emitted_as_the_table_says(
        self,
        depth: str,
        server: embedded_valkey.Server,
        kept: list[Line],
        token_key: Mapping[str, str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(telemetry, "first", {"first": True})
        settings = {"metrics_depth": depth, "metrics_namespace": "mine", "access": "protected", **token_key}
        with proxy_to(server.port) as wire, invoker(wire.port, **settings) as call:
            everything(call, wire)
        emitted: dict[str, set[str]] = {}
        for line in (line for line in kept if "_aws" in line):
            for name, (unit, sets) in dimensions(line).items():
                row = TABLE["metrics"][name]
                by = [] if depth == "totals" and row["by"] == ["Route"] else row["by"]
                assert unit == row["unit"]
                assert sets == [[]] * row.get("total", True) + [[name] for name in by], name
                assert line["message"] == EMITTERS[row["emitter"]]
                emitted.setdefault(row["emitter"], set()).add(name)
            assert {one["Namespace"] for one in line["_aws"]["CloudWatchMetrics"]} == {"mine"}
        wanted: dict[str, set[str]] = {}
        for name, row in TABLE["metrics"].items():
            wanted.setdefault(row["emitter"], set()).add(name)
        for emitter, names in wanted.items():
            assert names <= emitted[emitter], emitter


def everything(call: Invoker, wire: Proxy) -> None:
    """Each operation's example, and what has metrics of its own."""
    ids = examples.existing(lambda one: call.ask(one).json())
    found = examples.load(ids)
    for one in found.values():
        assert call.ask(one).status == one.status
    keyed = examples.load(examples.existing(lambda one: call.ask(one).json()))["update_score"]  # the first was erased
    for data, status in (({"revenue": {"amount": 499, "currency": "EUR"}}, 200), ({"revenue": 5}, 422)):
        body = {**(keyed.body or {}), "gameData": data}
        headers = {"Idempotency-Key": "a"}
        assert call(keyed.function, keyed.method, keyed.target, json_body=body, headers=headers).status == status
        assert call(keyed.function, keyed.method, keyed.target, json_body=body, headers=headers).status == status
    assert call(keyed.function, keyed.method, keyed.target, json_body=body).status == 200
    wire.cuts = 1
    assert call.ask(found["stats"]).status == 200
    call.run(lambda: invariants.reconcile_handler.handler(invariants.EVENTBRIDGE, Context()))


class TestLine:
    @pytest.mark.usefixtures("ada")
    def test_it_says_how_the_request_was_answered(self, invoke: Invoke, kept: list[Line]) -> None:
        request = event("GET", "/users/ada/rank")
        invoke("rank", request)
        (line,) = kept
        assert list(line)[:13] == [
            *("timestamp", "level", "message", "requestId", "traceId", "method", "route"),
            *("status", "code", "milliseconds", "trips", "cold", "outcome"),
        ]
        assert line["requestId"] == request["requestContext"]["requestId"]
        assert line["traceId"] == "1-5759e988-bd862e3fe1be46a994272793"
        assert (line["trips"], line["outcome"], line["code"]) == (1, "ok", None)
        assert line["milliseconds"] == round(line["Latency"], 3)
        assert line["ProcessorTime"] > 0
        assert 0 < sum(line["ValkeyTripTime"]) < line["Latency"]

    @pytest.mark.usefixtures("ada")
    def test_its_outcome_is_a_word(self, invoke: Invoke, kept: list[Line]) -> None:
        outcomes = []
        for key, body in (("k", {}), ("k", {}), ("k", {"score": 6}), (None, {"score": "x"})):
            submit(invoke, key, **body)
            outcomes.append(answered(kept)["outcome"])
        assert outcomes == ["ok", "replayed", "refused", "refused"]

    def test_each_line_of_a_request_has_its_id(self, server: embedded_valkey.Server, kept: list[Line]) -> None:
        with proxy_to(server.port) as wire, invoker(wire.port) as call:
            wire.cuts = 1
            assert call("stats", "GET", "/stats").status == 200
        failed, line = kept
        assert (failed["message"], line["message"]) == ("valkey trip failed", "request answered")
        assert failed["requestId"] == line["requestId"]
        assert (line["ValkeyRetries"], line["ValkeyConnections"], line["trips"]) == (1, 2, 2)
        logs.write("INFO", "reconciled")
        assert "requestId" not in kept[-1], "and none that comes after it"

    @pytest.mark.parametrize(
        ("header", "lambdas", "known"),
        [
            ("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1", "", True),
            ("Self=1-0-0;Root=1-5759e988-bd862e3fe1be46a994272793", "", True),
            (None, "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0", True),
            ("Root=ada@example.com", "", False),
            ("Root=1-5759e988-bd862e3fe1be46a994272793ada", "", False),
            (None, "", False),
        ],
    )
    def test_a_trace_is_known_by_its_root_alone(
        self, header: str | None, lambdas: str, known: bool, invoke: Invoke, kept: list[Line], monkeypatch: Any
    ) -> None:
        monkeypatch.setenv("_X_AMZN_TRACE_ID", lambdas)
        headers = {} if header is None else {"X-Amzn-Trace-Id": header}
        invoke("stats", {**event("GET", "/stats"), "headers": headers})
        assert kept[-1]["traceId"] == ("1-5759e988-bd862e3fe1be46a994272793" if known else None)

    def test_a_method_that_a_function_does_not_have_is_in_the_log(self, invoke: Invoke, kept: list[Line]) -> None:
        invoke("sessions", event("PATCH", "/sessions"))
        (line,) = kept
        assert (line["status"], line["code"], line["outcome"]) == (404, "endpoint_not_found", "refused")
        assert "Route" not in line

    def test_a_made_up_route_has_no_metric(self, invoke: Invoke, kept: list[Line], monkeypatch: Any) -> None:
        monkeypatch.setitem(lines.SHAPES, "route", lambda _: True)
        for route in ("/made/up", "/users", None):
            invoke("stats", event("GET", "/stats", resource=route))
            assert "Route" not in kept[-1]
            assert [[], ["Route"]] not in [sets for _, sets in dimensions(kept[-1]).values()]

    def test_the_operations_of_the_functions_are_those_of_the_contract(self) -> None:
        known = set()
        for path in ROOT.glob("functions/*/handler.py"):
            docstring = path.read_text(encoding="utf-8").split('"""')[1]
            known |= endpoint.operations_in(docstring)
        assert known == lines.OPERATIONS

    def test_a_misconfigured_function_writes_its_line_and_counts_it(
        self, server: embedded_valkey.Server, kept: list[Line], monkeypatch: Any
    ) -> None:
        with invoker(server.port) as call:
            monkeypatch.setenv("VALKEY_PORT", "nowhere")
            monkeypatch.setenv("METRICS_NAMESPACE", "mine")
            config.settings.cache_clear()
            with pytest.raises(AssertionError, match="documents no 500"):
                call("stats", "GET", "/stats")
            monkeypatch.undo()
            config.settings.cache_clear()
        failed, line = kept
        assert failed["cause"] == "VALKEY_PORT is 'nowhere': it should be from 1 to 65535"
        assert (line["status"], line["outcome"], line["ServerErrors"]) == (500, "failed", 1)
        assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "mine"

    def test_only_the_first_request_of_a_process_is_cold(
        self, invoke: Invoke, kept: list[Line], monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(telemetry, "first", {"first": True})
        for _ in range(2):
            invoke("stats", event("GET", "/stats"))
        assert [(line["cold"], line["ColdStarts"], "InitTime" in line) for line in kept] == [
            (True, 1, True),
            (False, 0, False),
        ]

    def test_no_metric_has_more_values_than_cloudwatch_takes(self, kept: list[Line]) -> None:
        telemetry.start("5a0e9d3c-0000-4000-8000-000000000000", event("GET", "/stats"), ())
        for _ in range(telemetry.MOST_VALUES + 1):
            telemetry.add("ValkeyTripTime", 0.5)
        telemetry.answered(200, None, "ok", None)
        assert len(kept[0]["ValkeyTripTime"]) == telemetry.MOST_VALUES == lines.MOST_VALUES

    def test_what_nobody_asked_for_is_not_counted(self, kept: list[Line]) -> None:
        telemetry.add("ValkeyRetries")
        telemetry.note(outcome="ok")
        telemetry.start("5a0e9d3c-0000-4000-8000-000000000000", event("GET", "/stats"), ())
        telemetry.answered(200, None, "ok", None)
        assert "ValkeyRetries" not in kept[0]


class TestBusiness:
    @pytest.mark.parametrize(
        ("told", "expected"),
        [
            (None, None),
            ({}, None),
            ({"revenue": None}, None),
            ({"revenue": {"amount": 499, "currency": "EUR"}}, revenue.Amount(499, "EUR")),
            ({"revenue": {"amount": 499.0, "currency": "USD", "product": "sword"}}, revenue.Amount(499, "USD")),
            ({"revenue": {"amount": 0, "currency": "EUR"}}, revenue.Amount(0, "EUR")),
            ({"revenue": {"amount": 10**9, "currency": "EUR"}}, revenue.Amount(10**9, "EUR")),
            *(
                ({"revenue": unreadable}, revenue.UNREADABLE)
                for unreadable in (
                    *({"amount": 10**9 + 1, "currency": "EUR"}, {"amount": -1, "currency": "EUR"}),
                    *({"amount": 4.99, "currency": "EUR"}, {"amount": "499", "currency": "EUR"}),
                    *({"amount": True, "currency": "EUR"}, {"amount": 1e300, "currency": "EUR"}),
                    *({"amount": 499, "currency": "eur"}, {"amount": 499, "currency": "CHF"}),
                    *(
                        {"amount": 499, "currency": ["EUR"]},
                        {"amount": 499},
                        {"currency": "EUR"},
                        {},
                        [],
                        499,
                        "499 EUR",
                    ),
                )
            ),
        ],
    )
    def test_revenue_is_whole_minor_units_of_a_listed_currency(self, told: Any, expected: Any) -> None:
        assert revenue.read(told, ("EUR", "USD")) == expected

    @pytest.mark.usefixtures("ada")
    def test_revenue_is_counted_by_currency_and_never_refused(self, invoke: Invoke, kept: list[Line]) -> None:
        for told in ({"amount": 499, "currency": "EUR"}, {"amount": "ada@example.com", "currency": "EUR"}, "Ada", None):
            assert submit(invoke, gameData={"revenue": told}).json()["gameData"] == {"revenue": told}
        counted = [(line.get("Revenue"), line.get("Currency"), line.get("RevenueUnreadable")) for line in kept]
        assert counted == [(499, "EUR", None), (None, None, 1), (None, None, 1), (None, None, None)]
        assert dimensions(kept[0])["Revenue"] == ("None", [["Currency"]])

    def test_a_write_is_counted_once_and_its_replays_as_replays(self, invoke: Invoke, logged: Lines) -> None:
        before = logged.counted.copy()
        for _ in range(3):
            headers = {"Idempotency-Key": "a"}
            invoke("create_user", event("POST", "/users", json_body=ADA, headers=headers))
            submit(invoke, "b", score=7, operator="increment", gameData={"revenue": {"amount": 5, "currency": "EUR"}})
            invoke("sessions", event("POST", "/sessions", json_body={"userId": "ada"}, headers=headers))
        submit(invoke, score=3, operator="decrement")
        names = ("PlayersCreated", "Submissions", "ScoreVolume", "Revenue", "SessionsStarted", "Replays")
        assert [logged.since(before, name) for name in names] == [1, 2, 10, 5, 1, 6]

    @pytest.mark.usefixtures("ada")
    def test_a_refused_submission_is_counted_by_its_reason(self, invoke: Invoke, kept: list[Line]) -> None:
        submit(invoke, "a")
        submit(invoke, "a", score=6)
        submit(invoke, user_id="nobody")
        submit(invoke, score=-1)
        submit(invoke, gameData={"x": "y" * 70_000})
        invoke("get_user", event("GET", "/users/nobody"))
        reasons = [line["Reason"] for line in kept if line.get("SubmissionsRefused")]
        assert reasons == ["idempotency_key_reused", "user_not_found", "invalid_arguments", "body_too_large"]
        assert sum(line.get("Submissions", 0) for line in kept) == 1

    def test_a_read_is_answered_if_what_it_asks_for_is_there(self, invoke: Invoke, ada: str, kept: list[Line]) -> None:
        body = {"userId": ada}
        session = invoke("sessions", event("POST", "/sessions", json_body=body)).json()["session"]["sessionId"]
        kept.clear()
        hits = (f"/users/{ada}", f"/users/{ada}/rank", f"/users/{ada}/nearby", f"/sessions/{session}")
        for path, function in zip(hits, ("get_user", "rank", "nearby", "sessions"), strict=True):
            invoke(function, event("GET", path))
            invoke(function, event("GET", path.replace(ada, "nobody").replace(session, "gone")))
        assert [line["ReadsAnswered"] for line in kept] == [1, 0] * 4
        kept.clear()
        for function in ("leaderboard", "stats"):
            invoke(function, event("GET", f"/{function}"))
        assert [line["ReadsAnswered"] for line in kept] == [1, 1]
        kept.clear()
        invoke("leaderboard", event("GET", "/leaderboard?limit=0"))
        invoke("health", event("GET", "/health"))
        submit(invoke)
        invoke("sessions", event("DELETE", "/sessions/gone"))
        assert not any("ReadsAnswered" in line for line in kept), "what is refused, and what is no read"


class TestSecurity:
    @pytest.mark.parametrize(
        ("function", "request_event", "kind"),
        [
            ("stats", event("GET", "/stats?ada=ada@example.com"), "validation_refused"),
            ("create_user", event("POST", "/users", body="{"), "validation_refused"),
            ("create_user", event("POST", "/users", json_body={**ADA, "userId": "x" * 70_000}), "oversize"),
            ("rank", event("GET", "/users/nobody/rank"), None),
        ],
    )
    def test_what_is_refused_is_an_event_of_its_kind(
        self, function: str, request_event: Any, kind: str | None, invoke: Invoke, kept: list[Line]
    ) -> None:
        invoke(function, request_event)
        events = [line for line in kept if line.get("event") == "security"]
        assert [one["kind"] for one in events] == ([kind] if kind else [])
        for one in events:
            assert list(one)[:8] == [*("timestamp", "level", "message", "requestId", "event", "kind", "route", "code")]
            assert one["requestId"] == answered(kept)["requestId"]
            assert dimensions(one) == {"SecurityEvents": ("Count", [[], ["Kind"]])}
            assert (one["Kind"], one["SecurityEvents"]) == (kind, 1)

    @pytest.mark.usefixtures("ada")
    def test_an_attempt_with_a_wrong_clock_and_a_used_key_are_events(
        self, invoke: Invoke, kept: list[Line], monkeypatch: Any
    ) -> None:
        submit(invoke, "a")
        submit(invoke, "a", score=6)
        monkeypatch.setattr("shared.outbox.FENCE_SECONDS", -1)
        submit(invoke)
        assert [line["kind"] for line in kept if "event" in line] == ["idempotency_conflict", "stale_attempt"]

    def test_a_player_that_cannot_be_read_is_an_event(self, raw: valkey.Valkey, ada: str, kept: list[Line]) -> None:
        raw.hset("user:ada", "revision", "ada@example.com")
        invariants.reconcile_handler.handler(invariants.EVENTBRIDGE, Context())
        one = next(line for line in kept if "event" in line)
        assert (one["kind"], one["userId"], one["cause"], one["route"]) == (
            *("unreadable_player", ada, "malformed profile", None),
        )
        assert "requestId" not in one

    def test_a_command_that_we_may_not_run_is_an_event(
        self, raw: valkey.Valkey, server: embedded_valkey.Server, kept: list[Line]
    ) -> None:
        raw.acl_setuser("stranger", enabled=True, passwords=["+secret"], keys=["*"], commands=["+ping"])
        try:
            with (
                invoker(server.port, valkey_user="stranger", valkey_password="secret") as call,
                pytest.raises(AssertionError, match="documents no 500"),
            ):
                call("get_user", "GET", "/users/ada")
            with invoker(server.port, valkey_user="stranger", valkey_password="wrong") as call:
                assert call("get_user", "GET", "/users/ada").status == 503
        finally:
            raw.acl_deluser("stranger")
        assert [line["kind"] for line in kept if "event" in line] == [
            *("cache_permission_denied", "cache_authentication_failed"),
        ]

    def test_the_kinds_of_codes_are_of_real_codes(self) -> None:
        assert set(security.OF_CODES) <= lines.CODES
        assert set(security.OF_CODES.values()) <= set(security.KINDS)


class TestWhatIsLogged:
    """The guard over all tests, on lines that must not pass it."""

    @pytest.mark.parametrize(
        "facts",
        [
            {"username": "Ada"},
            {"cause": "ada@example.com"},
            {"cause": "Ada Lovelace"},
            {"cause": ["Ada Lovelace"]},
            {"requestId": "Ada"},
            {"route": "/users/ada"},
            {"code": "ada"},
            {"outcome": "Ada"},
            {"method": "Ada"},
            {"Currency": "Ada"},
            {"body": {"username": "Ada"}},
            {"key": "7b0c6a1e-5d1f-4f6a-9a55-0c3e2c7b9d41"},
            {"token": "AKIA"},
            {"userId": "ada"},
        ],
    )
    def test_a_fact_that_is_not_on_the_list_is_found(self, facts: dict[str, Any]) -> None:
        line = {"timestamp": "2026-01-01T00:00:00Z", "level": "INFO", "message": "request answered"}
        assert lines.faults(line) == []
        assert lines.faults(line | facts) == [*facts]
        assert lines.faults({**line, "message": "Ada was answered"}) == ["message"]

    def test_it_looks_at_what_handlers_log(self, invoke: Invoke, logged: Lines, monkeypatch: Any) -> None:
        submit_really = telemetry.answered

        def indiscreet(*arguments: Any) -> None:
            telemetry.note(username="Ada")
            submit_really(*arguments)

        monkeypatch.setattr(telemetry, "answered", indiscreet)
        invoke("stats", event("GET", "/stats"))
        assert "username" in logged.fault
        logged.fault = ""

    def test_nothing_else_in_the_layer_prints(self) -> None:
        for path in [*ROOT.glob("shared/**/*.py"), *ROOT.glob("functions/**/*.py")]:
            found = set(re.findall(r"stdout|stderr|\bprint\(|import logging", path.read_text(encoding="utf-8")))
            # what X-Ray's SDK says goes into our log, without its words; what botocore says of itself goes nowhere
            allowed = {"logs.py": {"stdout"}, "tracing.py": {"import logging"}, "tokens.py": {"import logging"}}
            assert found <= allowed.get(path.name, set()), path
