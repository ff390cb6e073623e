"""Writes what terraform/ repeats of its one module, modules/leaderboard; `--check` only compares.

The root has every variable of the module that main.tf does not set itself, with its description, type and default, and
hands it on; its outputs are the module's. What a value must be is said in the module alone, which judges it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.places import TERRAFORM

COMMAND = "python -m scripts.dev.terraform_root"

MODULE = Path("modules", "leaderboard")

HEAD = f"# Made from {MODULE}/{{name}} by `make format`: change that.\n\n"

HANDED_ON = "  # Made by `make format`: every other variable of the module.\n"

BLOCK = '^{kind} "(\\w+)" {{\n.*?^}}\n'

DESCRIPTION = re.compile(r"^  description += (.*)$", re.MULTILINE)

VALIDATION = re.compile(r"\n  validation \{\n.*?^  \}\n", re.MULTILINE | re.DOTALL)


def rendered(terraform: Path) -> dict[Path, str]:
    """The root's files as they should be, by path."""
    main = terraform / "main.tf"
    written, marker, _ = main.read_text().partition(HANDED_ON)
    given = set(re.findall(r"^  (\w+) += ", written, re.MULTILINE))
    variables = _variables((terraform / MODULE / "variables.tf").read_text(), given)
    names = [found[1] for found in _blocks("variable", variables)]
    width = max(map(len, names), default=0)
    call = "".join(f"  {name.ljust(width)} = var.{name}\n" for name in names)
    return {
        main: f"{written}{marker}{call}}}\n",
        terraform / "variables.tf": variables,
        terraform / "outputs.tf": _outputs((terraform / MODULE / "outputs.tf").read_text()),
    }


def main(arguments: Sequence[str] | None = None, terraform: Path = TERRAFORM) -> int:
    """Writes the files, or with --check says which would change."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 if a file is out of date")
    options = parser.parse_args(arguments)
    stale = {
        path: text
        for path, text in rendered(terraform).items()
        if (path.read_text() if path.exists() else None) != text
    }
    if options.check and stale:
        names = ", ".join(path.name for path in stale)
        print(f"terraform/: {names} is not what {MODULE} has. Run: {COMMAND}", file=sys.stderr)
        return 1
    for path, text in stale.items():
        path.write_text(text)
    return 0


def _variables(text: str, given: set[str]) -> str:
    """The module's variables without their conditions, and without those that are given."""
    _, _, blocks = text.partition("\n\n")  # the comment at the top speaks of the module
    for found in _blocks("variable", blocks):
        if found[1] in given:
            blocks = blocks.replace(f"{found[0]}\n", "")
    return HEAD.format(name="variables.tf") + VALIDATION.sub("", blocks)


def _outputs(text: str) -> str:
    return HEAD.format(name="outputs.tf") + "\n".join(
        _output(found[1], DESCRIPTION.findall(found[0])[0], is_sensitive="  sensitive" in found[0])
        for found in _blocks("output", text)
    )


def _output(name: str, description: str, *, is_sensitive: bool) -> str:
    lines = [f'output "{name}" {{', f"  description = {description}", f"  value       = module.leaderboard.{name}"]
    return "\n".join([*lines, *(["  sensitive   = true"] if is_sensitive else []), "}\n"])


def _blocks(kind: str, text: str) -> list[re.Match[str]]:
    return list(re.finditer(BLOCK.format(kind=kind), text, re.MULTILINE | re.DOTALL))


if __name__ == "__main__":
    sys.exit(main())
