"""The Pythons of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

IDENTIFY = "import platform, sys; print(sys.implementation.name, platform.python_version())"


class Interpreter(NamedTuple):
    """A CPython: its path, and its version, such as 3.13.2."""

    path: str
    version: str

    @property
    def minor(self) -> str:
        """Such as 3.13."""
        return self.version.rpartition(".")[0]


def find(minor: str) -> Interpreter | None:
    """The first of this minor version: the running one, the one on PATH, pyenv's; None if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    paths = [sys.executable, shutil.which(f"python{minor}")]
    paths += [str(path) for path in sorted(pyenv.glob(f"{minor}*/bin/python{minor}"))]
    found = (ask(path) for path in paths if path)
    return next((interpreter for interpreter in found if interpreter and interpreter.minor == minor), None)


def ask(path: str) -> Interpreter | None:
    """Runs a program to see what it is; None if it is not a CPython. Some of pyenv's programs on PATH only fail."""
    with contextlib.suppress(OSError):
        done = subprocess.run([path, "-I", "-S", "-c", IDENTIFY], check=False, capture_output=True, text=True)
        name, _, version = done.stdout.strip().partition(" ")
        if done.returncode == 0 and name == "cpython":
            return Interpreter(path, version)
    return None
