"""The state of an alarm, from what was measured, by the rules that CloudWatch documents.

Alarms are shaped as DescribeAlarms tells them. Windows are periods that end now, to the second: CloudWatch may see a
change up to a minute later.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.cloudwatch import expressions
from scripts.cloudwatch.series import Metrics

OK, ALARM, INSUFFICIENT_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}

RULE = re.compile(r'\b(ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*"?([^"()]+?)"?\s*\)|\b(AND|OR|NOT|TRUE|FALSE)\b')


class RuleError(ValueError):
    """A composite alarm's rule that nothing here can read."""


@dataclass(frozen=True)
class Judgement:
    """A state, why, and the values that it was judged by, the newest last; None where there was none."""

    state: str
    reason: str
    values: tuple[float | None, ...]


def judge(alarm: Mapping[str, Any], metrics: Metrics, now: float) -> Judgement | None:
    """What a metric alarm should be; None if it should stay as it is. Raises ExpressionError, UnknownStatisticError."""
    values = measured(alarm, metrics, now)
    treated = alarm.get("TreatMissingData", "missing")
    wanted = int(alarm["EvaluationPeriods"])
    needed = int(alarm.get("DatapointsToAlarm") or wanted)

    def breaches(value: float) -> bool:
        return COMPARISONS[alarm["ComparisonOperator"]](value, alarm["Threshold"])

    there = [value for value in values if value is not None]
    if not there and treated in ("missing", "ignore"):
        reason = f"Insufficient Data: no datapoints were received for {_periods(wanted)}."
        return Judgement(INSUFFICIENT_DATA, reason, values) if treated == "missing" else None
    judged = there[-wanted:]
    missing = wanted - len(judged)
    breaching = sum(map(breaches, judged)) + (missing if treated == "breaching" else 0)
    is_early = False
    if missing and treated in ("missing", "ignore") and breaching < needed and all(map(breaches, there)):
        if treated == "ignore":
            return None
        oldest = next(number for number, value in enumerate(values) if value is not None)
        is_early = len(values) - oldest >= needed
    state = ALARM if breaching >= needed or is_early else OK
    shown = ", ".join(f"{value:g}" for value in judged) or "none"
    sign = "reached" if state == ALARM else "within"
    reason = (
        f"Threshold Crossed: of the last {_periods(wanted)}, {breaching} breached the threshold {alarm['Threshold']:g} "
        f"and {needed} would raise the alarm ({sign}); datapoints: {shown}"
        + (f"; {missing} missing, treated as {treated}." if missing else ".")
    )
    return Judgement(state, reason, values)


def measured(alarm: Mapping[str, Any], metrics: Metrics, now: float) -> tuple[float | None, ...]:
    """The datapoints of an alarm, the newest last: some more than it evaluates, as CloudWatch retrieves."""
    queries, watched, period = asked(alarm)
    end = int(now) + 1
    begin = end - retrieved(alarm) * period
    found = expressions.results(queries, metrics, begin, end, period)[watched]
    return tuple(found.get(moment) for moment in range(begin, end, period))


def retrieved(alarm: Mapping[str, Any]) -> int:
    """How many datapoints are looked at, so that missing ones have others in their place. CloudWatch does not say."""
    wanted = int(alarm["EvaluationPeriods"])
    return wanted + max(wanted // 3, 2)


def asked(alarm: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], str, int]:
    """The queries of a metric alarm, the Id of the one that it watches, and its period in seconds."""
    if queries := alarm.get("Metrics"):
        (watched,) = [query for query in queries if query.get("ReturnData", True)]
        periods = [query["MetricStat"]["Period"] for query in queries if "MetricStat" in query]
        return list(queries), watched["Id"], int(watched.get("Period") or max(periods, default=60))
    metric = {name: alarm[name] for name in ("Namespace", "MetricName", "Dimensions") if name in alarm}
    statistic = alarm.get("Statistic") or alarm["ExtendedStatistic"]
    query = {"Id": "m", "MetricStat": {"Metric": metric, "Period": alarm["Period"], "Stat": statistic}}
    return [query], "m", int(alarm["Period"])


def judge_composite(rule: str, states: Mapping[str, str]) -> Judgement:
    """What a composite alarm should be, given the state of each member by its name in the rule. Raises RuleError."""
    raised = [name.rpartition(":")[2] for name in members(rule) if states[name] == ALARM]
    reason = f"In alarm: {', '.join(raised)}." if raised else "None of its alarms is raised."
    return Judgement(ALARM if holds(rule, states.__getitem__) else OK, reason, ())


def members(rule: str) -> list[str]:
    """The names or ARNs of the alarms in a composite alarm's rule."""
    return [found[2] for found in RULE.finditer(rule) if found[2]]


def holds(rule: str, states: Callable[[str], str]) -> bool:
    """Whether a composite alarm's rule holds, given each member's state by its name or ARN. Raises RuleError."""
    words = {"AND": " and ", "OR": " or ", "NOT": " not ", "TRUE": " True ", "FALSE": " False "}

    def word(found: re.Match[str]) -> str:
        return words[found[3]] if found[3] else f" {states(found[2]) == found[1]} "

    text = RULE.sub(word, rule)
    try:
        return _truth(ast.parse(text.strip(), mode="eval").body)
    except SyntaxError:
        raise RuleError(f"{rule} is no rule that this can read.") from None


def _truth(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=bool() as value):
            return value
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _truth(operand)
        case ast.BoolOp(op=word, values=values):
            truths = [_truth(value) for value in values]  # all of them: each is checked
            return all(truths) if isinstance(word, ast.And) else any(truths)
    raise RuleError(f"{ast.unparse(node)} is more than this knows of a rule.")


def _periods(count: int) -> str:
    return "period" if count == 1 else f"{count} periods"
