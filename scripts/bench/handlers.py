"""Clocks every handler against the bare round trips with the same commands: `make bench`.

Both run interleaved in one process against one embedded Valkey, client and server each on a core of their own. Handlers
get true REST proxy events and write their request logs. "Bare" is a raw socket that sends the very bytes that the
handler was seen to send (in writes with another player of the same id length) and waits for the whole reply. "Unseen"
is the handler without line, metrics and trace, "traced" the handler when Lambda has sampled the request. Ratios of one
run compare across machines; microseconds do not.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import re
import socket
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import libvalkey

from scripts.local import examples, proxy, routes
from scripts.local.examples import Example
from shared import idempotency, telemetry, tracing
from shared.endpoint import Event

BLOCK = 50
"""So many calls of one kind run before the other kind has its turn."""

TRACE = "_X_AMZN_TRACE_ID"
UNSAMPLED = "Root=1-68d3b5a1-3c0ddc5a0ac9b4f65b1ab7e5;Parent=53995c3f42cd8ad8;Sampled=0"
SAMPLED = UNSAMPLED.replace("Sampled=0", "Sampled=1")
"""Where and how Lambda says whether a request is sampled: it always says it."""

VARIETY = 200
"""So many different players are asked about in turn."""

TARGET, TARGET_OF_ROWS = 2.0, 2.2
ROWS = 100
"""Of a full page, which may take longer."""

USER_ID = "userId"

NAMES = {"username": "Grace Hopper", "email": "grace@example.org"}
SCORE = 271828
"""A recorded submission's score; replays put others of as many digits in its place."""

LONGEST_SECONDS = 3600
"""So long one context serves."""

BROWSER = [
    ("Accept", "application/json"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
    ("CloudFront-Forwarded-Proto", "https"),
    ("CloudFront-Is-Desktop-Viewer", "true"),
    ("CloudFront-Is-Mobile-Viewer", "false"),
    ("CloudFront-Is-SmartTV-Viewer", "false"),
    ("CloudFront-Is-Tablet-Viewer", "false"),
    ("CloudFront-Viewer-ASN", "64496"),
    ("CloudFront-Viewer-Country", "DE"),
    ("Host", "abcdef1234.execute-api.eu-central-1.amazonaws.com"),
    ("Origin", "https://game.example.org"),
    ("Referer", "https://game.example.org/play"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("Via", "2.0 5f7e2a7d.cloudfront.net (CloudFront)"),
    ("X-Amz-Cf-Id", "nBsWBOrSHMgnaROZJK1wGCZ9PcRcSpq_oSXZNQwQ10OTZL4cimZo3g=="),
    ("X-Amzn-Trace-Id", "Root=1-68d3b5a1-3c0ddc5a0ac9b4f65b1ab7e5"),
    ("X-Forwarded-For", "203.0.113.9, 198.51.100.44"),
    ("X-Forwarded-Port", "443"),
    ("X-Forwarded-Proto", "https"),
    ("x-api-key", "0123456789abcdefghijABCDEFGHIJ0123456789"),
]
"""What a browser's request brings along behind CloudFront."""

Trips = list[bytes]

Kind = tuple[str, Callable[[], contextlib.AbstractContextManager[None]]]
"""How a handler is called: a column of the table, and the circumstances."""


@dataclass(frozen=True)
class Row:
    """One handler's figures: medians in microseconds, and how many round trips it made."""

    name: str
    trips: int
    handler_microseconds: float
    unseen_microseconds: float
    traced_microseconds: float
    bare_microseconds: float
    ratio: float
    target: float


@dataclass(frozen=True)
class Case:
    """A handler, the events that it gets in turn, and how to make bare trips of the ones that were recorded."""

    name: str
    function: str
    events: Sequence[Event]
    target: float = TARGET
    vary: Callable[[Trips, int], Trips] | None = None


class Bare:
    """A raw connection: prebuilt bytes out, the whole reply in, nothing else."""

    def __init__(self, host: str, port: int):
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1 << 20)

    def clock(self, trips: Trips, reply_bytes: Sequence[int]) -> int:
        """Nanoseconds of these trips, each as long as its reply has this many bytes."""
        send, receive, buffer = self._socket.sendall, self._socket.recv_into, self._buffer
        started = time.perf_counter_ns()
        for trip, expected in zip(trips, reply_bytes, strict=True):
            send(trip)
            missing = expected - receive(buffer)
            while missing > 0:
                missing -= receive(buffer)
        return time.perf_counter_ns() - started

    def reply(self, commands: bytes, count: int = 1) -> list[Any]:
        """The values of that many replies, which must not be errors; `last_bytes` tells how long they were."""
        reader = libvalkey.Reader()
        self._socket.sendall(commands)
        values: list[Any] = []
        self.last_bytes = 0
        while len(values) < count:
            data = self._socket.recv(1 << 16)
            self.last_bytes += len(data)
            reader.feed(data)
            while (value := reader.gets()) is not False and len(values) < count:
                if isinstance(value, Exception):
                    raise value
                values.append(value)
        return values

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()


def rows(host: str, port: int, players: int, iterations: int, only: str) -> Iterator[Row]:
    with (
        contextlib.closing(Bare(host, port)) as bare,
        open(os.devnull, "w", buffering=1) as log,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon,  # X-Ray's, which has no time to listen
    ):
        daemon.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*daemon.getsockname())
        as_on_lambda(host, port)
        os.environ.update(LAMBDA_TASK_ROOT=os.getcwd(), AWS_XRAY_DAEMON_ADDRESS=address)
        for case in (case for case in cases(planted(bare, log, players), log) if only in case.name):
            progress(f"clocking {case.name}")
            yield _row(case, bare, log, iterations)
    progress("")


def as_on_lambda(host: str, port: int) -> None:
    """Sets the variables that Lambda would have set."""
    os.environ.update({"VALKEY_HOST": host, "VALKEY_PORT": str(port), TRACE: UNSAMPLED})


def _row(case: Case, bare: Bare, log: Any, iterations: int) -> Row:
    handler, context = handler_of(case.function), proxy.Context(LONGEST_SECONDS, case.function)
    for event in case.events[:5]:
        _answer(handler, event, log)
    recordings = [_recorded(handler, event, log) for event in case.events]
    replays: list[Trips] = recordings
    if case.vary:
        rounds = iterations + 2 * BLOCK
        replays = [case.vary(recordings[index % len(recordings)], index) for index in range(rounds)]
    reply_bytes = [[1] * len(trips) for trips in replays]  # a write's reply is short: its first bytes are all of it
    if not case.vary:
        for trips, sizes in zip(replays, reply_bytes, strict=True):
            for index, trip in enumerate(trips):
                bare.reply(trip, _commands(trip))
                sizes[index] = bare.last_bytes
    kinds: list[Kind] = [("handler", contextlib.nullcontext), ("unseen", unseen), ("traced", _traced)]
    times: dict[str, list[int]] = {"handler": [], "unseen": [], "traced": [], "bare": []}
    clock = time.perf_counter_ns
    with contextlib.redirect_stdout(log):
        for start in range(0, iterations + 2 * BLOCK, BLOCK):  # the first two blocks warm up
            for name, circumstances in kinds:
                with circumstances():
                    for index in range(start, start + BLOCK):
                        event = case.events[index % len(case.events)]
                        started = clock()
                        handler(event, context)
                        times[name].append(clock() - started)
            kinds.append(kinds.pop(0))  # who comes first finds colder caches
            for index in range(start, start + BLOCK):
                at = index % len(replays)
                times["bare"].append(bare.clock(replays[at], reply_bytes[at]))
    bare.reply(b"PING\r\n")  # fails if a trip's reply had not all arrived
    medians = {name: round(statistics.median(all_[2 * BLOCK :]) / 1000, 1) for name, all_ in times.items()}
    return Row(
        name=case.name,
        trips=len(recordings[0]),
        **{f"{name}_microseconds": median for name, median in medians.items()},
        ratio=round(medians["handler"] / medians["bare"], 2),
        target=case.target,
    )


@contextlib.contextmanager
def _traced() -> Iterator[None]:
    """Lambda has sampled the requests."""
    os.environ[TRACE] = SAMPLED
    yield
    os.environ[TRACE] = UNSAMPLED


@contextlib.contextmanager
def unseen() -> Iterator[None]:
    """Nobody is told what the requests do: neither log nor metrics nor trace."""
    watched = [(telemetry, "start"), (telemetry, "add"), (telemetry, "answered"), (tracing, "start"), (tracing, "send")]
    with contextlib.ExitStack() as stack:
        for module, name in watched:
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, lambda *_, **__: None)
        yield


def cases(user_ids: list[str], log: Any) -> list[Case]:
    """A row for each operation of the contract that anybody may ask for again and again: its example, of many players.
    What takes a token even where access is open is for people, and for what happens once.

    Writes come last: the replies of reads keep their lengths.
    """
    chance = random.Random(1)
    some = chance.sample(user_ids, VARIETY)
    others = [user_id for user_id in user_ids if user_id not in set(some)][:VARIETY]

    def score() -> int:
        return chance.randrange(10**5, 10**6)

    def repeat(trips: Trips, index: int) -> Trips:
        return _replaced(trips, others[index % len(others)], score(), 10**15 + 1 + index)

    def make_another(trips: Trips, _: int) -> Trips:
        return _replaced(trips, str(uuid.uuid4()), score(), 10**15)

    ids = examples.existing(lambda example: _answer(handler_of(example.function), _event(example), log))
    found = examples.load({**ids, USER_ID: some[0]}).values()
    repeatable = sorted(
        (one for one in found if one.method not in ("DELETE", "HEAD") and not one.needs_a_token),
        key=lambda one: one.changes,
    )
    cases = []
    for example in repeatable:
        names_a_player = USER_ID in example.parameters
        events = [_event(_about(example, user_id, score())) for user_id in (some if names_a_player else some[:1])]
        vary = (repeat if names_a_player else make_another) if example.changes else None
        cases.append(Case(_name(example), example.function, events, vary=vary))
        if "limit" in example.query:
            full = replace(example, query={**example.query, "limit": ROWS})
            cases.append(Case(_name(full), example.function, [_event(full)], TARGET_OF_ROWS))
    return cases


def _name(example: Example) -> str:
    """The operation, and how much of it is asked for: `nearby 5`."""
    return " ".join([example.operation_id, *map(str, list(example.query.values())[:1])])


def _about(example: Example, user_id: str, score: int) -> Example:
    """The same of another player, with another score, where it has them."""
    parameters = {name: user_id if name == USER_ID else value for name, value in example.parameters.items()}
    body = {**example.body, "score": score} if example.body and "score" in example.body else example.body
    return replace(example, parameters=parameters, body=body)


def planted(bare: Bare, log: Any, players: int) -> list[str]:
    """A board of that many: one creation is recorded, the others are that one with another id and score."""
    handler = handler_of("create_user")
    event = _event(replace(examples.load()["create_user"], body={**NAMES, "score": SCORE}))
    _answer(handler, event, log)
    template = _recorded(handler, event, log)
    chance = random.Random(0)
    user_ids = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(players)]
    for start in range(0, players, 1000):
        progress(f"planting {start} of {players} players")
        batch = [
            trip
            for user_id in user_ids[start : start + 1000]
            for trip in _replaced(template, user_id, chance.randrange(10**5, 10**6), 10**15)
        ]
        replies = bare.reply(b"".join(batch), sum(map(_commands, batch)))
        if not all(reply[0] == b"done" for reply in replies[1::3]):  # an intent, a submission, a projection
            raise RuntimeError("a planted player was refused")
    return user_ids


def _replaced(trips: Trips, user_id: str, score: int, revision: int) -> Trips:
    """A recorded submission for another player, score and revision of the same lengths, as an attempt of now; or a
    recorded session under another id. RuntimeError if it is neither."""
    if opened := re.search(rb"session:([0-9a-f-]{36})", trips[-1]):
        another, now = str(uuid.uuid4()).encode(), b"$13\r\n%d\r\n" % (time.time_ns() // 1_000_000)
        return [re.sub(rb"\$13\r\n\d+\r\n", now, trip.replace(opened[1], another)) for trip in trips]
    attempted = re.search(rb"\r\n([0-9a-f-]{36}):([\w-]{12})\r\n", trips[0])
    numbers = [re.search(rb"\$%d\r\n(\d+)\r\n" % len(str(number)), trips[-1]) for number in (score, revision)]
    sent = re.search(rb"\$13\r\n(\d+)\r\n", trips[0])
    if not (attempted and sent and all(numbers)):
        raise RuntimeError("these are the trips of neither a submission nor a session: say here how to repeat them")
    pairs = [
        (attempted[1], user_id.encode()),
        (attempted[2], idempotency.attempt().encode()),
        (sent[0], b"$13\r\n%d\r\n" % (time.time_ns() // 1_000_000)),
        *(
            (seen[0], b"$%d\r\n%d\r\n" % (len(str(n)), n))
            for n, seen in zip((score, revision), numbers, strict=True)
            if seen
        ),
    ]
    replaced = list(trips)
    for old, new in pairs:
        replaced = [trip.replace(old, new) for trip in replaced]
    return replaced


def handler_of(function: str) -> Callable[[Event, Any], dict[str, Any]]:
    handler: Callable[[Event, Any], dict[str, Any]] = importlib.import_module(f"functions.{function}.handler").handler
    return handler


def _answer(handler: Callable[[Event, Any], dict[str, Any]], event: Event, log: Any) -> Any:
    """A reply's body; it must be a good one."""
    with contextlib.redirect_stdout(log):
        response = handler(event, proxy.Context())
    if response["statusCode"] >= 300:
        raise RuntimeError(f"{event['httpMethod']} {event['path']} was answered {response['body']}")
    return json.loads(response["body"])


def _recorded(handler: Callable[[Event, Any], dict[str, Any]], event: Event, log: Any) -> Trips:
    """What the handler sends for an event, a trip an item, as its socket sees it."""
    trips: Trips = []
    replied = True
    real: dict[str, Any] = {name: getattr(socket.socket, name) for name in ("send", "sendall", "recv", "recv_into")}

    def sends(name: str) -> Callable[..., Any]:
        def send(self: socket.socket, data: Any, *rest: Any) -> Any:
            nonlocal replied
            if replied:
                trips.append(b"")
                replied = False
            trips[-1] += bytes(data)
            return real[name](self, data, *rest)

        return send

    def receives(name: str) -> Callable[..., Any]:
        def receive(self: socket.socket, *rest: Any) -> Any:
            nonlocal replied
            received = real[name](self, *rest)
            replied = True
            return received

        return receive

    try:
        for name in real:
            setattr(socket.socket, name, (sends if name.startswith("send") else receives)(name))
        _answer(handler, event, log)
    finally:
        for name in real:
            delattr(socket.socket, name)
    return trips


def _commands(trip: bytes) -> int:
    """How many commands there are in a trip's bytes."""
    return len(re.findall(rb"(?:\A|\r\n)\*\d+\r\n", trip))


def _event(example: Example) -> Event:
    """A request as a browser behind CloudFront makes it."""
    path, _, query = example.target.partition("?")
    body, headers = b"", BROWSER
    if example.body is not None:
        body, headers = json.dumps(example.body).encode(), [*BROWSER, ("Content-Type", "application/json")]
    request = proxy.Request(str(uuid.uuid4()), example.method, path, query, headers, body, "203.0.113.9")
    (resource,) = [one for one in routes.load() if one.path == example.path]
    return proxy.event(request, resource.routes[example.method], example.parameters)


@contextlib.contextmanager
def own_cores(server_pid: int) -> Iterator[bool]:
    """The server on one core and this process on another, where the platform lets us choose and there are two."""
    if sys.platform != "linux" or len(cores := sorted(os.sched_getaffinity(0))) < 2:
        yield False
        return
    os.sched_setaffinity(server_pid, {cores[0]})
    os.sched_setaffinity(0, {cores[1]})
    try:
        yield True
    finally:
        os.sched_setaffinity(0, set(cores))


def progress(text: str) -> None:
    """What is being done, on standard error: one line on a terminal, '' takes it away."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text and not text.startswith("planting"):
        print(text, file=sys.stderr)


def print_table(rows: Sequence[Row], conditions: str, pinned: bool) -> None:
    print(f"{conditions}, {'a core each' if pinned else 'cores shared'}; bare = the same commands on a raw socket\n")
    columns = "".join(f"{f'{name} µs':>11}" for name in ("handler", "unseen", "traced", "bare"))
    print(f"{'':16}{'trips':>6}{columns}{'ratio':>8}{'target':>8}")
    for row in rows:
        ratio = f"{row.ratio:8.2f}"
        if sys.stdout.isatty():
            ratio = f"\033[{32 if row.ratio <= row.target else 31}m{ratio}\033[0m"
        clocked = (row.handler_microseconds, row.unseen_microseconds, row.traced_microseconds, row.bare_microseconds)
        figures = f"{''.join(f'{one:11.1f}' for one in clocked)}{ratio}{row.target:8.1f}"
        print(f"{row.name:16}{row.trips:>6}{figures}{'' if row.ratio <= row.target else '  missed'}")
