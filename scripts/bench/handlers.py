"""Clocks every handler against the bare round trips with the same commands: `make bench`.

Both run interleaved in one process against one embedded Valkey, client and server each on a core of their own. Handlers
get true REST proxy events and write their request logs. "Bare" is a raw socket that sends the very bytes that the
handler was seen to send (in writes with another player of the same id length) and waits for the whole reply. Ratios of
one run compare across machines; microseconds do not.
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
from dataclasses import dataclass
from typing import Any

import libvalkey

from shared import idempotency

BLOCK = 50
"""So many calls of one kind run before the other kind has its turn."""

VARIETY = 200
"""So many different players are asked about in turn."""

TARGET, TARGET_OF_100_ROWS = 2.0, 2.2

SCORE = 271828
"""A recorded submission's score; replays put others of as many digits in its place."""

Event = dict[str, Any]
Trips = list[bytes]


@dataclass(frozen=True)
class Row:
    """One handler's figures: medians in microseconds, and how many round trips it made."""

    name: str
    trips: int
    handler_microseconds: float
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


class Context:
    """What Lambda hands to a function beside the event."""

    aws_request_id = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    function_name = "leaderboard-bench"
    memory_limit_in_mb = "512"

    def __init__(self, seconds: float = 3600):
        self._ends = time.time() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """As the Python runtime computes it."""
        return max(0, int((self._ends - time.time()) * 1000))


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
    os.environ.update(VALKEY_HOST=host, VALKEY_PORT=str(port))  # as Lambda would have set them
    with contextlib.closing(Bare(host, port)) as bare, open(os.devnull, "w", buffering=1) as log:
        cases = _cases(planted(bare, log, players), log)
        for case in (case for case in cases if only in case.name):
            progress(f"clocking {case.name}")
            yield _row(case, bare, log, iterations)
    progress("")


def _row(case: Case, bare: Bare, log: Any, iterations: int) -> Row:
    handler, context = _handler(case.function), Context()
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
    handled: list[int] = []
    bared: list[int] = []
    clock = time.perf_counter_ns
    with contextlib.redirect_stdout(log):
        for start in range(0, iterations + 2 * BLOCK, BLOCK):  # the first two blocks warm up
            for index in range(start, start + BLOCK):
                event = case.events[index % len(case.events)]
                started = clock()
                handler(event, context)
                handled.append(clock() - started)
            for index in range(start, start + BLOCK):
                at = index % len(replays)
                bared.append(bare.clock(replays[at], reply_bytes[at]))
    bare.reply(b"PING\r\n")  # fails if a trip's reply had not all arrived
    ours, floor = (statistics.median(times[2 * BLOCK :]) / 1000 for times in (handled, bared))
    return Row(case.name, len(recordings[0]), round(ours, 1), round(floor, 1), round(ours / floor, 2), case.target)


def _cases(user_ids: list[str], log: Any) -> list[Case]:
    """Every handler's row. Writes come last: the replies of reads keep their lengths."""
    chance = random.Random(1)
    some = chance.sample(user_ids, VARIETY)
    others = [user_id for user_id in user_ids if user_id not in set(some)]

    def path(method: str, resource: str, parameters: dict[str, str] | None = None, **options: Any) -> Event:
        return _event(method, resource, parameters or {}, **options)

    def of_users(resource: str, **options: Any) -> list[Event]:
        return [path("GET", resource, {"userId": user_id}, **options) for user_id in some]

    session_body = {"userId": some[0], "sessionData": {"device": "phone", "level": 3}}
    session = _answer(_handler("sessions"), path("POST", "/sessions", body=session_body), log)["session"]["sessionId"]

    def another_session(trips: Trips, _: int) -> Trips:
        (trip,) = trips
        used = re.findall(rb"session:([0-9a-f-]{36})", trip)
        return [trip.replace(used[0], str(uuid.uuid4()).encode())]

    def another_player(trips: Trips, _: int) -> Trips:
        return _replaced(trips, str(uuid.uuid4()), chance.randrange(10**5, 10**6), 10**15)

    def another_submission(trips: Trips, index: int) -> Trips:
        another = others[index % min(VARIETY, len(others))]
        return _replaced(trips, another, chance.randrange(10**5, 10**6), 10**15 + 1 + index)

    create = {"username": "Ada Lovelace", "email": "ada@example.org", "score": SCORE}
    updates = [
        path("PUT", "/users/{userId}/score", {"userId": user_id}, body={"score": chance.randrange(10**5, 10**6)})
        for user_id in some
    ]
    health = path("GET", "/health")
    return [
        Case("get user", "get_user", of_users("/users/{userId}")),
        Case("leaderboard 10", "leaderboard", [path("GET", "/leaderboard")]),
        Case(
            "leaderboard 100", "leaderboard", [path("GET", "/leaderboard", query={"limit": "100"})], TARGET_OF_100_ROWS
        ),
        Case("rank", "rank", of_users("/users/{userId}/rank")),
        Case("nearby 5", "nearby", of_users("/users/{userId}/nearby", query={"range": "5"})),
        Case("get session", "sessions", [path("GET", "/sessions/{sessionId}", {"sessionId": session})]),
        Case("stats", "stats", [path("GET", "/stats")]),
        Case("health", "health", [health]),
        Case("create session", "sessions", [path("POST", "/sessions", body=session_body)], vary=another_session),
        Case("create user", "create_user", [path("POST", "/users", body=create)], vary=another_player),
        Case("update score", "update_score", updates, vary=another_submission),
    ]


def planted(bare: Bare, log: Any, players: int) -> list[str]:
    """A board of that many: one creation is recorded, the others are that one with another id and score."""
    handler = _handler("create_user")
    body = {"username": "Grace Hopper", "email": "grace@example.org", "score": SCORE}
    event = _event("POST", "/users", {}, body=body)
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
    """A recorded submission for another player, score and revision of the same lengths, as an attempt of now."""
    attempted = re.search(rb"\r\n([0-9a-f-]{36}):([\w-]{12})\r\n", trips[0])
    numbers = [re.search(rb"\$%d\r\n(\d+)\r\n" % len(str(number)), trips[-1]) for number in (score, revision)]
    sent = re.search(rb"\$13\r\n(\d+)\r\n", trips[0])
    if not (attempted and sent and all(numbers)):
        raise RuntimeError("these are not the trips of a submission")
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


def _handler(function: str) -> Callable[[Event, Any], dict[str, Any]]:
    handler: Callable[[Event, Any], dict[str, Any]] = importlib.import_module(f"functions.{function}.handler").handler
    return handler


def _answer(handler: Callable[[Event, Any], dict[str, Any]], event: Event, log: Any) -> Any:
    """A reply's body; it must be a good one."""
    with contextlib.redirect_stdout(log):
        response = handler(event, Context())
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


def _event(
    method: str, resource: str, parameters: dict[str, str], query: dict[str, str] | None = None, body: Any = None
) -> Event:
    """A REST proxy event as a browser's request behind CloudFront makes it."""
    path = resource.format(**parameters)
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate, br, zstd",
        "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
        "CloudFront-Forwarded-Proto": "https",
        "CloudFront-Is-Desktop-Viewer": "true",
        "CloudFront-Is-Mobile-Viewer": "false",
        "CloudFront-Is-SmartTV-Viewer": "false",
        "CloudFront-Is-Tablet-Viewer": "false",
        "CloudFront-Viewer-ASN": "64496",
        "CloudFront-Viewer-Country": "DE",
        "Host": "abcdef1234.execute-api.eu-central-1.amazonaws.com",
        "Origin": "https://game.example.org",
        "Referer": "https://game.example.org/play",
        "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Via": "2.0 5f7e2a7d.cloudfront.net (CloudFront)",
        "X-Amz-Cf-Id": "nBsWBOrSHMgnaROZJK1wGCZ9PcRcSpq_oSXZNQwQ10OTZL4cimZo3g==",
        "X-Amzn-Trace-Id": "Root=1-68d3b5a1-3c0ddc5a0ac9b4f65b1ab7e5",
        "X-Forwarded-For": "203.0.113.9, 198.51.100.44",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
        "x-api-key": "0123456789abcdefghijABCDEFGHIJ0123456789",
    }
    if body is not None:
        headers["Content-Type"] = "application/json"
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": query and {name: [value] for name, value in query.items()},
        "pathParameters": parameters or None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdef1234",
            "domainName": headers["Host"],
            "extendedRequestId": "JJbxmplEoAMFqRg=",
            "httpMethod": method,
            "identity": {
                "accessKey": None,
                "accountId": None,
                "apiKey": headers["x-api-key"],
                "apiKeyId": "a1b2c3d4e5",
                "caller": None,
                "sourceIp": "203.0.113.9",
                "user": None,
                "userAgent": headers["User-Agent"],
                "userArn": None,
            },
            "path": f"/dev{path}",
            "protocol": "HTTP/1.1",
            "requestId": "3f5c1a54-9f4b-4c8e-8b0e-6f1c6a7f2f10",
            "requestTime": "01/Oct/2025:12:00:00 +0000",
            "requestTimeEpoch": 1759320000000,
            "resourceId": "a1b2c3",
            "resourcePath": resource,
            "stage": "dev",
        },
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


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
    print(f"{'':16}{'trips':>6}{'handler µs':>12}{'bare µs':>10}{'ratio':>8}{'target':>8}")
    for row in rows:
        ratio = f"{row.ratio:8.2f}"
        if sys.stdout.isatty():
            ratio = f"\033[{32 if row.ratio <= row.target else 31}m{ratio}\033[0m"
        figures = f"{row.handler_microseconds:12.1f}{row.bare_microseconds:10.1f}{ratio}{row.target:8.1f}"
        print(f"{row.name:16}{row.trips:>6}{figures}{'' if row.ratio <= row.target else '  missed'}")
