"""Servers that die, come back and swap roles: nothing acknowledged is lost or counted twice, and work goes on."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import valkey

from scripts.local import embedded_valkey, examples
from shared import store
from shared.config import Settings
from tests.support import contract, invariants, telling
from tests.support.invoking import Invoker, invoker
from tests.support.nodes import Crew, Node, crew, is_writable, node, role, standing
from tests.support.patience import ANSWER_SECONDS, in_time, wait_until
from tests.support.wires import Forgetful, Proxy, free_port, proxy_to, unaccepting

NAME = "cache.test"

REQUESTS = contract.asking_valkey({"userId": "ada"})

CLUSTER: dict[str, object] = {
    "cluster_enabled": "yes",
    "cluster_node_timeout": 2000,
    "cluster_replica_no_failover": "yes",  # the test says when it happens
    "repl_diskless_sync_delay": 0,
    "repl_ping_replica_period": 1,
}


def assert_each_counted_once(raw: valkey.Valkey, workers: Crew) -> None:
    """Asserts that each acknowledged submission is in its player's profile, once, and that everything else agrees."""
    expected = workers.expected()
    assert standing(raw, list(expected)) == expected
    invariants.settle(raw)
    assert standing(raw, list(expected)) == expected


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_a_server_killed_under_load_loses_nothing_that_was_acknowledged(
    fsync: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kills = 2 * invariants.SCALE
    options = {"cluster_enabled": "yes", "appendonly": "yes", "appendfsync": fsync}
    with node(tmp_path, **options) as server, crew(server.port, command_seconds=0.3) as workers:
        server.client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: is_writable(server))
        workers.create()
        with workers.at_work():
            for _ in range(kills):
                workers.wait_for(50)
                server.kill()
                time.sleep(0.1)
                server.start()
                wait_until(lambda: is_writable(server))
            workers.wait_for(50)
        before = workers.expected()
        if fsync == "always":
            assert standing(server.client, list(before)) == before
        lost = counted(before) - counted(standing(server.client, list(before)))
        assert lost >= 0, "nothing is counted twice"
        invariants.settle(server.client)
        for submission in workers.acknowledged[-200:] if fsync == "always" else workers.acknowledged:
            workers.send(submission)  # it finds its receipt, or has vanished everywhere
        assert_each_counted_once(server.client, workers)
        assert workers.statuses[503] > 0
        assert workers.slowest_seconds < ANSWER_SECONDS
        telling.tell(
            request,
            f"killed {kills} times ({fsync}): {len(workers.acknowledged)} submissions acknowledged, "
            f"{workers.statuses[503]} answered 503 first, {lost} lost",
        )


def counted(players: dict[str, tuple[str, str]]) -> int:
    """The games of all players."""
    return sum(int(games) for _, games in players.values())


class Pair:
    """A primary that owns all slots, and its replica."""

    def __init__(self, primary: Node, replica: Node):
        self.primary, self.replica = primary, replica

    def join(self, through: Proxy | None = None) -> None:
        """Makes them a pair; the replica reaches its primary by way of `through`."""
        if through:
            self.primary.client.config_set("cluster-announce-port", through.port)
        self.primary.client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        address = ("127.0.0.1", through.port if through else self.primary.port, self.primary.bus_port)
        self.replica.client.execute_command("CLUSTER MEET", *address)
        primary_id = self.primary.client.execute_command("CLUSTER MYID")
        wait_until(lambda: is_writable(self.primary))
        wait_until(lambda: len(self.primary.client.execute_command("CLUSTER NODES")) == 2)
        wait_until(lambda: self.replica.client.execute_command("CLUSTER REPLICATE", primary_id))
        wait_until(self.in_step)

    def in_step(self) -> bool:
        """Whether the replica has what the primary has."""
        state = self.replica.client.info("replication")
        return bool(
            state.get("master_link_status") == "up" and role(self.primary) == "master" and self._offsets_equal()
        )

    def _offsets_equal(self) -> bool:
        state = self.primary.client.info("replication")
        return bool(state.get("slave0", {}).get("offset") == state["master_repl_offset"])

    def change_places(self) -> None:
        """Fails over without losing anything, as for maintenance."""
        self.replica.client.execute_command("CLUSTER FAILOVER")
        wait_until(lambda: role(self.replica) == "master" and role(self.primary) == "slave")
        self.primary, self.replica = self.replica, self.primary
        wait_until(lambda: is_writable(self.primary))

    def lose_the_primary(self) -> None:
        """Fails over abruptly: the replica takes over with what it has."""
        self.primary.kill()
        self.replica.client.execute_command("CLUSTER FAILOVER", "TAKEOVER")
        self.primary, self.replica = self.replica, self.primary
        wait_until(lambda: role(self.primary) == "master" and is_writable(self.primary))


@pytest.fixture(scope="module")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    with node(folder / "first", **CLUSTER) as first, node(folder / "second", **CLUSTER) as second:
        both = Pair(first, second)
        both.join()
        yield both


@pytest.fixture
def pair(_pair: Pair) -> Pair:
    """Two empty nodes in step."""
    _pair.primary.client.flushall()
    wait_until(_pair.in_step)
    return _pair


def create(call: Invoker, *user_ids: str) -> None:
    """Creates some players."""
    for user_id in user_ids:
        body = {"userId": user_id, "username": user_id, "email": f"{user_id}@example.com", "score": 1}
        assert call("create_user", "POST", "/users", json_body=body).status == 201


def increment(call: Invoker, key: str, points: int = 1) -> Any:
    """The answer to a keyed submission of ada's."""
    body = {"score": points, "operator": "increment"}
    return call("update_score", "PUT", "/users/ada/score", json_body=body, headers={"Idempotency-Key": key})


def test_after_a_failover_the_next_request_of_every_open_connection_works_on_the_new_primary(pair: Pair) -> None:
    requests = {**REQUESTS, "erase_user": examples.load({"userId": "nobody"})["erase_user"]}
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(proxy_to(pair.primary.port))
        calls = {operation: stack.enter_context(invoker(name.port, access="protected")) for operation in requests}
        create(calls["health"], "ada")
        for operation, call in calls.items():
            assert call.ask(requests[operation]).status < 500
        for user_id in ("grace", "alan"):
            create(calls["health"], user_id)
            requests["erase_user"] = examples.load({"userId": user_id})["erase_user"]
            wait_until(pair.in_step)
            pair.change_places()
            name.target = pair.primary.port
            for operation, call in calls.items():
                before = name.connections
                answer = call.ask(requests[operation])
                if operation == "sessions.delete":  # never sent twice by us, so the client does it
                    assert answer.status == 503
                    answer = call.ask(requests[operation])
                if not operation.startswith("health"):  # these the old primary answers as well
                    assert name.connections == before + 1
                assert answer.status < 500, f"{operation}: {answer.body!r}"
        assert calls["get_user"].ask(REQUESTS["get_user"]).json()["user"]["gamesPlayed"] == 3
        invariants.settle(pair.primary.client, acted=True)


def test_a_failover_costs_a_submission_one_retry_and_counts_it_once(pair: Pair) -> None:
    with proxy_to(pair.primary.port) as name, invoker(name.port) as call:
        create(call, "ada")
        assert increment(call, "first").status == 200
        wait_until(pair.in_step)
        pair.change_places()
        name.target = pair.primary.port
        trips = name.trips
        answer = increment(call, "second")
        assert answer.status == 200
        assert "Idempotency-Replayed" not in answer.headers
        assert name.trips - trips <= 1 + 4, "the old primary's refusal, then two trips, each with its scripts at first"
        replay = increment(call, "first")
        assert (replay.status, replay.headers.get("Idempotency-Replayed")) == (200, "true")
        assert replay.json()["user"]["score"] == 3
        invariants.settle(pair.primary.client)


def test_a_name_that_leads_to_another_primary_is_resolved_for_each_connection(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = moving_name(monkeypatch, [pair.primary.port])
    with invoker(6379, valkey_host=NAME) as call:
        create(call, "ada")
        assert increment(call, "first").status == 200
        assert len(resolved) == 1, "once per connection"
        wait_until(pair.in_step)
        pair.change_places()
        name_leads_to(monkeypatch, resolved, [pair.primary.port])
        assert increment(call, "second").json()["user"]["score"] == 3
        assert len(resolved) == 2
        pair.replica.kill()
        assert increment(call, "second").headers["Idempotency-Replayed"] == "true"
        assert len(resolved) == 2
    pair.replica.start()


REAL_GETADDRINFO, REAL_TIME = socket.getaddrinfo, time.time


def moving_name(monkeypatch: pytest.MonkeyPatch, ports: list[int]) -> list[str]:
    """Makes NAME lead to these ports of this machine, whatever port is asked for; the list grows with each lookup."""
    resolved: list[str] = []
    name_leads_to(monkeypatch, resolved, ports)
    return resolved


def name_leads_to(monkeypatch: pytest.MonkeyPatch, resolved: list[str], ports: list[int]) -> None:
    """Makes NAME lead to these ports from now on."""

    def look_up(host: Any, *service: Any, **options: Any) -> Any:
        if host != NAME:
            return REAL_GETADDRINFO(host, *service, **options)
        resolved.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.parametrize("addresses", [1, 3, 8])
def test_a_name_with_many_addresses_that_do_not_answer_is_503_in_time(
    addresses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unaccepting() as port:
        moving_name(monkeypatch, [port] * addresses)
        with invoker(6379, valkey_host=NAME) as call:
            answer = in_time(2.5 + 0.2, lambda: increment(call, "first"))  # the deadline, and a little
            assert answer.status == 503


def test_a_name_with_a_dead_and_a_living_address_leads_to_the_living_one(
    server: embedded_valkey.Server, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unaccepting() as dead:
        moving_name(monkeypatch, [dead, server.port])
        with invoker(6379, valkey_host=NAME) as call:
            create(call, "ada")
            assert increment(call, "first").status == 200


def test_a_name_that_cannot_be_resolved_is_503_and_heals(
    server: embedded_valkey.Server, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with invoker(6379, valkey_host=NAME) as call:
        assert call.ask(REQUESTS["health"]).status == 503
        moving_name(monkeypatch, [server.port])
        assert call.ask(REQUESTS["health"]).status == 200


def test_a_resolver_that_hangs_is_503_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ended.wait(60) and [])
    try:
        with invoker(6379, valkey_host=NAME) as call:
            assert in_time(ANSWER_SECONDS, lambda: call.ask(REQUESTS["health"])).status == 503
    finally:
        ended.set()


def test_under_load_failovers_there_and_back_lose_nothing(pair: Pair, request: pytest.FixtureRequest) -> None:
    failovers = 4 * invariants.SCALE
    with proxy_to(pair.primary.port) as name, crew(name.port, command_seconds=0.5) as workers:
        workers.create()
        with workers.at_work():
            for _ in range(failovers):
                workers.wait_for(50)
                wait_until(lambda: pair.replica.client.info("replication").get("master_link_status") == "up")
                pair.change_places()
                name.target = pair.primary.port
            workers.wait_for(50)
        assert_each_counted_once(pair.primary.client, workers)
        assert workers.slowest_seconds < ANSWER_SECONDS
        telling.tell(
            request,
            f"failed over {failovers} times: {len(workers.acknowledged)} submissions acknowledged, "
            f"{workers.statuses[503]} answered 503 first, none lost",
        )


def test_what_an_abrupt_failover_loses_has_vanished_everywhere_and_counts_once_when_sent_again(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(node(tmp_path / "first", **CLUSTER))
        second = stack.enter_context(node(tmp_path / "second", **CLUSTER))
        pair = Pair(first, second)
        link = stack.enter_context(contextlib.ExitStack())
        pair.join(through=link.enter_context(proxy_to(first.port)))
        name = stack.enter_context(proxy_to(first.port))
        workers = stack.enter_context(crew(name.port, command_seconds=0.5))
        workers.create()
        wait_until(pair.in_step)
        with workers.at_work():
            workers.wait_for(100)
            link.close()  # from here on the replica receives nothing
            workers.wait_for(150)
            pair.lose_the_primary()
            name.target = pair.primary.port
            workers.wait_for(50)
        acknowledged = workers.expected()
        kept = standing(pair.primary.client, list(acknowledged))
        lost = counted(acknowledged) - counted(kept)
        assert lost >= 100, "or this test proves nothing"
        assert len(workers.acknowledged) - lost >= 100
        # A request whose submission went to the old primary, but whose projection went to the new one, has brought the
        # board to a state that vanished: the sweep puts that right.
        settled = invariants.settle(pair.primary.client, damaged=True)
        found = {user_id: (profile["score"], profile["gamesPlayed"]) for user_id, profile in settled.profiles.items()}
        assert found == kept
        replayed = [workers.send(submission).headers.get("Idempotency-Replayed") for submission in workers.acknowledged]
        assert replayed.count("true") == len(replayed) - lost
        assert_each_counted_once(pair.primary.client, workers)
        telling.tell(
            request,
            f"abrupt failover: {len(workers.acknowledged)} submissions acknowledged, {lost} of them lost everywhere, "
            "each counted once when sent again",
        )


def test_a_replica_that_answers_readonly_is_left_for_the_new_primary(tmp_path: Path) -> None:
    at_once = {"repl_diskless_sync_delay": 0}
    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(node(tmp_path / folder, **at_once)) for folder in ("first", "second"))
        name = stack.enter_context(proxy_to(first.port))
        with invoker(name.port) as call:
            create(call, "ada")
            second.client.replicaof("127.0.0.1", first.port)
            wait_until(lambda: second.client.info("replication")["master_link_status"] == "up")
            wait_until(lambda: second.client.exists("user:ada"))
            second.client.replicaof("NO", "ONE")
            first.client.replicaof("127.0.0.1", second.port)
            name.target = second.port
            connections = name.connections
            answer = increment(call, "first")
            assert (answer.status, answer.json()["user"]["score"]) == (200, 2)
            assert name.connections == connections + 1
            assert second.client.hget("user:ada", "score") == "2"
        invariants.settle(second.client)


@pytest.fixture
def forgetful(server: embedded_valkey.Server, raw: valkey.Valkey) -> Iterator[Forgetful]:
    """A forgetful proxy in front of this run's server."""
    with contextlib.closing(Forgetful(server.port)) as between:
        yield between


@pytest.mark.parametrize("operation", REQUESTS)
def test_a_half_open_connection_is_left_within_the_request(operation: str, forgetful: Forgetful) -> None:
    with invoker(forgetful.port, command_seconds=0.3, access="protected") as call:
        create(call, "ada")
        forgetful.forget()
        began = time.monotonic()
        answer = call.ask(REQUESTS[operation])
        if operation == "sessions.delete":  # not repeatable: nobody knows whether it ran
            assert answer.status == 503
            answer = call.ask(REQUESTS[operation])
        elif operation == "sessions.create" and answer.status == 503:
            raise AssertionError("the creation of a session is repeatable: its id is its own")
        assert answer.status < 500, answer.body
        assert time.monotonic() - began >= 0.3


def test_a_request_has_time_for_a_connection_that_is_half_open_and_another() -> None:
    own = Settings("cache")
    left_seconds = own.deadline_seconds - own.command_seconds  # of which connecting takes half at most
    assert left_seconds / 2 >= 0.75 * max(own.connect_seconds, own.command_seconds)


@pytest.mark.parametrize("operation", REQUESTS)
def test_a_connection_that_was_forgotten_while_idle_loses_no_request(
    operation: str, forgetful: Forgetful, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"command_seconds": 5, "deadline_seconds": 2}  # one trip in vain is the end of both
    with invoker(forgetful.port, access="protected", **settings) as call:
        create(call, "ada")
        forgetful.forget()
        pass_by(monkeypatch, store.IDLE_SECONDS)
        answer = call.ask(REQUESTS[operation])
        assert answer.status < 500, answer.body
    assert forgetful.connections == 2


@pytest.mark.parametrize(
    ("seconds", "connections"),
    [(store.IDLE_SECONDS - 5, 1), (store.IDLE_SECONDS, 2), (-5, 2), (10**6, 2), (-(10**6), 2)],
)
def test_the_time_of_day_tells_how_long_a_connection_was_idle(
    seconds: int, connections: int, forgetful: Forgetful, monkeypatch: pytest.MonkeyPatch
) -> None:
    with invoker(forgetful.port) as call:
        create(call, "ada")
        pass_by(monkeypatch, seconds)  # while the monotonic clock stands still, as in a frozen process
        for _ in range(3):
            assert call.ask(REQUESTS["rank"]).status == 200
    assert forgetful.connections == connections


def test_a_busy_connection_is_replaced_before_it_is_twelve_hours_old(
    forgetful: Forgetful, monkeypatch: pytest.MonkeyPatch
) -> None:
    ages = []
    with invoker(forgetful.port) as call:
        for age in range(0, 12 * 3600, store.IDLE_SECONDS - 5):
            pass_by(monkeypatch, age)
            assert call.ask(REQUESTS["health"]).status == 200
            ages.append((age, forgetful.connections))
    assert [connections for age, connections in ages if age < store.LIFE_SECONDS - 1] == [1] * 135
    assert {connections for age, connections in ages if age > store.LIFE_SECONDS} == {2}


def test_an_idle_connection_that_cannot_be_replaced_is_503_and_heals(
    forgetful: Forgetful, server: embedded_valkey.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with invoker(forgetful.port) as call:
        create(call, "ada")
        forgetful.target = free_port()
        pass_by(monkeypatch, store.IDLE_SECONDS)
        for operation in ("rank", "update_score", "sessions.delete"):
            assert call.ask(REQUESTS[operation]).status == 503, operation
        forgetful.target = server.port
        assert call.ask(REQUESTS["sessions.delete"]).status == 404, "what is not tried twice, at the first try"
        assert call.ask(REQUESTS["update_score"]).status == 200


def pass_by(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """From now on it is so much later by the time of day, and by no other clock."""
    monkeypatch.setattr(time, "time", lambda: REAL_TIME() + seconds)


def test_a_submission_on_a_half_open_connection_is_counted_once(forgetful: Forgetful, raw: valkey.Valkey) -> None:
    with invoker(forgetful.port, deadline_seconds=10, connect_seconds=2) as call:
        create(call, "ada")
        forgetful.forget()
        assert increment(call, "first").status == 200
        assert call.ask(REQUESTS["get_user"]).json()["user"]["gamesPlayed"] == 1
    invariants.settle(raw)


def test_a_submission_that_ran_though_its_reply_was_dropped_counts_once_and_says_so(
    forgetful: Forgetful, raw: valkey.Valkey
) -> None:
    with invoker(forgetful.port, command_seconds=0.3) as call:
        create(call, "ada")
        for key in ("first", "second"):
            forgetful.lose_replies()
            answer = increment(call, key)
            assert answer.status == 200
            assert "Idempotency-Replayed" not in answer.headers, "it is our own retry, not the client's"
        assert answer.json()["receipt"]["previousScore"] == 2
        assert (answer.json()["user"]["score"], answer.json()["user"]["gamesPlayed"]) == (3, 2)
    invariants.settle(raw)


@pytest.mark.parametrize("operation", REQUESTS)
def test_a_connection_that_was_reset_while_idle_is_replaced_unnoticed(operation: str, forgetful: Forgetful) -> None:
    with invoker(forgetful.port, access="protected") as call:
        create(call, "ada")
        connections = forgetful.connections
        forgetful.reset()
        time.sleep(0.05)
        answer = call.ask(REQUESTS[operation])
        assert answer.status < 500, answer.body
        assert forgetful.connections == connections + 1
