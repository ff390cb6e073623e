"""The zips for Lambda: the same bytes everywhere, nothing unneeded inside, and all that it takes to answer."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import marshal
import os
import platform
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.markers import Marker
from packaging.requirements import Requirement

from scripts.aws import build, reproducible_zip
from scripts.local import embedded_valkey, examples
from scripts.local.examples import Example
from scripts.places import ROOT
from tests.support import contract, tokens
from tests.support.invoking import event

OURS = ("functions", "scripts", "shared")
FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/handler.py"))

LADEN = ("layer.zip", "functions/authorizer.zip")
"""The zips with others' packages in them."""

PREFIXES = {"layer.zip": "python/", "functions/authorizer.zip": ""}
"""Where those are in each."""

PRODUCTION = ("--arch", "arm64", "--python", "3.13")
OWN = ("--arch", "local", "--python", "local")
OTHER_PYTHON = "3.12" if platform.python_version().startswith("3.13.") else "3.13"

UNCHECKED_HASH = 1
"""The flags of bytecode that Python uses without checking it (PEP 552)."""

MACHINES = {"arm64": 183, "x86_64": 62}
"""Each architecture's number in an ELF file."""


class Build:
    """What `make build` printed and made."""

    def __init__(self, printed: str):
        facts = json.loads(printed)
        self.folder = Path(facts["folder"])
        self.architecture, self.python, self.compiled_by = facts["architecture"], facts["python"], facts["compiled_by"]
        self.zips: dict[str, dict[str, Any]] = {row["name"]: row for row in facts["zips"]}
        self.bills = {name: Path(path).read_text() for name, path in facts["bills_of_materials"].items()}

    def files(self, name: str) -> dict[str, bytes]:
        """The contents of one of its zips."""
        with zipfile.ZipFile(self.folder / name) as archive:
            return {entry: archive.read(entry) for entry in archive.namelist()}

    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each zip."""
        return {name: row["sha256"] for name, row in self.zips.items()}


def run(
    *arguments: str, root: Path = ROOT, umask: int = -1, **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """`python -m scripts.aws.build` in a tree, with our uv; a variable that is None is left out of its environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, **environment}
    return subprocess.run(
        [sys.executable, "-B", "-m", "scripts.aws.build", *arguments],
        cwd=root,
        env={name: value for name, value in variables.items() if value is not None},
        umask=umask,
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )


def made(*arguments: str, **options: Any) -> Build:
    """A build that must succeed. Skips the test where there are no wheels and none can be fetched."""
    done = run("--json", *arguments, **options)
    if "cannot reach the package index" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return Build(done.stdout)


def clone(folder: Path) -> Path:
    """A copy of what goes into a build."""
    for name in OURS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    shutil.copytree(ROOT / "locks", folder / "locks")
    return folder


PLAIN: dict[str, Any] = {
    "umask": 0o022,
    "PYTHONHASHSEED": "1",
    "LC_ALL": "C",
    "TZ": "UTC",
    "PYTHONOPTIMIZE": None,
    "PYTHONDONTWRITEBYTECODE": None,
}
ODD: dict[str, Any] = {
    "umask": 0o077,
    "PYTHONHASHSEED": "2",
    "LC_ALL": "C.UTF-8",
    "TZ": "Asia/Tokyo",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The build for AWS."""
    return made(*PRODUCTION, "--output", str(tmp_path_factory.mktemp("production")), **PLAIN)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The build for this machine."""
    return made(*OWN, "--output", str(tmp_path_factory.mktemp("own")), **PLAIN)


@pytest.fixture(params=["production", "own"])
def either(request: pytest.FixtureRequest) -> Build:
    """The build for AWS, and the one for this machine."""
    found: Build = request.getfixturevalue(request.param)
    return found


def contents(which: Build) -> Iterator[tuple[str, str, bytes]]:
    """The zip, name and content of every file in a build."""
    for name in which.zips:
        for entry, content in which.files(name).items():
            yield name, entry, content


class TestBytes:
    def test_a_clone_elsewhere_built_under_other_circumstances_is_the_same_bytes(
        self, either: Build, tmp_path: Path
    ) -> None:
        there = clone(tmp_path / "quite" / "another" / "place")
        for path in there.rglob("*.py"):
            os.utime(path, (1_000_000_000, 1_000_000_000))
            path.chmod(0o700)
        target = ("--arch", either.architecture, "--python", either.python)
        again = made(*target, "--output", str(tmp_path / "out"), root=there, **ODD)
        assert again.folder.name == either.folder.name
        assert again.hashes() == either.hashes()
        assert again.bills == either.bills
        assert set(again.hashes()) == {"layer.zip", *(f"functions/{name}.zip" for name in FUNCTIONS)}

    def test_a_zip_holds_sorted_names_one_time_and_one_mode(self, own: Build) -> None:
        for name in own.zips:
            with zipfile.ZipFile(own.folder / name) as archive:
                entries = archive.infolist()
            assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
            assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
            assert {entry.external_attr >> 16 for entry in entries} == {stat.S_IFREG | 0o644}
            assert {entry.create_system for entry in entries} == {3}

    def test_no_file_tells_where_it_was_made(self, either: Build) -> None:
        places = {os.fsencode(place) for place in (ROOT, either.folder.parent, Path.home() / ".pyenv")}
        for name, entry, content in contents(either):
            if not entry.endswith(".so"):  # these contain the path where their makers built them
                assert not [place for place in places if place in content], f"{entry} in {name}"

    def test_the_two_targets_differ_in_compiled_files_and_what_is_said_of_them_only(
        self, production: Build, own: Build
    ) -> None:
        def plain(which: Build) -> dict[tuple[str, str], bytes]:
            return {
                (name, entry): content
                for name, entry, content in contents(which)
                if not entry.endswith((".so", ".pyc", ".dist-info/WHEEL", ".dist-info/RECORD"))
                and "/sboms/" not in entry
                and not entry.startswith("python/async_timeout")
            }  # only Python 3.11.2 and older need async-timeout

        assert plain(production) == plain(own)

    def test_shared_objects_are_the_targets(self, either: Build) -> None:
        if either.architecture not in MACHINES:
            pytest.skip(f"Lambda has no machine like this one, {platform.machine()}")
        objects = {(name, entry): content for name, entry, content in contents(either) if entry.endswith(".so")}
        assert {entry.removeprefix(PREFIXES[name]).split("/")[0].split(".")[0] for name, entry in objects} == {
            *("libvalkey", "orjson", "wrapt"),
            *("cryptography", "_cffi_backend"),
        }
        for (_, entry), content in objects.items():
            assert content[:4] == b"\x7fELF", entry
            assert struct.unpack_from("<H", content, 18) == (MACHINES[either.architecture],), entry
            assert f".cpython-{either.python.replace('.', '')}-" in entry or entry.endswith(".abi3.so")


class TestBytecode:
    def test_every_source_has_bytecode_of_the_target_that_nobody_checks(self, either: Build) -> None:
        if either.compiled_by is None:
            pytest.skip(f"no Python {either.python} is on this machine: the build for AWS holds sources only")
        tag = f"cpython-{either.python.replace('.', '')}"
        for name in either.zips:
            files = either.files(name)
            for entry in [entry for entry in files if entry.endswith(".py")]:
                path = Path(entry)
                bytecode = files[f"{path.parent}/__pycache__/{path.stem}.{tag}.pyc"]
                assert struct.unpack_from("<I", bytecode, 4) == (UNCHECKED_HASH,), entry
                if either.python == ".".join(platform.python_version_tuple()[:2]):
                    assert bytecode[:4] == importlib.util.MAGIC_NUMBER
                    assert bytecode[8:16] == importlib.util.source_hash(files[entry]), entry
                    prefix = "/opt" if name == "layer.zip" else "/var/task"
                    code = marshal.loads(bytecode[16:])  # noqa: S302 - we made it
                    assert code.co_filename == f"{prefix}/{entry}"
            assert sum(entry.endswith(".pyc") for entry in files) == sum(entry.endswith(".py") for entry in files)

    def test_without_an_interpreter_of_the_target_it_says_so_and_ships_sources(self, tree: Path) -> None:
        nowhere = {"PATH": str(tree), "PYENV_ROOT": str(tree)}
        target = ("--arch", "arm64", "--python", OTHER_PYTHON)
        which = made(*target, root=tree, **nowhere)
        assert which.compiled_by is None
        assert {Path(entry).name for _, entry, _ in contents(which)} == {"board.py", "handler.py"}
        done = run(*target, root=tree, **nowhere)
        assert done.returncode == 0
        assert re.fullmatch(rf"No Python {OTHER_PYTHON} is on this machine .* to ship bytecode\.\n", done.stderr)


class TestContents:
    def test_sizes_are_under_their_targets(self, either: Build) -> None:
        assert either.zips["layer.zip"]["zipped_bytes"] <= 3 * 1024 * 1024
        assert either.zips["functions/authorizer.zip"]["zipped_bytes"] <= 6 * 1024 * 1024
        for name in set(either.zips) - {*LADEN}:
            assert either.zips[name]["zipped_bytes"] <= 30 * 1024

    def test_the_layer_carries_our_package_and_the_pinned_ones_that_lambda_lacks(self, either: Build) -> None:
        top = {entry.split("/")[1] for entry in either.files("layer.zip") if ".dist-info/" not in entry}
        packages = {"aws_xray_sdk", "libvalkey", "marshmallow", "orjson", "shared", "valkey", "wrapt"}
        assert top - {"async_timeout"} == packages

    def test_what_the_runtime_brings_is_pinned_for_here_and_not_shipped(self) -> None:
        pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "locks" / "layer.lock").read_text(), re.MULTILINE))
        assert pinned >= build.IN_THE_RUNTIME

    def test_nothing_unneeded_is_inside(self, either: Build) -> None:
        unneeded = {"test", "tests", "testing", "bin", "include", "docs", "examples"}
        for name, entry, _ in contents(either):
            path = Path(entry)
            if entry.removeprefix(PREFIXES.get(name, "")).split("/")[0].endswith(".dist-info"):
                assert path.name not in ("INSTALLER", "REQUESTED", "direct_url.json"), entry
                continue
            assert path.suffix in (".py", ".pyc", ".so", ".lua", ".json", ".cfg"), entry
            assert not unneeded & set(path.parts), entry
            assert not [part for part in path.parts if part.endswith((".data", "-stubs"))], entry
            assert not path.name.startswith(("test_", "conftest")), entry

    def test_our_package_is_whole(self, either: Build) -> None:
        files = either.files("layer.zip")
        ours = [path for path in ROOT.glob("shared/**/*") if path.suffix in (".py", ".lua")]
        assert len(ours) > 20
        for path in ours:
            assert files[f"python/{path.relative_to(ROOT).as_posix()}"] == path.read_bytes()

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_a_function_carries_its_own_folder_and_what_its_own_lock_pins(self, own: Build, function: str) -> None:
        folders = {entry.removesuffix(Path(entry).name) for entry in own.files(f"functions/{function}.zip")}
        ours = {folder for folder in folders if folder.startswith("functions/")}
        assert ours == {f"functions/{function}/", f"functions/{function}/__pycache__/"}
        others = {folder.split("/")[0] for folder in folders - ours if ".dist-info" not in folder}
        is_laden = f"functions/{function}.zip" in LADEN
        assert others == ({"cffi", "cryptography", "jwt", "pycparser", ""} if is_laden else set())

    def test_the_layer_has_nothing_that_is_for_one_function(self, either: Build) -> None:
        assert not {"cryptography", "jwt", "cffi"} & {entry.split("/")[1] for entry in either.files("layer.zip")}


def distributions(which: Build, zipped: str, folder: Path) -> dict[str, metadata.Distribution]:
    """The packages that Python finds in a zip, by their names in lock files."""
    with zipfile.ZipFile(which.folder / zipped) as archive:
        archive.extractall(folder)
    found = metadata.distributions(path=[str(folder / PREFIXES[zipped])])
    return {re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(): one for one in found}


def lock_of(zipped: str) -> str:
    """What pins the packages in a zip."""
    return (ROOT / "locks" / f"{Path(zipped).stem}.lock").read_text()


def pinned(which: Build, zipped: str) -> dict[str, str]:
    """Names and versions of the packages that the lock file has for a zip of a build."""
    lines = re.findall(r"^([\w.-]+)==(\S+)(?: ; (.*) \\)?", lock_of(zipped), re.MULTILINE)
    full_version = platform.python_version() if which.python == build.target("local", "local").python else "3.13.99"
    wanted = [line for line in lines if not line[2] or Marker(line[2]).evaluate({"python_full_version": full_version})]
    return {name: version for name, version, _ in wanted if name not in build.IN_THE_RUNTIME}


@pytest.mark.parametrize("zipped", LADEN)
class TestWhatItSaysOfItself:
    def test_each_package_is_there_by_name_and_with_its_licence(
        self, either: Build, zipped: str, tmp_path: Path
    ) -> None:
        found = distributions(either, zipped, tmp_path)
        assert {name: one.version for name, one in found.items()} == pinned(either, zipped)
        for name, one in found.items():
            texts = [file for file in one.files or [] if re.search("LICEN[CS]E", file.name)]
            assert texts, name

    def test_a_record_holds_every_file_of_its_package_as_it_is_shipped(
        self, either: Build, zipped: str, tmp_path: Path
    ) -> None:
        prefix = PREFIXES[zipped]
        unclaimed = {entry for entry in either.files(zipped) if not entry.startswith(("python/shared/", "functions/"))}
        for name, one in distributions(either, zipped, tmp_path).items():
            for file in one.files or []:
                unclaimed.remove(f"{prefix}{file}")
                content = (tmp_path / prefix / file).read_bytes()
                if file.name == "RECORD":
                    assert file.hash is None
                else:
                    assert file.size == len(content), f"{file} of {name}"
                    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                    assert (file.hash.mode, file.hash.value) == ("sha256", digest), f"{file} of {name}"
        assert unclaimed == set(), "each file is of one package"


@pytest.mark.parametrize("zipped", LADEN)
class TestBillOfMaterials:
    def test_it_is_as_the_schema_wants_it(self, either: Build, zipped: str) -> None:
        check = JsonStrictValidator(SchemaVersion.V1_5)
        assert check.validate_str(either.bills[zipped]) is None
        assert check.validate_str(either.bills[zipped].replace('"purl"', '"pearl"', 1)) is not None

    def test_it_names_what_the_lock_file_pins_and_the_zip_carries(
        self, either: Build, zipped: str, tmp_path: Path
    ) -> None:
        lock = lock_of(zipped)
        bill = json.loads(either.bills[zipped])
        found = distributions(either, zipped, tmp_path)
        names = pinned(either, zipped)
        assert [one["purl"] for one in bill["components"]] == [
            f"pkg:pypi/{name}@{names[name]}" for name in sorted(names)
        ]
        for (name, version), one in zip(sorted(names.items()), bill["components"], strict=True):
            assert (one["name"], one["version"]) == (found[name].metadata["Name"], version)
            (pin,) = re.findall(rf"^{name}==(.*\n(?:    --hash.*\n)+)", lock, re.MULTILINE)
            (origin,) = one["externalReferences"]
            assert [hash_["content"] for hash_ in origin["hashes"]] == re.findall(r"sha256:(\w+)", pin)
            (record,) = one["components"]
            content = (tmp_path / record["name"]).read_bytes()
            assert record["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]
            assert one["licenses"]

    def test_it_is_of_this_very_zip(self, either: Build, zipped: str) -> None:
        root = json.loads(either.bills[zipped])["metadata"]["component"]
        (made,) = root["components"]
        sha256 = either.zips[zipped]["sha256"]
        assert (made["name"], made["hashes"]) == (Path(zipped).name, [{"alg": "SHA-256", "content": sha256}])
        assert {one["value"] for one in root["properties"]} == {f"{either.architecture}-python{either.python}"}

    def test_who_wants_whom_is_what_the_packages_say(self, either: Build, zipped: str, tmp_path: Path) -> None:
        wants = {one["ref"]: one["dependsOn"] for one in json.loads(either.bills[zipped])["dependencies"]}
        document = tomllib.loads((ROOT / "pyproject.toml").read_text())
        groups = {"layer": document["project"]["dependencies"], **document["dependency-groups"]}
        purls = {name: f"pkg:pypi/{name}@{version}" for name, version in pinned(either, zipped).items()}

        def shipped(requirements: list[str]) -> list[str]:
            """The requirements that are in the zip."""
            wanted = [Requirement(text) for text in requirements]
            environment = {"extra": "", "python_full_version": platform.python_version()}
            kept = [one.name for one in wanted if one.marker is None or one.marker.evaluate(environment)]
            return sorted(purls[name] for name in kept if name in purls)

        assert wants.pop("valkey-leaderboard") == shipped(groups[Path(zipped).stem])
        for name, one in distributions(either, zipped, tmp_path).items():
            assert wants.pop(purls[name]) == shipped(one.requires or []), name
        assert wants == {}


RUNTIME = """
import importlib, json, sys, types

*folders, name = sys.argv[1:]
sys.path += folders
sources = []
sys.addaudithook(lambda name, of: sources.append(of[0]) if name == "open" and str(of[0]).endswith(".py") else None)
known = set(sys.modules)
module = importlib.import_module(f"functions.{name}.handler")

context = types.SimpleNamespace(aws_request_id="1", get_remaining_time_in_millis=lambda: 60_000)
answers = [module.handler(event, context) for event in json.load(sys.stdin)]
files = [getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - known]
print(json.dumps({"answers": answers, "files": sorted(filter(None, files)), "sources_read": sources}))
"""
"""What runs on Lambda. Unlike in all other tests, only the layer and the function are on the path."""

Invoke = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def unzipped(own: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zips as Lambda unpacks them: opt/, and a task/ for each function."""
    folder = tmp_path_factory.mktemp("lambda")
    for name in own.zips:
        with zipfile.ZipFile(own.folder / name) as archive:
            archive.extractall(folder / ("opt" if name == "layer.zip" else f"task/{Path(name).stem}"))
    return folder


@pytest.fixture
def invoke(unzipped: Path, server: embedded_valkey.Server, empty: None) -> Invoke:
    """`invoke("rank", event(…), …)`: what a function answers from the zips, in a process that has nothing else."""
    return lambda function, *events, **more: _invoke(unzipped, server, function, *events, **more)


def _invoke(
    unzipped: Path, server: embedded_valkey.Server, function: str, *events: Any, **variables: str
) -> list[dict[str, Any]]:
    task = unzipped / "task" / function
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", RUNTIME, str(task), str(unzipped / "opt" / "python"), function],
        input=json.dumps(events),
        env={"VALKEY_HOST": server.host, "VALKEY_PORT": str(server.port), **variables},
        cwd=unzipped,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    standard = Path(os.__file__).resolve().parent
    strangers = [
        file
        for file in seen["files"]
        if not Path(file).resolve().is_relative_to(unzipped.resolve())
        and ("site-packages" in file or not Path(file).resolve().is_relative_to(standard))
    ]
    assert not strangers
    assert [path for path in seen["sources_read"] if path.startswith(str(unzipped))] == []  # the bytecode is enough
    for sent, answer in zip(events, seen["answers"], strict=True):
        if "httpMethod" in sent:
            body = answer["body"].encode()
            contract.check(sent["httpMethod"], sent["path"], answer["statusCode"], answer["headers"], body)
    answers: list[dict[str, Any]] = seen["answers"]
    return answers


def test_every_function_answers_from_the_zips_alone(invoke: Invoke) -> None:
    def ask(*requests: Example) -> list[dict[str, Any]]:
        """The answers of one function, each with the status that its operation promises."""
        events = (event(example.method, example.target, json_body=example.body) for example in requests)
        answers = invoke(requests[0].function, *events, ACCESS="protected")
        assert [answer["statusCode"] for answer in answers] == [example.status for example in requests]
        return answers

    ids = examples.existing(lambda example: json.loads(ask(example)[0]["body"]))
    requests = [one for one in examples.load(ids).values() if one.function != "issue_token"]
    answers = {
        function: ask(*(example for example in requests if example.function == function))
        for function in dict.fromkeys(example.function for example in requests)
    }
    assert json.loads(answers["rank"][0]["body"])["rank"]["rank"] == 1
    assert ids["userId"] in answers["leaderboard"][0]["body"]
    (report,) = invoke("reconcile", {"source": "aws.events", "detail-type": "Scheduled Event"})
    assert report["finished"] is True
    (issued,) = invoke("issue_token", event("POST", "/users/a/tokens", json_body={"lifetimeSeconds": 1}))
    assert issued["statusCode"] == 400, "without the SDK, which Lambda has, it can say no more"
    assert {*answers, "reconcile", "issue_token", "authorizer"} == set(FUNCTIONS)


def test_the_authorizer_knows_a_token_from_the_zips_alone(invoke: Invoke) -> None:
    event = {
        "type": "TOKEN",
        "authorizationToken": f"Bearer {tokens.signed(tokens.own_claims())}",
        "methodArn": "arn:aws:execute-api:eu-central-1:123456789012:abc/dev/GET/stats",
    }
    (found,) = invoke("authorizer", event, **tokens.own_keys("first"))
    assert found["context"]["subject"] == "backend"


def test_a_sampled_request_sends_its_trace_from_the_zips_alone(unzipped: Path, server: embedded_valkey.Server) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(10)
        variables = {
            "AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{daemon.getsockname()[1]}",
            "LAMBDA_TASK_ROOT": str(unzipped),
            "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
        }
        (answer,) = _invoke(unzipped, server, "health", event("GET", "/health"), **variables)
        assert answer["statusCode"] == 200
        assert b'"health.report"' in daemon.recv(1 << 16)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project with next to nothing in it, which builds in a moment and needs no wheel."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "scripts", tree / "scripts", ignore=shutil.ignore_patterns("node_modules"))
    (tree / "locks").mkdir()
    for name in ("functions/rank/handler.py", "functions/stats/handler.py", "shared/board.py"):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_text(f"NAME = {name!r}\n")
    (tree / "locks" / "layer.lock").write_text("# nothing\n")
    return tree


class TestMaking:
    def test_an_unchanged_tree_is_not_built_again_and_a_changed_one_is(self, tree: Path) -> None:
        before = made(*OWN, root=tree)
        assert before.folder.parent == tree / "build"
        zip_ = before.folder / "functions" / "rank.zip"
        inode = zip_.stat().st_ino
        assert made(*OWN, root=tree).hashes() == before.hashes()
        assert zip_.stat().st_ino == inode
        (tree / "functions" / "rank" / "handler.py").write_text("NAME = 'changed'\n")
        after = made(*OWN, root=tree).hashes()
        assert {name for name in after if after[name] != before.hashes()[name]} == {"functions/rank.zip"}

    def test_a_damaged_build_is_made_again(self, tree: Path) -> None:
        before = made(*OWN, root=tree)
        (before.folder / "layer.zip").write_bytes(b"half of i")
        (before.folder / "functions" / "gone.zip").write_bytes(b"of a function that is no more")
        (before.folder / "layer.cdx.json").write_text("{}")
        again = made(*OWN, root=tree)
        assert (again.hashes(), again.bills) == (before.hashes(), before.bills)
        assert not (before.folder / "functions" / "gone.zip").exists()

    def test_an_interrupted_build_leaves_the_old_one_or_none(self, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write = reproducible_zip.write

        def interrupted(path: Path, files: Mapping[str, bytes]) -> None:
            write(path, files)
            raise KeyboardInterrupt

        monkeypatch.setattr(reproducible_zip, "write", interrupted)
        monkeypatch.setattr(build, "ROOT", tree)
        monkeypatch.setattr(build, "builders", list)
        output = tree / "build"
        arguments = [*OWN, "--output", str(output)]
        assert build.main(arguments) == 130
        assert [path.name for path in output.iterdir()] == [".lock"]
        (old := output / build.target("local", "local").name).mkdir()
        (old / "layer.zip").write_bytes(b"old")
        (output / f"{build.UNFINISHED}killed").mkdir()
        assert build.main(arguments) == 130
        assert (old / "layer.zip").read_bytes() == b"old"
        assert not list(output.glob(f"{build.UNFINISHED}*"))

    def test_a_source_that_is_no_python_is_named(self, tree: Path) -> None:
        (tree / "shared" / "board.py").write_text("def broken(:\n")
        done = run(*OWN, root=tree)
        assert done.returncode == 2
        assert "/opt/python/shared/board.py" in done.stderr
        assert not list((tree / "build").glob("*/*.zip"))

    def test_without_network_and_wheels_it_says_so(self, tree: Path, tmp_path: Path) -> None:
        (tree / "locks" / "layer.lock").write_text(f"orjson==1.0 --hash=sha256:{'0' * 64}\n")
        nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull, "UV_HTTP_RETRIES": "0"}
        nowhere |= {"UV_CACHE_DIR": str(tmp_path / "cache")}
        done = run(*OWN, root=tree, PIP_FIND_LINKS=None, PIP_EXTRA_INDEX_URL=None, **nowhere)
        assert done.returncode == 2
        assert re.fullmatch(
            r"Installing layer\.lock for \S+ into build …\n"
            r"uv cannot reach the package index .*: check the network .* try again; .* build/uv\.log\n",
            done.stderr,
        )
        assert {path.name for path in (tree / "build").iterdir()} == {".lock", "uv.log"}

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--arch", "arm"), "ARCH=arm is not an architecture of Lambda: use arm64, x86_64 or local"),
            (("--python", "python3.13"), "PYTHON=python3.13 is not supported: use 3.11 or newer"),
            (("--python", "3.9"), "PYTHON=3.9 is not supported: use 3.11 or newer"),
        ],
    )
    def test_a_target_that_lambda_has_not_is_refused(
        self, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert build.main(arguments) == 2
        assert message in capsys.readouterr().err
