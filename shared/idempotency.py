"""Idempotency keys: how a client says that two requests are one."""

from __future__ import annotations

import base64
import hashlib
import os
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

DIGEST_BYTES, ATTEMPT_BYTES = 12, 9
"""As base64 they fill 16 and 12 characters of a receipt. A digest need only tell the payloads of one key apart, and an
attempt's id the attempts of one player."""


class Key(NamedTuple):
    """A client's key for one request: a name that does not give the key away, the digest of what was asked with it, and
    the id of what a POST makes with it if the client sends none."""

    name: str
    digest: str
    made_id: str


def key(caller: str, text: str, operation: str, arguments: Mapping[str, Any]) -> Key:
    """The key that a caller sent as text with these arguments to an operation. The caller is the name of the one whom a
    token vouches for, else an API key's id, '' for none.

    Two callers' keys never meet. The digest is over the operationId and what the client sent, in a canonical form:
    neither the order of members nor white space nor `1.0` for `1` makes another payload. It must come out the same in
    every release, or a retry across a deployment is refused; so must the id, or such a retry makes a second one.
    """
    name = hashlib.sha256(f"{caller}\n{text}".encode()).digest()[:16]
    payload = canonical([operation, arguments])
    return Key(_text(name), _text(hashlib.sha256(payload).digest()[:DIGEST_BYTES]), derived_id(operation, caller, text))


def derived_id(*parts: str) -> str:
    """The UUID of version 8 (RFC 9562) made from the SHA-256 of these texts, none of which holds a line break."""
    number = int.from_bytes(hashlib.sha256("\n".join(parts).encode()).digest()[:16])
    return str(uuid.UUID(int=number & ~(0xF << 76 | 0x3 << 62) | 8 << 76 | 2 << 62))


def attempt() -> str:
    """A random id for one attempt: 12 characters."""
    return _text(os.urandom(ATTEMPT_BYTES))


def canonical(value: Any) -> bytes:
    """A JSON value as bytes that are the same however it was written."""
    return orjson.dumps(_canonical(value), option=orjson.OPT_SORT_KEYS)


def replay_headers(replayed: bool) -> dict[str, str]:
    """The headers that tell whether an earlier request with the same key had done the work."""
    return {"Idempotency-Replayed": "true"} if replayed else {}


def _canonical(value: Any) -> Any:
    """The value with its whole numbers as integers, however they were written."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, Mapping):
        return {name: _canonical(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_canonical(part) for part in value]
    return value


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
