"""The whole system on an emulated AWS, by `make emulate` itself, once for all tests of this folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import localstack_client.session
import pytest
import valkey

from scripts.dev import bootstrap
from scripts.emulator import emulate, localstack
from scripts.emulator import terraform as emulated_terraform
from tests.conftest import TOLD, Api
from tests.support import processes, terraforms
from tests.support.processes import ROOT
from tests.support.wires import free_port

COPIED = ("functions", "scripts", "shared", "terraform", "locks")
"""What `make emulate` reads. It runs on a copy, one of whose handlers is changed later."""

READY_SECONDS = 900
END_SECONDS = 600
TEST_SECONDS = 1800
"""The first test waits for everything; none is held to a time: a busy machine takes several times as long."""

FOLDER = Path(__file__).resolve().parent.relative_to(ROOT)

took: dict[str, float] = {}
"""Seconds by what was done, for the end of the run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """More time than others have."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Adds up the whole folder."""
    if Path(report.nodeid.partition("::")[0]).parent == FOLDER:
        took["all tests"] = took.get("all tests", 0) + report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hands over what a worker of pytest-xdist has timed."""
    handed_over = getattr(session.config, "workeroutput", None)
    if handed_over is not None and took:
        handed_over.setdefault(TOLD, []).append(summary())


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What took how long."""
    if took:
        terminalreporter.write_line(summary())


def summary() -> str:
    """One line of it."""
    return "Emulated AWS: " + ", ".join(f"{what} {seconds:.0f} s" for what, seconds in took.items())


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Notes how long something takes, all together if it is done more than once."""
    began = time.monotonic()
    try:
        yield
    finally:
        took[what] = took.get(what, 0) + time.monotonic() - began


@pytest.fixture(scope="session")
def python(request: pytest.FixtureRequest) -> Path:
    """The interpreter with LocalStack."""
    terraforms.skip_unless_installed()
    with timed("LocalStack installed"):
        found: Path = request.getfixturevalue("localstack_python")
    return found


@dataclass
class Emulated:
    """A `make emulate` that is ready."""

    folder: Path
    said: str
    facts: emulate.Facts
    localstack: localstack.LocalStack
    terraform: emulated_terraform.Terraform
    outputs: dict[str, Any]
    valkey: valkey.Valkey
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What every resource's name begins with."""
        return "leaderboard-local"

    def aws(self, service: str) -> Any:
        """A client of boto3's, by way of localstack-client."""
        if service not in self._clients:
            session = localstack_client.session.Session(
                region_name=self.facts.region, localstack_host=f"{self.localstack.host}:{self.localstack.port}"
            )
            self._clients[service] = session.client(service)
        return self._clients[service]

    def api(self, *, key: str | None = None) -> Api:
        """The API, with its key or another; an empty one is none."""
        sent = self.facts.api_key if key is None else key
        return Api(self.facts.base_url, {"x-api-key": sent} if sent else None)

    def function(self, key: str) -> str:
        """A function's name."""
        return str(self.outputs["function_names"][key])

    def log(self, key: str) -> list[str]:
        """Every line in a function's log group."""
        pages = (
            self.aws("logs")
            .get_paginator("filter_log_events")
            .paginate(logGroupName=self.outputs["log_group_names"][key])
        )
        return [event["message"].rstrip("\n") for page in pages for event in page["events"]]

    def build(self) -> None:
        """`make build` for this machine."""
        subprocess.run(
            [sys.executable, "-m", "scripts.aws.build", "--arch", "local", "--python", localstack.PYTHON],
            cwd=self.folder,
            check=True,
            capture_output=True,
        )


def wait_until(condition: Callable[[], Any], seconds: float = 300) -> Any:
    """What it returns, once that is true."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, f"not so after {seconds} s"
        time.sleep(0.5)
    return found


@contextlib.contextmanager
def emulating(folder: Path, **more: object) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`make emulate` in a copy, just started, and the file of what it says; gone at the end."""
    output = folder / "output"
    with processes.started(
        "scripts.emulator.emulate", output, folder=folder, end_seconds=END_SECONDS, **more
    ) as process:
        yield process, output


def copied(folder: Path) -> Path:
    """A copy of what it needs, with what is installed in place."""
    left = shutil.ignore_patterns("node_modules", "__pycache__", ".terraform", "*.tfstate*", "backend.hcl")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=left)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for installed in (localstack.VENV, bootstrap.INSTALLER):
        if installed.exists():
            (folder / installed.name).symlink_to(installed)
    return folder


@pytest.fixture(scope="session")
def emulated(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """Applied, on a LocalStack of the tests' own that stays when it is destroyed; KEEP=1 as its user would have it."""
    folder = copied(tmp_path_factory.mktemp("emulated") / "copy")
    with contextlib.ExitStack() as stack:
        with timed("LocalStack started"):
            started = stack.enter_context(localstack.running(python, folder.parent / "localstack", free_port()))
        with timed("applied"):
            process, output = stack.enter_context(
                emulating(folder, KEEP=1, LOCALSTACK_HOST=f"{started.host}:{started.port}")
            )
            found = folder / ".emulated" / emulate.FACTS.name
            wait_until(lambda: found.exists() or process.poll() is not None, READY_SECONDS)
            wait_until(lambda: "Ctrl-C ends it" in output.read_text() or process.poll() is not None)
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


def end(facts: emulate.Facts) -> None:
    """Ends what goes on in the background, if nobody has yet, and waits for it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(facts.process, signal.SIGTERM)
    wait_until(lambda: not is_running(facts.process), END_SECONDS)


def is_running(process: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "Z" not in (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[:1]


@pytest.fixture(scope="session")
def at_api(emulated: Emulated) -> Iterator[Api]:
    """The API with its key."""
    client = emulated.api()
    yield client
    client.close()
