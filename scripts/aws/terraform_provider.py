"""The AWS provider as a process that stays: Terraform attaches to it instead of starting its own.

Otherwise Terraform hashes the provider, half a gigabyte, and starts it for each step of each command: two seconds of
CPU each time. A provider has one configuration, so only one command at a time may use it.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.aws import terraform_mirror
from scripts.refusal import Refusal

VARIABLE = "TF_REATTACH_PROVIDERS"
START_SECONDS = 60

OFFLINE: dict[str, Any] = {
    "region": "eu-central-1",
    "access_key": "test",
    "secret_key": "test",
    "skip_credentials_validation": True,
    "skip_metadata_api_check": True,
    "skip_region_validation": True,
    "skip_requesting_account_id": True,
}
"""The provider's arguments that let it start without asking AWS."""

OFFLINE_FILE = "offline_override.tf.json"
"""Where they stand, in a folder that configures the provider itself."""

_KEEP = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
try:
    sys.stdin.read()
finally:
    process.kill()
    process.wait()
"""
"""Runs a command and ends it at SIGTERM, or once nobody has the other end of standard input any more."""


@dataclass(frozen=True)
class Provider:
    """One that serves."""

    variables: Mapping[str, str]
    """What points Terraform to it."""
    lifeline: int
    """A file descriptor: if we are killed, the provider runs as long as a process that has inherited this."""


@contextlib.contextmanager
def serving(data: Path, log: Path, environment: Mapping[str, str], folder: Path | None = None) -> Iterator[Provider]:
    """Runs the provider that `terraform init` has put into a data folder, until the block ends.

    `environment` is what terraform would hand on to it, `folder` where its relative paths begin. Raises Refusal.
    """
    found = sorted(Path(data, "providers", terraform_mirror.PROVIDER).glob("*/*/terraform-pro*"))
    if not found:
        raise Refusal(f"{data} has no AWS provider: run terraform init first")
    its_end, lifeline = os.pipe()
    with log.open("wb") as file:
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _KEEP, str(found[-1]), "-debug"],
            cwd=folder,
            env=dict(environment),
            stdin=its_end,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # otherwise the terminal's Ctrl-C would end it before Terraform
        )
    os.close(its_end)
    try:
        yield Provider({VARIABLE: _address(keeper, log)}, lifeline)
    finally:
        keeper.terminate()
        keeper.wait()
        os.close(lifeline)


def _address(keeper: subprocess.Popen[bytes], log: Path) -> str:
    """Where it serves, which it prints once it is ready."""
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and keeper.poll() is None:
        if printed := re.search(rf"{VARIABLE}='(.*)'", log.read_text(errors="replace")):
            return printed[1]
        time.sleep(0.02)
    raise Refusal(f"the AWS provider did not start; it said:\n{log.read_text(errors='replace')}")
