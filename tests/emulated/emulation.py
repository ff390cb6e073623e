"""`make emulate` in a copy of the project, what it has made, and how long each part took."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import localstack_client.session
import valkey

from scripts import tokens as signing
from scripts.dev import bootstrap
from scripts.emulator import emulate, localstack
from scripts.emulator import terraform as emulated_terraform
from scripts.places import ROOT
from shared import tokens
from shared.config import Scope
from tests.support import callers, processes
from tests.support.api import Api
from tests.support.patience import wait_until

COPIED = ("functions", "scripts", "shared", "terraform", "locks")
"""What `make emulate` reads. It runs on a copy, in which a handler is changed later."""

END_SECONDS = 600
WAIT_SECONDS = 300
"""What takes a minute to show on AWS takes several on a busy machine."""

took: dict[str, float] = {}
"""How many seconds each thing took, for the end of the run."""


def summary() -> str:
    """What took how long, in one line."""
    return "Emulated AWS: " + ", ".join(f"{what} {seconds:.0f} s" for what, seconds in took.items())


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Notes how long something takes, in total if it is done more than once."""
    began = time.monotonic()
    try:
        yield
    finally:
        took[what] = took.get(what, 0) + time.monotonic() - began


@dataclass
class Emulated:
    """A `make emulate` that is ready."""

    folder: Path
    printed: str
    facts: emulate.Facts
    localstack: localstack.LocalStack
    terraform: emulated_terraform.Terraform
    outputs: dict[str, Any]
    valkey: valkey.Valkey
    _clients: dict[str, Any] = field(default_factory=dict)
    _bearers: dict[Scope | None, Mapping[str, str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How the name of every resource begins."""
        return "leaderboard-local"

    def aws(self, service: str) -> Any:
        """A boto3 client, by way of localstack-client."""
        if service not in self._clients:
            session = localstack_client.session.Session(
                region_name=self.facts.region, localstack_host=f"{self.localstack.host}:{self.localstack.port}"
            )
            self._clients[service] = session.client(service)
        return self._clients[service]

    def api(self, *, key: str | None = None, is_able: bool = True) -> Api:
        """The API, with its key or another one; an empty key means none. Whoever is able sends a fitting token."""
        sent = self.facts.api_key if key is None else key
        return Api(self.facts.base_url, {"x-api-key": sent} if sent else None, self.able if is_able else None)

    @functools.cached_property
    def signer(self) -> signing.Signer:
        """The deployment's key for tokens."""
        return signing.on_aws(self.aws, self.function("issue_token"))

    def token(self, scope: Scope, subject: str = "somebody", signer: signing.Signer | None = None) -> str:
        """A new token that is good for an hour."""
        key, issuer = signer or self.signer
        return tokens.issue(key, issuer, subject=subject, scope=scope, seconds=3600).token

    def bearer(self, scope: Scope | None, subject: str = "somebody") -> dict[str, str]:
        """The header with a new token; no header for no scope."""
        return {"Authorization": f"Bearer {self.token(scope, subject)}"} if scope else {}

    def able(self, scopes: Sequence[str]) -> Mapping[str, str]:
        """The header of somebody who may do this to anybody, where these are an operation's scopes."""
        scope = callers.able_scope(scopes)
        if scope not in self._bearers:
            self._bearers[scope] = self.bearer(scope)
        return self._bearers[scope]

    def function(self, key: str) -> str:
        """The name of a function."""
        return str(self.outputs["function_names"][key])

    def log(self, key: str) -> list[str]:
        """Every line in a function's log group."""
        pages = (
            self.aws("logs")
            .get_paginator("filter_log_events")
            .paginate(logGroupName=self.outputs["log_group_names"][key])
        )
        return [event["message"].rstrip("\n") for page in pages for event in page["events"]]

    def build(self) -> None:
        """`make build` for this machine."""
        subprocess.run(
            [sys.executable, "-m", "scripts.aws.build", "--arch", "local", "--python", localstack.PYTHON],
            cwd=self.folder,
            check=True,
            capture_output=True,
        )


@contextlib.contextmanager
def emulating(folder: Path, **more: object) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`make emulate` in a copy, just started, and the file with its output; gone at the end."""
    output = folder / "output"
    with processes.started(
        "scripts.emulator.emulate", output, folder=folder, end_seconds=END_SECONDS, **more
    ) as process:
        yield process, output


def copied(folder: Path) -> Path:
    """A copy of what `make emulate` needs, linked to what is installed already."""
    left = shutil.ignore_patterns("node_modules", "__pycache__", ".terraform", "*.tfstate*", "backend.hcl")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=left)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for installed in (localstack.VENV, bootstrap.INSTALLER):
        if installed.exists():
            (folder / installed.name).symlink_to(installed)
    return folder


def end(facts: emulate.Facts) -> None:
    """Ends what runs in the background, unless somebody has, and waits for its end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(facts.process, signal.SIGTERM)
    wait_until(lambda: not processes.is_running(facts.process), END_SECONDS)
