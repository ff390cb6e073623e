"""A full memory: what may be forgotten goes first; then a write is refused or done as a whole, and all is reconciled.

Which command of a request finds the memory full is not left to chance: this process stands in front of the server,
passes commands on one by one, and sets the server's limit before each. Every combination is tried.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest
import valkey

from functions.reconcile import handler as reconcile_handler
from scripts.local import embedded_valkey
from scripts.local.proxy import Context
from shared import problems
from tests.support import invariants, telling
from tests.support.invoking import Answer, Invoker, invoker
from tests.support.workers import command_end, read_reply

KEY = "7b0c6a1e-5d1f-4f6a-9a55-0c3e2c7b9d41"
NEW = {"username": "New", "email": "new@example.com", "score": 70}


class Cut(Exception):
    """The connection is to end before this command."""


class Gate:
    """A proxy that passes on one command at a time, and first calls `before` with its number since `begin`."""

    def __init__(self, target: int):
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.before: Callable[[int, bytes], object] = lambda _, __: None
        self.passed: list[str] = []
        self._clients: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def begin(self, before: Callable[[int, bytes], object] = lambda _, __: None) -> None:
        """Counts anew from here on."""
        self.before, self.passed = before, []

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                self._threads.append(threading.Thread(target=self._carry, args=(client,)))
                self._threads[-1].start()

    def _carry(self, client: socket.socket) -> None:
        with (
            client,
            socket.create_connection(("127.0.0.1", self._target)) as server,
            server.makefile("rb") as replies,
            contextlib.suppress(OSError, Cut),
        ):
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = b""
            while more := client.recv(1 << 16):
                received += more
                while (size := command_end(received)) is not None:
                    command, received = received[:size], received[size:]
                    client.sendall(self._pass_on(command, server, replies))

    def _pass_on(self, command: bytes, server: socket.socket, replies: io.BufferedReader) -> bytes:
        self.before(len(self.passed), command)
        self.passed.append(command.split(b"\r\n", 3)[2].decode())
        server.sendall(command)
        return read_reply(replies)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


@pytest.fixture
def own_raw(own_server: embedded_valkey.Server) -> Iterator[valkey.Valkey]:
    """A client of the module's own server, which is empty, has all the memory there is, and evicts as in production."""
    with valkey.Valkey(host=own_server.host, port=own_server.port, decode_responses=True) as client:
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "volatile-lru")
        client.flushall()
        yield client
        client.config_set("maxmemory", 0)


@pytest.fixture
def gate(own_server: embedded_valkey.Server, own_raw: valkey.Valkey) -> Iterator[Gate]:
    """The gate in front of the server."""
    with contextlib.closing(Gate(own_server.port)) as between:
        yield between


@pytest.fixture
def call(gate: Gate) -> Iterator[Invoker]:
    """Handlers that go through the gate; the server knows their scripts and two players."""
    with invoker(gate.port) as handlers:
        prepare(handlers)
        yield handlers


def prepare(call: Invoker) -> None:
    """Makes two players, and runs every script of the write path."""
    for user_id, score in (("ada", 10), ("bob", 20)):
        body = {"userId": user_id, "username": user_id, "email": f"{user_id}@example.com", "score": score}
        assert call("create_user", "POST", "/users", json_body=body).status == 201
    body = {"userId": "ada"}
    for headers in ({}, {"Idempotency-Key": "warm"}):
        assert call("sessions", "POST", "/sessions", json_body=body, headers=headers).status == 201
    assert creation("ada", keyed=True, status=409).send(call).status == 409


class Write(NamedTuple):
    """A request, its commands, which of them decides, the status of the answer, and whose profile it changes."""

    function: str
    method: str
    path: str
    body: dict[str, Any]
    keyed: bool
    commands: Sequence[str]
    deciding: int
    status: int
    user_id: str

    def send(self, call: Invoker) -> Answer:
        headers = {"Idempotency-Key": KEY} if self.keyed else {}
        return call(self.function, self.method, self.path, json_body=self.body, headers=headers)


def submission(operator: str, score: int, *, keyed: bool = False, status: int = 200, user_id: str = "ada") -> Write:
    """PUT /users/{userId}/score."""
    last = "EVALSHA" if status == 200 else "ZREM"
    body = {"score": score, "operator": operator}
    path = f"/users/{user_id}/score"
    return Write("update_score", "PUT", path, body, keyed, ["ZADD", "EVALSHA", last], 1, status, user_id)


def creation(user_id: str, *, keyed: bool = False, status: int = 201) -> Write:
    """POST /users."""
    last = "EVALSHA" if status == 201 else "ZREM"
    body = {**NEW, "userId": user_id}
    return Write("create_user", "POST", "/users", body, keyed, ["ZADD", "EVALSHA", last], 1, status, user_id)


WRITES = {
    "a score is set": submission("set", 5),
    "a score is bettered": submission("best", 15),
    "a score is not bettered": submission("best", 5),
    "a score grows": submission("increment", 5, keyed=True),
    "a score shrinks": submission("decrement", 5, keyed=True),
    "a score would leave its bounds": submission("decrement", 500, status=400),
    "a score of nobody": submission("set", 5, status=404, user_id="nobody"),
    "a player is created": creation("new"),
    "a player is created with a key": creation("new", keyed=True),
    "a player exists": creation("ada", status=409),
    "a player exists for a key": creation("ada", keyed=True, status=409),
}


def test_the_writes_have_the_commands_that_are_tried_here(call: Invoker, gate: Gate, own_raw: valkey.Valkey) -> None:
    for name, write in WRITES.items():
        own_raw.flushall()
        prepare(call)
        gate.begin()
        assert write.send(call).status == write.status, name
        assert gate.passed == list(write.commands), name


def lasting(raw: valkey.Valkey) -> dict[str, Any]:
    """Everything that does not expire, byte by byte, without the outbox."""
    with valkey.Valkey(port=raw.connection_pool.connection_kwargs["port"]) as client:
        keys = [key for key in sorted(client.scan_iter(count=1000)) if client.ttl(key) == -1]
        return {key.decode(): client.dump(key) for key in keys if key.decode() != invariants.PENDING}


@contextlib.contextmanager
def memory(gate: Gate, raw: valkey.Valkey, full: Callable[[int, bytes], bool]) -> Iterator[None]:
    """Within the block, the memory is full for each command of which `full` says so."""
    port = raw.connection_pool.connection_kwargs["port"]
    with valkey.Valkey(port=port) as keeper:
        try:
            gate.begin(lambda index, command: keeper.config_set("maxmemory", int(full(index, command))))
            yield
        finally:
            gate.begin()
            keeper.config_set("maxmemory", 0)


def players_of(raw: valkey.Valkey) -> dict[str, tuple[str, str]]:
    """Each player's score and games."""
    profiles = invariants.profiles(raw)
    return {user_id: (profile["score"], profile["gamesPlayed"]) for user_id, profile in profiles.items()}


@pytest.mark.parametrize("policy", ["volatile-lru", "noeviction"])
@pytest.mark.parametrize("name", WRITES)
def test_whichever_commands_of_a_write_find_the_memory_full_it_is_done_whole_or_not_at_all(
    name: str, policy: str, call: Invoker, gate: Gate, own_raw: valkey.Valkey
) -> None:
    write = WRITES[name]
    own_raw.config_set("maxmemory-policy", policy)
    for pattern in itertools.product([False, True], repeat=len(write.commands)):
        own_raw.flushall()
        prepare(call)
        own_raw.delete(*own_raw.scan_iter(f"{invariants.ACTIVE}*"))
        before, players = lasting(own_raw), players_of(own_raw)
        with memory(gate, own_raw, lambda index, _, full=pattern: full[min(index, len(full) - 1)]):  # type: ignore[misc]
            answer = write.send(call)
        decided = not pattern[write.deciding] or write.status >= 400
        if answer.status == 503:
            assert answer.json()["code"] == "unavailable", pattern
            assert lasting(own_raw) == before, pattern
        else:
            assert answer.status == write.status, pattern
        assert (answer.status == 503) == (not decided), pattern
        if write.status >= 400:
            assert lasting(own_raw) == before
        elif answer.status < 300:
            user = answer.json()["user"]
            assert call("rank", "GET", f"/users/{user['userId']}/rank").json()["rank"]["score"] == user["score"]
            assert own_raw.hget(f"user:{user['userId']}", "score") == str(user["score"])
            assert lasting(own_raw) != before
        plays = write.function == "update_score" and answer.status < 300
        assert invariants.active(own_raw, "ada") == ({"ada"} if plays else set()), "what has begun is finished"
        changed = players_of(own_raw) != players
        assert changed == (answer.status < 300)
        once = players_of(own_raw)
        invariants.settle(own_raw)
        if write.keyed and write.status < 300:
            again = write.send(call)
            assert again.status == write.status
            if changed:
                assert players_of(own_raw) == once, "counted once"
                assert again.headers.get("Idempotency-Replayed") == "true"
            assert write.send(call).headers.get("Idempotency-Replayed") == "true"
            invariants.settle(own_raw)


@pytest.mark.parametrize("keyed", [False, True])
def test_a_session_that_finds_the_memory_full_is_503_and_is_not_there(
    keyed: bool, call: Invoker, gate: Gate, own_raw: valkey.Valkey
) -> None:
    headers = {"Idempotency-Key": KEY} if keyed else {}
    commands = 4  # the record's script, whether there is such a player, the session's script, who is active
    own_raw.config_set("maxmemory-policy", "noeviction")
    own_raw.delete(*own_raw.scan_iter(f"{invariants.ACTIVE}*"))
    for pattern in itertools.product([False, True], repeat=commands):
        before = own_raw.dbsize()
        with memory(gate, own_raw, lambda index, _, full=pattern: full[index]):  # type: ignore[misc]
            answer = call("sessions", "POST", "/sessions", json_body={"userId": "ada"}, headers=headers)
        refused = pattern[0] or pattern[2]
        assert answer.status == (503 if refused else 201), "whether or not the player can be counted as active"
        assert (invariants.active(own_raw, "ada") == set()) == (pattern[0] or pattern[3])
        for key in own_raw.scan_iter(f"{invariants.ACTIVE}*"):
            own_raw.delete(key)
        if refused:
            assert own_raw.dbsize() == before + (not pattern[0]), "at most the record is there, until the session's end"
        again = call("sessions", "POST", "/sessions", json_body={"userId": "ada"}, headers=headers)
        assert again.status == 201
        session = again.json()["session"]
        assert call("sessions", "GET", f"/sessions/{session['sessionId']}").json() == {"session": session}
        for kind in ("*session:*", "{user:*}:sessions", f"{invariants.ACTIVE}*"):
            for key in own_raw.scan_iter(kind):
                own_raw.delete(key)


@pytest.mark.parametrize("full", [False, True])
def test_a_submission_that_the_board_does_not_take_is_not_yet_visible_and_is_healed_though_memory_is_full(
    full: bool, call: Invoker, gate: Gate, own_raw: valkey.Valkey, own_server: embedded_valkey.Server
) -> None:
    def cut_off_the_board(index: int, _: bytes) -> None:
        if index >= 2:
            raise Cut

    gate.begin(cut_off_the_board)
    answer = WRITES["a score grows"].send(call)
    gate.begin()
    assert (answer.status, answer.json()["code"]) == (503, "not_yet_visible")
    assert int(answer.headers["Retry-After"]) > 0
    assert own_raw.hget("user:ada", "score") == "15"
    assert own_raw.zscore(invariants.BOARD, "ada") == 10
    invariants.a_minute_passes(own_raw)
    if full:
        own_raw.config_set("maxmemory", 1)
        with invoker(own_server.port) as direct, pytest.raises(problems.Unavailable):  # it cannot publish the totals
            direct.run(lambda: reconcile_handler.handler(invariants.EVENTBRIDGE, Context()))
        assert own_raw.zscore(invariants.BOARD, "ada") == 15, "the outbox is settled even when memory is full"
        assert own_raw.zcard(invariants.PENDING) == 0
        own_raw.config_set("maxmemory", 0)
    invariants.settle(own_raw)
    assert invariants.profiles(own_raw)["ada"]["gamesPlayed"] == "1"


def is_projection(command: bytes) -> bool:
    """Whether a command brings the board to a player's state."""
    return invariants.PENDING.encode() in command and command.split(b"\r\n", 3)[2] in (b"EVALSHA", b"EVAL")


def rebuild_while(call: Invoker) -> Any:
    """A rebuild's report, None if the server could not work."""
    with contextlib.suppress(problems.Unavailable):
        return call.run(lambda: reconcile_handler.handler({"rebuild": {"cursor": None}}, Context()))
    return None


def assert_all_well(report: Any, call: Invoker, raw: valkey.Valkey, *, finished: bool) -> None:
    """Asserts that players who could not be read for a moment are neither called unreadable nor left out of the totals,
    and that the next run finds all well."""
    totals = call("stats", "GET", "/stats").json()["stats"]
    assert (totals["totalScore"], totals["highScore"]) == (30, 20), report
    assert report is None if not finished else (report["unreadable"], report["finished"]) == (0, True)
    again = invariants.run_reconcile(raw)
    assert (again["finished"], again["unreadable"]) == (True, 0)
    invariants.check(raw)


def test_a_memory_that_is_full_for_a_moment_of_a_sweep_makes_nobody_unreadable_and_no_total_wrong(
    call: Invoker, gate: Gate, own_raw: valkey.Valkey
) -> None:
    invariants.rebuild(own_raw)
    tried: list[bool] = []

    def full(_: int, command: bytes) -> bool:
        tried.append(is_projection(command))
        return tried[-1]

    with memory(gate, own_raw, full):
        report = rebuild_while(call)
    assert any(tried)
    assert_all_well(report, call, own_raw, finished=True)


@pytest.mark.parametrize("key", ["user:ada", invariants.BOARD])
def test_a_slot_that_is_not_served_for_a_moment_of_a_sweep_makes_nobody_unreadable_and_no_total_wrong(
    key: str, call: Invoker, gate: Gate, own_raw: valkey.Valkey
) -> None:
    invariants.rebuild(own_raw)
    slot = own_raw.execute_command("CLUSTER KEYSLOT", key)
    away: list[bool] = []

    def move_away(_: int, command: bytes) -> None:
        hit = is_projection(command) if key == invariants.BOARD else b"\r\nuser:ada\r\n" in command
        if hit != bool(away and away[-1]):
            keeper.execute_command("CLUSTER DELSLOTS" if hit else "CLUSTER ADDSLOTS", slot)
        away.append(hit)

    own_raw.config_set("cluster-require-full-coverage", "no")
    with valkey.Valkey(port=own_raw.connection_pool.connection_kwargs["port"]) as keeper:
        try:
            gate.begin(move_away)
            report = rebuild_while(call)
        finally:
            gate.begin()
            if away[-1]:
                keeper.execute_command("CLUSTER ADDSLOTS", slot)
            own_raw.config_set("cluster-require-full-coverage", "yes")
    assert any(away)
    assert_all_well(report, call, own_raw, finished=False)


def test_a_memory_that_is_full_of_receipts_has_room_again_when_their_time_is_over(
    call: Invoker, own_raw: valkey.Valkey, own_server: embedded_valkey.Server
) -> None:
    """Nothing else takes them away: if a full memory refused the sweep, it would stay full forever."""
    invariants.rebuild(own_raw)
    before = own_raw.info("memory")["used_memory"]
    for number in range(3_000):
        ended = {"born": 1, "ends": 2, **{f"{number}-{key}": "x" * 64 for key in range(10)}}
        own_raw.hset(f"{{user:gone-{number}}}:receipts:a", mapping=ended)
    own_raw.config_set("maxmemory", (before + own_raw.info("memory")["used_memory"]) // 2)
    assert WRITES["a score grows"].send(call).status == 503
    with invoker(own_server.port) as direct:
        report = direct.run(lambda: reconcile_handler.handler(invariants.EVENTBRIDGE, Context()))
    assert (report["forgotten"], report["finished"]) == (3_000, True)
    assert WRITES["a score grows"].send(call).status == 200
    own_raw.config_set("maxmemory", 0)
    invariants.settle(own_raw)


def test_sessions_are_evicted_before_any_write_fails_and_neither_players_nor_receipts_ever(
    call: Invoker, own_raw: valkey.Valkey, request: pytest.FixtureRequest
) -> None:
    """One client fills the memory with sessions: whoever asks again is counted once all the same."""
    own_raw.config_resetstat()
    own_raw.config_set("maxmemory", own_raw.info("memory")["used_memory"] + 800_000)
    body = {"userId": "ada", "sessionData": {"text": "x" * 4_000}}

    def fill(evictions: int) -> int:
        sessions, before = 0, own_raw.info("stats")["evicted_keys"]
        while own_raw.info("stats")["evicted_keys"] < before + evictions:
            assert call("sessions", "POST", "/sessions", json_body=body).status == 201
            sessions += 1
        return sessions

    games = 30
    for number in range(games):
        assert submit(call, f"key-{number}").status == 200
    sessions = fill(250)
    for number in range(games):
        again = submit(call, f"key-{number}")
        assert (again.status, again.headers.get("Idempotency-Replayed")) == (200, "true")
    assert own_raw.hget("user:ada", "score") == str(10 + games)
    created = {"ada", "bob"}
    while True:
        user_id = f"player-{len(created)}"
        answer = create(call, user_id)
        if answer.status == 503:
            break
        assert answer.status == 201
        created.add(user_id)
    assert len(created) > 150, "the sessions make room"
    assert own_raw.info("keyspace")["db0"]["expires"] == 0, "nothing is left that could be forgotten"
    evicted = own_raw.info("stats")["evicted_keys"]
    assert evicted >= sessions
    assert set(invariants.profiles(own_raw)) == created
    before = lasting(own_raw)
    for write in (WRITES["a score grows"], WRITES["a player is created"]):
        for _ in range(3):
            answer = write.send(call)
            assert (answer.status, answer.json()["code"]) == (503, "unavailable")
    for user_id in sorted(created - {"ada", "bob"}):
        again = create(call, user_id)
        assert again.status in (201, 503), "a replay puts an intent into the outbox, and there may be no room for it"
    assert lasting(own_raw) == before
    assert call("rank", "GET", "/users/bob/rank").status == 200
    assert call("sessions", "DELETE", "/sessions/none").status == 404
    own_raw.config_set("maxmemory", 0)
    assert WRITES["a player is created"].send(call).status == 201
    for number in range(games):
        assert submit(call, f"key-{number}").headers.get("Idempotency-Replayed") == "true"
    for user_id in sorted(created - {"ada", "bob"}):
        assert create(call, user_id).headers.get("Idempotency-Replayed") == "true"
    assert set(invariants.settle(own_raw).profiles) == {*created, "new"}
    assert own_raw.hget("user:ada", "score") == str(10 + games)
    telling.tell(
        request,
        f"memory full: {evicted} sessions evicted, {len(created) - 2} players created meanwhile, then 503 and nothing "
        f"changed; of {games + len(created) - 2} retries with a key none counted twice",
    )


def submit(call: Invoker, key: str) -> Answer:
    """Submits one more point for ada."""
    body = {"score": 1, "operator": "increment"}
    return call("update_score", "PUT", "/users/ada/score", json_body=body, headers={"Idempotency-Key": key})


def create(call: Invoker, user_id: str) -> Answer:
    """Creates a player, with their id as the key."""
    body = {**NEW, "userId": user_id, "username": "x" * 32}
    return call("create_user", "POST", "/users", json_body=body, headers={"Idempotency-Key": user_id})
