"""Workers: processes that answer one request each, whose commands reach Valkey one by one, and that die where we say.

This process stands between a worker and Valkey: it reads the worker's commands, however many of them come in one
packet, passes them on one at a time, and hands the replies back. So every state that a real SIGKILL can leave behind is
reached on purpose: the server has not had a command, or has had it, or has had it and the worker knows.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import multiprocessing
import os
import select
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import valkey

from functions.create_user import handler as _create_user  # noqa: F401 - the workers are forked from a process that
from functions.reconcile import handler as _reconcile  # noqa: F401 - has imported them all
from functions.sessions import handler as _sessions  # noqa: F401
from functions.update_score import handler as _update_score  # noqa: F401
from scripts.local.proxy import Context
from shared import config
from tests.support.patience import PATIENCE_SECONDS


class Job(NamedTuple):
    """A function and its event; `constants` are values to set in modules, by 'module.NAME'."""

    function: str
    event: dict[str, Any]
    constants: Mapping[str, Any] = {}


class Death(NamedTuple):
    """A worker's death: the commands that the server has executed, and, if the worker got that far, its answer and what
    it had logged by then."""

    point: int
    executed: list[str]
    answer: Any
    logged: str = ""


class Stage:
    """Where workers die. Point 2k is before command k reaches the server; 2k + 1 is after that, and before the worker
    gets the reply; the last point is after the worker has answered."""

    def __init__(self, valkey_port: int):
        self._server = socket.create_connection(("127.0.0.1", valkey_port), timeout=PATIENCE_SECONDS)
        self._server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = self._server.makefile("rb")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE_SECONDS)
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload([__name__])
        self.deaths = 0

    def close(self) -> None:
        """Ends the connections."""
        self._replies.close()
        self._server.close()
        self._listener.close()

    def kill(self, job: Job, point: int) -> Death:
        """Lets a worker do a job up to a point and kills it there; the answer is None unless it got that far."""
        receiver, sender = self._processes.Pipe()
        process = self._processes.Process(target=_work, args=(self._listener.getsockname()[1], job, sender))
        process.start()
        sender.close()
        with contextlib.ExitStack() as stack:
            stack.enter_context(receiver)
            stack.callback(process.close)
            connection, _ = self._listener.accept()
            stack.enter_context(connection)
            stack.callback(process.join)
            stack.callback(process.kill)  # called first, so that it never learns that the connection is gone
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.deaths += 1
            executed: list[str] = []
            for step, command in enumerate(_commands(connection, receiver)):
                if point == 2 * step:
                    return Death(point, executed, None)
                self._server.sendall(command)
                reply = read_reply(self._replies)
                executed.append(command.split(b"\r\n", 3)[2].decode())
                if point == 2 * step + 1:
                    return Death(point, executed, None)
                connection.sendall(reply)
            return Death(point, executed, *receiver.recv())

    def kill_everywhere(self, job: Callable[[], Job], before: Callable[[], object]) -> Iterator[Death]:
        """A death at every point of a job, the last one after the answer; `before` is called before each."""
        for point in itertools.count():
            before()
            death = self.kill(job(), point)
            yield death
            if death.answer is not None:
                assert point == 2 * len(death.executed)
                return


def _work(port: int, job: Job, sender: Connection) -> None:
    with io.StringIO() as sys.stdout:
        for name in [name for name in os.environ if name.lower() in config.Settings.__dataclass_fields__]:
            del os.environ[name]
        os.environ.update(VALKEY_HOST="127.0.0.1", VALKEY_PORT=str(port), COMMAND_SECONDS="10", DEADLINE_SECONDS="28")
        config.settings.cache_clear()
        for place, value in job.constants.items():
            module, _, name = place.rpartition(".")
            setattr(importlib.import_module(module), name, value)
        handler = importlib.import_module(f"functions.{job.function}.handler").handler
        sender.send((handler(job.event, Context()), sys.stdout.getvalue()))
        sender.recv()  # until it is killed


def _commands(connection: socket.socket, receiver: Connection) -> Iterator[bytes]:
    """A worker's commands as they were sent, one by one, until it has answered."""
    received = b""
    while True:
        while (end := command_end(received)) is not None:
            yield received[:end]
            received = received[end:]
        ready, _, _ = select.select([connection, receiver], [], [], PATIENCE_SECONDS)
        assert ready, "the worker is stuck"
        if connection not in ready:
            return
        more = connection.recv(1 << 16)
        if not more:
            assert receiver.poll(PATIENCE_SECONDS), "the worker closed its connection without an answer"
            return
        received += more


def command_end(received: bytes) -> int | None:
    """Where the first command ends; None if it is not complete."""
    end = received.find(b"\r\n") + 2
    if end < 2:
        return None
    for _ in range(int(received[1 : end - 2])):
        start = end
        end = received.find(b"\r\n", start) + 2
        if end < 2:
            return None
        end += int(received[start + 1 : end - 2]) + 2
    return end if end <= len(received) else None


def read_reply(replies: io.BufferedReader) -> bytes:
    """The server's next reply as it came."""
    line = replies.readline()
    kind, count = line[:1], line[1:-2]
    if kind == b"$" and count != b"-1":
        return line + replies.read(int(count) + 2)
    if kind == b"*" and count != b"-1":
        return line + b"".join(read_reply(replies) for _ in range(int(count)))
    assert kind in b"+-:$*"
    return line


class Snapshot:
    """Everything that a server holds at one moment, to come back to as often as needed."""

    def __init__(self, port: int):
        self._client = valkey.Valkey(host="127.0.0.1", port=port)
        self._keys = list(self._client.scan_iter(count=1000))
        with self._client.pipeline(transaction=False) as pipeline:
            for key in self._keys:
                pipeline.dump(key).pttl(key)
            found = pipeline.execute()
        self._values = list(zip(self._keys, found[::2], found[1::2], strict=True))

    def restore(self) -> None:
        """Makes the server what it was then; what had time left has as much again."""
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.flushall()
            for key, value, milliseconds in self._values:
                pipeline.restore(key, max(0, milliseconds), value)
            pipeline.execute()

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()


def stage(valkey_port: int) -> contextlib.closing[Stage]:
    """A stage in front of a server."""
    return contextlib.closing(Stage(valkey_port))


def snapshot(port: int) -> contextlib.closing[Snapshot]:
    """What the server at a port holds now."""
    return contextlib.closing(Snapshot(port))
