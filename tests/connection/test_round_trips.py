"""What a request costs on the wire: one round trip for a read, two for a write, counted by a proxy in between."""

from __future__ import annotations

import json
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import valkey

from scripts.local import embedded_valkey, examples
from scripts.local.examples import Example
from shared.store import IDLE_SECONDS
from tests.support import contract
from tests.support.api import fresh_id
from tests.support.invoking import Invoker, invoker
from tests.support.wires import Proxy, proxy_to

REQUESTS = examples.load({"userId": "ada"})

READS = [name for name, example in REQUESTS.items() if example.method == "GET" and not example.needs_a_token]

LARGE = {"leaderboard": {"limit": 100}, "nearby": {"range": 50}}
"""Queries that ask for as much as there is, where the examples ask for less."""

LISTS = [operation for operation in READS if REQUESTS[operation].tag in ("leaderboard", "statistics")]
"""The operations whose replies everybody sees."""

SCRIPTED_READS = ("leaderboard", "nearby")


def create(call: Invoker, user_id: str, score: int = 0) -> None:
    """Makes a player through the handler."""
    body = {"userId": user_id, "username": "Ada", "email": "ada@example.com", "score": score}
    assert call("create_user", "POST", "/users", json_body=body).status == 201


@pytest.fixture
def proxy(server: embedded_valkey.Server, raw: valkey.Valkey) -> Iterator[Proxy]:
    """The proxy that counts."""
    with proxy_to(server.port) as between:
        yield between


@pytest.fixture
def call(proxy: Proxy) -> Iterator[Invoker]:
    """Handlers behind the proxy, connected, with their scripts known and a hundred players on the board."""
    with invoker(proxy.port) as handlers:
        for number in range(100):
            create(handlers, f"player-{number}", number // 2)
        create(handlers, "ada", 25)
        handlers("update_score", "PUT", "/users/ada/score", json_body={"score": 26})
        for operation in READS:
            handlers.ask(REQUESTS[operation])
        yield handlers


@pytest.fixture
def trips(proxy: Proxy, call: Invoker) -> Callable[..., int]:
    """How many round trips a call makes; its status is checked."""

    def count(status: int, *request: Any, **more: Any) -> int:
        before = proxy.trips
        answer = call(*request, **more)
        assert answer.status == status, answer.body
        return proxy.trips - before

    return count


@pytest.fixture
def there(call: Invoker) -> dict[str, Example]:
    """The requests, for a player and a session that exist."""
    return examples.load({**examples.existing(lambda example: call.ask(example).json()), "userId": "ada"})


def parts(example: Example) -> tuple[str, str, str]:
    """Function, method and path."""
    return example.function, example.method, example.target


@pytest.mark.parametrize("operation", READS)
def test_a_read_is_one_round_trip(operation: str, trips: Callable[..., int], there: dict[str, Example]) -> None:
    assert trips(200, *parts(there[operation])) == 1


@pytest.mark.parametrize("operation", LARGE)
def test_as_much_as_there_is_is_one_round_trip_too(operation: str, trips: Callable[..., int]) -> None:
    example = replace(REQUESTS[operation], query=LARGE[operation])
    assert trips(200, *parts(example)) == 1


@pytest.mark.parametrize(
    ("path", "count"),
    [("/users/nobody", 1), ("/users/nobody/rank", 2), ("/users/nobody/nearby", 2), ("/sessions/none", 1)],
)
def test_looking_for_what_is_not_there_is_one_round_trip_or_a_second_one_to_see_why(
    path: str, count: int, trips: Callable[..., int]
) -> None:
    """Who is on no board may be hidden: that stands in the profile alone."""
    operation, _ = contract.find("GET", path)
    assert operation
    assert trips(404, operation.function, "GET", path) == count


def test_a_creation_is_two_round_trips(trips: Callable[..., int]) -> None:
    body = {"username": "Ada", "email": "ada@example.com", "score": 7}
    assert trips(201, "create_user", "POST", "/users", json_body=body) == 2
    assert trips(201, "create_user", "POST", "/users", json_body={**body, "userId": fresh_id()}) == 2


def test_a_submission_is_two_round_trips(trips: Callable[..., int]) -> None:
    assert trips(200, "update_score", "PUT", "/users/ada/score", json_body={"score": 30}) == 2


def test_a_refused_write_takes_two_round_trips_the_second_to_clear_its_intent(trips: Callable[..., int]) -> None:
    taken = {"userId": "ada", "username": "Ada", "email": "ada@example.com"}
    assert trips(409, "create_user", "POST", "/users", json_body=taken) == 2
    assert trips(404, "update_score", "PUT", "/users/nobody/score", json_body={"score": 30}) == 2


def test_a_key_costs_no_round_trip(trips: Callable[..., int]) -> None:
    def key() -> dict[str, str]:
        return {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json"}

    new = json.dumps({"username": "Ada", "email": "ada@example.com"})
    assert trips(200, "update_score", "PUT", "/users/ada/score", body='{"score": 30}', headers=key()) == 2
    assert trips(201, "create_user", "POST", "/users", body=new, headers=key()) == 2
    assert trips(201, "sessions", "POST", "/sessions", body='{"userId": "ada"}', headers=key()) == 2


def test_a_session_is_created_and_ended_in_two_round_trips_each(
    trips: Callable[..., int], there: dict[str, Example], raw: valkey.Valkey
) -> None:
    """The player's record first, then the session; and the other way round."""
    create = ("sessions", "POST", "/sessions")
    assert trips(201, *create, json_body={"userId": "ada", "sessionData": {"a": 1}}) == 2
    assert trips(204, *parts(there["sessions.delete"])) == 2
    assert trips(404, *parts(there["sessions.delete"])) == 1
    trips(404, *create, json_body={"userId": "nobody"})  # from now on the server knows the script
    assert trips(404, *create, json_body={"userId": "nobody"}) == 2, "the second to take it out of the record"
    one = {"json_body": {"userId": "ada"}, "headers": {"Idempotency-Key": "one"}}
    assert [trips(201, *create, **one) for _ in range(2)] == [2, 2], (
        "a replay opens nothing, and looks in the same trips"
    )
    for key in (*raw.scan_iter("session:*"), "{user:ada}:sessions"):
        raw.delete(key)
    assert trips(201, *create, **one) == 3, "of one that has ended: the third to take it out again"


def test_bad_arguments_are_refused_without_a_round_trip(trips: Callable[..., int]) -> None:
    assert trips(400, "leaderboard", "GET", "/leaderboard?limit=0") == 0
    assert trips(400, "update_score", "PUT", "/users/ada/score", json_body={"score": "30"}) == 0


@pytest.mark.parametrize("score", [-1, 10**12 + 1])
def test_a_score_out_of_range_is_refused_without_a_round_trip_unless_a_key_may_have_a_receipt(
    score: int, trips: Callable[..., int], call: Invoker
) -> None:
    names = {"username": "Ada", "email": "ada@example.com"}
    writes = (
        ("create_user", "POST", "/users", {**names, "score": score}),
        ("update_score", "PUT", "/users/ada/score", {"score": score}),
        ("update_score", "PUT", "/users/nobody/score", {"score": score, "operator": "set"}),
    )
    for *given, body in writes:
        assert trips(400, *given, json_body=body) == 0
        assert trips(400, *given, json_body=body, headers={"Idempotency-Key": str(uuid.uuid4())}) == 2
        answers = [call(*given, json_body=body, headers=headers).json() for headers in ({}, {"Idempotency-Key": "one"})]
        assert answers[0]["errors"] == answers[1]["errors"]


def test_what_a_score_becomes_is_judged_where_it_is_known(trips: Callable[..., int]) -> None:
    score = ("update_score", "PUT", "/users/ada/score")
    assert trips(200, *score, json_body={"score": -1, "operator": "best"}) == 2, "it changes nothing"
    assert trips(400, *score, json_body={"score": 10**12 + 1, "operator": "best"}) == 2
    assert trips(400, *score, json_body={"score": 10**12, "operator": "increment"}) == 2
    assert trips(200, *score, json_body={"score": -1, "operator": "decrement"}) == 2


@pytest.mark.parametrize("operation", SCRIPTED_READS)
def test_a_read_whose_script_the_server_forgot_costs_one_trip_more(
    operation: str, trips: Callable[..., int], there: dict[str, Example], raw: valkey.Valkey
) -> None:
    raw.script_flush()
    assert trips(200, *parts(there[operation])) == 2
    assert trips(200, *parts(there[operation])) == 1, "the server knows it again"


def test_a_write_whose_scripts_the_server_forgot_costs_one_trip_more_for_each(
    trips: Callable[..., int], raw: valkey.Valkey
) -> None:
    score = ("update_score", "PUT", "/users/ada/score")
    raw.script_flush()
    assert trips(200, *score, json_body={"score": 31}) == 4
    assert trips(200, *score, json_body={"score": 32}) == 2, "the server knows them again"
    raw.script_flush()
    assert trips(201, "create_user", "POST", "/users", json_body={"username": "A", "email": "a@example.com"}) == 4


def test_requests_of_one_thread_share_one_connection(
    proxy: Proxy, trips: Callable[..., int], there: dict[str, Example]
) -> None:
    for operation in READS:
        trips(200, *parts(there[operation]))
    assert proxy.connections == 1


def test_a_new_connection_costs_no_round_trip(proxy: Proxy, raw: valkey.Valkey) -> None:
    with invoker(proxy.port) as call:
        assert call("health", "GET", "/health").status == 200
        assert proxy.trips == 1


def test_replacing_an_idle_connection_costs_no_round_trip(
    proxy: Proxy, trips: Callable[..., int], there: dict[str, Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + IDLE_SECONDS
    monkeypatch.setattr(time, "time", lambda: later)
    for operation in READS:
        assert trips(200, *parts(there[operation])) == 1
    assert trips(204, *parts(there["sessions.delete"])) == 2
    assert proxy.connections == 2


@pytest.mark.parametrize("operation", LISTS)
def test_what_everybody_sees_never_reads_a_profile(
    operation: str, call: Invoker, server: embedded_valkey.Server
) -> None:
    with Watch(server) as watch:
        assert call.ask(REQUESTS[operation]).status == 200
        commands = watch.commands()
    assert any("leaderboard:global" in command for command in commands), commands
    assert not [command for command in commands if '"user:' in command]


def test_the_watch_sees_profiles_where_they_are_read(call: Invoker, server: embedded_valkey.Server) -> None:
    with Watch(server) as watch:
        call.ask(REQUESTS["get_user"])
        assert [command for command in watch.commands() if '"user:ada"' in command]


class Watch:
    """Every command that a server runs meanwhile, with those of scripts."""

    def __init__(self, server: embedded_valkey.Server):
        self._address = (server.host, server.port)

    def __enter__(self) -> Watch:
        self._socket = socket.create_connection(self._address, timeout=5)
        self._lines = self._socket.makefile("rb")
        self._socket.sendall(b"MONITOR\r\n")
        assert self._lines.readline() == b"+OK\r\n"
        return self

    def commands(self) -> list[str]:
        """The commands so far, as MONITOR prints them."""
        mark = fresh_id("mark")
        with socket.create_connection(self._address, timeout=5) as other:
            other.sendall(f"ECHO {mark}\r\n".encode())
            other.recv(100)
        found: list[str] = []
        for line in self._lines:
            text = line.decode()
            if mark in text:
                return found
            found.append(re.sub(r"^\S+ \[.*?\] ", "", text))
        raise AssertionError("the server ended the watch")

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()
