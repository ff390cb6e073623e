"""The log lines of the code under test: what they count, and that none holds anything of a person, a body or a secret.

What a line may hold is a closed list. A member is a number, or a word that this repository knows, or an id in a form
that nobody chooses; so a name, an address, a key or a token has no place to stand in, whatever a test has sent. Only
the lines of an act tell who did it to whom, and why, in somebody's own words.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import orjson
import pytest

from scripts.local import routes
from scripts.places import ROOT
from shared import acts, config, fields, logs, security, telemetry, tokens

UNITS = {"Count", "Milliseconds", "Seconds", "None"}
"""Those of CloudWatch's units that we use."""

MOST_METRICS, MOST_DIMENSIONS, MOST_VALUES = 100, 30, 100
"""CloudWatch's limits for a directive, a set of dimensions and a metric: beyond them it drops what it is told.
Source: Amazon CloudWatch user guide, "Specification: Embedded metric format"."""

OUTCOMES = {"ok", "replayed", "refused", "not_yet_visible", "unavailable", "failed"}

METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"}

OF_AN_ACT = {"act began", "act ended"}
"""The lines that are the audit."""

NAMES_A_PLAYER = {"security event", "profile was older than the board", *OF_AN_ACT}
"""The lines by which somebody finds the player whom they have to mend, or who was acted on."""

TELLS_OF_AN_ACT = {"act", "userId", "issuer", "subject", "tokenId", "before", "after"}
"""What no other line may tell, but for a player's id."""

_paths: dict[str, Any] = routes.contract()["paths"]
OPERATIONS = {
    f"{method.upper()} {path}" for path, item in _paths.items() for method in routes.METHODS if method in item
}
CODES = {*re.findall(r'^    code = "(\w+)"', (ROOT / "shared/problems.py").read_text(encoding="utf-8"), re.MULTILINE)}

Shape = Callable[[str], object]


def _one_of(*words: str) -> Shape:
    return frozenset(words).__contains__


SHAPES: dict[str, Shape] = {
    "timestamp": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z").fullmatch,
    "level": _one_of(*get_args(logs.Level)),
    "requestId": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch,
    "traceId": re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}").fullmatch,
    "method": _one_of(*METHODS),
    "route": _one_of(*_paths),
    "code": _one_of(*CODES),
    "outcome": _one_of(*OUTCOMES),
    "event": _one_of("security", "audit"),
    "act": _one_of(*acts.ACTS),
    "issuer": re.compile(r"[\w.:/-]{1,255}").fullmatch,
    "subject": re.compile(r"[\w.-]{1,64}").fullmatch,
    "scope": _one_of(*get_args(config.Scope)),
    "tokenId": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch,
    "kind": _one_of(*security.KINDS),
    "reason": _one_of(*get_args(tokens.Fault)),
    "Route": _one_of(*OPERATIONS),
    "Code": _one_of(*CODES),
    "Reason": _one_of(*CODES),
    "Currency": _one_of(*config.Settings.currencies),
    "Kind": _one_of(*security.KINDS),
    "cause": re.compile(
        r"[A-Za-z]*(?:Error|Exception|Timeout)|Unavailable|malformed (?:profile|mark)|[A-Z_]+ (?:is|\().*"
    ).fullmatch,
    "cursor": re.compile(r"\d*").fullmatch,
    "position": re.compile(r"|[a-z]+ \d+").fullmatch,
}
"""What the text of a member may be."""

FRAME = re.compile(r"[A-Za-z]+|\S+\.(?:py|pyx|pxd):\d+ \S+")
"""An exception's type, or a place that it passed through."""

NUMBERS = {
    *("status", "milliseconds", "trips", "cold", "tries_left", "players", "differences"),
    *("found", "projected", "cleared", "oldestSeconds", "swept", "mended", "unreadable", "forgotten", "finished"),
    *("activeToday", "activeMonth"),
}


@functools.cache
def _phrases() -> str:
    places = (path for folder in ("shared", "functions", "scripts") for path in (ROOT / folder).rglob("*.py"))
    return "\n".join(path.read_text(encoding="utf-8") for path in places)


@functools.cache
def _is_constant(message: str) -> bool:
    return f'"{message}"' in _phrases()


def faults(line: Mapping[str, Any]) -> list[str]:
    """What is wrong with a line, each by its member's name."""
    found = [name for name, value in line.items() if not _is_allowed(line, name, value)]
    if "_aws" in line and not found:
        found = [f"_aws: {fault}" for fault in _emf_faults(line)]
    return found


def _is_allowed(line: Mapping[str, Any], name: str, value: Any) -> object:
    if name in NUMBERS:
        return isinstance(value, int | float)
    if name in telemetry.METRICS:
        return all(type(number) in (int, float) for number in (value if isinstance(value, list) else [value]))
    if name == "message":
        return _is_constant(value)
    if name == "userId":
        return line.get("message") in NAMES_A_PLAYER
    if name in TELLS_OF_AN_ACT and line.get("message") not in OF_AN_ACT:
        return False
    if name == "reason" and line.get("message") in OF_AN_ACT:
        return value is None or (len(value) <= 200 and re.fullmatch(fields.REASON_PATTERN, value) and "@" not in value)
    if name in ("before", "after"):
        return value is None or all(_is_a_fact(each, fact) for each, fact in value.items())
    if name == "cause" and isinstance(value, list):
        return all(map(FRAME.fullmatch, value))
    if name == "_aws":
        return isinstance(value, dict)
    return name in SHAPES and (value is None or (isinstance(value, str) and SHAPES[name](value)))


def _is_a_fact(name: str, value: Any) -> bool:
    """Whether this may be what an act has changed: a number or a flag."""
    return bool(re.fullmatch("[a-z][A-Za-z]*", name)) and (value is None or type(value) in (int, bool))


def _emf_faults(line: Mapping[str, Any]) -> Iterator[str]:
    about = line["_aws"]
    if set(about) != {"Timestamp", "CloudWatchMetrics"}:
        yield "other members"
        return
    if type(about["Timestamp"]) is not int or not 1e12 < about["Timestamp"] < 1e13:
        yield "the timestamp is no time of this age in milliseconds"
    told: set[str] = set()
    for directive in about["CloudWatchMetrics"]:
        if set(directive) != {"Namespace", "Dimensions", "Metrics"} or not directive["Dimensions"]:
            yield "a directive's members"
        names = [metric["Name"] for metric in directive["Metrics"]]
        if not 1 <= len(names) <= MOST_METRICS or told & set(names) or len(set(names)) < len(names):
            yield "too many metrics, or one twice"
        told |= set(names)
        for dimensions in directive["Dimensions"]:
            if len(dimensions) > MOST_DIMENSIONS or any(not isinstance(line.get(name), str) for name in dimensions):
                yield f"dimensions {dimensions}"
        for metric in directive["Metrics"]:
            value = line.get(metric["Name"])
            if set(metric) != {"Name", "Unit"} or metric["Unit"] not in UNITS or value is None:
                yield f"metric {metric}"
            elif isinstance(value, list) and not 1 <= len(value) <= MOST_VALUES:
                yield f"{metric['Name']} has {len(value)} values"
    if told != line.keys() & telemetry.METRICS.keys():
        yield f"members that are no metrics: {line.keys() & telemetry.METRICS.keys() ^ told}"


class Lines:
    """Lines that were written, all of them faultless so far, or the first that was not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counted: Counter[str] = Counter()
        """The sum of each metric that is no time."""
        self.kept: list[dict[str, Any]] | None = None
        """The lines themselves, from when this is a list."""
        self.fault = ""

    def add(self, text: bytes | str) -> None:
        """Looks at one line."""
        line = orjson.loads(text)
        found = faults(line)
        with self._lock:
            if found and not self.fault:
                self.fault = f"{found} in {text!r}"
            for name in telemetry.METRICS:
                if name in line and not isinstance(line[name], list):
                    self.counted[name] += line[name]
            if self.kept is not None:
                self.kept.append(line)

    def add_output(self, output: str) -> None:
        """Looks at what a process has printed: its lines of the log are JSON, all others are not ours."""
        for text in output.splitlines():
            if text.startswith('{"timestamp"'):
                self.add(text)

    def since(self, before: Counter[str], name: str) -> int:
        """How much of a metric was counted since a copy of `counted` was made."""
        return int(self.counted[name] - before[name])


@contextlib.contextmanager
def watched() -> Iterator[Lines]:
    """All lines of this process, while they are written."""
    lines = Lines()
    put = logs.put

    def look_and_put(whole: dict[str, Any]) -> None:
        lines.add(orjson.dumps(whole, option=orjson.OPT_UTC_Z))
        put(whole)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "put", look_and_put)
        yield lines


def check(output: str) -> None:
    """Asserts that there is nothing in what a process has printed that may not be logged."""
    lines = Lines()
    lines.add_output(output)
    assert not lines.fault, lines.fault


def parsed(output: str) -> list[dict[str, Any]]:
    """The lines of a log as they were captured."""
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]
