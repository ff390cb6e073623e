"""Values files are read as a full HCL parser reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hcl2
import pytest

from scripts.aws import values
from scripts.places import TERRAFORM
from scripts.refusal import Refusal

PLAIN = hcl2.SerializationOptions(with_comments=False, explicit_blocks=False)


def without_quotes(value: Any) -> Any:
    """The value without the quotes that python-hcl2 leaves around each text."""
    if isinstance(value, dict):
        return {without_quotes(name): without_quotes(member) for name, member in value.items()}
    if isinstance(value, list):
        return [without_quotes(member) for member in value]
    return value.strip('"') if isinstance(value, str) else value


@pytest.mark.parametrize("file", sorted(TERRAFORM.glob("environments/*.tfvars")), ids=lambda file: file.stem)
def test_every_environment_is_read_as_a_parser_of_all_hcl_reads_it(file: Path) -> None:
    assert values.read(file) == without_quotes(hcl2.loads(file.read_text(), serialization_options=PLAIN))


def test_every_default_of_the_root_is_read_as_that_parser_reads_it() -> None:
    expected = {}
    for path in TERRAFORM.glob("*.tf"):
        for named in hcl2.loads(path.read_text(), serialization_options=PLAIN).get("variable", ()):
            for name, block in without_quotes(named).items():
                if "default" in block:
                    expected[name] = block["default"]
    assert len(expected) > 20
    assert values.defaults(TERRAFORM) == expected


def test_all_literals_are_read(tmp_path: Path) -> None:
    file = tmp_path / "all.tfvars"
    file.write_text("""
# one comment
text    = "a # b \\"quoted\\" = {" // another
numbers = [1, -2, 2.5, 1e3,]
flags   = { on = true, off = false, none = null } /* and
one over two lines */
named = { "GET /users/{userId}" : { rate = 1
  burst = 2 } }
empty = {}
""")
    assert values.read(file) == {
        "text": 'a # b "quoted" = {',
        "numbers": [1, -2, 2.5, 1000.0],
        "flags": {"on": True, "off": False, "none": None},
        "named": {"GET /users/{userId}": {"rate": 1, "burst": 2}},
        "empty": {},
    }


@pytest.mark.parametrize(
    "text",
    ["a = var.b", 'a = "${b}"', "a = max(1, 2)", "a = [1", "a = { b", "a =", "a", "= 1", "a = <<-TEXT\n  b\n  TEXT\n"],
)
def test_what_is_no_literal_is_refused_with_its_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "dev.tfvars"
    file.write_text(text)
    with pytest.raises(Refusal, match=r"dev\.tfvars cannot be read near"):
        values.read(file)
