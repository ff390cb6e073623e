"""The project's own Python."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from scripts.places import ROOT


def modules(folder: str) -> Iterator[tuple[str, ast.Module]]:
    """Our Python files in a top-level folder: their paths, and their contents parsed."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        relative = path.relative_to(ROOT)
        if "node_modules" not in relative.parts:
            yield str(relative), ast.parse(path.read_text(encoding="utf-8"))
