"""Lambda's init: it makes the connection that the first request finds, and nothing that goes wrong in it is fatal."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import valkey

from scripts.local import embedded_valkey
from scripts.places import ROOT
from tests.support import lines, processes
from tests.support.invoking import event
from tests.support.wires import Proxy, free_port, proxy_to, silent, unaccepting

ENVIRONMENT = """
import json, socket, sys, time

if "hanging" in sys.argv:
    socket.getaddrinfo = lambda *_, **__: time.sleep(60)
import shared.problems, valkey  # which may take long on a busy machine
began = time.monotonic()
from functions.rank.handler import handler

print(json.dumps({"init": time.monotonic() - began}), flush=True)
for line in sys.stdin:
    print(json.dumps({"status": handler(json.loads(line), None)["statusCode"]}), flush=True)
"""
"""A function's process: it prints how long its init took, then answers the events that it reads."""

REQUEST = json.dumps(event("GET", "/users/nobody/rank")) + "\n"

SERVING = ("on-demand", "provisioned-concurrency")
"""The kinds of environment whose init connects for their requests."""

INIT_SECONDS = 10
"""How long Lambda lets an init take."""


class Environment:
    """A function's process after its init."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process
        self.log: list[dict[str, Any]] = []
        self.init_seconds: float = self._said("init")

    def ask(self) -> int:
        """The status of a request's answer."""
        assert self._process.stdin
        self._process.stdin.write(REQUEST)
        self._process.stdin.flush()
        status: int = self._said("status")
        return status

    def _said(self, name: str) -> Any:
        assert self._process.stdout
        for line in self._process.stdout:
            said = json.loads(line)
            if name in said and "message" not in said:
                return said[name]
            lines.check(line)
            self.log.append(said)
        raise AssertionError("it has ended")


@contextlib.contextmanager
def initialized(kind: str | None, *arguments: str, **settings: object) -> Iterator[Environment]:
    """An environment of that kind, which must exit cleanly."""
    kinds = {} if kind is None else {"AWS_LAMBDA_INITIALIZATION_TYPE": kind}
    process = subprocess.Popen(
        [sys.executable, "-c", ENVIRONMENT, *arguments],
        cwd=ROOT,
        env=processes.environment(**kinds, **{name.upper(): value for name, value in settings.items()}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Environment(process)
            assert process.stdin
            process.stdin.close()
            assert process.wait(30) == 0
        finally:
            process.kill()


@pytest.fixture
def proxy(server: embedded_valkey.Server, raw: valkey.Valkey) -> Iterator[Proxy]:
    """A proxy that counts connections."""
    with proxy_to(server.port) as between:
        yield between


@pytest.mark.parametrize("kind", SERVING)
def test_the_first_request_finds_the_connection_that_init_made(kind: str, proxy: Proxy) -> None:
    with initialized(kind, valkey_host="127.0.0.1", valkey_port=proxy.port) as environment:
        assert proxy.connections == 1
        assert environment.ask() == 404
        assert proxy.connections == 1
    assert [line["message"] for line in environment.log] == ["request answered"]


@pytest.mark.parametrize("kind", [None, "snap-start", "lambda-managed-instances"])
def test_elsewhere_nothing_is_connected_before_the_first_request(kind: str | None, proxy: Proxy) -> None:
    with initialized(kind, valkey_host="127.0.0.1", valkey_port=proxy.port) as environment:
        assert proxy.connections == 0
        assert environment.ask() == 404
        assert proxy.connections == 1


@contextlib.contextmanager
def closed() -> Iterator[int]:
    """A port that nobody listens on."""
    yield free_port()


@pytest.mark.parametrize(
    ("away", "settings"),
    [
        (closed, {}),
        (unaccepting, {"connect_seconds": 10}),
        (silent, {"valkey_password": "secret", "connect_seconds": 10}),
        (silent, {"valkey_tls": 1, "connect_seconds": 10}),
    ],
)
def test_a_valkey_that_is_away_neither_ends_init_nor_holds_it_up(
    away: Callable[[], contextlib.AbstractContextManager[int]], settings: dict[str, object]
) -> None:
    with (
        away() as port,
        initialized("on-demand", **{"valkey_host": "127.0.0.1", "valkey_port": port, **settings}) as it,
    ):
        assert [line["message"] for line in it.log] == ["early connection failed"]
        assert it.init_seconds < INIT_SECONDS
        assert it.ask() == 503


def test_a_resolver_that_hangs_does_not_hold_init_up() -> None:
    with initialized("on-demand", "hanging", valkey_host="cache.test", connect_seconds=10) as environment:
        assert environment.log[0]["cause"] == "TimeoutError"
        assert environment.init_seconds < INIT_SECONDS


def test_a_sign_in_that_was_lost_is_made_up_for_by_the_first_request(proxy: Proxy, raw: valkey.Valkey) -> None:
    raw.execute_command("ACL", "SETUSER", "early", "on", ">secret", "~*", "+@all")
    proxy.cuts = 1
    try:
        settings = {"valkey_port": proxy.port, "valkey_user": "early", "valkey_password": "secret"}
        with initialized("on-demand", valkey_host="127.0.0.1", **settings) as environment:
            assert [(line["level"], line["message"]) for line in environment.log] == [
                ("WARNING", "early connection failed")
            ]
            assert environment.ask() == 404
            assert proxy.connections == 2
    finally:
        raw.execute_command("ACL", "DELUSER", "early")


@pytest.mark.parametrize(
    ("settings", "named"),
    [({}, "VALKEY_HOST"), ({"valkey_host": "127.0.0.1", "command_seconds": "soon"}, "COMMAND_SECONDS")],
)
def test_a_wrong_setting_is_named_by_the_first_request(settings: dict[str, object], named: str) -> None:
    with initialized("on-demand", **settings) as environment:
        assert environment.log[0]["cause"] == "MisconfiguredError"
        assert environment.ask() == 500
        assert named in next(line["cause"] for line in environment.log if line["message"] == "request failed")
