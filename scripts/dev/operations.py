"""Writes shared/operations.py, what the functions know of the contract; `--check` only compares.

The contract itself is not in the layer: reading it would cost each cold start more than all else it does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from scripts.places import CONTRACT, ROOT, seen_from_here

COMMAND = "python -m scripts.dev.operations"

MADE = ROOT / "shared" / "operations.py"

HEAD = '''"""Made from functions/openapi.yaml by `make format`: change that."""

SCOPES: dict[str, tuple[str, ...]] = {
'''

MIDDLE = '''}
"""The scopes that each operation answers where access is protected; one without any answers everybody."""

NEED_A_TOKEN = {
'''

TAIL = '''}
"""The operations that are never done without a token, and so never where access is open."""
'''


def rendered(contract: Path) -> str:
    """The module as it should be."""
    document = yaml.safe_load(contract.read_text(encoding="utf-8"))
    operations = dict(_operations(document))
    scopes = "".join(f'    "{name}": {_tuple(one["x-scopes"])},\n' for name, one in operations.items())
    tokens = "".join(f'    "{name}",\n' for name, one in operations.items() if _needs_a_token(one))
    return HEAD + scopes + MIDDLE + tokens + TAIL


def main(arguments: Sequence[str] | None = None, contract: Path = CONTRACT, made: Path = MADE) -> int:
    """Writes the module, or with --check says whether it would change."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 if the module is out of date")
    options = parser.parse_args(arguments)
    text = rendered(contract)
    if made.exists() and made.read_text(encoding="utf-8") == text:
        return 0
    if options.check:
        print(f"{seen_from_here(made)} is not what the contract says. Run: {COMMAND}", file=sys.stderr)
        return 1
    made.write_text(text, encoding="utf-8")
    return 0


def _operations(document: Any) -> Iterator[tuple[str, Any]]:
    """Each operation as `GET /stats` with what the contract says of it, in the contract's order."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if isinstance(operation, dict) and "operationId" in operation:
                yield f"{method.upper()} {path}", operation


def _needs_a_token(operation: Any) -> bool:
    """Whether there is no way to have the operation without one."""
    return bool(operation.get("security")) and all("Bearer" in way for way in operation["security"])


def _tuple(words: Sequence[str]) -> str:
    """A tuple as our one format has it."""
    quoted = ", ".join(f'"{word}"' for word in words)
    return f"({quoted},)" if len(words) == 1 else f"({quoted})"


if __name__ == "__main__":
    sys.exit(main())
