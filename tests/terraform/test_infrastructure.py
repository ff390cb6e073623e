"""`make plan` and `make apply`: what they hand to terraform, and what they say before they do.

terraform is a script here that writes down how it was called: the command line is tested, not Terraform.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.aws import infrastructure
from scripts.places import ROOT
from tests.support.patience import wait_until
from tests.terraform import projects
from tests.terraform.projects import Project


def test_it_is_a_thin_line_over_terraform(project: Project) -> None:
    done = project.run(
        "plan", "--out", "dev.tfplan", "dev", "-target=module.api", "-var", "a=b", TF_PLUGIN_DIR="/mirror"
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    data = str(project.terraform / ".terraform" / "dev")
    here = f"-chdir={project.terraform}"
    assert project.calls() == [
        (
            data,
            f"{here} init -input=false -backend-config=backend.hcl -backend-config=key=dev.tfstate -plugin-dir=/mirror",
        ),
        (
            data,
            f"{here} plan -input=false -out={project.root}/dev.tfplan -var-file=environments/dev.tfvars "
            "-target=module.api -var a=b",
        ),
        (data, f"{here} show -json {project.root}/dev.tfplan"),
    ]


def test_what_destroys_goes_another_way(project: Project) -> None:
    """One that asks for the name, and that keeps the data."""
    assert project.refused("destroy", "dev", "-auto-approve").startswith(
        "This destroys nothing: use make destroy ENV=dev,"
    )


WEIGHTED = {
    "terraform_version": "1.11.4",
    "resource_changes": [
        {
            "type": kind,
            "mode": "managed",
            "address": f"{kind}.this",
            "change": {"actions": [action], "before": before, "after": {"function_name": "rank"}},
        }
        for kind, action, before in (
            ("aws_lambda_provisioned_concurrency_config", "create", None),
            ("aws_lambda_alias", "no-op", {"routing_config": [{"additional_version_weights": {"2": 0.1}}]}),
        )
    ],
}
"""A plan for what is being deployed."""


class TestApply:
    """What is applied is the plan that was shown."""

    @pytest.fixture
    def done(self, project: Project, request: pytest.FixtureRequest) -> subprocess.CompletedProcess[str]:
        project.typed, *options = request.param
        return project.run("apply", "dev", "-target=module.api", *options)

    @pytest.mark.parametrize("done", [("yes\n",), ("", "-auto-approve")], indirect=True)
    def test_the_plan_that_was_shown_is_applied(self, project: Project, done: subprocess.CompletedProcess[str]) -> None:
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert "added      aws_vpc.this\n1 to add." in done.stdout
        init, planned, shown, applied = (line.split()[1:] for _, line in project.calls())
        (out,) = [option.removeprefix("-out=") for option in planned if option.startswith("-out=")]
        assert init[0] == "init"
        assert planned[-2:] == ["-var-file=environments/dev.tfvars", "-target=module.api"]
        assert shown == ["show", "-json", out]
        assert applied == ["apply", "-input=false", out]
        assert not Path(out).exists(), "it holds secrets"

    @pytest.mark.parametrize("done", [("no\n",), ("",)], indirect=True)
    def test_nothing_is_applied_without_a_yes(self, project: Project, done: subprocess.CompletedProcess[str]) -> None:
        assert (done.returncode, done.stderr) == (2, "Nothing was applied.\n")
        assert [line.split()[1] for _, line in project.calls()] == ["init", "plan", "show"]


@pytest.mark.parametrize("action", [["plan", "--out", "dev.tfplan", "dev"], ["apply", "dev", "-auto-approve"]])
def test_a_plan_that_aws_would_stop_half_way_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch, action: list[str]
) -> None:
    monkeypatch.setattr(projects, "DOCUMENT", WEIGHTED)
    project.give_terraform("1.11.4")
    done = project.run(*action)
    assert done.returncode == 2
    assert "in the middle of a deployment, which AWS refuses" in done.stderr
    assert [line.split()[1] for _, line in project.calls()] == ["init", "plan", "show"]
    assert not (project.root / "dev.tfplan.json").exists(), "so it cannot be applied"


def test_environments_share_neither_state_nor_working_files(project: Project) -> None:
    project.build("x86_64", "3.13")
    for name in ("dev", "prod"):
        assert project.run("plan", name).returncode == 0
    (dev, dev_init), _, _, (prod, prod_init), (_, prod_plan), _ = project.calls()
    assert dev != prod
    assert re.findall(r"key=(\S+)", dev_init + prod_init.rjust(200)) == ["dev.tfstate", "prod.tfstate"]
    assert "environments/prod.tfvars" in prod_plan


def test_a_providers_mirror_is_passed_on(project: Project, tmp_path: Path) -> None:
    assert project.run("plan", "dev", TF_PLUGIN_DIR=str(tmp_path)).returncode == 0
    assert project.calls()[0][1].endswith(f" -plugin-dir={tmp_path}")


def test_terraforms_exit_code_is_ours(project: Project) -> None:
    assert project.run("plan", "dev", "-FAILS").returncode == 1
    assert len(project.calls()) == 2


def test_a_pipeline_that_is_broken_off_lets_terraform_stop_in_good_order(project: Project) -> None:
    ready, stopped = project.root / "ready", project.root / "stopped"
    script = project.bin / "terraform"
    wait = f"trap ': > {stopped}; exit 7' TERM; : > {ready}; while :; do /bin/sleep 0.1; done"
    script.write_text(script.read_text() + f'case "$*" in *-out=*) {wait};; esac\n')
    with project.started("plan", "--out", "dev.tfplan", "dev") as process:
        wait_until(lambda: ready.exists() or process.poll() is not None)
        process.terminate()
        assert process.wait() == 7
    assert stopped.exists()


def test_nothing_follows_an_init_that_fails(project: Project) -> None:
    assert project.run("apply", "dev", TF_PLUGIN_DIR="/FAILS").returncode == 1
    assert [line.split()[1] for _, line in project.calls()] == ["init"]


def test_without_an_environment_it_says_which_there_are(project: Project) -> None:
    assert project.refused("plan", "") == (
        "ENV is missing: use ENV=dev or ENV=prod, or write a file of that name in terraform/environments."
    )


@pytest.mark.parametrize("name", ["qa", "../dev", "dev.tfvars"])
def test_an_unknown_environment_is_named(project: Project, name: str) -> None:
    assert project.refused("apply", name).startswith(f"ENV={name} is unknown: use ENV=dev or ENV=prod,")


def test_the_emulators_environment_never_goes_to_aws(project: Project) -> None:
    assert "ENV=local is the emulator's" in project.refused("apply", "local")


def test_a_missing_terraform_is_named(project: Project) -> None:
    (project.bin / "terraform").unlink()
    assert project.refused("plan", "dev") == "terraform is not on PATH: install Terraform 1.11 or newer."


@pytest.mark.parametrize("version", ["1.10.5", "0.15.0", "1.9.0-rc1"])
def test_an_old_terraform_is_named(project: Project, version: str) -> None:
    project.give_terraform(version)
    assert project.refused("plan", "dev") == f"terraform {version} is too old: install Terraform 1.11 or newer."


@pytest.mark.parametrize("version", ["1.11.0", "1.14.2", "2.0.0-beta1"])
def test_a_newer_terraform_will_do(project: Project, version: str) -> None:
    project.give_terraform(version)
    shutil.rmtree(project.root / "build")
    assert "make build" in project.refused("plan", "dev"), "that is looked at next"


def test_a_missing_backend_file_is_named_with_the_way_to_it(project: Project) -> None:
    (project.terraform / "backend.hcl").unlink()
    said = project.refused("plan", "dev")
    assert said.startswith("terraform/backend.hcl is missing: apply terraform/bootstrap once in the account, then run")
    output = re.search(r"output -raw (\w+) > terraform/backend.hcl", said)
    bootstrap = ROOT / "terraform" / "bootstrap" / "outputs.tf"
    assert output
    assert f'output "{output[1]}"' in bootstrap.read_text()


def test_what_tflocal_has_left_is_not_applied(project: Project) -> None:
    project.write("terraform/localstack_providers_override.tf", 'provider "aws" {}\n')
    said = "terraform/localstack_providers_override.tf would change where everything goes, so remove it"
    assert project.refused("apply", "dev") == f"{said} and run this again."


def test_a_missing_build_is_named_with_the_way_to_it(project: Project) -> None:
    said = "build/x86_64-python3.13 is missing: run make build ARCH=x86_64 PYTHON=3.13."
    assert project.refused("plan", "prod") == said
    shutil.rmtree(project.root / "build")
    said = "build/arm64-python3.12 is missing: run make build ARCH=arm64 PYTHON=3.12."
    assert project.refused("plan", "dev") == said


@pytest.mark.parametrize("change", ["functions/rank/handler.py", "shared/board.py", "locks/layer.lock"])
def test_a_build_of_other_sources_is_not_applied(project: Project, change: str) -> None:
    project.write(change, "# changed\n")
    said = "build/arm64-python3.12 is out of date: run make build ARCH=arm64 PYTHON=3.12."
    assert project.refused("apply", "dev") == said


def test_a_damaged_build_is_not_applied(project: Project) -> None:
    (project.root / "build" / "arm64-python3.12" / "layer.zip").write_bytes(b"half of i")
    assert "make build ARCH=arm64 PYTHON=3.12" in project.refused("apply", "dev")


def test_a_runtime_that_is_none_is_named_with_its_file(project: Project) -> None:
    project.write("terraform/environments/dev.tfvars", 'runtime = "nodejs22.x"\n')
    assert "terraform/environments/dev.tfvars cannot be built for: PYTHON=nodejs22.x" in project.refused("plan", "dev")


def test_missing_credentials_are_named_with_the_way_to_them(project: Project) -> None:
    said = project.refused("plan", "dev", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert said.startswith("No AWS credentials were found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and")


def test_a_profile_that_is_not_there_is_named(project: Project) -> None:
    said = project.refused("plan", "dev", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_PROFILE="studio")
    assert "studio" in said
    assert "aws sso login" in said


def test_the_oldest_terraform_is_the_one_that_the_root_asks_for() -> None:
    asked = re.search(r'required_version\s*=\s*">= (\d+)\.(\d+)', (ROOT / "terraform" / "versions.tf").read_text())
    assert asked
    assert tuple(map(int, asked.groups())) == infrastructure.OLDEST


def test_make_passes_the_environment_and_the_arguments() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not on this machine")
    for action in ("plan", "apply"):
        line = ["make", "--no-print-directory", "-n", action, "ENV=dev", "ARGS=-no-color"]
        shown = subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True, env=_outside_make()).stdout
        assert re.search(rf'-m scripts\.aws\.infrastructure {action} +"dev" -no-color$', shown.rstrip())


@pytest.mark.parametrize(
    ("arguments", "interpreter", "line"),
    [
        ((), ".venv/bin/python", "-m scripts.aws.build"),
        (("ARCH=x86_64", "PYTHON=3.12"), ".venv/bin/python", "-m scripts.aws.build --arch x86_64 --python 3.12"),
        (("ARCH=local", "PYTHON=local"), ".venv/bin/python", "-m scripts.aws.build --arch local --python local"),
        (("PYTHON=/usr/bin/python3.12",), "/usr/bin/python3.12;", "-m scripts.aws.build"),
    ],
)
def test_python_names_a_version_for_make_build_or_else_an_interpreter(
    arguments: tuple[str, ...], interpreter: str, line: str
) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not on this machine")
    command = ["make", "--no-print-directory", "-n", "build", *arguments]
    shown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=_outside_make()).stdout
    assert f"for python in {interpreter}" in shown
    assert shown.rstrip().endswith(line)


def _outside_make() -> dict[str, str]:
    """The environment without what a make that runs the tests tells the makes below it."""
    return {name: text for name, text in os.environ.items() if name not in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS")}
