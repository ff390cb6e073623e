"""The dashboard as a page in a browser, and what the page asks: an ASGI application on the loopback interface.

The page's scripts and styles are files of ours, and Plotly's as its wheel has it; nothing comes from elsewhere, which
the page's Content-Security-Policy holds the browser to.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import gzip
import importlib.util
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from scripts.local import gateway
from scripts.local.dashboard import bodies
from scripts.local.dashboard.sources import Source
from shared import problems

PORT = 8081
LARGEST_BODY_BYTES = 256 * 1024
MOST_POINTS = 100_000

STATIC = Path(__file__).resolve().parent / "static"
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
PLOTLY = "/plotly.js"

HEADERS = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),  # Plotly puts rules for its charts into a style element
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
]

Reply = tuple[int, list[tuple[str, str]], bytes]


class Unreadable(problems.Problem):
    """What was asked is nothing that this can answer."""

    status = 400
    code = "unreadable"
    title = error = "Unreadable question"
    detail = "The question has not the form that it should have."


def application(source: Source, environ: Mapping[str, str], hints: list[str] | None = None) -> gateway.Application:
    """The page over a source. `hints` are commands that make data, for who sees none."""
    hosts = gateway.load(environ).hosts

    async def app(scope: gateway.Scope, receive: gateway.Receive, send: gateway.Send) -> None:
        if scope["type"] == "lifespan":
            await gateway.lifespan(receive, send)
            return
        try:
            gateway.check_host(hosts, scope)
            body = await _body(receive) if scope["method"] == "POST" else b""
            status, headers, content = await asyncio.to_thread(_answer, source, hints or [], scope, body)
        except problems.Problem as problem:
            status, headers, content = _json({"error": problem.detail}, problem.status)
        except gateway.ClientGoneError:
            return
        except ValueError as error:
            status, headers, content = _json({"error": str(error)}, 400)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            status, headers, content = _json({"error": f"The source failed: {type(error).__name__}."}, 502)
        await gateway.reply(send, scope["method"], status, [*headers, *HEADERS], content)

    return app


@contextlib.contextmanager
def serving(app: gateway.Application, sock: socket.socket) -> Iterator[str]:
    """Serves the page on a thread of its own until the block ends; yields its address."""
    with gateway.beside(app, sock, "dashboard"):
        yield f"http://{gateway.HOST}:{sock.getsockname()[1]}"


def listen(environ: Mapping[str, str]) -> socket.socket:
    """The socket that DASHBOARD_PORT asks for; if it asks for none and 8081 is taken, any. Raises OSError,
    MisconfiguredError."""
    port = gateway.port(environ, "DASHBOARD_PORT", PORT, least=0)
    try:
        return gateway.listen(port)
    except OSError:
        if environ.get("DASHBOARD_PORT", "").strip():
            raise
        return gateway.listen(0)


def _answer(source: Source, hints: list[str], scope: gateway.Scope, body: bytes) -> Reply:
    method, path = scope["method"], scope["path"]
    if method in ("GET", "HEAD") and (path in FILES or path == PLOTLY):
        return _file(path, dict(scope["headers"]))
    answers: dict[tuple[str, str], Callable[[Any], Any]] = {
        ("GET", "/dashboard.json"): lambda _: _dashboard(source, hints),
        ("GET", "/alarms"): lambda _: {"Alarms": source.alarms()},
        ("POST", "/metrics"): lambda asked: _metrics(source, asked),
        ("POST", "/logs"): lambda asked: _logs(source, asked),
    }
    if (answer := answers.get((method, path))) is None:
        raise problems.EndpointNotFound
    try:
        return _json(answer(orjson.loads(body) if body else None))
    except (KeyError, TypeError, AttributeError):
        if not body:
            raise
        raise Unreadable from None


def _dashboard(source: Source, hints: list[str]) -> dict[str, Any]:
    """The body, whose metric widgets have their queries and the metrics that only AWS has."""
    body = source.body()
    widgets = []
    for widget in body["widgets"]:
        more: dict[str, Any] = {}
        if widget["type"] == "metric":
            queries = bodies.queries(widget)
            metrics = [query["MetricStat"]["Metric"] for query in queries if "MetricStat" in query]
            lacking = {one["MetricName"] for one in metrics if source.only_on_aws(one["Namespace"], one["MetricName"])}
            more = {
                "queries": queries,
                "onlyOnAws": sorted(lacking),
                "isOnlyOnAws": len(lacking) == len({one["MetricName"] for one in metrics}),
            }
        elif widget["type"] == "log":
            query = widget["properties"]["query"]
            more = {"isOnlyOnAws": '"platform.' in query and source.only_on_aws("AWS/Lambda", "Throttles")}
        widgets.append({**widget, **more})
    return {"title": source.title, "hints": hints, "widgets": widgets}


def _metrics(source: Source, asked: Any) -> dict[str, Any]:
    begin, end, queries = int(asked["StartTime"]), int(asked["EndTime"]), asked["MetricDataQueries"]
    periods = [query["MetricStat"]["Period"] for query in queries if "MetricStat" in query]
    if not periods or min(periods) < 1 or (end - begin) / min(periods) * len(queries) > MOST_POINTS:
        raise ValueError(f"Ask for {MOST_POINTS:,} points at most: a shorter time, or longer periods.")
    return {"MetricDataResults": source.values(queries, begin, end)}


def _logs(source: Source, asked: Any) -> dict[str, Any]:
    return dataclasses.asdict(source.table(asked["query"], float(asked["StartTime"]), float(asked["EndTime"])))


def _file(path: str, asked: Mapping[bytes, bytes]) -> Reply:
    content, kind = _plotly() if path == PLOTLY else ((STATIC / FILES[path][0]).read_bytes(), FILES[path][1])
    tag = f'"{_version() if path == PLOTLY else hash(content)}"'
    headers = [("content-type", kind), ("etag", tag), ("cache-control", "no-cache")]
    if path == PLOTLY:
        headers.append(("content-encoding", "gzip"))
    if asked.get(b"if-none-match", b"").decode("latin-1") == tag:
        return 304, headers, b""
    return 200, headers, content


@functools.cache
def _plotly() -> tuple[bytes, str]:
    """The charts' library, from the wheel, which is not imported for it."""
    return gzip.compress(_plotly_file().read_bytes(), 1), "text/javascript; charset=utf-8"


def _plotly_file() -> Path:
    found = importlib.util.find_spec("plotly")
    return Path(str(found and found.origin)).parent / "package_data" / "plotly.min.js"


def _version() -> int:
    return _plotly_file().stat().st_mtime_ns


async def _body(receive: gateway.Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise gateway.ClientGoneError
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY_BYTES:
            raise problems.BodyTooLarge(LARGEST_BODY_BYTES)
        if not message.get("more_body"):
            return bytes(body)


def _json(value: Any, status: int = 200) -> Reply:
    headers = [("content-type", "application/json"), ("cache-control", "no-store")]
    return status, headers, orjson.dumps(value, default=str)
