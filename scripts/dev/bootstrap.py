"""Makes .venv and brings it to what a lock says, unless that is done: `python scripts/dev/bootstrap.py dev.lock`.
A second argument names another folder than .venv, for tools that clash with the rest.

A lock is complete, so nothing is resolved: what was released since cannot change or break an installation. pip resolves
even where everything is pinned, and stumbles over newer releases. So it installs one thing, uv, which does the rest.

Runs on any Python of the right version, before anything is installed. Says each problem in one line.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

LOCKS = ROOT / "locks"

VENV = ROOT / ".venv"
"""The only environment with a pip, which is installed from a file and takes longer than all the rest."""

INSTALLER_LOCK = "installer.lock"
INSTALLER = ROOT / ".uv"
"""Where uv goes, unless the user has one."""

OLDEST_UV = (0, 8)
"""A user's own uv that is older is left alone."""

UNREACHABLE = re.compile(
    r"new connection|name resolution|Failed to resolve '|lookup address|timed out|unreachable|refused"
    r"|after \d+ retries|tunnel error|ProxyError|SSLError|CERTIFICATE_VERIFY|invalid peer certificate",
    re.IGNORECASE,
)

PROGRESS = re.compile(r"(Prepared|Uninstalled|Installed) \d")
"""What uv says that is worth showing to somebody who waits."""

UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}
"""pip's settings, which uv does not read, and the variables that tell uv the same."""


class CannotInstallError(Exception):
    """What stands in the way, and what to do about it."""


def install(lock: str, venv: Path) -> None:
    """Brings a virtual environment to exactly what the lock file says. Raises CannotInstallError.

    One that holds another lock, with all that this one asks for, stays as it is: `make run` after `make test`.
    """
    if _is_there(lock, venv):
        return
    if Path(sys.prefix).resolve() != venv:
        _make_venv(venv)
    (venv / "installed").unlink(missing_ok=True)
    _sync(lock, venv, _uv())
    (venv / "installed").write_text(f"{Path(lock).name} {_state(lock)}")


def pins(lock: str) -> set[str]:
    """What a lock file pins, each as 'name==version'."""
    return set(re.findall(r"^[\w.-]+==[^\s;\\]+", (LOCKS / lock).read_text(), re.MULTILINE))


def _is_there(lock: str, venv: Path) -> bool:
    name, _, state = _text(venv / "installed").partition(" ")
    if not name or not (venv / "bin" / "python").exists():
        return False
    if name == Path(lock).name:
        return state == _state(lock)
    return (LOCKS / name).exists() and state == _state(name) and pins(lock) <= pins(name)


def _state(lock: str) -> str:
    digest = hashlib.sha256((LOCKS / lock).read_bytes()).hexdigest()
    return f"{sys.version_info.major}.{sys.version_info.minor} {digest}"


def _make_venv(venv: Path) -> None:
    version = ".".join(map(str, sys.version_info[:3]))
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        package = f"python3.{sys.version_info.minor}-venv"
        raise CannotInstallError(
            f"{sys.executable} cannot make virtual environments: install its venv module (Debian, Ubuntu: "
            f"apt install {package}), or name another interpreter: make PYTHON=/path/to/python3"
        )
    print(f"Making {venv.name} with Python {version} …", flush=True)
    command = [sys.executable, "-m", "venv", "--clear", *([] if venv == VENV else ["--without-pip"]), str(venv)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotInstallError(f"python -m venv failed: {_last_line(done.stdout + done.stderr)}")


def _uv() -> str:
    """The user's own uv if it is new enough, else the one that installer.lock pins, installed first."""
    found = shutil.which("uv")
    if found and _version(found) >= OLDEST_UV:
        return found
    uv = INSTALLER / "bin" / "uv"
    digest = hashlib.sha256((LOCKS / INSTALLER_LOCK).read_bytes()).hexdigest()
    if _text(INSTALLER / "installed") != digest or not uv.exists():
        print(f"Installing {INSTALLER_LOCK} into {INSTALLER.name} …", flush=True)
        shutil.rmtree(INSTALLER, ignore_errors=True)
        INSTALLER.mkdir()
        command = [*_pip(), "install", "--no-input", "--disable-pip-version-check"]
        command += ["--retries", "2", "--no-deps", "--only-binary=:all:", "--require-hashes"]
        _run(
            [*command, "--target", str(INSTALLER), "-r", str(LOCKS / INSTALLER_LOCK)],
            INSTALLER_LOCK,
            INSTALLER / "pip.log",
        )
        (INSTALLER / "installed").write_text(digest)
    return str(uv)


def _version(uv: str) -> tuple[int, ...]:
    done = subprocess.run([uv, "--version"], check=False, capture_output=True, text=True)
    found = re.match(r"uv (\d+)\.(\d+)", done.stdout) if done.returncode == 0 else None
    return tuple(map(int, found.groups())) if found else ()


def _sync(lock: str, venv: Path, uv: str) -> None:
    print(f"Installing {lock} into {venv.name} …", flush=True)
    settings = {**_settings_of_pip(), "UV_INDEX_STRATEGY": "unsafe-best-match", **os.environ}
    settings.pop("VIRTUAL_ENV", None)
    command = [uv, "pip", "sync", "--require-hashes", "--python", str(venv / "bin" / "python"), str(LOCKS / lock)]
    try:
        _run(command, lock, venv / "uv.log", settings)
    except CannotInstallError:
        if "initialize cache" not in _text(venv / "uv.log"):
            raise
        _run([*command, "--cache-dir", str(venv / ".cache")], lock, venv / "uv.log", settings)  # no home to write to


def _pip() -> list[str]:
    python = VENV / "bin" / "python"
    return [str(python) if python.exists() else sys.executable, "-m", "pip"]


def _settings_of_pip() -> dict[str, str]:
    """What pip's files and variables say of index, certificates and proxy, in the names that uv reads."""
    done = subprocess.run([*_pip(), "config", "list"], check=False, capture_output=True, text=True)
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        name, _, text = line.partition("=")
        where, _, option = name.rpartition(".")
        if where in ("global", "install", ":env:") and option in UV_NAMES:
            found[UV_NAMES[option]] = " ".join(text.strip("'\"").replace("\\n", " ").split())
    return found


def _run(command: list[str], lock: str, log_file: Path, environ: Mapping[str, str] | None = None) -> None:
    """Runs an installer, keeps what it says, and shows what of it tells how far it is."""
    name = Path(command[0]).name if environ else "pip"
    with log_file.open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environ,
            text=True,
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        with process:
            for line in process.stdout or ():
                log.write(line)
                if PROGRESS.match(line):
                    print(f"  {line.strip()}", flush=True)
    if process.returncode == 0:
        return
    said = log_file.read_text(errors="replace")
    where = f"{log_file.parent.name}/{log_file.name}"
    if UNREACHABLE.search(said):
        raise CannotInstallError(
            f"{name} cannot reach the package index to install {lock}: check the network (or PIP_INDEX_URL, "
            f"HTTPS_PROXY) and try again; what {name} said is in {where}"
        )
    errors = [line for line in said.splitlines() if line.startswith(("ERROR:", "error:"))]
    raise CannotInstallError(
        f"{name} could not install {lock}: {_last_line(errors[0] if errors else said)} (all of it: {where})"
    )


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def main() -> int:
    """Installs the lock file that the command line names."""
    try:
        install(sys.argv[1], ROOT / (sys.argv[2] if len(sys.argv) > 2 else VENV.name))
    except CannotInstallError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
