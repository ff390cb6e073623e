"""What may import what, and that an import does nothing but import."""

from __future__ import annotations

import ast
import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from scripts.places import ROOT
from shared import config
from tests.support.invoking import event
from tests.tooling.sources import modules

OURS = ("functions", "scripts", "shared", "tests")

MAY_IMPORT = {
    "clock": set(),
    "config": set(),
    "deadline": set(),
    "logs": set(),
    "problems": set(),
    "fields": {"config", "problems"},
    "idempotency": set(),
    "operations": set(),
    "access": {"config", "fields", "operations", "problems"},
    "acts": {"access", "logs", "problems"},
    "endpoint": {
        *("access", "config", "deadline", "fields", "idempotency", "logs", "problems"),
        *("security", "telemetry", "tracing"),
    },
    "security": {"logs", "telemetry"},
    "tokens": {"config", "problems"},
    "telemetry": {"config", "logs"},
    "tracing": {"config", "logs"},
    "credentials": {"config"},
    "store": {"config", "credentials", "deadline", "logs", "problems", "security", "telemetry", "tracing"},
    "reconcile": {"activity", "audit", "deadline", "outbox", "projections", "statistics", "store", "sweeps"},
}
"""What a module of the layer may import from the layer. Modules that are not named here hold data: the next rule is
theirs."""

UNKNOWN_TO_DATA = {"access", "deadline", "endpoint", "fields", "operations"}
"""Data modules know neither HTTP nor events; of config they know only constants."""

SETTINGS_READERS = {"load", "settings", "Settings"}

HEAVY = {"boto3", "botocore", "aws_xray_sdk"}

LAMBDAS_OWN = "AWS_LAMBDA_INITIALIZATION_TYPE"
"""Where this says that a Lambda environment will serve requests, and there alone, an import connects:
tests/connection/test_init.py."""

HANDLERS = sorted(path.parent.name for path in ROOT.glob("functions/*/handler.py"))


def imported(tree: ast.AST) -> set[str]:
    """The full names of everything that a file imports, anywhere in it: `shared.config.settings`, `os`."""
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


ROOMS = sorted(path.parent.name for path in ROOT.glob("tests/*/__init__.py") if path.parent.name != "support")

COMMON = ("shared", *(f"scripts.{name}" for name in ("children", "interpreters", "places", "refusal", "signals")))
BELOW_TESTS = {"shared", "functions", "scripts"}

ARROWS = {
    **{name: set() for name in COMMON},
    "shared": {"shared"},
    "functions": {"shared"},
    "functions.authorizer": {"functions.authorizer", "shared"},
    "scripts.cloudwatch": {"scripts.cloudwatch", *COMMON},
    "scripts.local": {"scripts.local", "scripts.cloudwatch", "functions", *COMMON},
    "scripts.dev.bootstrap": set(),
    "scripts.aws": {"scripts.aws", "scripts.dev.bootstrap", *COMMON},
    "scripts.aws.live_checks": {"scripts.aws", "scripts.local.examples", *COMMON},
    "scripts.dev": {"scripts.dev", "scripts.aws", *COMMON},
    "scripts.emulator": {"scripts.emulator", "scripts.aws", "scripts.cloudwatch", "scripts.local", *COMMON},
    "scripts.bench": {"scripts.bench", "scripts.local", *COMMON},
    "scripts.run": {"scripts.local", *COMMON},
    "scripts.rebuild": {"scripts.aws", "scripts.local", *COMMON},
    "scripts.admin": {"scripts.admin", "scripts.aws", "scripts.emulator", "scripts.local", "scripts.tokens", *COMMON},
    "scripts.tokens": {"scripts.aws", "scripts.emulator", "scripts.local", *COMMON},
    "tests.support": {"tests.support", *BELOW_TESTS},
    "tests.conftest": {"tests.support", *BELOW_TESTS},
    **{f"tests.{room}": {f"tests.{room}", "tests.support", *BELOW_TESTS} for room in ROOMS},
}
"""What a module, or everything in a folder, may import from us; if several names fit, the longest counts. bootstrap
runs alone, before anything is installed."""


def is_within(name: str, parts: Iterable[str]) -> str:
    """The longest of the modules and folders that a name belongs to, '' if it belongs to none."""
    return max((part for part in parts if f"{name}.".startswith(f"{part}.")), key=len, default="")


def wrong_arrows(module: str, tree: ast.AST) -> list[str]:
    """What a module imports from us and should not."""
    allowed = ARROWS[is_within(module, ARROWS)]
    ours = {name for name in imported(tree) if name.partition(".")[0] in OURS}
    return sorted(name for name in ours if not is_within(name, allowed) or is_a_test(name))


def is_a_test(name: str) -> bool:
    """Whether a name belongs to a test module or a conftest, from which nobody imports."""
    return any(part.startswith("test_") or part == "conftest" for part in name.split("."))


NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}


def is_private(name: Any) -> bool:
    """Whether a name is private to its module."""
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLES


def private_names(tree: ast.AST) -> list[str]:
    """The private names of our other modules that a module imports, reads, or replaces by `setattr`."""
    found, names = [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in OURS:
            found += [alias.name for alias in node.names if is_private(alias.name)]
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            ours = [alias for alias in node.names if alias.name.partition(".")[0] in OURS]
            names |= {alias.asname or alias.name.partition(".")[0] for alias in ours}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and root_of(node) in names:
            found.append(ast.unparse(node))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "setattr":
            replaced = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            found += [text for text in replaced if is_private(text) and root_of(node.args[0]) in names]
    return found


def root_of(node: ast.AST) -> str:
    """The name with which a chain of attributes begins: `a` of `a.b.c`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


@functools.cache
def parsed() -> dict[str, ast.Module]:
    """All our modules, by name."""
    return {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): tree
        for folder in OURS
        for path, tree in modules(folder)
        if path != "tests/__init__.py"
    }


@pytest.mark.parametrize("area", ARROWS)
def test_arrows_run_one_way(area: str) -> None:
    within = {module: tree for module, tree in parsed().items() if is_within(module, ARROWS) == area}
    assert within
    assert {module: found for module, tree in within.items() if (found := wrong_arrows(module, tree))} == {}


def test_every_module_is_in_an_area() -> None:
    assert [module for module in parsed() if not is_within(module, ARROWS)] == []


@pytest.mark.parametrize("folder", OURS)
def test_nobody_uses_a_private_name_of_another_module(folder: str) -> None:
    within = {module: tree for module, tree in parsed().items() if module.partition(".")[0] == folder}
    assert {module: found for module, tree in within.items() if (found := private_names(tree))} == {}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("shared.board", "from functions.rank import handler"),
        ("shared.board", "import tests.support.api"),
        ("functions.rank.handler", "from functions.stats import handler"),
        ("scripts.children", "from scripts import signals"),
        ("scripts.local.api", "from scripts.aws import build"),
        ("scripts.local.api", "from scripts import rebuild"),
        ("scripts.dev.bootstrap", "from scripts.dev import lock"),
        ("scripts.aws.build", "from scripts.local import api"),
        ("scripts.aws.build", "from scripts.dev import lock"),
        ("scripts.dev.lock", "from scripts.emulator import emulate"),
        ("scripts.emulator.emulate", "from scripts.bench import handlers"),
        ("scripts.bench.handlers", "from scripts.aws import build"),
        ("scripts.run", "from scripts.aws import build"),
        ("scripts.rebuild", "from scripts.emulator import emulate"),
        ("scripts.local.demo", "from tests.support import api"),
        ("tests.support.api", "from tests.terraform import plans"),
        ("tests.conftest", "from tests.terraform.plans import tree"),
        ("tests.api.test_ties", "def later():\n    from tests.write_path.model import search"),
        ("tests.api.test_ties", "from tests.api.test_numbers import everything"),
        ("tests.api.test_ties", "from tests.api import test_numbers"),
        ("tests.api.test_ties", "import tests.api.test_numbers"),
        ("tests.emulated.test_run", "from tests.emulated.conftest import timed"),
        ("tests.support.api", "from tests.conftest import Api"),
    ],
)
def test_an_arrow_the_other_way_is_found(module: str, source: str) -> None:
    assert wrong_arrows(module, ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "from shared.store import _tls",
        "from shared.store import _tls as tls",
        "from shared import store\nstore._tls(None)",
        "import shared.store\nshared.store._tls(None)",
        "import shared.store as other\nother._tls(None)",
        "from shared import store as other\nother.Store._trip = None",
        "from shared import store\npatch.setattr(store, '_tls', None)",
        "from shared import store\npatch.setattr(store.Store, '_trip', None)",
    ],
)
def test_a_private_name_is_found(source: str) -> None:
    assert private_names(ast.parse(source))


def test_names_of_ones_own_and_of_others_are_nobodys_business() -> None:
    source = """
from functions.rank import handler as _handler
from shared.config import AwsCredentials
from pip._vendor import packaging
import os

self._own = AwsCredentials._fields + packaging._others
patch.setattr(self, "_own", os._exit)
"""
    assert private_names(ast.parse(source)) == []


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
    kept = {name: value for name, value in os.environ.items() if name not in {*settings_names(), LAMBDAS_OWN}}
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
    """The names in the environment that mean something to us."""
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


def test_the_local_api_knows_nothing_of_cryptography_until_access_is_protected() -> None:
    loaded = {*watched_import("scripts.local.api")["modules"]}
    assert not loaded & {"cryptography.hazmat", "jwt", *HEAVY}


def test_one_module_knows_the_sdk_that_writes_traces() -> None:
    ours = {**LAYER, **{path: imported(tree) for path, tree in modules("functions")}}
    assert [module for module, names in ours.items() if "aws_xray_sdk" in str(names)] == ["tracing"]


FIRST_USE = """
import json, sys
from functions.rank.handler import handler

response = handler(json.loads(sys.argv[1]), None)
print(json.dumps(response["statusCode"]))
"""
RANK = json.dumps(event("GET", "/users/a/rank"))


def test_a_missing_setting_is_named_in_the_log_at_first_use() -> None:
    printed = python(FIRST_USE, RANK)
    assert printed.splitlines()[-1] == "500"
    assert "VALKEY_HOST" in printed


def test_a_malformed_setting_is_named_in_the_log_at_first_use() -> None:
    printed = python(FIRST_USE, RANK, VALKEY_HOST="127.0.0.1", COMMAND_SECONDS="soon")
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
    values = {"VALKEY_HOST": "h", "VALKEY_PORT": "1", "VALKEY_TLS": "TRUE", "SCORE_MIN": "-5", "COMMAND_SECONDS": "0.5"}
    settings = config.load(values)
    assert settings == config.Settings("h", 1, True, command_seconds=0.5, score_min=-5)
    assert settings.rules == (-5, 10**12, None, 86_400, 1000, (0, 1))


@pytest.mark.parametrize("text", ["0", "false", "no", "False", ""])
def test_a_setting_can_be_switched_off(text: str) -> None:
    assert config.load({"VALKEY_HOST": "h", "VALKEY_TLS": text}).valkey_tls is False
