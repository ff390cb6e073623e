"""Claims: a key that comes before anything has a name is bound to the name and the payload it came with first."""

from __future__ import annotations

from typing import NamedTuple

from shared.idempotency import Key
from shared.problems import KeyReused
from shared.store import Command, Script, Store

RELEASE = Script("release", writes=True)

SPARE_SECONDS = 60
"""More than the time from an attempt's claim to its receipt."""


class Claim(NamedTuple):
    """What a key is bound to: a digest of the payload, the id it names, and a time that goes with it ('' for none)."""

    digest: str
    named: str
    time: str = ""


def claim_key(key: Key) -> str:
    """The string that holds a key's claim."""
    return f"submission:{key.name}"


def command(key: Key, own: Claim, receipt_seconds: int) -> Command:
    """The command that binds the key if nothing has yet; its reply is for `read`.

    The claim outlives the receipt of this attempt, which without it nobody would find.
    """
    return ("SET", claim_key(key), " ".join(own), "NX", "GET", "EX", receipt_seconds + SPARE_SECONDS)


def read(reply: str | None, own: Claim) -> Claim:
    """The claim that stands: an earlier one, else our own. Raises KeyReused if it is for another payload."""
    standing = Claim(*reply.split(" ")) if reply else own
    if standing.digest != own.digest:
        raise KeyReused
    return standing


def take(store: Store, key: Key, named: str, receipt_seconds: int) -> Claim:
    """Binds the key to an id, or finds the id that it is bound to, in one round trip. Raises KeyReused."""
    own = Claim(key.digest, named)
    (reply,) = store.ask(command(key, own, receipt_seconds))
    return read(reply, own)


def prolong(store: Store, key: Key, receipt_seconds: int) -> None:
    """Has a claim of an earlier attempt, which came to nothing, outlive the receipt of the one that did it."""
    store.ask(("EXPIRE", claim_key(key), receipt_seconds + SPARE_SECONDS))


def release(store: Store, key: Key, claim: Claim) -> None:
    """Frees the key of a refused request, so that it may come again with another payload."""
    store.ask(RELEASE.call([claim_key(key)], " ".join(claim)))
