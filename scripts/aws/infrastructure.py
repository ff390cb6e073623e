"""Runs terraform for one environment: `make plan ENV=dev`, and in its place `apply` or `drift`.

Checks first what would fail later and less plainly, and says what to do about it. Each environment has a state and
working files of its own. terraform/backend.hcl names the bucket of the states, of which an account has one; an
environment in another account has a file of its own, environments/<name>.backend.hcl.

`make apply` applies exactly the plan that it has shown. With OUT=file `make plan` saves one, and `make apply PLAN=file`
applies that. `make drift` looks whether AWS still is what the tree says. Exit status: that of terraform; 2 if a
sentence says why nothing was done. Of drift: 0 the same, 2 different, 1 cannot tell; make turns either into 2, so the
last line says which it was, and the JSON does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from scripts.aws import (
    accounts,
    build,
    changes,
    endings,
    preflight,
    saved_plans,
    terraform_mirror,
    values,
    verdicts,
    weights,
)
from scripts.places import ROOT, TERRAFORM
from scripts.refusal import Refusal

BACKEND = TERRAFORM / "backend.hcl"
OLDEST = (1, 11)
"""The first Terraform that locks a state in S3 itself."""

EMULATED = "local"
"""The environment that is never on AWS."""

UNASKED = "-auto-approve"
"""terraform's option for an apply without a question."""

DIFFERENT = 2
"""terraform's exit status for a plan that would change something, and ours for a reality that differs."""

CANNOT_TELL = 1
"""The exit status of drift that nobody could look for."""

DRIFT = {0: "none", DIFFERENT: "something differs", CANNOT_TELL: "not known"}
"""What drift says in a word, by its exit status."""


def command(action: str, environment: str, more: Sequence[str]) -> list[str]:
    """The terraform command, ready to run, after `terraform init`. Raises Refusal and CalledProcessError."""
    _check_environment(environment)
    check_terraform()
    _check_build(environment)
    begin(environment, fully=False)
    return [*_terraform(), action, *_values_of(environment), *more]


def begin(environment: str, *, fully: bool, output: Any = None) -> str:
    """Looks at the account, then runs `terraform init`; returns the account. Raises Refusal and CalledProcessError.

    fully: whether it has all that the environment needs, and not just whether it is the right one. The table goes to
    standard output, or to `output`.
    """
    _check_overrides()
    _check_backend(environment)
    _check_credentials()
    aws = accounts.clients(region(environment))
    wanted = preflight.target(environment, _backend(environment), is_own_backend=_backend(environment) != BACKEND.name)
    caller = preflight.whose(aws)
    rows = [*preflight.where(aws, wanted, caller), *(preflight.what(aws, wanted, caller) if fully else ())]
    refused = [row for row in rows if row.verdict == verdicts.NO]
    if fully or refused:
        where = output or sys.stdout
        print(verdicts.table(rows, coloured=where.isatty()), end="\n\n", file=where, flush=True)
    if refused:
        names = ", ".join(row.check for row in refused)
        raise Refusal(f"Nothing was done: first put right what the table says no to ({names}).")
    subprocess.run([*_terraform(), "init", *_init_options(environment)], check=True, stdout=output)
    return caller.account


def planned(environment: str, more: Sequence[str], out: Path, *, as_json: bool, drift: bool = False) -> int:
    """Plans into a file, says what that would change, and returns the exit status of drift or of a plan.

    Raises Refusal and CalledProcessError. The table goes to standard output, or as JSON there and all else to standard
    error.
    """
    _check_environment(environment)
    if not out.parent.is_dir():
        raise Refusal(f"OUT={out} cannot be written: there is no folder {out.parent}.")
    check_terraform()
    _check_build(environment)
    output = sys.stderr if as_json else None
    account = begin(environment, fully=not drift, output=output)
    options = ["-detailed-exitcode", "-lock=false"] if drift else []  # whoever only looks needs no leave to write
    line = ["plan", "-input=false", *options, f"-out={out}", *_values_of(environment), *more]
    status = run([*_terraform(), *line], output=output).returncode
    if status not in (0, DIFFERENT):
        return status
    document = _shown(out)
    if not drift:
        weights.check(document)
    found = changes.read(document)
    facts = saved_plans.facts(out, document, environment, account)
    told = {"drift": DRIFT[status]} if drift else {}
    written = json.dumps({**told, **asdict(facts), "changes": changes.as_json(found)}, indent=2)
    if not drift:
        saved_plans.beside(out).write_text(f"{written}\n")
    print(written if as_json else f"\n{changes.summary(found, coloured=sys.stdout.isatty())}")
    return status


def _shown(plan: Path) -> dict[str, Any]:
    """What `terraform show -json` prints of a plan."""
    printed = subprocess.run([*_terraform(), "show", "-json", str(plan)], check=True, stdout=subprocess.PIPE).stdout
    document: dict[str, Any] = json.loads(printed)
    return document


def applied(environment: str, more: Sequence[str]) -> int:
    """Plans, asks, and applies exactly that; returns terraform's exit status. Raises Refusal and CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder, "plan")
        status = planned(environment, [option for option in more if option != UNASKED], plan, as_json=False)
        if status not in (0, DIFFERENT) or not saved_plans.read(plan)[1]:
            return status
        if UNASKED not in more and _answer(f'\nEnter "yes" to do this to {environment}: ') != "yes":
            raise Refusal("Nothing was applied.")
        return run([*_terraform(), "apply", "-input=false", str(plan)]).returncode


def _answer(question: str) -> str:
    print(question, end="", flush=True)
    return sys.stdin.readline().strip()


def saved(plan: Path, environment: str, more: Sequence[str]) -> list[str]:
    """The command that applies a saved plan, ready to run. Raises Refusal and CalledProcessError."""
    facts, found = saved_plans.read(plan)
    _check_environment(facts.environment)
    saved_plans.check(facts, plan, environment, check_terraform())
    os.environ["TF_DATA_DIR"] = str(data_folder(facts.environment))
    account = begin(facts.environment, fully=True)
    saved_plans.check_account(facts, plan, account)
    pulled = subprocess.run([*_terraform(), "state", "pull"], check=True, stdout=subprocess.PIPE, text=True).stdout
    saved_plans.check_state(plan, facts.environment, pulled)
    print(f"\n{changes.summary(found, coloured=sys.stdout.isatty())}\n", flush=True)
    return [*_terraform(), "apply", "-input=false", *more, str(plan)]


def outputs(environment: str) -> dict[str, Any]:
    """The values of terraform/outputs.tf, secrets included; none before the first apply.

    Raises Refusal and CalledProcessError.
    """
    _check_environment(environment)
    check_terraform()
    os.environ["TF_DATA_DIR"] = str(data_folder(environment))
    begin(environment, fully=False, output=sys.stderr)
    printed = subprocess.run([*_terraform(), "output", "-json"], check=True, stdout=subprocess.PIPE).stdout
    return {name: output["value"] for name, output in json.loads(printed).items()}


def function_name(environment: str, key: str) -> str:
    """The name of a function on AWS, as terraform/ makes it. Raises Refusal for an unknown environment."""
    _check_environment(environment)
    return values.function_name(values.of(environment), key)


def name(environment: str) -> str:
    """What every name of an environment begins with on AWS. Raises Refusal for an unknown environment."""
    _check_environment(environment)
    return values.name_of(values.of(environment))


def region(environment: str) -> str:
    """Where an environment is. Raises Refusal for an unknown one."""
    _check_environment(environment)
    return value(environment, "region") or ""


def data_folder(environment: str) -> Path:
    """Where terraform keeps an environment's working files: none ever sees which state another uses."""
    return TERRAFORM / ".terraform" / environment


def _terraform() -> list[str]:
    return ["terraform", f"-chdir={TERRAFORM}"]


def _values_of(environment: str) -> list[str]:
    return [f"-var-file=environments/{environment}.tfvars"]


def _backend(environment: str) -> str:
    """The file that says where the state is, seen from terraform/: the environment's own, or else everybody's."""
    own = f"environments/{environment}.backend.hcl"
    return own if (TERRAFORM / own).exists() else BACKEND.name


def _init_options(environment: str) -> Iterator[str]:
    yield "-input=false"
    yield f"-backend-config={_backend(environment)}"
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


def check_terraform() -> str:
    """The version of the Terraform on PATH. Raises Refusal unless it is new enough."""
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
    return found[1]


def _check_overrides() -> None:
    """Terraform reads them without a word: a tflocal that was killed has left one that leads to an emulator."""
    if found := sorted(path.name for path in TERRAFORM.glob("*_override.tf*")):
        raise Refusal(f"terraform/{found[0]} would change where everything goes, so remove it and run this again.")


def _check_backend(environment: str) -> None:
    if not (TERRAFORM / _backend(environment)).exists():
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
    found: str | None = values.of(environment).get(variable)
    return found


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


def run(line: Sequence[str], *, output: Any = None, stdin: Any = None) -> subprocess.CompletedProcess[str]:
    """Runs terraform to its end, whatever signals come: it needs time to stop well, and to give its lock back.

    Ctrl-C reaches it from the terminal; what reaches this process alone is passed on.
    """
    came: list[int] = []
    started: list[subprocess.Popen[str]] = []

    def pass_on() -> None:
        with contextlib.suppress(IndexError):  # each once: terraform breaks off at the second
            started[0].send_signal(came.pop())

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if started:
            pass_on()

    before = [signal.signal(signal.SIGINT, lambda *_: None), signal.signal(signal.SIGTERM, note)]
    try:
        started.append(subprocess.Popen(line, stdin=stdin, stdout=output, text=True))
        pass_on()  # what came before it did
        printed, _ = started[0].communicate()
        return subprocess.CompletedProcess(line, started[0].returncode, printed)
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)


def _become(command_line: list[str]) -> NoReturn:
    """Becomes terraform, so that Ctrl-C reaches it alone and it stops in good order."""
    sys.stdout.flush()
    os.execvp(command_line[0], command_line)  # noqa: S606 - no shell is wanted


def main(arguments: Sequence[str] | None = None) -> int:
    """Becomes terraform, or runs it and says what it found, or says in one sentence what is missing."""
    options = _options(arguments)
    if options.action != "drift":
        return endings.status(lambda: _act(options))
    status = endings.status(lambda: _act(options), cannot=CANNOT_TELL, broken=CANNOT_TELL)
    if not options.json:
        print(f"Drift: {DRIFT.get(status, DRIFT[CANNOT_TELL])}.")
    elif status not in (0, DIFFERENT):
        print(json.dumps({"drift": DRIFT[CANNOT_TELL], "environment": options.environment}, indent=2))
    return status


def _act(options: argparse.Namespace) -> int:
    if options.action == "destroy":
        raise Refusal(
            f"This destroys nothing: use make destroy ENV={options.environment}, which asks for the name, and takes a "
            "last snapshot of the data."
        )
    if options.plan:
        _become(saved(Path(options.plan).resolve(), options.environment, options.more))
    os.environ["TF_DATA_DIR"] = str(data_folder(options.environment))
    if options.action == "apply":
        return applied(options.environment, options.more)
    with tempfile.TemporaryDirectory() as folder:
        out, drift = Path(options.out or Path(folder, "plan")).resolve(), options.action == "drift"
        return planned(options.environment, options.more, out, as_json=options.json, drift=drift)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.aws.infrastructure", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("action", choices=["plan", "apply", "drift", "destroy"])
    parser.add_argument("--out", help="plan: save the plan in this file")
    parser.add_argument("--plan", help="apply: apply the plan in this file")
    parser.add_argument("--json", action="store_true", help="plan, drift: print JSON")
    parser.add_argument("environment", help="name of a file in terraform/environments")
    parser.add_argument("more", nargs=argparse.REMAINDER, help="arguments for terraform")
    options = parser.parse_args(arguments)
    for name, actions in {"out": ["plan"], "plan": ["apply"], "json": ["plan", "drift"]}.items():
        if getattr(options, name) and options.action not in actions:
            parser.error(f"--{name} goes with {' and '.join(actions)} only")
    return options


if __name__ == "__main__":
    sys.exit(main())
