"""Makes .venv and installs in it what a lock pins, if that is not done yet: `python scripts/dev/bootstrap.py dev.lock`.
A second argument names a folder instead of .venv, for tools that clash with the rest.

A lock is complete, so nothing is resolved: what was released since cannot change or break an installation. pip resolves
even where everything is pinned, and stumbles over newer releases. So it installs one thing, uv, which does the rest. No
environment has a pip: unpacking one takes longer than all the rest, and the interpreter's own runs from where it is.

Runs on any Python of the right version, before anything is installed. Reports each problem in one line.
"""

import configparser
import hashlib
import importlib.util
import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

LOCKS = ROOT / "locks"

VENV = ROOT / ".venv"

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
"""The lines of uv's that are worth showing to whoever waits."""

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
    """Makes a virtual environment hold exactly what the lock file pins. Raises CannotInstallError.

    One that was made from another lock with all of these pins stays as it is: `make run` after `make test`.
    """
    if _is_there(lock, venv):
        return
    if Path(sys.prefix).resolve() != venv:
        make_venv(venv)
    (venv / "installed").unlink(missing_ok=True)
    run_uv(["sync", str(LOCKS / lock)], lock, venv / "uv.log", venv / "bin" / "python")
    (venv / "installed").write_text(f"{Path(lock).name} {_state(lock)}")


def run_uv(arguments: list[str], lock: str, log: Path, python: Path) -> None:
    """Runs `uv pip …` for an environment's interpreter, with exactly a lock file's wheels. The log keeps its output.

    uv is the user's own if it is new enough, else the one that installer.lock pins, which is installed first. It gets
    pip's settings of index, certificates and proxy, and needs no network for what is cached. Raises CannotInstallError.
    """
    uv = find_uv(python)
    settings = {**settings_of_pip(), "UV_INDEX_STRATEGY": "unsafe-best-match", **os.environ}
    settings.pop("VIRTUAL_ENV", None)
    print(f"Installing {lock} into {log.parent.name} …", flush=True)
    command = [uv, "pip", *arguments, "--require-hashes", "--python", str(python)]
    done = _run([*command, "--offline"], log, settings) or _run(command, log, settings)
    if not done and "initialize cache" in _text(log):  # no home to write to
        done = _run([*command, "--cache-dir", str(log.parent / ".cache")], log, settings)
    if not done:
        raise _failure("uv", lock, log)


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


def make_venv(venv: Path) -> None:
    """Makes a virtual environment, without a pip. Raises CannotInstallError."""
    if importlib.util.find_spec("venv") is None:
        raise _incomplete("make virtual environments")
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"Making {venv.name} with Python {version} …", flush=True)
    command = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(venv)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotInstallError(f"python -m venv failed: {_last_line(done.stdout + done.stderr)}")


def find_pip() -> str:
    """A pip that runs from where it is: the base interpreter's, which has bytecode, else the wheel of its ensurepip.

    Run it with an environment's interpreter, since pip may be set to work in environments only.
    """
    installed = [Path(folder, "pip") for folder in site.getsitepackages([sys.base_prefix])]
    if found := next((pip for pip in installed if (pip / "__main__.py").exists()), None):
        return str(found)
    ensurepip = importlib.util.find_spec("ensurepip")
    folders = [f"{folder}/_bundled" for folder in (ensurepip and ensurepip.submodule_search_locations) or ()]
    folders += filter(None, [sysconfig.get_config_var("WHEEL_PKG_DIR")])  # where distributions keep it
    wheels = [wheel for folder in folders for wheel in sorted(Path(folder).glob("pip-*.whl"))]
    if not wheels:
        raise _incomplete("install packages")
    return str(wheels[-1] / "pip")


def _incomplete(task: str) -> CannotInstallError:
    package = f"python3.{sys.version_info.minor}-venv"
    return CannotInstallError(
        f"{sys.executable} cannot {task}: install its venv module (Debian, Ubuntu: apt install {package}), or name "
        "another interpreter: make PYTHON=/path/to/python3"
    )


def find_uv(python: Path) -> str:
    """The user's uv, or our own, which is installed if need be. Raises CannotInstallError."""
    found = shutil.which("uv")
    if found and _version(found) >= OLDEST_UV:
        return found
    uv = INSTALLER / "bin" / "uv"
    digest = hashlib.sha256((LOCKS / INSTALLER_LOCK).read_bytes()).hexdigest()
    if _text(INSTALLER / "installed") != digest or not uv.exists():
        print(f"Installing {INSTALLER_LOCK} into {INSTALLER.name} …", flush=True)
        shutil.rmtree(INSTALLER, ignore_errors=True)
        INSTALLER.mkdir()
        command = [str(python), find_pip(), "install", "--no-input", "--disable-pip-version-check", "--retries", "2"]
        command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--target", str(INSTALLER)]
        command += ["-r", str(LOCKS / INSTALLER_LOCK)]
        if not _run(command, log := INSTALLER / "pip.log"):
            raise _failure("pip", INSTALLER_LOCK, log)
        (INSTALLER / "installed").write_text(digest)
    return str(uv)


def _version(uv: str) -> tuple[int, ...]:
    done = subprocess.run([uv, "--version"], check=False, capture_output=True, text=True)
    found = re.match(r"uv (\d+)\.(\d+)", done.stdout) if done.returncode == 0 else None
    return tuple(map(int, found.groups())) if found else ()


def settings_of_pip() -> dict[str, str]:
    """What pip's files and variables say about index, certificates and proxy, by the names that uv reads.

    Asking pip would take longer than uv takes to install. Files and order: https://pip.pypa.io/en/stable/topics/configuration
    """
    home, named_file = Path.home(), os.environ.get("PIP_CONFIG_FILE", "")
    folders = [Path(each, "pip") for each in (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")]
    folders += [Path("/Library/Application Support/pip"), Path("/etc")]
    if not os.path.exists(named_file):
        folders += [home / ".pip", Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "pip")]
        folders += [home / "Library" / "Application Support" / "pip"]
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = _option  # type: ignore[assignment]
    try:
        parser.read([*(folder / "pip.conf" for folder in folders), named_file] if named_file != os.devnull else [])
    except (configparser.Error, UnicodeDecodeError) as error:
        raise CannotInstallError(f"One of pip's configuration files cannot be read: {_last_line(str(error))}") from None
    settings: dict[str, str] = {}
    for section in ("global", "install"):
        settings |= dict(parser[section]) if section in parser else {}
    settings |= {_option(name[4:]): text for name, text in os.environ.items() if name.startswith("PIP_") and text}
    return {UV_NAMES[name]: " ".join(text.split()) for name, text in settings.items() if name in UV_NAMES}


def _option(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("--")


def _run(command: list[str], log_file: Path, environ: Mapping[str, str] | None = None) -> bool:
    """Runs an installer, shows its progress and keeps its output in the log. Returns whether it succeeded."""
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
    return process.returncode == 0


def _failure(name: str, lock: str, log: Path) -> CannotInstallError:
    output = log.read_text(errors="replace")
    where = f"{log.parent.name}/{log.name}"
    if UNREACHABLE.search(output):
        return CannotInstallError(
            f"{name} cannot reach the package index to install {lock}: check the network (or PIP_INDEX_URL, "
            f"HTTPS_PROXY) and try again; what {name} said is in {where}"
        )
    errors = [line for line in output.splitlines() if line.startswith(("ERROR:", "error:"))]
    return CannotInstallError(
        f"{name} could not install {lock}: {_last_line(errors[0] if errors else output)} (all of it: {where})"
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
