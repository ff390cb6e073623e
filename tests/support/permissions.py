"""Who may do what, as a table: every operation, every caller, own and other players' ids, open and protected.

It is tried through the local gateway and through the emulated API Gateway. What is asked comes from
the contract, and so do the scopes; what a scope means is written out here once more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from scripts.local import examples
from scripts.local.examples import Example
from shared.config import Scope
from tests.support.api import fresh_id

Access = Literal["open", "protected"]

Who = Literal["nobody", "player", "other", "server", "admin"]
"""Somebody without a token; the player whom the request is about; another player; and those who are no players."""

SCOPES: dict[Who, Scope | None] = {
    "nobody": None,
    "player": "player",
    "other": "player",
    "server": "server",
    "admin": "admin",
}

TOLD_EMAILS = ("player", "server")


@dataclass(frozen=True)
class Row:
    """A request that gets `status`, and `code` where it is refused. `members` of the body replace the example's, None
    leaves one out."""

    access: Access
    who: Who
    operation: str
    status: int
    code: str | None = None
    special: str = ""
    members: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join(filter(None, (self.access, self.operation, self.who, self.special)))

    @property
    def is_refused(self) -> bool:
        """Whether nothing may change."""
        return self.code is not None

    @property
    def tells_emails(self) -> bool:
        """Whether a profile in the reply has the e-mail address. Without a token, a reply never has one."""
        is_public = not examples.load()[self.operation].scopes
        return self.access == "open" or (self.who in TOLD_EMAILS and not is_public)


@dataclass(frozen=True)
class Asked:
    """A row's request, and whose token it comes with; `scope` None for none."""

    example: Example
    scope: Scope | None
    subject: str


def rows(access: Access, operators: Sequence[str] = ()) -> list[Row]:
    """The table, for a deployment in which players may submit with these operators."""
    found = [_row(access, example, who, operators) for example in examples.load().values() for who in SCOPES]
    if access == "protected":
        found += _special(operators)
    return found


def faults(
    rows: Sequence[Row],
    ask: Callable[[Asked], tuple[int, bytes]],
    make: Callable[[], Mapping[str, str]],
    look: Callable[[], object],
) -> list[str]:
    """What is wrong with the answers to these rows' requests, by row.

    `make` makes a player and a session of theirs and tells their ids, `look` tells all that is kept anywhere, and `ask`
    sends a request, whose status and body it returns.
    """
    found, given = [], {}
    for row in sorted(rows, key=lambda row: row.is_refused, reverse=True):  # those that are refused meet one world
        if not given or not row.is_refused:
            given = make()
        before = look()
        status, body = ask(asked(row, given))
        if (status, _code(body)) != (row.status, row.code):
            found.append(f"{row}: {status} {body!r}")
        elif row.is_refused and look() != before:
            found.append(f"{row}: something has changed")
        elif not row.is_refused and b'"user"' in body and (b'"email"' in body) != row.tells_emails:
            found.append(f"{row}: {body!r}")
    return found


def asked(row: Row, given: Mapping[str, str]) -> Asked:
    """A row's request about a player and a session of theirs. Who creates a player creates another one."""
    player = fresh_id("new") if row.operation == "create_user" else given["userId"]
    members = {name: player if value is OWN else value for name, value in row.members.items()}
    example = examples.load(given)[row.operation]
    if members:
        body = {**(example.body or {}), **members}
        example = replace(example, body={name: value for name, value in body.items() if value is not None})
    subject = {"player": player, "other": fresh_id("other")}.get(row.who, "somebody")
    return Asked(example, SCOPES[row.who], subject)


def _code(body: bytes) -> str | None:
    value = json.loads(body) if body else None
    return value.get("code") if isinstance(value, dict) else None


OWN = object()
"""In the members of a row: the id of the player whom the request is about."""


def _row(access: Access, example: Example, who: Who, operators: Sequence[str]) -> Row:
    members: dict[str, Any] = {}
    if example.operation_id == "create_user":  # a player has no other way, and somebody else's id has to be named
        members = {"player": {"score": None}, "other": {"score": None, "userId": OWN}}.get(who, {})
    status, code = _expected(access, example, who, operators)
    return Row(access, who, example.operation_id, status, code, members=members)


def _expected(access: Access, example: Example, who: Who, operators: Sequence[str]) -> tuple[int, str | None]:
    refused = 403, "not_allowed"
    if access == "open":
        return refused if example.needs_a_token else (example.status, None)
    if not example.scopes:
        return example.status, None
    if who == "nobody":
        return 401, "unauthenticated"
    if SCOPES[who] not in example.scopes or who == "other":
        return refused
    if example.operation_id == "update_score" and who == "player" and (example.body or {})["operator"] not in operators:
        return refused
    return example.status, None


def _special(operators: Sequence[str]) -> Iterator[Row]:
    """What depends on the body."""
    create, score = "create_user", "update_score"
    for who in ("player", "server"):
        yield Row("protected", who, create, 201, special="by its id", members={"userId": OWN, "score": None})
    yield Row("protected", "player", create, 201, special="from the start", members={"score": 0})
    yield Row("protected", "player", create, 403, "not_allowed", "with a score", {"score": 1})
    yield Row("protected", "player", create, 403, "not_allowed", "by its id with a score", {"userId": OWN, "score": 1})
    for operator in ("set", "best", "increment", "decrement", None):
        members = {"operator": operator, "score": 1}
        is_allowed = (operator or "set") in operators
        status, code = (200, None) if is_allowed else (403, "not_allowed")
        special = f"by {operator}" if operator else "by default"
        yield Row("protected", "player", score, status, code, special, members)
        yield Row("protected", "other", score, 403, "not_allowed", special, members)
        yield Row("protected", "server", score, 200, None, special, members)
