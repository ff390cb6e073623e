"""Idempotency keys: how a client says that two requests are one."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson


class Key(NamedTuple):
    """A client's key for one request: a name that tells nobody the key, and the digest of what was asked with it."""

    name: str
    digest: str


def key(caller: str, text: str, operation: str, arguments: Mapping[str, Any]) -> Key:
    """The key that a caller (an API key's id, '' for none) sent as text with these arguments to an operation.

    Two callers' keys never meet. The digest is over the operationId and what the client sent, in a canonical form:
    neither the order of members nor white space nor `1.0` for `1` makes another payload. It must come out the same in
    every release, or a retry across a deployment is refused.
    """
    name = hashlib.sha256(f"{caller}\n{text}".encode()).digest()[:16]
    payload = orjson.dumps([operation, _canonical(arguments)], option=orjson.OPT_SORT_KEYS)
    return Key(_text(name), _text(hashlib.sha256(payload).digest()[:16]))


def replay_headers(replayed: bool) -> dict[str, str]:
    """What a reply says of itself when an earlier request with its key had done the work."""
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
