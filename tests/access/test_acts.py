"""Acts: none without its first line, and lines that tell who did what, and nothing that is the player's."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import valkey

from scripts.admin import trail
from scripts.local import embedded_valkey, routes
from scripts.local.proxy import Context
from scripts.places import ROOT
from shared import logs, profiles
from tests.support import callers, lines
from tests.support.invoking import Invoker, event, invoker

REASON = "Impossible scores, ticket 4711"
ACTS: dict[str, tuple[str, str, Any]] = {
    "set_visibility": ("PUT", "/users/ada/visibility", {"hidden": True, "reason": REASON}),
    "correct_score": ("POST", "/users/ada/corrections", {"score": 300, "reason": REASON}),
    "update_user": ("PATCH", "/users/ada", {"username": "Zaphod B", "email": "zaphod@example.com"}),
    "export_user": ("GET", "/users/ada/export", None),
    "erase_user": ("DELETE", "/users/ada", None),
}
"""A request to each function that acts, in an order in which all succeed."""


@pytest.fixture
def handlers(server: embedded_valkey.Server, raw: valkey.Valkey) -> Iterator[Invoker]:
    """The functions where access is protected, and a player called ada."""
    with invoker(server.port, access="protected") as invoke:
        body = {"userId": "ada", "username": "Ada L", "email": "ada@example.com", "score": 900}
        assert invoke("create_user", "POST", "/users", json_body=body).status == 201
        yield invoke


def act(handlers: Invoker, function: str) -> int:
    """The status of the request, by an administrator whose identity provider knows an address."""
    method, path, body = ACTS[function]
    caller = callers.vouched("admin", "carol@example.com")
    return handlers(function, method, path, json_body=body, authorizer=caller).status


def told(logged: lines.Lines) -> list[dict[str, Any]]:
    return [line for line in logged.kept or [] if line.get("event") == "audit"]


def test_each_act_has_a_line_before_and_a_line_after_it(handlers: Invoker, logged: lines.Lines) -> None:
    for function in ACTS:
        logged.kept = []
        assert act(handlers, function) in (200, 201, 204), function
        began, ended = told(logged)
        assert (began["message"], ended["message"]) == ("act began", "act ended")
        who = {name: began[name] for name in ("userId", "issuer", "subject", "scope", "reason")}
        reason = REASON if function in ("set_visibility", "correct_score") else None
        assert who == {
            "userId": "ada",
            "issuer": callers.ISSUER,
            "subject": "carol",
            "scope": "admin",
            "reason": reason,
        }
        assert began.items() - {("message", "act began"), ("timestamp", began["timestamp"])} <= ended.items()
        assert ended["before"] or ended["after"]
        assert (ended["outcome"], ended["code"]) == ("ok", None)
        assert not {"Zaphod B", "Ada L"} & {str(value) for line in (began, ended) for value in line.values()}


def test_an_act_whose_first_line_cannot_be_written_is_not_done(
    handlers: Invoker, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard output is full or gone: it fails at once, and the answer is a fault of ours."""
    put, before = logs.put, raw.dump(profiles.profile_key("ada"))

    def failing(line: dict[str, Any]) -> None:
        if line["message"] == "act began":
            raise OSError
        put(line)

    monkeypatch.setattr(logs, "put", failing)
    for function, (method, path, body) in ACTS.items():
        handler = importlib.import_module(f"functions.{function}.handler").handler
        asked = event(method, path, json_body=body, authorizer=callers.vouched("admin", "carol"))
        assert handlers.run(lambda handler=handler, asked=asked: handler(asked, Context()))["statusCode"] == 500
    assert raw.dump(profiles.profile_key("ada")) == before


def test_an_act_that_valkey_did_not_answer_is_told_as_one_that_nobody_knows(
    logged: lines.Lines,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with invoker(unused.getsockname()[1], access="protected") as away:
            logged.kept = []
            assert act(away, "set_visibility") == 503
    _, ended = told(logged)
    assert (ended["outcome"], ended["code"], ended["after"]) == ("unavailable", "unavailable", None)


def test_what_is_refused_before_it_begins_is_no_act(handlers: Invoker, logged: lines.Lines) -> None:
    logged.kept = []
    path = "/users/ada/visibility"
    for scope, body, status in (
        ("admin", {"hidden": True}, 400),
        ("admin", {"hidden": True, "reason": "was bob@example.com"}, 400),
        ("server", {"hidden": True, "reason": REASON}, 403),
    ):
        caller = callers.vouched(scope, "carol")
        assert handlers("set_visibility", "PUT", path, json_body=body, authorizer=caller).status == status
    assert told(logged) == []


def test_the_functions_that_act_are_those_whose_logs_are_the_audit() -> None:
    recording = {
        path.parent.name for path in ROOT.glob("functions/*/handler.py") if "acts.recorded" in path.read_text()
    }
    assert recording == {*trail.FUNCTIONS} == {*ACTS}
    roles = {
        item[method]["operationId"]: item[method].get("x-cache-role")
        for item in routes.contract()["paths"].values()
        for method in routes.METHODS
        if method in item
    }
    assert recording == {operation for operation, role in roles.items() if role == "people"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"reason": "was bob@example.com"},
        {"reason": "two\nlines"},
        {"reason": "x" * 201},
        {"before": {"username": "Ada L"}},
        {"after": {"ada@example.com": 1}},
        {"subject": "ada@example.com"},
        {"act": "robbed"},
        {"message": "request answered"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_the_guard_of_all_logs_finds_what_an_act_may_not_tell(wrong: dict[str, Any]) -> None:
    line = {
        "timestamp": "2026-11-28T10:00:00.5Z",
        "level": "INFO",
        "message": "act ended",
        "event": "audit",
        "act": "hide",
        "userId": "ada",
        "issuer": "leaderboard-dev",
        "subject": "carol",
        "scope": "admin",
        "tokenId": None,
        "reason": REASON,
        "before": None,
        "after": {"hidden": True},
        "code": None,
        "outcome": "ok",
    }
    assert lines.faults(line) == []
    assert lines.faults(line | wrong) != []
