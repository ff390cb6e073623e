"""The folder that execution environments share: unzipped code, merged layers, the runtime's own packages."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from scripts.emulator.lambda_executor.janitor import Janitor

IN_THE_RUNTIME = ("awslambdaric", "boto3")
"""What every Python runtime of Lambda has, with what these need. A function sees no other package of ours."""

NOT_OF_A_PACKAGE = {"..", "__pycache__"}
"""Beside a package: commands, and bytecode of modules without a folder."""


class Workshop:
    """A temporary folder with a janitor: it goes when this process does."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lambda-executor-"))
        self.janitor = Janitor(self.folder)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Ends every process that is left and removes the folder."""
        self.janitor.close()

    def code(self, sha256: str, fetch: Callable[[Path], None]) -> Path:
        """The folder with an archive's content; `fetch` writes the zip to a path, and is called only the first time."""

        def unzip(folder: Path) -> None:
            with tempfile.NamedTemporaryFile(dir=self.folder) as archive:
                fetch(Path(archive.name))
                _unzip(Path(archive.name), folder)

        return self._made(f"code-{_hash(sha256)}", unzip)

    def layers(self, folders: Sequence[Path]) -> Path:
        """What Lambda has in /opt: the layers' files, a later layer's over an earlier one's."""

        def merge(folder: Path) -> None:
            for layer in folders:
                shutil.copytree(layer, folder, dirs_exist_ok=True)

        return self._made(f"layers-{_hash(*(folder.name for folder in folders))}", merge)

    def runtime(self) -> Path:
        """What Lambda has in /var/runtime: links to the runtime client and the SDK of this interpreter."""

        def link(folder: Path) -> None:
            for distribution in _with_requirements(IN_THE_RUNTIME):
                for name in {file.parts[0] for file in distribution.files or ()} - NOT_OF_A_PACKAGE:
                    (folder / name).symlink_to(Path(str(distribution.locate_file(name))))

        return self._made("runtime", link)

    def temporary(self) -> Path:
        """A new folder, as /tmp is new in each environment."""
        return Path(tempfile.mkdtemp(prefix="tmp-", dir=self.folder))

    def _made(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder of that name, which `make` fills if it does not exist; it appears once it is complete."""
        wanted = self.folder / name
        with self._lock:
            if not wanted.exists():
                unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=self.folder))
                try:
                    make(unfinished)
                    unfinished.rename(wanted)
                finally:
                    shutil.rmtree(unfinished, ignore_errors=True)
        return wanted


def _unzip(archive: Path, folder: Path) -> None:
    """Unpacks with the executable bits that Python's own function drops."""
    with zipfile.ZipFile(archive) as content:
        for entry in content.infolist():
            path = Path(content.extract(entry, folder))
            if not entry.is_dir():
                path.chmod(0o644 | (entry.external_attr >> 16) & 0o111)


def _with_requirements(names: Sequence[str]) -> list[metadata.Distribution]:
    """The installed distributions of these names and all that they require."""
    found: dict[str, metadata.Distribution] = {}
    missing = list(names)
    while missing:
        name = re.sub(r"[-_.]+", "-", missing.pop()).lower()
        if name not in found:
            found[name] = metadata.distribution(name)
            needed = [text for text in found[name].requires or () if "extra ==" not in text]
            missing += [match[0] for text in needed if (match := re.match(r"[\w.-]+", text))]
    return list(found.values())


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
