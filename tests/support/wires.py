"""The network between a handler and its Valkey, as it is on bad days: counted, slow, silent, cut."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any


def free_port() -> int:
    """A port on which nobody is listening at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Proxy:
    """A TCP proxy to a port of this machine that counts round trips and can hold replies back."""

    def __init__(self, target: int):
        self.target = target
        self.trips = 0
        """How often something was sent after something had been received, over all connections."""
        self.connections = 0
        self.delay_seconds = 0.0
        """How long each reply that arrives from now on is held back."""
        self.cuts = 0
        """How many replies from now on do not arrive: the connection is cut instead."""
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
        self.cut()
        for carrier in self._carriers:
            carrier.join()

    def cut(self) -> None:
        """Cuts the connections of this moment."""
        for end in self._ends:
            _cut(end)


def _chunks(end: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while data := end.recv(1 << 16):
            yield data


def _cut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


class Forgetful(Proxy):
    """What stands in the way of cloud connections: it forgets those that are idle and tells nobody."""

    def __init__(self, target: int):
        self._forgotten: set[socket.socket] = set()
        self._deaf: set[socket.socket] = set()
        super().__init__(target)

    def forget(self) -> None:
        """Drops everything that comes on the connections of this moment, both ways."""
        self._forgotten |= set(self._ends)

    def lose_replies(self) -> None:
        """Passes on what clients say on the connections of this moment, and drops the replies."""
        self._deaf |= set(self._ends)

    def reset(self) -> None:
        """Ends the connections of this moment with RST, where `close` says FIN."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RD)
                end.close()

    def _forward(self, client: socket.socket, server: socket.socket, answered: Any) -> None:
        super()._forward(_Filter(client, self._forgotten), server, answered)  # type: ignore[arg-type]

    def _back(self, client: socket.socket, server: socket.socket, answered: Any) -> None:
        super()._back(client, _Filter(server, self._forgotten | self._deaf, self), answered)  # type: ignore[arg-type]


class _Filter:
    """A socket that receives nothing more once it is among the silent ones, but its end."""

    def __init__(self, end: socket.socket, silent: set[socket.socket], proxy: Any = None):
        self._end, self._silent, self._proxy = end, silent, proxy

    def recv(self, size: int) -> bytes:
        while data := self._end.recv(size):
            silent = self._proxy._forgotten | self._proxy._deaf if self._proxy else self._silent
            if self._end not in silent:
                return data
        return b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._end, name)


def proxy_to(port: int) -> contextlib.closing[Proxy]:
    """A proxy to a port, gone at the end."""
    return contextlib.closing(Proxy(port))


@contextlib.contextmanager
def serving(serve: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """A port whose connections each go to `serve`, in a thread of their own, with an event that is set at the end."""
    ended = threading.Event()

    def carry(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            serve(client, ended)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threads.append(threading.Thread(target=carry, args=(listener.accept()[0],)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A port that accepts connections and never sends a byte."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def unaccepting() -> Iterator[int]:
    """A port where connecting takes forever: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
