"""The documents are true: their examples are run in order, their tables are compared with the code, and whatever they
name - a link, a file, a target, a variable - is there."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.local import demo
from scripts.places import ROOT
from shared import config, deadline, security
from shared.store import store
from tests.support import contract, lines
from tests.support.api import Api
from tests.support.guarded import Guarded

MADE = re.compile(r"\.|node_modules$|build$|__pycache__$")
"""The beginnings of names in which there is nothing of ours."""


def files(folder: Path = ROOT) -> Iterator[Path]:
    """All our files."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not MADE.match(path.name):
            yield from files(path)
        elif path.is_file():
            yield path


FILES = [*files()]
DOCUMENTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in FILES if path.suffix == ".md"}
README, API, OPERATIONS = DOCUMENTS["README.md"], DOCUMENTS["docs/api.md"], DOCUMENTS["docs/operations.md"]
CONTRIBUTING, SECURITY = DOCUMENTS["CONTRIBUTING.md"], DOCUMENTS["docs/security.md"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))

every_document = pytest.mark.parametrize("name", DOCUMENTS)

# Examples

EXAMPLE = re.compile(r"```sh\n(curl .*?)```\n(?:```json\n(.*?)```)?", re.DOTALL)
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
VOLATILE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z|\b\d+ms\b|\beyJ[\w-]+\.[\w-]+\.[\w-]+")
PROTECTED = "Where access is protected"
CALLERS: dict[str, tuple[config.Scope, str]] = {
    "$SERVER": ("server", "backend"),
    "$PLAYER": ("player", "ada"),
    "$ADMIN": ("admin", "grace"),
}
"""Whose tokens these names stand for in an example."""


def run(api: Api, command: str) -> Any:
    """Asks the tests' own gateway what a curl line asks: the reply's JSON, None if it has no body."""
    curl, *arguments = shlex.split(command.replace("\\\n", " "))
    assert curl == "curl"
    method, headers, body, url = "GET", {}, None, ""
    while arguments:
        argument = arguments.pop(0)
        if argument == "-X":
            method = arguments.pop(0)
        elif argument == "-I":
            method = "HEAD"
        elif argument == "-H":
            name, _, value = arguments.pop(0).partition(": ")
            headers[name] = value
        elif argument == "-d":
            body = arguments.pop(0)
        else:
            url = argument
    assert url.startswith("localhost:8080/"), url
    response = api.request(method, url.removeprefix("localhost:8080"), headers=headers, content=body)
    return response.json() if response.content else None


def comparable(text: str) -> str:
    """A reply's text, with all times, milliseconds and tokens made the same."""
    return VOLATILE.sub("*", text)


def check_examples(api: Api, document: str) -> int:
    """Runs a document's examples in order, and asserts that each gets the reply below it; returns their number."""
    real_ids: dict[str, str] = {}
    examples = EXAMPLE.findall(document)
    for command, reply in examples:
        real = run(api, UUID.sub(lambda found: real_ids.get(found[0], found[0]), command))
        promised = json.loads(reply) if reply else None
        shown = json.dumps(promised, sort_keys=True)
        found_ids = UUID.findall(json.dumps(real, sort_keys=True))
        real_ids.update(zip(UUID.findall(shown), found_ids, strict=True))
        expected = UUID.sub(lambda found: real_ids[found[0]], shown)
        assert comparable(json.dumps(real, sort_keys=True)) == comparable(expected), command
    return len(examples)


PROTECTED = "Where access is protected"


def test_each_example_of_the_api_gets_the_reply_that_stands_below_it(api: Api) -> None:
    assert check_examples(api, API.replace(section(API, PROTECTED), "")) > 10


def test_so_does_each_that_takes_a_token(guarded: Guarded) -> None:
    examples = section(API, PROTECTED)
    for name, (scope, subject) in CALLERS.items():
        examples = examples.replace(
            f"Authorization: Bearer {name}'", f"Authorization: {guarded.bearer(scope, subject)['Authorization']}'"
        )
    api = Api(guarded.base_url)
    assert check_examples(api, examples) > 2
    api.close()


def test_the_quick_start_gets_its_reply_on_the_demo_players(api: Api) -> None:
    deadline.start(math.inf)  # the time of this thread's last request may be up
    demo.fill(store(), config.settings().rules)
    assert check_examples(api, README) == 1


def test_there_is_an_example_of_every_operation() -> None:
    shown = set()
    for command, _ in EXAMPLE.findall(API):
        method = re.search(r"-X (\w+)", command.replace("-I ", "-X HEAD "))
        path = re.search(r"localhost:8080([^\s'?]*)", command)
        assert path
        operation, _ = contract.find(method[1] if method else "GET", path[1])
        assert operation, command
        shown.add(operation.id)
    assert shown == set(contract.operations())


def test_the_keys_of_examples_are_uuids_as_clients_should_send() -> None:
    keys = re.findall(r"Idempotency-Key: ([^'\"]*)", "".join(command for command, _ in EXAMPLE.findall(API)))
    assert keys
    assert [key for key in keys if not UUID.fullmatch(key)] == []


@every_document
def test_an_example_stands_in_a_document_that_runs_it(name: str) -> None:
    assert name in ("README.md", "docs/api.md") or not EXAMPLE.search(DOCUMENTS[name])


# Tables


def section(document: str, heading: str) -> str:
    """The text below a heading of the second level."""
    parts = document.split(f"\n## {heading}\n")
    assert len(parts) == 2, heading
    return parts[1].split("\n## ")[0]


def test_the_settings_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", section(OPERATIONS, "Settings"), re.MULTILINE))
    fields = {field.name.upper(): field.default for field in dataclasses.fields(config.Settings)}
    assert set(rows) == set(fields)
    for name, default in fields.items():
        if isinstance(default, int | float):
            assert float(rows[name]) == default, name
        elif isinstance(default, str):
            assert rows[name] == default, name
        elif isinstance(default, tuple):
            assert rows[name] == (",".join(default) or "none"), name


def test_the_security_events_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", section(OPERATIONS, "Security events"), re.MULTILINE)
    assert [kind for kind, _ in rows] == [*security.KINDS]
    assert dict(rows) == security.LEVELS


def test_the_outcomes_of_a_request_are_those_of_the_code() -> None:
    (cell,) = re.findall(r"^\| `outcome` \| (.*) \|$", section(OPERATIONS, "Logs"), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", cell)) == lines.OUTCOMES


def test_the_variables_of_the_targets_are_read_somewhere() -> None:
    """Either by the Makefile, or by a script, which finds them in its environment."""
    table = section(OPERATIONS, "Variables of the make targets")
    cells = re.findall(r"^\|[^|]*\|([^|]*)\|", table, re.MULTILINE)
    variables = {word for cell in cells for word in re.findall(r"\b[A-Z][A-Z_]+\b", cell)}
    code = MAKEFILE + "".join(path.read_text() for path in files(ROOT / "scripts") if path.suffix == ".py")
    settings = {field.name.upper() for field in dataclasses.fields(config.Settings)}
    assert len(variables) > 10
    for name in variables - settings:
        assert re.search(rf'"{name}"|\$\({name}\)|^{name} =', code, re.MULTILINE), name


def test_every_tier_of_tests_has_its_row() -> None:
    rows = re.findall(r"^\| `make ([\w-]+)` \| [^|]+ \| [^|]+ \|", section(CONTRIBUTING, "The tests"), re.MULTILINE)
    assert {*rows, "test-long"} == {target for target in TARGETS if target.startswith("test")}
    run = {*re.findall(r"make (test[\w-]*)", (ROOT / ".ci" / "run").read_text())}
    assert set(rows) - {"test-browser"} < run | {"all"}, "a browser is not everywhere"


def test_the_layout_names_all_that_stands_at_the_top_and_is_code() -> None:
    rows = "".join(re.findall(r"^\| (`[^|]+`) \|", section(README, "Layout"), re.MULTILINE))
    named = {name.rstrip("/") for name in re.findall(r"`([^`]+)`", rows)}
    top = {path.relative_to(ROOT).parts[0] for path in FILES}
    assert named == {name for name in top if not name.startswith(".") and not name.endswith(".md")} - {"LICENSE"}


def test_the_readme_leads_to_every_document() -> None:
    """Those of the modules by way of terraform/README.md."""
    linked = {target.partition("#")[0] for _, target in links(README)}
    linked |= {f"terraform/{target.partition('#')[0]}" for _, target in links(DOCUMENTS["terraform/README.md"])}
    assert set(DOCUMENTS) - {"README.md"} <= linked


def test_the_readme_is_read_to_its_end() -> None:
    assert len(README.splitlines()) <= 150


def test_decisions_stand_in_the_order_of_their_dates() -> None:
    dates = re.findall(r"^## (.*)$", DOCUMENTS["docs/decisions.md"], re.MULTILINE)
    assert len(dates) > 1
    assert dates == sorted(set(dates))
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for date in dates)


def test_the_version_is_everywhere_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert contract.document()["info"]["version"] == project
    released = re.findall(r"^## \[(\d[^\]]*)\]", DOCUMENTS["CHANGELOG.md"], re.MULTILINE)
    assert released[:1] in ([], [project])


# What is named

LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def links(document: str) -> list[tuple[str, str]]:
    """The text and target of each link; those in code do not count."""
    return LINK.findall(re.sub(r"`[^`\n]*`(?!\])", "", CODE_BLOCK.sub("", document)))


def anchors(document: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", CODE_BLOCK.sub("", document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(name: str, document: str) -> list[str]:
    """The links of a document that lead nowhere."""
    dead = []
    for _, target in links(document):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        found = (ROOT / name).parent.joinpath(path).resolve() if path else ROOT / name
        text = DOCUMENTS.get(str(found.relative_to(ROOT)), "") if found.is_relative_to(ROOT) else ""
        if not found.exists() or (anchor and anchor not in anchors(text)):
            dead.append(target)
    return dead


@every_document
def test_every_link_leads_somewhere(name: str) -> None:
    assert dead_links(name, DOCUMENTS[name]) == []


@pytest.mark.parametrize(
    "target", ["gone.md", "#gone", "terraform/README.md#gone", "docs/api.md#-players", "../api.md"]
)
def test_a_link_that_leads_nowhere_is_found(target: str) -> None:
    assert dead_links("README.md", f"See [this]({target}), and [that](docs/api.md#players).") == [target]


SUFFIXES = "py|pyi|tf|hcl|tfvars|md|lua|ya?ml|toml|lock|mts|json"
PATH = re.compile(rf"(?<![\w/.:*-])((?:[\w.*<>-]+/)+(?:[\w.*<>-]+)?|[\w*-][\w.*-]*\.(?:{SUFFIXES}))(?![\w/(-])")
FIRST = {path.relative_to(ROOT).parts[0] for path in FILES}


def missing_files(name: str, document: str) -> list[str]:
    """The files and folders that a document names, seen from the root or its own folder, but that are not there."""
    folder = (ROOT / name).parent
    bases = (ROOT, folder, *(ROOT / base for base in ("locks", "shared", "functions", "terraform")))
    missing = []
    named = PATH.findall(re.sub(r"https?://\S+|\]\([^)]*\)", "", document))
    for path in (each.rstrip(".") for each in named):
        first, inner, _ = path.partition("/")
        if first == ".." or (inner and first not in FIRST and not (folder / first).exists()):
            continue  # seen from a folder that a command has entered, or application/json
        pattern = re.sub(r"<\w+>", "*", path).rstrip("/")
        if path not in MADE_BY_COMMANDS and not any(any(base.glob(pattern)) for base in bases):
            missing.append(path)
    return missing


MADE_BY_COMMANDS = {
    "terraform/backend.hcl",
    "backend.hcl",
    "localstack_providers_override.tf",
    "environments/<environment>.backend.hcl",
    "environments/prod.backend.hcl",
    "prod.tfplan.json",
}
"""Named with the command that makes it, or that reads what somebody has written."""


@every_document
def test_every_file_that_is_named_is_there(name: str) -> None:
    assert missing_files(name, DOCUMENTS[name]) == []


@pytest.mark.parametrize("path", ["tests/test_gone.py", "shared/lua/gone.lua", "gone.md", "docs/gone/", "scripts/gone"])
def test_a_file_that_is_gone_is_found(path: str) -> None:
    text = (
        f"Not `{path}`, but `tests/tooling/test_docs.py`, `functions/<name>/handler.py`, `*.lock` and application/json."
    )
    assert missing_files("README.md", text) == [path]


TEST = re.compile(r"(tests/[\w/]+\.py)::(?:Test\w+::)?(test_\w+)")


def missing_tests(document: str) -> list[str]:
    """The tests that a document names, but that are not in their file."""
    return [
        f"{path}::{name}"
        for path, name in TEST.findall(document)
        if not (ROOT / path).exists() or not re.search(rf"^ *def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
    ]


@every_document
def test_every_test_that_is_named_is_there(name: str) -> None:
    assert missing_tests(DOCUMENTS[name]) == []


def test_a_test_that_is_gone_is_found() -> None:
    gone = ["tests/tooling/test_docs.py::test_gone", "tests/gone.py::test_a_test_that_is_gone_is_found"]
    there = "tests/tooling/test_docs.py::test_a_test_that_is_gone_is_found"
    assert missing_tests(f"- `{gone[0]}`\n- `{there}`, `{gone[1]}`") == gone


def test_every_threat_has_a_test_that_shows_what_holds_it() -> None:
    """OWASP's ten of 2023, each with a test."""
    parts = re.split(r"^### (API\d+): .*$", section(SECURITY, "Threats"), flags=re.MULTILINE)
    named = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert [*named] == [f"API{number}" for number in range(1, 11)]
    assert [threat for threat, text in named.items() if not TEST.search(text)] == []


def unknown_targets(document: str) -> set[str]:
    """The targets of make that a document names in code, but that the Makefile does not have."""
    code = [*CODE_BLOCK.findall(document), *re.findall(r"`([^`\n]+)`", CODE_BLOCK.sub("", document))]
    commands = [command for text in code for command in re.findall(r"(?:^|\s|;)make +([^#`\n]*)", text)]
    targets = {word for command in commands for word in command.split()[:1] if re.fullmatch(r"[a-z][a-z-]*", word)}
    return targets - TARGETS


@every_document
def test_every_target_that_is_named_is_one_of_make(name: str) -> None:
    assert unknown_targets(DOCUMENTS[name]) == set()


def test_a_target_that_is_gone_is_found() -> None:
    assert unknown_targets("`make gone ENV=dev`, `RESUME=1 make lost`, `make run`\n```\nmake away  # x\n```\n") == {
        "gone",
        "lost",
        "away",
    }
