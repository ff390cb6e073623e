"""Holds every reply to the contract: its status is documented, its headers are there, its body is valid and no more."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
from jsonschema import Draft4Validator, Draft6Validator, FormatChecker
from jsonschema.validators import extend

from scripts.local import examples, routes

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

RequestValidator = extend(Draft4Validator, type_checker=Draft6Validator.TYPE_CHECKER)
"""For request bodies, where 1.0 is an integer, as from draft 6 on; in replies it is not."""

COMMON_HEADERS = {
    "access-control-allow-origin": r"\*",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-request-id": r"\S+",
}
"""On every reply, errors included, as patterns of the whole value."""

PROBLEM_TYPE = "application/problem+json"

PROBLEM_MEMBERS = {"type", "title", "status", "detail", "instance", "requestId", "code", "error"}

seen: set[tuple[str, int]] = set()
"""The pairs of operationId and status that the replies of this run had."""

FORMATS = {
    "date-time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "uuid": r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}",
    "uri": r"[a-z][a-z0-9+.-]*:\S+",
    "email": r"[^@\s]+@[^@\s]+",
}

CHECKS = {
    name: lambda value, matches=re.compile(pattern).fullmatch: not isinstance(value, str) or bool(matches(value))
    for name, pattern in FORMATS.items()
}
"""The formats that the contract may name, each checked in full; another name is an error."""

formats = FormatChecker(formats=())
for _name, _check in CHECKS.items():
    formats.checks(_name)(_check)


@dataclass(frozen=True)
class Operation:
    """One method of one path, with the path's parameters among its own, and every reference resolved."""

    id: str
    method: str
    path: str
    document: Mapping[str, Any]
    parameters: tuple[Mapping[str, Any], ...]

    @property
    def responses(self) -> dict[int, Mapping[str, Any]]:
        """The response to each status."""
        return {int(status): response for status, response in self.document["responses"].items()}

    @property
    def function(self) -> str:
        """The folder of the handler."""
        return self.id.partition(".")[0]

    @property
    def body(self) -> Mapping[str, Any] | None:
        """The request body's schema."""
        if "requestBody" not in self.document:
            return None
        schema: Mapping[str, Any] = self.document["requestBody"]["content"]["application/json"]["schema"]
        return schema


def document() -> Mapping[str, Any]:
    """The contract as it is written."""
    return routes.contract()


@functools.cache
def schema(name: str) -> Mapping[str, Any]:
    """One of the contract's schemas, every reference resolved."""
    found: Mapping[str, Any] = _resolved(document()["components"]["schemas"][name])
    return found


@functools.cache
def operations() -> dict[str, Operation]:
    """Every operation by its id, in the contract's order. An OPTIONS without an id is not an operation of ours."""
    found = {}
    for path, item in _resolved(document()["paths"]).items():
        for method in METHODS:
            if method in item and "operationId" in item[method]:
                parameters = (*item.get("parameters", ()), *item[method].get("parameters", ()))
                operation = Operation(item[method]["operationId"], method.upper(), path, item[method], parameters)
                found[operation.id] = operation
    return found


def asking_valkey(given: Mapping[str, str] | None = None) -> dict[str, examples.Example]:
    """The examples of the operations that ask Valkey something, as `examples.load` has them."""
    known = operations()
    return {name: one for name, one in examples.load(given).items() if "x-cache-role" in known[name].document}


def find(method: str, path: str) -> tuple[Operation | None, dict[str, str]]:
    """The operation that a request means, or None, and its path parameters as they were sent."""
    path = path.partition("?")[0]
    for operation in operations().values():
        match = routes.pattern(operation.path).fullmatch(path)
        if match and operation.method == method.upper():
            return operation, match.groupdict()
    return None, {}


def codes() -> set[str]:
    """Every problem code that a response of the contract has."""
    responses = [*document()["components"]["responses"].values()]
    responses += [response for one in operations().values() for response in one.responses.values()]
    return {code for response in responses for code in response.get("x-codes", ())}


def cache_role(function: str) -> str | None:
    """The role that a function has in the cache, reconcile too, which is no operation's; None for who never asks it."""
    roles = {one.document.get("x-cache-role") for one in operations().values() if one.function == function}
    (role,) = roles or {"reconcile" if function == "reconcile" else None}
    return role


def scopes(operation: Operation) -> list[str]:
    """The scopes that an operation answers where access is protected; none if it answers everybody."""
    return list(operation.document.get("x-scopes", ()))


def known_path(path: str) -> bool:
    """Whether the contract has the path, whatever the method."""
    return any(routes.pattern(template).fullmatch(path.partition("?")[0]) for template in document()["paths"])


def check(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Asserts that a reply is one that the contract promises, and remembers that it was seen."""
    headers = {name.lower(): value for name, value in headers.items()}
    where = f"{method} {path[:200]} → {status} {body[:500]!r}"
    for name, pattern in COMMON_HEADERS.items():
        assert re.fullmatch(pattern, headers.get(name, "")), f"{where}: header {name} is {headers.get(name)!r}"
    operation, _ = find(method, path)
    if operation is None:
        _check_outside(method, path, status, headers, body, where)
        return
    assert status in operation.responses, f"{where}: {operation.id} documents no {status}"
    seen.add((operation.id, status))
    response = operation.responses[status]
    for name, header in response.get("headers", {}).items():
        if name.lower() not in headers:
            assert not header.get("required"), f"{where}: the documented header {name} is missing"
            continue
        value: Any = headers[name.lower()]
        if header["schema"].get("type") in ("integer", "number"):
            value = json.loads(value)
        _validate(value, header["schema"], f"{where}: header {name}")
    content = response.get("content", {})
    if not content:
        assert body == b"", f"{where}: a body where none is documented"
        # HEAD has the type that GET would have; to a reply without one, API Gateway gives JSON's.
        types = {"application/json", *([PROBLEM_TYPE] if method.upper() == "HEAD" else ())}
        assert headers.get("content-type", "application/json") in types, where
        return
    media_type = headers.get("content-type", "").partition(";")[0]
    assert media_type in content, f"{where}: the content type {media_type!r} is not documented"
    value = parse(body)
    _validate(value, content[media_type]["schema"], where)
    assert (media_type == PROBLEM_TYPE) == ("code" in value), where
    if media_type == PROBLEM_TYPE:
        check_problem(status, headers, value)
        example = problems(response).get(value["code"])
        assert example, f"{where}: {operation.id} documents no such code"
        assert value["title"] == example["title"], where
        assert value["error"] == example["error"] or value["code"] == "invalid_arguments", where


def problems(response: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The problems that a response may have: an example of each code that it lists, in that order."""
    media = response["content"][PROBLEM_TYPE]
    examples = [media["example"]] if "example" in media else [each["value"] for each in media["examples"].values()]
    found = {example["code"]: example for example in examples}
    assert list(found) == response["x-codes"], f"examples of {list(found)}, codes {response['x-codes']}"
    return found


def check_problem(status: int, headers: Mapping[str, str], problem: Mapping[str, Any]) -> None:
    """Asserts the shape that all problems have."""
    assert headers["content-type"] == PROBLEM_TYPE
    assert set(problem) - {"errors"} == PROBLEM_MEMBERS, problem
    assert all(isinstance(problem[name], str) and problem[name] for name in PROBLEM_MEMBERS - {"status"}), problem
    assert problem["status"] == status
    assert problem["requestId"] == headers["x-request-id"]
    assert problem["requestId"] in problem["instance"]
    assert problem["type"] == f"urn:valkey-leaderboard:problem:{problem['code'].replace('_', '-')}"
    assert ("errors" in problem) == (problem["code"] == "invalid_arguments"), problem
    for error in problem.get("errors", ()):
        assert set(error) == {"name", "in", "detail"}, error
        assert error["in"] in ("path", "query", "body", "header"), error
        assert f"{error['name']} {error['detail']}" in problem["detail"], problem
    if status in (429, 503):
        assert int(headers["retry-after"]) > 0


def parse(body: bytes) -> Any:
    """A body as the strictest client reads it: UTF-8, no name twice, no NaN."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), f"a name twice in {pairs!r}"
        return dict(pairs)

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is not JSON")

    return json.loads(body.decode(), object_pairs_hook=unique, parse_constant=refuse)


def _check_outside(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes, where: str) -> None:
    """What the contract does not describe: a preflight request to a known path, or nothing at all."""
    if method.upper() == "OPTIONS" and known_path(path):
        assert status in (200, 204), where
        assert body == b"", where
        assert headers.get("access-control-allow-methods"), where
        assert headers.get("access-control-allow-headers"), where
        return
    assert status == 404, f"{where}: the contract has no such operation"
    if method.upper() != "HEAD":
        problem = parse(body)
        check_problem(status, headers, problem)
        assert problem["code"] == "endpoint_not_found"
        assert problem["error"] == "Endpoint not found"


def _resolved(node: Any) -> Any:
    """A part of the contract in which each reference is replaced by what it points at."""
    if isinstance(node, dict):
        if "$ref" in node:
            assert node["$ref"].startswith("#/"), node
            target: Any = document()
            for step in node["$ref"][2:].split("/"):
                target = target[step.replace("~1", "/").replace("~0", "~")]
            return _resolved(target)
        return {name: _resolved(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_resolved(value) for value in node]
    return node


def faults(value: Any, schema: Mapping[str, Any], validator_type: Any = Draft4Validator) -> list[str]:
    """What is wrong with a value by a schema of the contract, unlisted members included; empty if it is valid."""
    if validator_type is Draft4Validator and compiled(schema).is_valid(value):
        return []
    return explained(value, schema, validator_type)


def explained(value: Any, schema: Mapping[str, Any], validator_type: Any = Draft4Validator) -> list[str]:
    """The same without the fast path."""
    return _faults(value, _as_draft_4(schema, closed=True), validator_type)


_compiled: dict[int, tuple[Mapping[str, Any], jsonschema_rs.Draft4Validator]] = {}
"""By the identity of a schema, which is kept so that no other schema gets its identity."""


def compiled(schema: Mapping[str, Any]) -> jsonschema_rs.Draft4Validator:
    """A validator that takes microseconds to say that a value is valid, as nearly all are; it is less exact about what
    is wrong."""
    if id(schema) not in _compiled:
        closed = _as_draft_4(schema, closed=True)
        validator = jsonschema_rs.Draft4Validator(closed, formats=CHECKS, validate_formats=True)
        _compiled[id(schema)] = (schema, validator)
    return _compiled[id(schema)][1]


def as_written(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """What a client would find wrong with a value, by the contract as it is published."""
    return _faults(value, _as_draft_4(schema, closed=False), Draft4Validator)


def _faults(value: Any, schema: Mapping[str, Any], validator_type: Any) -> list[str]:
    validator = validator_type(schema, format_checker=formats)
    return [
        f"{'/'.join(map(str, error.absolute_path)) or 'the whole'}: {error.message[:300]}"
        for error in validator.iter_errors(value)
    ]


def _validate(value: Any, schema: Mapping[str, Any], where: str) -> None:
    found = faults(value, schema)
    assert not found, f"{where}\n" + "\n".join(found)


def _as_draft_4(schema: Any, *, closed: bool) -> Any:
    """OpenAPI 3.0 as draft 4 reads it. Closed: every object that does not say that it is open refuses undocumented
    members."""
    if isinstance(schema, list):
        return [_as_draft_4(part, closed=closed) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "format" in schema:
        assert schema["format"] in (*formats.checkers, "int32", "int64", "double", "float"), schema["format"]
    assert not {"allOf", "anyOf", "oneOf"} & set(schema), "a part that is closed alone would refuse the others' members"
    draft: dict[str, Any] = {}
    for name, value in schema.items():
        if name in ("enum", "example", "required"):
            draft[name] = value
        elif name == "properties":
            draft[name] = {key: _as_draft_4(part, closed=closed) for key, part in value.items()}
        elif name == "pattern":
            draft[name] = re.sub(r"\$\Z", r"(?![\\s\\S])", value)  # Python's $ would allow a line end after it
        else:
            draft[name] = _as_draft_4(value, closed=closed)
    if closed and "properties" in draft:
        draft.setdefault("additionalProperties", False)
    if draft.pop("nullable", False) and "type" in draft:
        draft["type"] = [draft["type"], "null"]
        if "enum" in draft:
            draft["enum"] = [*draft["enum"], None]
    return draft
