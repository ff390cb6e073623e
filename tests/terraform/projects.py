"""A small tree in which the commands of `make` run as in the real one, with a terraform that records its calls."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from scripts.places import ROOT

TERRAFORM = """#!/bin/sh
if [ "$1" = version ]; then echo '{"terraform_version": "VERSION"}'; exit; fi
echo "$TF_DATA_DIR|$*" >> "CALLS"
case "$*" in *FAILS*) exit 1;; esac
case "$*" in
  *" show -json "*) echo 'DOCUMENT';;
  *-out=*) for option in "$@"; do case "$option" in -out=*) echo a plan > "${option#-out=}";; esac; done;;
esac
"""

DOCUMENT = {
    "terraform_version": "1.11.4",
    "resource_changes": [
        {
            "address": "aws_vpc.this",
            "mode": "managed",
            "type": "aws_vpc",
            "change": {"actions": ["create"], "before": None, "after": {}},
        }
    ],
}
"""What that terraform says about each plan."""

VARIABLES = """
variable "architecture" {
  type    = string
  default = "arm64"
}

variable "runtime" {
  type    = string
  default = "python3.12"
}

variable "region" {
  type = string
}

variable "project" {
  default = "leaderboard"
}

variable "reserved_concurrency" {
  default = {}
}

variable "provisioned_concurrency" {
  default = {}
}

variable "interface_endpoints" {
  default = []
}

variable "availability_zone_count" {
  default = 3
}
"""

WHERE = 'region = "eu-central-1"\n'


class Project:
    """A tree with everything in place, and a terraform that does nothing."""

    def __init__(self, folder: Path, aws: str = ""):
        self.aws, self.typed = aws, ""
        self.root, self.bin, self.home, self.calls_file = (folder / name for name in ("tree", "bin", "home", "calls"))
        self.terraform = self.root / "terraform"
        shutil.copytree(ROOT / "scripts", self.root / "scripts", ignore=shutil.ignore_patterns("node_modules"))
        self.write("locks/layer.lock", "# nothing\n")
        self.write("functions/rank/handler.py", "NAME = 'rank'\n")
        self.write("shared/board.py", "NAME = 'board'\n")
        self.write("terraform/variables.tf", VARIABLES)
        self.write("terraform/modules/network/variables.tf", 'variable "excluded_zone_ids" {\n  default = []\n}\n')
        self.write("terraform/backend.hcl", 'bucket = "states"\nregion = "eu-central-1"\n')
        for name in ("dev", "local"):
            self.write(f"terraform/environments/{name}.tfvars", WHERE)
        self.write(
            "terraform/environments/prod.tfvars", f'{WHERE}architecture = "x86_64"\nruntime      = "python3.13"\n'
        )
        self.home.mkdir()
        self.bin.mkdir()
        self.give_terraform("1.11.4")

    def write(self, name: str, text: str) -> None:
        """Writes a file of the tree."""
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def give_terraform(self, version: str) -> None:
        """Puts a terraform on PATH that claims to be this version."""
        script = self.bin / "terraform"
        texts = {"VERSION": version, "CALLS": str(self.calls_file), "DOCUMENT": json.dumps(DOCUMENT)}
        script.write_text(re.sub("|".join(texts), lambda found: texts[found[0]], TERRAFORM))
        script.chmod(0o755)

    def give_real_terraform(self) -> None:
        """Puts this machine's terraform on PATH."""
        (self.bin / "terraform").unlink()
        (self.bin / "terraform").symlink_to(shutil.which("terraform") or "")

    def build(self, architecture: str, python: str) -> None:
        """`make build`."""
        done = self._run("build", "--arch", architecture, "--python", python)
        assert done.returncode == 0, done.stderr

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`python -m scripts.aws.infrastructure`, with AWS keys unless they are empty."""
        return self._run("infrastructure", *arguments, **self._keys(environment))

    @contextlib.contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """The same command while it runs; it is gone at the end."""
        line, environment = self._line("infrastructure", arguments), {**self._bare(), **self._keys({})}
        with subprocess.Popen(line, cwd=self.root, env=environment, stdout=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.kill()

    def refused(self, *arguments: str, **environment: str) -> str:
        """The one sentence of a run that stops before terraform does anything."""
        done = self.run(*arguments, **environment)
        assert (done.returncode, done.stdout) == (2, "")
        assert self.calls() == []
        assert done.stderr.endswith("\n")
        assert len(done.stderr.splitlines()) == 1
        return done.stderr.strip()

    def calls(self) -> list[tuple[str, str]]:
        """Each call of terraform: its folder of working files, and its arguments."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        return [(folder, line) for folder, _, line in (line.partition("|") for line in lines)]

    def _keys(self, environment: Mapping[str, str]) -> dict[str, str]:
        aws = {"AWS_ENDPOINT_URL": self.aws, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        return {name: text for name, text in {**aws, **environment}.items() if text}

    def _bare(self) -> dict[str, str]:
        return {"PATH": str(self.bin), "HOME": str(self.home), "AWS_EC2_METADATA_DISABLED": "true"}

    @staticmethod
    def _line(script: str, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-B", "-m", f"scripts.aws.{script}", *arguments]

    def _run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run_line(self._line(script, arguments), **environment)

    def run_line(self, line: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """Any command, in this tree, in an environment that holds nothing else."""
        return subprocess.run(
            line,
            cwd=self.root,
            env={**self._bare(), **environment},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            input=self.typed,
        )
