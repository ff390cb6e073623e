"""The network between a handler and its Valkey, as it is on bad days: counted, slow, silent, cut."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from shared import config
from shared.store import store
from tests.conftest import Answer, Context, _invoke, event

Result = TypeVar("Result")

_environment = threading.RLock()


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class Proxy:
    """A TCP proxy to a port of this machine that counts round trips and can hold replies back."""

    def __init__(self, target: int):
        self.target = target
        self.trips = 0
        """How often something was sent after something had been received, over all connections."""
        self.connections = 0
        self.delay_seconds = 0.0
        """So long each reply that arrives from now on is held back."""
        self.cuts = 0
        """So many replies from now on do not arrive: the connection is cut instead."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._carriers: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._ends.append(client)
                carrier = threading.Thread(target=self._carry, args=(client,))
                self._carriers.append(carrier)
                carrier.start()

    def _carry(self, client: socket.socket) -> None:
        self.connections += 1
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=1)
            except OSError:
                return
            with server:
                server.settimeout(None)
                self._ends.append(server)
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                answered = threading.Event()
                answered.set()
                back = threading.Thread(target=self._back, args=(client, server, answered))
                back.start()
                self._forward(client, server, answered)
                back.join()

    def _forward(self, client: socket.socket, server: socket.socket, answered: threading.Event) -> None:
        for data in _chunks(client):
            if answered.is_set():
                answered.clear()
                self.trips += 1
            with contextlib.suppress(OSError):
                server.sendall(data)
        _cut(server)

    def _back(self, client: socket.socket, server: socket.socket, answered: threading.Event) -> None:
        for data in _chunks(server):
            time.sleep(self.delay_seconds)
            if self.cuts:
                self.cuts -= 1
                break
            answered.set()
            with contextlib.suppress(OSError):
                client.sendall(data)
        _cut(client)
        _cut(server)

    def close(self) -> None:
        """Ends the proxy and cuts its connections."""
        _cut(self._listener)
        self._acceptor.join()
        self._listener.close()
        for end in self._ends:
            _cut(end)
        for carrier in self._carriers:
            carrier.join()


def _chunks(end: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while data := end.recv(1 << 16):
            yield data


def _cut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """A proxy to a port, gone at the end."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def unaccepting() -> Iterator[int]:
    """A port where connecting takes for ever: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


class Invoker:
    """Calls handlers one after another in a thread of its own, so on a connection of its own to `port`."""

    def __init__(self, executor: ThreadPoolExecutor):
        self._executor = executor

    def __call__(self, function: str, *of_event: Any, context: Any = None, **more: Any) -> Answer:
        """`invoker("rank", "GET", "/users/a/rank")`: the function, then an event's method and path and members."""
        given = event(*of_event, **more)
        return self._executor.submit(_invoke, function, given, context or Context()).result()

    def run(self, work: Callable[[], Any]) -> Any:
        """Whatever else needs that thread."""
        return self._executor.submit(work).result()


def in_time(seconds: float, work: Callable[[], Result]) -> Result:
    """What work returns, which takes less than so many seconds: once in three, for a busy machine may stand still."""
    for _ in range(3):
        began = time.monotonic()
        result = work()
        if time.monotonic() - began < seconds:
            return result
    raise AssertionError(f"not within {seconds} s, three times")


@contextlib.contextmanager
def invoker(port: int, **settings: object) -> Iterator[Invoker]:
    """Handlers whose Valkey is at a port of this machine; `settings` are names of the environment in lower case."""
    known = {field.name for field in dataclasses.fields(config.Settings)}
    assert set(settings) <= known, settings
    values = {"valkey_host": "127.0.0.1", "valkey_port": port, **settings}
    assert _environment.acquire(blocking=False), "the environment is the whole process's: one thread at a time"
    try:
        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as executor:
            for name, value in values.items():
                patch.setenv(name.upper(), str(value))
            config.settings.cache_clear()
            handlers = Invoker(executor)
            try:
                yield handlers
            finally:
                handlers.run(lambda: store().close())
    finally:
        config.settings.cache_clear()
        _environment.release()
