"""The dashboard and the alarms as Terraform plans them (`scripts/local/dashboard.json`), in AWS's own shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from scripts.places import DASHBOARD

DEPLOYED = "leaderboard-dev"
"""The deployment whose plan that is."""

Json = dict[str, Any]


def planned(name: str = DEPLOYED) -> tuple[Json, list[Json]]:
    """The dashboard's body and the alarms, as if that deployment had another name."""
    both: Json = json.loads(DASHBOARD.read_text(encoding="utf-8").replace(DEPLOYED, name))
    return both["dashboard"], [described(alarm) for alarm in both["alarms"]]


def described(alarm: Mapping[str, Any]) -> Json:
    """An alarm of a plan as DescribeAlarms tells it."""
    found = {_camel(name): value for name, value in alarm.items() if value is not None}
    if "Dimensions" in found:
        found["Dimensions"] = _pairs(found["Dimensions"])
    if queries := found.pop("MetricQuery", None):
        found["Metrics"] = [_query(query) for query in queries]
    return found


def queries(widget: Mapping[str, Any]) -> list[Json]:
    """What a widget's metrics ask, as the MetricDataQueries of GetMetricData."""
    properties = widget["properties"]
    period, stat = properties.get("period", 300), properties.get("stat", "Average")
    found: list[Json] = []
    before: list[Any] = []
    for number, row in enumerate(properties["metrics"]):
        names = [part for part in row if not isinstance(part, dict)]
        options = next((part for part in row if isinstance(part, dict)), {})
        names = before = _written_out(names, before)
        query: Json = {
            "Id": options.get("id", f"row{number}"),
            "Label": options.get("label") or options.get("expression") or " ".join([names[1], *names[3::2]]),
            "ReturnData": options.get("visible", True),
        }
        if "expression" in options:
            query |= {"Expression": options["expression"], "Period": options.get("period", period)}
        else:
            dimensions = _pairs(dict(zip(names[2::2], names[3::2], strict=True)))
            metric = {"Namespace": names[0], "MetricName": names[1], "Dimensions": dimensions}
            stat_of = options.get("stat", stat)
            query["MetricStat"] = {"Metric": metric, "Period": options.get("period", period), "Stat": stat_of}
        found.append(query)
    return found


def _written_out(names: list[Any], before: list[Any]) -> list[Any]:
    """A row whose dots stand for what the row before it has there."""
    if names[:1] == ["..."]:
        names = before[: len(before) - len(names) + 1] + names[1:]
    return [before[at] if name == "." else name for at, name in enumerate(names)]


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _pairs(dimensions: Mapping[str, str]) -> list[Json]:
    return [{"Name": name, "Value": value} for name, value in dimensions.items()]


def _query(query: Mapping[str, Any]) -> Json:
    found = {_camel(name): value for name, value in query.items() if value is not None and name != "metric"}
    for metric in query.get("metric") or ():
        found["MetricStat"] = {
            "Metric": {
                "Namespace": metric["namespace"],
                "MetricName": metric["metric_name"],
                "Dimensions": _pairs(metric.get("dimensions") or {}),
            },
            "Period": metric["period"],
            "Stat": metric["stat"],
        }
    return found
