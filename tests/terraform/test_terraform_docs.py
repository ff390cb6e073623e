"""Each README under terraform/ has its folder's interface as the code has it, and terraform/README.md the costs."""

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
    low     = optional(number)
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

VERSIONS = """
terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

module "network" {
  source = "../network"
}
"""

INTERFACE = """\
## Requirements

| Name | Version |
| --- | --- |
| terraform | `>= 1.11` |
| aws | `~> 5.100` |

## Providers

| Name | Version |
| --- | --- |
| aws | `~> 5.100` |

## Modules

| Name | Source |
| --- | --- |
| network | `../network` |

## Inputs

| Name | Description | Type | Default | Required |
| --- | --- | --- | --- | --- |
| `name` | What it is called, "quoted": `<a>`-&lt;b>. | `string` | n/a | yes |
| `limit` | GB \\| less. | `object({maximum = number, low = optional(number)})` | `{ maximum = 5, list = ["a"] }` | no |
| `waf` | Two lines. | `bool` | `null` | no |

## Outputs

| Name | Description |
| --- | --- |
| `keys` | The keys. Sensitive. |
"""

THRESHOLD_TABLE = """\
## Thresholds

| Name | Default | Description |
| --- | --- | --- |
| `errors_per_minute` | `1` | errors, of all |
| `share_percent` | `0.5` | share \\| half |
"""

MARKERS = "# Title\n<!-- BEGIN_TF_DOCS -->\nold\n<!-- END_TF_DOCS -->\nafter\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in (tmp_path, tmp_path / "modules" / "cache"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "variables.tf").write_text(VARIABLES)
        (folder / "README.md").write_text(MARKERS)
    (tmp_path / "modules" / "cache" / "outputs.tf").write_text(OUTPUTS)
    (tmp_path / "modules" / "cache" / "main.tf").write_text(VERSIONS)
    return tmp_path


def test_the_interface_says_what_the_files_say(tree: Path) -> None:
    assert terraform_docs.interface(tree / "modules" / "cache") == INTERFACE


def test_thresholds_have_a_table_too(tree: Path) -> None:
    (tree / "modules" / "cache" / "thresholds.tf").write_text(THRESHOLDS)
    assert terraform_docs.interface(tree / "modules" / "cache") == f"{INTERFACE}\n{THRESHOLD_TABLE}"


def test_every_threshold_is_in_its_table() -> None:
    monitoring = terraform_docs.TERRAFORM / "modules" / "monitoring"
    readme = (monitoring / "README.md").read_text()
    shown = re.findall(r"^\| `(\w+)` \| `[\d.]+` \| ", readme, re.MULTILINE)
    document = hcl2.loads((monitoring / "thresholds.tf").read_text())
    assert shown == [*document["locals"][0]["threshold_defaults"]]


def test_only_what_is_between_markers_changes(tree: Path) -> None:
    assert terraform_docs.main([], tree) == 0
    written = (tree / "modules" / "cache" / "README.md").read_text()
    assert written == MARKERS.replace("old\n", INTERFACE)
    assert "\n### Inputs\n" in (tree / "README.md").read_text()
    assert terraform_docs.main(["--check"], tree) == 0


def test_drift_is_said_with_the_command_and_nothing_is_written(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terraform_docs.main([], tree)
    cache = tree / "modules" / "cache"
    (cache / "variables.tf").write_text(VARIABLES.replace("GB", "GiB"))
    before = (cache / "README.md").read_text()
    assert terraform_docs.main(["--check"], tree) == 1
    assert "modules/cache/README.md. Run: python -m scripts.dev.terraform_docs" in capsys.readouterr().err
    assert (cache / "README.md").read_text() == before


@pytest.mark.parametrize("readme", [None, "# Title\n", MARKERS + MARKERS])
def test_a_folder_without_its_one_place_is_said(
    tree: Path, readme: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "modules" / "api").mkdir()
    (tree / "modules" / "api" / "variables.tf").write_text(VARIABLES)
    if readme:
        (tree / "modules" / "api" / "README.md").write_text(readme)
    assert terraform_docs.main([], tree) == 1
    assert "modules/api/README.md needs one place" in capsys.readouterr().err


def test_every_readme_of_the_tree_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert terraform_docs.main(["--check"]) == 0, capsys.readouterr().err


def test_the_six_values_are_the_first_inputs_of_the_root() -> None:
    shown = re.findall(r"^\| `(\w+)` \|", README.split("## Six values")[1].split("\n## ")[0], re.MULTILINE)
    inputs = re.findall(r"^\| `(\w+)` \|", README.split("<!-- BEGIN_TF_DOCS -->")[1], re.MULTILINE)
    assert shown == inputs[:6]


def test_the_lines_that_change_a_value_set_variables_of_the_root() -> None:
    section = README.split("## Environments")[1].split("\n## ")[0]
    lines = re.findall(r"^\| [^|]+ \| `(\w+ = [^`]+)` \|", section, re.MULTILINE)
    inputs = re.findall(r"^\| `(\w+)` \|", README.split("<!-- BEGIN_TF_DOCS -->")[1], re.MULTILINE)
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
