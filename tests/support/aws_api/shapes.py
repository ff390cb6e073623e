"""Checks requests against botocore's models: what AWS refuses before it looks at anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any


def faults(shape: Any, value: Any, where: str = "") -> Iterator[str]:
    """Everything that is wrong with a value, a sentence each; `shape` is botocore's."""
    if shape.type_name == "structure":
        if shape.is_document_type:
            return
        yield from (f"{_join(where, name)} is missing" for name in shape.required_members if name not in value)
        for name, member in shape.members.items():
            if name in value:
                yield from faults(member, value[name], _join(where, name))
    elif shape.type_name == "list":
        yield from _counted(shape, len(value), f"{where} has", "items")
        for number, item in enumerate(value):
            yield from faults(shape.member, item, f"{where}[{number}]")
    elif shape.type_name == "map":
        yield from _counted(shape, len(value), f"{where} has", "entries")
        for key, item in value.items():
            yield from faults(shape.key, key, f"{where}'s key {key!r}")
            yield from faults(shape.value, item, f"{where}[{key!r}]")
    elif shape.type_name == "string":
        yield from _text(shape, value, where)
    elif shape.type_name in ("integer", "long", "float", "double"):
        yield from _counted(shape, value, f"{where} is", "")


def _text(shape: Any, value: str, where: str) -> Iterator[str]:
    yield from _counted(shape, len(value), f"{where} ({value[:80]!r}) has", "characters")
    if shape.enum and value not in shape.enum:
        yield f"{where} is {value!r}, but must be one of {', '.join(shape.enum)}"
    pattern = shape.metadata.get("pattern")
    if pattern and (compiled := _compiled(pattern)) and not compiled.fullmatch(value):
        yield f"{where} ({value[:80]!r}) does not match {pattern}"


def _compiled(pattern: str) -> re.Pattern[str] | None:
    r"""None for what Python cannot read: classes such as \p{L}, most of which forbid next to nothing."""
    try:
        return re.compile(pattern)
    except re.error:
        return None


def _counted(shape: Any, found: float, what: str, unit: str) -> Iterator[str]:
    limits: Mapping[str, float] = shape.metadata
    if found < limits.get("min", found):
        yield f"{what} {found} {unit}, but must have {limits['min']} at least"
    if found > limits.get("max", found):
        yield f"{what} {found} {unit}, but may have {limits['max']} at most"


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
