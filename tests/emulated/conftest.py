"""The whole system on an emulated AWS, made by `make emulate` itself, once for all tests in this folder."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import valkey

from scripts.emulator import emulate, localstack
from scripts.emulator import terraform as emulated_terraform
from scripts.places import ROOT
from tests.emulated.emulation import END_SECONDS, WAIT_SECONDS, Emulated, copied, emulating, end, summary, timed, took
from tests.support import telling, terraforms
from tests.support.api import Api
from tests.support.patience import wait_until
from tests.support.wires import free_port

READY_SECONDS = 900
TEST_SECONDS = 1800
"""The first test waits for everything. None is held to a time: a busy machine takes several times as long."""

FOLDER = Path(__file__).resolve().parent.relative_to(ROOT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives these tests more time than others."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Adds up the time of the whole folder."""
    if Path(report.nodeid.partition("::")[0]).parent == FOLDER:
        took["all tests"] = took.get("all tests", 0) + report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hands over what a worker of pytest-xdist has timed."""
    if took:
        telling.hand_over(session.config, summary())


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tells what took how long."""
    if took:
        terminalreporter.write_line(summary())


@pytest.fixture(scope="session")
def python(request: pytest.FixtureRequest) -> Path:
    """The interpreter that has LocalStack."""
    terraforms.skip_unless_installed()
    with timed("LocalStack installed"):
        found: Path = request.getfixturevalue("localstack_python")
    return found


@pytest.fixture(scope="session")
def emulated(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """A `make emulate` that has applied, with KEEP=1, on the tests' own LocalStack, which outlives it."""
    folder = copied(tmp_path_factory.mktemp("emulated") / "copy")
    with contextlib.ExitStack() as stack:
        with timed("LocalStack started"):
            started = stack.enter_context(localstack.running(python, folder.parent / "localstack", free_port()))
        with timed("applied"):
            process, output = stack.enter_context(
                emulating(folder, KEEP=1, ACCESS="protected", LOCALSTACK_HOST=f"{started.host}:{started.port}")
            )
            found = folder / ".emulated" / emulate.FACTS.name
            wait_until(lambda: found.exists() or process.poll() is not None, READY_SECONDS)
            wait_until(lambda: "Ctrl-C ends it" in output.read_text() or process.poll() is not None, WAIT_SECONDS)
        assert process.poll() is None, output.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(END_SECONDS) == 0
        facts = emulate.Facts(**json.loads(found.read_text()))
        stack.callback(end, facts)
        terraform = emulated_terraform.Terraform(
            started,
            facts.region,
            folder / ".emulated",
            json.loads((folder / ".emulated" / "given.tfvars.json").read_text()),
            folder / "terraform",
        )
        client = stack.enter_context(
            valkey.Valkey(host=facts.valkey_host, port=facts.valkey_port, decode_responses=True)
        )
        yield Emulated(folder, output.read_text(), facts, started, terraform, terraform.outputs(), client)


@pytest.fixture(scope="session")
def at_api(emulated: Emulated) -> Iterator[Api]:
    """The API, with its key."""
    client = emulated.api()
    yield client
    client.close()
