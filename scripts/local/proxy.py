"""What passes between API Gateway's REST API (v1) and a Lambda function: event and context in, the reply out."""

import base64
import datetime
import hashlib
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from scripts.local.routes import Route
from shared.endpoint import Event

ACCOUNT_ID = "123456789012"
API_ID = "local"
REGION = "eu-central-1"
STAGE = "local"
FUNCTION_SECONDS = 60
"""How long a function may run, as on AWS."""


@dataclass(frozen=True)
class Request:
    """An HTTP request with its body. `path` and `query` are as sent, percent-encoded, and so are the headers."""

    request_id: str
    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    client: str
    authorizer: Mapping[str, str] | None = None
    """What an authorizer said of the caller; None where none was asked."""

    def header(self, name: str) -> str | None:
        """The last value of a header, whose name is given in lower case."""
        return next((value for key, value in reversed(self.headers) if key.lower() == name), None)

    @property
    def arn(self) -> str:
        """What is asked for, as policies name it."""
        return f"arn:aws:execute-api:{REGION}:{ACCOUNT_ID}:{API_ID}/{STAGE}/{self.method}{self.path}"


class Context:
    """What Lambda gives a function beside the event. It is made when the invocation begins, which may take so long."""

    function_version = "$LATEST"
    memory_limit_in_mb = "512"
    log_stream_name = "local"

    def __init__(self, seconds: float = FUNCTION_SECONDS, function: str = "function", request_id: str | None = None):
        self.aws_request_id = request_id or str(uuid.uuid4())
        self.function_name = f"leaderboard-{STAGE}-{function.replace('_', '-')}"
        self._ends = time.monotonic() + seconds

    @property
    def invoked_function_arn(self) -> str:
        """As on AWS, of an account that does not exist."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{self.function_name}"

    @property
    def log_group_name(self) -> str:
        """Where Lambda would log."""
        return f"/aws/lambda/{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda would stop the function, never negative."""
        return max(0, int((self._ends - time.monotonic()) * 1000))


def event(request: Request, route: Route, parameters: Mapping[str, str]) -> Event:
    """The Lambda proxy event of a request."""
    headers = _several(request.headers)
    query = _several(parse_qsl(request.query, keep_blank_values=True))
    body, is_base64 = _text(request.body)
    return {
        "resource": route.path,
        "path": request.path,
        "httpMethod": request.method,
        "headers": _last(headers),
        "multiValueHeaders": headers or None,
        "queryStringParameters": _last(query),
        "multiValueQueryStringParameters": query or None,
        "pathParameters": dict(parameters) or None,
        "stageVariables": None,
        "requestContext": _request_context(request, route),
        "body": body,
        "isBase64Encoded": is_base64,
    }


def http_reply(response: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    """A proxy response as status, headers and body. Raises ValueError for what API Gateway would not take."""
    if not isinstance(response, dict):
        raise ValueError(f"a handler returned {type(response).__name__} instead of a proxy response")
    body = response.get("body")
    if not isinstance(response.get("statusCode"), int) or not isinstance(body, str | None):
        raise ValueError("a handler returned a proxy response without a statusCode, or with a body that is not text")
    headers: dict[str, list[str]] = {}
    for name, value in (response.get("headers") or {}).items():
        headers[name.lower()] = [str(value)]
    for name, values in (response.get("multiValueHeaders") or {}).items():
        headers[name.lower()] = [str(value) for value in values]
    content = base64.b64decode(body or "") if response.get("isBase64Encoded") else (body or "").encode()
    return response["statusCode"], [(name, value) for name, values in headers.items() for value in values], content


def _request_context(request: Request, route: Route) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC)
    host = (request.header("host") or "").partition(":")[0]
    return {
        **({} if request.authorizer is None else {"authorizer": {**request.authorizer}}),
        "accountId": ACCOUNT_ID,
        "apiId": API_ID,
        "domainName": host,
        "domainPrefix": host.partition(".")[0],
        "extendedRequestId": base64.b64encode(request.request_id.encode()[:11]).decode(),
        "httpMethod": request.method,
        "identity": _identity(request, route),
        "operationName": route.operation_id,
        "path": f"/{STAGE}{request.path}",
        "protocol": "HTTP/1.1",
        "requestId": request.request_id,
        "requestTime": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "requestTimeEpoch": int(now.timestamp() * 1000),
        "resourceId": hashlib.sha256(route.path.encode()).hexdigest()[:6],
        "resourcePath": route.path,
        "stage": STAGE,
    }


def _identity(request: Request, route: Route) -> dict[str, str | None]:
    key = request.header("x-api-key") if route.needs_api_key else None
    return {
        "accessKey": None,
        "accountId": None,
        "apiKey": key,
        "apiKeyId": hashlib.sha256(key.encode()).hexdigest()[:10] if key else None,
        "caller": None,
        "cognitoAuthenticationProvider": None,
        "cognitoAuthenticationType": None,
        "cognitoIdentityId": None,
        "cognitoIdentityPoolId": None,
        "principalOrgId": None,
        "sourceIp": request.client,
        "user": None,
        "userAgent": request.header("user-agent"),
        "userArn": None,
    }


def _several(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    several: dict[str, list[str]] = {}
    for name, value in pairs:
        several.setdefault(name, []).append(value)
    return several


def _last(several: Mapping[str, list[str]]) -> dict[str, str] | None:
    return {name: values[-1] for name, values in several.items()} or None


def _text(body: bytes) -> tuple[str | None, bool]:
    if not body:
        return None, False
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True
