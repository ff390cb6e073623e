"""LocalStack, an AWS on this machine: in a virtual environment of its own, without Docker, account or licence.

Functions run as processes here (scripts/emulator/lambda_executor), so whoever reaches LocalStack's port runs code on
this machine: it listens on the loopback interface and on nothing else.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts import interpreters
from scripts.places import ROOT, seen_from_here
from scripts.refusal import Refusal

VENV = ROOT / ".localstack"
LOCK = "localstack.lock"
PLUGIN = Path(__file__).resolve().parent / "lambda_executor" / "plugin"

PYTHON = "3.11"
"""The Python that localstack.lock is for. It has no pins for others: LocalStack's own metadata lets too much in."""

HOST = "127.0.0.1"
PORT = 4566
START_SECONDS = 60
STOP_SECONDS = 15
LEAVE_SECONDS = 7
LOG_TAIL_LINES = 10
FILES = "files"

CACHE = VENV / "cache"
"""Where LocalStack keeps its lists of plugins and of AWS's services, more than half of its start."""


@dataclass(frozen=True)
class LocalStack:
    """One that answers. `process` is None for one that somebody else has started."""

    host: str
    port: int
    process: subprocess.Popen[bytes] | None = None
    log: Path | None = None

    @property
    def endpoint(self) -> str:
        """Where AWS is, for AWS_ENDPOINT_URL."""
        return f"http://{self.host}:{self.port}"

    def is_alive(self) -> bool:
        """Whether it still runs; True for somebody else's."""
        return self.process is None or self.process.poll() is None

    def check_alive(self) -> None:
        """Raises Refusal, with the end of its log, unless it is alive."""
        if self.process and self.log and not self.is_alive():
            raise Refusal(
                f"LocalStack has ended by itself (status {self.process.returncode}): run the command again. The end "
                f"of its log, all of which is in {seen_from_here(self.log)}:\n{_tail(self.log)}"
            )


def interpreter() -> str:
    """A Python that LocalStack runs on: LOCALSTACK_PYTHON, or one on PATH or of pyenv. Raises Refusal."""
    if path := os.environ.get("LOCALSTACK_PYTHON"):
        named = interpreters.ask(path)
        if named and named.minor == PYTHON:
            return path
        kind = named.minor if named else "not a Python"
        raise Refusal(
            f"LOCALSTACK_PYTHON={path} is {kind}, and LocalStack runs on {PYTHON}: name a Python {PYTHON}. "
            "Nothing was installed."
        )
    if found := interpreters.find(PYTHON):
        return found.path
    raise Refusal(
        f"LocalStack runs on Python {PYTHON}, and there is none on PATH or in pyenv: install Python {PYTHON}, or "
        f"name it: make emulate LOCALSTACK_PYTHON=/path/to/python{PYTHON}. Nothing was installed."
    )


def is_installed() -> bool:
    """Whether it was ever installed, from whichever version of the lock file."""
    return (VENV / "installed").exists()


def install() -> Path:
    """Installs LocalStack, 500 MB of packages, and returns the interpreter that has it. Raises Refusal."""
    done = subprocess.run(
        [interpreter(), "scripts/dev/bootstrap.py", LOCK, VENV.name],
        cwd=ROOT,
        check=False,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise Refusal(done.stderr.strip() or f"{LOCK} could not be installed: see {VENV.name}/uv.log.")
    return VENV / "bin" / "python"


@contextlib.contextmanager
def running(python: Path, folder: Path, port: int = PORT) -> Iterator[LocalStack]:
    """An empty LocalStack, run by the interpreter that has it, until the block ends.

    Its files are in folder. It also ends with this process, however that ends. Raises Refusal.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tmp").mkdir(parents=True)
    cache = folder / FILES / "var" / "lib" / "localstack" / "cache"
    cache.parent.mkdir(parents=True)
    CACHE.mkdir(exist_ok=True)
    cache.symlink_to(CACHE)
    log = folder / "localstack.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(python), "-m", "scripts.emulator.inside"],
            cwd=folder,
            env=_environment(folder, port),
            stdin=subprocess.PIPE,  # nobody writes to it: when it closes, LocalStack knows that we are gone
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # otherwise the terminal's Ctrl-C would end it before what runs on it
        )
    try:
        started = LocalStack(HOST, port, process, log)
        _wait_until_healthy(started)
        yield started
    finally:
        _stop(process)


def find(address: str) -> LocalStack:
    """Somebody else's LocalStack, by host:port, if it answers. Raises Refusal."""
    matched = re.fullmatch(r"(?:http://)?([\w.-]+|\[[\da-fA-F:]+\])(?::(\d{1,5}))?/?", address, re.ASCII)
    port = int(matched[2] or PORT) if matched else 0
    if not matched or not 0 < port < 65536:
        raise Refusal(f"LOCALSTACK_HOST is {address!r}: it should be host:port, such as localhost:{PORT}.")
    found = LocalStack(matched[1], port)
    if not is_healthy(found.endpoint):
        raise Refusal(
            f"No LocalStack answers at {found.endpoint}: start it, check LOCALSTACK_HOST, or leave LOCALSTACK_HOST out "
            "to have one started."
        )
    return found


def check_port(port: int) -> None:
    """Raises Refusal unless the port is free, or soon will be: the LocalStack of a killed run takes seconds to end."""
    ends = time.monotonic() + LEAVE_SECONDS
    while not _is_free(port):
        if time.monotonic() > ends:
            raise Refusal(
                f"Port {port} is taken: if a LocalStack has it, use that one (make emulate LOCALSTACK_HOST=localhost:"
                f"{port}); else stop what uses it, or choose another: make emulate PORT={port + 1}"
            )
        time.sleep(0.2)


def is_healthy(endpoint: str) -> bool:
    """Whether a LocalStack answers there."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{endpoint}/_localstack/health", timeout=5) as response:
            return b'"services"' in response.read()
    except (OSError, ValueError):
        return False


def _is_free(port: int) -> bool:
    try:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection((HOST, port), 1):
            return False
        with socket.create_server((HOST, port)):
            return True
    except OSError:
        return False


def _environment(folder: Path, port: int) -> dict[str, str]:
    """The whole environment of LocalStack: nothing of ours, above all no credentials."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(PLUGIN)]),
        "TMPDIR": str(folder / "tmp"),
        # LocalStack takes a plain 127.0.0.1 for any address and would listen on all of them.
        "GATEWAY_LISTEN": f"[::ffff:{HOST}]:{port}",
        "LOCALSTACK_HOST": f"localhost:{port}",
        "LAMBDA_RUNTIME_EXECUTOR": "process",
        "OVERRIDE_IN_DOCKER": "0",  # otherwise, in a container, it would write to /var/lib and /etc
        "FILESYSTEM_ROOT": str(folder / FILES),
        "XDG_CACHE_HOME": str(CACHE),
        "DNS_ADDRESS": "0",  # no name server
        # It asks nobody outside: no statistics, no certificate, no list of what costs money.
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "API_ENDPOINT": f"http://{HOST}:9",
    }


def _wait_until_healthy(started: LocalStack) -> None:
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends:
        started.check_alive()
        if is_healthy(started.endpoint):
            return
        time.sleep(0.1)
    output = f" It said:\n{_tail(started.log)}" if started.log else ""
    raise Refusal(f"LocalStack does not answer after {START_SECONDS} s.{output}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        process.stdin.close()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
