"""The README says what is true: its examples are run in their order, and its tables are compared with the code."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path
from typing import Any

from shared import config
from tests import contract
from tests.conftest import Api

README = (Path(__file__).parent.parent / "README.md").read_text()
EXAMPLE = re.compile(r"```sh\n(curl .*?)```\n(?:```json\n(.*?)```)?", re.DOTALL)
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
VOLATILE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z|\b\d+ms\b")


def run(api: Api, command: str) -> Any:
    """What a curl line asks, asked of the tests' own gateway: the reply's JSON, None where it has no body."""
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
    """A reply's text with times and milliseconds made equal."""
    return VOLATILE.sub("*", text)


def test_each_example_of_the_readme_gets_the_reply_that_stands_below_it(api: Api) -> None:
    real_ids: dict[str, str] = {}
    examples = EXAMPLE.findall(README)
    assert len(examples) > 10
    for command, reply in examples:
        real = run(api, UUID.sub(lambda found: real_ids.get(found[0], found[0]), command))
        promised = json.loads(reply) if reply else None
        shown = json.dumps(promised, sort_keys=True)
        given = UUID.findall(json.dumps(real, sort_keys=True))
        real_ids.update(zip(UUID.findall(shown), given, strict=True))
        expected = UUID.sub(lambda found: real_ids[found[0]], shown)
        assert comparable(json.dumps(real, sort_keys=True)) == comparable(expected), command


def test_the_readme_has_an_example_of_every_operation() -> None:
    shown = set()
    for command, _ in EXAMPLE.findall(README):
        method = re.search(r"-X (\w+)", command.replace("-I ", "-X HEAD "))
        path = re.search(r"localhost:8080([^\s'?]*)", command)
        assert path
        operation, _ = contract.find(method[1] if method else "GET", path[1])
        assert operation, command
        shown.add(operation.id)
    assert shown == set(contract.operations())


def test_the_settings_of_the_readme_are_those_of_the_code() -> None:
    section = README.split("## Settings")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", section, re.MULTILINE))
    fields = {field.name.upper(): field.default for field in dataclasses.fields(config.Settings)}
    assert set(rows) == set(fields)
    for name, default in fields.items():
        if isinstance(default, int | float):
            assert float(rows[name]) == default, name
        elif isinstance(default, str):
            assert rows[name] == default, name
