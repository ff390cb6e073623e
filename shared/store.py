"""The connection to Valkey: one a thread, made when first needed, and what one round trip on it means."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import select
import ssl
import threading
import time
from collections.abc import Sequence
from typing import Any

from valkey import exceptions
from valkey.connection import Connection, DefaultParser

from shared import deadline, logs
from shared.config import Settings, settings
from shared.problems import Unavailable

Command = tuple[Any, ...]
"""A command's name and arguments: text, bytes or numbers."""

UNABLE = (exceptions.BusyLoadingError, exceptions.OutOfMemoryError, exceptions.ReadOnlyError)
UNABLE_CODES = frozenset({"BUSY", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN"})
"""Replies by which a server says that it cannot work now; the client library has classes for the first three only."""

_sources: dict[str, str] = {}
_thread = threading.local()


class Script:
    """A Lua file of `shared/lua`, run by its digest. Read from disk when first called."""

    def __init__(self, name: str, *, writes: bool):
        self.name = name
        self._suffix = "" if writes else "_RO"

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-1 by which the server knows the script."""
        with open(os.path.join(os.path.dirname(__file__), "lua", f"{self.name}.lua"), encoding="utf-8") as file:
            source = file.read()
        digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        _sources[digest] = source
        return digest

    def call(self, keys: Sequence[str], *arguments: str | int) -> Command:
        """The command that runs it."""
        return (f"EVALSHA{self._suffix}", self.digest, len(keys), *keys, *arguments)


class _Parser(DefaultParser):  # type: ignore[valid-type, misc]
    """The client library's parser, for which a reply in drops has no more time than one that comes at once."""

    ends = math.inf

    def read_from_socket(self, *arguments: Any, **options: Any) -> Any:
        """Waits for more of the reply, until the trip's end."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise exceptions.TimeoutError("the reply is not complete in time")
        self._sock.settimeout(left)
        return super().read_from_socket(*arguments, **options)


class _Connection(Connection):
    """The client library's connection, with our time limits and one TLS context for all."""

    def __init__(self, own: Settings):
        self.own = own
        super().__init__(
            host=own.valkey_host,
            port=own.valkey_port,
            socket_timeout=own.command_seconds,
            socket_connect_timeout=own.connect_seconds,
            socket_keepalive=True,
            decode_responses=True,
            parser_class=_Parser,
            lib_name=None,
            lib_version=None,
        )

    def _connect(self) -> Any:
        sock = super()._connect()
        if not self.own.valkey_tls:
            return sock
        try:
            return _tls(self.own.valkey_ca_file).wrap_socket(sock, server_hostname=self.host)
        except BaseException:
            sock.close()
            raise

    def prepare(self, seconds: float) -> None:
        """Connects where that is needed, and gives the trip so many seconds from then.

        A socket that is readable between two trips was closed by the server, or holds what nobody asked for: it is not
        used again.
        """
        if self._sock is not None and _readable(self._sock):
            self.disconnect()
        self.socket_timeout = seconds
        self.socket_connect_timeout = min(self.own.connect_seconds, seconds)
        if self._sock is None:
            self._parser.ends = time.monotonic() + self.socket_connect_timeout
            self.connect()
        if self._sock is not None:  # as it is by now, which the type checker cannot know
            self._sock.settimeout(seconds)
        self._parser.ends = time.monotonic() + seconds


class Store:
    """One connection to Valkey, for one thread at a time. Data modules take it as their first argument."""

    def __init__(self, own: Settings):
        self._settings = own
        self._connection = _Connection(own)

    def read(self, *commands: Command) -> list[Any]:
        """The replies of commands that change nothing, in one round trip, tried again once when the connection fails.

        Raises Unavailable when Valkey cannot be reached, cannot work, or time is up.
        """
        return self._attempt(commands, tries=2)

    def write(self, *commands: Command) -> list[Any]:
        """As `read`, but never tried again: after a lost reply nobody knows whether the commands ran."""
        return self._attempt(commands, tries=1)

    def close(self) -> None:
        """Ends the connection; the next trip makes another."""
        self._connection.disconnect()

    def _attempt(self, commands: Sequence[Command], tries: int) -> list[Any]:
        for left in reversed(range(tries)):
            try:
                return self._values(commands)
            except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
                logs.write("WARNING", "valkey trip failed", cause=type(error).__name__, tries_left=left)
        raise Unavailable

    def _values(self, commands: Sequence[Command]) -> list[Any]:
        replies = self._trip(commands)
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)]
        if unknown:
            for index, reply in zip(unknown, self._trip([_with_source(commands[i]) for i in unknown]), strict=True):
                replies[index] = reply
        for reply in replies:
            if isinstance(reply, exceptions.ResponseError):
                raise self._refusal(reply)
        return replies

    def _trip(self, commands: Sequence[Command]) -> list[Any]:
        """One round trip: every reply, an error reply as the exception that it stands for."""
        seconds = min(self._settings.command_seconds, deadline.remaining())
        if seconds <= 0:
            logs.write("WARNING", "request deadline passed")
            raise Unavailable
        connection = self._connection
        connection.prepare(seconds)
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        replies = []
        for _ in commands:
            try:
                replies.append(connection.read_response())
            except exceptions.ResponseError as error:
                replies.append(error)
        return replies

    def _refusal(self, reply: exceptions.ResponseError) -> Exception:
        if not isinstance(reply, UNABLE) and str(reply).partition(" ")[0] not in UNABLE_CODES:
            return reply
        if isinstance(reply, exceptions.ReadOnlyError):
            self.close()  # a replica answered: the host's name leads elsewhere by now
        logs.write("WARNING", "valkey refused", cause=type(reply).__name__)
        return Unavailable()


def store() -> Store:
    """This thread's connection."""
    try:
        return _thread.store  # type: ignore[no-any-return]
    except AttributeError:
        _thread.store = Store(settings())
        return _thread.store  # type: ignore[no-any-return]


def _with_source(command: Command) -> Command:
    verb, digest, *rest = command
    return (verb.replace("EVALSHA", "EVAL"), _sources[digest], *rest)


def _readable(sock: Any) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


@functools.cache
def _tls(ca_file: str | None) -> ssl.SSLContext:
    """The TLS context that all connections share: loading the authorities' certificates costs more than a handshake."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
