"""Checks terraform/ without AWS: format, every module and root valid and its tests passing, checkov.

Works on a copy, so that no working files are left in the tree. Where Terraform is missing, this says so by name and
leaves it at that; with TERRAFORM_REQUIRED set it fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts import build, terraform_mirror

ROOT = Path(__file__).resolve().parent.parent
CHECKOV = ROOT / ".checkov"
AT_ONCE = 2
"""Each holds a provider of half a gigabyte."""


class CheckError(Exception):
    """What a check said."""


def main() -> int:
    """Runs every check. Returns the exit status."""
    if shutil.which("terraform") is None:
        print(
            "NOT CHECKED: terraform/, because terraform is missing. Install Terraform 1.11 or newer.", file=sys.stderr
        )
        return 1 if os.environ.get("TERRAFORM_REQUIRED") else 0
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(AT_ONCE) as threads:
        tree = _copy(Path(temporary))
        folders = [tree, tree / "bootstrap", *sorted((tree / "modules").iterdir())]
        checks = [threads.submit(_format), threads.submit(_checkov)]
        checks += [threads.submit(_module, folder, folder.relative_to(tree.parent)) for folder in folders]
        failed = 0
        for check in checks:
            try:
                print(check.result(), flush=True)
            except CheckError as error:
                failed += 1
                print(error, file=sys.stderr, flush=True)
    return 1 if failed else 0


def _copy(to: Path) -> Path:
    """A copy of the tree, of the contract that it reads, and zips in name only, which a plan but hashes."""
    ignored = shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfplan")
    shutil.copytree(ROOT / "terraform", to / "terraform", ignore=ignored)
    (to / "functions").mkdir()
    shutil.copy(ROOT / "functions" / "openapi.yaml", to / "functions")
    folder = to / "build" / f"{build.ARCHITECTURE}-python{build.PYTHON}"
    (folder / "functions").mkdir(parents=True)
    (folder / "layer.zip").touch()
    for handler in (ROOT / "functions").glob("*/handler.py"):
        (folder / "functions" / f"{handler.parent.name}.zip").touch()
    return to / "terraform"


def _format() -> str:
    _run("terraform fmt", "terraform", "fmt", "-check", "-recursive", "-diff", str(ROOT / "terraform"))
    return "terraform fmt: as it should be"


def _module(folder: Path, name: Path) -> str:
    began = time.monotonic()
    chdir = f"-chdir={folder}"
    init = ["init", "-backend=false", "-input=false", "-no-color", *terraform_mirror.init_options()]
    _run(f"{name}: terraform init", "terraform", chdir, *init)
    _run_without_warning(f"{name}: terraform validate", "terraform", chdir, "validate", "-no-color")
    said = _run_without_warning(f"{name}: terraform test", "terraform", chdir, "test", "-no-color")
    return f"{name}: valid; {said.strip().splitlines()[-1]} ({time.monotonic() - began:.0f} s)"


def _checkov() -> str:
    command = [str(CHECKOV / "bin" / "checkov"), "--directory", str(ROOT / "terraform"), "--framework", "terraform"]
    _run("checkov", *command, "--compact", "--quiet", "--skip-download", "--skip-path", ".terraform")
    return "checkov: clean"


def _run_without_warning(what: str, *command: str) -> str:
    """What a command says. Raises CheckError with all of it if it fails or warns: Terraform's status is 0 then."""
    said = _run(what, *command)
    if "Warning:" in said:
        raise CheckError(f"{what} warned, and a warning fails here:\n{said}")
    return said


def _run(what: str, *command: str) -> str:
    """What a command says. Raises CheckError with all of it if it fails."""
    done = subprocess.run(
        command,
        env=terraform_mirror.environment(),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise CheckError(f"{what} failed:\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
