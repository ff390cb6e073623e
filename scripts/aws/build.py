"""Makes what Lambda runs, one zip for the layer and one for each function: `make build`.

They go to build/<architecture>-python<version>/ and are the same bytes on every machine that has the same interpreter
of the target's version. A function that has a lock file of its name carries what that pins, beside the layer. Of a
dependency only the code goes in, since every cold start reads it, and what it says of itself. Beside each zip with
dependencies stands what it is made of.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import csv
import fcntl
import hashlib
import importlib.util
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts import interpreters
from scripts.aws import bill_of_materials, reproducible_zip
from scripts.dev import bootstrap
from scripts.interpreters import Interpreter
from scripts.places import ROOT, functions, seen_from_here
from scripts.refusal import Refusal

BUILD = ROOT / "build"

ARCHITECTURE, PYTHON = "arm64", "3.13"
"""Production: the newest runtime that the Terraform provider takes."""

MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}
"""What wheels call Lambda's architectures."""

MANYLINUX, OLD_MANYLINUX = "manylinux_2_34", "manylinux2014"
"""Wheels that a runtime can load. Amazon Linux 2023 has glibc 2.34; Python 3.11 runs on Amazon Linux 2, which has 2.26,
and the next older one that uv knows is 2.17."""

LOCAL = "local"
"""This machine's own, as an architecture and as a version."""

IN_THE_RUNTIME = {"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"}
"""What every Python runtime of Lambda has: 15 MB that the layer can do without."""

UNNEEDED_FOLDERS = {"__pycache__", "bin", "include", "test", "tests", "testing"}
UNNEEDED_SUFFIXES = {".c", ".cpp", ".h", ".pxd", ".pyc", ".pyi", ".pyx", ".typed"}
"""What is not a package's code."""

ITS_OWN = re.compile(
    r"[^/]+\.dist-info/(?:METADATA|RECORD|WHEEL|(?:licenses|sboms)/.+|(?:LICEN[CS]E|COPYING|NOTICE|AUTHORS)[^/]*)"
)
"""What a package says of itself, for people and scanners; without an installer's notes of itself and this machine."""

UNFINISHED = ".unfinished-"

LAYER_LIMIT_KB, FUNCTION_LIMIT_KB, LADEN_FUNCTION_LIMIT_KB = 3 * 1024, 30, 6 * 1024
"""Zipped: of the layer, of a function that is our own code alone, and of one with dependencies of its own."""

COMPILE = """
import py_compile, sys
for name in sys.stdin.read().splitlines():
    source, shown = f"{sys.argv[1]}/{name}", f"{sys.argv[2]}/{name}"
    try:
        py_compile.compile(source, f"{source}c", shown, True, -1, py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except py_compile.PyCompileError as error:
        sys.exit(f"{shown}: {error.exc_value}")
"""
"""Run by the target's interpreter. It is unchecked: Lambda looks neither at a source's time nor at its content. The
file name inside is where Lambda unpacks the source, not where it was compiled."""

Files = dict[str, bytes]


@dataclass(frozen=True)
class Target:
    """What a build is for. The architecture `local` is a kind of machine that Lambda does not have, such as a Mac."""

    architecture: str
    python: str
    full_version: str

    @property
    def name(self) -> str:
        """Its folder in build/."""
        return f"{self.architecture}-python{self.python}"

    @property
    def options(self) -> list[str]:
        """What tells uv of it. For `local` uv takes the wheels of this machine."""
        if self.architecture == LOCAL:
            return ["--python-version", self.full_version]
        platform = f"{MACHINES[self.architecture]}-{OLD_MANYLINUX if self.python == '3.11' else MANYLINUX}"
        return ["--python-version", self.full_version, "--python-platform", platform]


def target(architecture: str = ARCHITECTURE, python: str = PYTHON) -> Target:
    """The target that the command line asks for. Raises Refusal."""
    if architecture not in (*MACHINES, LOCAL):
        raise Refusal(f"ARCH={architecture} is not an architecture of Lambda: use arm64, x86_64 or local")
    if python != LOCAL and not re.fullmatch(r"3\.(1[1-9]|[2-9]\d)", python):
        raise Refusal(f"PYTHON={python} is not supported: use 3.11 or newer, or local")
    own_version = ".".join(platform.python_version_tuple()[:2])
    if architecture == LOCAL:
        architecture = _own_architecture()
        if architecture == LOCAL and python not in (LOCAL, own_version):
            raise Refusal(f"ARCH=local builds for Python {own_version} only here, not for {python}: use PYTHON=local")
    if python == LOCAL:
        return Target(architecture, own_version, platform.python_version())
    return Target(architecture, python, f"{python}.99")  # a runtime has about the newest patch release


def build(wanted: Target, output: Path = BUILD) -> Path:
    """Brings output/<target> up to date and returns it. Raises Refusal.

    It replaces an older folder as a whole, once it is complete.
    """
    output.mkdir(parents=True, exist_ok=True)
    compiler, digest, folder = interpreters.find(wanted.python), _digest(wanted), output / wanted.name
    with _locked(output):
        if _is_whole(folder, digest, compiler):
            return folder
        for stale in output.glob(f"{UNFINISHED}*"):  # of a build that was killed
            shutil.rmtree(stale)
        with tempfile.TemporaryDirectory(dir=output, prefix=UNFINISHED) as unfinished:
            new, old = Path(unfinished, "new"), Path(unfinished, "old")
            packages = {
                name: _packages(lock, wanted, Path(unfinished, lock.stem), output / "uv.log")
                for name, lock in _locks().items()
            }
            _write_zips(new, packages, compiler, Path(unfinished, "compiled"))
            for name, lock in _locks().items():
                bill = bill_of_materials.document(new / f"{name}.zip", lock.read_text(), wanted.name)
                (new / _bill(name)).write_bytes(bill)
            (new / "build.json").write_text(json.dumps(_facts_of(new, digest, compiler), indent=2) + "\n")
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
    return folder


def _write_zips(folder: Path, packages: Mapping[str, Files], compiler: Interpreter | None, scratch: Path) -> None:
    (folder / "functions").mkdir(parents=True)
    for name, (prefix, sources) in {"layer": _layer(packages["layer"]), **_functions(packages)}.items():
        files = sources | (_compiled(sources, prefix, compiler, scratch) if compiler else {})
        reproducible_zip.write(folder / f"{name}.zip", files | _records(files))


def is_current(wanted: Target, output: Path = BUILD) -> bool:
    """Whether a target's build is there, whole, and made from the sources as they are now, by whichever compiler."""
    folder = output / wanted.name
    facts = _facts(folder)
    return facts.get("inputs") == _digest(wanted) and facts.get("files") == _hashes(folder)


def _is_whole(folder: Path, digest: str, compiler: Interpreter | None) -> bool:
    return _facts(folder) == _facts_of(folder, digest, compiler)


def _facts_of(folder: Path, digest: str, compiler: Interpreter | None) -> dict[str, object]:
    """What build.json says when the files in the folder were made from these sources by this compiler."""
    return {"inputs": digest, "compiler": compiler.version if compiler else None, "files": _hashes(folder)}


def _facts(folder: Path) -> dict[str, object]:
    try:
        facts = json.loads((folder / "build.json").read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _hashes(folder: Path) -> dict[str, str]:
    made = [*_zips(folder), *(bill for bill in map(_bill, _locks()) if (folder / bill).exists())]
    return {name: _sha256((folder / name).read_bytes()) for name in made}


def _zips(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.zip"))


def _digest(wanted: Target) -> str:
    """A hash of everything that a build is made of, except the interpreter."""
    sources = {path: path.read_bytes() for path in (*_locks().values(), *builders(), *_sources(ROOT / "shared"))}
    sources |= {path: path.read_bytes() for path in _sources(ROOT / "functions") if path.parent != ROOT / "functions"}
    parts = [wanted.name, wanted.full_version]
    parts += [f"{path.relative_to(ROOT).as_posix()} {_sha256(content)}" for path, content in sorted(sources.items())]
    return _sha256("\n".join(parts).encode())


def builders() -> list[Path]:
    """The files that make a build, which is another one when they change."""
    return [Path(__file__), Path(bill_of_materials.__file__), Path(reproducible_zip.__file__)]


def _locks() -> dict[str, Path]:
    """What pins the dependencies of each zip that has any."""
    own = {f"functions/{name}": ROOT / "locks" / f"{name}.lock" for name in functions()}
    return {"layer": ROOT / "locks" / "layer.lock"} | {name: lock for name, lock in own.items() if lock.exists()}


def _bill(name: str) -> str:
    """Where in a build it stands what a zip is made of."""
    return f"{name}.cdx.json"


def _layer(packages: Files) -> tuple[str, Files]:
    ours = {f"shared/{name}": content for name, content in _read(ROOT / "shared").items()}
    return "/opt", {f"python/{name}": content for name, content in {**packages, **ours}.items()}


def _functions(packages: Mapping[str, Files]) -> dict[str, tuple[str, Files]]:
    """Prefix and files of each function's zip. Its handler is functions.<name>.handler.handler there as here."""
    init = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in (ROOT / "functions").glob("__init__.py")}
    found = {}
    for zipped in (f"functions/{name}" for name in functions()):
        own = {f"{zipped}/{name}": content for name, content in _read(ROOT / zipped).items()}
        found[zipped] = ("/var/task", packages.get(zipped, {}) | init | own)
    return found


def _read(folder: Path) -> Files:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in _sources(folder)}


def _sources(folder: Path) -> list[Path]:
    """The Python and Lua files, without what editors and operating systems leave behind."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in (".py", ".lua") and path.is_file() and "__pycache__" not in path.parts
    )


def _packages(lock: Path, wanted: Target, folder: Path, log: Path) -> Files:
    """The packages that a lock pins, what is needed of each, by its path below the folder that is on Python's path."""
    install(lock, wanted, folder, log)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {name: path.read_bytes() for path in paths if _is_needed(name := path.relative_to(folder).as_posix())}


def _is_needed(name: str) -> bool:
    path = Path(name)
    if path.parts[0].endswith(".dist-info"):
        return bool(ITS_OWN.fullmatch(name))
    return not (
        path.parts[0].endswith("-stubs")
        or UNNEEDED_FOLDERS & set(path.parts[:-1])
        or path.suffix in UNNEEDED_SUFFIXES
        or name == ".lock"  # uv's own
    )


def _records(files: Files) -> Files:
    """Each package's RECORD anew: what is left out of the package is not in it, and bytecode is."""
    records = {}
    for name in (name for name in files if name.endswith(".dist-info/RECORD")):
        prefix = name.removesuffix(f"{Path(name).parent.name}/RECORD")
        installed = {prefix + row[0] for row in csv.reader(files[name].decode().splitlines())}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for one in sorted(one for one in files if one in installed or _source(one) in installed):
            digest = base64.urlsafe_b64encode(hashlib.sha256(files[one]).digest()).rstrip(b"=").decode()
            told = ("", "") if one == name else (f"sha256={digest}", len(files[one]))
            writer.writerow([one.removeprefix(prefix), *told])
        records[name] = text.getvalue().encode()
    return records


def _source(name: str) -> str:
    """What bytecode was compiled from; '' for all else."""
    return importlib.util.source_from_cache(name) if name.endswith(".pyc") else ""


def install(lock: Path, wanted: Target, folder: Path, log: Path) -> None:
    """Installs what a lock file pins for a target and its runtime does not have, into a new folder, without resolving.

    Raises Refusal.
    """
    pins = re.split(r"^(?=[\w.-]+==)", lock.read_text(), flags=re.MULTILINE)[1:]
    needed = [pin for pin in pins if pin.partition("==")[0] not in IN_THE_RUNTIME]
    folder.mkdir()
    if not needed:
        return
    shorter = folder.with_suffix(".lock")
    shorter.write_text("".join(needed))
    arguments = ["install", "--target", str(folder), *wanted.options, "--no-deps", "--only-binary", ":all:"]
    arguments += ["--requirements", str(shorter)]
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for the table
            bootstrap.run_uv(arguments, f"{lock.name} for {wanted.name}", log, Path(sys.executable))
    except bootstrap.CannotInstallError as error:
        raise Refusal(str(error)) from None


def _compiled(files: Files, prefix: str, compiler: Interpreter, scratch: Path) -> Files:
    """Bytecode for every source. One process for each zip: what it compiles first shows in the bytes of the next."""
    sources = sorted(name for name in files if name.endswith(".py"))
    for name in sources:
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).write_bytes(files[name])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [compiler.path, "-P", "-S", "-W", "ignore", "-c", COMPILE, str(scratch), prefix],
        input="\n".join(sources),
        env={**environment, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise Refusal(f"{compiler.path} cannot compile {done.stderr.strip().splitlines()[-1]}")
    compiled = {_cached(name, compiler): (scratch / f"{name}c").read_bytes() for name in sources}
    shutil.rmtree(scratch)
    return compiled


def _cached(source: str, compiler: Interpreter) -> str:
    path, (major, minor, _) = Path(source), compiler.version.split(".")
    return (path.parent / "__pycache__" / f"{path.stem}.cpython-{major}{minor}.pyc").as_posix()


def _own_architecture() -> str:
    """Lambda's name for this machine if it can load Lambda's wheels, else `local`."""
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return LOCAL
    return next((name for name, machine in MACHINES.items() if machine == platform.machine()), LOCAL)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One build at a time, whatever the target: each removes the unfinished folders that it finds."""
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Row:
    """A zip's figures; `unzipped_bytes` is what counts against Lambda's limit of 250 MB."""

    name: str
    zipped_bytes: int
    unzipped_bytes: int
    limit_kb: int
    sha256: str


def rows(folder: Path) -> list[Row]:
    """The figures of a build, the layer first."""
    figures = []
    for name in sorted(_zips(folder), key=lambda name: (name != "layer.zip", name)):
        path = folder / name
        with zipfile.ZipFile(path) as archive:
            unzipped = sum(entry.file_size for entry in archive.infolist())
        is_laden = name.removesuffix(".zip") in _locks()
        limit = LAYER_LIMIT_KB if name == "layer.zip" else LADEN_FUNCTION_LIMIT_KB if is_laden else FUNCTION_LIMIT_KB
        figures.append(Row(name, path.stat().st_size, unzipped, limit, _sha256(path.read_bytes())))
    return figures


def _print_table(folder: Path, figures: Iterable[Row]) -> None:
    print(f"{'':27}{'zipped KB':>10}{'limit':>7}{'unzipped KB':>13}  SHA-256")
    for row in figures:
        fits = row.zipped_bytes <= row.limit_kb * 1024
        zipped = f"{row.zipped_bytes / 1024:10.1f}"
        if sys.stdout.isatty():
            zipped = f"\033[{32 if fits else 31}m{zipped}\033[0m"
        rest = f"{row.limit_kb:7}{row.unzipped_bytes / 1024:13.1f}  {row.sha256[:16]}"
        print(f"{row.name:27}{zipped}{rest}{'' if fits else '  too large'}")
    bills = " and ".join(map(_bill, _locks()))
    print(f"\n{seen_from_here(folder)} is ready. What is made of others' packages says of which: {bills}.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds for one target and prints the sizes."""
    parser = argparse.ArgumentParser(prog="python -m scripts.aws.build", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--arch", default=ARCHITECTURE, help="arm64, x86_64 or local (%(default)s)")
    parser.add_argument("--python", default=PYTHON, help="the runtime's minor version, or local (%(default)s)")
    parser.add_argument("--output", type=Path, default=BUILD, help="folder of the builds (build)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args(arguments)
    try:
        wanted = target(options.arch, options.python)
        folder = build(wanted, options.output)
    except Refusal as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    compiled_by, figures = _facts(folder)["compiler"], rows(folder)
    if compiled_by is None:
        _say(
            f"No Python {wanted.python} is on this machine (PATH, pyenv), so the zips hold sources only, which Lambda "
            "compiles at every cold start: install one to ship bytecode."
        )
    if options.json:
        facts: dict[str, object] = {
            "architecture": wanted.architecture,
            "python": wanted.python,
            "compiled_by": compiled_by,
        }
        bills = {f"{name}.zip": str(folder / _bill(name)) for name in _locks()}
        facts |= {"folder": str(folder), "bills_of_materials": bills}
        print(json.dumps({**facts, "zips": [vars(row) for row in figures]}, indent=2))
    else:
        _print_table(folder, figures)
    return 0 if all(row.zipped_bytes <= row.limit_kb * 1024 for row in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
