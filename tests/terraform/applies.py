"""The whole tree, applied as a pipeline does it: into an empty account, with its state in S3.

Each environment has an account of its own on an AWS that refuses as AWS refuses, see tests/support/aws_api. Most
of their time the provider waits for AWS, so they run side by side.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.aws import terraform_mirror, terraform_provider
from scripts.dev import lean_provider
from scripts.places import ROOT
from tests.support import aws_api, terraforms
from tests.support.patience import wait_until
from tests.terraform import plans

ACCOUNTS = {"dev": "111111111111", "staging": "222222222222", "prod": "333333333333"}

OWN_DOMAIN = {
    "name": "scores.example.com",
    "certificate_arn": f"arn:aws:acm:{aws_api.REGION}:222222222222:certificate/00000000-0000-4000-8000-000000000000",
}

MORE: Mapping[str, Mapping[str, Any]] = {
    # A host name of its own closes the other way in, which an import would open again. Its firewall is prod's with
    # another number, and costs the provider as much as all the rest.
    "staging": {"domain": OWN_DOMAIN, "waf": None},
}
"""Values for an environment in addition to its file."""

DESTROYED = "dev"
"""The cheapest: a destroy of the others costs twice as much, for deployment groups and a firewall besides."""


@dataclass(frozen=True)
class Destroyed:
    """What `make destroy` did: broken off once Terraform had begun to delete, and then run again."""

    broken_off: subprocess.CompletedProcess[str]
    between: Mapping[str, Any]
    """The state that the first left."""
    again: subprocess.CompletedProcess[str]
    left: Mapping[str, Any]
    """The state that the second left."""


@dataclass(frozen=True)
class Applied:
    """What happened when an environment was applied."""

    account: aws_api.Account
    calls: Sequence[aws_api.Call]
    """During the first apply only."""
    second_plan: str
    """What Terraform says when it is asked again."""
    destroyed: Destroyed | None


@contextlib.contextmanager
def begun(folder: Path, aws: aws_api.Aws) -> Iterator[Mapping[str, Future[Applied]]]:
    """The applies of all environments, under way."""
    tree = terraforms.copy(folder / "tree")
    plans.pretend_to_build(tree.parent)
    terraforms.init(tree)  # finds the provider once for all of them
    (tree / terraform_provider.OFFLINE_FILE).unlink()
    with contextlib.ExitStack() as stack:
        pool = ThreadPoolExecutor(len(ACCOUNTS))
        stack.callback(pool.shutdown, cancel_futures=True)
        yield {name: pool.submit(_apply, folder, tree, name, aws.account(ACCOUNTS[name])) for name in ACCOUNTS}


def _apply(folder: Path, tree: Path, environment: str, account: aws_api.Account) -> Applied:
    shutil.copytree(tree.parent, folder / environment, symlinks=True)
    root = folder / environment / "terraform"
    if environment == DESTROYED:
        _complete(root)
    seen = {**terraform_mirror.environment(), **account.variables}
    log = folder / f"provider-{environment}.log"
    with lean_provider.serving(tree / ".terraform", log, seen, root, types=plans.types()) as provider:
        variables = {**account.variables, **provider}
        _make_bucket(account)
        backend = _backend(environment)
        options = [f"-backend-config={name}={json.dumps(value).strip(chr(34))}" for name, value in backend.items()]
        terraforms.run(root, "init", "-input=false", "-reconfigure", *options, environment=variables)
        (root / "more.tfvars.json").write_text(json.dumps(MORE.get(environment, {})))
        values = (f"-var-file=environments/{environment}.tfvars", "-var-file=more.tfvars.json")
        account.forget_calls()
        terraforms.run(root, "apply", "-input=false", "-auto-approve", *values, environment=variables)
        calls = account.calls()
        second = terraforms.run(root, "plan", "-input=false", *values, environment=variables)
        if environment != DESTROYED:
            return Applied(account, calls, second, None)
        return Applied(account, calls, second, _destroy(root, account, variables))


def _destroy(root: Path, account: aws_api.Account, variables: Mapping[str, str]) -> Destroyed:
    """The command as an owner types it, with the real Terraform; nothing in the sources is changed for it."""
    line = [sys.executable, "-B", "-m", "scripts.aws.destroy", DESTROYED, "-refresh=false"]
    given = {**terraform_mirror.environment(), **variables}

    @contextlib.contextmanager
    def begun(name: str) -> Iterator[tuple[subprocess.Popen[str], Callable[[], subprocess.CompletedProcess[str]]]]:
        """The command, with the name typed, and what waits for its end."""
        printed = [root / f"{name}.{stream}" for stream in ("out", "err")]  # a pipe would fill up

        def finish() -> subprocess.CompletedProcess[str]:
            status = process.wait(terraforms.LONGEST_SECONDS)
            return subprocess.CompletedProcess(line, status, *(path.read_text() for path in printed))

        (root / "typed").write_text(f"{DESTROYED}\n")
        with (root / "typed").open() as typed, printed[0].open("w") as out, printed[1].open("w") as err:
            process = subprocess.Popen(line, cwd=root.parent, env=given, text=True, stdin=typed, stdout=out, stderr=err)
            try:
                yield process, finish
            finally:
                process.kill()
                process.wait()

    def state() -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(terraforms.run(root, "state", "pull", environment=variables))
        return found

    account.forget_calls()
    with begun("first") as (process, finish):

        def deletes() -> bool:
            deleted = {call.operation for call in account.calls() if call.operation.startswith("Delete")}
            return bool(deleted - {"DeleteServerlessCache", "DeleteObject"}) or process.poll() is not None

        wait_until(deletes, terraforms.LONGEST_SECONDS)
        process.terminate()
        broken_off = finish()
    between = state()
    with begun("second") as (_, finish):
        again = finish()
    return Destroyed(broken_off, between, again, state())


def _complete(root: Path) -> None:
    """Adds to a copied tree what our commands need of it, with zips that were built."""
    whole = root.parent
    for name in ("functions", "scripts", "shared"):
        ignored = shutil.ignore_patterns("node_modules")
        shutil.copytree(ROOT / name, whole / name, ignore=ignored, dirs_exist_ok=True)
    (whole / "locks").mkdir()
    (whole / "locks" / "layer.lock").write_text("# nothing\n")
    shutil.rmtree(whole / "build")
    subprocess.run([sys.executable, "-B", "-m", "scripts.aws.build"], cwd=whole, check=True, capture_output=True)
    written = (f"{name} = {json.dumps(value)}\n" for name, value in _backend(DESTROYED).items() if name != "key")
    (root / "backend.hcl").write_text("".join(written))


def _backend(environment: str) -> dict[str, str | bool]:
    return {
        "bucket": f"states-{ACCOUNTS[environment]}",
        "key": f"{environment}.tfstate",
        "region": aws_api.REGION,
        "use_lockfile": True,
        "use_path_style": True,  # moto has no host name for each bucket
    }


def _make_bucket(account: aws_api.Account) -> None:
    where = {"LocationConstraint": aws_api.REGION}
    account.client("s3").create_bucket(Bucket=f"states-{account.id}", CreateBucketConfiguration=where)
