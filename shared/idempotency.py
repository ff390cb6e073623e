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
    """The key that a caller (an API key's id, '' for none) sent as text with these validated arguments.

    Two callers' keys never meet. The digest is over a canonical form: neither the order of members nor white space nor
    a default that is spelled out makes another payload.
    """
    name = hashlib.sha256(f"{caller}\n{text}".encode()).digest()[:16]
    payload = orjson.dumps([operation, arguments], option=orjson.OPT_SORT_KEYS)
    return Key(_text(name), _text(hashlib.sha256(payload).digest()[:16]))


def replay_headers(replayed: bool) -> dict[str, str]:
    """What a reply says of itself when an earlier request with its key had done the work."""
    return {"Idempotency-Replayed": "true"} if replayed else {}


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
