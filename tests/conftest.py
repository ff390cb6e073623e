"""Hooks, and the fixtures that tests in several folders use: a Valkey of their own, the gateway on it, and clients."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import valkey

from scripts.emulator import localstack
from scripts.local import embedded_valkey
from scripts.local import gateway as local_gateway
from scripts.refusal import Refusal
from shared import config
from tests.support import invoking, lines, once, telling, terraforms
from tests.support.api import Api
from tests.support.invoking import Answer

if TYPE_CHECKING:
    from tests.support.guarded import Guarded

BASE_URL = os.environ.get("BASE_URL", "").rstrip("/")
"""Where the acceptance tests go instead of to their own gateway."""

API_KEY = os.environ.get("API_KEY", "")
"""Sent as x-api-key to BASE_URL."""

TOKEN = os.environ.get("TOKEN", "")
"""Sent to BASE_URL as well, where access is protected: a server's, which `make token` makes."""

AT_BASE_URL = "test_acceptance.py"
"""The only tests that may meet a board that is not theirs."""

TIERS = {"aws": "terraform", "clients": "clients", "emulated": "emulated", "terraform": "terraform"}
"""The tier of a room; tests in all other rooms need a Valkey alone."""


@pytest.hookimpl(tryfirst=True)  # before `-m` looks for them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives each test its tier, and keeps all tests but the acceptance tests away from a deployment."""
    for item in items:
        needs_localstack = "localstack_python" in getattr(item, "fixturenames", ())
        tier = "emulated" if needs_localstack else TIERS.get(item.path.parent.name)
        if tier:
            item.add_marker(tier)
        if tier == "terraform":
            item.add_marker(pytest.mark.timeout(terraforms.LONGEST_SECONDS))  # the first waits for the plans
    if BASE_URL:
        for item in items:
            if item.path.name != AT_BASE_URL:
                item.add_marker(pytest.mark.skip(reason="BASE_URL is set: only the acceptance tests go there"))


lines_of_workers: list[str] = []
"""What the workers of pytest-xdist have handed over for the report."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two workers per core: what a test waits for is mostly another process, or a clock."""
    return 2 * (os.cpu_count() or 1)


def pytest_testnodedown(node: Any) -> None:
    lines_of_workers.extend(telling.handed_over(node))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in lines_of_workers:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def _lines() -> Iterator[lines.Lines]:
    with lines.watched() as all_of_them:
        yield all_of_them


@pytest.fixture(autouse=True)
def logged(_lines: lines.Lines) -> Iterator[lines.Lines]:
    """What is logged while a test runs; the test fails if there is anything in it that may not be logged."""
    yield _lines
    fault, _lines.fault, _lines.kept = _lines.fault, "", None
    assert not fault, fault


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


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded_valkey.Server]:
    """A Valkey for one module alone, which may be stopped, filled and reconfigured."""
    with embedded_valkey.running(tmp_path_factory.mktemp("valkey")) as started:
        yield started


@pytest.fixture(scope="session")
def _raw(server: embedded_valkey.Server) -> Iterator[valkey.Valkey]:
    with valkey.Valkey(host=server.host, port=server.port, decode_responses=True) as client:
        yield client


@pytest.fixture
def raw(_raw: valkey.Valkey, empty: None) -> valkey.Valkey:
    """A client of the server itself, to look at data and to plant it."""
    return _raw


@pytest.fixture(autouse=True)
def empty(request: pytest.FixtureRequest) -> None:
    """Empties the server before each test that can reach it."""
    if not BASE_URL and {"server", "gateway"} & set(request.fixturenames):
        request.getfixturevalue("_raw").flushall()


@pytest.fixture(scope="session")
def localstack_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter that has LocalStack, which is installed if Terraform is there too. Skips, by name, otherwise."""
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


@pytest.fixture(scope="session")
def _api(gateway: str) -> Iterator[Api]:
    headers = {"x-api-key": API_KEY} if API_KEY else {}
    client = Api(gateway, {**headers, **({"Authorization": f"Bearer {TOKEN}"} if TOKEN else {})})
    yield client
    client.close()


@pytest.fixture
def api(_api: Api, empty: None) -> Api:
    """The API over HTTP, with connections that stay open between tests."""
    return _api


@pytest.fixture(scope="session")
def _key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("key")


@pytest.fixture(scope="session")
def token_key(_key_folder: Path) -> Mapping[str, str]:
    """The settings of functions that issue tokens, in lower case, for `invoker`."""
    keys = importlib.import_module("scripts.local.keys")  # not every worker needs to know cryptography
    return {name.lower(): value for name, value in keys.settings(_key_folder).items()}


@pytest.fixture(scope="session")
def _guarded(server: embedded_valkey.Server, _key_folder: Path) -> Iterator[Guarded]:
    guarded = importlib.import_module("tests.support.guarded")
    with guarded.serving(_key_folder) as gateway:
        yield gateway


@pytest.fixture
def guarded(_guarded: Guarded, empty: None) -> Iterator[Guarded]:
    """A gateway in this process that asks for tokens, and handlers whose access is protected."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCESS", "protected")
        config.settings.cache_clear()
        yield _guarded
    config.settings.cache_clear()


@pytest.fixture
def invoke(server: embedded_valkey.Server, empty: None) -> Callable[..., Answer]:
    """`invoke("rank", event(…))`: calls a handler as Lambda does and checks what it returns."""
    return invoking.invoke
