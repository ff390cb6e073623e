"""Installing: exactly what a lock says, whatever has been released since, and nothing that a lock no longer has."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import io
import json
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.aws import build
from scripts.dev import bootstrap, lock

PINNED = re.compile(r"^([\w.-]+)==([^\s;\\]+)(?: ; (.*?))? \\$", re.MULTILINE)
NEWER = "999.0"


class Pin:
    """A locked package, and what the index has of it: this release and a newer one."""

    def __init__(self, name: str, version: str, marker: str | None, requires: str | None):
        self.name, self.version, self.marker = name, version, marker
        metadata = f"Metadata-Version: 2.1\nName: {name}\nProvides-Extra: more\n"
        needs = f"Requires-Dist: {requires}\n" if requires else ""
        self.wheels = {each: wheel(name, each, f"{metadata}Version: {each}\n{needs}") for each in (version, NEWER)}

    def line(self) -> str:
        """What a lock says of it."""
        digest = hashlib.sha256(self.wheels[self.version]).hexdigest()
        marker = f" ; {self.marker}" if self.marker else ""
        return f"{self.name}=={self.version}{marker} --hash=sha256:{digest}\n"


def wheel(name: str, version: str, metadata: str) -> bytes:
    """A package of one empty module."""
    stem = f"{name.replace('-', '_').replace('.', '_')}-{version}"
    files = {
        f"index_{stem.partition('-')[0]}.py": b"",
        f"{stem}.dist-info/METADATA": metadata.encode(),
        f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{stem}.dist-info/RECORD"
    lines = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()},{len(content)}"
        for path, content in files.items()
    ]
    with zipfile.ZipFile(made := io.BytesIO(), "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        archive.writestr(record, "\n".join([*lines, f"{record},,"]) + "\n")
    return made.getvalue()


def pins(name: str) -> list[Pin]:
    """What a lock of ours pins. Each package asks for the next one's extra, which is where pip begins to resolve."""
    found = PINNED.findall((bootstrap.LOCKS / name).read_text())
    seeds = {"pip", "setuptools", "uv", "wheel"}
    found = [pin for pin in found if pin[0] not in seeds]
    following = [each for each, _, _ in found[1:]]
    return [
        Pin(each, version, marker or None, f"{after}[more]" if after else None)
        for (each, version, marker), after in zip(found, [*following, None], strict=True)
    ]


@contextlib.contextmanager
def index(packages: list[Pin]) -> Iterator[str]:
    """The address of a package index with two releases of each."""
    files = {
        f"{pin.wheels and pin.name.replace('-', '_').replace('.', '_')}-{version}-py3-none-any.whl": content
        for pin in packages
        for version, content in pin.wheels.items()
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, name = self.path.strip("/").split("/")[:2]
            if kind == "file":
                body = files[name]
            else:
                stem = name.replace("-", "_")
                body = "".join(
                    f'<a href="/file/{file}#sha256={hashlib.sha256(content).hexdigest()}">{file}</a>\n'
                    for file, content in files.items()
                    if file.rpartition("-py3")[0].rpartition("-")[0].lower().replace(".", "_") == stem
                ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if kind == "simple" else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/simple/"
        finally:
            server.shutdown()


def installed(venv: Path) -> dict[str, str]:
    """What an environment holds, by name and version."""
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.metadata['Name'].lower().replace('_', '-'): d.version for d in m.distributions()}))"
    )
    done = subprocess.run([venv / "bin" / "python", "-I", "-c", code], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def fits(pin: Pin) -> bool:
    """Whether a pin is for this machine."""
    if pin.marker is None:
        return True
    from pip._vendor.packaging.markers import Marker

    return bool(Marker(pin.marker).evaluate())


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Nothing of this machine's settings: no cache, no other index."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return monkeypatch


@pytest.mark.parametrize("name", [name for name in lock.LOCKS if name != bootstrap.INSTALLER_LOCK])
def test_a_lock_installs_to_exactly_its_versions_whatever_has_been_released_since(
    name: str, only: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packages = pins(name)
    assert len(packages) > 5
    (tmp_path / name).write_text("".join(pin.line() for pin in packages))
    with index(packages) as address:
        only.setenv("PIP_INDEX_URL", address)
        bootstrap.install(str(tmp_path / name), tmp_path / "venv")
    wanted = {re.sub(r"[-_.]+", "-", pin.name).lower(): pin.version for pin in packages if fits(pin)}
    assert installed(tmp_path / "venv") == wanted


@pytest.mark.parametrize("wanted", [build.target("arm64", "3.13"), build.target("local", "local")], ids=str)
def test_the_builds_wheels_are_exactly_the_locks_whatever_has_been_released_since(
    wanted: build.Target, only: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packages = pins("layer.lock")
    requirements = {(pin.name, pin.version): {hashlib.sha256(pin.wheels[pin.version]).hexdigest()} for pin in packages}
    with index(packages) as address:
        only.setenv("PIP_INDEX_URL", address)
        build.fetch(requirements, wanted, tmp_path / "wheels")
    found = {hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in (tmp_path / "wheels").glob("*.whl")}
    assert found == set.union(*requirements.values())


def test_what_a_lock_has_lost_is_taken_away(only: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packages = [Pin("first", "1.0", None, None), Pin("second", "2.0", None, None)]
    own = tmp_path / "own.lock"
    with index(packages) as address:
        only.setenv("PIP_INDEX_URL", address)
        own.write_text("".join(pin.line() for pin in packages))
        bootstrap.install(str(own), tmp_path / "venv")
        assert installed(tmp_path / "venv") == {"first": "1.0", "second": "2.0"}
        own.write_text(packages[1].line())
        bootstrap.install(str(own), tmp_path / "venv")
        assert installed(tmp_path / "venv") == {"second": "2.0"}


def test_a_wheel_with_another_hash_is_refused(only: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packages = [Pin("first", "1.0", None, None)]
    (tmp_path / "own.lock").write_text(f"first==1.0 --hash=sha256:{'0' * 64}\n")
    with index(packages) as address:
        only.setenv("PIP_INDEX_URL", address)
        with pytest.raises(bootstrap.CannotInstallError, match=r"could not install .*own\.lock"):
            bootstrap.install(str(tmp_path / "own.lock"), tmp_path / "venv")
    assert not (tmp_path / "venv" / "installed").exists()


def test_without_a_network_it_says_so_in_one_sentence(only: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "own.lock").write_text(f"first==1.0 --hash=sha256:{'0' * 64}\n")
    only.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    only.setenv("UV_HTTP_RETRIES", "0")  # uv asks four times, with growing pauses
    with pytest.raises(bootstrap.CannotInstallError, match=r"cannot reach the package index .* try again; .*uv\.log"):
        bootstrap.install(str(tmp_path / "own.lock"), tmp_path / "venv")


def test_this_environment_is_what_a_lock_says_neither_more_nor_less() -> None:
    venv = Path(sys.prefix)
    name = (venv / "installed").read_text().partition(" ")[0]
    packages = PINNED.findall((bootstrap.LOCKS / name).read_text())
    wanted = {
        re.sub(r"[-_.]+", "-", each).lower(): version
        for each, version, marker in packages
        if fits(Pin(each, version, marker or None, None))
    }
    brought = ("pip", "setuptools")  # by `python -m venv`
    assert wanted.items() <= installed(venv).items()
    assert installed(venv).keys() - wanted.keys() <= set(brought)


def test_what_the_local_server_needs_is_all_in_the_tests_lock() -> None:
    assert bootstrap.pins("local.lock") <= bootstrap.pins("dev.lock")
    assert bootstrap.pins("layer.lock") <= bootstrap.pins("local.lock")
