"""Asks the API over HTTP, and goes on asking where it says that it may be asked again."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any

from scripts.refusal import Refusal

ANSWER_SECONDS = 35
"""A little longer than API Gateway waits for a function."""

TRIES = 6
"""How often something is asked for. All that is asked for here may be asked for twice: it is done once."""

AGAIN = {0, 429, 502, 503, 504}
"""Statuses after which a request may succeed if it comes again; 0 is no answer."""

PATIENCE_SECONDS = 1
"""How much longer each wait is than the one before, where nobody says how long."""

LONGEST_WAIT_SECONDS = 60
"""Nobody waits longer at a terminal, whatever Retry-After says."""

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True)
class Reply:
    """An answer of the API; status 0 is none. `tries` is how often it was asked for: an earlier try may have been done
    though its answer was lost."""

    status: int
    body: Any
    tries: int

    @property
    def code(self) -> str:
        """The problem's; '' for none."""
        return str(self.body.get("code", "")) if self.status >= 400 and isinstance(self.body, dict) else ""


@dataclass(frozen=True)
class Api:
    """Where the API is, and what a request to it needs."""

    base_url: str
    api_key: str
    """'' for none."""
    token: Callable[[], str]
    """An administrator's token, made or fetched when it is first needed. Raises Refusal."""

    def read(self, target: str) -> Reply:
        """The answer to what anybody may read. Raises Refusal if the API cannot be reached."""
        return self._ask("GET", target, None, {})

    def act(self, method: str, target: str, body: Mapping[str, Any] | None = None, key: str | None = None) -> Reply:
        """The answer to what only an administrator may ask, with an Idempotency-Key perhaps. Raises Refusal."""
        keyed = {"Idempotency-Key": key} if key else {}
        return self._ask(method, target, body, {"Authorization": f"Bearer {self.token()}", **keyed})

    def _ask(self, method: str, target: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Reply:
        data = None if body is None else json.dumps(body).encode()
        keys = {"X-Api-Key": self.api_key} if self.api_key else {}
        sent = {**keys, **headers, **({} if data is None else {"Content-Type": "application/json"})}
        request = urllib.request.Request(self.base_url + target, data, sent, method=method)  # noqa: S310 - our own API
        for tries in range(1, TRIES + 1):
            status, told, text = self._once(request)
            if status not in AGAIN or tries == TRIES:
                break
            seconds = _wait_seconds(told.get("Retry-After"), tries)
            why = f"the API answers {status}" if status else f"no answer came ({text})"
            print(f"Asking again in {seconds} s: {why}.", file=sys.stderr, flush=True)
            time.sleep(seconds)
        return Reply(status, _parsed(text), tries)

    def _once(self, request: urllib.request.Request) -> tuple[int, Message, str]:
        """Status, headers and text; status 0, and why, if no answer came. Raises Refusal if nothing was sent."""
        host = urllib.parse.urlsplit(self.base_url).hostname
        proxies = [urllib.request.ProxyHandler({})] if host in LOOPBACK else []
        try:
            with urllib.request.build_opener(*proxies).open(request, timeout=ANSWER_SECONDS) as response:
                return response.status, response.headers, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ConnectionRefusedError | socket.gaierror):
                raise Refusal(
                    f"{self.base_url} cannot be reached ({reason}): start it, or check the address."
                ) from None
            return 0, Message(), str(reason)


def _wait_seconds(told: str | None, tries: int) -> int:
    """What Retry-After says, else a little longer each time."""
    seconds = int(told) if told and told.isascii() and told.isdigit() else tries * PATIENCE_SECONDS
    return min(seconds, LONGEST_WAIT_SECONDS)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
