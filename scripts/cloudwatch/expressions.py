"""Metric math, as far as the dashboard and the alarms use it: + - * / ( ), comparisons, AND, OR, IF() and FILL(m, 0).

A value is a number, or a series: numbers by the second in which their period begins. Two series meet where both have
a number, and a division by zero leaves none, as in CloudWatch. Whether CloudWatch's FILL fills the whole range of a
metric that has no value at all is likely, not verified; here it does.
"""

from __future__ import annotations

import ast
import functools
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scripts.cloudwatch.series import Key, Metrics

Series = dict[int, float]

WORDS = {"AND": "and", "OR": "or", "&&": " and ", "||": " or "}
OPERATORS: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class ExpressionError(ValueError):
    """CloudWatch may know what this expression means, but nothing here does."""


def results(
    queries: Sequence[Mapping[str, Any]], metrics: Metrics, begin: int, end: int, period: int | None = None
) -> dict[str, Series]:
    """What queries give between two times in seconds, by Id. They are shaped as the MetricDataQueries of GetMetricData.

    Without a period given, an expression has that of the queries that it refers to. Raises ExpressionError,
    UnknownStatisticError.
    """
    found = _Results(queries, metrics, begin, end, period)
    return {query["Id"]: found.series(query["Id"]) for query in queries}


def key(metric: Mapping[str, Any]) -> Key:
    """Which metric CloudWatch's structure `Metric` names."""
    dimensions = sorted((one["Name"], one["Value"]) for one in metric.get("Dimensions") or ())
    return metric["Namespace"], metric["MetricName"], tuple(dimensions)


class _Results:
    """Each query is asked once, when something first needs it."""

    def __init__(
        self, queries: Sequence[Mapping[str, Any]], metrics: Metrics, begin: int, end: int, period: int | None
    ):
        self._queries = {query["Id"]: query for query in queries}
        self._metrics, self._begin, self._end, self._given = metrics, begin, end, period
        self._found: dict[str, tuple[float | Series, int]] = {}
        self._pending: list[str] = []

    def series(self, name: str) -> Series:
        """A query's numbers; a constant is one in each period."""
        value, period = self._value(name)
        return value if isinstance(value, dict) else dict.fromkeys(self._moments(period), value)

    def _moments(self, period: int) -> range:
        return range(self._begin, self._end, period)

    def _value(self, name: str) -> tuple[float | Series, int]:
        if name not in self._queries:
            raise ExpressionError(f"No query has the Id {name}.")
        if name in self._pending:
            raise ExpressionError(f"The expression {name} refers to itself.")
        if name not in self._found:
            self._pending.append(name)
            self._found[name] = self._ask(self._queries[name])
            self._pending.pop()
        return self._found[name]

    def _ask(self, query: Mapping[str, Any]) -> tuple[float | Series, int]:
        if asked := query.get("MetricStat"):
            period = self._given or asked["Period"]
            metric = key(asked["Metric"])
            return self._metrics.points(metric, asked["Stat"], self._begin, self._end, period), period
        tree = _parsed(query["Expression"])
        names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id not in ("IF", "FILL")]
        periods = [self._value(name)[1] for name in names]
        period = self._given or query.get("Period") or max(periods, default=60)
        return self._evaluate(tree, period), period

    def _evaluate(self, node: ast.expr, period: int) -> float | Series:
        def inner(child: ast.expr) -> float | Series:
            return self._evaluate(child, period)

        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return float(number)
            case ast.Name(id=name):
                return self._value(name)[0]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _combined(operator.sub, 0.0, inner(operand))
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in OPERATORS:
                return _combined(OPERATORS[type(sign)], inner(left), inner(right))
            case ast.Compare(left=left, ops=[sign], comparators=[right]) if type(sign) in OPERATORS:
                return _combined(OPERATORS[type(sign)], inner(left), inner(right))
            case ast.BoolOp(op=word, values=[first, *others]):
                together = _both if isinstance(word, ast.And) else _either
                return functools.reduce(functools.partial(_combined, together), map(inner, others), inner(first))
            case ast.Call(func=ast.Name(id="IF"), args=[condition, *chosen], keywords=[]) if len(chosen) in (1, 2):
                return self._chosen(inner(condition), [inner(one) for one in chosen])
            case ast.Call(func=ast.Name(id="FILL"), args=[filled, with_], keywords=[]):
                holes, filler = inner(filled), inner(with_)
                if isinstance(holes, dict) and not isinstance(filler, dict):
                    return {moment: holes.get(moment, filler) for moment in self._moments(period)}
        raise ExpressionError(f"{ast.unparse(node)} is more metric math than this knows.")

    def _chosen(self, condition: float | Series, values: list[float | Series]) -> float | Series:
        """IF: the first value where the condition holds, else the second, or nothing."""
        if not isinstance(condition, dict):
            if condition or len(values) > 1:
                return values[0] if condition else values[1]
            return {}
        found: Series = {}
        for moment, holds in condition.items():
            if holds or len(values) > 1:
                value = values[0] if holds else values[1]
                if not isinstance(value, dict):
                    found[moment] = value
                elif moment in value:
                    found[moment] = value[moment]
        return found


def _parsed(expression: str) -> ast.expr:
    """The tree of an expression, whose grammar is, as far as we go, Python's. Raises ExpressionError."""
    text = re.sub(r"\b(AND|OR)\b|&&|\|\|", lambda found: WORDS[found[0]], expression.strip())
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        raise ExpressionError(f"{expression} is no metric math that this can read.") from None


def _combined(sign: Callable[[float, float], float], left: float | Series, right: float | Series) -> float | Series:
    if not isinstance(left, dict) and not isinstance(right, dict):
        try:
            return float(sign(left, right))
        except ZeroDivisionError:
            return {}
    if isinstance(left, dict) and isinstance(right, dict):
        moments = [moment for moment in left if moment in right]
    else:
        moments = list(left if isinstance(left, dict) else right)  # type: ignore[arg-type]
    found: Series = {}
    for moment in moments:
        first = left[moment] if isinstance(left, dict) else left
        second = right[moment] if isinstance(right, dict) else right
        try:
            found[moment] = float(sign(first, second))
        except ZeroDivisionError:
            continue
    return found


def _both(left: float, right: float) -> bool:
    return bool(left and right)


def _either(left: float, right: float) -> bool:
    return bool(left or right)
