"""TLS in front of a Valkey that does not speak it, with certificates of an authority that lives as long as a test."""

from __future__ import annotations

import contextlib
import datetime
import select
import socket
import ssl
import threading
import warnings
from pathlib import Path
from typing import Any

import trustme

LONGEST_SECONDS = 10
"""Neither end of a tunnel waits longer for the other; a test that takes so long has failed."""


class Tunnel:
    """A port that speaks TLS with its clients and passes on what is inside."""

    def __init__(self, target: int, context: ssl.SSLContext):
        self.target = target
        self.context = context
        self.handshakes: list[str] = []
        """The TLS versions of the handshakes that have succeeded."""
        self.refused: list[str] = []
        """Why the others have failed, as the server sees them."""
        self.names: list[str | None] = []
        """The host names that clients asked for."""
        self.received = bytearray()
        """What clients have sent inside."""
        context.sni_callback = lambda _, name, __: self.names.append(name)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._ends.append(client)
                thread = threading.Thread(target=self._carry, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _carry(self, client: socket.socket) -> None:
        client.settimeout(LONGEST_SECONDS)
        with client:
            try:
                inside = self.context.wrap_socket(client, server_side=True)
            except OSError as error:
                self.refused.append(str(error))
                return
            self._ends.append(inside)
            self.handshakes.append(inside.version() or "")
            with inside, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.target)) as server:
                self._ends.append(server)
                for end in (inside, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _pump(inside, server, self.received)

    def cut(self) -> None:
        """Ends all connections."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends the tunnel."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()


def _pump(inside: ssl.SSLSocket, server: socket.socket, received: bytearray) -> None:
    """One thread for both directions: OpenSSL's connections are not made for two."""
    while True:
        ready = [inside] if inside.pending() else select.select([inside, server], [], [])[0]
        for source, sink in ((inside, server), (server, inside)):
            if source in ready:
                data = source.recv(1 << 16)
                if not data:
                    return
                if source is inside:
                    received += data
                sink.sendall(data)


def tunnel_to(port: int, context: ssl.SSLContext) -> contextlib.closing[Tunnel]:
    """TLS in front of a port, gone at the end."""
    return contextlib.closing(Tunnel(port, context))


class Authority:
    """A certificate authority that only those trust who are given its `file`."""

    def __init__(self, folder: Path):
        self._ca = trustme.CA()
        self.file = folder / f"authority-{id(self)}.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def context(self, *names: str, days: float = 1) -> ssl.SSLContext:
        """A server's side of TLS with a certificate for these names, valid for so many days from now on."""
        now = datetime.datetime.now(datetime.UTC)
        since, until = sorted((now + datetime.timedelta(days=days), now - datetime.timedelta(days=abs(days) + 1)))
        certificate = self._ca.issue_cert(*names, not_before=since, not_after=until)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context


def speaking_only(version: ssl.TLSVersion, context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context with one version of TLS, and the ciphers that the old ones need, which are off by default."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    return context


def lenient_client(file: Path, version: ssl.TLSVersion) -> Any:
    """A client's side that accepts what ours should not."""
    return speaking_only(version, ssl.create_default_context(cafile=str(file)))
