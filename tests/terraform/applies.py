"""The whole tree applied as a pipeline does it: from an empty account, with its state in S3.

Each environment has an account of its own on an AWS that refuses as AWS refuses, see tests/support/aws_api. Mostly
they wait, as the provider waits for AWS, so they run side by side.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.aws import terraform_mirror, terraform_provider
from tests.support import aws_api, terraforms
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
"""What an environment gets besides its file."""

DESTROYED = "dev"
"""The cheapest: a destroy of the others costs twice as much, for deployment groups and a firewall besides."""

PROTECTED = "prevent_destroy = true"


@dataclass(frozen=True)
class Applied:
    """What happened to an environment."""

    account: aws_api.Account
    calls: Sequence[aws_api.Call]
    """Of the first apply alone."""
    second_plan: str
    """What Terraform says when it is asked again."""
    left: Mapping[str, Any] | None
    """The state after the destroy; None if there was none."""


@contextlib.contextmanager
def begun(folder: Path, aws: aws_api.Aws) -> Iterator[Mapping[str, Future[Applied]]]:
    """All environments, on their way."""
    tree = terraforms.copy(folder / "tree")
    plans.pretend_to_build(tree.parent)
    terraforms.init(tree)  # finds the provider, once for all
    (tree / terraforms.OFFLINE_FILE).unlink()
    with contextlib.ExitStack() as stack:
        pool = ThreadPoolExecutor(len(ACCOUNTS))
        stack.callback(pool.shutdown, cancel_futures=True)
        yield {name: pool.submit(_apply, folder, tree, name, aws.account(ACCOUNTS[name])) for name in ACCOUNTS}


def _apply(folder: Path, tree: Path, environment: str, account: aws_api.Account) -> Applied:
    shutil.copytree(tree.parent, folder / environment, symlinks=True)
    root = folder / environment / "terraform"
    seen = {**terraform_mirror.environment(), **account.variables}
    log = folder / f"provider-{environment}.log"
    with terraform_provider.serving(tree / ".terraform", log, seen, root) as provider:
        variables = {**account.variables, **provider.variables}
        _make_bucket(account)
        terraforms.run(root, "init", "-input=false", "-reconfigure", *_backend(environment), environment=variables)
        (root / "more.tfvars.json").write_text(json.dumps(MORE.get(environment, {})))
        values = (f"-var-file=environments/{environment}.tfvars", "-var-file=more.tfvars.json")
        account.forget_calls()
        terraforms.run(root, "apply", "-input=false", "-auto-approve", *values, environment=variables)
        calls = account.calls()
        second = terraforms.run(root, "plan", "-input=false", *values, environment=variables)
        if environment != DESTROYED:
            return Applied(account, calls, second, None)
        _unprotect(root)
        terraforms.run(
            root, "destroy", "-input=false", "-auto-approve", "-refresh=false", *values, environment=variables
        )
        left = json.loads(terraforms.run(root, "state", "pull", environment=variables))
        return Applied(account, calls, second, left)


def _backend(environment: str) -> Iterator[str]:
    for name, value in {
        "bucket": f"states-{ACCOUNTS[environment]}",
        "key": f"{environment}.tfstate",
        "region": aws_api.REGION,
        "use_lockfile": "true",
        "use_path_style": "true",  # moto has no host name for each bucket
    }.items():
        yield f"-backend-config={name}={value}"


def _make_bucket(account: aws_api.Account) -> None:
    where = {"LocationConstraint": aws_api.REGION}
    account.client("s3").create_bucket(Bucket=f"states-{account.id}", CreateBucketConfiguration=where)


def _unprotect(root: Path) -> None:
    """Takes out the lines that keep caches and what they need from Terraform; `make destroy` goes another way."""
    for file in root.rglob("*.tf"):
        text = file.read_text()
        if PROTECTED in text:
            file.write_text(text.replace(PROTECTED, ""))
