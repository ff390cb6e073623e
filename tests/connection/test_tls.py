"""TLS between a handler and its Valkey: it is the right host, certified by the right authority, or nothing is sent."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import valkey

from scripts.local import embedded_valkey, examples
from shared import store
from tests.support import contract
from tests.support.invoking import Invoker, invoker
from tests.support.patience import ANSWER_SECONDS, in_time
from tests.support.tunnels import Authority, Tunnel, lenient_client, speaking_only, tunnel_to
from tests.support.wires import Forgetful, proxy_to, serving, silent

NAME = "localhost"
PASSWORD = "never-in-the-clear"

REQUESTS = examples.load()

CACHED = contract.asking_valkey()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that the handlers trust."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def tunnel(server: embedded_valkey.Server, raw: valkey.Valkey, authority: Authority) -> Iterator[Tunnel]:
    """TLS in front of this run's Valkey, as it should be."""
    with tunnel_to(server.port, authority.context(NAME)) as between:
        yield between


@contextlib.contextmanager
def handlers(port: int, authority: Authority | None, **settings: object) -> Iterator[Invoker]:
    """Handlers that expect TLS at a port."""
    trust = {"valkey_ca_file": authority.file} if authority else {}
    known = {"valkey_host": NAME, "valkey_tls": "1", "access": "protected", **trust, **settings}
    with invoker(port, **known) as call:
        yield call


def assert_refused(call: Invoker, operation: str = "rank") -> None:
    """Asserts that an operation answers 503, in time."""
    began = time.monotonic()
    answer = call.ask(REQUESTS[operation])
    assert answer.status == 503, answer.body
    assert int(answer.headers["Retry-After"]) > 0
    assert time.monotonic() - began < ANSWER_SECONDS


def test_every_route_works_through_tls(tunnel: Tunnel, authority: Authority, token_key: Mapping[str, str]) -> None:
    with handlers(tunnel.port, authority, **token_key) as call:
        ids = examples.existing(lambda example: call.ask(example).json())
        for operation, example in examples.load(ids).items():
            answer = call.ask(example)
            assert answer.status == example.status, f"{operation}: {answer.body!r}"
    assert len(tunnel.handshakes) == 1, "the connection stays open from request to request"
    assert set(tunnel.names) == {NAME}, "the certificate is asked for by name"


@pytest.mark.parametrize("operation", CACHED)
def test_a_certificate_for_another_host_is_refused(
    operation: str, server: embedded_valkey.Server, raw: valkey.Valkey, authority: Authority
) -> None:
    with tunnel_to(server.port, authority.context("valkey.example.com")) as tunnel:
        with handlers(tunnel.port, authority, valkey_password=PASSWORD) as call:
            assert_refused(call, operation)
        assert not tunnel.received, "nothing is sent to a stranger"


def test_a_name_that_the_certificate_does_not_have_is_refused_though_the_address_is_right(
    server: embedded_valkey.Server, raw: valkey.Valkey, authority: Authority
) -> None:
    with tunnel_to(server.port, authority.context(NAME)) as tunnel:
        with handlers(tunnel.port, authority, valkey_host="127.0.0.1") as call:
            assert_refused(call)
        tunnel.context = authority.context("127.0.0.1")
        with handlers(tunnel.port, authority, valkey_host="127.0.0.1") as call:
            assert call("health", "GET", "/health").status == 200


def test_an_authority_that_is_not_trusted_is_refused(
    server: embedded_valkey.Server, raw: valkey.Valkey, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path)
    with tunnel_to(server.port, stranger.context(NAME)) as tunnel:
        for trusted in (authority, None):  # None: those that the system trusts
            with handlers(tunnel.port, trusted, valkey_password=PASSWORD) as call:
                for operation in CACHED:
                    assert_refused(call, operation)
        assert not tunnel.received
        assert len(tunnel.refused) >= 2 * len(CACHED)
        with handlers(tunnel.port, stranger) as call:
            assert call("health", "GET", "/health").status == 200


@pytest.mark.parametrize("days", [-1.0, -0.01])
def test_a_certificate_that_has_expired_is_refused(
    days: float, server: embedded_valkey.Server, raw: valkey.Valkey, authority: Authority
) -> None:
    with tunnel_to(server.port, authority.context(NAME, days=days)) as tunnel:
        with handlers(tunnel.port, authority) as call:
            assert_refused(call)
        assert not tunnel.received
        tunnel.context = authority.context(NAME, days=0.01)
        with handlers(tunnel.port, authority) as call:
            assert call("health", "GET", "/health").status == 200


@pytest.mark.parametrize("operation", CACHED)
def test_a_server_without_tls_is_503_in_time_and_is_told_no_secret(
    operation: str, server: embedded_valkey.Server, raw: valkey.Valkey, authority: Authority
) -> None:
    with handlers(server.port, authority, valkey_password=PASSWORD, connect_seconds=0.1, command_seconds=0.1) as call:
        assert_refused(call, operation)


def test_no_secret_goes_over_the_wire_before_tls_is_agreed() -> None:
    received: list[bytes] = []

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    client.settimeout(1)
                    received.append(client.recv(1 << 16))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=listen)
        thread.start()
        with handlers(listener.getsockname()[1], None, valkey_user="app", valkey_password=PASSWORD) as call:
            assert_refused(call)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert received
    assert all(data[:2] == b"\x16\x03" for data in received), "a handshake is the first thing that is sent"
    assert not any(b"AUTH" in data or PASSWORD.encode() in data for data in received)


@pytest.mark.parametrize("old", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_versions_of_tls_before_1_2_are_refused(
    old: ssl.TLSVersion, server: embedded_valkey.Server, raw: valkey.Valkey, authority: Authority
) -> None:
    with tunnel_to(server.port, speaking_only(old, authority.context(NAME))) as tunnel:
        with (
            socket.create_connection(("127.0.0.1", tunnel.port)) as plain,
            lenient_client(authority.file, old).wrap_socket(plain, server_hostname=NAME) as inside,
        ):
            inside.sendall(b"PING\r\n")
            assert inside.recv(100) == b"+PONG\r\n", "a client that allows it would be served"
        with handlers(tunnel.port, authority) as call:
            assert_refused(call)
        assert len(tunnel.handshakes) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(
    version: ssl.TLSVersion, server: embedded_valkey.Server, raw: valkey.Valkey, authority: Authority
) -> None:
    with tunnel_to(server.port, speaking_only(version, authority.context(NAME))) as tunnel:
        with handlers(tunnel.port, authority) as call:
            assert call("health", "GET", "/health").status == 200
        assert tunnel.handshakes == [version.name.replace("_", ".")]


def test_the_authorities_are_loaded_once_however_many_connections_and_threads_there_are(
    server: embedded_valkey.Server, raw: valkey.Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)  # nobody has loaded it yet
    made: list[ssl.SSLContext] = []
    make = ssl.create_default_context

    def counting(*arguments: Any, **options: Any) -> ssl.SSLContext:
        time.sleep(0.02)  # a real store of authorities takes this long
        made.append(make(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", counting)
    together = threading.Barrier(8)

    def work(number: int) -> list[int]:
        together.wait()
        statuses = []
        for _ in range(4):
            statuses.append(invokers[number]("health", "GET", "/health").status)
            invokers[number].run(lambda: store.store().close())
        return statuses

    with contextlib.ExitStack() as stack, ThreadPoolExecutor(8) as threads:
        tunnel = stack.enter_context(tunnel_to(server.port, authority.context(NAME)))
        invokers = [stack.enter_context(handlers(tunnel.port, authority)) for _ in range(8)]
        assert list(threads.map(work, range(8))) == [[200] * 4] * 8
    assert len(tunnel.handshakes) == 8 * 4
    assert len(made) == 1


def test_a_handshake_that_hangs_is_503_in_time(authority: Authority) -> None:
    with silent() as port, handlers(port, authority) as call:
        assert_refused(call, "update_score")


def test_the_handshake_is_part_of_connecting_and_has_its_time(authority: Authority) -> None:
    with silent() as port, handlers(port, authority, connect_seconds=0.1, command_seconds=1) as call:
        call.run(lambda: store.tls(str(authority.file)))
        in_time(0.8, lambda: assert_refused(call))  # two tries of 0.1 s each


def test_a_handshake_that_comes_in_drops_is_503_in_time(
    server: embedded_valkey.Server, raw: valkey.Valkey, authority: Authority
) -> None:
    with dripping(authority) as port, handlers(port, authority) as call:
        assert_refused(call)


def dripping(authority: Authority) -> contextlib.AbstractContextManager[int]:
    """A TLS server whose side of the handshake arrives a few bytes at a time."""

    def drip(client: socket.socket, ended: threading.Event) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        inside = authority.context(NAME).wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(client.recv(1 << 16))
        with contextlib.suppress(ssl.SSLWantReadError):
            inside.do_handshake()
        while not ended.wait(0.1):
            client.sendall(outgoing.read(5))

    return serving(drip)


def test_a_tls_connection_that_was_closed_while_idle_is_replaced_unnoticed(
    tunnel: Tunnel, authority: Authority
) -> None:
    with handlers(tunnel.port, authority) as call:
        assert call("health", "GET", "/health").status == 200
        tunnel.cut()
        time.sleep(0.05)
        assert call("sessions", "DELETE", "/sessions/none").status == 404, "a command that is not tried twice"
    assert len(tunnel.handshakes) == 2


def test_a_tls_connection_that_was_forgotten_while_idle_loses_no_request(
    tunnel: Tunnel, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"command_seconds": 5, "deadline_seconds": 2}
    with contextlib.closing(Forgetful(tunnel.port)) as between, handlers(between.port, authority, **settings) as call:
        assert call("health", "GET", "/health").status == 200
        between.forget()
        later = time.time() + store.IDLE_SECONDS
        monkeypatch.setattr(time, "time", lambda: later)
        assert call("sessions", "DELETE", "/sessions/none").status == 404, "a command that is not tried twice"
    assert len(tunnel.handshakes) == 2


def test_a_tls_connection_is_kept_though_the_server_sends_tickets(tunnel: Tunnel, authority: Authority) -> None:
    with handlers(tunnel.port, authority) as call:
        for _ in range(5):
            assert call("health", "GET", "/health").status == 200
            time.sleep(0.05)
    assert tunnel.handshakes == ["TLSv1.3"]


def test_a_server_that_takes_tls_away_later_is_503_and_not_a_plain_connection(
    server: embedded_valkey.Server, tunnel: Tunnel, authority: Authority
) -> None:
    with proxy_to(tunnel.port) as between, handlers(between.port, authority) as call:
        assert call("health", "GET", "/health").status == 200
        between.target = server.port
        tunnel.cut()
        time.sleep(0.05)
        assert_refused(call)
        between.target = tunnel.port
        assert call("health", "GET", "/health").status == 200
