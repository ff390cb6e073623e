"""What a plan would do, worst first, for people and for programs.

Read from what `terraform show -json` prints of a plan. It says which attributes change, never their values: some are
secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

KINDS = {
    "replaced": "to replace",
    "destroyed": "to destroy",
    "forgotten": "to forget, without destroying them",
    "added": "to add",
    "imported": "to import",
    "changed": "to change",
    "moved": "to call by another name",
    "output": "of the outputs to change",
}
"""What can happen to a resource, worst first, and how the last line of a summary counts it."""

LOSING = {"replaced", "destroyed", "forgotten"}
"""After these, what was there is gone, or no longer looked after."""

RED, PLAIN = "\033[31m", "\033[0m"

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """One thing that an apply would do."""

    kind: str
    address: str
    attributes: tuple[str, ...] = ()
    """The attributes that change; for a replacement, those that force it."""
    outside: bool = False
    """Whether the resource is no longer as the last apply left it: somebody or something else changed it."""


def read(document: Values) -> list[Change]:
    """The changes of a plan, in the order of KINDS."""
    drifted = {one["address"] for one in document.get("resource_drift", ())}
    found = [change for one in document.get("resource_changes", ()) for change in _of_resource(one, drifted)]
    found += [
        Change("output", f"output.{name}")
        for name, change in document.get("output_changes", {}).items()
        if change["actions"] != ["no-op"]
    ]
    order = [*KINDS]
    return sorted(found, key=lambda change: order.index(change.kind))


def as_json(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [asdict(change) for change in changes]


def summary(changes: Sequence[Change], *, coloured: bool) -> str:
    """A line for each resource that would be lost, a line for each block of others, and the totals last."""
    if not changes:
        return "Nothing would change."
    lines = []
    for kind in KINDS:
        texts = _lines([change for change in changes if change.kind == kind])
        lines += [_painted(f"{kind:9}  {text}", red=coloured and kind in LOSING) for text in texts]
    sums = {kind: sum(change.kind == kind for change in changes) for kind in KINDS}
    total = ", ".join(f"{count} {KINDS[kind]}" for kind, count in sums.items() if count)
    is_losing = any(sums[kind] for kind in LOSING)
    return "\n".join([*lines, _painted(f"{total}.", red=coloured and is_losing)])


def _of_resource(one: Values, drifted: set[str]) -> Iterator[Change]:
    actions = set(one["change"]["actions"])
    address = f"{one['address']} (deposed {one['deposed']})" if "deposed" in one else one["address"]
    kind = _kind(actions, one)
    if kind is None or one["mode"] != "managed":
        return
    attributes = _forcing(one["change"]) if kind == "replaced" else _differing(one["change"])
    yield Change(kind, address, attributes, one["address"] in drifted)


def _kind(actions: set[str], one: Values) -> str | None:
    if "forget" in actions:
        return "forgotten"
    if "importing" in one["change"]:
        return "imported"
    if actions == {"no-op"}:
        return "moved" if "previous_address" in one else None
    known = {"create": "added", "update": "changed", "delete": "destroyed", "read": None}
    return "replaced" if actions == {"create", "delete"} else known[actions.pop()]


def _forcing(change: Values) -> tuple[str, ...]:
    """The attributes whose change forces a replacement."""
    return tuple(sorted({str(path[0]) for path in change.get("replace_paths", ()) if path}))


def _differing(change: Values) -> tuple[str, ...]:
    """The attributes whose values differ before and after, or are not known yet."""
    before, after, unknown = (change.get(name) or {} for name in ("before", "after", "after_unknown"))
    if not before or not after:
        return ()
    return tuple(sorted(name for name in {*before, *after} if before.get(name) != after.get(name) or unknown.get(name)))


def _lines(changes: Sequence[Change]) -> Iterator[str]:
    """What would be lost is named one by one; otherwise a block's instances share a line."""
    groups: dict[str, list[Change]] = {}
    for change in changes:
        block = change.address if change.kind in LOSING else re.sub(r'\["[^"]*"\]|\[\d+\]', "", change.address)
        groups.setdefault(block, []).append(change)
    for block, group in groups.items():
        name = group[0].address if len(group) == 1 else f"{block}, {len(group)} of them"
        attributes = sorted({attribute for change in group for attribute in change.attributes})
        outside = "  [changed outside Terraform]" if any(change.outside for change in group) else ""
        yield f"{': '.join(filter(None, [name, ', '.join(attributes)]))}{outside}"


def _painted(text: str, *, red: bool) -> str:
    return f"{RED}{text}{PLAIN}" if red else text
