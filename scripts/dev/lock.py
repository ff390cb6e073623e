"""Pins what pyproject.toml asks for in the lock files: `make lock`, or `make lock UPGRADE=1` for the newest versions.

The lock files cover all platforms and all supported Pythons, with hashes. dev.lock holds everything and is made first;
the others take its versions, so that what is tested is what runs. Tools with an environment of their own stand alone.
"""

import os
import subprocess
import sys
from pathlib import Path

from scripts.places import ROOT

FUNCTIONS = ("--group", "authorizer")
"""What functions carry beside the layer: whoever runs all of them here needs it as well."""

DEV = ("--extra", "local", "--extra", "dev", *FUNCTIONS, "pyproject.toml")
LOCKS = {
    "dev.lock": DEV,
    "local.lock": ("--extra", "local", *FUNCTIONS, "--constraints", "locks/dev.lock", "pyproject.toml"),
    "layer.lock": ("--constraints", "locks/dev.lock", "pyproject.toml"),
    "authorizer.lock": ("--constraints", "locks/dev.lock", "--group", "authorizer"),
    "installer.lock": ("--constraints", "locks/dev.lock", "--group", "installer"),
    "browser.lock": (*DEV, "--constraints", "locks/dev.lock", "--group", "browser"),
    "checkov.lock": ("--group", "checkov"),
    "audit.lock": ("--group", "audit"),
    "clients.lock": ("--group", "clients"),
    "localstack.lock": ("--group", "localstack"),
}


def pin(lock: str, *, upgrade: bool) -> None:
    """Writes one lock file; pins that still fit stay unless upgrade. Raises CalledProcessError; uv has said why."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--no-config"]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url"]
    command += ["--custom-compile-command", "make lock", *LOCKS[lock], *(["--upgrade"] if upgrade else [])]
    subprocess.run([*command, "--output-file", f"locks/{lock}"], cwd=ROOT, check=True)


def main() -> int:
    """Writes all lock files."""
    for lock in LOCKS:
        print(f"Pinning {lock} …", flush=True)
        try:
            pin(lock, upgrade=os.environ.get("UPGRADE") == "1")
        except subprocess.CalledProcessError as error:
            return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
