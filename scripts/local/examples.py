"""One request of each operation, made of the contract's own examples: what tests, benchmarks and generated clients ask.

What an id means follows from the contract. One in a path, and one that a body has to have, is of what exists: the
caller gives it. One that a body may leave out is left out, so each request makes another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from scripts.local import routes
from shared.operations import NEED_A_TOKEN


@dataclass(frozen=True)
class Example:
    """A request that gets `status`. `path` is a template, `parameters` what is filled in; `body` is None for none."""

    operation_id: str
    tag: str
    method: str
    path: str
    parameters: Mapping[str, str]
    query: Mapping[str, Any]
    body: Mapping[str, Any] | None
    required: tuple[str, ...]
    """The members that the body has to have."""
    is_keyed: bool
    """Whether it takes an Idempotency-Key."""
    scopes: tuple[str, ...]
    """Whose token it takes where access is protected; none for anybody."""
    needs_a_token: bool
    """Whether nobody may have it where access is open."""
    status: int

    @property
    def function(self) -> str:
        """The folder of the handler."""
        return self.operation_id.partition(".")[0]

    @property
    def changes(self) -> bool:
        """Whether it does more than read."""
        return self.method not in ("GET", "HEAD")

    @property
    def target(self) -> str:
        """Path and query as they are sent."""
        path = self.path.format(**self.parameters)
        return f"{path}?{urlencode(self.query)}" if self.query else path

    @property
    def other_body(self) -> dict[str, Any]:
        """Another payload for the same things: without the last member that may be left out."""
        *_, optional = (name for name in self.body or {} if name not in self.required)
        return {name: value for name, value in (self.body or {}).items() if name != optional}


def load(given: Mapping[str, str] | None = None) -> dict[str, Example]:
    """The requests by operationId, in the contract's order, but for those that end something: they are the last, and
    what ends a whole comes after what ends a part of it. An id that is not given is the contract's example."""
    found = {}
    for path, item in routes.contract()["paths"].items():
        for method in routes.METHODS:
            if method in item:
                parameters = [*item.get("parameters", ()), *item[method].get("parameters", ())]
                example = _example(method.upper(), path, {**item[method], "parameters": parameters}, given or {})
                found[example.operation_id] = example
    ends = [one for one in found.values() if one.method == "DELETE"]
    return {one.operation_id: one for one in [*(one for one in found.values() if one not in ends), *reversed(ends)]}


def ids() -> dict[str, str]:
    """The contract's own ids, by the names of the paths' parameters."""
    return {name: value for example in load().values() for name, value in example.parameters.items()}


def existing(ask: Callable[[Example], Any]) -> dict[str, str]:
    """An id for each parameter of a path, made by POST on the path before it; ask returns the value of a good reply.

    Raises LookupError for a parameter that nothing makes.
    """
    found: dict[str, str] = {}
    for name, collection in _made():
        makers = [one for one in load(found).values() if (one.method, one.path) == ("POST", collection)]
        if not makers:
            raise LookupError(f"no POST on {collection} makes a {name}")
        found[name] = _member(ask(makers[0]), name)
    return found


def _example(method: str, path: str, operation: Mapping[str, Any], given: Mapping[str, str]) -> Example:
    parameters = [_followed(one) for one in operation["parameters"]]
    body, required = _body(operation, given)
    return Example(
        operation_id=operation["operationId"],
        tag=operation["tags"][0],
        method=method,
        path=path,
        parameters={one["name"]: given.get(one["name"], one["example"]) for one in parameters if one["in"] == "path"},
        query={one["name"]: one["example"] for one in parameters if one["in"] == "query"},
        body=body,
        required=required,
        is_keyed=any(one["name"] == "Idempotency-Key" for one in parameters),
        scopes=tuple(operation.get("x-scopes", ())),
        needs_a_token=f"{method} {path}" in NEED_A_TOKEN,
        status=min(map(int, operation["responses"])),
    )


def _body(operation: Mapping[str, Any], given: Mapping[str, str]) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """The body with its ids, and the names of the members that it has to have."""
    if "requestBody" not in operation:
        return None, ()
    media = operation["requestBody"]["content"]["application/json"]
    required = tuple(_followed(media["schema"]).get("required", ()))
    named = {name for name, _ in _made()}
    kept = {name: value for name, value in media["example"].items() if name in required or name not in named}
    return {name: given.get(name, value) if name in named else value for name, value in kept.items()}, required


def _made() -> Iterator[tuple[str, str]]:
    """Each parameter of a path with the path that stands before it, once: `userId`, `/users`."""
    seen = set()
    for path in routes.contract()["paths"]:
        for found in re.finditer(r"/\{(\w+)\}", path):
            if found[1] not in seen:
                yield found[1], path[: found.start()]
            seen.add(found[1])


def _member(reply: Mapping[str, Any], name: str) -> str:
    """What a reply calls so, itself or in the thing that was made."""
    for part in (reply, *(value for value in reply.values() if isinstance(value, Mapping))):
        if name in part:
            return str(part[name])
    raise LookupError(f"there is no {name} in {reply}")


def _followed(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of the contract, or what it refers to."""
    while "$ref" in node:
        target: Any = routes.contract()
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node
