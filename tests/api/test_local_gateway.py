"""Which hosts the local gateway answers, and how long it waits for a request."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from scripts.local import embedded_valkey
from scripts.local import gateway as local_gateway
from tests.support import contract

SECONDS = 0.3


def status(base_url: str, hosts: list[str], path: str = "/health", method: str = "GET") -> int:
    """The status of a request with these Host headers. A refusal must be a problem."""
    address = httpx.URL(base_url)
    lines = [f"{method} {path} HTTP/1.1", *(f"Host: {host}" for host in hosts), "Connection: close", "", ""]
    with socket.create_connection((address.host, address.port or 80), timeout=5) as sock:
        sock.sendall("\r\n".join(lines).encode())
        head, _, body = received(sock).partition(b"\r\n\r\n")
    code = int(head.split()[1])
    if code == 421:
        headers = httpx.Headers([tuple(line.split(b": ", 1)) for line in head.split(b"\r\n")[1:]])
        contract.check_problem(code, headers, json.loads(body))
        assert b"evil" not in head + body, "a host comes back"
    return code


def received(sock: socket.socket) -> bytes:
    """Everything that arrives until the other side closes."""
    found = bytearray()
    while data := sock.recv(65536):
        found += data
    return bytes(found)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "localhost", "LocalHost:1", "[::1]", "[::1]:8080", "localhost:"]
)
def test_loopback_is_answered_on_any_port(gateway: str, host: str) -> None:
    assert status(gateway, [host]) == 200


@pytest.mark.parametrize(
    "hosts",
    [
        ["evil.example"],
        ["evil.example:8080"],
        ["localhost.evil.example"],
        ["127.0.0.1.evil.example"],
        ["127.0.0.1@evil.example"],
        ["localhost:8080:1"],
        [""],
        [],
        ["localhost", "evil.example"],
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/health"), ("GET", "/stats"), ("OPTIONS", "/users"), ("GET", "/x")]
)
def test_another_host_is_refused(gateway: str, hosts: list[str], method: str, path: str) -> None:
    assert status(gateway, hosts, path, method) == 421


@pytest.mark.parametrize("path", ["/health", "/health?unknown=1", "/nowhere"])
def test_a_reply_to_head_has_no_body_and_claims_no_length_of_its_own(gateway: str, path: str) -> None:
    with httpx.Client(trust_env=False) as client:
        got, headed = (client.request(method, gateway + path) for method in ("GET", "HEAD"))
    assert (headed.status_code, headed.content) == (got.status_code, b"")
    assert headed.headers.get("content-length", got.headers["content-length"]) == got.headers["content-length"]
    assert headed.headers["content-type"] == got.headers["content-type"]


def test_a_setting_adds_hosts(server: embedded_valkey.Server) -> None:
    with local_gateway.running({"ALLOWED_HOSTS": "Game.test, other.test"}) as base_url:
        found = [status(base_url, [host]) for host in ("game.test:80", "other.test", "localhost", "third.test", "*")]
    assert found == [200, 200, 200, 421, 421]
    with local_gateway.running({"ALLOWED_HOSTS": "*"}) as base_url:
        assert status(base_url, ["third.test"]) == 200


@pytest.fixture
def hasty(server: embedded_valkey.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """The address of a gateway that waits for less than a second."""
    monkeypatch.setattr(local_gateway, "REQUEST_SECONDS", SECONDS)
    with local_gateway.running({}) as base_url:
        address = httpx.URL(base_url)
        yield address.host, address.port or 80


def drip(address: tuple[str, int], first: bytes, drop: bytes) -> tuple[bytes, float]:
    """What a client receives that sends a drop at a time, and how many seconds it takes until the connection closes."""
    began = time.monotonic()
    found = b""
    with socket.create_connection(address, timeout=0.05) as sock:
        sock.sendall(first)
        while time.monotonic() < began + 5:
            try:
                data = sock.recv(65536)
                if not data:
                    break
                found += data
            except TimeoutError:
                sock.sendall(drop)
            except ConnectionError:
                break
    return found, time.monotonic() - began


HEAD = b"POST /users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n"


def test_a_slow_body_is_told_that_its_time_is_over(hasty: tuple[str, int]) -> None:
    found, seconds = drip(hasty, HEAD + b"\r\n{", b" ")
    assert found.startswith(b"HTTP/1.1 408 ")
    assert json.loads(found.partition(b"\r\n\r\n")[2])["code"] == "request_timeout"
    assert SECONDS <= seconds < 3


@pytest.mark.parametrize("first", [b"", HEAD], ids=["nothing", "half a head"])
def test_a_slow_head_is_cut_off(hasty: tuple[str, int], first: bytes) -> None:
    found, seconds = drip(hasty, first, b"X: y\r\n" if first else b"")
    assert found == b""
    assert SECONDS <= seconds < 3


def test_a_body_that_nobody_reads_is_cut_off_too(hasty: tuple[str, int]) -> None:
    found, seconds = drip(hasty, HEAD.replace(b"/users", b"/nothing") + b"\r\n{", b" ")
    assert found.startswith(b"HTTP/1.1 404 ")
    assert SECONDS <= seconds < 3


def test_a_connection_outlives_its_requests(hasty: tuple[str, int]) -> None:
    with socket.create_connection(hasty, timeout=5) as sock:
        for _ in range(2):
            sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            found = b""
            while not found.endswith(b"}"):  # head and body may come one after the other
                found += (more := sock.recv(65536))
                assert more
            assert found.startswith(b"HTTP/1.1 200 ")
            time.sleep(2 * SECONDS)
