"""The Pythons of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ASKED = "import platform, sys; print(sys.implementation.name, platform.python_version())"


class Interpreter(NamedTuple):
    """A CPython: where it is, and its version, as in 3.13.2."""

    path: str
    version: str

    @property
    def minor(self) -> str:
        """As in 3.13."""
        return self.version.rpartition(".")[0]


def find(minor: str) -> Interpreter | None:
    """The first of this minor version: the one that runs this, the one on PATH, pyenv's. None if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    paths = [sys.executable, shutil.which(f"python{minor}")]
    paths += [str(path) for path in sorted(pyenv.glob(f"{minor}*/bin/python{minor}"))]
    found = (ask(path) for path in paths if path)
    return next((interpreter for interpreter in found if interpreter and interpreter.minor == minor), None)


def ask(path: str) -> Interpreter | None:
    """What a program says of itself: pyenv puts programs on PATH that may not be there. None if it is no CPython."""
    with contextlib.suppress(OSError):
        done = subprocess.run([path, "-I", "-S", "-c", ASKED], check=False, capture_output=True, text=True)
        name, _, version = done.stdout.strip().partition(" ")
        if done.returncode == 0 and name == "cpython":
            return Interpreter(path, version)
    return None
