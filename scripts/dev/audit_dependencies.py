"""`make audit-dependencies`: whether anybody has published a hole in what the locks pin, by pip-audit from OSV.

No part of `.ci/run`: its answer depends on the day. A service that knows nothing, or that cannot be reached, looks like
one that has found nothing; so it is asked about a release with a well-known hole first.
Exit status: 0 nothing is known, 1 something is, 2 nobody can tell. make turns either into 2, so the last line says it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scripts import signals
from scripts.places import ROOT
from scripts.refusal import Refusal

LOCKS = ROOT / "locks"
PROGRAM = ROOT / ".audit" / "bin" / "pip-audit"
SOURCE = "https://api.osv.dev/v1/query"
"""Where advisories are asked for unless OSV_URL names a copy."""

PINNED = re.compile(r"^([\w.-]+)==([^\s;\\]+)", re.MULTILINE)
UNREACHABLE = re.compile("ConnectionError|ConnectTimeout|ReadTimeout|Could not connect|ProxyError|SSLError")
"""How pip-audit's last line begins, or what is in it, without a network."""

ANSWER_SECONDS = 15


class Pin(NamedTuple):
    """A release of a package."""

    name: str
    version: str


KNOWN = Pin("jinja2", "2.10")
"""A release whose holes are in every database of advisories: CVE-2019-10906."""


class Advisory(NamedTuple):
    """A published hole in a release, the locks that pin it, and the releases that mend it; '' if there is none."""

    package: str
    version: str
    id: str
    mended: str
    locks: str


def pins(folder: Path) -> dict[Pin, list[str]]:
    """What the locks of a folder pin, for all platforms, and which of them do."""
    found: dict[Pin, list[str]] = {}
    for lock in sorted(folder.glob("*.lock")):
        for pinned in PINNED.findall(lock.read_text(encoding="utf-8")):
            locks = found.setdefault(Pin(*pinned), [])
            locks += [lock.name] if lock.name not in locks else []
    return found


def rounds(found: Iterable[Pin]) -> list[list[Pin]]:
    """The pins in as few lists as it takes for none to have a package twice, which pip-audit refuses."""
    lists: list[dict[str, Pin]] = []
    for pin in found:
        free = next((each for each in lists if pin.name not in each), None)
        if free is None:
            lists.append(free := {})
        free[pin.name] = pin
    return [[*each.values()] for each in lists]


def ask(asked: Sequence[Pin], source: str) -> list[Mapping[str, Any]]:
    """What pip-audit says of each pin. Raises Refusal if it cannot tell."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("".join(f"{name}=={version}\n" for name, version in asked))
        listed.flush()
        command = [str(PROGRAM), "--requirement", listed.name, "--no-deps", "--disable-pip", "--format", "json"]
        command += ["--vulnerability-service", "osv", "--osv-url", source, "--timeout", str(ANSWER_SECONDS)]
        done = subprocess.run([*command, "--progress-spinner", "off"], check=False, capture_output=True, text=True)
    try:
        told: list[Mapping[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        lines = done.stderr.strip().splitlines() or ["pip-audit said nothing"]
        why = "it cannot be reached from here" if UNREACHABLE.search(lines[-1]) else lines[-1]
        raise _no_advisories(source, why) from None
    if skipped := [each for each in told if "skip_reason" in each]:
        raise _no_advisories(source, str(skipped[0]["skip_reason"]))
    return told


def audit(found: Mapping[Pin, Sequence[str]], source: str) -> list[Advisory]:
    """Every published hole in a pin, by package. Raises Refusal if nobody can tell."""
    if not any(each["vulns"] for each in ask([KNOWN], source)):
        raise _no_advisories(source, f"it has never heard of the holes in {KNOWN.name} {KNOWN.version}")
    holes = []
    asked = 0
    for pinned in rounds(found):
        print(f"Asking about {len(pinned)} releases, {asked} of {len(found)} done …", file=sys.stderr, flush=True)
        asked += len(pinned)
        releases = {pin.name: pin for pin in pinned}
        for told in ask(pinned, source):
            pin = releases[told["name"]]
            locks = ", ".join(found[pin])
            holes += [Advisory(*pin, hole["id"], ", ".join(hole["fix_versions"]), locks) for hole in told["vulns"]]
    return sorted(holes)


def _no_advisories(source: str, why: str) -> Refusal:
    return Refusal(
        f"Nobody can tell whether the locks pin a known hole: {source} gives no advisories ({why}). "
        "Run this where it can be reached, or name a copy with OSV_URL."
    )


def _table(holes: Sequence[Advisory]) -> str:
    return "\n".join(
        f"{hole.package} {hole.version}: {hole.id}, {f'mended in {hole.mended}' if hole.mended else 'not mended yet'} "
        f"({hole.locks})"
        for hole in holes
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Asks about every lock, and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.dev.audit_dependencies")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--locks", type=Path, default=LOCKS, help="the folder of the locks (%(default)s)")
    options = parser.parse_args(arguments)
    found = pins(options.locks)
    try:
        holes = audit(found, os.environ.get("OSV_URL", "").strip() or SOURCE)
    except Refusal as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if options.json:
        print(json.dumps([hole._asdict() for hole in holes], indent=2))
    elif holes:
        print(_table(holes))
    said = f"Published holes: {len(holes)}" if holes else "No published hole is known"
    print(f"{said} in the {len(found)} releases that the locks pin.", file=sys.stderr)
    return 1 if holes else 0


if __name__ == "__main__":
    signals.interrupt_once()
    sys.exit(main())
