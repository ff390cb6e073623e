"""Zip files that are the same bytes wherever and whenever they are made, given the same zlib."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold."""

MODE = 0o100644
"""A regular file that everybody may read: Lambda runs our code as a user who does not own it."""


def write(path: Path, files: Mapping[str, bytes]) -> None:
    """Makes a zip of names and contents."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system = 3  # Unix, on whichever system this runs: it gives the mode its meaning
            entry.external_attr = MODE << 16
            archive.writestr(entry, files[name], zipfile.ZIP_DEFLATED, compresslevel=9)
