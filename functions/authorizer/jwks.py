"""An identity provider's public keys, as it publishes them (JWKS, RFC 7517), remembered for as long as is good."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shared import logs

FRESH_SECONDS = 3600
"""Older keys are asked for anew, so that one that the provider took back is not believed for longer."""

LONGEST_SECONDS = 24 * 3600
"""So old may keys be while the provider does not answer."""

BETWEEN_SECONDS, RETRY_SECONDS = 60, 5
"""Between two tries at least, while there are keys, whatever the tokens say; and while there are none."""

FETCH_SECONDS = 2.0
MOST_BYTES = 256 * 1024
LEAST_RSA_BITS = 2048

ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
"""The one with which a kind of key may sign here, whatever a token says."""


class JwksAwayError(Exception):
    """The provider's keys cannot be had, so nobody knows whether a token is good."""


class PublicKey(NamedTuple):
    """A key, and the only algorithm that it is for."""

    key: Any
    algorithm: str


class Jwks:
    """The keys that are published at a URL."""

    def __init__(self, url: str):
        self._url = urlsplit(url)
        self._keys: dict[str, PublicKey] = {}
        self._fetched = self._tried = 0.0
        self._lock = threading.Lock()

    def key(self, kid: str) -> PublicKey | None:
        """The key of this name, None if the provider has none. Raises JwksAwayError."""
        with self._lock:
            now = time.time()
            if kid not in self._keys or not _is_within(self._fetched, FRESH_SECONDS, now):
                self._renew(now)
            if not _is_within(self._fetched, LONGEST_SECONDS, now):
                raise JwksAwayError
            return self._keys.get(kid)

    def _renew(self, now: float) -> None:
        """Asks the provider, unless it was asked a moment ago."""
        if _is_within(self._tried, BETWEEN_SECONDS if self._keys else RETRY_SECONDS, now):
            return
        self._tried = now
        try:
            self._keys = _usable(json.loads(self._document()))
        except (OSError, ValueError, RecursionError) as error:
            logs.write("WARNING", "keys of the identity provider not renewed", cause=type(error).__name__)
            return
        self._fetched = now

    def _document(self) -> bytes:
        """What the provider publishes. Raises OSError, also for any reply that is not a 200."""
        ends = time.monotonic() + FETCH_SECONDS
        host, port = self._url.hostname or "", self._url.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=FETCH_SECONDS, context=ssl.create_default_context())
            if self._url.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=FETCH_SECONDS)
        )
        try:
            target = f"{self._url.path or '/'}{'?' + self._url.query if self._url.query else ''}"
            connection.request("GET", target, headers={"Accept": "application/json", "Connection": "close"})
            reply = connection.getresponse()
            if reply.status != 200:
                raise OSError(f"status {reply.status}")
            content = b""
            while more := reply.read1():
                content += more
                if len(content) > MOST_BYTES or time.monotonic() > ends:
                    raise OSError("too much, or too slow")
            return content
        except http.client.HTTPException as error:
            raise OSError("no HTTP") from error
        finally:
            connection.close()


def _is_within(then: float, seconds: float, now: float) -> bool:
    """Whether so many seconds have not passed yet. A clock that was set back may hide how many have."""
    return then <= now < then + seconds


def _usable(document: Any) -> dict[str, PublicKey]:
    """The keys that a token may be signed with, by kid. Raises ValueError for what is no key set."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise ValueError("no key set")
    pairs = (
        (one["kid"], _public_key(one)) for one in keys if isinstance(one, dict) and isinstance(one.get("kid"), str)
    )
    return {kid: key for kid, key in pairs if key}


def _public_key(one: dict[str, Any]) -> PublicKey | None:
    """None for a key that is for something else, of another curve, or too weak."""
    algorithm = ALGORITHMS.get(str(one.get("kty")))
    if not algorithm or one.get("alg", algorithm) != algorithm or one.get("use", "sig") != "sig" or "d" in one:
        return None
    try:
        key = jwt.PyJWK(one, algorithm).key
    except (jwt.PyJWTError, ValueError):
        return None
    match key:
        case rsa.RSAPublicKey(key_size=bits) if bits >= LEAST_RSA_BITS:
            return PublicKey(key, algorithm)
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return PublicKey(key, algorithm)
    return None
