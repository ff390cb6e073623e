"""What the tests share: a Valkey of their own, the gateway on it, and clients that hold every reply to the contract."""

from __future__ import annotations

import base64
import dataclasses
import importlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
import valkey

from scripts.emulator import localstack
from scripts.local import embedded_valkey
from scripts.local import gateway as local_gateway
from scripts.refusal import Refusal
from shared import config
from tests.support import contract, once, terraforms
from tests.terraform import plans

BASE_URL = os.environ.get("BASE_URL", "").rstrip("/")
"""Where the acceptance tests go instead of to a gateway of their own."""

API_KEY = os.environ.get("API_KEY", "")
"""Sent as x-api-key to BASE_URL."""

AT_BASE_URL = "test_acceptance.py"
"""The only tests that may meet a board that is not theirs."""


NEED_TERRAFORM = {
    "test_plans.py",
    "test_plan_mutants.py",
    "test_gateway_templates.py",
    "test_terraform_joins_the_very_strings_that_are_tested_here",
}
"""Files, and one test of another."""


@pytest.hookimpl(tryfirst=True)  # before `-m` looks for them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives each test its tier, and keeps all but the acceptance tests away from somebody's deployment."""
    for item in items:
        if "localstack_python" in getattr(item, "fixturenames", ()) or item.path.parent.name == "emulated":
            item.add_marker("emulated")
        elif item.path.parent.name == "clients":
            item.add_marker("clients")
        elif {item.path.name, item.name} & NEED_TERRAFORM:
            item.add_marker("terraform")
            item.add_marker(pytest.mark.timeout(terraforms.LONGEST_SECONDS))  # the first waits for the plans
    if BASE_URL:
        for item in items:
            if item.path.name != AT_BASE_URL:
                item.add_marker(pytest.mark.skip(reason="BASE_URL is set: the acceptance tests alone go there"))


TOLD = "told"
told: list[str] = []
"""What the workers of pytest-xdist have handed over."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two workers a core: what a test waits for is mostly another process, or a clock."""
    return 2 * (os.cpu_count() or 1)


def pytest_testnodedown(node: Any) -> None:
    """Takes a worker's lines, at its end."""
    told.extend(getattr(node, "workeroutput", {}).get(TOLD, ()))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says the workers' lines."""
    for line in told:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded_valkey.Server]:
    """This run's own Valkey, cluster-enabled, and the environment that leads the handlers to it."""
    with embedded_valkey.running(tmp_path_factory.mktemp("valkey")) as started, pytest.MonkeyPatch.context() as patch:
        for field in dataclasses.fields(config.Settings):
            patch.delenv(field.name.upper(), raising=False)
        patch.setenv("VALKEY_HOST", started.host)
        patch.setenv("VALKEY_PORT", str(started.port))
        config.settings.cache_clear()
        yield started
        config.settings.cache_clear()


@pytest.fixture(scope="session")
def _raw(server: embedded_valkey.Server) -> Iterator[valkey.Valkey]:
    with valkey.Valkey(host=server.host, port=server.port, decode_responses=True) as client:
        yield client


@pytest.fixture
def raw(_raw: valkey.Valkey, empty: None) -> valkey.Valkey:
    """A client of the server itself, for looking and planting."""
    return _raw


@pytest.fixture(autouse=True)
def empty(request: pytest.FixtureRequest) -> None:
    """An empty server before each test that can reach it."""
    if not BASE_URL and {"server", "gateway"} & set(request.fixturenames):
        request.getfixturevalue("_raw").flushall()


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[plans.Tree]:
    """A copy of `terraform/`, and what it takes to plan it without AWS. Skips, by name, where there is no Terraform."""
    terraforms.skip_unless_installed()
    with plans.tree(tmp_path_factory.mktemp("plans")) as ready:
        yield ready


@pytest.fixture(scope="session")
def localstack_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter with LocalStack, which is installed where Terraform is to go with it. Skips, by name."""
    if not localstack.is_installed():
        terraforms.skip_unless_installed()
    try:
        with once.one_at_a_time(tmp_path_factory, "LocalStack's installation"):
            return localstack.install()
    except Refusal as error:
        if os.environ.get("TERRAFORM_REQUIRED"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def gateway(request: pytest.FixtureRequest) -> Iterator[str]:
    """The base URL of the API: a gateway in this process, or BASE_URL."""
    if BASE_URL:
        yield BASE_URL
        return
    started = request.getfixturevalue("server")
    with local_gateway.running({"VALKEY_HOST": started.host, "VALKEY_PORT": str(started.port)}) as base_url:
        yield base_url


class Api:
    """HTTP to one base URL; every reply is checked against the contract before anybody sees it."""

    def __init__(self, base_url: str, headers: Mapping[str, str] | None = None):
        self.base_url = base_url
        self._client = httpx.Client(headers=headers, timeout=10, trust_env=False)

    def request(self, method: str, path: str, *, target: bytes | None = None, **options: Any) -> httpx.Response:
        """Sends a request as httpx does; `target` goes on the wire as it is, in the path's place."""
        if target is not None:
            prefix = httpx.URL(self.base_url).raw_path.rstrip(b"/")
            options["extensions"] = {"target": prefix + target}
            path = target.decode("latin-1")
            response = self._client.request(method, self.base_url + "/", **options)
        else:
            response = self._client.request(method, self.base_url + path, **options)
        contract.check(method, path, response.status_code, response.headers, response.content)
        return response

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """POST."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        """PUT."""
        return self.request("PUT", path, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        """DELETE."""
        return self.request("DELETE", path, **options)

    def create(self, **members: Any) -> dict[str, Any]:
        """A new player with a fresh id, unless the members say otherwise."""
        given = {"userId": fresh_id(), "username": "Ada Lovelace", "email": "ada@example.com", **members}
        response = self.post("/users", json={name: value for name, value in given.items() if value is not None})
        assert response.status_code == 201, response.text
        user: dict[str, Any] = response.json()["user"]
        return user

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()


@pytest.fixture(scope="session")
def _api(gateway: str) -> Iterator[Api]:
    client = Api(gateway, {"x-api-key": API_KEY} if API_KEY else None)
    yield client
    client.close()


@pytest.fixture
def api(_api: Api, empty: None) -> Api:
    """The API over HTTP, with connections that stay open from test to test."""
    return _api


def fresh_id(prefix: str = "test") -> str:
    """An id that no player has."""
    return f"{prefix}-{uuid.uuid4().hex}"


class Context:
    """What Lambda gives a handler beside the event."""

    function_name = "leaderboard-test"
    function_version = "$LATEST"
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:leaderboard-test"
    memory_limit_in_mb = "512"

    def __init__(self, seconds: float = 60):
        self.aws_request_id = str(uuid.uuid4())
        self._ends = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """Until Lambda ends the function."""
        return max(0, round((self._ends - time.monotonic()) * 1000))


def event(
    method: str,
    path: str,
    *,
    json_body: Any = None,
    body: str | bytes | None = None,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> dict[str, Any]:
    """A Lambda proxy event as a REST API (v1) builds it; `members` replace the event's own, None included."""
    raw_path, _, raw_query = path.partition("?")
    operation, parameters = contract.find(method, raw_path)
    sent = {
        "Accept": "*/*",
        "Host": "abc123.execute-api.eu-central-1.amazonaws.com",
        "User-Agent": "test/1.0",
        "X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793",
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
    }
    if json_body is not None:
        body = json.dumps(json_body)
        sent["Content-Type"] = "application/json"
    sent.update(headers or {})
    query: dict[str, list[str]] = {}
    for name, value in parse_qsl(raw_query, keep_blank_values=True):
        query.setdefault(name, []).append(value)
    resource = operation.path if operation else raw_path
    return {
        "resource": resource,
        "path": raw_path,
        "httpMethod": method,
        "headers": sent,
        "multiValueHeaders": {name: [value] for name, value in sent.items()},
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": parameters or None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc123",
            "domainName": "abc123.execute-api.eu-central-1.amazonaws.com",
            "domainPrefix": "abc123",
            "extendedRequestId": "JKJaXmPLvHcESHA=",
            "httpMethod": method,
            "identity": {"apiKeyId": None, "sourceIp": "192.0.2.7", "userAgent": "test/1.0", "user": None},
            "path": f"/test{raw_path}",
            "protocol": "HTTP/1.1",
            "requestId": str(uuid.uuid4()),
            "requestTime": "28/Jan/2026:10:30:00 +0000",
            "requestTimeEpoch": 1769596200000,
            "resourceId": "123456",
            "resourcePath": resource,
            "stage": "test",
        },
        "body": base64.b64encode(body).decode() if isinstance(body, bytes) else body,
        "isBase64Encoded": isinstance(body, bytes),
        **members,
    }


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a handler returned, as the caller of the API reads it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's value."""
        return contract.parse(self.body)


@pytest.fixture
def invoke(server: embedded_valkey.Server, empty: None) -> Callable[..., Answer]:
    """`invoke("rank", event(…))`: calls a handler as Lambda does and checks what it returns."""
    return _invoke


def _invoke(function: str, given: dict[str, Any], context: Any = ...) -> Answer:
    handler = importlib.import_module(f"functions.{function}.handler").handler
    response = handler(given, Context() if context is ... else context)
    json.dumps(response)
    assert set(response) <= {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}
    assert type(response["statusCode"]) is int
    assert all(type(name) is str and type(value) is str for name, value in response["headers"].items())
    assert type(response["body"]) is str
    assert response.get("isBase64Encoded", False) is False
    body = response["body"].encode()
    contract.check(given["httpMethod"], given["path"], response["statusCode"], response["headers"], body)
    return Answer(response["statusCode"], response["headers"], body)
