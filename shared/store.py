"""The connection to Valkey: one per thread, made when first needed, and what one round trip on it means."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import queue
import select
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import Any

from valkey import exceptions
from valkey.connection import Connection, DefaultParser

from shared import credentials, deadline, logs, security, telemetry, tracing
from shared.config import Settings, is_initialized_by_lambda, settings
from shared.problems import Unavailable

Command = tuple[Any, ...]
"""A command's name and arguments: text, bytes or numbers."""

ReplyError = exceptions.ResponseError
"""A server's error reply, as it stands among other replies."""

UNABLE_CODES = frozenset({"BUSY", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN"})
"""Replies by which a server says that it cannot work now, for which the client library has no classes."""

IDLE_SECONDS = 300
"""A connection that nobody has used for so long is replaced: AWS's load balancers forget one after 350 seconds, and
tell neither side."""

LIFE_SECONDS = 11 * 3600
"""So is one that is older: ElastiCache ends an IAM user's after twelve hours, whatever it is doing."""

EARLY_SECONDS = 2.0
"""What connecting may take at most before there is a request. Lambda gives its whole init ten seconds."""

_sources: dict[str, str] = {}
_thread = threading.local()
_loading = threading.Lock()


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

    def command(self, keys: Sequence[str], *arguments: str | bytes | int) -> Command:
        """The command that runs it."""
        return (f"EVALSHA{self._suffix}", self.digest, len(keys), *keys, *arguments)


class _Parser(DefaultParser):  # type: ignore[valid-type, misc]
    """The client library's parser, but a reply that trickles in gets no more time than one that comes at once."""

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
        self._made_at = self._used_at = 0.0
        super().__init__(
            host=own.valkey_host,
            port=own.valkey_port,
            socket_timeout=own.command_seconds,
            socket_connect_timeout=own.connect_seconds,
            decode_responses=True,
            encoding_errors="surrogateescape",  # what somebody else wrote may not be text
            parser_class=_Parser,
            lib_name=None,
            lib_version=None,
            credential_provider=credentials.provider(own),
        )

    def _connect(self) -> Any:
        """A connected socket, TLS handshake included, within the time for connecting: each address gets its share."""
        ends = time.monotonic() + (self.socket_connect_timeout or self.own.connect_seconds)
        context = tls(self.own.valkey_ca_file) if self.own.valkey_tls else None
        addresses = _addresses(self.host, self.port, ends - time.monotonic())
        for position, (family, kind, protocol, _, address) in enumerate(addresses):
            share = (ends - time.monotonic()) / (len(addresses) - position)
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                sock.settimeout(max(share, 0.001))
                sock.connect(address)
                if context:
                    sock.settimeout(max(ends - time.monotonic(), 0.001))
                    return context.wrap_socket(sock, server_hostname=self.host)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        try:
            raise failure
        finally:
            del failure  # or this frame and the exception would hold each other

    def prepare(self) -> None:
        """Connects where that is needed, and gives the trip its time from then, both within the request's.

        Connecting takes half of what is left at most, so that the trip has as much. Raises Unavailable when time is up.
        """
        now = time.time()
        if self._sock is not None and not self._is_fit(now):
            self.disconnect()
        if self._sock is None:
            self.make(min(self.own.connect_seconds, _left_seconds() / 2))
        self._used_at = now
        seconds = min(self.own.command_seconds, _left_seconds())
        if self._sock is not None:  # as it is by now, which the type checker cannot know
            self._sock.settimeout(seconds)
        self._parser.ends = time.monotonic() + seconds

    def make(self, seconds: float) -> None:
        """Makes a connection within so many seconds, sign-in included."""
        self._made_at = self._used_at = time.time()
        self.socket_connect_timeout = seconds
        self._parser.ends = time.monotonic() + seconds
        telemetry.add("ValkeyConnections")
        self.connect()

    def _is_fit(self, now: float) -> bool:
        """Whether the connection may serve another trip at this time of day.

        The time of day, because nothing else goes on while Lambda has frozen us: CLOCK_MONOTONIC stands still, and so
        does CLOCK_BOOTTIME, since a machine that is paused from outside does not count it as its own sleep. A clock
        that was set back may hide a long pause, so that is one. A socket that is readable between two trips was closed
        by the server, or holds what nobody asked for.
        """
        is_young = self._used_at <= now < min(self._used_at + IDLE_SECONDS, self._made_at + LIFE_SECONDS)
        return is_young and not _readable(self._sock)


class Store:
    """One connection to Valkey, for one thread at a time. Data modules take it as their first argument."""

    def __init__(self, own: Settings):
        self._settings = own
        self.repeated = False
        """Whether the last commands were sent twice: the first time's bytes may still be on their way."""
        self._connection = _Connection(own)

    def exchange(self, *commands: Command) -> list[Any]:
        """The replies of commands that may be repeated, in one round trip, tried again once when the connection fails
        or leads to a server that is no longer the primary. A server's error reply stands in its place as an exception.

        Raises Unavailable when Valkey cannot be reached, or time is up.
        """
        return self._attempt(commands, tries=2)

    def ask(self, *commands: Command) -> list[Any]:
        """As `exchange`, and the first error reply is raised: Unavailable where the server cannot work at present."""
        return [value(reply) for reply in self._attempt(commands, tries=2)]

    def ask_once(self, *commands: Command) -> list[Any]:
        """As `ask`, for commands that may not be repeated: after a lost reply nobody knows whether they ran."""
        return [value(reply) for reply in self._attempt(commands, tries=1)]

    def connect(self, seconds: float) -> None:
        """Makes the connection ahead of the first trip, within so many seconds."""
        self._connection.make(min(self._settings.connect_seconds, seconds))

    def close(self) -> None:
        """Ends the connection; the next trip makes another."""
        self._connection.disconnect()

    def _attempt(self, commands: Sequence[Command], tries: int) -> list[Any]:
        for left in reversed(range(tries)):
            self.repeated = left < tries - 1
            if self.repeated:
                telemetry.add("ValkeyRetries")
            try:
                replies = self.trip(commands)
                unknown = [index for index, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)]
                if unknown:
                    sources = [_source_command(commands[index]) for index in unknown]
                    for index, reply in zip(unknown, self.trip(sources), strict=True):
                        replies[index] = reply
            except exceptions.AuthenticationError as error:  # a second try would be refused as well
                logs.write("ERROR", "valkey trip failed", cause=type(error).__name__, tries_left=0)
                _report(error)
                raise Unavailable from error
            except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
                logs.write("WARNING", "valkey trip failed", cause=type(error).__name__, tries_left=left)
                _report(error)
                continue
            if not any(map(_is_elsewhere, replies)):
                return replies
            self.close()
            logs.write("WARNING", "valkey is no longer the primary", tries_left=left)
        raise Unavailable

    @tracing.trip
    def trip(self, commands: Sequence[Command]) -> list[Any]:
        """One round trip: every reply, an error reply as the exception that it stands for."""
        connection = self._connection
        connection.prepare()
        started = time.perf_counter_ns()
        try:
            connection.send_packed_command(_packed(connection, commands), check_health=False)
            replies = []
            for _ in commands:
                try:
                    replies.append(connection.read_response())
                except exceptions.ResponseError as error:
                    replies.append(error.with_traceback(None))  # or it would hold this frame, and the frame the replies
            return replies
        finally:
            telemetry.add("ValkeyTripTime", (time.perf_counter_ns() - started) // 1000 / 1000)


def value(reply: Any) -> Any:
    """A reply, or the exception that it stands for: Unavailable where the server cannot work at present."""
    if not isinstance(reply, exceptions.ResponseError):
        return reply
    unable = isinstance(reply, exceptions.BusyLoadingError | exceptions.OutOfMemoryError)
    if unable or _code(reply) in UNABLE_CODES:
        logs.write("WARNING", "valkey refused", cause=type(reply).__name__)
        raise Unavailable from reply
    if isinstance(reply, exceptions.NoPermissionError):
        security.report("cache_permission_denied")
    raise type(reply)(*reply.args)  # a new one: the frames hold the old one, and would hold each other and the socket


def store() -> Store:
    """This thread's connection."""
    try:
        return _thread.store  # type: ignore[no-any-return]
    except AttributeError:
        _thread.store = Store(settings())
        return _thread.store  # type: ignore[no-any-return]


def connect_early() -> None:
    """Makes this thread's connection before there is a request. A failure is logged, and left to the first request."""
    try:
        store().connect(EARLY_SECONDS)
    except Exception as error:
        logs.write("WARNING", "early connection failed", cause=type(error).__name__)
        _report(error)


def _report(error: Exception) -> None:
    """Reports a failure that is about who we are, or whom we would talk to."""
    if isinstance(error, exceptions.AuthenticationError):
        security.report("cache_authentication_failed")
    elif isinstance(error.__context__, ssl.SSLCertVerificationError):
        security.report("cache_certificate_refused")


def _left_seconds() -> float:
    """What the request has left. Raises Unavailable if that is nothing."""
    seconds = deadline.remaining()
    if seconds <= 0:
        logs.write("WARNING", "request deadline passed")
        raise Unavailable
    return seconds


def _addresses(host: str, port: int, seconds: float) -> Any:
    """What a name leads to. The resolver has no time limit that we could set, so it is asked on a thread of its own."""
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            found.put(error)

    threading.Thread(target=look_up, daemon=True).start()
    try:
        addresses = found.get(timeout=max(seconds, 0.001))
    except queue.Empty:
        raise TimeoutError("the name was not resolved in time") from None
    try:
        if isinstance(addresses, Exception):
            raise addresses
        return addresses
    finally:
        del addresses  # or this frame and the exception would hold each other


def _is_elsewhere(reply: Any) -> bool:
    """A replica's refusal: after a failover the primary is another server, which the same host name leads to."""
    return isinstance(reply, exceptions.ReadOnlyError) or _code(reply) == "MOVED"


def _code(reply: Any) -> str:
    return str(reply).partition(" ")[0] if isinstance(reply, exceptions.ResponseError) else ""


def _packed(connection: Connection, commands: Sequence[Command]) -> Any:
    try:
        return connection.pack_commands(commands)
    except UnicodeEncodeError:  # a name that is not text, as it was read: the client library's packer is strict
        return connection.pack_commands([[_as_it_was(part) for part in command] for command in commands])


def _as_it_was(part: Any) -> Any:
    return part.encode(errors="surrogateescape") if isinstance(part, str) else part


def _source_command(command: Command) -> Command:
    verb, digest, *rest = command
    return (verb.replace("EVALSHA", "EVAL"), _sources[digest], *rest)


def _readable(sock: Any) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def tls(ca_file: str | None) -> ssl.SSLContext:
    """The TLS context that all connections share: loading the authorities' certificates costs more than a handshake."""
    with _loading:
        return _loaded_tls(ca_file)


@functools.cache
def _loaded_tls(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


if is_initialized_by_lambda():  # the only thing that an import does, and only there
    connect_early()
