"""Our commands as separate processes, started as a shell starts them, and gone at the end of a test."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.places import ROOT
from tests.support import lines
from tests.support.patience import wait_until
from tests.support.wires import free_port, is_listening

START_SECONDS = 30

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def environment(**more: object) -> dict[str, str]:
    """This environment without anything that leads to a Valkey or to another test's keys, and with `more`."""
    others = ("VALKEY_", "TOKEN_", "PORT", "COV_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return {
        **kept,
        "PYTHONUNBUFFERED": "1",
        "DASHBOARD_PORT": "0",
        **{name: str(value) for name, value in more.items()},
    }


@contextlib.contextmanager
def started(
    module: str, output: Path, *, folder: Path = ROOT, end_seconds: float = 10, **more: object
) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m module` in its own process group, as a shell would start it; what it prints goes to a file."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=folder,
            env=environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(end_seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    lines.check(output.read_text(encoding="utf-8", errors="replace"))


class ServerError(Exception):
    """It did not start; the message is its log."""


@contextlib.contextmanager
def serving(log: Path, module: str, *arguments: str, port: int) -> Iterator[None]:
    """`python -m module` from when it listens on the port until the block ends. Raises ServerError."""
    with log.open("wb") as file:
        line = [sys.executable, "-m", module, *arguments]
        process = subprocess.Popen(line, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: process.poll() is not None or is_listening(port))
        if process.poll() is not None:
            raise ServerError(log.read_text())
        yield
    finally:
        process.kill()
        process.wait()


def finished(
    module: str, *arguments: str, folder: Path = ROOT, seconds: float = 60, **more: object
) -> subprocess.CompletedProcess[str]:
    """`python -m module`, run to its end: its exit status, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env=environment(**more),
        check=False,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    lines.check(done.stdout)
    return done


def wait_until_answering(base_url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    """Waits until GET /health gets an answer, good or bad."""

    def answers() -> bool:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"{base_url}/health", timeout=5, trust_env=False)
            return True
        return False

    wait_until(lambda: process.poll() is not None or answers())
    assert process.poll() is None, f"it does not answer; it said:\n{output.read_text()}"


def is_running(process: int) -> bool:
    """Whether there is such a process, other than a zombie that nobody has reaped."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@contextlib.contextmanager
def gateway(folder: Path, valkey_port: int, **more: object) -> Iterator[str]:
    """`python -m scripts.local.gateway` with its Valkey at a port of this machine; yields the base URL."""
    port = free_port()
    output = folder / "gateway.log"
    variables = {"PORT": port, "VALKEY_HOST": "127.0.0.1", "VALKEY_PORT": valkey_port, **more}
    with started("scripts.local.gateway", output, **variables) as process:
        base_url = f"http://127.0.0.1:{port}"
        wait_until_answering(base_url, process, output)
        yield base_url


def lines_to_paste(output: str) -> list[str]:
    """The lines in a command's output that are there to be tried out."""
    return [line.strip() for line in output.splitlines() if line.strip().startswith("curl ")]


def pasted(line: str) -> Any:
    """The value that a line prints when it is run in a shell."""
    shell = subprocess.run(
        ["sh", "-c", line],
        env={**environment(), "NO_PROXY": "*", "no_proxy": "*"},
        check=True,
        capture_output=True,
        timeout=20,
    )
    return json.loads(shell.stdout)
