"""The values of an environment: those in its file, and the defaults of the root's variables for the rest.

Both are literals, and this reads literals only: a parser of all of HCL takes three seconds to load.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.places import TERRAFORM, seen_from_here
from scripts.refusal import Refusal

TOKEN = re.compile(r'\s*((?:#|//)[^\n]*|/\*.*?\*/|"(?:[^"\\]|\\.)*"|-?[\w.][\w.-]*|[][{}=:,])', re.DOTALL)

WORDS = {"true": True, "false": False, "null": None}

VARIABLE = re.compile(r'^variable "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
DEFAULT = re.compile(r"^  default +=(.*?)(?=^  \w|\Z)", re.MULTILINE | re.DOTALL)
"""Both as terraform fmt lays them out."""


def file_of(environment: str) -> Path:
    """The file of an environment, which need not exist."""
    return TERRAFORM / "environments" / f"{environment}.tfvars"


def of(environment: str) -> dict[str, Any]:
    """Every root variable that has a value in an environment. Raises Refusal for anything but a literal."""
    return {**defaults(TERRAFORM), **read(file_of(environment))}


def name_of(found: Mapping[str, Any]) -> str:
    """The prefix of every name on AWS that follows from these values, as terraform/ forms it."""
    return f"{found['project']}-{found['environment']}"


def function_name(found: Mapping[str, Any], key: str) -> str:
    """A function's name on AWS, from these values and its key."""
    return f"{name_of(found)}-{key.replace('_', '-')}"


def defaults(folder: Path) -> dict[str, Any]:
    """The defaults of the variables in a Terraform folder. Raises Refusal for one that is not a literal."""
    found = {}
    for file in sorted(folder.glob("*.tf")):
        for name, block in VARIABLE.findall(file.read_text()):
            if default := DEFAULT.search(block):
                found[name] = _value([*_tokens(default[1], file)][::-1], file)
    return found


def read(file: Path) -> dict[str, Any]:
    """What a values file sets. Raises Refusal, which names the file."""
    tokens = list(_tokens(file.read_text(), file))
    tokens.reverse()
    found = {}
    while tokens:
        name = tokens.pop()
        if not tokens or tokens.pop() != "=":
            raise _unreadable(file, name)
        found[name] = _value(tokens, file)
    return found


def _tokens(text: str, file: Path) -> Iterator[str]:
    """Without comments."""
    end = 0
    text = text.rstrip()
    while end < len(text):
        found = TOKEN.match(text, end)
        if found is None:
            raise _unreadable(file, text[end:].split()[0])
        end = found.end()
        if not found[1].startswith(("#", "//", "/*")):
            yield found[1]


def _value(tokens: list[str], file: Path) -> Any:
    """Takes one value off the end of the tokens, which are in reverse order."""
    first = tokens.pop() if tokens else ""
    if first == "[":
        found = []
        while not _closes(tokens, "]", file):
            found.append(_value(tokens, file))
        return found
    if first == "{":
        members = {}
        while not _closes(tokens, "}", file):
            name = _text(tokens.pop())
            if not tokens or tokens.pop() not in ("=", ":"):
                raise _unreadable(file, name)
            members[name] = _value(tokens, file)
        return members
    if first.startswith('"') and "${" not in first:
        return _text(first)
    if first in WORDS:
        return WORDS[first]
    if re.fullmatch(r"-?\d+", first):
        return int(first)
    if re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", first):
        return float(first)
    raise _unreadable(file, first)


def _closes(tokens: list[str], end: str, file: Path) -> bool:
    """Whether a list or an object ends here. Takes its end if so, and otherwise any comma before the next member."""
    while tokens and tokens[-1] == ",":
        tokens.pop()
    if not tokens:
        raise _unreadable(file, end)
    if tokens[-1] == end:
        tokens.pop()
        return True
    return False


def _text(token: str) -> str:
    """A token's text. Quotes and escapes are as in JSON."""
    return str(json.loads(token)) if token.startswith('"') else token


def _unreadable(file: Path, where: str) -> Refusal:
    return Refusal(f"{seen_from_here(file)} cannot be read near {where!r}: write its values as plain literals.")
