"""The local API Gateway: serves the contract over HTTP with the very handlers that Lambda runs.

`python -m scripts.local.gateway` serves on PORT (default 8080) with the Valkey that VALKEY_HOST names; `make run`
starts one.
"""

import asyncio
import contextlib
import dataclasses
import hmac
import math
import os
import re
import socket
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from typing import Protocol as Interface
from urllib.parse import quote

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from scripts import signals
from scripts.local import authorizing, proxy, routes
from shared import config, endpoint, problems

HOST = "127.0.0.1"
LARGEST_BODY_BYTES = 10 * 1024 * 1024
"""API Gateway's own limit; the functions' is lower."""
CONCURRENCY = 256
"""How many requests are answered at a time, each on a thread with its own connection to Valkey, as on Lambda."""
START_SECONDS = 10
REQUEST_SECONDS = 10
"""How long a request's head may take to arrive, and then its body."""
LONGEST_IDLE_SECONDS = 75
LONGEST_QUEUE = 2048
"""How many connections may wait to be accepted."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""The hosts that are always answered. A website whose name was made to resolve to this machine sends its own name."""
SAFE_IN_PATH = "".join(map(chr, range(0x21, 0x7F)))

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class BadGateway(problems.InternalError):
    """A handler raised, or returned what API Gateway cannot send."""

    status = 502
    code = "bad_gateway"
    title = "Bad gateway"


class Misdirected(problems.Problem):
    """The request was meant for another host."""

    status = 421
    code = "misdirected_request"
    title = error = "Misdirected request"
    detail = "This server answers to 127.0.0.1 and localhost; ALLOWED_HOSTS adds other names."


class RequestTimeout(problems.Problem):
    """The body did not arrive in time."""

    status = 408
    code = "request_timeout"
    title = error = "Request timeout"
    detail = "The body did not arrive in time. Nothing was changed."


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The gateway's own settings; the functions have theirs."""

    api_keys: tuple[bytes, ...]
    """Any of these opens the API; none means that no key is needed."""
    requests_per_second: float
    """The rate limit, which is also the largest burst; infinite for none."""
    hosts: frozenset[str]
    """The names that a request's Host may have, in lower case; `*` is any."""
    function_seconds: float
    """How long a function may run, as its context tells it: Lambda's time-out."""
    is_protected: bool
    """Whether operations that list scopes take a token."""


class Protocol(HttpToolsProtocol):
    """Uvicorn's HTTP, which waits for a client's request for ever; this closes the connection."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _start(self) -> None:
        self._stop()
        self._timer = self.loop.call_later(REQUEST_SECONDS, self._end)

    def _stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        if self.cycle and not self.cycle.response_complete:
            self._start()  # the application will answer, if only that the body took too long
        else:
            self.transport.close()


class Bucket:
    """A token bucket: so many requests a second, and as many (at least one) at once."""

    def __init__(self, per_second: float):
        self._per_second = per_second
        self._size = max(1.0, per_second)
        self._tokens = self._size
        self._at = time.monotonic()

    def take(self) -> float:
        """0 when the request may pass, else the seconds until the next one may."""
        if math.isinf(self._per_second):
            return 0
        now = time.monotonic()
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._per_second
        self._tokens -= 1
        return 0


@dataclasses.dataclass
class Seen:
    """What there is to know of a request once it is answered: times in milliseconds, `code` of a problem of ours."""

    request_id: str
    method: str
    client: str
    route: str | None = None
    status: int = 0
    code: str | None = None
    milliseconds: float = 0
    function_milliseconds: float | None = None
    """None if no function was called."""


class Watch(Interface):
    """Who is told what happens here, on whatever thread it happens."""

    def invocation(self, function: str) -> contextlib.AbstractContextManager[None]:
        """Stands around each call of a function, on its thread."""

    def answered(self, seen: Seen) -> None:
        """Hears of each request that was answered."""


@dataclasses.dataclass(frozen=True)
class _Gateway:
    """What all requests share."""

    settings: Settings
    resources: list[routes.Resource]
    bucket: Bucket
    pool: ThreadPoolExecutor
    watch: Watch | None
    authorizer: authorizing.Authorizer | None
    """None where access is open."""


def load(environ: Mapping[str, str]) -> Settings:
    """The gateway's settings from a mapping such as `os.environ`. Raises MisconfiguredError for the first bad one."""
    return Settings(
        api_keys=tuple(key.strip().encode() for key in environ.get("API_KEY", "").split(",") if key.strip()),
        requests_per_second=_positive(environ, "RATE_LIMIT", math.inf),
        hosts=LOOPBACK | {name.strip().lower() for name in environ.get("ALLOWED_HOSTS", "").split(",") if name.strip()},
        function_seconds=_positive(environ, "FUNCTION_SECONDS", proxy.FUNCTION_SECONDS),
        is_protected=environ.get("ACCESS", "").strip() == "protected",
    )


def application(environ: Mapping[str, str], watch: Watch | None = None) -> Application:
    """The gateway as an ASGI application. environ holds the gateway's own settings; the handlers read `os.environ`.

    Raises MisconfiguredError, and ImportError for an operation that has no handler.
    """
    settings = load(environ)
    pool = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="function")
    authorizer = authorizing.Authorizer() if settings.is_protected else None
    gateway = _Gateway(settings, routes.load(), Bucket(settings.requests_per_second), pool, watch, authorizer)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            pool.shutdown(wait=False, cancel_futures=True)
            return
        with contextlib.suppress(ClientGoneError):
            status, headers, body = await _reply(gateway, scope, receive)
            await reply(send, scope["method"], status, headers, body)

    return app


def listen(port: int) -> socket.socket:
    """A listening socket on the loopback interface. Raises OSError when the port is taken."""
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it every other reply waits 40 ms.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
        sock.listen(LONGEST_QUEUE)
    except OSError:
        sock.close()
        raise
    return sock


def server(app: Application) -> uvicorn.Server:
    """An HTTP server for the application: `run(sockets=[listen(port)])` serves until a signal or `should_exit`."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            log_level="critical",  # our own lines are the log
            access_log=False,
            server_header=False,
            timeout_keep_alive=LONGEST_IDLE_SECONDS,
            timeout_graceful_shutdown=1,
        )
    )


@contextlib.contextmanager
def running(environ: Mapping[str, str], port: int = 0) -> Iterator[str]:
    """A gateway in this process, on a thread, until the block ends; yields its base URL. Port 0 takes a free one."""
    with listen(port) as sock, beside(application(environ), sock, "gateway"):
        yield f"http://{HOST}:{sock.getsockname()[1]}"


@contextlib.contextmanager
def beside(app: Application, sock: socket.socket, name: str) -> Iterator[None]:
    """Serves an application on a thread of that name until the block ends."""
    serving = server(app)
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [sock]}, name=name)
    thread.start()
    try:
        _wait_until_started(serving, thread)
        yield
    finally:
        serving.should_exit = True
        thread.join()


def serve(app: Application, sock: socket.socket) -> None:
    """Serves on the main thread until SIGINT or SIGTERM, which reaches the caller's own handler once all is closed."""
    server(app).run(sockets=[sock])


def port(environ: Mapping[str, str], name: str = "PORT", default: int = 8080, *, least: int = 1) -> int:
    """The port to serve on. Raises MisconfiguredError."""
    text = environ.get(name, "").strip() or str(default)
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= 65535:
        raise config.MisconfiguredError(f"{name} is {text!r}: it should be a number from {least} to 65535")
    return int(text)


def _positive(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not value > 0:
        raise config.MisconfiguredError(f"{name} is {text!r}: it should be a number above 0")
    return value


async def _reply(gateway: _Gateway, scope: Scope, receive: Receive) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body, whatever goes wrong. Raises ClientGoneError."""
    began = time.perf_counter()
    seen = Seen(str(uuid.uuid4()), scope["method"], scope["client"][0] if scope["client"] else HOST)
    status, headers, body = await _seen_reply(gateway, scope, receive, seen)
    if gateway.watch:
        seen.status, seen.milliseconds = status, (time.perf_counter() - began) * 1000
        gateway.watch.answered(seen)
    return status, headers, body


async def _seen_reply(
    gateway: _Gateway, scope: Scope, receive: Receive, seen: Seen
) -> tuple[int, list[tuple[str, str]], bytes]:
    try:
        return proxy.http_reply(await _response(gateway, scope, receive, seen))
    except ClientGoneError:
        raise
    except problems.Problem as problem:
        seen.code = problem.code
        status, headers, body = proxy.http_reply(endpoint.reply_to_problem(problem, seen.request_id))
        closing = [("connection", "close")] if isinstance(problem, RequestTimeout) else []
        return status, [*headers, *closing], body
    except Exception:
        traceback.print_exc()
        seen.code = BadGateway.code
        return proxy.http_reply(endpoint.reply_to_problem(BadGateway(), seen.request_id))


async def _response(gateway: _Gateway, scope: Scope, receive: Receive, seen: Seen) -> endpoint.Response:
    """What the handler or the preflight answers. Raises Problem, ClientGoneError, and whatever a handler raises."""
    settings, request_id = gateway.settings, seen.request_id
    check_host(settings.hosts, scope)
    path = quote(scope["raw_path"], safe=SAFE_IN_PATH)
    found = routes.find(gateway.resources, path)
    if found is None:
        raise problems.EndpointNotFound
    resource, parameters = found
    seen.route = resource.path
    if scope["method"] == "OPTIONS":
        return preflight(resource, request_id)
    route = resource.routes.get(scope["method"])
    if route is None:
        raise problems.EndpointNotFound
    request = _request(scope, path, request_id)
    if gateway.authorizer and route.needs_token:
        asked = asyncio.get_running_loop().run_in_executor(gateway.pool, _authorize, gateway, request)
        request = dataclasses.replace(request, authorizer=await asked)
    if route.needs_api_key:
        _check_api_key(settings.api_keys, request.header("x-api-key"))
    _throttle(gateway.bucket)
    request = dataclasses.replace(request, body=await _body(receive, request.header("content-length")))
    return await asyncio.get_running_loop().run_in_executor(
        gateway.pool, _invoke, gateway, request, route, parameters, seen
    )


def _request(scope: Scope, path: str, request_id: str) -> proxy.Request:
    return proxy.Request(
        request_id=request_id,
        method=scope["method"],
        path=path,
        query=scope["query_string"].decode("utf-8", "replace"),
        headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
        body=b"",
        client=scope["client"][0] if scope["client"] else HOST,
    )


def check_host(allowed: frozenset[str], scope: Scope) -> None:
    """Raises Misdirected for a request to another host than those."""
    hosts = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
    names = {re.sub(r":[0-9]*\Z", "", host) for host in hosts}
    if "*" not in allowed and not (names and names <= allowed):
        raise Misdirected


def _check_api_key(valid: tuple[bytes, ...], key: str | None) -> None:
    matches = [hmac.compare_digest((key or "").encode(), valid_key) for valid_key in valid]
    if valid and not any(matches):
        raise problems.Forbidden


def _throttle(bucket: Bucket) -> None:
    wait_seconds = bucket.take()
    if wait_seconds:
        problem = problems.TooManyRequests()
        problem.retry_after_seconds = math.ceil(wait_seconds)
        raise problem


async def _body(receive: Receive, announced: str | None) -> bytes:
    """The body. Raises BodyTooLarge as soon as it is known to be so, RequestTimeout and ClientGoneError."""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            return await _received(receive, announced)
    except TimeoutError:
        raise RequestTimeout from None


async def _received(receive: Receive, announced: str | None) -> bytes:
    if announced is not None and int(announced) > LARGEST_BODY_BYTES:
        raise problems.BodyTooLarge(LARGEST_BODY_BYTES)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY_BYTES:
            raise problems.BodyTooLarge(LARGEST_BODY_BYTES)
        if not message.get("more_body"):
            return bytes(body)


def _authorize(gateway: _Gateway, request: proxy.Request) -> Mapping[str, str]:
    """What the authorizer says of the caller. Raises Problem."""
    if not gateway.authorizer:
        raise problems.Unavailable
    with gateway.watch.invocation(authorizing.FUNCTION) if gateway.watch else contextlib.nullcontext():
        return gateway.authorizer.ask(request, gateway.settings.function_seconds)


def _invoke(
    gateway: _Gateway, request: proxy.Request, route: routes.Route, parameters: Mapping[str, str], seen: Seen
) -> endpoint.Response:
    context = proxy.Context(gateway.settings.function_seconds, route.function, request.request_id)
    began = time.perf_counter()
    try:
        with gateway.watch.invocation(route.function) if gateway.watch else contextlib.nullcontext():
            return route.handler(proxy.event(request, route, parameters), context)
    finally:
        seen.function_milliseconds = (time.perf_counter() - began) * 1000


def preflight(resource: routes.Resource, request_id: str) -> endpoint.Response:
    """What a browser is told that asks what it may send to a path."""
    headers = {
        **endpoint.COMMON_HEADERS,
        "X-Request-Id": request_id,
        "Access-Control-Allow-Methods": ", ".join([*resource.routes, "OPTIONS"]),
        "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, X-Amzn-Trace-Id, X-Api-Key",
        "Access-Control-Max-Age": "600",
    }
    return {"statusCode": 204, "headers": headers, "body": ""}


async def reply(send: Send, method: str, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """Sends a whole reply."""
    if status != 204 and method != "HEAD":  # for HEAD it would have to be the length that GET gets
        headers = [*headers, ("content-length", str(len(body)))]
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive: Receive, send: Send) -> None:
    """Answers a server that tells an application of its start and its end, until its end."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _wait_until_started(serving: uvicorn.Server, thread: threading.Thread) -> None:
    ends = time.monotonic() + START_SECONDS
    while not serving.started:
        if not thread.is_alive() or time.monotonic() > ends:
            raise RuntimeError("the gateway did not start")
        time.sleep(0.005)


def main() -> int:
    """Serves with the Valkey that the environment names, until it is told to stop."""
    signals.interrupt_once()
    try:
        config.load(os.environ)
        with listen(port(os.environ)) as sock:
            serve(application(os.environ), sock)
    except (config.MisconfiguredError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    signals.leave(main())
