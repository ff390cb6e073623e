"""Traces: what a sampled request tells X-Ray's daemon, here a socket that receives the real datagrams."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import valkey

from scripts.local import embedded_valkey, examples
from scripts.local.examples import Example
from scripts.places import ROOT
from tests.support import lines, processes
from tests.support.invoking import event
from tests.support.wires import Proxy, free_port, proxy_to

ENVIRONMENT = """
import importlib, json, logging, os, sys, time

logging.basicConfig(level=logging.INFO)
loaded = lambda: "aws_xray_sdk" in sys.modules
importlib.import_module("functions.rank.handler")
print(json.dumps({"by_init": loaded()}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    os.environ.pop("_X_AMZN_TRACE_ID", None)
    if asked["trace"]:
        os.environ["_X_AMZN_TRACE_ID"] = asked["trace"]
    handler = importlib.import_module(f"functions.{asked['function']}.handler").handler
    began = time.time()
    response = handler(asked["event"], None)
    print(json.dumps({"response": response, "began": began, "ended": time.time(), "loaded": loaded()}), flush=True)
"""
"""A function's process. As Lambda's runtime does, it puts the trace of each request into its environment."""

ROOT_ID, SEGMENT_ID = "1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
SAMPLED = f"Root={ROOT_ID};Parent={SEGMENT_ID};Sampled=1;Lineage=1:2f4b2c0d:0"
UNSAMPLED = SAMPLED.replace("Sampled=1", "Sampled=0")

KEYS = 2
"""A player's, that are remembered."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Answered:
    """A request's answer, from when to when the handler worked, and whether the SDK is loaded since."""

    status: int
    headers: dict[str, str]
    body: Any
    began: float
    ended: float
    loaded: bool


class Environment:
    """A function's process, past its init."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process
        self.log: list[dict[str, Any]] = []
        self.is_loaded_by_init: bool = self._said("by_init")["by_init"]

    def ask(self, example: Example, trace: str | None = SAMPLED, **more: Any) -> Answered:
        """An operation's answer to its example."""
        assert self._process.stdin
        sent = event(example.method, example.target, json_body=example.body, **more)
        self._process.stdin.write(json.dumps({"function": example.function, "event": sent, "trace": trace}) + "\n")
        self._process.stdin.flush()
        said = self._said("response")
        response = said.pop("response")
        body = json.loads(response["body"] or "null")
        return Answered(response["statusCode"], response["headers"], body, **said)

    def logged(self) -> list[tuple[str, str]]:
        """Message and cause of each failure that was logged since the last look."""
        lines, self.log = self.log, []
        return [(line["message"], line["cause"]) for line in lines if "cause" in line]

    def _said(self, name: str) -> dict[str, Any]:
        assert self._process.stdout
        for line in self._process.stdout:
            said: dict[str, Any] = json.loads(line)
            if name in said and "message" not in said:
                return said
            lines.check(line)
            self.log.append(said)
        raise AssertionError("it has ended")


@contextlib.contextmanager
def lambda_environment(valkey_port: int, daemon: str, **more: object) -> Iterator[Environment]:
    """An environment as Lambda makes it, whose daemon is at that address. It must end well and say nothing else."""
    variables = {
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": daemon,
        "LAMBDA_TASK_ROOT": ROOT,
        "VALKEY_HOST": "127.0.0.1",
        "VALKEY_PORT": valkey_port,
        **more,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", ENVIRONMENT],
        cwd=ROOT,
        env=processes.environment(**variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Environment(process)
            _, complaints = process.communicate(timeout=30)
            assert (process.returncode, complaints) == (0, "")
        finally:
            process.kill()


class Daemon:
    """X-Ray's daemon, for whoever sends it something."""

    def __init__(self, receiver: socket.socket):
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        self._receiver = receiver
        self.address = "{}:{}".format(*receiver.getsockname())
        self.texts: list[str] = []
        """Everything that ever came."""

    def documents(self) -> list[Document]:
        """What has come since the last look: each part, followed by the parts inside."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while datagram := self._receiver.recv(1 << 16):
                header, line_break, text = datagram.decode().partition("\n")
                assert json.loads(header) == {"format": "json", "version": 1}
                assert line_break
                self.texts.append(text)
                found.append(json.loads(text))
                found += found[-1].pop("subsegments", [])
        return found


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """The daemon that hears of every sampled request."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        yield Daemon(receiver)


@pytest.fixture(scope="module")
def proxy(server: embedded_valkey.Server) -> Iterator[Proxy]:
    """What can lose a reply."""
    with proxy_to(server.port) as between:
        yield between


@pytest.fixture(scope="module")
def traced(proxy: Proxy, daemon: Daemon, token_key: Mapping[str, str]) -> Iterator[Environment]:
    """An environment that has answered its first request, whose documents nobody has looked at."""
    settings = {name.upper(): value for name, value in token_key.items()}
    with lambda_environment(
        proxy.port, daemon.address, RECEIPTS_MAX=KEYS, ACCESS="protected", **settings
    ) as environment:
        yield environment


@pytest.fixture
def requests(traced: Environment, daemon: Daemon, raw: valkey.Valkey) -> dict[str, Example]:
    """A request for each operation, of things that exist."""
    made = examples.existing(lambda example: traced.ask(example, None).body)
    assert daemon.documents() == []
    traced.logged()
    return examples.load(made)


def assert_whole(documents: list[Document], answered: Answered, segment: str = SEGMENT_ID) -> Document:
    """The part around the handler, if the others lie within it, one after the other, and it within the request."""
    around, *trips = documents
    assert around["parent_id"] == segment
    assert [trip["parent_id"] for trip in trips] == [around["id"]] * len(trips)
    assert len({document["id"] for document in documents}) == len(documents)
    for document in documents:
        assert (document["trace_id"], document["type"]) == (ROOT_ID, "subsegment")
        assert re.fullmatch("[0-9a-f]{16}", document["id"])
        assert "cause" not in document
    times = [around["start_time"]]
    for trip in trips:
        assert trip["namespace"] == "remote"
        times += trip["start_time"], trip["end_time"]
    times = [answered.began, *times, around["end_time"], answered.ended]
    assert times == sorted(times)
    return around


def flags(document: Document) -> set[str]:
    """How a document says that something went wrong."""
    return {name for name in ("error", "fault", "throttle") if document.get(name)}


def names(documents: list[Document]) -> list[str]:
    return [document["name"] for document in documents]


def test_a_sampled_read_is_a_part_around_the_handler_with_its_trip_inside(
    traced: Environment, daemon: Daemon, requests: dict[str, Example]
) -> None:
    answered = traced.ask(requests["rank"])
    documents = daemon.documents()
    assert answered.status == 200
    assert names(documents) == ["rank.handler.handler", "board.standing"]
    around = assert_whole(documents, answered)
    assert around["namespace"] == "local"
    assert around["annotations"] == {
        "route": "GET /users/{userId}/rank",
        "outcome": "ok",
        "cold": False,
        "replay": False,
    }
    assert [flags(document) for document in documents] == [set(), set()]


def test_a_write_has_two_trips_and_its_replay_says_so(
    traced: Environment, daemon: Daemon, requests: dict[str, Example]
) -> None:
    for outcome in ("ok", "replayed"):
        answered = traced.ask(requests["update_score"], headers={"Idempotency-Key": "one"})
        documents = daemon.documents()
        assert names(documents) == ["update_score.handler.handler", "players.submit", "board.project"]
        annotations = assert_whole(documents, answered)["annotations"]
        assert (annotations["outcome"], annotations["replay"]) == (outcome, outcome == "replayed")
        assert not any(map(flags, documents))


def test_a_request_that_valkey_did_not_answer_is_a_fault_and_so_are_its_trips(
    traced: Environment, daemon: Daemon, proxy: Proxy, requests: dict[str, Example]
) -> None:
    proxy.cuts = 2
    answered = traced.ask(requests["rank"])
    documents = daemon.documents()
    assert answered.status == 503
    assert names(documents) == ["rank.handler.handler", "board.standing", "board.standing"]
    assert assert_whole(documents, answered)["annotations"]["outcome"] == "unavailable"
    assert [flags(document) for document in documents] == [{"fault"}] * 3


def test_a_refusal_is_an_error_and_too_many_keys_are_throttled(
    traced: Environment, daemon: Daemon, raw: valkey.Valkey, requests: dict[str, Example]
) -> None:
    for number in range(KEYS + 1):
        answered = traced.ask(requests["update_score"], headers={"Idempotency-Key": f"key-{number}"})
        around, *trips = daemon.documents()
    assert (answered.status, around["annotations"]["outcome"]) == (429, "refused")
    assert names(trips) == ["players.submit", "outbox.clear"]
    assert flags(around) == {"error", "throttle"}
    raw.flushall()
    answered = traced.ask(requests["rank"])
    around, *trips = daemon.documents()
    assert (answered.status, flags(around), [*map(flags, trips)]) == (404, {"error"}, [set()] * 2)


def test_a_script_that_the_server_has_forgotten_costs_a_trip_and_is_no_fault(
    traced: Environment, daemon: Daemon, raw: valkey.Valkey, requests: dict[str, Example]
) -> None:
    raw.script_flush()
    answered = traced.ask(requests["leaderboard"])
    documents = daemon.documents()
    assert names(documents) == ["leaderboard.handler.handler", "board.top", "board.top"]
    assert_whole(documents, answered)
    assert not any(map(flags, documents))


def test_an_error_reply_is_a_fault_of_its_trip(
    traced: Environment, daemon: Daemon, raw: valkey.Valkey, requests: dict[str, Example]
) -> None:
    raw.set(f"user:{requests['get_user'].parameters['userId']}", "no hash")
    answered = traced.ask(requests["get_user"])
    around, trip = daemon.documents()
    assert (answered.status, flags(around), flags(trip)) == (500, {"fault"}, {"fault"})


def test_another_request_in_the_same_trace_belongs_to_its_own_segment(
    traced: Environment, daemon: Daemon, requests: dict[str, Example]
) -> None:
    for segment in (SEGMENT_ID, "0123456789abcdef"):
        answered = traced.ask(requests["stats"], SAMPLED.replace(SEGMENT_ID, segment))
        assert_whole(daemon.documents(), answered, segment)


@pytest.mark.parametrize("trace", [None, "", UNSAMPLED, f"Root={ROOT_ID}", f"Root={ROOT_ID};Sampled=1", "Sampled=1;="])
def test_who_is_not_sampled_sends_nothing(
    trace: str | None, traced: Environment, daemon: Daemon, requests: dict[str, Example]
) -> None:
    assert traced.ask(requests["rank"], trace).status == 200
    assert daemon.documents() == []


def test_every_trip_is_named_after_a_public_function_and_nothing_personal_is_told(
    traced: Environment, daemon: Daemon, requests: dict[str, Example]
) -> None:
    personal = {"userId": "zz-quaint-id", "username": "Zebedee Quaint", "email": "zebedee@quaint.example"}
    key, api_key = "zz-quaint-key", "zz-quaint-api-key"
    sent = {"headers": {"Idempotency-Key": key, "x-api-key": api_key}}
    body = {**(requests["create_user"].body or {}), **personal}
    make = Example(**{**vars(requests["create_user"]), "body": body})
    assert traced.ask(make, **sent).status == 201
    made = {"userId": personal["userId"], "sessionId": requests["sessions.get"].parameters["sessionId"]}
    operations = examples.load(made).values()
    for example in sorted(operations, key=lambda one: one.method == "DELETE"):
        traced.ask(example, **sent)
        traced.ask(example, **sent, pathParameters={name: f"{value}-gone" for name, value in made.items()})
    documents = daemon.documents()
    routes = {document["annotations"]["route"] for document in documents if "annotations" in document}
    assert routes == {f"{example.method} {example.path}" for example in operations}
    trips = {document["name"] for document in documents if document["namespace"] == "remote"}
    for trip in trips:
        module, function = trip.split(".")
        assert callable(getattr(importlib.import_module(f"shared.{module}"), function))
    assert {"players.create", "players.find", "sessions.create", "health.report"} <= trips
    told = "\n".join(daemon.texts).lower()
    assert "players.create" in told
    for text in (*personal.values(), made["sessionId"], key, api_key, "quaint"):
        assert text.lower() not in told
    known = {"id", "name", "start_time", "end_time", "parent_id", "trace_id", "type", "namespace", "in_progress"}
    known |= {"annotations", "error", "fault", "throttle"}
    assert {name for document in documents for name in document} <= known


def test_a_new_environment_loads_the_sdk_for_its_first_sampled_request_only(
    proxy: Proxy, daemon: Daemon, requests: dict[str, Example]
) -> None:
    with lambda_environment(proxy.port, daemon.address) as environment:
        assert not environment.is_loaded_by_init
        assert not environment.ask(requests["rank"], UNSAMPLED).loaded
        assert daemon.documents() == []
        assert environment.ask(requests["rank"]).loaded
        assert daemon.documents()[0]["annotations"]["cold"] is False
        assert environment.logged() == []


def test_init_loads_the_sdk_where_no_request_waits_for_it(
    proxy: Proxy, daemon: Daemon, requests: dict[str, Example]
) -> None:
    ahead = {"AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency"}
    with lambda_environment(proxy.port, daemon.address, **ahead) as environment:
        assert environment.is_loaded_by_init
        assert environment.ask(requests["rank"]).status == 200
        assert daemon.documents()[0]["annotations"]["cold"] is True


@pytest.mark.parametrize(
    ("variables", "logged"),
    [
        ({"AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{free_port()}"}, []),
        ({"AWS_XRAY_DAEMON_ADDRESS": "nowhere"}, [("tracing is off", "InvalidDaemonAddressException")]),
        ({"AWS_XRAY_DAEMON_ADDRESS": "daemon.example:2000"}, [("tracing is off", "OSError")]),
        ({"AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:0"}, [("trace not sent", "OSError")] * 2),
        ({"AWS_XRAY_SDK_ENABLED": "false"}, []),
        (
            {"LAMBDA_TASK_ROOT": "", "AWS_REGION": "eu-central-1", "AWS_XRAY_CONTEXT_MISSING": "RUNTIME_ERROR"},
            [("trace not sent", "SegmentNotFoundException")] * 2,
        ),
    ],
)
def test_a_daemon_that_cannot_be_reached_fails_no_request(
    variables: dict[str, str],
    logged: list[tuple[str, str]],
    proxy: Proxy,
    daemon: Daemon,
    requests: dict[str, Example],
) -> None:
    with lambda_environment(proxy.port, **{"daemon": daemon.address, **variables}) as environment:
        assert [environment.ask(requests["rank"]).status for _ in range(2)] == [200, 200]
        assert environment.logged() == logged
    assert daemon.documents() == []
