"""`make admin`: what people do about a player, through the local API with tokens, and what the audit tells of it."""

from __future__ import annotations

import io
import json
import os
import pty
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import valkey

from scripts.admin import __main__ as admin
from scripts.admin import asking, players, sites
from scripts.local import embedded_valkey, keys
from scripts.local import gateway as local_gateway
from tests.support import tokens
from tests.support.api import fresh_id

REASON = "Impossible scores, ticket 4711"


@dataclass(frozen=True)
class Said:
    """What a command has ended with: its exit status, what it printed, and the log of the functions meanwhile."""

    status: int
    output: str
    told: str
    log: str

    def json(self) -> Any:
        return json.loads(self.output)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def protected(server: embedded_valkey.Server, folder: Path) -> Iterator[str]:
    """The base URL of an API that asks who somebody is."""
    told = {"ACCESS": "protected", "VALKEY_HOST": server.host, "VALKEY_PORT": str(server.port)}
    with tokens.believing(**told, **keys.settings(folder)), local_gateway.running(told) as base_url:
        yield base_url


@pytest.fixture
def administer(
    protected: str, folder: Path, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """`administer("show", "ada")`: the command, by somebody called carol, and what became of it."""
    monkeypatch.setenv("BASE_URL", protected)
    monkeypatch.delenv("ENV", raising=False)
    monkeypatch.setenv("TOKEN", tokens.issue(folder, "admin", "carol"))
    monkeypatch.setattr(asking, "TRIES", 2)

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        status = admin.main(arguments)
        printed, told = capsys.readouterr()
        lines = printed.splitlines(keepends=True)
        log = "".join(line for line in lines if line.startswith('{"timestamp"'))
        return Said(status, "".join(line for line in lines if not line.startswith('{"timestamp"')), told, log)

    return run


@pytest.fixture
def player(protected: str, folder: Path, raw: valkey.Valkey) -> Callable[..., str]:
    """Makes a player as the game's server does, and returns the id."""
    api = asking.Api(protected, "", lambda: tokens.issue(folder, "server", "backend"))

    def make(username: str = "Ada Lovelace", score: int = 1500, **members: Any) -> str:
        user_id = fresh_id()
        body = {"userId": user_id, "username": username, "email": "ada@example.com", "score": score, **members}
        assert api.act("POST", "/users", body).status == 201
        return user_id

    return make
