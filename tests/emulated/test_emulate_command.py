"""`make emulate` with something in its way: one sentence says what to do, nothing is left, and the next run works."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import localstack_client.session
import pytest

from scripts.aws import terraform_mirror
from scripts.emulator import emulate, localstack
from scripts.refusal import Refusal
from tests.emulated.emulation import END_SECONDS, copied, emulating
from tests.support import processes
from tests.support.patience import wait_until
from tests.support.wires import free_port

APPLYING_SECONDS = 900


@pytest.fixture(scope="module")
def copy(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, in which each test finds what the one before has left."""
    return copied(tmp_path_factory.mktemp("command") / "copy")


def refused(copy: Path, **more: object) -> str:
    """The one line that it prints instead of running."""
    done = processes.finished("scripts.emulator.emulate", folder=copy, seconds=END_SECONDS, **more)
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = (done.stdout + done.stderr).splitlines()
    assert_nothing_is_left(copy)
    return line


def left(copy: Path) -> list[str]:
    """The command lines of processes that work in the copy, or name it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if line and (str(copy) in line or str(copy) in os.readlink(process / "cwd")):
                found.append(line)
    return found


def assert_nothing_is_left(copy: Path) -> None:
    """Asserts that neither processes nor folders of functions are left."""
    wait_until(lambda: not left(copy), END_SECONDS)
    assert list((copy / ".emulated").glob("localstack/tmp/lambda-executor-*")) == []


@contextlib.contextmanager
def applying(copy: Path, **more: object) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The command once Terraform has begun to make functions, and its output."""
    log = copy / ".emulated" / "terraform.log"
    log.unlink(missing_ok=True)
    with emulating(copy, **more) as (process, output):
        wait_until(
            lambda: process.poll() is not None or (log.exists() and "aws_lambda_function" in log.read_text()),
            APPLYING_SECONDS,
        )
        assert process.poll() is None, output.read_text()
        yield process, output


class TestWhatIsMissing:
    def test_terraform(self, copy: Path) -> None:
        printed = refused(copy, PATH="/nowhere")
        assert printed == "terraform is not on PATH: install Terraform 1.11 or newer."

    def test_a_provider_where_it_is_said_to_be(self, copy: Path, tmp_path: Path) -> None:
        printed = refused(copy, TF_PLUGIN_DIR=tmp_path)
        assert printed.startswith(f"TF_PLUGIN_DIR={tmp_path} has no registry.terraform.io/hashicorp/aws: ")

    def test_a_python_that_localstack_runs_on(self, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        printed = refused(copy, LOCALSTACK_PYTHON="/bin/sh", PORT=free_port())
        assert printed.startswith("LOCALSTACK_PYTHON=/bin/sh is not a Python, and LocalStack runs on 3.11: ")
        assert printed.endswith("Nothing was installed.")
        monkeypatch.setattr(localstack, "PYTHON", "3.99")
        with pytest.raises(Refusal, match=r"runs on Python 3\.99, and there is none on PATH"):
            localstack.install()

    def test_a_port(self, copy: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            printed = refused(copy, PORT=port)
        assert printed.startswith(f"Port {port} is taken: ")
        assert f"make emulate PORT={port + 1}" in printed

    @pytest.mark.parametrize("port", ["http", "0", "65536", "-1", "٤٥"])
    def test_a_port_that_is_none(self, copy: Path, port: str) -> None:
        assert refused(copy, PORT=port) == f"PORT is {port!r}: it should be a number from 1 to 65535."

    def test_a_localstack_that_answers(self, copy: Path) -> None:
        port = free_port()
        printed = refused(copy, LOCALSTACK_HOST=f"localhost:{port}")
        assert printed.startswith(f"No LocalStack answers at http://localhost:{port}: start it")

    @pytest.mark.parametrize("host", ["localhost:", ":4566", "localhost:http", "localhost:4566/x", "localhost:99999"])
    def test_a_localstack_that_can_be_one(self, copy: Path, host: str) -> None:
        assert refused(copy, LOCALSTACK_HOST=host).startswith(f"LOCALSTACK_HOST is {host!r}: it should be host:port")

    def test_a_valkey_that_the_functions_reach(self, tmp_path: Path) -> None:
        nobody = free_port()
        with processes.gateway(tmp_path, nobody) as base_url:
            facts = emulate.Facts(0, base_url, "", "", "", "valkey.example", nobody)
            with pytest.raises(Refusal, match=rf"503: .*reach Valkey at valkey\.example:{nobody}"):
                emulate.wait_until_healthy(facts)


class TestWhatBreaksOff:
    """While it is applying: the longest tests, one after the other in one folder."""

    def test_localstack_ends(self, copy: Path) -> None:
        port = free_port()
        with applying(copy, PORT=port) as (process, output):
            (inside,) = [found for found in localstacks() if port_of(found) == port]
            os.kill(inside, signal.SIGKILL)
            assert process.wait(END_SECONDS) == 1
            printed = output.read_text()
            assert "LocalStack has ended by itself (status -9): run the command again" in printed
            assert "Traceback" not in printed
        assert_gone(copy, port)

    def test_it_is_killed(self, copy: Path) -> None:
        port = free_port()
        with applying(copy, PORT=port) as (process, _):
            process.kill()
            process.wait()
            assert_gone(copy, port)

    def test_it_is_killed_and_begun_again_and_then_ended_on_a_localstack_that_stays(
        self, python: Path, copy: Path, tmp_path: Path
    ) -> None:
        more: dict[str, object] = {}
        if found := terraform_mirror.plugin_dir():
            (tmp_path / "an unusual place").symlink_to(found)
            more["TF_PLUGIN_DIR"] = tmp_path / "an unusual place"
        with localstack.running(python, tmp_path / "localstack", free_port()) as stays:
            more["LOCALSTACK_HOST"] = f"localhost:{stays.port}"
            with applying(copy, **more) as (process, _):
                process.kill()
                process.wait()
                assert_nothing_is_left(copy)
            with applying(copy, **more) as (process, output):
                os.killpg(process.pid, signal.SIGINT)
                assert process.wait(END_SECONDS) == 0, output.read_text()
                printed = output.read_text()
            assert "Terraform destroyed" in printed
            assert "Traceback" not in printed
            assert_nothing_is_left(copy)
            session = localstack_client.session.Session(localstack_host=f"{stays.host}:{stays.port}")
            assert session.client("lambda", region_name="eu-central-1").list_functions()["Functions"] == []
            tagged = [{"Name": "tag:Project", "Values": ["leaderboard"]}]
            assert session.client("ec2", region_name="eu-central-1").describe_vpcs(Filters=tagged)["Vpcs"] == []


def localstacks() -> list[int]:
    """The processes of LocalStack."""
    return [
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if b"scripts.emulator.inside" in _read(process / "cmdline")
    ]


def port_of(process: int) -> int:
    """The port on which a LocalStack listens."""
    for setting in _read(Path("/proc", str(process), "environ")).split(b"\0"):
        if setting.startswith(b"GATEWAY_LISTEN="):
            return int(setting.rpartition(b":")[2])
    return 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def assert_gone(copy: Path, port: int) -> None:
    """Asserts that nothing is left of it, nor at its port."""
    assert_nothing_is_left(copy)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/", timeout=2, trust_env=False)
