"""A plan in a file, applied as it is, and drift: with the real Terraform, states in an emulated S3, and no provider."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.support import terraforms
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
    """A tree with resources that are in the state alone, and its buckets of states in moto."""

    def __init__(self, folder: Path, built: Path, aws: dict[str, str]):
        super().__init__(folder, aws["AWS_ENDPOINT_URL"])
        self.give_real_terraform()
        shutil.copytree(built, self.root / "build")
        self.write("terraform/main.tf", MAIN)
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        session = boto3.session.Session(region_name="eu-central-1", **keys)
        self.s3 = session.client("s3", endpoint_url=self.aws)
        self.gateway = session.client("apigateway", endpoint_url=self.aws)
        for bucket in ("states", "own"):
            self.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        self.write("terraform/backend.hcl", BACKEND.format(bucket="states"))
        self.plan = self.root / "dev.tfplan"

    def make(self, *arguments: str, status: int = 0) -> str:
        """What a command prints to standard output, which has to end with a status."""
        done = self.run(*arguments, AWS_ENDPOINT_URL_S3=self.aws, TF_CLI_CONFIG_FILE="/dev/null")
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def sentence(self, *arguments: str) -> str:
        """The one line on standard error of a command that is refused."""
        done = self.run(*arguments, AWS_ENDPOINT_URL_S3=self.aws, TF_CLI_CONFIG_FILE="/dev/null")
        assert done.returncode == 2, done.stdout + done.stderr
        (line,) = done.stderr.splitlines()
        return line

    def states(self, bucket: str) -> list[str]:
        """The objects in a bucket."""
        return [one["Key"] for one in self.s3.list_objects_v2(Bucket=bucket).get("Contents", ())]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, built: Path) -> Iterator[Saved]:
    """One for this story."""
    terraforms.skip_unless_installed()
    folder = tmp_path_factory.mktemp("saved")
    with terraforms.emulator(folder) as aws:
        yield Saved(folder, built, aws)


def facts(saved: Saved) -> dict[str, Any]:
    """What stands beside the plan."""
    found: dict[str, Any] = json.loads(Path(f"{saved.plan}.json").read_text())
    return found


def test_an_account_that_lacks_something_is_not_even_planned_in(saved: Saved) -> None:
    done = saved.run("plan", "--out", "dev.tfplan", "dev")
    assert done.returncode == 2
    assert re.search(r"^API Gateway's logs +none +a role in this Region +no$", done.stdout, re.MULTILINE)
    assert done.stderr == "Nothing was done: first put right what the table says no to (API Gateway's logs).\n"
    role = {"op": "replace", "path": "/cloudwatchRoleArn", "value": "arn:aws:iam::123456789012:role/logs"}
    saved.gateway.update_account(patchOperations=[role])


def test_a_plan_is_saved_with_what_it_is_a_plan_of(saved: Saved) -> None:
    said = saved.make("plan", "--out", "dev.tfplan", "dev")
    assert said.splitlines()[-3:] == [
        "added      terraform_data.copied, 2 of them",
        "added      terraform_data.kept",
        "3 to add.",
    ]
    rows = dict(re.findall(r"^([\w' ]+?)  +.*  (ok|look|no|not \w+)$", said, re.MULTILINE))
    assert rows == {
        "account": "look",
        "states": "ok",
        "Lambda's concurrency": "not needed",
        "API Gateway's logs": "ok",
        "ElastiCache's role": "not known",
        "availability zones": "ok",
    }
    assert (facts(saved)["environment"], facts(saved)["account"]) == ("dev", "123456789012")
    assert "password" not in Path(f"{saved.plan}.json").read_text()
    assert saved.states("states") == [], "nothing is changed, and nothing stays locked"


def test_a_plan_of_another_environment_is_not_applied(saved: Saved) -> None:
    assert saved.sentence("apply", "--plan", "dev.tfplan", "prod") == (
        "dev.tfplan is a plan for dev, not for prod: leave ENV out, or plan again."
    )


def test_the_plan_alone_says_where_it_belongs_and_nobody_is_asked(saved: Saved) -> None:
    assert "3 added, 0 changed, 0 destroyed" in saved.make("apply", "--plan", "dev.tfplan", "")
    assert saved.states("states") == ["dev.tfstate"]
    assert (saved.terraform / ".terraform" / "dev" / "terraform.tfstate").exists()


def test_a_plan_is_applied_once(saved: Saved) -> None:
    assert saved.sentence("apply", "--plan", "dev.tfplan", "dev") == (
        "dev.tfplan is stale, since dev was changed after it was made: run make plan ENV=dev OUT=dev.tfplan again, "
        "and look at what it says now."
    )


def test_drift_is_nothing_or_2(saved: Saved) -> None:
    assert saved.make("drift", "dev").endswith("\nNothing would change.\n")
    saved.write("terraform/environments/dev.tfvars", 'region = "eu-central-1"\nsize = 2\n')
    said = saved.make("drift", "dev", status=2)
    assert said.splitlines()[-4:] == [
        'replaced   terraform_data.copied["a"]: triggers_replace',
        'replaced   terraform_data.copied["b"]: triggers_replace',
        "changed    terraform_data.kept: input, output",
        "2 to replace, 1 to change.",
    ]
    assert "availability zones" not in said, "a nightly job needs to know only that this is the right account"


def test_a_program_gets_json_and_nothing_else(saved: Saved) -> None:
    found = json.loads(saved.make("drift", "--json", "dev", status=2))
    assert [(one["kind"], one["address"]) for one in found["changes"]][-1] == ("changed", "terraform_data.kept")
    assert json.loads(saved.make("plan", "--json", "--out", "dev.tfplan", "dev")) == facts(saved)
    assert facts(saved)["changes"] == found["changes"]


def test_drift_that_cannot_tell_is_1(saved: Saved) -> None:
    saved.write("terraform/environments/dev.tfvars", 'region = "eu-central-1"\nsize = unknown\n')
    assert "cannot be read near 'unknown'" in saved.run("drift", "dev").stderr
    saved.make("drift", "dev", status=1)
    saved.make("drift", "qa", status=1)
    saved.write("terraform/environments/dev.tfvars", 'region = "eu-central-1"\n')
    saved.make("drift", "dev", "-target=", status=1)


def test_an_environment_has_a_backend_of_its_own_if_it_has_a_file(saved: Saved) -> None:
    saved.write("terraform/environments/prod.tfvars", 'region = "eu-central-1"\n')
    saved.write("terraform/environments/prod.backend.hcl", BACKEND.format(bucket="own"))
    saved.make("plan", "--out", "prod.tfplan", "prod")
    saved.make("apply", "--plan", "prod.tfplan", "")
    assert (saved.states("own"), saved.states("states")) == (["prod.tfstate"], ["dev.tfstate"])


def test_a_bucket_that_is_not_there_is_said_before_terraform_looks_for_it(saved: Saved) -> None:
    saved.write("terraform/environments/prod.backend.hcl", BACKEND.format(bucket="gone"))
    done = saved.run("plan", "prod")
    assert done.returncode == 2
    assert "terraform/environments/prod.backend.hcl names a bucket that is not there" in done.stdout
    assert done.stderr == "Nothing was done: first put right what the table says no to (states).\n"
