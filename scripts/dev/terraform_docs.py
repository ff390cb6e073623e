"""Writes each folder's interface into its README.md under terraform/, as terraform-docs would; `--check` only compares.

Between `<!-- BEGIN_TF_DOCS -->` and `<!-- END_TF_DOCS -->` stand what the folder requires, the modules that it calls,
its inputs and its outputs, and the thresholds of its thresholds.tf if it has one. A folder without them is an error.
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

from scripts.places import TERRAFORM
from scripts.refusal import Refusal

COMMAND = "python -m scripts.dev.terraform_docs"

AS_WRITTEN = hcl2.SerializationOptions(with_comments=False, explicit_blocks=False, preserve_heredocs=False)

THRESHOLD = re.compile(r"^ +(\w+) += ([\d.]+) +# (.+)$", re.MULTILINE)

MARKED = re.compile(r"(<!-- BEGIN_TF_DOCS -->\n).*?(<!-- END_TF_DOCS -->)", re.DOTALL)


def interface(folder: Path, heading: str = "##") -> str:
    """What a folder requires, calls, takes and gives, as Markdown. What must be given comes first."""
    inputs = sorted(_blocks(folder, "variable"), key=lambda named: "default" in named[1])
    requirements = _requirements(folder)
    sections = {
        "Requirements": _table(("Name", "Version"), requirements),
        "Providers": _table(("Name", "Version"), requirements[1:]),
        "Modules": _table(
            ("Name", "Source"), ((name, f"`{json.loads(call['source'])}`") for name, call in _blocks(folder, "module"))
        ),
        "Inputs": _table(("Name", "Description", "Type", "Default", "Required"), map(_input, inputs)),
        "Outputs": _table(
            ("Name", "Description"), ((f"`{name}`", _prose(block)) for name, block in _blocks(folder, "output"))
        ),
        "Thresholds": _table(("Name", "Default", "Description"), _thresholds(folder / "thresholds.tf")),
    }
    return "\n".join(f"{heading} {title}\n\n{table}" for title, table in sections.items() if table)


def rendered(folder: Path, terraform: Path) -> str:
    """A folder's README as it should be. Raises Refusal if it has no place for the interface."""
    path = folder / "README.md"
    readme = path.read_text() if path.exists() else ""
    if len(MARKED.findall(readme)) != 1:
        raise Refusal(
            f"{path.relative_to(terraform.parent)} needs one place for its interface: add\n"
            "<!-- BEGIN_TF_DOCS -->\n<!-- END_TF_DOCS -->"
        )
    heading = "###" if folder == terraform else "##"
    return MARKED.sub(lambda found: found[1] + interface(folder, heading) + found[2], readme)


def main(arguments: Sequence[str] | None = None, terraform: Path = TERRAFORM) -> int:
    """Writes the READMEs, or with --check says which would change."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing, exit with 1 if an interface is not as it should be"
    )
    options = parser.parse_args(arguments)
    try:
        texts = {folder / "README.md": rendered(folder, terraform) for folder in _folders(terraform)}
    except Refusal as error:
        print(error, file=sys.stderr)
        return 1
    stale = {path: text for path, text in texts.items() if path.read_text() != text}
    if options.check and stale:
        names = ", ".join(str(path.relative_to(terraform.parent)) for path in stale)
        print(f"The interface is out of date in {names}. Run: {COMMAND}", file=sys.stderr)
        return 1
    for path, text in stale.items():
        path.write_text(text)
    return 0


def _requirements(folder: Path) -> list[tuple[str, str]]:
    """Terraform's own version first, then the providers'."""
    rows = []
    for terraform in _documents(folder, "terraform"):
        rows.append(("terraform", _code(json.loads(terraform["required_version"]))))
        for providers in terraform.get("required_providers", []):
            rows += [(name, _code(json.loads(one["version"]))) for name, one in providers.items()]
    return rows


def _input(named: tuple[str, Mapping[str, Any]]) -> tuple[str, ...]:
    name, block = named
    default = _code(block["default"]) if "default" in block else "n/a"
    return f"`{name}`", _prose(block), _code(block.get("type")), default, "no" if "default" in block else "yes"


def _folders(terraform: Path) -> Iterator[Path]:
    for pattern in ("variables.tf", "bootstrap/variables.tf", "modules/*/variables.tf"):
        for file in sorted(terraform.glob(pattern)):
            yield file.parent


def _documents(folder: Path, kind: str) -> list[Any]:
    """All blocks of a kind in a folder's files, as python-hcl2 reads them; files without one are not parsed."""
    texts = [path.read_text() for path in sorted(folder.glob("*.tf"))]
    documents = [
        hcl2.loads(text, serialization_options=AS_WRITTEN)
        for text in texts
        if re.search(rf'^{kind} ["{{]', text, re.MULTILINE)
    ]
    return [block for document in documents for block in document[kind]]


def _blocks(folder: Path, kind: str) -> list[tuple[str, Mapping[str, Any]]]:
    return [(json.loads(name), block) for named in _documents(folder, kind) for name, block in named.items()]


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
    """A table as Markdown; nothing if it has no row."""
    if not (listed := list(rows)):
        return ""
    lines = [head, ["---"] * len(head), *listed]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
