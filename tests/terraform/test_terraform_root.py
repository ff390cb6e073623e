"""terraform/ is a thin caller of its module: what it repeats is made from it, and others can call it as well."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.dev import terraform_root
from scripts.places import TERRAFORM

VARIABLES = """# What a caller gives.

variable "build_path" {
  description = "Where the zips are."
  type        = string
}

variable "name" {
  description = "What it is called."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.name) > 0
    error_message = "Name it."
  }

  validation {
    condition     = length(var.name) < 9
    error_message = "Shorter."
  }
}

# Maps

variable "tiers" {
  description = "By key."
  type = map(object({
    rate = number
  }))
  default = {}
}
"""

OUTPUTS = """output "url" {
  description = "Where it is."
  value       = module.api.url
}

output "keys" {
  description = "By name."
  value = merge(
    { for key, one in module.api.keys : key => one },
  )
  sensitive = true
}
"""

MAIN = """module "leaderboard" {
  source = "./modules/leaderboard"

  build_path = "../build"

  # Made by `make format`: every other variable of the module.
  gone = var.gone
}
"""

WANTED = {
    "main.tf": MAIN.replace("  gone = var.gone\n", "  name  = var.name\n  tiers = var.tiers\n"),
    "variables.tf": """# Made from modules/leaderboard/variables.tf by `make format`: change that.

variable "name" {
  description = "What it is called."
  type        = string
  nullable    = false
}

# Maps

variable "tiers" {
  description = "By key."
  type = map(object({
    rate = number
  }))
  default = {}
}
""",
    "outputs.tf": """# Made from modules/leaderboard/outputs.tf by `make format`: change that.

output "url" {
  description = "Where it is."
  value       = module.leaderboard.url
}

output "keys" {
  description = "By name."
  value       = module.leaderboard.keys
  sensitive   = true
}
""",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    module = tmp_path / terraform_root.MODULE
    module.mkdir(parents=True)
    (module / "variables.tf").write_text(VARIABLES)
    (module / "outputs.tf").write_text(OUTPUTS)
    (tmp_path / "main.tf").write_text(MAIN)
    return tmp_path


def test_the_root_has_what_the_module_has_and_it_does_not_set(tree: Path) -> None:
    assert terraform_root.main([], tree) == 0
    assert {path.name: path.read_text() for path in tree.glob("*.tf")} == WANTED
    assert terraform_root.main(["--check"], tree) == 0


def test_what_is_out_of_date_is_said_with_the_command_and_stays(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terraform_root.main([], tree)
    (tree / terraform_root.MODULE / "outputs.tf").write_text(OUTPUTS.replace("url", "address"))
    assert terraform_root.main(["--check"], tree) == 1
    assert "outputs.tf is not what modules/leaderboard has. Run: python -m" in capsys.readouterr().err
    assert (tree / "outputs.tf").read_text() == WANTED["outputs.tf"]


def test_the_root_of_the_tree_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert terraform_root.main(["--check"]) == 0, capsys.readouterr().err


def test_no_module_brings_a_provider_or_knows_its_root() -> None:
    """Otherwise nobody could call it twice, or from elsewhere."""
    for path in (TERRAFORM / "modules").glob("*/*.tf"):
        text = re.sub(r'#.*|"(?:\\.|\$\$\{|[^"\\$])*"', "", path.read_text(encoding="utf-8"))
        assert not re.search(r"^provider |path\.(root|cwd)", text, re.MULTILINE), path


def test_every_example_has_its_row_in_the_readme() -> None:
    readme = (TERRAFORM / "README.md").read_text(encoding="utf-8")
    section = readme.split("## In a tree of your own")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^\| \[`([\w-]+)`\]", section, re.MULTILINE)) == sorted(
        path.name for path in (TERRAFORM / "examples").iterdir()
    )
