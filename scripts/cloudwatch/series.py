"""Metrics as CloudWatch keeps them, in memory: by namespace, name and exactly these dimensions.

Unlike CloudWatch it keeps every value, so percentiles are exact, and to the second, so that a window may begin at any.
Whoever runs for long has old values thinned out by `thin`.
"""

from __future__ import annotations

import bisect
import math
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Dimensions = tuple[tuple[str, str], ...]
"""Pairs of name and value, sorted by name."""

Key = tuple[str, str, Dimensions]
"""Namespace, name, dimensions: what makes a metric one of its own."""

PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)\Z")


GRAINS = ((300, 60), (6 * 3600, 300), (3 * 86400, 3600))
"""Values that are older than the first number of seconds are kept together for as many seconds as the second."""
KEPT_SECONDS = 31 * 86400
MOST_VALUES = 64
"""So many different values of one moment are kept apart; more are put together with those within 5 %."""


class UnknownStatisticError(ValueError):
    """CloudWatch may know this statistic, but nothing here does."""


@dataclass(frozen=True)
class Datum:
    """How often each value was seen in one second."""

    namespace: str
    name: str
    dimensions: Dimensions
    seconds: int
    counts: Mapping[float, float]
    unit: str = "None"

    @property
    def key(self) -> Key:
        """The metric that it belongs to."""
        return self.namespace, self.name, self.dimensions


@dataclass
class _Series:
    unit: str
    moments: list[int] = field(default_factory=list)
    """The seconds that have values, in order."""
    counts: dict[int, dict[float, float]] = field(default_factory=dict)


class Metrics:
    """All that was measured. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._series: dict[Key, _Series] = {}

    def add(self, data: Iterable[Datum]) -> None:
        """Adds values to what there is."""
        with self._lock:
            for datum in data:
                series = self._series.setdefault(datum.key, _Series(datum.unit))
                if datum.seconds not in series.counts:
                    bisect.insort(series.moments, datum.seconds)
                    series.counts[datum.seconds] = {}
                seen = series.counts[datum.seconds]
                for value, count in datum.counts.items():
                    seen[value] = seen.get(value, 0) + count

    def known(self) -> list[Key]:
        """Every metric that has ever had a value."""
        with self._lock:
            return list(self._series)

    def unit(self, key: Key) -> str | None:
        """A metric's unit; None for one that has no value."""
        with self._lock:
            return self._series[key].unit if key in self._series else None

    def points(self, key: Key, name: str, begin: int, end: int, period: int) -> dict[int, float]:
        """A statistic for each period that has a value, by the second in which the period begins: begin, begin +
        period, and so on before end. Raises UnknownStatisticError."""
        found: dict[int, dict[float, float]] = {}
        with self._lock:
            if series := self._series.get(key):
                first, last = bisect.bisect_left(series.moments, begin), bisect.bisect_left(series.moments, end)
                for moment in series.moments[first:last]:
                    counts = found.setdefault(begin + (moment - begin) // period * period, {})
                    for value, count in series.counts[moment].items():
                        counts[value] = counts.get(value, 0) + count
        return {moment: statistic(counts, name) for moment, counts in found.items()}

    def thin(self, now: float) -> None:
        """Keeps values the less exactly the older they are: their time by GRAINS, their size by MOST_VALUES.

        Sums and counts stay what they are. So a metric takes at most 2,000 moments of some 64 values each, all in all.
        """
        with self._lock:
            for series in self._series.values():
                counts: dict[int, dict[float, float]] = {}
                for moment in series.moments:
                    age = now - moment
                    if age > KEPT_SECONDS:
                        continue
                    grain = next((grain for older, grain in reversed(GRAINS) if age > older), 1)
                    seen = counts.setdefault(moment // grain * grain, {})
                    for value, count in series.counts[moment].items():
                        seen[value] = seen.get(value, 0) + count
                series.counts = {moment: _fewer(seen) for moment, seen in counts.items()}
                series.moments = sorted(counts)


def _fewer(counts: dict[float, float]) -> dict[float, float]:
    """The same values; if there are too many, each group of neighbours by its mean, so that the sum stays."""
    if len(counts) <= MOST_VALUES:
        return counts
    groups: dict[tuple[bool, int], tuple[float, float]] = {}
    for value, count in counts.items():
        group = value < 0, round(math.log(abs(value)) / math.log(1.05)) if value else -(10**6)
        total, number = groups.get(group, (0.0, 0.0))
        groups[group] = total + value * count, number + count
    return {total / number: number for total, number in groups.values()}


def statistic(counts: Mapping[float, float], name: str) -> float:
    """A statistic of values, of which there is at least one, by how often each was seen. Raises
    UnknownStatisticError."""
    match name:
        case "Sum":
            return math.fsum(value * count for value, count in counts.items())
        case "SampleCount":
            return math.fsum(counts.values())
        case "Average":
            return statistic(counts, "Sum") / statistic(counts, "SampleCount")
        case "Minimum":
            return min(counts)
        case "Maximum":
            return max(counts)
    if not (percentile := PERCENTILE.match(name)):
        raise UnknownStatisticError(
            f"The statistic {name} is none of Sum, SampleCount, Average, Minimum, Maximum, p0 to p100."
        )
    wanted = math.fsum(counts.values()) * float(percentile[1]) / 100
    passed = 0.0
    for value in sorted(counts):
        passed += counts[value]
        if passed >= wanted:
            return value
    return max(counts)
