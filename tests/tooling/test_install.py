"""Installing: exactly what a lock says, whatever has been released since, and nothing that it no longer says."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import importlib.util
import io
import os
import re
import site
import subprocess
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import Marker

from scripts.aws import build
from scripts.dev import bootstrap, lock
from scripts.refusal import Refusal

PINNED = re.compile(r"^([\w.-]+)==([^\s;\\]+)(?: ; (.*?))? \\$", re.MULTILINE)
NEWER = "999.0"


class Pin:
    """A locked package, and its releases in the index: this one and a newer one."""

    def __init__(self, name: str, version: str, marker: str | None, requires: str | None):
        self.name, self.version, self.marker = name, version, marker
        metadata = f"Metadata-Version: 2.1\nName: {name}\nProvides-Extra: more\n"
        needs = f"Requires-Dist: {requires}\n" if requires else ""
        self.wheels = {each: wheel(name, each, f"{metadata}Version: {each}\n{needs}") for each in (version, NEWER)}

    def line(self) -> str:
        """The line for it in a lock."""
        digest = hashlib.sha256(self.wheels[self.version]).hexdigest()
        marker = f" ; {self.marker}" if self.marker else ""
        return f"{self.name}=={self.version}{marker} --hash=sha256:{digest}\n"


def wheel(name: str, version: str, metadata: str) -> bytes:
    """A package with one empty module."""
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
    """What one of our locks pins. Each package asks for the next one's extra, at which point pip begins to resolve."""
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
    """The address of a package index with two releases of each package."""
    files = {
        f"{pin.wheels and pin.name.replace('-', '_').replace('.', '_')}-{version}-py3-none-any.whl": content
        for pin in packages
        for version, content in pin.wheels.items()
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet

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
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/simple/"
        finally:
            server.shutdown()


def installed(venv: Path) -> dict[str, str]:
    """The packages in an environment: versions by name."""
    return packages_in(next(venv.glob("lib/python*/site-packages")))


def packages_in(folder: Path) -> dict[str, str]:
    """The packages in a folder: versions by name."""
    found = (path.stem.rsplit("-", 1) for path in folder.glob("*.dist-info"))
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def fits(pin: Pin, environment: dict[str, str] | None = None) -> bool:
    """Whether a pin is for this machine, or for one with a different `environment`."""
    if pin.marker is None:
        return True
    return bool(Marker(pin.marker).evaluate(environment))


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Leaves out this machine's settings: no cache, no other index."""
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
    assert len(packages) > 3
    (tmp_path / name).write_text("".join(pin.line() for pin in packages))
    with index(packages) as address:
        only.setenv("PIP_INDEX_URL", address)
        bootstrap.install(str(tmp_path / name), tmp_path / "venv")
    wanted = {re.sub(r"[-_.]+", "-", pin.name).lower(): pin.version for pin in packages if fits(pin)}
    assert installed(tmp_path / "venv") == wanted


@pytest.mark.parametrize(
    ("wanted", "machine"),
    [
        (("arm64", "3.13"), {"python_version": "3.13", "python_full_version": "3.13.7", "platform_machine": "aarch64"}),
        (("x86_64", "3.11"), {"python_version": "3.11", "python_full_version": "3.11.9", "platform_machine": "x86_64"}),
        (("local", "local"), {}),
    ],
)
def test_the_layers_packages_are_exactly_the_locks_for_its_target_whatever_has_been_released_since(
    wanted: tuple[str, str], machine: dict[str, str], only: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packages = pins("layer.lock")
    for number, marker in enumerate(("platform_machine == 'aarch64'", "python_full_version < '3.11.3'"), 1):
        packages.append(Pin(f"marked{number}", "1.0", marker, None))
    (tmp_path / "layer.lock").write_text("".join(pin.line() for pin in packages))
    with index(packages) as address:
        only.setenv("PIP_INDEX_URL", address)
        folder, log = tmp_path / "packages", tmp_path / "uv.log"
        build.install(tmp_path / "layer.lock", build.target(*wanted), folder, log)
    ours = [pin for pin in packages if pin.name not in build.IN_THE_RUNTIME and fits(pin, machine)]
    assert packages_in(folder) == {pin.name: pin.version for pin in ours}


def test_what_a_lock_has_lost_is_taken_away(only: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packages = [Pin("first", "1.0", None, None), Pin("second", "2.0", None, None)]
    lock_file = tmp_path / "own.lock"
    with index(packages) as address:
        only.setenv("PIP_INDEX_URL", address)
        lock_file.write_text("".join(pin.line() for pin in packages))
        bootstrap.install(str(lock_file), tmp_path / "venv")
        assert installed(tmp_path / "venv") == {"first": "1.0", "second": "2.0"}
        lock_file.write_text(packages[1].line())
        bootstrap.install(str(lock_file), tmp_path / "venv")
        assert installed(tmp_path / "venv") == {"second": "2.0"}


def test_what_was_installed_once_needs_no_network(only: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packages = [Pin("first", "1.0", None, None)]
    (lock_file := tmp_path / "own.lock").write_text(packages[0].line())
    with index(packages) as address:
        only.setenv("PIP_INDEX_URL", address)
        bootstrap.install(str(lock_file), tmp_path / "venv")
    bootstrap.install(str(lock_file), tmp_path / "another")
    build.install(lock_file, build.target("local", "local"), tmp_path / "layer", tmp_path / "uv.log")
    assert installed(tmp_path / "another") == packages_in(tmp_path / "layer") == {"first": "1.0"}


def test_a_wheel_with_another_hash_is_refused(only: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packages = [Pin("first", "1.0", None, None)]
    (tmp_path / "own.lock").write_text(f"first==1.0 --hash=sha256:{'0' * 64}\n")
    with index(packages) as address:
        only.setenv("PIP_INDEX_URL", address)
        with pytest.raises(bootstrap.CannotInstallError, match=r"could not install .*own\.lock"):
            bootstrap.install(str(tmp_path / "own.lock"), tmp_path / "venv")
        with pytest.raises(Refusal, match=r"could not install own\.lock for \S+: "):
            build.install(
                tmp_path / "own.lock", build.target("local", "local"), tmp_path / "layer", tmp_path / "uv.log"
            )
    assert not (tmp_path / "venv" / "installed").exists()
    assert packages_in(tmp_path / "layer") == {}
    assert "Hash mismatch" in (tmp_path / "uv.log").read_text()


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
    brought = {"pip", "setuptools"}  # by `python -m venv`, in an older .venv
    assert wanted.items() <= installed(venv).items()
    assert installed(venv).keys() - wanted.keys() <= brought


def test_uv_is_installed_by_the_pip_that_the_interpreter_would_unpack(only: pytest.MonkeyPatch, tmp_path: Path) -> None:
    only.setattr(site, "getsitepackages", lambda _: [])
    assert ".whl" in bootstrap.find_pip()
    pin = Pin("uv", "1.0", None, None)
    (tmp_path / "installer.lock").write_text(pin.line())
    for name, value in {"LOCKS": tmp_path, "INSTALLER": tmp_path / ".uv"}.items():
        only.setattr(bootstrap, name, value)
    only.setenv("PATH", str(tmp_path))
    only.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    with index([pin]) as address:
        only.setenv("PIP_INDEX_URL", address)
        assert bootstrap.find_uv(Path(sys.executable)) == str(tmp_path / ".uv" / "bin" / "uv")
    assert (tmp_path / ".uv" / "uv-1.0.dist-info").exists()


@pytest.mark.parametrize("lacking", ["venv", "pip"])
def test_an_interpreter_that_lacks_what_it_takes_is_named_in_one_sentence(
    lacking: str, only: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    only.setattr(importlib.util, "find_spec", lambda name: find(name) if name not in ("venv", "ensurepip") else None)
    only.setattr(site, "getsitepackages", lambda _: [])
    only.setattr(sysconfig, "get_config_var", lambda _: None)
    with pytest.raises(bootstrap.CannotInstallError) as raised:
        bootstrap.make_venv(tmp_path / "venv") if lacking == "venv" else bootstrap.find_pip()
    assert re.fullmatch(
        r"\S+ cannot .*: install its venv module .* name another interpreter: make PYTHON=\S+", str(raised.value)
    )


FILES = {
    "xdg/pip/pip.conf": "[global]\nindex-url = http://first/simple\ntimeout = 7\n",
    "more/pip/pip.conf": "[global]\nindex_url = http://second/simple\n[install]\nproxy = http://proxy:3128\n",
    "home/.pip/pip.conf": "[global]\nindex-url = http://third/simple\ntrusted-host =\n    one\n    two\n",
    "home/.config/pip/pip.conf": "[global]\nproxy = http://other\ncert = /ca.pem\n[install]\nextra-index-url = http://x/y%20z\n",
    "named.conf": "[global]\nfind-links = /wheels\n[list]\nformat = columns\n",
}


@pytest.mark.parametrize("named", [None, "named.conf", "missing.conf", os.devnull])
def test_pips_settings_are_read_as_pip_reads_them(
    named: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in [name for name in os.environ if name.startswith(("PIP_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path / 'xdg'}:{tmp_path / 'more'}")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "9")
    monkeypatch.setenv("PIP_CERT", "")
    if named:
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / named))
    command = [sys.executable, bootstrap.find_pip(), "config", "list"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    settings = [re.fullmatch(r"(global|install|:env:)\.([\w-]+)='(.*)'", line) for line in printed.splitlines()]
    expected = {}
    for section in ("global", "install", ":env:"):
        for setting in filter(None, settings):
            if setting[1] == section and setting[2] in bootstrap.UV_NAMES and setting[3]:
                expected[bootstrap.UV_NAMES[setting[2]]] = " ".join(setting[3].replace("\\n", " ").split())
    assert bootstrap.settings_of_pip() == expected
    assert len(expected) > 1 or named == os.devnull


def test_what_the_local_server_needs_is_all_in_the_tests_lock() -> None:
    assert bootstrap.pins("local.lock") <= bootstrap.pins("dev.lock")
    assert bootstrap.pins("layer.lock") <= bootstrap.pins("local.lock")
