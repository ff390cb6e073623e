"""What was checked and what was seen: a table for people, and the same for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

OK, LOOK, NO = "ok", "look", "no"
"""As it should be; perhaps right, so somebody should look; wrong."""

NOT_KNOWN, NOT_NEEDED, WAITING = "not known", "not needed", "waiting"
"""Impossible to tell, for lack of a permission, say; nothing of this kind here; not seen yet."""

COLOURS = {OK: 32, LOOK: 33, NO: 31, NOT_KNOWN: 33, NOT_NEEDED: 90, WAITING: 36}

HEAD = ("check", "seen", "needed", "verdict")


@dataclass(frozen=True)
class Verdict:
    """A row of the table."""

    check: str
    seen: str
    needed: str
    verdict: str
    remedy: str = ""
    """What to do about it, in one sentence; empty if there is nothing to do."""


def table(rows: Sequence[Verdict], *, coloured: bool) -> str:
    """The table, and below it what to do, in the order of its rows."""
    cells = [HEAD, *((row.check, row.seen, row.needed, row.verdict) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    lines = []
    for number, line in enumerate(cells):
        *first, verdict = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        if coloured and number:
            verdict = f"\033[{COLOURS[line[-1]]}m{verdict}\033[0m"
        lines.append("  ".join([*first, verdict]).rstrip())
    return "\n".join([*lines, *(f"{row.check}: {row.remedy}" for row in rows if row.remedy)])


def as_json(rows: Iterable[Verdict]) -> list[dict[str, Any]]:
    """The rows for programs."""
    return [asdict(row) for row in rows]
