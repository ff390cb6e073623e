"""The contract's operations as a table of routes: which handler answers which request."""

import functools
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from scripts.places import CONTRACT
from shared.endpoint import Handler

METHODS = ("get", "head", "put", "post", "delete", "patch")


@dataclass(frozen=True)
class Route:
    """One operation of the contract. `path` is its template, `function` the folder that holds its handler."""

    method: str
    path: str
    operation_id: str
    function: str
    needs_api_key: bool
    needs_token: bool
    """Whether it asks for one where access is protected."""
    handler: Handler


@dataclass(frozen=True)
class Resource:
    """One path of the contract with its routes by method."""

    path: str
    pattern: re.Pattern[str]
    routes: Mapping[str, Route]


def load() -> list[Resource]:
    """The contract's paths, with their handlers imported; literal paths come before those with parameters.

    Raises ImportError or AttributeError, naming what is missing, for an operation without a handler.
    """
    document = contract()
    resources = []
    for path, item in document["paths"].items():
        routes = {}
        for method in METHODS:
            if method in item:
                operation = item[method]
                security = operation.get("security", document.get("security", []))
                routes[method.upper()] = _route(method.upper(), path, operation, needs_api_key=bool(security))
        resources.append(Resource(path, pattern(path), routes))
    return sorted(resources, key=lambda resource: resource.path.count("{"))


@functools.cache
def contract() -> Mapping[str, Any]:
    """The contract as it is written, read once: nobody changes what is in it."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C takes a tenth of the time
    document: Mapping[str, Any] = yaml.load(CONTRACT.read_text(encoding="utf-8"), loader)  # noqa: S506 - safe, both
    return document


def find(resources: list[Resource], path: str) -> tuple[Resource, dict[str, str]] | None:
    """The resource that a request's path matches, and the path's parameters as they were sent, percent-encoded."""
    for resource in resources:
        if match := resource.pattern.fullmatch(path):
            return resource, match.groupdict()
    return None


def _route(method: str, path: str, operation: Mapping[str, Any], *, needs_api_key: bool) -> Route:
    operation_id, needs_token = operation["operationId"], bool(operation.get("x-scopes"))
    function = operation_id.partition(".")[0]
    handler: Handler = importlib.import_module(f"functions.{function}.handler").handler
    return Route(method, path, operation_id, function, needs_api_key, needs_token, handler)


@functools.cache
def pattern(path: str) -> re.Pattern[str]:
    """What the paths look like that a template stands for, with a group for each parameter."""
    parts = re.split(r"\{(\w+)\}", path)
    return re.compile("".join(f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts)))
