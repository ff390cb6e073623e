"""From a REST proxy event to a validated call and back: the only place that turns an exception into a reply."""

from __future__ import annotations

import base64
import functools
import json
import math
import re
import uuid
from collections.abc import Callable, Container, Mapping
from typing import Any, NoReturn
from urllib.parse import unquote

import orjson
from marshmallow.exceptions import ValidationError

from shared import access, deadline, idempotency, logs, problems, security, telemetry, tracing
from shared.config import MisconfiguredError, settings
from shared.fields import Arguments

Event = Mapping[str, Any]
"""An API Gateway REST (v1) Lambda proxy event."""

Response = dict[str, Any]
"""A Lambda proxy response: statusCode, headers, body."""

Reply = tuple[int, object] | tuple[int, object, dict[str, str]]
"""What a function under `endpoint` returns: status, body (None for none) and perhaps headers."""

Handler = Callable[[Event, Any], Response]

LARGEST_BODY_BYTES = 64 * 1024
MOST_ERRORS = 100
BODIES = frozenset({"POST", "PUT", "PATCH"})
"""Methods whose arguments are in a body; those of the others are in the query."""
RESERVE_SECONDS = 0.25
"""What a reply needs after the work has stopped, before Lambda ends the function."""

COMMON_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "X-Request-Id, Retry-After, Idempotency-Replayed",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
"""Sent with every reply, errors included."""

_KEY = re.compile(r"[!-~]{1,255}\Z").match
_SHOWABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z").match


def endpoint(
    arguments: type[Arguments],
    *,
    keyed: str | None = None,
    kind: telemetry.Kind | None = None,
    caller: bool = False,
) -> Callable[[Callable[..., Reply]], Handler]:
    """Makes a function of keyword arguments the handler of an operation.

    The arguments come from the path, and from the JSON body for POST, PUT and PATCH, otherwise from the query. `keyed`
    is the operationId of an operation that takes an idempotency key: the function gets the key, or None, as `key`.
    `kind` is what its requests are counted as. With `caller` the function gets who asks, as `caller`: it has to look
    whose things they are if a player may ask and no `user_id` says so. The docstring of the function's module names its
    operations.
    """
    schema = arguments()

    def decorate(function: Callable[..., Reply]) -> Handler:
        operations = operations_in(function.__globals__.get("__doc__") or "")
        is_for_anybody = bool(operations) and all(map(access.is_for_anybody, operations))
        names_a_player = "user_id" in schema.fields and schema.fields["user_id"].required

        @functools.wraps(function)
        def answer(event: Event, request_id: str) -> Response:
            given, loaded = _arguments(schema, event)
            asking = access.ANYBODY if is_for_anybody else _asking(event, operations, loaded)
            if asking.scope == "player" and not (names_a_player or caller):
                raise problems.NotAllowed
            if keyed:
                loaded["key"] = _key(event, keyed, _sent(schema, given, loaded), asking)
            if caller:
                loaded["caller"] = asking
            return _response(request_id, *function(**loaded))

        return _answering(answer, operations, kind)

    return decorate


def by_method(**handlers: Handler) -> Handler:
    """One handler for all operations of a function, chosen by the HTTP method."""

    def refuse(_event: Event, _request_id: str) -> Response:
        raise problems.EndpointNotFound

    unknown = _answering(refuse)

    def handler(event: Event, context: Any) -> Response:
        return handlers.get(event.get("httpMethod") or "", unknown)(event, context)

    return handler


def _answering(
    answer: Callable[[Event, str], Response], operations: Container[str] = (), kind: telemetry.Kind | None = None
) -> Handler:
    """A handler that returns a reply whatever happens, and writes the request's line."""
    telemetry.ready()

    @functools.wraps(answer)
    def handler(event: Event, context: Any) -> Response:
        request_id, code = _request_id(event, context), None
        telemetry.start(request_id, event, operations)
        tracing.start()
        try:
            deadline.start(_seconds(context))
            response = answer(event, request_id)
        except Exception as error:
            problem = error if isinstance(error, problems.Problem) else _bug(error)
            response, code = reply_to_problem(problem, request_id), problem.code
            security.refused(problem.code)
        if event.get("httpMethod") == "HEAD":
            response["body"] = ""
        status, outcome = response["statusCode"], _outcome(response, code)
        tracing.send(handler, event, status, outcome, cold=telemetry.is_first())
        telemetry.answered(status, code, outcome, kind)
        return response

    return handler


def operations_in(docstring: str) -> frozenset[str]:
    """The operations that a docstring begins with: `GET /a` and `HEAD /a` of 'GET and HEAD /a - …'."""
    named = re.findall(r"((?:[A-Z]+(?: and )?)+) (/[^\s,]*)", docstring.partition(" - ")[0])
    return frozenset(f"{method} {path}" for methods, path in named for method in methods.split(" and "))


def _outcome(response: Response, code: str | None) -> str:
    """What has become of a request, in a word."""
    if response["statusCode"] < 400:
        return "replayed" if "Idempotency-Replayed" in response["headers"] else "ok"
    return problems.outcome(response["statusCode"], code)


def _bug(error: Exception) -> problems.Problem:
    """What the client is told of a fault of ours; the log is told where it happened."""
    logs.write(
        "ERROR", "request failed", cause=str(error) if isinstance(error, MisconfiguredError) else logs.where(error)
    )
    return problems.InternalError()


def reply_to_problem(problem: problems.Problem, request_id: str) -> Response:
    """A problem as application/problem+json."""
    body = {
        "type": f"urn:valkey-leaderboard:problem:{problem.code.replace('_', '-')}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": f"urn:uuid:{request_id}",
        "requestId": request_id,
        "code": problem.code,
        "error": problem.error,
    }
    if problem.errors is not None:
        body["errors"] = problem.errors
    headers = {"Content-Type": "application/problem+json"}
    if problem.retry_after_seconds is not None:
        headers["Retry-After"] = str(problem.retry_after_seconds)
    return _response(request_id, problem.status, body, headers)


def _response(request_id: str, status: int, body: object, headers: Mapping[str, str] | None = None) -> Response:
    sent = {"Content-Type": "application/json"} if body is not None else {}
    return {
        "statusCode": status,
        "headers": {**COMMON_HEADERS, "X-Request-Id": request_id, **sent, **(headers or {})},
        "body": "" if body is None else _written(body),
        "isBase64Encoded": False,
    }


def _written(body: object) -> str:
    try:
        return orjson.dumps(body).decode()
    except orjson.JSONEncodeError:  # an integer beyond 64 bits, as a total may be
        return json.dumps(body, separators=(",", ":"))


def _request_id(event: Event, context: Any) -> str:
    known = (event.get("requestContext") or {}).get("requestId") or getattr(context, "aws_request_id", None)
    return str(known or uuid.uuid4())


def _seconds(context: Any) -> float:
    """How long the work may take: our limit deadline, or what Lambda leaves if that is less."""
    left = getattr(context, "get_remaining_time_in_millis", None)
    limit = settings().deadline_seconds
    return limit if left is None else min(limit, left() / 1000 - RESERVE_SECONDS)


def _arguments(schema: Arguments, event: Event) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the client sent, by the contract's names, and what the function gets, by its own names and with defaults."""
    given: dict[str, Any] = {}
    origins: dict[str, problems.Location] = {}
    errors: list[problems.FieldError] = []

    def give(name: str, value: Any, origin: problems.Location) -> None:
        if name in given:
            errors.append({"name": _showable(name), "in": origin, "detail": "is given twice"})
        given[name], origins[name] = value, origin

    for name, value in (event.get("pathParameters") or {}).items():
        give(name, unquote(value or ""), "path")
    has_body = event.get("httpMethod") in BODIES
    for name, value in _query(event):
        if has_body:
            errors.append({"name": _showable(name), "in": "query", "detail": "is not a known name"})
        else:
            give(name, value, "query")
    if has_body:
        for name, value in _body(event).items():
            give(name, value, "body")
    loaded: dict[str, Any] = {}
    found: dict[str, Any] = {}
    try:
        loaded = schema.load(given)
    except ValidationError as error:
        found = error.messages_dict
    if errors or found:
        found = schema.disallowed(given) | found
        default: problems.Location = "body" if has_body else "query"
        order = {name: position for position, name in enumerate(given)}
        for name, details in sorted(found.items(), key=lambda item: order.get(item[0], len(order))):
            errors.append({"name": _showable(name), "in": origins.get(name, default), "detail": details[0]})
        raise problems.InvalidArguments(errors[:MOST_ERRORS])
    return given, loaded


def _sent(schema: Arguments, given: Mapping[str, Any], loaded: Mapping[str, Any]) -> dict[str, Any]:
    """What the client sent, as it was understood, by the contract's names: no defaults, nothing that is ignored."""
    outer = {name: str(field.data_key) for name, field in schema.fields.items()}
    return {outer[name]: value for name, value in loaded.items() if outer[name] in given}


def _asking(event: Event, operations: Container[str], loaded: Mapping[str, Any]) -> access.Caller:
    """Who asks for what not everybody may have, one of these operations if there are any. Raises NotAllowed."""
    operation = f"{event.get('httpMethod')} {event.get('resource')}"
    if operations and operation not in operations:
        raise problems.NotAllowed
    asking = access.judge(event, operation, loaded.get("user_id"))
    if asking.scope:
        telemetry.note(scope=asking.scope)
        if len(_headers(event, "authorization")) > 1:  # which of them the gateway has looked at is documented nowhere
            raise problems.NotAllowed("Several tokens came with this request: send one.")
    return asking


def _key(event: Event, operation: str, arguments: Mapping[str, Any], asking: access.Caller) -> idempotency.Key | None:
    texts = _headers(event, "idempotency-key")
    if not texts:
        return None
    if len(texts) > 1 or not _KEY(texts[0]):
        detail = "is given twice" if len(texts) > 1 else "must be 1 to 255 visible ASCII characters"
        raise problems.InvalidArguments([{"name": "Idempotency-Key", "in": "header", "detail": detail}])
    api_key = ((event.get("requestContext") or {}).get("identity") or {}).get("apiKeyId") or ""
    return idempotency.key(asking.name or api_key, texts[0], operation, arguments)


def _query(event: Event) -> list[tuple[str, str]]:
    several = event.get("multiValueQueryStringParameters")
    if several:
        return [(name, value or "") for name, values in several.items() for value in values or [""]]
    return [(name, value or "") for name, value in (event.get("queryStringParameters") or {}).items()]


def _showable(name: str) -> str:
    """A name that the client made up may be anything, even an e-mail address."""
    return name if _SHOWABLE_NAME(name) else "(unprintable)"


def _body(event: Event) -> dict[str, Any]:
    if not all(map(_is_json, _headers(event, "content-type"))):
        raise problems.UnsupportedMediaType
    text = event.get("body")
    if not text:
        return {}
    try:
        data = base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
        if len(data) > LARGEST_BODY_BYTES:
            raise problems.BodyTooLarge(LARGEST_BODY_BYTES)
        text = data.decode()
    except UnicodeError:
        raise problems.MalformedBody("The body is not UTF-8 text.") from None
    except ValueError:
        raise problems.MalformedBody("The body is marked as base64 but is not.") from None
    value = _json(text)
    if not isinstance(value, dict):
        raise problems.MalformedBody("The body must be a JSON object.")
    return value


def _json(text: str) -> Any:
    """JSON as RFC 8259 means it: no name twice in an object, no NaN, no lone surrogate."""
    try:
        value = _DECODER.decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError:
        raise problems.MalformedBody("The body holds half of a surrogate pair, which is no character.") from None
    except RecursionError:
        raise problems.MalformedBody("The body is nested too deeply.") from None
    except json.JSONDecodeError:
        raise problems.MalformedBody("The body is not valid JSON.") from None
    except ValueError:  # an integer with more digits than Python reads
        raise problems.MalformedBody("A number in the body is too large.") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise problems.MalformedBody("An object in the body has the same name twice.")
    return value


def _not_a_number(_: str) -> NoReturn:
    raise problems.MalformedBody("NaN and Infinity are not JSON.")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise problems.MalformedBody("A number in the body is too large.")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_not_a_number, parse_float=_finite)


@functools.lru_cache(maxsize=64)
def _is_json(content_type: str) -> bool:
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [value.strip('"') for name, _, value in (p.partition("=") for p in parameters) if name == "charset"]
    return kind == "application/json" and all(charset in ("utf-8", "utf8") for charset in charsets)


def _headers(event: Event, name: str) -> list[str]:
    """All values of a header, whose name may be in upper or lower case."""
    several = event.get("multiValueHeaders")
    if several:
        return [value for key, values in several.items() if key.lower() == name for value in values or ()]
    return [value for key, value in (event.get("headers") or {}).items() if key.lower() == name and value is not None]
