"""The names of functions: one that returns a command says so, and one that acts does not."""

from __future__ import annotations

import ast
import re

from tests.tooling.sources import modules

FUNCTIONS = {
    f"{path}: {node.name}": node
    for path, tree in modules("shared")
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef)
}


def returns_a_command(node: ast.FunctionDef) -> bool:
    return isinstance(node.returns, ast.Name) and node.returns.id == "Command"


def test_a_function_that_returns_a_command_says_so_and_no_other_does() -> None:
    says_so = {name for name in FUNCTIONS if re.search(r"(: |_)command$", name)}
    assert says_so == {name for name, node in FUNCTIONS.items() if returns_a_command(node)}
    assert len(says_so) >= 4
