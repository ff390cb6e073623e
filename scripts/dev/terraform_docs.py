"""Writes the tables of inputs and outputs in terraform/README.md; `--check` only compares.

Between `<!-- tables of modules/cache -->` and `<!-- end -->` stand the tables of that folder, made of its variables,
its outputs, and its thresholds.tf if it has one; `<!-- tables of . -->` are the root's, and so its one module's. A
folder without its two markers is an error, and so are markers without their folder.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hcl2

from scripts.dev import terraform_root
from scripts.places import TERRAFORM
from scripts.refusal import Refusal

COMMAND = "python -m scripts.dev.terraform_docs"

AS_WRITTEN = hcl2.SerializationOptions(with_comments=False, explicit_blocks=False, preserve_heredocs=False)

THRESHOLD = re.compile(r"^ +(\w+) += ([\d.]+) +# (.+)$", re.MULTILINE)

MARKED = re.compile(r"(<!-- tables of (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def tables(folder: Path) -> str:
    """The inputs and the outputs of one folder, as Markdown. What must be given comes first."""
    inputs = sorted(_blocks(folder, "variable"), key=lambda named: "default" in named[1])
    outputs = _blocks(folder, "output")
    parts = []
    if inputs:
        rows = (
            (
                f"`{name}`",
                _prose(block),
                _code(block.get("type")),
                _code(block["default"]) if "default" in block else "",
            )
            for name, block in inputs
        )
        parts.append(_table(("input", "what", "type", "default"), rows))
    if outputs:
        parts.append(_table(("output", "what"), ((f"`{name}`", _prose(block)) for name, block in outputs)))
    if thresholds := _thresholds(folder / "thresholds.tf"):
        parts.append(_table(("threshold", "default", "what"), thresholds))
    return "\n".join(parts)


def rendered(readme: str, terraform: Path) -> str:
    """The README with the tables as they should be.

    Raises Refusal if a folder has no markers or markers have no folder.
    """
    wanted = set(_folders(terraform))
    marked = [found[1] for found in MARKED.findall(readme)]
    if missing := wanted - set(marked):
        lines = "".join(f"\n<!-- tables of {folder} -->\n<!-- end -->" for folder in sorted(missing))
        raise Refusal(f"README.md has no place for the tables of {', '.join(sorted(missing))}: add{lines}")
    if stray := [folder for folder in marked if folder not in wanted or marked.count(folder) > 1]:
        raise Refusal(f"README.md has markers for {stray[0]}, which has no variables, or has them twice: take them out")
    return MARKED.sub(lambda found: found[1] + tables(terraform / found[2]) + found[3], readme)


def main(arguments: Sequence[str] | None = None, terraform: Path = TERRAFORM) -> int:
    """Writes the README, or with --check says whether it would change."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing, exit with 1 if a table is not as it should be"
    )
    options = parser.parse_args(arguments)
    readme = terraform / "README.md"
    before = readme.read_text()
    try:
        after = rendered(before, terraform)
    except Refusal as error:
        print(error, file=sys.stderr)
        return 1
    if after == before:
        return 0
    if options.check:
        stale = [
            old[2] for old, new in zip(MARKED.finditer(before), MARKED.finditer(after), strict=True) if old[0] != new[0]
        ]
        print(f"terraform/README.md: the tables of {', '.join(stale)} are out of date. Run: {COMMAND}", file=sys.stderr)
        return 1
    readme.write_text(after)
    return 0


def _folders(terraform: Path) -> Iterator[str]:
    for pattern in ("variables.tf", "bootstrap/variables.tf", "modules/*/variables.tf"):
        for file in terraform.glob(pattern):
            folder = file.parent.relative_to(terraform)
            if folder != terraform_root.MODULE:
                yield folder.as_posix()


def _blocks(folder: Path, kind: str) -> list[tuple[str, Mapping[str, Any]]]:
    texts = [path.read_text() for path in sorted(folder.glob("*.tf"))]
    documents = [
        hcl2.loads(text, serialization_options=AS_WRITTEN)
        for text in texts
        if re.search(rf'^{kind} "', text, re.MULTILINE)
    ]
    return [
        (json.loads(name), block) for document in documents for named in document[kind] for name, block in named.items()
    ]


def _thresholds(file: Path) -> list[tuple[str, ...]]:
    rows = THRESHOLD.findall(file.read_text()) if file.exists() else []
    return [(f"`{name}`", f"`{default}`", what.replace("|", "\\|")) for name, default, what in rows]


def _prose(block: Mapping[str, Any]) -> str:
    text = block.get("description", '""')
    words = " ".join(json.loads(text).replace("$${", "${").split()).replace("|", "\\|").split("`")
    prose = "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(words))
    return f"{prose} Sensitive." if block.get("sensitive") else prose


def _code(value: Any) -> str:
    """A value as HCL writes it, on one line."""
    return "`" + _hcl(value).replace("|", "\\|") + "`"


def _hcl(value: Any) -> str:
    if isinstance(value, Mapping):
        members = ", ".join(f"{key} = {_hcl(member)}" for key, member in value.items())
        return f"{{ {members} }}" if members else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_hcl, value))}]"
    if isinstance(value, str):
        expression = re.fullmatch(r"\$\{(.*)\}", value, re.DOTALL)
        return " ".join((expression[1] if expression else value).split())
    return json.dumps(value)


def _table(head: Sequence[str], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
