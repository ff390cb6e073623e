"""Checks terraform/ without AWS: its format, `terraform test` of every root and module, and checkov.

Each run of `terraform test` begins with all that `terraform validate` does, so that is not called besides.

Works on a copy, so that no working files are left in the tree. Without Terraform it says that nothing was checked, and
succeeds; with TERRAFORM_REQUIRED set it fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.aws import build, terraform_mirror
from scripts.dev import lean_provider
from scripts.places import ROOT, functions
from scripts.refusal import Refusal

CHECKOV = ROOT / ".checkov"
AT_ONCE = 2
"""How many folders are checked at once: each needs a provider, of half a gigabyte."""

READ = ("openapi.yaml", "metrics.yaml")
"""What the tree reads of functions/: the contract, and the table of metrics."""

PROTECTED = {"modules/cache": "aws_elasticache_serverless_cache.this"}
"""What `terraform test` applies and could not take away again, by module."""

Providers = queue.SimpleQueue[Mapping[str, str]]
"""The free ones, each as the variable that points Terraform to it."""


def main() -> int:
    """Runs every check. Returns the exit status."""
    if shutil.which("terraform") is None:
        print(
            "NOT CHECKED: terraform/, because terraform is missing. Install Terraform 1.11 or newer.", file=sys.stderr
        )
        return 1 if os.environ.get("TERRAFORM_REQUIRED") else 0
    with contextlib.ExitStack() as stack:
        tree = copy(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        _init(tree, "terraform", *terraform_mirror.init_options())
        types = lean_provider.named([tree])
        providers: Providers = queue.SimpleQueue()
        for number in range(AT_ONCE):
            log = tree.parent / f"provider-{number}.log"
            serving = lean_provider.serving(tree / ".terraform", log, terraform_mirror.environment(), types=types)
            providers.put(stack.enter_context(serving))
        threads = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        folders = [tree, tree / "bootstrap", *sorted((tree / "modules").iterdir())]
        checks = [threads.submit(_format), threads.submit(_checkov)]
        checks += [
            threads.submit(_module, folder, str(folder.relative_to(tree.parent)), providers) for folder in folders
        ]
        failed = 0
        for check in checks:
            try:
                print(check.result(), flush=True)
            except Refusal as error:
                failed += 1
                print(error, file=sys.stderr, flush=True)
    return 1 if failed else 0


def copy(to: Path) -> Path:
    """A copy of the tree and of what it reads of functions/, with empty zips: a plan only hashes them."""
    ignored = shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfplan")
    shutil.copytree(ROOT / "terraform", to / "terraform", ignore=ignored)
    (to / "functions").mkdir()
    for name in READ:
        shutil.copy(ROOT / "functions" / name, to / "functions")
    folder = to / "build" / f"{build.ARCHITECTURE}-python{build.PYTHON}"
    (folder / "functions").mkdir(parents=True)
    (folder / "layer.zip").touch()
    for key in functions():
        (folder / "functions" / f"{key}.zip").touch()
    for module, resource in PROTECTED.items():
        kind, name = resource.split(".")
        released = {"resource": {kind: {name: {"lifecycle": {"prevent_destroy": False}}}}}
        (to / "terraform" / module / "released_override.tf.json").write_text(json.dumps(released))
    return to / "terraform"


def _format() -> str:
    _run("terraform fmt", "terraform", "fmt", "-check", "-recursive", "-diff", str(ROOT / "terraform"))
    return "terraform fmt: as it should be"


def _init(folder: Path, name: str, *options: str, provider: Mapping[str, str] | None = None) -> None:
    init = ["init", "-backend=false", "-input=false", "-no-color", *options]
    _run(f"{name}: terraform init", "terraform", f"-chdir={folder}", *init, more=provider)


def _module(folder: Path, name: str, providers: Providers) -> str:
    began = time.monotonic()
    provider = providers.get()
    try:
        _init(folder, name, provider=provider)
        output = _run(f"{name}: terraform test", "terraform", f"-chdir={folder}", "test", "-no-color", more=provider)
    finally:
        providers.put(provider)
    if "Warning:" in output:  # Terraform's status is 0 then
        raise Refusal(f"{name}: terraform test warned, and a warning fails here:\n{output}")
    *_, result = output.strip().splitlines()
    if " 0 passed" in result:  # and without a run nothing is validated
        raise Refusal(f"{name}: there is no test")
    return f"{name}: {result} ({time.monotonic() - began:.0f} s)"


def _checkov() -> str:
    command = [str(CHECKOV / "bin" / "checkov"), "--directory", str(ROOT / "terraform"), "--framework", "terraform"]
    skipped = [option for path in (".terraform", "examples") for option in ("--skip-path", path)]
    _run("checkov", *command, "--compact", "--quiet", "--skip-download", *skipped)  # examples only call the modules
    return "checkov: clean"


def _run(what: str, *command: str, more: Mapping[str, str] | None = None) -> str:
    """A command's output; `more` is added to its environment. Raises Refusal, with the output, if it fails."""
    done = subprocess.run(
        command,
        env={**terraform_mirror.environment(), **(more or {})},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise Refusal(f"{what} failed:\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
