"""The AWS provider as a process that stays, for checks and tests: Terraform attaches to it instead of starting its own.

Otherwise Terraform hashes the provider, half a gigabyte, and starts it for each step of each command: two seconds of
CPU each time. A provider has one configuration, so only one command at a time may use it.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from scripts import children
from scripts.aws import terraform_mirror
from scripts.refusal import Refusal

VARIABLE = "TF_REATTACH_PROVIDERS"
START_SECONDS = 60


@contextlib.contextmanager
def serving(initialised: Path, log: Path, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Runs the provider of an initialised folder until the block ends; yields the variable that points Terraform to it.

    `environment` is what terraform would hand on to it. It ends with the thread that started it: call this from the
    main one. Raises Refusal.
    """
    found = sorted(Path(initialised, ".terraform", "providers", terraform_mirror.PROVIDER).glob("*/*/terraform-pro*"))
    if not found:
        raise Refusal(f"{initialised} has no AWS provider: run terraform init there first")
    with log.open("wb") as file:
        process = subprocess.Popen(
            children.mortal([str(found[-1]), "-debug"]),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield {VARIABLE: _address(process, log)}
    finally:
        process.kill()
        process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where it serves, which it prints once it is ready."""
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        if printed := re.search(rf"{VARIABLE}='(.*)'", log.read_text(errors="replace")):
            return printed[1]
        time.sleep(0.02)
    raise Refusal(f"the AWS provider did not start; it said:\n{log.read_text(errors='replace')}")
