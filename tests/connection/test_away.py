"""Valkey away, slow or unable: every operation answers 503 in time, no caller gets another's reply, and it recovers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import valkey

from scripts.local import embedded_valkey, keys
from scripts.local.examples import Example
from scripts.local.proxy import Context
from tests.support import contract, guarded, processes
from tests.support.api import Api
from tests.support.invoking import Invoker, invoker
from tests.support.patience import ANSWER_SECONDS, in_time, wait_until
from tests.support.wires import Proxy, free_port, is_listening, proxy_to, serving, silent, unaccepting

REQUESTS = {
    **contract.asking_valkey({"userId": "ada"}),
    "erase_user": contract.asking_valkey({"userId": "eve"})["erase_user"],
}
"""A good request for every operation that asks Valkey; nobody but Eve is erased."""

WRITES = {operation for operation, example in REQUESTS.items() if example.changes}


def assert_unavailable(operation: str, response: httpx.Response, seconds: float) -> None:
    """Asserts that a reply is a 503, in time, and says when to come back."""
    assert response.status_code == 503, f"{operation}: {response.text}"
    assert int(response.headers["retry-after"]) > 0
    assert seconds < ANSWER_SECONDS, operation
    if operation == "health":
        body = response.json()
        assert (body["status"], body["valkey"]["connected"]) == ("unhealthy", False)
    elif operation == "health.head":
        assert response.content == b""
    else:
        assert response.json()["code"] == "unavailable"


def timed(api: Api, operation: str) -> tuple[str, httpx.Response, float]:
    """An operation's reply, and how long it took."""
    began = time.monotonic()
    response = api.ask(REQUESTS[operation])
    return operation, response, time.monotonic() - began


def ask_all(api: Api) -> list[tuple[str, httpx.Response, float]]:
    """The replies of all operations, asked at the same time on new connections."""
    again = Api(api.base_url, able=api.able)
    try:
        with ThreadPoolExecutor(len(REQUESTS)) as threads:
            return list(threads.map(lambda operation: timed(again, operation), REQUESTS))
    finally:
        again.close()


@contextlib.contextmanager
def serving_all(folder: Path, valkey_port: int) -> Iterator[Api]:
    """The API of a gateway of its own, for somebody who may do everything."""
    keys_folder = folder / "keys"
    keys_folder.mkdir()
    settings = {"ACCESS": "protected", **keys.settings(keys_folder)}
    with (
        processes.gateway(folder, valkey_port, **settings) as base_url,
        guarded.client(guarded.Guarded(base_url, keys_folder)) as api,
    ):
        yield api


@contextlib.contextmanager
def closed() -> Iterator[int]:
    """A port on which nobody listens."""
    yield free_port()


@pytest.mark.parametrize("away", [closed, silent, unaccepting])
def test_every_route_answers_503_in_time_when_valkey_is_away(
    away: Callable[[], contextlib.AbstractContextManager[int]], tmp_path: Path
) -> None:
    with away() as port, serving_all(tmp_path, port) as api:
        for _ in range(2):
            for operation, response, seconds in ask_all(api):
                assert_unavailable(operation, response, seconds)


def test_a_score_out_of_range_is_400_though_valkey_is_away_and_503_with_a_key_that_may_have_a_receipt() -> None:
    score = ("update_score", "PUT", "/users/ada/score")
    with closed() as port, invoker(port) as call:
        assert call(*score, json_body={"score": -1}).status == 400
        assert call(*score, json_body={"score": -1}, headers={"Idempotency-Key": "one"}).status == 503
        assert call(*score, json_body={"score": -1, "operator": "best"}).status == 503


@pytest.fixture
def own_raw(own_server: embedded_valkey.Server) -> Iterator[valkey.Valkey]:
    """A client of the server that is mistreated, which is empty at first."""
    with valkey.Valkey(host=own_server.host, port=own_server.port, decode_responses=True) as client:
        client.flushall()
        yield client


@contextlib.contextmanager
def stopped(server: embedded_valkey.Server) -> Iterator[None]:
    """Makes a server hang: connections stay open, and the system accepts new ones for it."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def test_a_valkey_that_hangs_is_503_and_is_used_again_at_once_when_it_goes_on(
    own_server: embedded_valkey.Server, own_raw: valkey.Valkey, tmp_path: Path
) -> None:
    with serving_all(tmp_path, own_server.port) as api:
        api.create(userId="ada", score=1)
        session = api.post("/sessions", json={"userId": "ada"}).json()["session"]
        for _ in range(2):
            ask_all(api)  # connections of many workers, some of which stay idle
            with stopped(own_server):
                for operation, response, seconds in ask_all(api):
                    assert_unavailable(operation, response, seconds)
            assert api.put("/users/ada/score", json={"score": 7}).status_code == 200
            for operation, response, _ in ask_all(api):
                assert response.status_code < 500, f"{operation}: {response.text}"
        assert api.get(f"/sessions/{session['sessionId']}").json() == {"session": session}


def test_a_valkey_that_was_killed_is_used_again_by_the_next_request_when_it_is_back(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(contextlib.ExitStack())
        server = first.enter_context(embedded_valkey.running(tmp_path / "valkey", durable=True))
        proxy = stack.enter_context(proxy_to(server.port))
        api = stack.enter_context(serving_all(tmp_path, proxy.port))
        api.create(userId="ada", score=1)
        ask_all(api)
        os.kill(server.pid, signal.SIGKILL)
        first.close()
        for operation, response, seconds in ask_all(api):
            assert_unavailable(operation, response, seconds)
        again = stack.enter_context(embedded_valkey.running(tmp_path / "valkey", durable=True))
        proxy.target = again.port
        assert api.get("/health").status_code == 200
        written = api.put("/users/ada/score", json={"score": 7})
        assert written.status_code == 200, "a write at the first try"
        assert written.json()["user"]["score"] == 7
        for operation, response, _ in ask_all(api):
            assert response.status_code < 500, f"{operation}: {response.text}"


@pytest.fixture
def proxy(own_server: embedded_valkey.Server, own_raw: valkey.Valkey) -> Iterator[Proxy]:
    """The proxy that cuts connections and delays replies."""
    with proxy_to(own_server.port) as between:
        yield between


@pytest.fixture
def call(proxy: Proxy) -> Iterator[Invoker]:
    """Impatient handlers behind the proxy, with three players."""
    with invoker(proxy.port, command_seconds=0.3, access="protected") as handlers:
        for user_id, score in (("ada", 1), ("bob", 2), ("eve", 0)):
            body = {"userId": user_id, "username": user_id, "email": f"{user_id}@example.com", "score": score}
            assert handlers("create_user", "POST", "/users", json_body=body).status == 201
        yield handlers


@pytest.mark.parametrize("operation", REQUESTS)
def test_a_connection_that_was_closed_while_idle_is_replaced_unnoticed(
    operation: str, call: Invoker, proxy: Proxy, own_raw: valkey.Valkey
) -> None:
    before = proxy.connections
    own_raw.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    time.sleep(0.05)
    answer = call.ask(REQUESTS[operation])
    assert answer.status < 500, answer.body
    assert proxy.connections == before + 1


def test_after_a_time_out_nobody_gets_the_reply_that_comes_late(call: Invoker, proxy: Proxy) -> None:
    started = [
        call("sessions", "POST", "/sessions", json_body={"userId": user_id}).json()["session"]
        for user_id in ("ada", "bob")
    ]
    proxy.delay_seconds = 0.5
    assert call("get_user", "GET", "/users/ada").status == 503
    proxy.delay_seconds = 0
    for _ in range(2):
        for user_id, session in zip(("bob", "ada"), reversed(started), strict=True):
            assert call("get_user", "GET", f"/users/{user_id}").json()["user"]["username"] == user_id
            session_id = session["sessionId"]
            assert call("sessions", "GET", f"/sessions/{session_id}").json() == {"session": session}
        time.sleep(0.3)


def test_after_a_write_timed_out_the_next_reply_is_its_own(call: Invoker, proxy: Proxy) -> None:
    proxy.delay_seconds = 0.5
    assert call("update_score", "PUT", "/users/ada/score", json_body={"score": 111}).status == 503
    proxy.delay_seconds = 0
    answer = call("update_score", "PUT", "/users/bob/score", json_body={"score": 222})
    assert (answer.json()["user"]["userId"], answer.json()["user"]["score"]) == ("bob", 222)
    assert call("get_user", "GET", "/users/bob").json()["user"]["score"] == 222


def test_a_read_whose_reply_was_lost_is_asked_once_more(call: Invoker, proxy: Proxy) -> None:
    trips = proxy.trips
    proxy.cuts = 1
    assert call("rank", "GET", "/users/ada/rank").json()["rank"]["score"] == 1
    assert proxy.trips == trips + 2
    proxy.cuts = 2
    assert call("rank", "GET", "/users/ada/rank").status == 503
    assert proxy.trips == trips + 4
    assert call("rank", "GET", "/users/ada/rank").status == 200


def test_a_write_whose_reply_was_lost_is_sent_again_and_counts_once(call: Invoker, proxy: Proxy) -> None:
    def trips(example: Example) -> int:
        before = proxy.trips
        assert call.ask(example).status == example.status
        return proxy.trips - before

    for example in (each for each in REQUESTS.values() if each.is_keyed):
        trips(example)  # now the server knows its scripts
        usual = trips(example)
        proxy.cuts = 1
        assert trips(example) == usual + 1, example
    assert call("get_user", "GET", "/users/ada").json()["user"]["gamesPlayed"] == 3


def test_an_ending_whose_reply_was_lost_is_not_sent_again(call: Invoker, proxy: Proxy) -> None:
    proxy.cuts = 1
    assert call.ask(REQUESTS["sessions.delete"]).status == 503


@pytest.mark.parametrize("operation", REQUESTS)
@pytest.mark.parametrize(("left", "most"), [(0.6, 0.6), (0.2, 0.2), (0.0, 0.2)])
def test_work_stops_before_lambda_would_end_the_function(operation: str, left: float, most: float) -> None:
    with silent() as port, invoker(port, access="protected") as call:
        answer = in_time(most, lambda: call.ask(REQUESTS[operation], context=Context(left)))
        assert answer.status == 503


def test_work_stops_at_our_own_deadline_however_much_time_lambda_leaves() -> None:
    with silent() as port, invoker(port, deadline_seconds=0.3) as call:
        assert in_time(1, lambda: call("rank", "GET", "/users/ada/rank", context=Context(900))).status == 503


def test_connecting_leaves_the_command_half_of_the_time() -> None:
    settings = {"connect_seconds": 10, "command_seconds": 10, "deadline_seconds": 2}
    with unaccepting() as port, invoker(port, **settings) as call:
        assert in_time(1.9, lambda: call("rank", "GET", "/users/ada/rank")).status == 503  # a second, and a half


def test_a_slow_sign_in_and_a_slow_command_do_not_outlast_the_deadline_together() -> None:
    with hesitating() as port, invoker(port, deadline_seconds=1, valkey_password="secret") as call:
        assert in_time(1.3, lambda: call("rank", "GET", "/users/ada/rank")).status == 503


def hesitating() -> contextlib.AbstractContextManager[int]:
    """A server that takes its time for the sign-in, and has nothing else to say."""

    def hesitate(client: socket.socket, ended: threading.Event) -> None:
        client.recv(1 << 16)
        ended.wait(0.4)
        client.sendall(b"+OK\r\n")
        ended.wait(2 * ANSWER_SECONDS)

    return serving(hesitate)


def test_a_reply_that_comes_in_drops_does_not_outlast_the_deadline() -> None:
    with dripping() as port, invoker(port) as call:
        assert in_time(ANSWER_SECONDS, lambda: call("rank", "GET", "/users/ada/rank")).status == 503


def dripping() -> contextlib.AbstractContextManager[int]:
    """A server whose reply trickles in: a byte every so often, for twice as long as an answer may take."""

    def drip(client: socket.socket, ended: threading.Event) -> None:
        ends = time.monotonic() + 2 * ANSWER_SECONDS
        client.recv(1 << 16)
        client.sendall(b"$1000000\r\n")
        while not ended.wait(0.2) and time.monotonic() < ends:
            client.sendall(b"x")

    return serving(drip)


def refused_operations(call: Invoker) -> set[str]:
    """The operations that answer 503 now. None may answer worse, and a 503 must say when to come back."""
    refused = set()
    for operation, example in REQUESTS.items():
        answer = call.ask(example)
        assert answer.status < 500 or answer.status == 503, f"{operation}: {answer.body!r}"
        if answer.status == 503:
            assert int(answer.headers["Retry-After"]) > 0
            refused.add(operation)
    return refused


def test_a_full_valkey_refuses_writes_with_503_and_still_serves_reads(call: Invoker, own_raw: valkey.Valkey) -> None:
    own_raw.config_set("maxmemory", 1)
    try:
        assert refused_operations(call) == {write for write in WRITES if REQUESTS[write].method != "DELETE"}
        assert call("rank", "GET", "/users/ada/rank").json()["rank"]["score"] == 1
    finally:
        own_raw.config_set("maxmemory", 0)
    assert refused_operations(call) == set()


def test_a_cluster_that_is_down_is_503_and_is_used_again_when_it_is_up(call: Invoker, own_raw: valkey.Valkey) -> None:
    own_raw.config_set("cluster-node-timeout", 500)  # the server derives from it how long it hesitates afterwards
    own_raw.execute_command("CLUSTER", "DELSLOTSRANGE", 0, 16383)
    try:
        wait_until(lambda: own_raw.execute_command("CLUSTER INFO")["cluster_state"] == "fail")
        assert refused_operations(call) == {
            operation for operation in REQUESTS if REQUESTS[operation].function != "health"
        }
    finally:
        own_raw.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: own_raw.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
    assert refused_operations(call) == set()


def test_a_valkey_busy_with_a_script_is_503(call: Invoker, own_raw: valkey.Valkey, own_server: Any) -> None:
    own_raw.config_set("busy-reply-threshold", 50)
    with valkey.Valkey(host=own_server.host, port=own_server.port) as other:
        endless = threading.Thread(target=run_endless_script, args=(other,))
        endless.start()
        try:
            time.sleep(0.3)
            assert refused_operations(call) == set(REQUESTS)
        finally:
            own_raw.script_kill()
            endless.join()
    assert refused_operations(call) == set()


def run_endless_script(client: valkey.Valkey) -> None:
    """Runs until somebody kills the script."""
    with contextlib.suppress(valkey.ResponseError):
        client.eval("while true do end", 0)


@contextlib.contextmanager
def plain_server(folder: Path, **options: object) -> Iterator[int]:
    """The port of a server without a cluster, for what a cluster's node cannot be."""
    port = free_port()
    options = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": "", **options}
    flags = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    binary = embedded_valkey.binary()
    with subprocess.Popen([binary, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: is_listening(port))
            yield port
        finally:
            process.kill()


def test_a_replica_is_503_for_writes(tmp_path: Path) -> None:
    theirs = {operation for operation in WRITES if REQUESTS[operation].target.startswith("/users/")}
    replica = plain_server(tmp_path, replicaof=f"127.0.0.1 {free_port()}")
    with replica as port, invoker(port, access="protected") as call:
        assert WRITES - theirs <= refused_operations(call) <= WRITES  # the player is not there


def test_a_replica_without_its_primary_is_503(tmp_path: Path) -> None:
    options = {"replicaof": f"127.0.0.1 {free_port()}", "replica_serve_stale_data": "no"}
    with plain_server(tmp_path, **options) as port, invoker(port, access="protected") as call:
        assert refused_operations(call) >= set(REQUESTS) - {"health"}


def test_a_valkey_that_loads_its_data_is_503_and_is_used_when_it_is_done(tmp_path: Path) -> None:
    with plain_server(tmp_path) as port, valkey.Valkey(port=port) as client:
        client.mset({f"key{number}": "x" * 100 for number in range(3000)})
        client.save()
    loading = plain_server(tmp_path, key_load_delay=1000, loading_process_events_interval_bytes=1024)
    with loading as port, invoker(port, access="protected") as call:
        assert refused_operations(call) == set(REQUESTS)
        wait_until(lambda: call("health", "GET", "/health").status == 200)
        assert refused_operations(call) == set()
