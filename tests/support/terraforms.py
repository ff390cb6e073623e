"""Terraform on a copy of the tree, with the real provider and without AWS: plans as data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from scripts.aws import terraform_mirror, terraform_provider
from scripts.dev import check_terraform
from scripts.places import ROOT
from tests.support import aws_api

"""What a copied root has of it, and of a backend that needs nobody."""

UNCHANGED = "No changes. Your infrastructure matches the configuration."
"""What Terraform says of a plan that changes nothing."""

LONGEST_SECONDS = 900
"""A command that takes longer than this hangs; a busy machine only makes it slow."""


class TerraformError(Exception):
    """A command failed; the message is everything it printed."""


def skip_unless_installed() -> None:
    """Skips, by name, what needs Terraform if it is not installed; an error if TERRAFORM_REQUIRED is set."""
    if shutil.which("terraform"):
        return
    missing = "terraform is missing: install Terraform 1.11 or newer to have the infrastructure tested"
    if os.environ.get("TERRAFORM_REQUIRED"):
        raise TerraformError(missing)
    pytest.skip(missing)


def copy(to: Path) -> Path:
    """Copies `terraform/` and, beside it, what it reads of functions/; returns the copy's path."""
    left = shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfplan")
    shutil.copytree(ROOT / "terraform", to / "terraform", ignore=left)
    (to / "functions").mkdir()
    for name in check_terraform.READ:
        shutil.copy(ROOT / "functions" / name, to / "functions")
    return to / "terraform"


def init(folder: Path, *, environment: Mapping[str, str] | None = None, account: str | None = None) -> None:
    """Makes a copied folder ready to be planned: with the provider, only a local backend, and no credentials.

    environment may name a provider that is already running: then none is looked for. account is one of an emulated AWS,
    if not its usual one.
    """
    written = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.tf"))
    keys = {"access_key": aws_api.access_key(account)} if account else {}
    offline: dict[str, Any] = {"provider": {"aws": {**terraform_provider.OFFLINE, **keys}}}
    if 'backend "s3"' in written:
        offline["terraform"] = {"backend": {"local": {}}}
    name = terraform_provider.OFFLINE_FILE if 'provider "aws"' in written else "offline.tf.json"
    (folder / name).write_text(json.dumps(offline))
    options = [] if terraform_provider.VARIABLE in (environment or {}) else terraform_mirror.init_options()
    run(folder, "init", "-input=false", *options, environment=environment)


def plan(
    folder: Path,
    variables: Mapping[str, Any],
    *,
    var_file: Path | None = None,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The plan that `terraform show -json` prints, for a folder after init. variables win over those of var_file.

    environment can lead the provider to an emulator. Raises TerraformError for a plan that Terraform refuses.
    """
    written = folder / "given.tfvars.json"
    written.write_text(json.dumps(variables))
    files = [f"-var-file={file}" for file in (var_file, written) if file]
    run(folder, "plan", "-input=false", "-lock=false", "-out=made.tfplan", *files, *options, environment=environment)
    planned: dict[str, Any] = json.loads(run(folder, "show", "-json", "made.tfplan", environment=environment))
    return planned


def apply(folder: Path, variables: Mapping[str, Any], *, environment: Mapping[str, str]) -> dict[str, Any]:
    """Applies a folder, after init, where environment leads; returns the state as Terraform keeps it.

    To show it as JSON would take the provider's schema, which is most of what a command costs.
    """
    values = folder / "given.tfvars.json"
    values.write_text(json.dumps(variables))
    run(folder, "apply", "-input=false", "-lock=false", "-auto-approve", f"-var-file={values}", environment=environment)
    state: dict[str, Any] = json.loads(run(folder, "state", "pull", environment=environment))
    return state


def managed(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The resources among the values of a plan or a state, with those of modules; data sources are left out."""
    for module in _modules(values.get("root_module", {})):
        yield from (resource for resource in module.get("resources", ()) if resource["mode"] == "managed")


def run(folder: Path, *command: str, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints to standard output. Raises TerraformError."""
    done = subprocess.run(
        ["terraform", *command, *(() if command[0] == "show" else ("-no-color",))],
        cwd=folder,
        env={**terraform_mirror.environment(), **(environment or {})},
        check=False,
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
    )
    if done.returncode:
        raise TerraformError(f"terraform {command[0]} in {folder}\n{done.stdout}{done.stderr}")
    return done.stdout


def _modules(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield module
    for child in module.get("child_modules", ()):
        yield from _modules(child)
