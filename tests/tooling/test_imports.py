"""Who may import whom, and that an import does nothing but import."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import config

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = ("functions", "scripts", "shared", "tests")

MAY_IMPORT = {
    "clock": set(),
    "config": set(),
    "deadline": set(),
    "logs": set(),
    "problems": set(),
    "fields": {"config", "problems"},
    "idempotency": set(),
    "endpoint": {"config", "deadline", "fields", "idempotency", "logs", "problems"},
    "credentials": {"config"},
    "store": {"config", "credentials", "deadline", "logs", "problems"},
    "reconcile": {"audit", "deadline", "outbox", "projections", "statistics", "store", "sweeps"},
}
"""What a module of the layer may import from the layer. The ones that are not named here hold data: their rule is
the next one."""

UNKNOWN_TO_DATA = {"deadline", "endpoint", "fields"}
"""Data modules know neither HTTP nor events; of config they know constants alone."""

SETTINGS_READERS = {"load", "settings", "Settings"}

HEAVY = {"boto3", "botocore", "aws_xray_sdk"}

HANDLERS = sorted(path.parent.name for path in ROOT.glob("functions/*/handler.py"))


def modules(folder: str) -> Iterator[tuple[str, ast.Module]]:
    """The Python files of a top-level folder that are ours, by their path, parsed."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        relative = path.relative_to(ROOT)
        if "node_modules" not in relative.parts:
            yield str(relative), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> set[str]:
    """Full names of everything that is imported, wherever in the file: `shared.config.settings`, `os`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def of_the_layer(names: set[str]) -> set[str]:
    """The layer's modules among imported names."""
    return {name.split(".")[1] for name in names if name.startswith("shared.")}


LAYER = {Path(path).stem: imported(tree) for path, tree in modules("shared")}


@pytest.mark.parametrize("module", MAY_IMPORT)
def test_the_layers_edge_and_base_import_what_they_may(module: str) -> None:
    assert of_the_layer(LAYER[module]) <= MAY_IMPORT[module]


@pytest.mark.parametrize("module", sorted(set(LAYER) - set(MAY_IMPORT)))
def test_a_data_module_knows_neither_http_nor_settings_nor_the_environment(module: str) -> None:
    assert not of_the_layer(LAYER[module]) & UNKNOWN_TO_DATA
    readers = {"shared.config"} | {f"shared.config.{name}" for name in SETTINGS_READERS}
    assert not LAYER[module] & readers
    assert not {name.partition(".")[0] for name in LAYER[module]} & {"os", "socket", "ssl", "urllib", "http", "valkey"}
    assert "shared.store.store" not in LAYER[module], "the connection is an argument"


def test_the_layer_never_imports_what_stands_on_it() -> None:
    for module, names in LAYER.items():
        assert not {name.partition(".")[0] for name in names} & (set(OURS) - {"shared"}), module


def test_functions_import_the_layer_alone_and_not_each_other() -> None:
    for path, tree in modules("functions"):
        assert not {name.partition(".")[0] for name in imported(tree)} & (set(OURS) - {"shared"}), path


def test_scripts_never_import_tests() -> None:
    for path, tree in modules("scripts"):
        assert "tests" not in {name.partition(".")[0] for name in imported(tree)}, path


@pytest.mark.parametrize("folder", OURS)
def test_nobody_touches_the_module_search_path(folder: str) -> None:
    for path, tree in modules(folder):
        touched = [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr == "path"
            and isinstance(node.value, ast.Name)
            and node.value.id == "sys"
        ]
        assert not touched, f"{path}, lines {touched}"


@pytest.mark.parametrize("folder", OURS)
def test_no_module_shadows_the_standard_library(folder: str) -> None:
    names = {Path(path).stem for path, _ in modules(folder) if len(Path(path).parts) == 1}
    assert not (names | {folder}) & sys.stdlib_module_names


WATCHED_IMPORT = """
import importlib, json, os, sys

read, done, searched = set(), [], set(sys.path)

class Watched(type(os.environ)):
    def __getitem__(self, name):
        read.add(name)
        return super().__getitem__(name)

    def __contains__(self, name):
        read.add(name)
        return super().__contains__(name)

os.environ.__class__ = Watched

def watch(event, arguments):
    if event == "open" and arguments[0] in searched:
        pass  # looks for modules in a zip
    elif event == "open" and isinstance(arguments[0], (str, bytes)):
        done.append([event, os.fsdecode(arguments[0])])
    elif event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "urllib.")):
        done.append([event, ""])

sys.addaudithook(watch)
importlib.import_module(sys.argv[1])
events = list(done)
print(json.dumps({"events": events, "environment": sorted(read), "modules": sorted(sys.modules)}))
"""


def python(code: str, *arguments: str, **environment: str) -> str:
    """What a clean interpreter prints that has nothing of ours in its environment but this."""
    kept = {name: value for name, value in os.environ.items() if name not in settings_names()}
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, *arguments],
        cwd=ROOT,
        env={**kept, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def settings_names() -> set[str]:
    """The environment's names that mean something to us."""
    return {field.name.upper() for field in dataclasses.fields(config.Settings)}


def watched_import(module: str) -> dict[str, Any]:
    """What importing a module does, in a clean interpreter."""
    seen: dict[str, Any] = json.loads(python(WATCHED_IMPORT, module))
    return seen


def is_import(path: str) -> bool:
    """Whether a file was opened because a module was imported, or a package asked for its own version."""
    return Path(path).suffix in (".py", ".pyc", ".so") or Path(path).parent.suffix == ".dist-info"


@pytest.mark.parametrize("function", HANDLERS)
def test_importing_a_handler_does_nothing_else(function: str) -> None:
    seen = watched_import(f"functions.{function}.handler")
    assert f"functions.{function}.handler" in seen["modules"]
    assert [path for event, path in seen["events"] if event == "open" and not is_import(path)] == []
    assert [event for event, _ in seen["events"] if event != "open"] == []
    assert not set(seen["environment"]) & settings_names()


def test_the_watch_sees_what_an_import_must_not_do(tmp_path: Path) -> None:
    (tmp_path / "rude.py").write_text(
        "import os, socket\nos.environ.get('VALKEY_HOST')\nopen('/dev/null').close()\nsocket.socket().close()\n"
    )
    code = WATCHED_IMPORT.replace("sys.addaudithook", f"sys.path.insert(0, {str(tmp_path)!r})\nsys.addaudithook")
    seen = json.loads(python(code, "rude"))
    assert ["open", "/dev/null"] in seen["events"]
    assert "socket.__new__" in {event for event, _ in seen["events"]}
    assert "VALKEY_HOST" in seen["environment"]


def test_the_rank_function_imports_nothing_heavy() -> None:
    loaded = watched_import("functions.rank.handler")["modules"]
    assert not {name.partition(".")[0] for name in loaded} & HEAVY


FIRST_USE = """
import json
from functions.rank.handler import handler

event = {"httpMethod": "GET", "resource": "/users/{userId}/rank", "path": "/users/a/rank",
         "pathParameters": {"userId": "a"}, "requestContext": {"requestId": "1"}}
response = handler(event, None)
print(json.dumps(response["statusCode"]))
"""


def test_a_missing_setting_is_named_in_the_log_at_first_use() -> None:
    printed = python(FIRST_USE)
    assert printed.splitlines()[-1] == "500"
    assert "VALKEY_HOST" in printed


def test_a_malformed_setting_is_named_in_the_log_at_first_use() -> None:
    printed = python(FIRST_USE, VALKEY_HOST="127.0.0.1", COMMAND_SECONDS="soon")
    assert "COMMAND_SECONDS" in printed


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, "VALKEY_HOST is missing"),
        ({"VALKEY_HOST": " "}, "VALKEY_HOST is missing"),
        ({"VALKEY_HOST": "h", "VALKEY_PORT": "0"}, "VALKEY_PORT is '0'"),
        ({"VALKEY_HOST": "h", "VALKEY_PORT": "6379.0"}, "VALKEY_PORT is '6379.0'"),
        ({"VALKEY_HOST": "h", "VALKEY_TLS": "perhaps"}, "VALKEY_TLS is 'perhaps'"),
        ({"VALKEY_HOST": "h", "CONNECT_SECONDS": "nan"}, "CONNECT_SECONDS is 'nan'"),
        ({"VALKEY_HOST": "h", "COMMAND_SECONDS": "1s"}, "COMMAND_SECONDS is '1s'"),
        ({"VALKEY_HOST": "h", "DEADLINE_SECONDS": "29"}, "DEADLINE_SECONDS is '29'"),
        ({"VALKEY_HOST": "h", "SESSION_SECONDS": "0"}, "SESSION_SECONDS is '0'"),
        ({"VALKEY_HOST": "h", "SCORE_MAX": str(2**53)}, "SCORE_MAX is"),
        ({"VALKEY_HOST": "h", "SCORE_MIN": "5", "SCORE_MAX": "4"}, "SCORE_MIN .5. is above SCORE_MAX .4."),
    ],
)
def test_a_bad_setting_is_an_error_that_names_it(environ: dict[str, str], named: str) -> None:
    with pytest.raises(config.MisconfiguredError, match=named):
        config.load(environ)


def test_settings_are_read_from_the_environments_names() -> None:
    given = {"VALKEY_HOST": "h", "VALKEY_PORT": "1", "VALKEY_TLS": "TRUE", "SCORE_MIN": "-5", "COMMAND_SECONDS": "0.5"}
    settings = config.load(given)
    assert settings == config.Settings("h", 1, True, command_seconds=0.5, score_min=-5)
    assert settings.rules == (-5, 10**12, None, 86_400, 1000)


@pytest.mark.parametrize("text", ["0", "false", "no", "False", ""])
def test_a_setting_can_be_switched_off(text: str) -> None:
    assert config.load({"VALKEY_HOST": "h", "VALKEY_TLS": text}).valkey_tls is False
