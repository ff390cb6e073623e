"""The process behind tests/support/aws_api: reads a request, records it, and hands it to us or to moto."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any

from moto.core.model import OperationModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request as RawRequest
from moto.core.request import determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple
from werkzeug.wrappers import Response

from tests.support.aws_api import (
    ACCOUNT,
    apigateway,
    awslambda,
    cloudwatch,
    codedeploy,
    elasticache,
    kms,
    others,
    shapes,
)
from tests.support.aws_api.operations import LOCK, OPERATIONS, AccountState, Answer, Refused, Request

CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]*)/([^/]+)/aws4_request")

SIGNED_AS = {"monitoring": "cloudwatch", "tagging": "resourcegroupstaggingapi"}
"""Services that sign under a name other than botocore's."""

MODULES = (apigateway, awslambda, cloudwatch, codedeploy, elasticache, kms, others)
"""Importing these registers their operations."""


class Handler(MotoRequestHandler):  # type: ignore[misc]
    """Keeps connections open; werkzeug's own handler closes them after each request."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet per reply
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        """Answers one request."""
        environ = self.make_environ()
        length = environ.get("CONTENT_LENGTH")
        body = environ["wsgi.input"].read(*([] if environ.get("wsgi.input_terminated") else [int(length or 0)]))
        response = self.server.app.answer(environ, body)
        reply = response.get_data()
        self.send_response(response.status_code)
        for name, value in response.headers:
            if name.lower() not in ("connection", "content-length", "date", "server"):
                self.send_header(name, value)
        empty = environ["REQUEST_METHOD"] == "HEAD" or response.status_code in (204, 304)
        self.send_header("Content-Length", response.headers.get("Content-Length", "0") if empty else str(len(reply)))
        self.end_headers()
        if not empty:
            self.wfile.write(reply)
        self.wfile.flush()

    def log_request(self, *_: Any) -> None:
        """Logs nothing: one line per request would be too much."""


class Api:
    """All accounts."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        # moto lists its own folders for each request, which takes a quarter of its time.
        self._moto.get_backend_for_host = functools.cache(self._moto.get_backend_for_host)
        self._answered: dict[str, Response] = {}
        """Replies by the SDK's invocation id. If one comes again, the first reply was lost, as happens under load."""
        self._accounts: dict[str, AccountState] = {}
        self._calls: dict[str, list[dict[str, Any]]] = {}

    def answer(self, environ: dict[str, Any], body: bytes) -> Response:
        """The reply to a request, whole."""
        environ["wsgi.input"] = io.BytesIO(body)
        signed = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        if environ["PATH_INFO"].startswith("/emulated/"):
            return self._control(environ, body)
        if signed is None:
            return Response.from_app(self._moto, environ, buffered=True)
        invocation = environ.get("HTTP_AMZ_SDK_INVOCATION_ID", "")
        if (lost := self._answered.get(invocation)) is not None:
            return lost
        response = self._answer(environ, body, *signed.groups())
        if invocation and response.status_code < 300:
            self._answered[invocation] = response
        return response

    def _answer(self, environ: dict[str, Any], body: bytes, key: str, region: str, signed_as: str) -> Response:
        id = key[-12:] if key[-12:].isdigit() else ACCOUNT
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = id
        with LOCK:
            account = self._accounts.setdefault(id, AccountState(id))
            calls = self._calls.setdefault(id, [])

        def ask_moto() -> Response:
            return Response.from_app(self._moto, {**environ, "wsgi.input": io.BytesIO(body)}, buffered=True)

        service = SIGNED_AS.get(signed_as, signed_as)
        raw = RawRequest({**environ, "wsgi.input": io.BytesIO(body)})
        try:
            model, protocol, parameters = _read(service, raw)
        except Exception:
            print(service, raw.method, raw.full_path, traceback.format_exc(), flush=True)
            return Response(f"botocore knows no such request: {service} {raw.method} {raw.full_path}", 400)
        call: dict[str, Any] = {
            "service": service,
            "operation": model.name,
            "parameters": _shown(parameters, "body" if service == "apigateway" else ""),
            "error": None,
        }
        calls.append(call)
        try:
            found = list(shapes.faults(model.input_shape, parameters)) if model.input_shape else []
            if found:
                raise Refused("ValidationException", "; ".join(found))
            ours = OPERATIONS.get((service, model.name))
            with LOCK:
                answer: Answer = ours(Request(account, region, parameters, ask_moto)) if ours else ask_moto()
        except Refused as refusal:
            call["error"] = refusal.code
            print(service, model.name, refusal.code, refusal, flush=True)
            return _serialized(model, protocol, refusal)
        except Exception:
            # The SDK would retry a 500 for minutes.
            call["error"] = "NotImplemented"
            print(service, model.name, traceback.format_exc(), flush=True)
            problem = f"neither moto nor tests/support/aws_api answers {service}'s {model.name}"
            return _serialized(model, protocol, Refused("NotImplemented", problem))
        if not isinstance(answer, Response):
            return _serialized(model, protocol, answer)
        if answer.status_code >= 400:
            call["error"] = str(answer.status_code)
        return answer

    def _control(self, environ: dict[str, Any], body: bytes) -> Response:
        _, _, id, what = environ["PATH_INFO"].split("/")
        with LOCK:
            account = self._accounts.setdefault(id, AccountState(id))
            result: Any = None
            match environ["REQUEST_METHOD"], what:
                case "GET", "calls":
                    result = self._calls.get(id, [])
                case "DELETE", "calls":
                    self._calls[id] = []
                case "PUT", "switches":
                    account.switches = dataclasses.replace(account.switches, **json.loads(body))
                case "POST", "settle":
                    apigateway.settle(account)
        return Response(json.dumps(result, default=str), mimetype="application/json")


def _read(service: str, raw: RawRequest) -> tuple[OperationModel, str, dict[str, Any]]:
    """The operation, the protocol and the parameters of a request, as botocore names them."""
    model = get_service_model(service)
    protocol = determine_request_protocol(model, raw.content_type)
    in_path: dict[str, Any] = {}
    if name := raw.values.get("Action") or (raw.headers.get("X-Amz-Target") or "").rpartition(".")[2]:
        operation = model.operation_model(name)
    else:
        operation, in_path = get_service_router(service).match(raw)
    parser: Callable[..., Any] = PROTOCOL_PARSERS[protocol]
    parameters = parser(operation).parse(
        {
            "method": raw.method,
            "values": raw.values,
            "headers": raw.headers,
            "body": raw.data,
            "url_path": raw.path,
            "url_params": in_path,
        }
    )
    return operation, protocol, parameters


def _serialized(model: OperationModel, protocol: str, result: Any) -> Response:
    serializer = get_serializer_class(model.service_model.service_name, protocol)(operation_model=model)
    made = serializer.serialize(result)
    return Response(made["body"], made["status_code"], made["headers"])


def _shown(value: Any, document: str) -> Any:
    """Parameters in a form that JSON can express."""
    if isinstance(value, dict):
        return {
            key: item.decode() if key == document and isinstance(item, bytes) else _shown(item, document)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_shown(item, document) for item in value]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return value


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), Api(), threaded=True, request_handler=Handler)
