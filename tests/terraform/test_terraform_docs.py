"""terraform/README.md lists every input and output as the code has them."""

from __future__ import annotations

import re
from pathlib import Path

import hcl2
import pytest

from scripts.dev import terraform_docs
from tests.support import contract

README = (terraform_docs.TERRAFORM / "README.md").read_text()

VARIABLES = """
variable "limit" {
  description = "GB | less."
  type = object({
    maximum = number
    low     = optional(number, 1)
  })
  default = { maximum = 5, list = ["a"] } # a comment
}

variable "name" {
  description = "What it is called, \\"quoted\\": `<a>`-<b>."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.name) > 0
    error_message = "Name it."
  }
}

variable "waf" {
  description = <<-TEXT
    Two
    lines.
  TEXT
  type        = bool
  default     = null
}
"""

THRESHOLDS = """
locals {
  threshold_defaults = {
    errors_per_minute = 1    # errors, of all

    share_percent     = 0.5  # share | half
  }

  times = { for name, number in local.thresholds : name => number == 1 ? "" : "x" }
}
"""

OUTPUTS = """
output "keys" {
  description = "The keys."
  value       = { for name, key in aws_api_gateway_api_key.this : name => key.value }
  sensitive   = true
}
"""

TABLES = """\
| input | what | type | default |
| --- | --- | --- | --- |
| `name` | What it is called, "quoted": `<a>`-&lt;b>. | `string` |  |
| `limit` | GB \\| less. | `object({maximum = number, low = optional(number, 1)})` | `{ maximum = 5, list = ["a"] }` |
| `waf` | Two lines. | `bool` | `null` |

| output | what |
| --- | --- |
| `keys` | The keys. Sensitive. |
"""

THRESHOLD_TABLE = """\
| threshold | default | what |
| --- | --- | --- |
| `errors_per_minute` | `1` | errors, of all |
| `share_percent` | `0.5` | share \\| half |
"""

MARKERS = (
    "# Title\n<!-- tables of . -->\n<!-- end -->\nbetween\n<!-- tables of modules/cache -->\nold\n<!-- end -->\nafter\n"
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in (tmp_path, tmp_path / "modules" / "cache"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "variables.tf").write_text(VARIABLES)
    (tmp_path / "modules" / "cache" / "outputs.tf").write_text(OUTPUTS)
    (tmp_path / "README.md").write_text(MARKERS)
    return tmp_path


def test_the_tables_say_what_the_files_say(tree: Path) -> None:
    assert terraform_docs.tables(tree / "modules" / "cache") == TABLES


def test_thresholds_have_a_table_too(tree: Path) -> None:
    (tree / "modules" / "cache" / "thresholds.tf").write_text(THRESHOLDS)
    assert terraform_docs.tables(tree / "modules" / "cache") == f"{TABLES}\n{THRESHOLD_TABLE}"


def test_every_threshold_is_in_its_table() -> None:
    shown = re.findall(r"^\| `(\w+)` \| `[\d.]+` \| ", README, re.MULTILINE)
    document = hcl2.loads((terraform_docs.TERRAFORM / "modules" / "monitoring" / "thresholds.tf").read_text())
    assert shown == [*document["locals"][0]["threshold_defaults"]]


def test_only_what_is_between_markers_changes(tree: Path) -> None:
    assert terraform_docs.main([], tree) == 0
    written = (tree / "README.md").read_text()
    assert TABLES in written
    assert re.sub(r"(?m)^\|.*\n|^\n", "", written) == MARKERS.replace("old\n", "")
    assert terraform_docs.main(["--check"], tree) == 0


def test_drift_is_said_with_the_command_and_nothing_is_written(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terraform_docs.main([], tree)
    (tree / "modules" / "cache" / "variables.tf").write_text(VARIABLES.replace("GB", "GiB"))
    before = (tree / "README.md").read_text()
    assert terraform_docs.main(["--check"], tree) == 1
    assert (
        "the tables of modules/cache are out of date. Run: python -m scripts.dev.terraform_docs"
        in capsys.readouterr().err
    )
    assert (tree / "README.md").read_text() == before


def test_a_folder_without_markers_is_said(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "modules" / "api").mkdir()
    (tree / "modules" / "api" / "variables.tf").write_text(VARIABLES)
    assert terraform_docs.main(["--check"], tree) == 1
    assert "<!-- tables of modules/api -->" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["modules/gone", "modules/cache"])
def test_markers_without_a_folder_or_twice_are_said(
    tree: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "README.md").write_text(MARKERS + f"<!-- tables of {folder} -->\n<!-- end -->\n")
    assert terraform_docs.main([], tree) == 1
    assert f"markers for {folder}" in capsys.readouterr().err


def test_the_readme_of_the_tree_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert terraform_docs.main(["--check"]) == 0, capsys.readouterr().err


def test_the_five_values_are_the_first_inputs_of_the_root() -> None:
    shown = re.findall(r"^\| `(\w+)` \|", README.split("## Five values")[1].split("\n## ")[0], re.MULTILINE)
    inputs = re.findall(r"^\| `(\w+)` \|", README.split("<!-- tables of . -->")[1], re.MULTILINE)
    assert shown == inputs[:5]


def test_the_lines_that_change_a_value_set_variables_of_the_root() -> None:
    section = README.split("## Environments")[1].split("\n## ")[0]
    lines = re.findall(r"^\| [^|]+ \| `(\w+ = [^`]+)` \|", section, re.MULTILINE)
    inputs = re.findall(
        r"^\| `(\w+)` \|", README.split("<!-- tables of . -->")[1].split("<!-- end -->")[0], re.MULTILINE
    )
    assert len(lines) >= 5
    assert {name for line in lines for name in hcl2.loads(line + "\n")} <= set(inputs)


def test_every_environment_has_its_row_and_is_walked_over() -> None:
    files = sorted(path.stem for path in (terraform_docs.TERRAFORM / "environments").glob("*.tfvars"))
    shown = re.findall(r"^\| `(\w+)` \|", README.split("## Environments")[1].split("\n## ")[0], re.MULTILINE)
    assert sorted(shown) == files
    number = {3: "three", 4: "four", 5: "five", 6: "six"}[len(files)]
    assert re.findall(r"the plans of all (\w+) environments", README) == [number]


def test_the_costs_count_the_methods_of_the_contract() -> None:
    assert re.findall(r"`(\d+) methods ×", README) == [str(len(contract.operations()))]


def test_the_costs_are_what_their_formulas_come_to() -> None:
    months = re.split(r"\n\*\*(?=An idle|A busy)", README.split("## Cost")[1].split("\n## ")[0])[1:]
    assert len(months) == 2
    for month in months:
        amounts = []
        for formula, amount in re.findall(r"^\| [^|]+ \| `([^`]+)` \| ([\d.]+) \|", month, re.MULTILINE):
            numbers = re.sub(r"[A-Za-z]+|,", "", formula).replace("×", "*")
            assert re.fullmatch(r"[\d.*/+ ]+", numbers), formula
            assert f"{eval(numbers):.2f}" == amount, formula  # noqa: S307 - digits and operators of our own README
            amounts.append(float(amount))
        total = re.search(r"\*\*total\*\* \| \| \*\*([\d.]+)\*\*", month)
        assert total
        assert f"{sum(amounts):.2f}" == total[1]
