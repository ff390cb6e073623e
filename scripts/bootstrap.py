"""Makes .venv and installs one lock file into it, unless that is done already: `python scripts/bootstrap.py dev.lock`.
A second argument names another folder than .venv, for tools that clash with the rest.

Runs on any Python of the right version, before anything is installed. Says each problem in one line.
"""

import hashlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

UNREACHABLE = re.compile(
    r"new connection|resolution|resolve|timed out|unreachable|refused|ProxyError|SSLError|CERTIFICATE_VERIFY",
    re.IGNORECASE,
)


class CannotInstallError(Exception):
    """What stands in the way, and what to do about it."""


def install(lock: str, venv: Path) -> None:
    """Brings a virtual environment to what the lock file says, with this Python version. Raises CannotInstallError."""
    stamp = venv / f"{lock}.installed"
    digest = hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()
    wanted = f"{sys.version_info.major}.{sys.version_info.minor} {digest}"
    if _text(stamp) == wanted and (venv / "bin" / "python").exists():
        return
    if Path(sys.prefix).resolve() != venv:
        _make_venv(venv)
    print(f"Installing {lock} into {venv.name} (the first time takes a minute) …", flush=True)
    _pip(lock, venv)
    stamp.write_text(wanted)


def _make_venv(venv: Path) -> None:
    version = ".".join(map(str, sys.version_info[:3]))
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        package = f"python3.{sys.version_info.minor}-venv"
        raise CannotInstallError(
            f"{sys.executable} cannot make virtual environments: install its venv module (Debian, Ubuntu: "
            f"apt install {package}), or name another interpreter: make PYTHON=/path/to/python3"
        )
    print(f"Making {venv.name} with Python {version} …", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(venv)], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise CannotInstallError(f"python -m venv failed: {_last_line(done.stdout + done.stderr)}")


def _pip(lock: str, venv: Path) -> None:
    log_file = venv / "pip.log"
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    with log_file.open("w") as log:
        done = subprocess.run(
            [*command, "--retries", "2", "--require-hashes", "-r", lock],
            cwd=ROOT,
            check=False,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    if done.returncode == 0:
        return
    said = log_file.read_text(errors="replace")
    if UNREACHABLE.search(said):
        raise CannotInstallError(
            f"pip cannot reach the package index to install {lock}: check the network (or PIP_INDEX_URL, HTTPS_PROXY) "
            f"and try again; what pip said is in {venv.name}/pip.log"
        )
    errors = [line for line in said.splitlines() if line.startswith("ERROR:")]
    raise CannotInstallError(
        f"pip could not install {lock}: {_last_line(errors[0] if errors else said)} (all of it: {venv.name}/pip.log)"
    )


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def main() -> int:
    """Installs the lock file that the command line names."""
    try:
        install(sys.argv[1], ROOT / (sys.argv[2] if len(sys.argv) > 2 else ".venv"))
    except CannotInstallError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
