"""The dashboard on a laptop, without a browser: what is collected, kept, asked and judged, and how it is served."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from scripts.cloudwatch import series
from scripts.cloudwatch.series import Datum, Metrics
from scripts.local import gateway
from scripts.local.dashboard import bodies, collecting, insights, pages, sources

NAME = bodies.DEPLOYED
NOW = 1_800_000_000.0


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def collector(clock: Clock) -> collecting.Collector:
    return collecting.Collector(NAME, clock)


def emf(clock: Clock, **values: Any) -> str:
    """A request's line as a function writes it."""
    about = {
        "Timestamp": int(clock.now * 1000),
        "CloudWatchMetrics": [
            {"Namespace": NAME, "Dimensions": [[], ["Route"]], "Metrics": [{"Name": name} for name in values]}
        ],
    }
    return json.dumps({"message": "request answered", "Route": "GET /stats", "_aws": about, **values}) + "\n"


def value(
    collector: collecting.Collector, namespace: str, name: str, stat: str = "Sum", **dimensions: str
) -> float | None:
    """A statistic of the last minute."""
    collector.settle()
    now = int(collector.clock())
    key = (namespace, name, tuple(sorted(dimensions.items())))
    return collector.metrics.points(key, stat, now - 60, now + 1, 61).get(now - 60)


def answer(collector: collecting.Collector, status: int, times: int) -> None:
    """Requests that got this status."""
    code = "unavailable" if status == 503 else None
    for _ in range(times):
        collector.answered(gateway.Seen("id", "GET", "127.0.0.1", "/stats", status, code, 5.0, 4.0))


# What is collected


def test_a_line_is_metrics_and_a_row_of_its_functions_log(collector: collecting.Collector, clock: Clock) -> None:
    for milliseconds in (1, 2, 9):
        with collector.invocation("get_user"):
            collector.wrote(emf(clock, Requests=1, Latency=milliseconds))
    assert value(collector, NAME, "Requests") == 3
    assert value(collector, NAME, "Latency", "p50", Route="GET /stats") == 2
    assert value(collector, "AWS/Lambda", "Invocations", FunctionName=f"{NAME}-get-user") == 3
    assert value(collector, "AWS/Lambda", "Errors", FunctionName=f"{NAME}-get-user") == 0
    (first, *_) = collector.lines(NOW - 1, NOW + 1)
    assert first.group == f"/aws/lambda/{NAME}-get-user"


def test_a_function_that_raises_is_an_error_and_a_failure_of_its_log(collector: collecting.Collector) -> None:
    def fail() -> None:
        with collector.invocation("get_user"):
            collector.wrote('{"level":"ERROR","message":"request failed"}\n')
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert value(collector, "AWS/Lambda", "Errors", FunctionName=f"{NAME}-get-user") == 1
    assert value(collector, NAME, "get-user-failures") == 1


def test_the_gateway_counts_as_api_gateway_does(collector: collecting.Collector) -> None:
    api = {"ApiName": NAME, "Stage": "v1"}
    for status, code in ((200, None), (404, "endpoint_not_found"), (502, "bad_gateway")):
        collector.answered(gateway.Seen("id", "GET", "127.0.0.1", "/stats", status, code, 5.0, 4.0))
    assert value(collector, "AWS/ApiGateway", "Count", "SampleCount", **api) == 3
    assert value(collector, "AWS/ApiGateway", "5XXError", "Average", **api) == pytest.approx(1 / 3)
    assert value(collector, "AWS/ApiGateway", "4XXError", Method="GET", Resource="/stats", **api) == 1
    table = insights.ask(
        f"SOURCE '/aws/api-gateway/{NAME}' | filter errorType != \"-\" | fields errorType", collector.lines(NOW, NOW)
    )
    assert table.rows == [["INTEGRATION_FAILURE"], ["MISSING_AUTHENTICATION_TOKEN"]]


def test_what_valkey_tells_are_values_and_rises(collector: collecting.Collector) -> None:
    info = {"used_memory": 100, "connected_clients": 2, "db0": {"keys": 7, "expires": 3}, "keyspace_hits": 10}
    cache = {"clusterId": NAME}
    collector.look(info)
    assert value(collector, "AWS/ElastiCache", "CurrItems", "Maximum", **cache) == 7
    assert value(collector, "AWS/ElastiCache", "CacheHits", **cache) is None
    collector.look({**info, "keyspace_hits": 13, "keyspace_misses": 1})
    assert value(collector, "AWS/ElastiCache", "CacheHits", **cache) == 3
    assert value(collector, "AWS/ElastiCache", "CacheHitRate", "Average", **cache) == 75
    collector.look({**info, "keyspace_hits": 2})
    assert value(collector, "AWS/ElastiCache", "CacheHits", **cache) == 5, "a server that was started anew"


def test_old_values_are_thinned_but_their_sums_stay() -> None:
    metrics = Metrics()
    for second in range(0, 3600, 10):
        counts = {second % 50 + number / 100: 1.0 for number in range(100)}
        metrics.add([Datum("n", "m", (), int(NOW) - second, counts)])
    before = metrics.points(("n", "m", ()), "Sum", int(NOW) - 3660, int(NOW) + 1, 3661)
    metrics.thin(NOW)
    assert metrics.points(("n", "m", ()), "Sum", int(NOW) - 3660, int(NOW) + 1, 3661) == pytest.approx(before)
    kept = metrics.points(("n", "m", ()), "SampleCount", int(NOW) - 3660, int(NOW) + 1, 1)
    assert len(kept) < 100
    (p90,) = metrics.points(("n", "m", ()), "p90", int(NOW) - 3660, int(NOW) + 1, 3661).values()
    assert p90 == pytest.approx(40.5, rel=0.05)
    metrics.thin(NOW + series.KEPT_SECONDS + 3600)
    assert not metrics.points(("n", "m", ()), "Sum", 0, int(NOW) + 1, 10**9)


def test_the_log_is_bounded(collector: collecting.Collector) -> None:
    for number in range(collecting.MOST_LINES + 5):
        collector.hushed(f'{{"number":{number}}}')
    lines = collector.lines(0, NOW)
    assert len(lines) == collecting.MOST_LINES
    assert lines[0].text == '{"number":5}'


# Queries of logs

LINES = [
    insights.Line(NOW + number, "/aws/lambda/a", json.dumps(fields))
    for number, fields in enumerate(
        [
            {"message": "request answered", "route": "/stats", "milliseconds": 5, "cold": True},
            {"message": "request answered", "route": "/stats", "milliseconds": 9.5, "code": "unavailable"},
            {"message": "request answered", "route": "/users", "milliseconds": 30, "code": "user_not_found"},
            {"message": "reconciled", "record": {"metrics": {"used": 3}}},
        ]
    )
]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ('filter message = "reconciled" | fields record.metrics.used', [[3]]),
        ("filter ispresent(code) | stats count(*) as n by route | sort n desc, route", [["/stats", 1], ["/users", 1]]),
        ("filter milliseconds >= 9 and not code like /not/ | fields milliseconds", [[9.5]]),
        (
            "filter code != 'unavailable' and (route = '/users' or cold = true) | fields route | sort route",
            [["/stats"], ["/users"]],
        ),
        (
            "filter message like 'answered' | stats avg(milliseconds), max(milliseconds) as top by route | sort top",
            [["/stats", 7.25, 9.5], ["/users", 30.0, 30.0]],
        ),
        ("stats pct(milliseconds, 50) as half, count(code) as codes", [[9.5, 2]]),
        ("fields milliseconds | sort milliseconds desc | limit 2", [[30], [9.5]]),
        ("SOURCE '/aws/lambda/b' | stats count(*) as n by route", []),
    ],
)
def test_a_query_finds_its_rows(query: str, rows: list[list[Any]]) -> None:
    assert insights.ask(query, LINES).rows == rows


@pytest.mark.parametrize("query", ["parse x as y", "filter a ~ 1", "stats median(a)", "filter a =", "fields"])
def test_a_query_that_nothing_here_knows_is_refused(query: str) -> None:
    with pytest.raises(insights.QueryError):
        insights.ask(query, LINES)


# The body and the alarms


def test_a_row_may_repeat_the_row_before_it_with_dots() -> None:
    metrics = [["N", "A", "D", "x"], [".", "B", ".", "."], ["...", "y", {"stat": "p99"}]]
    queries = bodies.queries({"properties": {"metrics": metrics, "period": 60, "stat": "Sum"}})
    told = [query["MetricStat"] for query in queries]
    assert [(one["Metric"]["MetricName"], one["Metric"]["Dimensions"][0]["Value"], one["Stat"]) for one in told] == [
        ("A", "x", "Sum"),
        ("B", "x", "Sum"),
        ("B", "y", "p99"),
    ]


def test_every_chart_and_alarm_of_the_plan_can_be_evaluated(collector: collecting.Collector) -> None:
    source = sources.Local(collector)
    for widget in source.body()["widgets"]:
        if widget["type"] == "metric":
            assert source.values(bodies.queries(widget), int(NOW) - 900, int(NOW)) is not None
        elif widget["type"] == "log":
            assert source.table(widget["properties"]["query"], NOW - 900, NOW).rows == []
    for alarm in source.alarms():
        is_raised = alarm["StateValue"] == "ALARM"
        assert is_raised == (alarm.get("TreatMissingData") == "breaching"), alarm


def test_the_page_of_the_plan_goes_red_by_its_cause_and_green_again(
    collector: collecting.Collector, clock: Clock
) -> None:
    source = sources.Local(collector)

    def states() -> dict[str, str]:
        return {alarm["AlarmName"].removeprefix(f"{NAME}-"): alarm["StateValue"] for alarm in source.alarms()}

    before = {name for name, state in states().items() if state == "ALARM"}
    clock.now += 10
    answer(collector, 503, 20)
    clock.now += 10
    raised = {name for name, state in states().items() if state == "ALARM"}
    assert {"slo-page", "availability-fast-5m", "availability-fast-1h"} <= raised - before
    clock.now += 330
    answer(collector, 200, 20)
    assert states()["availability-fast-5m"] == "OK"
    assert states()["slo-page"] == "ALARM", "half an hour is not over"
    clock.now += 1500
    answer(collector, 200, 20)
    assert states()["slo-page"] == "OK"
    assert states()["availability-fast-1h"] == "ALARM"


def test_a_deployment_of_another_name_has_the_same_dashboard() -> None:
    body, alarms = bodies.planned("mine")
    assert bodies.DEPLOYED not in json.dumps([body, alarms])
    queries = [one for widget in body["widgets"] if widget["type"] == "metric" for one in bodies.queries(widget)]
    namespaces = {one["MetricStat"]["Metric"]["Namespace"] for one in queries if "MetricStat" in one}
    assert namespaces >= {"mine", "AWS/ApiGateway"}


# The page's server


@pytest.fixture
def page(collector: collecting.Collector) -> Iterator[httpx.Client]:
    app = pages.application(sources.Local(collector), {}, ["curl …"])
    with (
        gateway.listen(0) as sock,
        pages.serving(app, sock) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        yield client


def test_the_page_and_what_it_asks(page: httpx.Client, collector: collecting.Collector, clock: Clock) -> None:
    for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
        reply = page.get(path)
        assert (reply.status_code, reply.headers["content-type"].partition(";")[0]) == (200, kind)
        assert "script-src 'self';" in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in page.get("/").text
    library = page.get("/plotly.js")
    assert "Plotly" in library.text
    assert page.get("/plotly.js", headers={"if-none-match": library.headers["etag"]}).status_code == 304

    board = page.get("/dashboard.json").json()
    assert board["hints"] == ["curl …"]
    only = [widget["onlyOnAws"] for widget in board["widgets"] if widget.get("isOnlyOnAws") and "queries" in widget]
    assert ["ElastiCacheProcessingUnits"] in only
    assert not any("Requests" in names for names in only)

    collector.wrote(emf(clock, Requests=1))
    query = {
        "Id": "m1",
        "Label": "requests",
        "MetricStat": {"Metric": {"Namespace": NAME, "MetricName": "Requests"}, "Period": 60, "Stat": "Sum"},
    }
    asked = {"StartTime": NOW - 60, "EndTime": NOW + 1, "MetricDataQueries": [query]}
    told = page.post("/metrics", json=asked).json()["MetricDataResults"]
    assert told == [{"Id": "m1", "Label": "requests", "Timestamps": [NOW], "Values": [1]}]
    asked = {"query": "stats count(*) as n", "StartTime": NOW - 60, "EndTime": NOW}
    assert page.post("/logs", json=asked).json() == {"columns": ["n"], "rows": [[1]]}
    assert len(page.get("/alarms").json()["Alarms"]) > 50


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/metrics", "{}", 400),
        ("/metrics", "nonsense", 400),
        ("/metrics", "[]", 400),
        ("/logs", '{"query":"parse","StartTime":0,"EndTime":1}', 400),
        ("/nothing", "{}", 404),
        ("/logs", " " * (pages.LARGEST_BODY_BYTES + 1), 413),
    ],
)
def test_a_bad_question_is_refused(page: httpx.Client, path: str, body: str, status: int) -> None:
    reply = page.post(path, content=body)
    assert (reply.status_code, list(reply.json())) == (status, ["error"])


def test_another_host_is_refused(page: httpx.Client) -> None:
    assert page.get("/dashboard.json", headers={"host": "evil.example"}).status_code == 421


def test_too_many_points_are_refused(page: httpx.Client) -> None:
    metric = {"Metric": {"Namespace": NAME, "MetricName": "Requests"}, "Period": 1, "Stat": "Sum"}
    asked = {"StartTime": 0, "EndTime": NOW, "MetricDataQueries": [{"Id": "a", "MetricStat": metric}]}
    assert "points" in page.post("/metrics", json=asked).json()["error"]


def test_a_taken_port_is_another_unless_it_was_asked_for() -> None:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # somebody else may have it
            stack.enter_context(gateway.listen(pages.PORT))
        free = stack.enter_context(pages.listen({}))
        assert free.getsockname()[1] != pages.PORT
        with pytest.raises(OSError, match="in use"):
            pages.listen({"DASHBOARD_PORT": str(free.getsockname()[1])})
