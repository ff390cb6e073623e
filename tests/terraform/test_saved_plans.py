"""Saved plans, applied as they are, and drift: with the real Terraform, states in an emulated S3, and no provider."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scripts.places import ROOT
from tests.support import aws_api, terraforms
from tests.terraform.projects import Project

MAIN = """
terraform {
  backend "s3" {}
}

variable "size" {
  default = 1
}

resource "terraform_data" "kept" {
  input = var.size
}

resource "terraform_data" "copied" {
  for_each         = toset(["a", "b"])
  input            = "password"
  triggers_replace = var.size
}
"""

BACKEND = """bucket = "{bucket}"
region = "eu-central-1"

use_path_style              = true
skip_credentials_validation = true
skip_requesting_account_id  = true
skip_region_validation      = true
skip_metadata_api_check     = true
"""


class Saved(Project):
    """A tree whose resources exist only in its state, with buckets for states, in an account of its own."""

    def __init__(self, folder: Path, built: Path, account: aws_api.Account):
        super().__init__(folder, account.url)
        self.give_real_terraform()
        shutil.copytree(built, self.root / "build")
        self.write("terraform/main.tf", MAIN)
        self.account, self.s3 = account, account.client("s3")
        for purpose in ("states", "own"):
            where = {"LocationConstraint": "eu-central-1"}
            self.s3.create_bucket(Bucket=self.bucket(purpose), CreateBucketConfiguration=where)
        self.write("terraform/backend.hcl", BACKEND.format(bucket=self.bucket("states")))
        self.plan = self.root / "dev.tfplan"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead a command to the account, and terraform to its state there."""
        return {**self.account.variables, "AWS_ENDPOINT_URL_S3": self.aws, "TF_CLI_CONFIG_FILE": "/dev/null"}

    def make(self, *arguments: str, status: int = 0) -> str:
        """What a command, which must end with this status, prints to standard output."""
        done = self.run(*arguments, **self.environment)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def sentence(self, *arguments: str) -> str:
        """The one line that a refused command writes to standard error."""
        done = self.run(*arguments, **self.environment)
        assert done.returncode == 2, done.stdout + done.stderr
        (line,) = done.stderr.splitlines()
        return line

    def bucket(self, purpose: str) -> str:
        """A bucket's name; buckets of all accounts share one namespace."""
        return f"{purpose}-{self.account.id}"

    def states(self, purpose: str = "states") -> list[str]:
        """The objects in a bucket."""
        return [one["Key"] for one in self.s3.list_objects_v2(Bucket=self.bucket(purpose)).get("Contents", ())]

    def facts(self) -> dict[str, Any]:
        """The facts in the file beside the plan."""
        found: dict[str, Any] = json.loads(Path(f"{self.plan}.json").read_text())
        return found


@dataclass(frozen=True)
class Did:
    """What a command printed, and which states existed afterwards."""

    saved: Saved
    said: str
    states: list[str]


NUMBERS = itertools.count(2 * 10**11)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, built: Path, request: pytest.FixtureRequest) -> Did:
    """The first saved plan of dev. No test changes its files, or what it was made from."""
    terraforms.skip_unless_installed()
    aws: aws_api.Aws = request.getfixturevalue("emulated_aws")
    saved = Saved(tmp_path_factory.mktemp("saved"), built, aws.account(str(next(NUMBERS))))
    return Did(saved, saved.make("plan", "--out", "dev.tfplan", "dev"), saved.states())


@pytest.fixture(scope="module")
def applied(planned: Did) -> Did:
    """The same after its apply."""
    saved = planned.saved
    return Did(saved, saved.make("apply", "--plan", "dev.tfplan", ""), saved.states())


def test_an_account_that_lacks_something_is_not_even_planned_in(
    tmp_path: Path, built: Path, account: aws_api.Account
) -> None:
    terraforms.skip_unless_installed()
    saved = Saved(tmp_path, built, account)
    account.set(logging_role=False)
    done = saved.run("plan", "--out", "dev.tfplan", "dev", **saved.environment)
    assert done.returncode == 2
    assert re.search(r"^API Gateway's logs +none +a role in this Region +no$", done.stdout, re.MULTILINE)
    assert done.stderr == "Nothing was done: first put right what the table says no to (API Gateway's logs).\n"


def test_a_plan_is_saved_with_what_it_is_a_plan_of(planned: Did) -> None:
    assert planned.said.splitlines()[-3:] == [
        "added      terraform_data.copied, 2 of them",
        "added      terraform_data.kept",
        "3 to add.",
    ]
    rows = dict(re.findall(r"^([\w' ]+?)  +.*  (ok|look|no|not \w+)$", planned.said, re.MULTILINE))
    assert rows == {
        "account": "look",
        "states": "ok",
        "Lambda's concurrency": "not needed",
        "API Gateway's logs": "ok",
        "ElastiCache's role": "not known",
        "availability zones": "ok",
    }
    facts = planned.saved.facts()
    assert (facts["environment"], facts["account"]) == ("dev", planned.saved.account.id)
    assert "password" not in Path(f"{planned.saved.plan}.json").read_text()
    assert planned.states == [], "nothing is changed, and nothing stays locked"


def test_a_plan_of_another_environment_is_not_applied(planned: Did) -> None:
    assert planned.saved.sentence("apply", "--plan", "dev.tfplan", "prod") == (
        "dev.tfplan is a plan for dev, not for prod: leave ENV out, or plan again."
    )


def test_the_plan_alone_says_where_it_belongs_and_nobody_is_asked(applied: Did) -> None:
    assert "3 added, 0 changed, 0 destroyed" in applied.said
    assert applied.states == ["dev.tfstate"]
    assert (applied.saved.terraform / ".terraform" / "dev" / "terraform.tfstate").exists()


def test_a_plan_is_applied_once(applied: Did) -> None:
    assert applied.saved.sentence("apply", "--plan", "dev.tfplan", "dev") == (
        "dev.tfplan is stale, since dev was changed after it was made: run make plan ENV=dev OUT=dev.tfplan again, "
        "and look at what it says now."
    )


OTHER_SIZE = ("-var", "size=2")


def test_drift_is_nothing_or_2(applied: Did) -> None:
    said = applied.saved.make("drift", "dev")
    assert said.endswith("\nNothing would change.\nDrift: none.\n")
    assert "availability zones" not in said, "a nightly job needs to know only that this is the right account"
    assert applied.saved.make("drift", "dev", *OTHER_SIZE, status=2).splitlines()[-5:] == [
        'replaced   terraform_data.copied["a"]: triggers_replace',
        'replaced   terraform_data.copied["b"]: triggers_replace',
        "changed    terraform_data.kept: input, output",
        "2 to replace, 1 to change.",
        "Drift: something differs.",
    ]


def test_a_program_gets_json_and_nothing_else(applied: Did) -> None:
    saved = applied.saved
    found = json.loads(saved.make("drift", "--json", "dev", *OTHER_SIZE, status=2))
    assert found["drift"] == "something differs"
    assert [(one["kind"], one["address"]) for one in found["changes"]][-1] == ("changed", "terraform_data.kept")
    planned = json.loads(saved.make("plan", "--json", "--out", "other.tfplan", "dev", *OTHER_SIZE))
    assert planned == json.loads((saved.root / "other.tfplan.json").read_text())
    assert planned["changes"] == found["changes"]


def test_drift_that_cannot_tell_is_1(applied: Did) -> None:
    saved = applied.saved
    saved.write("terraform/environments/broken.tfvars", 'region = "eu-central-1"\nsize = unknown\n')
    done = saved.run("drift", "broken", **saved.environment)
    assert "cannot be read near 'unknown'" in done.stderr
    assert (done.returncode, done.stdout) == (1, "Drift: not known.\n")
    assert saved.make("drift", "dev", "-target=", status=1).endswith("Drift: not known.\n")


def test_make_hides_which_status_it_was_but_not_what_it_means(applied: Did) -> None:
    """GNU make exits with 2 whatever status a command had."""
    saved = applied.saved
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not on this machine")
    (saved.root / ".venv").symlink_to(sys.prefix)
    line = [make, "--no-print-directory", f"--file={ROOT}/Makefile", "install=:", "drift", "ENV=qa", "JSON=1"]
    told = saved.run_line(line, **saved.environment)
    assert told.returncode == 2
    assert json.loads(told.stdout) == {"drift": "not known", "environment": "qa"}


def test_an_environment_has_a_backend_of_its_own_if_it_has_a_file(applied: Did) -> None:
    saved = applied.saved
    saved.write("terraform/environments/apart.tfvars", 'region = "eu-central-1"\n')
    saved.write("terraform/environments/apart.backend.hcl", BACKEND.format(bucket=saved.bucket("own")))
    saved.make("plan", "--out", "apart.tfplan", "apart")
    saved.make("apply", "--plan", "apart.tfplan", "")
    assert (saved.states("own"), saved.states()) == (["apart.tfstate"], ["dev.tfstate"])


def test_a_bucket_that_is_not_there_is_said_before_terraform_looks_for_it(planned: Did) -> None:
    saved = planned.saved
    saved.write("terraform/environments/gone.tfvars", 'region = "eu-central-1"\n')
    saved.write("terraform/environments/gone.backend.hcl", BACKEND.format(bucket="gone"))
    done = saved.run("plan", "gone", **saved.environment)
    assert done.returncode == 2
    assert "terraform/environments/gone.backend.hcl names a bucket that is not there" in done.stdout
    assert done.stderr == "Nothing was done: first put right what the table says no to (states).\n"
