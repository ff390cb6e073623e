"""The API where access is protected: the local gateway, which asks the real authorizer, and real tokens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.local import gateway, keys
from shared import config
from tests.support import callers, tokens
from tests.support.api import Api


@dataclass(frozen=True)
class Guarded:
    """A gateway, and the folder of the key whose tokens are believed there."""

    base_url: str
    folder: Path

    def bearer(self, scope: config.Scope | None, subject: str = "somebody") -> dict[str, str]:
        """The header with a new token; no header for no scope."""
        return {"Authorization": f"Bearer {tokens.issue(self.folder, scope, subject)}"} if scope else {}

    def able(self, scopes: Sequence[str]) -> Mapping[str, str]:
        """The headers of somebody who may do this to anybody, where these are an operation's scopes."""
        return self.bearer(callers.able_scope(scopes))


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Guarded]:
    """A gateway in this process. Its functions are those of this process: ACCESS has to be set while it is asked."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keys.settings(folder).items():
            patch.setenv(name, value)
        tokens.renew()
        with gateway.running({"ACCESS": "protected"}) as base_url:
            yield Guarded(base_url, folder)
    tokens.renew()


@contextlib.contextmanager
def client(guarded: Guarded, base_url: str = "") -> Iterator[Api]:
    """The API for somebody who may do everything, at another URL if one is given."""
    api = Api(base_url or guarded.base_url, able=guarded.able)
    try:
        yield api
    finally:
        api.close()
