"""CloudWatch Logs Insights, as far as the dashboard asks it: fields, filter, stats, sort, limit, display.

Filters know =, !=, <, <=, >, >=, like, ispresent, and, or, not; stats know count, sum, avg, min, max and pct.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Test = Callable[[Row], bool]

TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<pattern>/(?:[^/\\]|\\.)+/)|(?P<number>-?\d+(?:\.\d+)?)"""
    r"""|(?P<name>[@A-Za-z_][\w.@]*|`[^`]+`)|(?P<sign>!=|<=|>=|[=<>(),*|]))"""
)
COMMANDS = ("source", "fields", "display", "filter", "stats", "sort", "limit")
MOST_ROWS = 1000


class QueryError(ValueError):
    """Logs Insights may know what this query means, but nothing here does."""


@dataclass(frozen=True)
class Line:
    """A line of a log group, and when it was written, in seconds."""

    seconds: float
    group: str
    text: str


@dataclass(frozen=True)
class Table:
    """What a query found."""

    columns: list[str]
    rows: list[list[Any]]


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str

    @property
    def word(self) -> str:
        """What a keyword or sign would be: '' for a text."""
        return "" if self.kind in ("text", "pattern") else self.text.lower()


def groups(query: str) -> list[str]:
    """The log groups that a query names. Raises QueryError."""
    return [command[1].text for command in _commands(query) if command[0].word == "source"]


def ask(query: str, lines: Iterable[Line]) -> Table:
    """What a query finds in lines, which come oldest first. Raises QueryError."""
    commands = _commands(query)
    named = set(groups(query))
    rows = [row(line) for line in lines if not named or line.group in named]
    rows.reverse()
    columns: list[str] = ["@timestamp", "@message"]
    for first, *rest in commands:
        match first.word:
            case "fields" | "display":
                columns = [_name(part) for part in _parts(rest)]
            case "filter":
                holds = _Filter(rest).test()
                rows = [one for one in rows if holds(one)]
            case "stats":
                columns, rows = _stats(rest, rows)
            case "sort":
                rows = _sorted(rest, rows)
            case "limit":
                rows = rows[: int(rest[0].text)]
    return Table(columns, [[one.get(column) for column in columns] for one in rows[:MOST_ROWS]])


def row(line: Line) -> Row:
    """The fields of a line: its JSON's members, those of an object by names with dots."""
    found: Row = {"@timestamp": line.seconds, "@message": line.text, "@log": line.group}
    if line.text.startswith("{"):
        with contextlib.suppress(ValueError):
            _flatten(json.loads(line.text), "", found)
    return found


def _flatten(value: Any, name: str, found: Row) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(inner, f"{name}.{key}" if name else key, found)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _flatten(inner, f"{name}.{number}", found)
    elif value is not None:
        found[name] = value


def _commands(query: str) -> list[list[_Token]]:
    commands: list[list[_Token]] = [[]]
    at, text = 0, query.strip()
    while at < len(text):
        if not (found := TOKEN.match(text, at)):
            raise QueryError(f"Nothing here can read this query from {text[at : at + 20]!r}.")
        at, kind = found.end(), str(found.lastgroup)
        token = _Token(kind, _unquoted(kind, found[kind]))
        if token.word == "|":
            commands.append([])
        else:
            commands[-1].append(token)
    for command in commands:
        if len(command) < 2 or command[0].word not in COMMANDS:
            raise QueryError(f"{command[0].text if command else 'An empty command'} is no command that this knows.")
    return commands


def _unquoted(kind: str, text: str) -> str:
    if kind == "text":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text[1:-1] if kind == "pattern" or text.startswith("`") else text


def _parts(tokens: Sequence[_Token]) -> list[list[_Token]]:
    """What stands between the commas that are in no parentheses."""
    parts: list[list[_Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.word, 0)
        if token.word == "," and not depth:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _name(part: Sequence[_Token]) -> str:
    if len(part) != 1 or part[0].kind != "name":
        raise QueryError(f"{' '.join(token.text for token in part)} is no name of a field.")
    return part[0].text


class _Filter:
    """A condition, read from left to right: `or` binds least, then `and`, then `not`."""

    def __init__(self, tokens: Sequence[_Token]):
        self._tokens, self._at = tokens, 0

    def test(self) -> Test:
        """The whole condition."""
        found = self._any()
        if self._at < len(self._tokens):
            raise QueryError(f"{self._tokens[self._at].text} stands where a condition should have ended.")
        return found

    def _peek(self) -> str:
        return self._tokens[self._at].word if self._at < len(self._tokens) else ""

    def _take(self, wanted: str = "") -> _Token:
        if self._at == len(self._tokens) or (wanted and self._peek() != wanted):
            raise QueryError(f"A condition lacks {wanted or 'its end'}.")
        self._at += 1
        return self._tokens[self._at - 1]

    def _any(self) -> Test:
        tests = [self._all()]
        while self._peek() == "or":
            self._take()
            tests.append(self._all())
        return lambda one: any(test(one) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._peek() == "and":
            self._take()
            tests.append(self._one())
        return lambda one: all(test(one) for test in tests)

    def _one(self) -> Test:
        if self._peek() == "not":
            self._take()
            inner = self._one()
            return lambda one: not inner(one)
        if self._peek() == "(":
            self._take()
            inner = self._any()
            self._take(")")
            return inner
        token = self._take()
        if token.word == "ispresent":
            self._take("(")
            name = self._take().text
            self._take(")")
            return lambda one: one.get(name) is not None
        return self._comparison(token)

    def _comparison(self, left: _Token) -> Test:
        sign = self._take().word
        is_not = sign == "not"
        if is_not:
            sign = self._take("like").word
        right = self._take()
        if sign == "like":
            pattern = re.compile(right.text if right.kind == "pattern" else re.escape(right.text))
            return lambda one: is_not != bool(pattern.search(_shown(_value(left, one))))
        if sign not in SIGNS:
            raise QueryError(f"{sign} is no comparison that this knows.")
        return lambda one: SIGNS[sign](_value(left, one), _value(right, one))


def _value(token: _Token, one: Row) -> Any:
    match token.kind:
        case "number":
            return float(token.text)
        case "name":
            return one.get(token.text, token.text == "true" if token.text in ("true", "false") else None)
    return token.text


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return "" if value is None else str(value)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _equal(left: Any, right: Any) -> bool:
    numbers = _number(left), _number(right)
    return left is not None and (_shown(left) == _shown(right) or (None not in numbers and numbers[0] == numbers[1]))


def _ordered(compare: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    def compared(left: Any, right: Any) -> bool:
        first, second = _number(left), _number(right)
        return first is not None and second is not None and compare(first, second)

    return compared


SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": _equal,
    "!=": lambda left, right: not _equal(left, right),
    "<": _ordered(lambda left, right: left < right),
    "<=": _ordered(lambda left, right: left <= right),
    ">": _ordered(lambda left, right: left > right),
    ">=": _ordered(lambda left, right: left >= right),
}


def _stats(tokens: Sequence[_Token], rows: list[Row]) -> tuple[list[str], list[Row]]:
    words = [token.word for token in tokens]
    at = words.index("by") if "by" in words else len(words)
    measures = [_measure(part) for part in _parts(tokens[:at])]
    names = [_name(part) for part in _parts(tokens[at + 1 :])] if at < len(words) else []
    sorts: dict[tuple[str, ...], list[Row]] = {}
    for one in rows:
        sorts.setdefault(tuple(_shown(one.get(name)) for name in names), []).append(one)
    found = [
        {name: same[0].get(name) for name in names} | {label: measure(same) for label, measure in measures}
        for same in sorts.values()
    ]
    return [*names, *(label for label, _ in measures)], found


def _measure(part: Sequence[_Token]) -> tuple[str, Callable[[list[Row]], float | None]]:
    """The label of `function(field) as label`, and what it makes of rows."""
    words = [token.word for token in part]
    at = words.index("as") if "as" in words else len(part)
    label = part[at + 1].text if at < len(part) - 1 else "".join(token.text for token in part[:at])
    if at < 4 or words[1] != "(" or words[at - 1] != ")":
        raise QueryError(f"{label} is no statistic that this can read.")
    function, field = words[0], part[2].text
    share = float(part[4].text) if function == "pct" and at == 6 else 0.0

    def measure(rows: list[Row]) -> float | None:
        if function == "count":
            return sum(1 for one in rows if field == "*" or one.get(field) is not None)
        numbers = sorted(value for one in rows if (value := _number(one.get(field))) is not None)
        if not numbers:
            return None
        match function:
            case "sum":
                return math.fsum(numbers)
            case "avg":
                return math.fsum(numbers) / len(numbers)
            case "min":
                return numbers[0]
            case "max":
                return numbers[-1]
        return numbers[max(0, math.ceil(len(numbers) * share / 100) - 1)]

    if function not in ("count", "sum", "avg", "min", "max", "pct"):
        raise QueryError(f"{function} is no statistic that this knows.")
    return label, measure


def _sorted(tokens: Sequence[_Token], rows: list[Row]) -> list[Row]:
    for part in reversed(_parts(tokens)):
        is_down = len(part) == 2 and part[1].word == "desc"
        name = _name(part[:1])
        there = [one for one in rows if one.get(name) is not None]
        is_numbers = all(_number(one[name]) is not None for one in there)

        def key(one: Row, name: str = name, is_numbers: bool = is_numbers) -> Any:
            return float(one[name]) if is_numbers else _shown(one[name])

        rows = sorted(there, key=key, reverse=is_down) + [one for one in rows if one.get(name) is None]
    return rows
