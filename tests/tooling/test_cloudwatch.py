"""What is measured here as CloudWatch measures it: EMF lines, statistics, metric math and alarms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scripts.cloudwatch import alarms, emf, expressions
from scripts.cloudwatch.series import Datum, Metrics, UnknownStatisticError, statistic

NOW = 1_800_000_000


def line(**changed: Any) -> dict[str, Any]:
    """An EMF line with two metrics, by no dimension and by one; a dotted path is a change in its only directive."""
    directive = {
        "Namespace": "game",
        "Dimensions": [[], ["Route"]],
        "Metrics": [{"Name": "Latency", "Unit": "Milliseconds"}, {"Name": "Requests"}],
    }
    directive |= {name: changed.pop(name) for name in list(changed) if name in directive}
    about = {"Timestamp": NOW * 1000 + 250, "CloudWatchMetrics": [directive]}
    about |= {name: changed.pop(name) for name in list(changed) if name in about}
    return {"_aws": about, "Route": "GET /rank", "Latency": [3.5, 4, 4], "Requests": 1, "message": "served", **changed}


def made(event: Any) -> list[Datum]:
    return emf.metrics(json.dumps(event) + "\n", NOW)


def test_a_line_is_counted_under_each_of_its_dimension_sets() -> None:
    by_route = (("Route", "GET /rank"),)
    assert made(line()) == [
        Datum("game", name, dimensions, NOW, counts, unit)
        for dimensions in ((), by_route)
        for name, counts, unit in (("Latency", {3.5: 1, 4: 2}, "Milliseconds"), ("Requests", {1: 1}, "None"))
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"Latency": "3"},
        {"Latency": True},
        {"Latency": [1, "2"]},
        {"Latency": None},
        {"Latency": list(range(101))},
        {"Route": 7},
        {"Route": ""},
        {"Dimensions": [["Nowhere"]]},
        {"Dimensions": "Route"},
        {"Dimensions": []},
        {"Dimensions": [[f"Route{number}" for number in range(31)]]},
        {"Namespace": ""},
        {"Namespace": 7},
        {"Metrics": [{"Name": "Latency", "Unit": "Parsecs"}]},
        {"Metrics": [{"Name": "Nowhere"}]},
        {"Metrics": [{"Unit": "Count"}]},
        {"Metrics": [{"Name": "Latency", "StorageResolution": 7}]},
        {"Metrics": [{"Name": "Requests"}] * 101},
        {"Timestamp": "now"},
        {"Timestamp": (NOW - 15 * 86400) * 1000},
        {"Timestamp": (NOW + 3 * 3600) * 1000},
        {"CloudWatchMetrics": {"Namespace": "game"}},
        {"CloudWatchMetrics": [7]},
        {"_aws": 7},
    ],
    ids=str,
)
def test_what_is_malformed_is_no_metric_and_no_error(changed: dict[str, Any]) -> None:
    assert made(line())
    assert made(line(**changed)) == []


@pytest.mark.parametrize(
    "text", ["", "{", '["CloudWatchMetrics"]', "START RequestId: 1", '{"_aws": {"CloudWatchMetrics"']
)
def test_a_line_that_is_no_object_is_no_metric(text: str) -> None:
    assert emf.metrics(text, NOW) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[("Sum", 5050), ("SampleCount", 100), ("Average", 50.5), ("Minimum", 1), ("Maximum", 100)],
        *[("p50", 50), ("p99", 99), ("p99.9", 100), ("p100", 100), ("p0", 1)],
    ],
)
def test_statistics(name: str, expected: float) -> None:
    assert statistic(dict.fromkeys(range(1, 101), 1), name) == expected


def test_a_statistic_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UnknownStatisticError, match="tm90"):
        statistic({1: 1}, "tm90")


def kept(**series: dict[int, float]) -> Metrics:
    """Metrics of one value a minute: the minute, counted from a time, and the value."""
    metrics = Metrics()
    metrics.add(
        Datum("game", name, (), minute * 60, {value: 1})
        for name, points in series.items()
        for minute, value in points.items()
    )
    return metrics


def asked(*names: str, period: int = 60) -> list[dict[str, Any]]:
    return [
        {
            "Id": name,
            "MetricStat": {"Metric": {"Namespace": "game", "MetricName": name}, "Period": period, "Stat": "Sum"},
        }
        for name in names
    ]


def test_a_metric_is_found_under_exactly_its_dimensions() -> None:
    metrics = Metrics()
    metrics.add([Datum("game", "a", (("Route", "x"), ("Zone", "1")), 0, {1: 1}), Datum("game", "a", (), 0, {5: 1})])
    for dimensions, expected in (((), {0: 5}), ((("Route", "x"),), {}), ((("Route", "x"), ("Zone", "1")), {0: 1})):
        assert metrics.points(("game", "a", dimensions), "Sum", 0, 60, 60) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a + b * 2", {0: 21}),
        ("(a + b) / (a - 1)", {}),
        ("-a", {0: -1, 60: -2}),
        ("1 - a / 2", {0: 0.5, 60: 0}),
        ("a + FILL(b, 0)", {0: 11, 60: 2}),
        ("FILL(nothing, 0)", {0: 0, 60: 0, 120: 0}),
        ("IF(a > 1, a, 100)", {0: 100, 60: 2}),
        ("IF(a > 1, a)", {60: 2}),
        ("IF(a >= 1 AND b == 10, 1, 0)", {0: 1}),
        ("IF(a < 2 || a != 2, 7, b)", {0: 7}),
        ("3", {0: 3, 60: 3, 120: 3}),
        ("whole / 10", {0: 0.1, 60: 0.2}),
    ],
)
def test_metric_math(expression: str, expected: dict[int, float]) -> None:
    metrics = kept(a={0: 1, 1: 2}, b={0: 10})
    queries = [*asked("a", "b", "nothing"), {"Id": "whole", "Expression": "a"}, {"Id": "e", "Expression": expression}]
    assert expressions.results(queries, metrics, 0, 180)["e"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "expression", ["SEARCH('x')", "METRICS()", "e + 1", "missing", "a +", "a ** 2", "a[0]", "'text'"]
)
def test_other_metric_math_is_refused(expression: str) -> None:
    with pytest.raises(expressions.ExpressionError):
        expressions.results([*asked("a"), {"Id": "e", "Expression": expression}], Metrics(), 0, 60)


TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
OK, ALARM, NO_DATA, AS_IT_WAS = alarms.OK, alarms.ALARM, alarms.INSUFFICIENT_DATA, None


@pytest.mark.parametrize(
    ("seen", "needed", "expected"),
    [  # the tables in CloudWatch's documentation on missing data
        ("0-X-X", 3, (OK, OK, OK, OK)),
        ("0----", 3, (OK, OK, OK, OK)),
        ("-----", 3, (NO_DATA, AS_IT_WAS, ALARM, OK)),
        ("0XX-X", 3, (ALARM, ALARM, ALARM, ALARM)),
        ("--X--", 3, (ALARM, AS_IT_WAS, ALARM, OK)),
        ("0-X-X", 2, (ALARM, ALARM, ALARM, ALARM)),
        ("00X0X", 2, (ALARM, ALARM, ALARM, ALARM)),
        ("0-X--", 2, (OK, OK, ALARM, OK)),
        ("----0", 2, (OK, OK, ALARM, OK)),
        ("---X-", 2, (ALARM, AS_IT_WAS, ALARM, OK)),
    ],
)
def test_an_alarm_is_judged_by_what_is_there_and_how_gaps_are_treated(
    seen: str, needed: int, expected: tuple[str | None, ...]
) -> None:
    metrics = kept(a={minute: float(sign == "X") for minute, sign in enumerate(seen) if sign != "-"})
    watched = {"Namespace": "game", "MetricName": "a", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 3}
    limit = {"DatapointsToAlarm": needed, "Threshold": 1, "ComparisonOperator": "GreaterThanOrEqualToThreshold"}
    alarm = watched | limit
    judged = [alarms.judge({**alarm, "TreatMissingData": treated}, metrics, 299) for treated in TREATMENTS]
    assert [one and one.state for one in judged] == list(expected)


def test_an_alarm_may_watch_metric_math_and_a_percentile() -> None:
    metrics = kept(bad={0: 5}, all={0: 10})
    queries = [{**one, "ReturnData": False} for one in asked("bad", "all")]
    share = {"Id": "share", "Expression": "100 * bad / all"}
    rules = {"EvaluationPeriods": 1, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching"}
    for threshold, state in ((49, ALARM), (50, OK)):
        judged = alarms.judge({**rules, "Metrics": [*queries, share], "Threshold": threshold}, metrics, 59)
        assert judged is not None
        assert (judged.state, judged.values[-1]) == (state, 50)
    alarm = {"Namespace": "game", "MetricName": "bad", "ExtendedStatistic": "p99", "Period": 60, **rules}
    judged = alarms.judge({**alarm, "Threshold": 4}, metrics, 59)
    assert judged is not None
    assert judged.state == ALARM


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('ALARM("red")', True),
        ("ALARM(red) AND ALARM(green)", False),
        ('ALARM(green) OR (ALARM("red") AND NOT ALARM(green))', True),
        ("OK(green) AND INSUFFICIENT_DATA(grey)", True),
        ("TRUE AND NOT FALSE", True),
    ],
)
def test_the_rule_of_a_composite_alarm(rule: str, expected: bool) -> None:
    states = {"red": ALARM, "green": OK, "grey": NO_DATA}
    assert alarms.holds(rule, states.__getitem__) is expected


@pytest.mark.parametrize("rule", ["", "red", "ALARM(red) ALARM(green)", "AT_LEAST(1, ALARM(red))"])
def test_a_rule_that_cannot_be_read_is_refused(rule: str) -> None:
    with pytest.raises(alarms.RuleError):
        alarms.holds(rule, lambda _: OK)
