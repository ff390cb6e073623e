"""The audit: the lines that the functions write around each act, read from a log and put together again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypedDict

from shared.acts import ACTS

Lines = Callable[[float], Iterator[str]]
"""The lines of a log that were written since a time, in seconds since 1970."""

FUNCTIONS = ("correct_score", "erase_user", "export_user", "set_visibility", "update_user")
"""Those whose log groups are the audit: each function that records its acts."""

FILTER = '{ $.event = "audit" }'
"""For CloudWatch Logs, to send nothing else."""

UNSEEN = "unseen"
"""The outcome of an act whose end nobody has written: ask what has become of the player."""


class Entry(TypedDict):
    """An act: when it began, who did what to whom and why, what it changed and how it ended."""

    at: str
    act: str
    userId: str
    who: str
    scope: str
    reason: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    outcome: str
    code: str | None
    requestId: str
    tokenId: str | None


def entries(lines: Iterable[str], user_id: str | None = None) -> list[Entry]:
    """The acts in a log, or those on one player, in the order of their beginning. Other lines are passed over."""
    acts: dict[tuple[str, str], Entry] = {}
    for text in lines:
        line = _audit_line(text)
        if line is None or user_id not in (None, line["userId"]):
            continue
        entry = acts.setdefault((line["requestId"], line["act"]), _begun(line))
        if line["message"] == "act ended":
            entry["before"], entry["after"] = line["before"], line["after"]
            entry["outcome"], entry["code"] = line["outcome"], line["code"]
        else:
            entry["at"] = line["timestamp"]
    return sorted(acts.values(), key=lambda entry: entry["at"])


def table(found: Sequence[Entry]) -> str:
    """The acts for people, a line or two each."""
    return "\n".join(
        f"{entry['at'][:19]}Z  {entry['outcome']:<9} {entry['act']} {entry['userId']} by {entry['who']} "
        f"({entry['scope']}){_changes(entry)}{_reason(entry)}"
        for entry in found
    )


def _audit_line(text: str) -> dict[str, Any] | None:
    """A line of the audit; None for any other."""
    if '"audit"' not in text:
        return None
    try:
        line = json.loads(text[text.index("{") :])
    except ValueError:
        return None
    return line if isinstance(line, dict) and line.get("event") == "audit" and line.get("act") in ACTS else None


def _begun(line: dict[str, Any]) -> Entry:
    return {
        "at": line["timestamp"],
        "act": line["act"],
        "userId": line["userId"],
        "who": f"{line['subject']} of {line['issuer']}",
        "scope": line["scope"],
        "reason": line["reason"],
        "before": None,
        "after": None,
        "outcome": UNSEEN,
        "code": None,
        "requestId": line["requestId"],
        "tokenId": line["tokenId"],
    }


def _changes(entry: Entry) -> str:
    sides = [
        ", ".join(f"{name} {_shown(value)}" for name, value in side.items() if value is not None)
        for side in (entry["before"] or {}, entry["after"] or {})
    ]
    return f": {' → '.join(side for side in sides if side)}" if any(sides) else ""


def _shown(value: Any) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else f"{value:,}"


def _reason(entry: Entry) -> str:
    return f"; reason: {entry['reason']}" if entry["reason"] else ""
