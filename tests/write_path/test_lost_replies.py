"""Lost replies: the wire to Valkey is cut, goes silent or holds bytes back, at chosen bytes in either direction.

The client asks again with its key until it gets a 2xx: it is applied exactly once. Without a key our own second try is
exact as well, and if that is lost too, the answer says what is known. CRASH_SCALE above 1 tries more positions.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest
import valkey

from scripts.local import embedded_valkey
from shared import people, players
from shared.config import settings
from shared.store import store
from tests.support import invariants, telling
from tests.support.invariants import SCALE
from tests.support.invoking import Answer, Invoker, invoker
from tests.support.lines import Lines

KEY = "7b0c6a1e-5d1f-4f6a-9a55-0c3e2c7b9d41"
TIMEOUT_SECONDS = 1
STRIDE = max(1, 40 // SCALE)

REQUEST, REPLY = "request", "reply"
CUT, SWALLOW = "cut", "swallow"

tried: Counter[str] = Counter()


class Fault(NamedTuple):
    """What happens to one connection once so many bytes have passed in one direction.

    cut: no further byte passes, and both ends are closed; swallow: no further byte passes in that direction, but the
    connection stays open; hold: like swallow, but the bytes are kept, and reach the server when they are released.
    """

    direction: str
    position: int
    way: str


HOLD = "hold"


class Saboteur:
    """A TCP proxy in front of Valkey: each new connection gets the next fault, or none if they are used up."""

    def __init__(self, target: int):
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._faults: list[Fault] = []
        self._held: list[tuple[socket.socket, bytearray]] = []
        self._holding = 0
        self._lock = threading.Lock()
        self.met = 0
        """How many faults have happened."""
        self.passed: list[dict[str, bytearray]] = []
        """What has passed on each connection, by direction."""
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self._ends: list[socket.socket] = []

    def arm(self, faults: Sequence[Fault]) -> None:
        """Sets the faults of the next connections."""
        with self._lock:
            self._faults, self.met, self.passed = list(faults), 0, []

    def release(self, change: Callable[[bytes], bytes] = bytes) -> int:
        """Lets the held bytes reach the server, perhaps changed; waits for its replies, and counts them."""
        ends = time.monotonic() + 5
        while len(self._held) < self._holding and time.monotonic() < ends:
            time.sleep(0.001)
        replies = 0
        for server, data in self._held:
            server.sendall(change(bytes(data)))
            replies += _drain(server) > 0
            server.close()
        self._held, self._holding = [], 0
        return replies

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    fault = self._faults.pop(0) if self._faults else None
                thread = threading.Thread(target=self._carry, args=(client, fault))
                self._threads.append(thread)
                self._ends.append(client)
                thread.start()

    def _carry(self, client: socket.socket, fault: Fault | None) -> None:
        """Carries bytes both ways until an end closes or the fault cuts."""
        server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sent = {REQUEST: bytearray(), REPLY: bytearray()}
        self.passed.append(sent)
        kept = bytearray()
        met = False
        with client, contextlib.ExitStack() as stack:
            stack.callback(self._leave, server, kept)
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for end in ready:
                    direction, other = (REQUEST, server) if end is client else (REPLY, client)
                    try:
                        data = end.recv(1 << 16)
                    except OSError:
                        data = b""
                    if not data:
                        return
                    if fault and fault.direction == direction:
                        room = max(0, fault.position - len(sent[direction]))
                        rest, data = data[room:], data[:room]
                    else:
                        rest = b""
                    sent[direction] += data
                    with contextlib.suppress(OSError):
                        other.sendall(data)
                    if rest and fault:
                        self.met += not met
                        self._holding += fault.way == HOLD and not met
                        met = True
                        if fault.way == CUT:
                            _drain(server)
                            return
                        if fault.way == HOLD:
                            kept += rest

    def _leave(self, server: socket.socket, kept: bytearray) -> None:
        """The client is gone; what is held for the server may still reach it."""
        if kept:
            self._held.append((server, kept))
        else:
            server.close()

    def close(self) -> None:
        """Ends the proxy and its connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        self.release()


def _drain(server: socket.socket) -> int:
    """Waits until the server has done all that has reached it, and leaves; returns how many bytes it replied."""
    count = 0
    with contextlib.suppress(OSError):
        server.settimeout(5)
        server.shutdown(socket.SHUT_WR)
        while more := server.recv(1 << 16):
            count += len(more)
    return count


class Operation(NamedTuple):
    """A request that takes a key."""

    function: str
    method: str
    path: str
    body: dict[str, Any]
    status: int


NEW = {"username": "New", "email": "new@example.com", "score": 70}
INCREMENT = Operation("update_score", "PUT", "/users/ada/score", {"score": 7, "operator": "increment"}, 200)
CREATION = Operation("create_user", "POST", "/users", NEW, 201)
OPERATIONS = {
    "increment": INCREMENT,
    "creation": CREATION,
    "creation with an id": Operation("create_user", "POST", "/users", {**NEW, "userId": "new"}, 201),
    "session": Operation("sessions", "POST", "/sessions", {"userId": "ada", "sessionData": {"map": "a"}}, 201),
}


COUNTED = {"update_score": "Submissions", "create_user": "PlayersCreated", "sessions": "SessionsStarted"}
"""The metric that counts what a function has done."""


@pytest.fixture(scope="module", autouse=True)
def _tally(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tells how much was tried."""
    with telling.tallied(request, tried, "lost replies: {} cases"):
        yield


@pytest.fixture
def wire(server: embedded_valkey.Server, raw: valkey.Valkey) -> Iterator[Saboteur]:
    """The wire between the handlers and Valkey."""
    between = Saboteur(server.port)
    yield between
    between.close()


@pytest.fixture
def call(wire: Saboteur, raw: valkey.Valkey) -> Iterator[Invoker]:
    """Handlers at the other end of the wire; the server knows their scripts."""
    with invoker(wire.port, command_seconds=10, connect_seconds=10, deadline_seconds=28) as handlers:
        know_the_scripts(handlers, raw)
        yield handlers


@pytest.fixture
def hasty(wire: Saboteur, raw: valkey.Valkey) -> Iterator[Invoker]:
    """The same, but a reply has only a moment to arrive."""
    with invoker(wire.port, command_seconds=TIMEOUT_SECONDS, connect_seconds=10, deadline_seconds=28) as handlers:
        know_the_scripts(handlers, raw)
        yield handlers


def know_the_scripts(call: Invoker, raw: valkey.Valkey) -> None:
    """Sends each request once, so that none costs another trip later."""
    begin(call, raw)
    for number, operation in enumerate(OPERATIONS.values()):
        assert send(call, operation, f"to-know-the-scripts-{number}").status == operation.status


def begin(call: Invoker, raw: valkey.Valkey) -> None:
    """Makes two players, and nothing else is there."""
    raw.flushall()
    for user_id, score in (("ada", 100), ("bob", 105)):
        body = {"username": user_id, "email": "a@example.com", "userId": user_id, "score": score}
        assert call("create_user", "POST", "/users", json_body=body).status == 201


def send(call: Invoker, operation: Operation, key: str | None) -> Answer:
    headers = {} if key is None else {"Idempotency-Key": key}
    return call(operation.function, operation.method, operation.path, json_body=operation.body, headers=headers)


def arm(call: Invoker, wire: Saboteur, faults: Sequence[Fault]) -> None:
    """Makes the next request use a new connection, which meets the first fault."""
    call.run(lambda: store().close())
    wire.arm(faults)


def send_until_done(call: Invoker, operation: Operation, key: str) -> list[Answer]:
    """The answers to a client that asks again with its key as long as it gets a 503."""
    answers = [send(call, operation, key)]
    while answers[-1].status == 503:
        assert int(answers[-1].headers["Retry-After"]) >= 1
        assert answers[-1].json()["code"] in ("unavailable", "not_yet_visible")
        assert len(answers) < 9
        answers.append(send(call, operation, key))
    assert answers[-1].status == operation.status, answers[-1].body
    return answers


def knew_that_it_was_done(answers: Sequence[Answer]) -> bool:
    """Whether the attempt that did it has heard of that, and so could count it."""
    codes = {answer.json().get("code") for answer in answers}
    return "not_yet_visible" in codes or "Idempotency-Replayed" not in answers[-1].headers


def assert_done_once(raw: valkey.Valkey, operation: Operation, answer: Answer) -> None:
    """Asserts that it was done, in the profile and on the board, and once."""
    world = invariants.look(raw)
    games = {user_id: int(profile["gamesPlayed"]) for user_id, profile in world.profiles.items()}
    assert invariants.active(raw, "ada", "bob", "new") == (set() if operation.function == "create_user" else {"ada"})
    if operation.function == "update_score":
        assert answer.json()["receipt"]["score"] == 107
        assert games == {"ada": 1, "bob": 0}
        assert world.board == {"ada": 107, "bob": 105}
    elif operation.function == "create_user":
        user_id = answer.json()["user"]["userId"]
        assert games == {"ada": 0, "bob": 0, user_id: 0}
        assert world.board == {"ada": 100, "bob": 105, user_id: 70}
    else:
        session = answer.json()["session"]
        (key,) = raw.scan_iter("session:*")
        assert key == f"session:{session['sessionId']}"
        assert json.loads(raw.get(key)) == session
        assert raw.zrange("{user:ada}:sessions", 0, -1) == [session["sessionId"]]
        assert games == {"ada": 0, "bob": 0}


def lengths(call: Invoker, wire: Saboteur, raw: valkey.Valkey, operation: Operation, key: str | None) -> dict[str, int]:
    """How many bytes an undisturbed request moves in each direction."""
    begin(call, raw)
    arm(call, wire, [])
    assert send(call, operation, key).status == operation.status
    (passed,) = wire.passed
    return {direction: len(data) for direction, data in passed.items()}


def edges(
    call: Invoker, wire: Saboteur, raw: valkey.Valkey, operation: Operation, key: str | None
) -> dict[str, set[int]]:
    """Positions around the end of each command, byte by byte, and at the end of each line of the replies."""
    begin(call, raw)
    arm(call, wire, [])
    send(call, operation, key)
    (passed,) = wire.passed
    found = {}
    for direction, mark in ((REQUEST, b"\r\n*"), (REPLY, b"\r\n")):
        data = bytes(passed[direction])
        ends = {0, len(data)}
        at = data.find(mark)
        while at >= 0:
            ends.add(at + 2)
            at = data.find(mark, at + 1)
        nearby = (-1, 0, 1) if direction == REQUEST or SCALE > 1 else (0,)
        found[direction] = {end + by for end in ends for by in nearby if 0 <= end + by < len(data)}
    return found


def positions(call: Invoker, wire: Saboteur, raw: valkey.Valkey, operation: Operation, key: str | None) -> list[Fault]:
    """Where to cut a request's wire: around every boundary, and at regular distances."""
    near = edges(call, wire, raw, operation, key)
    total = lengths(call, wire, raw, operation, key)
    return [
        Fault(direction, position, CUT)
        for direction in (REQUEST, REPLY)
        for position in sorted({*near[direction], *range(0, total[direction], STRIDE)})
    ]


@pytest.mark.timeout(600 * SCALE)
@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_wherever_the_wire_is_cut_the_client_that_retries_is_counted_once(
    name: str, times: int, call: Invoker, wire: Saboteur, raw: valkey.Valkey, logged: Lines
) -> None:
    operation = OPERATIONS[name]
    every = 2 if times > 1 and SCALE == 1 else 1
    for number, fault in enumerate(positions(call, wire, raw, operation, KEY)[times % every :: every]):
        begin(call, raw)
        arm(call, wire, [fault] * times)
        before = logged.counted.copy()
        answers = send_until_done(call, operation, KEY)
        assert wire.met >= 1, fault
        if times == 1:
            assert len(answers) == 1, "our own second try has done it"
            assert "Idempotency-Replayed" not in answers[0].headers, "for the client it is the first"
        assert_done_once(raw, operation, answers[-1])
        arm(call, wire, [])
        again = send(call, operation, KEY)
        assert (again.status, again.headers.get("Idempotency-Replayed")) == (operation.status, "true")
        assert logged.since(before, COUNTED[operation.function]) == knew_that_it_was_done(answers), fault
        assert_done_once(raw, operation, again)
        if number % 5 == 0 or SCALE > 1:
            invariants.settle(raw)
        tried["cuts with a key"] += 1


@pytest.mark.timeout(600 * SCALE)
@pytest.mark.parametrize("name", ["increment", "creation"])
def test_one_lost_reply_without_a_key_is_still_exact(
    name: str, call: Invoker, wire: Saboteur, raw: valkey.Valkey
) -> None:
    operation = OPERATIONS[name]
    for fault in positions(call, wire, raw, operation, None):
        begin(call, raw)
        arm(call, wire, [fault])
        answer = send(call, operation, None)
        assert wire.met == 1
        assert answer.status == operation.status, (fault, answer.body)
        assert "Idempotency-Replayed" not in answer.headers
        if operation is INCREMENT:
            receipt = answer.json()["receipt"]
            assert (receipt["previousScore"], receipt["delta"], receipt["rank"]) == (100, 7, 1)
        assert_done_once(raw, operation, answer)
        invariants.settle(raw)
        assert_done_once(raw, operation, answer)
        tried["single cuts without a key"] += 1


@pytest.mark.timeout(600 * SCALE)
def test_when_both_replies_are_lost_the_answer_says_what_is_known(
    call: Invoker, wire: Saboteur, raw: valkey.Valkey, logged: Lines
) -> None:
    codes = Counter[str]()
    lengths(call, wire, raw, INCREMENT, None)
    submitted = wire.passed[0][REPLY].index(b"*7\r\n")  # where the projection's reply begins
    others = (Fault(REQUEST, 0, CUT), Fault(REPLY, 0, CUT), Fault(REPLY, 20, CUT))
    for number, fault in enumerate(positions(call, wire, raw, INCREMENT, None)):
        for second in others if SCALE > 1 else others[number % 3 :][:1]:
            begin(call, raw)
            arm(call, wire, [fault, second])
            before = logged.counted.copy()
            answer = send(call, INCREMENT, None)
            assert wire.met == 2
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) >= 1
            code = answer.json()["code"]
            codes[code] += 1
            score = raw.hget("user:ada", "score")
            assert score in ("100", "107")
            heard = len(wire.passed[0][REPLY]) >= submitted
            assert code == ("not_yet_visible" if heard else "unavailable"), fault
            assert not heard or score == "107", "what is not yet visible is stored"
            assert logged.since(before, "Submissions") == heard, "and counted, which its replay will not be"
            invariants.settle(raw)
            assert raw.hget("user:ada", "score") == score, "and not once more"
            tried["double cuts without a key"] += 1
    assert set(codes) == {"unavailable", "not_yet_visible"}


SILENCES = [
    (direction, position)
    for direction, fractions in ((REQUEST, (0, 0.02, 0.3, 0.7, 0.9)), (REPLY, (0, 0.02, 0.5, 0.95)))
    for position in fractions
]


@pytest.mark.parametrize(("direction", "is_over"), [(REQUEST, False), (REPLY, True)])
def test_ending_a_session_is_not_tried_twice(
    direction: str, is_over: bool, call: Invoker, wire: Saboteur, raw: valkey.Valkey
) -> None:
    """A second try would find nothing, and say that the session never existed."""
    begin(call, raw)
    session_id = send(call, OPERATIONS["session"], None).json()["session"]["sessionId"]
    arm(call, wire, [Fault(direction, 0, CUT)])
    answer = call("sessions", "DELETE", f"/sessions/{session_id}")
    assert (answer.status, answer.json()["code"], len(wire.passed)) == (503, "unavailable", 1)
    again = call("sessions", "DELETE", f"/sessions/{session_id}")
    assert again.status == (404 if is_over else 204)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("name", ["increment", "creation with an id", "session"])
def test_when_the_wire_goes_silent_the_client_that_retries_is_counted_once(
    name: str, times: int, hasty: Invoker, wire: Saboteur, raw: valkey.Valkey
) -> None:
    operation = OPERATIONS[name]
    total = lengths(hasty, wire, raw, operation, KEY)
    for direction, fraction in SILENCES if SCALE > 1 else SILENCES[times - 1 :: 2]:
        begin(hasty, raw)
        arm(hasty, wire, [Fault(direction, int(total[direction] * fraction), SWALLOW)] * times)
        answers = send_until_done(hasty, operation, KEY)
        assert 1 <= wire.met <= times, "the second connection has fewer bytes where the first trip was done"
        assert_done_once(raw, operation, answers[-1])
        invariants.settle(raw)
        assert_done_once(raw, operation, answers[-1])
        tried["silences"] += 1


@pytest.mark.parametrize("fraction", [0, 0.1, 0.3, 0.9])
def test_one_silence_without_a_key_is_still_exact(
    fraction: float, hasty: Invoker, wire: Saboteur, raw: valkey.Valkey
) -> None:
    total = lengths(hasty, wire, raw, INCREMENT, None)
    for direction in (REQUEST, REPLY):
        begin(hasty, raw)
        arm(hasty, wire, [Fault(direction, int(total[direction] * fraction), SWALLOW)])
        answer = send(hasty, INCREMENT, None)
        assert (answer.status, wire.met) == (200, 1)
        assert_done_once(raw, INCREMENT, answer)
        invariants.settle(raw)
        tried["silences"] += 1


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("name", ["increment", "creation", "creation with an id"])
def test_the_bytes_of_a_first_connection_that_arrive_after_the_second_count_nothing(
    name: str, keyed: bool, hasty: Invoker, wire: Saboteur, raw: valkey.Valkey
) -> None:
    operation, key = OPERATIONS[name], KEY if keyed else None
    for position in sorted(edges(hasty, wire, raw, operation, key)[REQUEST])[:: 4 if SCALE == 1 else 1]:
        begin(hasty, raw)
        arm(hasty, wire, [Fault(REQUEST, position, HOLD)])
        answer = send(hasty, operation, key)
        assert (answer.status, wire.met) == (operation.status, 1)
        assert_done_once(raw, operation, answer)
        assert_nothing_comes_of_it(raw, wire, operation, answer)
        tried["late bytes"] += 1


def assert_nothing_comes_of_it(raw: valkey.Valkey, wire: Saboteur, operation: Operation, answer: Answer) -> None:
    """Asserts that the held bytes reach the server and everything stays as it is."""
    wire.release()
    assert_done_once(raw, operation, answer)
    invariants.settle(raw)
    assert_done_once(raw, operation, answer)


@pytest.mark.parametrize("keyed", [False, True])
def test_late_bytes_do_not_undo_what_has_come_since(
    keyed: bool, hasty: Invoker, wire: Saboteur, raw: valkey.Valkey
) -> None:
    key = KEY if keyed else None
    for position in sorted(edges(hasty, wire, raw, INCREMENT, key)[REQUEST])[:: 2 if SCALE == 1 else 1]:
        begin(hasty, raw)
        arm(hasty, wire, [Fault(REQUEST, position, HOLD)])
        assert send(hasty, INCREMENT, key).status == 200
        body = {"score": 40, "operator": "set"}
        assert hasty("update_score", "PUT", "/users/ada/score", json_body=body).status == 200
        assert wire.release() == 1 or position > 0
        world = invariants.look(raw)
        assert world.board == {"ada": 40, "bob": 105}
        assert (world.profiles["ada"]["score"], world.profiles["ada"]["gamesPlayed"]) == ("40", "2")
        world = invariants.settle(raw)
        assert world.board == {"ada": 40, "bob": 105}
        assert world.totals["highScore"] == "107"
        tried["late bytes"] += 1


@pytest.mark.parametrize("keyed", [False, True])
def test_late_bytes_that_would_no_longer_be_refused_do_not_escape_reconcile(
    keyed: bool, hasty: Invoker, wire: Saboteur, raw: valkey.Valkey
) -> None:
    """Our second try was refused, then the player is created, then the first one's bytes arrive."""
    key = KEY if keyed else None
    operation = INCREMENT._replace(path="/users/new/score", status=404)
    for position in sorted(edges(hasty, wire, raw, operation, key)[REQUEST])[:: 2 if SCALE == 1 else 1]:
        begin(hasty, raw)
        arm(hasty, wire, [Fault(REQUEST, position, HOLD)])
        answer = send(hasty, operation, key)
        assert answer.status in (404, 503)
        assert send(hasty, CREATION._replace(body={**NEW, "userId": "new"}), None).status == 201
        wire.release()
        counted = raw.hget("user:new", "score") == "77"
        assert not counted or answer.status == 503, "what was refused for good is not done later"
        invariants.settle(raw)
        if keyed:
            receipt = send(hasty, operation, key).json()["receipt"]
            assert (receipt["previousScore"], receipt["score"]) == (70, 77)
            assert invariants.settle(raw).board == {"ada": 100, "bob": 105, "new": 77}
        tried["late bytes"] += 1


@pytest.mark.parametrize("keyed", [False, True])
def test_bytes_that_come_later_than_a_receipt_lives_meet_the_fence(
    keyed: bool, hasty: Invoker, wire: Saboteur, raw: valkey.Valkey
) -> None:
    """The receipt is gone, and the bytes' own time is 31 seconds before the server's: nothing is counted."""
    begin(hasty, raw)
    arm(hasty, wire, [Fault(REQUEST, 0, HOLD)])
    sent_after = time.time_ns() // 1_000_000
    answer = send(hasty, INCREMENT, KEY if keyed else None)
    sent_before = time.time_ns() // 1_000_000
    assert answer.status == 200
    for key in [*raw.scan_iter("*:submission:*"), *raw.scan_iter("*:receipts:*")]:
        raw.delete(key)
    changed = Counter[int]()

    def as_late(data: bytes) -> bytes:
        for sent in range(sent_after, sent_before + 1):
            changed[sent] += data.count(str(sent).encode())
            data = data.replace(str(sent).encode(), str(sent - 31_000).encode())
        return data

    wire.release(as_late)
    assert changed.total() == 2, "the intent's time and the attempt's"
    assert_done_once(raw, INCREMENT, answer)
    invariants.settle(raw)
    assert_done_once(raw, INCREMENT, answer)


def test_a_wrong_clock_is_told_to_come_again_and_changes_nothing(
    hasty: Invoker, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(hasty, raw)
    for seconds, is_stale in ((-31, True), (31, True), (-29, False), (29, False)):
        shifted = time.time_ns() + seconds * 1_000_000_000
        with monkeypatch.context() as patch:
            patch.setattr("shared.players.time.time_ns", lambda shifted=shifted: shifted)
            answer = send(hasty, INCREMENT, f"{KEY}{seconds}")
        assert answer.status == (503 if is_stale else 200)
        if is_stale:
            assert answer.json()["code"] == "stale_attempt"
            assert raw.hget("user:ada", "score") == "100"
            assert raw.zcard(invariants.PENDING) == 0, "nobody would find an intent from the future"
    assert raw.hget("user:ada", "score") == "114"
    invariants.settle(raw)
    assert send(hasty, INCREMENT, f"{KEY}-31").json()["receipt"]["score"] == 121, "the key was not kept"


def test_a_reply_in_drops_slower_than_the_time_out_is_a_lost_one(
    hasty: Invoker, wire: Saboteur, raw: valkey.Valkey
) -> None:
    total = lengths(hasty, wire, raw, INCREMENT, KEY)
    for position in range(1, total[REPLY], max(1, total[REPLY] // 6)):
        begin(hasty, raw)
        arm(hasty, wire, [Fault(REPLY, position, SWALLOW), Fault(REPLY, position, CUT)])
        answers = send_until_done(hasty, INCREMENT, KEY)
        assert_done_once(raw, INCREMENT, answers[-1])
        invariants.settle(raw)
        tried["silences"] += 1


def set_hidden(*, hidden: bool) -> players.Change:
    return players.set_hidden(store(), settings().rules, user_id="ada", hidden=hidden)


def rename(name: str) -> str:
    return players.amend(store(), settings().rules, user_id="ada", username=name)["username"]


def correct(score: int) -> int:
    done = players.correct(store(), settings().rules, None, user_id="ada", score=score, best_score=200)
    assert not done.replayed
    return done.user["score"]


def erase() -> people.Erased:
    return people.erase(store(), settings().rules, user_id="ada")


ACTS: dict[str, tuple[Callable[[], Any], Any, Callable[[], Any]]] = {
    "hide": (lambda: set_hidden(hidden=True), (False, True), lambda: set_hidden(hidden=False)),
    "rename": (lambda: rename("Ada"), "Ada", lambda: rename("Lovelace")),
    "correct": (lambda: correct(50), 50, lambda: correct(60)),
    "erase": (erase, (0,), lambda: None),
}
"""What may be done to a player, what comes of it, and what somebody does after it."""


def act_length(call: Invoker, wire: Saboteur, raw: valkey.Valkey, act: Callable[[], Any]) -> dict[str, int]:
    """How many bytes an undisturbed act moves; the server knows its scripts then."""
    for _ in range(2):
        begin(call, raw)
        arm(call, wire, [])
        call.run(act)
    (passed,) = wire.passed
    return {direction: len(data) for direction, data in passed.items()}


@pytest.mark.parametrize("name", ACTS)
def test_one_lost_reply_of_an_act_is_exact(name: str, call: Invoker, wire: Saboteur, raw: valkey.Valkey) -> None:
    act, outcome, _ = ACTS[name]
    for direction, total in act_length(call, wire, raw, act).items():
        for position in range(0, total, max(1, total // (5 * SCALE))):
            begin(call, raw)
            arm(call, wire, [Fault(direction, position, CUT)])
            assert call.run(act) == outcome
            assert wire.met == 1
            invariants.settle(raw, acted=True)
            tried["acts"] += 1


@pytest.mark.parametrize("name", ["hide", "rename", "correct"])
def test_late_bytes_of_an_act_do_not_undo_what_has_come_since(
    name: str, hasty: Invoker, wire: Saboteur, raw: valkey.Valkey
) -> None:
    act, outcome, since = ACTS[name]
    total = act_length(hasty, wire, raw, act)[REQUEST]
    for position in (0, total // 5):
        begin(hasty, raw)
        arm(hasty, wire, [Fault(REQUEST, position, HOLD)])
        assert hasty.run(act) == outcome
        hasty.run(since)
        before = raw.hgetall("user:ada")
        wire.release()
        assert raw.hgetall("user:ada") == before
        invariants.settle(raw, acted=True)
        tried["late bytes"] += 1
