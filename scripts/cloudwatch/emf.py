"""Log lines in CloudWatch's embedded metric format (EMF), and the metrics that CloudWatch makes of them.

After AWS's "Specification: Embedded metric format". What it does not say - what becomes of the rest of a line of which
one part is invalid - is taken the strict way: a directive is taken whole or not at all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from scripts.cloudwatch.series import Datum

MARK = '"CloudWatchMetrics"'
"""What a line without metrics does not have: it need not be parsed."""

MOST_METRICS = MOST_VALUES = 100
MOST_DIMENSIONS = 30
MOST_CHARACTERS = 1024
OLDEST_SECONDS = 14 * 86400
NEWEST_SECONDS = 2 * 3600
UNITS = {
    *("None", "Count", "Count/Second", "Percent", "Seconds", "Milliseconds", "Microseconds"),
    *(
        f"{unit}{per}"
        for size in ("Bytes", "Bits")
        for unit in (size, *(f"{prefix}{size.lower()}" for prefix in ("Kilo", "Mega", "Giga", "Tera")))
        for per in ("", "/Second")
    ),
}


def metrics(line: str, now: float) -> list[Datum]:
    """What CloudWatch makes of a log line at a time, in seconds: nothing if the line is no EMF, or invalid."""
    if MARK not in line:
        return []
    try:
        root = json.loads(line)
    except ValueError:
        return []
    return of(root, now)


def of(root: Any, now: float) -> list[Datum]:
    """The same for a line that was parsed already."""
    about = root.get("_aws") if isinstance(root, dict) else None
    if not isinstance(about, dict):
        return []
    moment: Any = about.get("Timestamp")
    directives: Any = about.get("CloudWatchMetrics")
    if not _is_number(moment) or not isinstance(directives, list):
        return []
    seconds = moment / 1000
    if not now - OLDEST_SECONDS <= seconds <= now + NEWEST_SECONDS:
        return []
    return [datum for directive in directives for datum in _directive(root, directive, int(seconds))]


def _directive(root: dict[str, Any], directive: Any, seconds: int) -> list[Datum]:
    try:
        namespace, sets, definitions = directive["Namespace"], directive["Dimensions"], directive["Metrics"]
        if not _is_name(namespace) or not sets or len(definitions) > MOST_METRICS:
            return []
        dimensions = [_dimensions(root, names) for names in sets]
        measured = [measure for definition in definitions for measure in _measure(root, definition)]
    except (KeyError, TypeError, ValueError):
        return []
    return [
        Datum(namespace, name, chosen, seconds, _counted(values), unit)
        for chosen in dimensions
        for name, unit, values in measured
    ]


def _dimensions(root: dict[str, Any], names: Any) -> tuple[tuple[str, str], ...]:
    """Raises ValueError or KeyError for a set that refers to nothing, or to no text."""
    if not isinstance(names, list) or len(names) > MOST_DIMENSIONS:
        raise ValueError
    found = {name: root[name] for name in names}
    if not all(isinstance(value, str) and value.strip() and len(value) <= MOST_CHARACTERS for value in found.values()):
        raise ValueError
    return tuple(sorted(found.items()))


def _measure(root: dict[str, Any], definition: Any) -> Iterator[tuple[str, str, list[float]]]:
    """Name, unit and values. Raises ValueError or KeyError for a definition that refers to nothing, or to no number."""
    name, unit = definition["Name"], definition.get("Unit", "None")
    values = root[name] if isinstance(root[name], list) else [root[name]]
    if not _is_name(name) or unit not in UNITS or definition.get("StorageResolution", 60) not in (1, 60):
        raise ValueError
    if len(values) > MOST_VALUES or not all(map(_is_number, values)):
        raise ValueError
    if values:
        yield name, unit, values


def _counted(values: list[float]) -> dict[float, float]:
    counts: dict[float, float] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts


def _is_name(text: Any) -> bool:
    return isinstance(text, str) and 0 < len(text) <= MOST_CHARACTERS


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
