"""Lambda's Runtime API for one process: where AWS's own runtime client fetches its work and leaves its answers."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"
PREFIX = "/2018-06-01/runtime"


@dataclass(frozen=True)
class Invocation:
    """One call of a function: its payload, which is JSON, and its ids."""

    request_id: str
    payload: bytes
    function_arn: str
    trace_id: str = ""


@dataclass(frozen=True)
class Ready:
    """The process asked for work."""


@dataclass(frozen=True)
class InitFailed:
    """The process could not load the handler; `body` says why in Lambda's JSON."""

    body: bytes


@dataclass(frozen=True)
class Answered:
    """The handler returned or raised."""

    request_id: str
    body: bytes
    is_error: bool


@dataclass(frozen=True)
class Exited:
    """The process is gone; `status` as subprocess gives it, negative for a signal."""

    status: int


Event = Ready | InitFailed | Answered | Exited


class RuntimeApi(ThreadingHTTPServer):
    """A server on a free port of the loopback interface. What the process does is put on `events`, in its order."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Handler)
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._work: queue.SimpleQueue[tuple[Invocation, float] | None] = queue.SimpleQueue()
        self._closed = False
        threading.Thread(target=self._serve, name="runtime-api", daemon=True).start()

    @property
    def address(self) -> str:
        """Host and port, as AWS_LAMBDA_RUNTIME_API wants it."""
        return f"{HOST}:{self.server_port}"

    def give(self, invocation: Invocation, ends: float) -> None:
        """Hands the process an invocation, which it has to answer before `ends`, in seconds since the epoch."""
        self._work.put((invocation, ends))

    def take(self) -> tuple[Invocation, float] | None:
        """Waits for an invocation; None once the server is closed."""
        return self._work.get()

    def close(self) -> None:
        """Ends the server, and a `take` that is waiting."""
        self._closed = True
        self._work.put(None)
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.server_port)):
            pass  # wakes it, so that it need not poll

    def _serve(self) -> None:
        while not self._closed:
            self.handle_request()
        self.server_close()

    def handle_error(self, *_: Any) -> None:
        """Says nothing about connections that a killed process left."""


class _Handler(BaseHTTPRequestHandler):
    server: RuntimeApi
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """`next`: waits until there is work."""
        if self.path != f"{PREFIX}/invocation/next":
            self._reply(404)
            return
        self.server.events.put(Ready())
        work = self.server.take()
        if work is None:
            self.close_connection = True
            return
        invocation, ends = work
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(ends * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
        }
        if invocation.trace_id:
            headers["Lambda-Runtime-Trace-Id"] = invocation.trace_id
        self._reply(200, invocation.payload, headers)

    def do_POST(self) -> None:
        """`init/error`, or an invocation's `response` or `error`."""
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:  # the process was killed while it wrote
            return
        match self.path.removeprefix(PREFIX).split("/")[1:]:
            case ["init", "error"]:
                event: Event = InitFailed(body)
            case ["invocation", request_id, ("response" | "error") as outcome]:
                event = Answered(request_id, body, outcome == "error")
            case _:
                self._reply(404)
                return
        self.server.events.put(event)
        self._reply(202, b'{"status":"OK"}', {"Content-Type": "application/json"})

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""

    def _reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def wait(events: queue.SimpleQueue[Event], ends: float) -> Event | None:
    """The next event; None if there is none before `ends`, on the monotonic clock."""
    try:
        return events.get(timeout=max(0.0, ends - time.monotonic()))
    except queue.Empty:
        return None
