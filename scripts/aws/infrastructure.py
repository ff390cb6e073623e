"""Runs terraform for one environment: `make plan ENV=dev`, `make apply ENV=dev`; `make destroy` begins here too.

Checks first what would fail later and less plainly, and says what to do about it. Each environment has a state and
working files of its own; terraform/backend.hcl names the bucket of the states, of which an account has one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from scripts.aws import build, terraform_mirror
from scripts.places import ROOT, TERRAFORM
from scripts.refusal import Refusal

BACKEND = TERRAFORM / "backend.hcl"
OLDEST = (1, 11)
"""The first Terraform that locks a state in S3 itself."""

EMULATED = "local"
"""The environment that is never on AWS."""


def command(action: str, environment: str, more: Sequence[str]) -> list[str]:
    """The terraform command, ready to run, after `terraform init`. Raises Refusal and CalledProcessError."""
    _check_environment(environment)
    check_terraform()
    _check_backend()
    _check_build(environment)
    _check_credentials()
    subprocess.run([*_terraform(), "init", *_init_options(environment)], check=True)
    return [*_terraform(), action, f"-var-file=environments/{environment}.tfvars", *more]


def function_name(environment: str, key: str) -> str:
    """The name of a function on AWS, as terraform/ makes it. Raises Refusal for an unknown environment."""
    _check_environment(environment)
    return f"{value(environment, 'project')}-{value(environment, 'environment')}-{key.replace('_', '-')}"


def region(environment: str) -> str:
    """Where an environment is. Raises Refusal for an unknown one."""
    _check_environment(environment)
    return value(environment, "region") or ""


def data_folder(environment: str) -> Path:
    """Where terraform keeps an environment's working files: none ever sees which state another uses."""
    return TERRAFORM / ".terraform" / environment


def _terraform() -> list[str]:
    return ["terraform", f"-chdir={TERRAFORM}"]


def _init_options(environment: str) -> Iterator[str]:
    yield "-input=false"
    yield f"-backend-config={BACKEND.name}"
    yield f"-backend-config=key={environment}.tfstate"
    yield from terraform_mirror.init_options()


def _check_environment(environment: str) -> None:
    known = sorted(path.stem for path in (TERRAFORM / "environments").glob("*.tfvars") if path.stem != EMULATED)
    choice = " or ".join(f"ENV={name}" for name in known)
    if environment == EMULATED:
        raise Refusal(f"ENV={EMULATED} is the emulator's and not for AWS: use {choice}.")
    if environment not in known:
        problem = f"ENV={environment} is unknown" if environment else "ENV is missing"
        raise Refusal(f"{problem}: use {choice}, or write a file of that name in terraform/environments.")


def check_terraform() -> None:
    """Raises Refusal unless the Terraform on PATH is new enough."""
    wanted = ".".join(map(str, OLDEST))
    if shutil.which("terraform") is None:
        raise Refusal(f"terraform is not on PATH: install Terraform {wanted} or newer.")
    done = subprocess.run(["terraform", "version", "-json"], check=False, capture_output=True, text=True)
    found = re.search(r'"terraform_version":\s*"((\d+)\.(\d+)[^"]*)"', done.stdout)
    if done.returncode != 0 or found is None:
        output = (done.stderr or done.stdout).strip().splitlines()
        raise Refusal(f"terraform does not tell its version: {output[0] if output else 'it said nothing'}")
    if (int(found[2]), int(found[3])) < OLDEST:
        raise Refusal(f"terraform {found[1]} is too old: install Terraform {wanted} or newer.")


def _check_backend() -> None:
    if not BACKEND.exists():
        raise Refusal(
            "terraform/backend.hcl is missing: apply terraform/bootstrap once in the account, then run "
            "terraform -chdir=terraform/bootstrap output -raw backend_config > terraform/backend.hcl."
        )


def _check_build(environment: str) -> None:
    architecture, runtime = value(environment, "architecture"), value(environment, "runtime")
    try:
        wanted = build.target(architecture or build.ARCHITECTURE, (runtime or build.PYTHON).removeprefix("python"))
    except Refusal as error:
        raise Refusal(f"terraform/environments/{environment}.tfvars cannot be built for: {error}.") from None
    if not build.is_current(wanted):
        folder = build.BUILD / wanted.name
        problem = "is out of date" if folder.exists() else "is missing"
        raise Refusal(
            f"{folder.relative_to(ROOT)} {problem}: run make build ARCH={wanted.architecture} PYTHON={wanted.python}."
        )


def value(environment: str, variable: str) -> str | None:
    """The value of one of the root's text variables in an environment, or else its default."""
    values = (TERRAFORM / "environments" / f"{environment}.tfvars").read_text()
    if found := re.search(rf'^{variable}\s*=\s*"([^"]*)"', values, re.MULTILINE):
        return found[1]
    declared = "\n".join(path.read_text() for path in TERRAFORM.glob("variables.tf"))
    block = re.search(rf'^variable "{variable}" {{\n(.*?)^}}', declared, re.MULTILINE | re.DOTALL)
    default = block and re.search(r'^\s*default\s*=\s*"([^"]*)"', block[1], re.MULTILINE)
    return default[1] if default else None


def _check_credentials() -> None:
    """Asks the AWS SDK, which looks where terraform does. Nobody asks AWS whether they are valid."""
    import botocore.session  # type: ignore[import-untyped] # noqa: PLC0415 - it takes longer than all the rest

    remedy = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or sign in again: aws sso login)"
    try:
        found = botocore.session.Session().get_credentials()
        usable = found is not None and found.get_frozen_credentials().access_key
    except Exception as error:
        raise Refusal(f"AWS credentials cannot be loaded ({' '.join(str(error).split())}): {remedy}.") from None
    if not usable:
        raise Refusal(f"No AWS credentials were found: {remedy}.")


def _become(command_line: list[str]) -> NoReturn:
    """Becomes terraform, so that Ctrl-C reaches it alone and it stops in good order."""
    sys.stdout.flush()
    os.execvp(command_line[0], command_line)  # noqa: S606 - no shell is wanted


def main(arguments: Sequence[str] | None = None) -> int:
    """Becomes terraform, or says in one sentence what is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.aws.infrastructure", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("action", choices=["plan", "apply"])
    parser.add_argument("environment", help="name of a file in terraform/environments")
    parser.add_argument("more", nargs=argparse.REMAINDER, help="arguments for terraform")
    options = parser.parse_args(arguments)
    os.environ["TF_DATA_DIR"] = str(data_folder(options.environment))
    try:
        command_line = command(options.action, options.environment, options.more)
    except Refusal as error:
        print(error, file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:  # terraform init has said why
        return error.returncode
    except KeyboardInterrupt:
        return 130
    _become(command_line)


if __name__ == "__main__":
    sys.exit(main())
