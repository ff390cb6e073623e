"""Where the page's data comes from. Whatever the source, it answers in the shapes of CloudWatch's API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from scripts.cloudwatch import alarms, expressions
from scripts.local.dashboard import bodies, insights
from scripts.local.dashboard.collecting import Collector

Json = dict[str, Any]
JUDGED_SECONDS = 2


class Source(Protocol):
    """What the page asks. Times are seconds since 1970. Any of these may raise ValueError, whose text is for people."""

    title: str

    def body(self) -> Json:
        """The dashboard's body."""

    def only_on_aws(self, namespace: str, metric: str) -> bool:
        """Whether a metric cannot exist here."""

    def values(self, queries: Sequence[Mapping[str, Any]], begin: int, end: int) -> list[Json]:
        """The MetricDataResults of GetMetricData, oldest first."""

    def alarms(self) -> list[Json]:
        """All alarms as DescribeAlarms tells them, with their states."""

    def table(self, query: str, begin: float, end: float) -> insights.Table:
        """What a query of Logs Insights finds."""


class Local:
    """The local system: the planned dashboard and alarms over what was collected."""

    def __init__(self, collector: Collector, name: str = bodies.DEPLOYED):
        self.title = f"{name}, on this machine"
        self._collector = collector
        self._body, planned = bodies.planned(name)
        self._alarms = [{**alarm, "StateValue": alarms.INSUFFICIENT_DATA, "StateReason": ""} for alarm in planned]
        self._judged = 0.0

    def body(self) -> Json:
        """As Terraform plans it."""
        return self._body

    def only_on_aws(self, namespace: str, metric: str) -> bool:
        """What neither a log line, nor the gateway here, nor Valkey can tell."""
        return not self._collector.has(namespace, metric)

    def values(self, queries: Sequence[Mapping[str, Any]], begin: int, end: int) -> list[Json]:
        """Evaluated here, from a whole minute on, as CloudWatch does. Raises ValueError for what it cannot evaluate."""
        self._collector.settle()
        found = expressions.results(queries, self._collector.metrics, begin // 60 * 60, end)
        return [
            {
                "Id": query["Id"],
                "Label": query.get("Label", query["Id"]),
                "Timestamps": sorted(found[query["Id"]]),
                "Values": [value for _, value in sorted(found[query["Id"]].items())],
            }
            for query in queries
            if query.get("ReturnData", True)
        ]

    def alarms(self) -> list[Json]:
        """Judged by their own rules, at most every other second."""
        now = self._collector.clock()
        if now - self._judged >= JUDGED_SECONDS or now < self._judged:
            self._judged = now
            self._collector.settle()
            self._judge(now)
        return self._alarms

    def table(self, query: str, begin: float, end: float) -> insights.Table:
        """From the lines that are still there."""
        return insights.ask(query, self._collector.lines(begin, end))

    def _judge(self, now: float) -> None:
        for alarm in self._alarms:
            if "AlarmRule" not in alarm and (judgement := alarms.judge(alarm, self._collector.metrics, now)):
                _change(alarm, judgement.state, judgement.reason, now)
        states = {alarm["AlarmName"]: alarm["StateValue"] for alarm in self._alarms}
        for alarm in self._alarms:
            if rule := alarm.get("AlarmRule"):
                told = {name: states[name.rpartition(":")[2]] for name in alarms.members(rule)}
                judgement = alarms.judge_composite(rule, told)
                _change(alarm, judgement.state, judgement.reason, now)
                states[alarm["AlarmName"]] = judgement.state


def _change(alarm: Json, state: str, reason: str, now: float) -> None:
    alarm["StateReason"] = reason
    if alarm["StateValue"] != state:
        alarm |= {"StateValue": state, "StateUpdatedTimestamp": now}
