"""The handlers as Lambda calls them: an event in, and an answer out that is held to the contract."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import importlib
import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from scripts.local import proxy, routes
from scripts.local.examples import Example
from scripts.local.proxy import Context
from shared import config
from shared.store import store
from tests.support import callers, contract

SENT = {
    "Accept": "*/*",
    "Host": "abc123.execute-api.eu-central-1.amazonaws.com",
    "User-Agent": "test/1.0",
    "X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793",
    "X-Forwarded-For": "192.0.2.7",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Proto": "https",
}
"""The headers of every event."""

_environment = threading.RLock()


def event(
    method: str,
    path: str,
    *,
    json_body: Any = None,
    body: str | bytes | None = None,
    headers: Mapping[str, str] | None = None,
    authorizer: Any = ...,
    **members: Any,
) -> dict[str, Any]:
    """A Lambda proxy event as the gateway builds it; `members` replace the event's own, even with None.

    `authorizer` is what the gateway's authorizer says of the caller, by default somebody who may: where access is open
    nobody looks. A text body is sent as it is, bytes as base64. The method may be one that the path does not have.
    """
    raw_path, _, query = path.partition("?")
    sent = dict(SENT)
    if json_body is not None:
        body = json.dumps(json_body)
        sent["Content-Type"] = "application/json"
    sent.update(headers or {})
    found = routes.find(_table(), raw_path)
    assert found, f"the contract has no {raw_path}"
    resource, parameters = found
    route = resource.routes.get(method) or next(iter(resource.routes.values()))
    request = proxy.Request(str(uuid.uuid4()), method, raw_path, query, [*sent.items()], b"", "192.0.2.7")
    built: dict[str, Any] = {**proxy.event(request, route, parameters)}
    operation, _ = contract.find(method, raw_path)
    if authorizer is ...:
        authorizer = callers.able(operation.document["x-scopes"]) if operation else None
    if authorizer is not None:
        built["requestContext"]["authorizer"] = authorizer
    return {
        **built,
        "body": base64.b64encode(body).decode() if isinstance(body, bytes) else body,
        "isBase64Encoded": isinstance(body, bytes),
        **members,
    }


@functools.cache
def _table() -> list[routes.Resource]:
    return routes.load()


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a handler returned, as a caller of the API reads it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's value."""
        return contract.parse(self.body)


def invoke(function: str, lambda_event: dict[str, Any], context: Any = ...) -> Answer:
    """What a handler returns for an event; it must be what Lambda accepts and what the contract promises."""
    handler = importlib.import_module(f"functions.{function}.handler").handler
    response = handler(lambda_event, Context() if context is ... else context)
    json.dumps(response)
    assert set(response) <= {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}
    assert type(response["statusCode"]) is int
    assert all(type(name) is str and type(value) is str for name, value in response["headers"].items())
    assert type(response["body"]) is str
    assert response.get("isBase64Encoded", False) is False
    body = response["body"].encode()
    contract.check(lambda_event["httpMethod"], lambda_event["path"], response["statusCode"], response["headers"], body)
    return Answer(response["statusCode"], response["headers"], body)


class Invoker:
    """Calls handlers one after another in its own thread, and so on its own connection."""

    def __init__(self, executor: ThreadPoolExecutor):
        self._executor = executor

    def __call__(self, function: str, *request: Any, context: Any = None, **more: Any) -> Answer:
        """`invoker("rank", "GET", "/users/a/rank")`: the function, then what `event` takes."""
        sent = event(*request, **more)
        return self._executor.submit(invoke, function, sent, context or Context()).result()

    def ask(self, example: Example, **more: Any) -> Answer:
        """An operation's answer to its example."""
        return self(example.function, example.method, example.target, json_body=example.body, **more)

    def run(self, work: Callable[[], Any]) -> Any:
        """Does other work that needs that thread."""
        return self._executor.submit(work).result()


@contextlib.contextmanager
def invoker(port: int, **settings: object) -> Iterator[Invoker]:
    """Handlers whose Valkey is at a port of this machine; `settings` are the environment's, in lower case."""
    known = {field.name for field in dataclasses.fields(config.Settings)}
    assert set(settings) <= known, settings
    values = {"valkey_host": "127.0.0.1", "valkey_port": port, **settings}
    assert _environment.acquire(blocking=False), "the environment belongs to the whole process: one thread at a time"
    try:
        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as executor:
            for name, value in values.items():
                patch.setenv(name.upper(), str(value))
            config.settings.cache_clear()
            handlers = Invoker(executor)
            try:
                yield handlers
            finally:
                handlers.run(lambda: store().close())
    finally:
        config.settings.cache_clear()
        _environment.release()


def race(calls: list[Callable[[], Answer]]) -> list[Answer]:
    """What calls return that begin at the same moment, each in its own thread."""
    ready = threading.Barrier(len(calls))

    def start(call: Callable[[], Answer]) -> Answer:
        ready.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(start, calls))
