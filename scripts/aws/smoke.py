"""`make smoke ENV=dev`: checks of an applied environment that only AWS can answer.

It sends requests, leaves one player without points (`smoke-test`), sets off an alarm for some seconds and, where
CodeDeploy moves the alias, gives a copy of the running version a tenth of the calls to /health. Nothing else stays.
Exit status: 0 all is well, 1 something is not, 2 it cannot run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial

from scripts import signals
from scripts.aws import accounts, endings, infrastructure, values, verdicts
from scripts.aws.live_checks import CHECKS, Check, Deployment, Looking
from scripts.aws.verdicts import NO, Verdict
from scripts.refusal import Refusal

PATIENCE_SECONDS = 900
"""After a first apply an alarm may take ten minutes to get data."""

LOOK_SECONDS = 10.0
QUIET_SECONDS = 30.0
"""Between two lines of progress when standard error is not a terminal."""


class _Progress:
    """Shows what it still waits for: one changing line on a terminal, a new line now and then elsewhere."""

    def __init__(self, count: int):
        self._count, self._began, self._written = count, time.monotonic(), 0.0
        self._watched = sys.stderr.isatty()

    def show(self, settled: int, waiting: Mapping[str, str]) -> None:
        now = time.monotonic()
        if not self._watched and now - self._written < QUIET_SECONDS:
            return
        self._written = now
        first = next((f", waiting for {name}: {text}" for name, text in waiting.items()), "")
        text = f"{settled} of {self._count} checks, {now - self._began:.0f} s{first}"
        print(f"\r\033[K{text[:110]}" if self._watched else text, end="" if self._watched else "\n", file=sys.stderr)
        sys.stderr.flush()

    def clear(self) -> None:
        if self._watched:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def walk(deployment: Deployment, checks: Mapping[str, Check], seconds: float) -> list[Verdict]:
    """The verdicts in the order of the checks; what has not been seen after so many seconds is wrong.

    The checks wait side by side, so the slowest decides how long it takes.
    """
    ends = time.monotonic() + seconds
    looking = {name: check(deployment) for name, check in checks.items()}
    waiting: dict[str, str] = {}
    found: dict[str, Verdict] = {}
    progress = _Progress(len(checks))
    try:
        while len(found) < len(checks):
            for name in [name for name in checks if name not in found]:
                if verdict := accounts.asked(name, "", partial(_look, name, looking[name], waiting)):
                    found[name] = verdict
                    waiting.pop(name, None)
                progress.show(len(found), waiting)
            if time.monotonic() >= ends:
                break
            if len(found) < len(checks):
                time.sleep(LOOK_SECONDS)
    finally:
        progress.clear()
        for one in looking.values():
            one.close()
    late = {name: Verdict(name, text, f"something else within {seconds:.0f} s", NO) for name, text in waiting.items()}
    return [(found | late)[name] for name in checks]


def _look(name: str, looking: Looking, waiting: dict[str, str]) -> Verdict | None:
    """The verdict, or None: then it notes what the check waits for."""
    try:
        waiting[name] = next(looking)
    except StopIteration as end:
        verdict: Verdict = end.value
        return verdict
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks an environment and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.aws.smoke", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seconds", type=float, default=PATIENCE_SECONDS, help="how long to wait (%(default)s)")
    parser.add_argument("environment", help="name of a file in terraform/environments")
    options = parser.parse_args(arguments)
    return endings.status(lambda: _smoke(options), broken=endings.CANNOT)


def _smoke(options: argparse.Namespace) -> int:
    rows = walk(_deployment(options.environment), CHECKS, options.seconds)
    if options.json:
        print(json.dumps(verdicts.as_json(rows), indent=2))
    else:
        print(verdicts.table(rows, coloured=sys.stdout.isatty()))
    return 1 if any(row.verdict == NO for row in rows) else 0


def _deployment(environment: str) -> Deployment:
    """The environment as it was applied. Raises Refusal and CalledProcessError."""
    outputs = infrastructure.outputs(environment)
    if not outputs.get("api_url"):
        raise Refusal(f"{environment} has not been applied: run make apply ENV={environment} first.")
    found = values.of(environment)
    return Deployment(values.name_of(found), found, outputs, accounts.clients(found["region"]))


if __name__ == "__main__":
    signals.interrupt_once()
    sys.exit(main())
