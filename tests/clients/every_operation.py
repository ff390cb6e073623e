"""Asks for every operation once with the client generated from the contract: a new one needs nothing here.

Runs beside program.py, in the same way. Arguments: the API's URL, a JSON list of the contract's examples, each with the
headers of somebody who may have it.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
import typing
from typing import Any

from leaderboard_client import Client
from program import opened


def ask(client: Client, example: dict[str, Any]) -> None:
    """Asks for one operation, by the names that the generator makes from the contract's."""
    name = example["operation_id"].replace(".", "_")
    function = importlib.import_module(f"leaderboard_client.api.{example['tag']}.{name}").sync_detailed
    known = inspect.signature(function).parameters
    sent = {**example["parameters"], **example["query"]}
    arguments = {python_name(name, known): value for name, value in sent.items()}
    if example["body"] is not None:
        arguments["body"] = model(function).from_dict(example["body"])
    client.get_httpx_client().headers.update(example["headers"])
    reply = function(client=client, **arguments)
    assert reply.status_code == example["status"], reply
    assert reply.parsed is not None or not reply.content, reply


def python_name(name: str, known: typing.Container[str]) -> str:
    """The generator's name for a parameter."""
    snake = re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name)
    return snake if snake in known else f"{snake}_"


def model(function: Any) -> Any:
    """The class of a function's body."""
    kind = typing.get_type_hints(function)["body"]
    (found,) = (part for part in typing.get_args(kind) or (kind,) if hasattr(part, "from_dict"))
    return found


if __name__ == "__main__":
    with opened(sys.argv[1]) as client:
        for example in json.loads(sys.argv[2]):
            ask(client, example)
