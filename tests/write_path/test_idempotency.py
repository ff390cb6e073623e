"""Idempotency keys, operators and receipts: what a request does, and what it does when it comes again."""

from __future__ import annotations

import base64
import functools
import importlib
import json
import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import valkey

from scripts.local import embedded_valkey
from scripts.local import gateway as local_gateway
from shared import config
from shared.endpoint import endpoint
from shared.store import Store
from tests.support import contract, invariants
from tests.support.api import Api
from tests.support.invariants import everything
from tests.support.invoking import Answer, event, race

KEY = "7b0c6a1e-5d1f-4f6a-9a55-0c3e2c7b9d41"
FACTS = ("submissionId", "operator", "applied", "previousScore", "score", "delta")
RACERS = 16

Request = tuple[str, str, dict[str, Any]]

REQUESTS: dict[str, Request] = {
    "creation": ("POST", "/users", {"username": "New", "email": "new@example.com", "score": 5}),
    "creation with an id": ("POST", "/users", {"username": "New", "email": "new@example.com", "userId": "new"}),
    "submission": ("PUT", "/users/ada/score", {"score": 7, "operator": "increment"}),
    "session": ("POST", "/sessions", {"userId": "ada", "sessionData": {"map": "harbour", "size": 3}}),
}
"""What takes a key, each as method, path and body."""

OTHERS: dict[str, list[dict[str, Any]]] = {
    "creation": [
        {"username": "New", "email": "new@example.com", "score": 6},
        {"username": "New", "email": "new@example.com", "score": 0},
        {"username": "New", "email": "new@example.com"},
        {"username": "Newer", "email": "new@example.com", "score": 5},
        {"username": "New", "email": "newer@example.com", "score": 5},
    ],
    "creation with an id": [
        {"username": "New", "email": "new@example.com", "userId": "new", "score": 1},
        {"username": "Newer", "email": "new@example.com", "userId": "new"},
    ],
    "submission": [
        {"score": 8, "operator": "increment"},
        {"score": 7},
        {"score": 7, "operator": "decrement"},
        {"score": 7, "operator": "increment", "gameData": {}},
        {"score": 7, "operator": "increment", "gameData": {"map": "harbour"}},
    ],
    "session": [
        {"userId": "ada"},
        {"userId": "bob", "sessionData": {"map": "harbour", "size": 3}},
        {"userId": "ada", "sessionData": {"map": "harbour", "size": 3.5}},
        {"userId": "ada", "sessionData": {"map": "harbour", "size": "3"}},
        {"userId": "ada", "sessionData": {"map": "harbour", "size": True}},
        {"userId": "ada", "sessionData": {"map": "harbour", "size": 3, "more": None}},
    ],
}
"""Other payloads for the same player or session."""

EACH = pytest.mark.parametrize("name", REQUESTS)


@pytest.fixture(autouse=True)
def players(api: Api) -> None:
    """Three players who are there from the start."""
    api.create(userId="ada", score=100)
    api.create(userId="bob", score=200)
    api.create(userId="eve", score=50)


@pytest.fixture
def configure() -> Iterator[Callable[..., None]]:
    """`configure(score_min=-5)`: changes settings for the rest of the test; the gateway runs in this process."""
    with pytest.MonkeyPatch.context() as patch:

        def set_them(**settings: object) -> None:
            for name, value in settings.items():
                patch.setenv(name.upper(), str(value))
            config.settings.cache_clear()

        yield set_them
    config.settings.cache_clear()


def send(api: Api, request: Request, key: str | None = KEY) -> httpx.Response:
    """The reply to a request with a key, or with none."""
    method, path, body = request
    return api.request(method, path, json=body, headers={} if key is None else {"Idempotency-Key": key})


def facts(reply: httpx.Response | Answer) -> Any:
    """What a replay must repeat of the first 2xx."""
    value = reply.json()
    if "receipt" in value:
        return value["user"]["userId"], {name: value["receipt"][name] for name in FACTS}
    return value.get("session") or (value["user"]["userId"], value["user"]["createdAt"])


def replayed(reply: httpx.Response | Answer) -> bool:
    """Whether a reply says that an earlier one had done the work."""
    headers = {name.lower(): value for name, value in reply.headers.items()}
    assert headers.get("idempotency-replayed", "true") == "true"
    return "idempotency-replayed" in headers


def keys(raw: valkey.Valkey, pattern: str) -> list[str]:
    return sorted(raw.scan_iter(pattern, count=1000))


# The same key and payload


@EACH
def test_the_same_key_and_payload_have_the_first_reply_again(api: Api, raw: valkey.Valkey, name: str) -> None:
    first = send(api, REQUESTS[name])
    assert first.is_success
    assert not replayed(first)
    before = everything(raw)
    for _ in range(3):
        again = send(api, REQUESTS[name])
        assert again.status_code == first.status_code
        assert facts(again) == facts(first)
        assert replayed(again)
    assert everything(raw) == before, "nothing has changed, no intent is left behind"
    invariants.settle(raw)


@EACH
def test_without_a_key_each_request_is_one_of_its_own(api: Api, name: str) -> None:
    first, second = (send(api, REQUESTS[name], key=None) for _ in range(2))
    assert first.is_success
    if name == "creation with an id":
        assert second.status_code == 409
        return
    assert second.status_code == first.status_code
    assert facts(second) != facts(first)
    assert not replayed(first)
    assert not replayed(second)


def test_two_keys_are_two_submissions(api: Api) -> None:
    first, second = (send(api, REQUESTS["submission"], key) for key in (KEY, KEY[:-1]))
    assert (facts(first)[1]["score"], facts(second)[1]["score"]) == (107, 114)
    assert second.json()["user"]["gamesPlayed"] == 2


def test_keys_differ_in_case_and_may_hold_any_visible_character(api: Api) -> None:
    visible = "".join(map(chr, range(0x21, 0x7F)))
    for number, key in enumerate(["a", "A", "a" * 255, "a" * 254, visible, '"a"'], 1):
        reply = send(api, REQUESTS["submission"], key)
        assert (reply.json()["user"]["gamesPlayed"], replayed(reply)) == (number, False)
        reply = send(api, REQUESTS["submission"], key)
        assert (reply.json()["user"]["gamesPlayed"], replayed(reply)) == (number, True)


def test_a_replay_tells_the_rank_of_now_and_no_previous_one(api: Api) -> None:
    request = ("PUT", "/users/ada/score", {"score": 250})
    first = send(api, request).json()["receipt"]
    assert (first["previousRank"], first["rank"], first["totalPlayers"], first["next"]) == (2, 1, 3, None)
    assert api.put("/users/bob/score", json={"score": 300}).status_code == 200
    api.create(userId="kim", score=260)
    again = send(api, request).json()["receipt"]
    assert {name: again[name] for name in FACTS} == {name: first[name] for name in FACTS}
    assert (again["previousRank"], again["rank"], again["totalPlayers"]) == (None, 3, 4)
    assert (again["percentile"], again["next"]) == (50, {"score": 261, "points": 11})


def test_a_replay_shows_the_player_of_now_beside_the_facts_of_then(api: Api) -> None:
    send(api, REQUESTS["submission"])
    assert api.put("/users/ada/score", json={"score": 900}).status_code == 200
    again = send(api, REQUESTS["submission"]).json()
    assert (again["receipt"]["previousScore"], again["receipt"]["score"], again["receipt"]["delta"]) == (100, 107, 7)
    assert (again["user"]["score"], again["user"]["gamesPlayed"], again["user"]["level"]) == (900, 2, 2)
    assert again["receipt"]["rank"] == 1


def test_an_old_key_still_has_its_facts_after_many_others(api: Api) -> None:
    replies = [send(api, REQUESTS["submission"], f"key-{number}") for number in range(50)]
    for number, reply in enumerate(replies):
        assert facts(send(api, REQUESTS["submission"], f"key-{number}")) == facts(reply)
    assert api.get("/users/ada").json()["user"]["gamesPlayed"] == 50


@pytest.mark.parametrize("operator", ["set", "best", "increment", "decrement"])
def test_a_best_that_was_not_better_is_replayed_as_such(api: Api, operator: str) -> None:
    request = ("PUT", "/users/ada/score", {"score": 3, "operator": operator})
    first, again = send(api, request), send(api, request)
    assert facts(first) == facts(again)
    assert first.json()["receipt"]["applied"] is (operator != "best")
    assert again.json()["user"]["gamesPlayed"] == 1


SAME = {
    "submission": [
        '{"score":7,"operator":"increment"}',
        '{"operator":"increment","score":7}',
        ' {\n "operator" : "increment",\t"score" : 7 } ',
        '{"operator":"\\u0069ncrement","score":7}',
        '{"operator":"increment","score":7.0}',
        '{"operator":"increment","score":0.7e1}',
    ],
    "submission with the default operator": ['{"score":7,"operator":"set"}', '{"operator":"set","score":7}'],
    "submission with gameData": [
        '{"score":7,"gameData":{"a":{"c":[1,{"d":1,"e":2}],"b":"é"},"f":null}}',
        '{"gameData":{"f":null,"a":{"b":"\\u00e9","c":[1,{"e":2,"d":1}]}},"score":7}',
        '{"gameData": {"f": null, "a": {"b": "é", "c": [1.0, {"e": 2e0, "d": 1}]}}, "score": 7}',
    ],
    "creation": [
        '{"username":"New","email":"new@example.com"}',
        '{"email":"new@example.com","username":"New","level":99,"gamesPlayed":4}',
        '{"email":"new@example.com","username":"New","level":"x","gamesPlayed":null}',
    ],
    "creation with a score and an accent": [
        '{"username":"N\\u00e9","email":"new@example.com","score":1500}',
        '{"username":"N\\u00e9","email":"new@example.com","score":1500.0}',
        '{"username":"Ne\\u0301","email":"new@example.com","score":1.5e3}',
    ],
    "session": [
        '{"userId":"ada","sessionData":{"a":1,"b":[{"c":1,"d":2}]}}',
        '{"sessionData":{"b":[{"d":2,"c":1}],"a":1},"userId":"ada"}',
        '{"userId":"ada","sessionData":{"a":1.0,"b":[{"c":10e-1,"d":0.2e1}]}}',
        '{"userId":"ada","sessionData":{"a":1,"b":[{"c":1,"d":2}],"sessionId":"x","USERID":{},"starttime":null}}',
    ],
}
"""Texts that say the same thing."""


@pytest.mark.parametrize("name", SAME)
def test_the_payload_is_compared_in_its_canonical_form(api: Api, name: str) -> None:
    method, path, _ = REQUESTS[name.partition(" ")[0]]
    headers = {"Idempotency-Key": KEY, "Content-Type": "application/json"}
    replies = [api.request(method, path, content=text.encode(), headers=headers) for text in SAME[name]]
    assert {reply.status_code for reply in replies} <= {200, 201}, [reply.text for reply in replies]
    assert [replayed(reply) for reply in replies] == [False] + [True] * (len(replies) - 1)
    assert all(facts(reply) == facts(replies[0]) for reply in replies)


def test_the_order_of_a_list_is_part_of_the_payload(api: Api) -> None:
    path, headers = "/users/ada/score", {"Idempotency-Key": KEY}
    assert api.put(path, json={"score": 7, "gameData": {"a": [1, 2]}}, headers=headers).status_code == 200
    assert api.put(path, json={"score": 7, "gameData": {"a": [2, 1]}}, headers=headers).status_code == 422


Arrival = tuple[str, str, str]

ARRIVALS: list[Arrival] = [
    ("create_user", "/users", '{"username":"New","email":"new@example.com"}'),
    ("create_user", "/users", '{"username":"New","email":"new@example.com","score":0}'),
    ("create_user", "/users", '{"email":"new@example.com","username":"New","userId":"new","score":5,"level":9}'),
    ("update_score", "/users/ada/score", '{"score":7}'),
    ("update_score", "/users/ada/score", '{"score":7,"operator":"set"}'),
    ("update_score", "/users/bob/score", '{"score":7,"operator":"increment"}'),
    ("update_score", "/users/ada/score", '{"score":-0,"gameData":{"é":[1.0,-0.0,1.5,9007199254740992.0,null,true]}}'),
    ("update_score", "/users/ada/score", '{"score":7,"gameData":{}}'),
    ("sessions.create", "/sessions", '{"userId":"ada"}'),
    ("sessions.create", "/sessions", '{"userId":"ada","sessionData":{"map":"harbour","size":3.0}}'),
]
DIGESTS = [
    "kNbwd9OnkEWXGS2L",
    "qSPTNoTPTJBZ2ZW1",
    "upYnn_F_jODAMXuF",
    "ezVDR8hyZhrLzboM",
    "FllOKTNzoBp7Ag-A",
    "zLy6tjTkzM9ZziDt",
    "_560uzoLmGpdIWh4",
    "_RSurYH-LTFcQrRP",
    "7ZfV-RMA1TB1x1-5",
    "x-BXwpKR8bQ_s__K",
]
"""Their digests, which every release must make: another digest is a 422 for whoever asks again after a deployment."""


@pytest.mark.parametrize(("arrival", "digest"), list(zip(ARRIVALS, DIGESTS, strict=True)))
def test_the_digest_of_a_payload_is_that_of_the_release_before(arrival: Arrival, digest: str) -> None:
    assert digest_of(*arrival) == digest


def digest_of(operation: str, path: str, text: str) -> str:
    """The digest that the function of an operation gets with a request's key."""
    module = importlib.import_module(f"functions.{operation.partition('.')[0]}.handler")
    schema = module.Creation if operation == "sessions.create" else module.Arguments
    handler = endpoint(schema, keyed=operation)(lambda key, **_: (200, {"digest": key.digest}))
    request = event("PUT" if path.endswith("/score") else "POST", path, headers={"Idempotency-Key": KEY})
    reply = handler({**request, "body": text}, None)
    assert reply["statusCode"] == 200, reply["body"]
    return str(json.loads(reply["body"])["digest"])


def test_a_key_goes_with_the_operations_id_in_the_contract() -> None:
    keyed: dict[str, list[str]] = {}
    for operation in contract.operations().values():
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation.parameters):
            keyed.setdefault(operation.function, []).append(operation.id)
    sources = {path.parent.name: path.read_text() for path in Path("functions").glob("*/handler.py")}
    found = {name: re.findall(r'keyed="([^"]+)"', source) for name, source in sources.items()}
    assert {name: ids for name, ids in found.items() if ids} == keyed


# The same key, another payload


@pytest.mark.parametrize(("name", "body"), [(name, body) for name, bodies in OTHERS.items() for body in bodies])
def test_the_same_key_with_another_payload_is_refused_and_changes_nothing(
    api: Api, raw: valkey.Valkey, name: str, body: dict[str, Any]
) -> None:
    first = send(api, REQUESTS[name])
    before = everything(raw)
    method, path, _ = REQUESTS[name]
    refused = send(api, (method, path, body))
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    uncounted = path != "/sessions"  # who tried to open one is active, see docs/guarantees.md
    assert {key: value for key, value in everything(raw).items() if uncounted or invariants.ACTIVE not in key} == {
        key: value for key, value in before.items() if uncounted or invariants.ACTIVE not in key
    }
    again = send(api, REQUESTS[name])
    assert (facts(again), replayed(again)) == (facts(first), True)


def test_a_key_of_a_creation_says_nothing_of_a_session(api: Api) -> None:
    for name in ("creation", "session", "creation", "session"):
        assert send(api, REQUESTS[name]).status_code == 201
    assert api.get("/stats").json()["stats"]["totalPlayers"] == 4


def test_a_key_belongs_to_the_id_that_is_named_or_that_follows_from_it(api: Api) -> None:
    """Sent once with a userId, once without, and once with another, it makes three players."""
    new = {"username": "New", "email": "new@example.com"}
    for _ in range(2):
        replies = [send(api, ("POST", "/users", {**new, **more})) for more in ({}, {"userId": "x"}, {"userId": "y"})]
        assert [reply.status_code for reply in replies] == [201] * 3
        assert len({reply.json()["user"]["userId"] for reply in replies}) == 3
    assert api.get("/stats").json()["stats"]["totalPlayers"] == 6


def test_the_key_of_a_players_creation_is_not_taken_for_a_submission_of_theirs(api: Api) -> None:
    assert send(api, REQUESTS["creation with an id"]).status_code == 201
    assert send(api, ("PUT", "/users/new/score", {"score": 7})).status_code == 422
    assert send(api, ("PUT", "/users/ada/score", {"score": 7})).status_code == 200


def test_where_the_path_names_a_player_a_key_is_that_players(api: Api) -> None:
    replies = [send(api, ("PUT", f"/users/{user_id}/score", {"score": 7})) for user_id in ("ada", "bob", "eve")]
    assert [(reply.status_code, replayed(reply)) for reply in replies] == [(200, False)] * 3


# Refused requests


def refusals(api: Api) -> list[tuple[int, Request, Request]]:
    """Statuses with a request that is refused, and another payload that succeeds with the same key."""
    new = {"username": "New", "email": "new@example.com"}
    return [
        (400, ("PUT", "/users/ada/score", {"score": -1}), ("PUT", "/users/ada/score", {"score": 1})),
        (400, ("PUT", "/users/ada/score", {"score": "1"}), ("PUT", "/users/ada/score", {"score": 1})),
        (
            400,
            ("PUT", "/users/ada/score", {"score": 101, "operator": "decrement"}),
            ("PUT", "/users/ada/score", {"score": 100, "operator": "decrement"}),
        ),
        (404, ("PUT", "/users/new/score", {"score": 1}), ("PUT", "/users/ada/score", {"score": 2})),
        (409, ("POST", "/users", {**new, "userId": "ada"}), ("POST", "/users", {**new, "userId": "kim"})),
        (409, ("POST", "/users", {**new, "userId": "ada"}), ("POST", "/users", new)),
        (400, ("POST", "/users", {**new, "score": -1}), ("POST", "/users", new)),
        (400, ("POST", "/users", {**new, "username": ""}), ("POST", "/users", new)),
        (404, ("POST", "/sessions", {"userId": "new"}), ("POST", "/sessions", {"userId": "ada"})),
        (400, ("POST", "/sessions", {}), ("POST", "/sessions", {"userId": "ada"})),
    ]


@pytest.mark.parametrize("number", range(10))
def test_a_refused_request_is_not_kept(api: Api, raw: valkey.Valkey, number: int) -> None:
    status, bad, good = refusals(api)[number]
    before = everything(raw)
    for _ in range(2):
        assert send(api, bad).status_code == status
    assert everything(raw) == before, "no receipt, no intent"
    reply = send(api, good)
    assert reply.is_success
    assert not replayed(reply)
    assert replayed(send(api, good))
    invariants.settle(raw)


def test_a_refusal_is_evaluated_afresh(api: Api) -> None:
    request = ("PUT", "/users/kim/score", {"score": 7})
    assert send(api, request).status_code == 404
    api.create(userId="kim")
    reply = send(api, request)
    assert (reply.status_code, replayed(reply)) == (200, False)


def test_what_cannot_be_read_is_not_kept_either(api: Api, raw: valkey.Valkey) -> None:
    headers = {"Idempotency-Key": KEY, "Content-Type": "text/plain"}
    before = everything(raw)
    assert api.put("/users/ada/score", content=b"{", headers=headers).status_code == 415
    headers["Content-Type"] = "application/json"
    assert api.put("/users/ada/score", content=b"{", headers=headers).status_code == 400
    assert api.put("/users/ada/score", content=b" " * 70_000, headers=headers).status_code == 413
    assert everything(raw) == before
    assert send(api, REQUESTS["submission"]).status_code == 200


@pytest.mark.parametrize("key", [None, KEY])
def test_requests_that_fail_leave_no_intent_behind(api: Api, raw: valkey.Valkey, key: str | None) -> None:
    for status, bad, _ in refusals(api):
        assert send(api, bad, key).status_code == status
        assert raw.zcard(invariants.PENDING) == 0
    if key:
        assert send(api, REQUESTS["submission"]).status_code == 200
        assert send(api, ("PUT", "/users/ada/score", {"score": 1})).status_code == 422
        assert raw.zcard(invariants.PENDING) == 0


# Whose keys they are


@EACH
def test_the_keys_of_two_api_keys_never_meet(invoke: Callable[..., Answer], name: str) -> None:
    method, path, body = REQUESTS[name]
    function = {"/users": "create_user", "/sessions": "sessions"}.get(path, "update_score")

    def call(caller: str | None, body: dict[str, Any]) -> Answer:
        request = event(method, path, json_body=body, headers={"Idempotency-Key": KEY})
        request["requestContext"]["identity"]["apiKeyId"] = caller
        return invoke(function, request)

    replies = [call(caller, body) for caller in ("first", "second", None)]
    if name == "creation with an id":
        assert [reply.status for reply in replies] == [201, 409, 409], "the id is taken, whoever is asking"
    else:
        assert {reply.status for reply in replies} <= {200, 201}
        assert len({json.dumps(facts(reply)) for reply in replies}) == 3
        for caller, reply in zip(("first", "second", None), replies, strict=True):
            again = call(caller, body)
            assert (facts(again), replayed(again)) == (facts(reply), True)
    assert call("first", OTHERS[name][0]).status == 422
    assert call("third", {**body, "userId": "kim"} if name == "creation with an id" else body).status < 300


def test_the_gateways_two_api_keys_have_keys_of_their_own(server: embedded_valkey.Server) -> None:
    environ = {"VALKEY_HOST": server.host, "VALKEY_PORT": str(server.port), "API_KEY": "one,two"}
    with local_gateway.running(environ) as base_url:
        callers = [Api(base_url, {"x-api-key": key}) for key in ("one", "two")]
        replies = [send(caller, REQUESTS["submission"]) for caller in callers for _ in range(2)]
        assert [reply.json()["receipt"]["score"] for reply in replies] == [107, 107, 114, 114]
        assert [replayed(reply) for reply in replies] == [False, True, False, True]
        for caller in callers:
            caller.close()


# The key itself


def test_the_raw_key_is_neither_stored_nor_logged(
    api: Api, raw: valkey.Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "SecretOfTheClient-5d1f4f6a"
    for name, request in REQUESTS.items():
        for _ in range(2):
            assert send(api, request, f"{secret}-{name.replace(' ', '-')}").is_success
    assert send(api, ("PUT", "/users/nobody/score", {"score": 1}), secret).status_code == 404
    assert send(api, ("PUT", "/users/ada/score", {"score": -1}), secret).status_code == 400
    stored = repr(everything(raw))
    logged = capsys.readouterr()
    assert ":receipts:" in stored
    assert "request answered" in logged.out
    for text in (stored, logged.out, logged.err):
        assert secret not in text
        assert secret.lower() not in text.lower()
        assert base64.b64encode(secret.encode()).decode()[:20] not in text


BAD_KEYS = ["", "a" * 256, "a" * 1000, "é", "a b", " ", "a\tb", "a\x00", "a\x7f", "a\n", "名", "\ud800"]


@EACH
@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_that_is_not_visible_ascii_is_refused(
    invoke: Callable[..., Answer], raw: valkey.Valkey, name: str, key: str
) -> None:
    method, path, body = REQUESTS[name]
    function = {"/users": "create_user", "/sessions": "sessions"}.get(path, "update_score")
    before = everything(raw)
    for header in ("Idempotency-Key", "idempotency-key", "IDEMPOTENCY-KEY"):
        reply = invoke(function, event(method, path, json_body=body, headers={header: key}))
        assert reply.status == 400
        (error,) = reply.json()["errors"]
        assert (error["name"], error["in"]) == ("Idempotency-Key", "header")
        assert not key.strip() or key not in error["detail"]
    assert everything(raw) == before


@EACH
@pytest.mark.parametrize("values", [("a", "b"), ("a", "a"), ("a", "")])
def test_a_key_given_twice_is_refused(api: Api, raw: valkey.Valkey, name: str, values: tuple[str, str]) -> None:
    method, path, body = REQUESTS[name]
    before = everything(raw)
    reply = api.request(method, path, json=body, headers=[("Idempotency-Key", value) for value in values])
    assert reply.status_code == 400
    assert [(error["name"], error["in"]) for error in reply.json()["errors"]] == [("Idempotency-Key", "header")]
    assert everything(raw) == before


@pytest.mark.parametrize("key", ["", "a" * 256, "é".encode(), "a b"])
def test_a_bad_key_is_refused_over_http(api: Api, key: str | bytes) -> None:
    reply = api.put("/users/ada/score", json={"score": 1}, headers={b"Idempotency-Key": key})
    assert reply.status_code == 400
    assert [(error["name"], error["in"]) for error in reply.json()["errors"]] == [("Idempotency-Key", "header")]


def test_reads_take_no_key_and_mind_none(api: Api) -> None:
    for path in ("/users/ada", "/users/ada/rank", "/leaderboard", "/stats"):
        replies = [api.get(path, headers=[("Idempotency-Key", value) for value in ("a b", "")]) for _ in range(2)]
        assert [(reply.status_code, replayed(reply)) for reply in replies] == [(200, False)] * 2


IDS = [
    ("create_user", "", "edf29572-da3e-858b-a1dd-0d819d1539bf"),
    ("create_user", "first", "aa18fe4a-a330-87b4-998e-ca3550f9ceb4"),
    ("sessions.create", "", "1b39ae2f-a20b-8d11-865d-513ce0ac3019"),
]
"""The ids that a POST makes with KEY for a caller, in every release: another id would be a second player."""


@pytest.mark.parametrize(("operation", "caller", "made_id"), IDS)
def test_the_id_that_a_key_makes_is_that_of_the_release_before(
    invoke: Callable[..., Answer], operation: str, caller: str, made_id: str
) -> None:
    method, path, body = REQUESTS["creation" if operation == "create_user" else "session"]
    request = event(method, path, json_body=body, headers={"Idempotency-Key": KEY})
    request["requestContext"]["identity"]["apiKeyId"] = caller
    reply = invoke(operation.partition(".")[0], request).json()
    made = reply["user"]["userId"] if operation == "create_user" else reply["session"]["sessionId"]
    assert made == made_id


def test_ids_without_a_key_are_by_chance(api: Api, raw: valkey.Valkey) -> None:
    found = set()
    for _ in range(3):
        raw.flushall()
        api.create(userId="ada")
        for name in ("creation", "session"):
            found.add(json.dumps(facts(send(api, REQUESTS[name], None))))
    ids = re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f-]{16}", " ".join(found))
    assert len(set(ids)) == 6


def test_what_a_key_makes_is_made_by_no_other_key(api: Api) -> None:
    made = {
        send(api, REQUESTS[name], f"{KEY}-{number}").json()[kind][f"{kind}Id"]
        for name, kind in (("creation", "user"), ("session", "session"))
        for number in range(50)
    }
    assert len(made) == 100
    assert all(uuid.UUID(each).version == 8 and uuid.UUID(each).variant == uuid.RFC_4122 for each in made)


# How long receipts live


def receipts(raw: valkey.Valkey, user_id: str) -> dict[str, dict[str, str]]:
    """The generations of receipts that a player has."""
    found = {generation: raw.hgetall(f"{{user:{user_id}}}:receipts:{generation}") for generation in "ab"}
    return {generation: fields for generation, fields in found.items() if fields}


def submit(api: Api, key: str) -> tuple[int, bool]:
    """Submits one more point for ada: the score then, and whether it was a replay."""
    reply = send(api, ("PUT", "/users/ada/score", {"score": 1, "operator": "increment"}), key)
    assert reply.status_code == 200, reply.text
    return reply.json()["receipt"]["score"], replayed(reply)


def test_a_receipt_lives_for_one_life_at_least_and_for_two_at_most(
    api: Api, raw: valkey.Valkey, configure: Callable[..., None]
) -> None:
    configure(receipt_seconds=100)
    assert submit(api, "at-0") == (101, False)
    assert list(receipts(raw, "ada")) == ["b"]
    invariants.receipts_grow_older(raw, "ada", 60)
    assert submit(api, "at-60") == (102, False)
    invariants.receipts_grow_older(raw, "ada", 37)
    assert submit(api, "at-97") == (103, False)
    assert list(receipts(raw, "ada")) == ["b"]
    invariants.receipts_grow_older(raw, "ada", 5)
    assert submit(api, "at-102") == (104, False)
    assert list(receipts(raw, "ada")) == ["a", "b"], "the first has taken receipts for one life"
    invariants.receipts_grow_older(raw, "ada", 90)
    assert submit(api, "at-192") == (105, False)
    for score, second in enumerate((0, 60, 97, 102, 192), 101):
        assert submit(api, f"at-{second}") == (score, True), "each lives for one life at least"
    invariants.receipts_grow_older(raw, "ada", 12)
    assert submit(api, "at-204") == (106, False)
    assert len(receipts(raw, "ada")["b"]) == 3, "begun anew"
    assert submit(api, "at-102") == (104, True)
    assert submit(api, "at-0") == (107, False), "two lives are over"
    invariants.receipts_grow_older(raw, "ada", 1000)
    assert [submit(api, f"at-{second}")[1] for second in (0, 102, 204)] == [False] * 3
    invariants.settle(raw)


def test_receipts_of_keys_have_no_ttl_and_those_without_one_a_minutes(api: Api, raw: valkey.Valkey) -> None:
    api.put("/users/ada/score", json={"score": 7})
    for name, request in REQUESTS.items():
        send(api, request, name.replace(" ", "-"))
    keyed, unkeyed = keys(raw, "{user:*}:receipts:*"), keys(raw, "{user:*}:submission:*")
    assert len(keyed) == 3
    assert {raw.ttl(key) for key in keyed} == {-1}
    assert len(unkeyed) == 4, "three players were created"
    assert all(50 < raw.ttl(key) <= 60 for key in unkeyed)


@pytest.mark.parametrize(("receipt_seconds", "session_seconds"), [(86_400, 3600), (300, 3600), (300, 60)])
def test_an_opening_is_remembered_longer_than_the_session_and_the_receipts(
    api: Api, raw: valkey.Valkey, configure: Callable[..., None], receipt_seconds: int, session_seconds: int
) -> None:
    configure(receipt_seconds=receipt_seconds, session_seconds=session_seconds)
    send(api, REQUESTS["session"])
    (opened,) = keys(raw, "*:opened")
    longest = max(receipt_seconds, session_seconds) + 60
    assert longest - 10 < raw.ttl(opened) <= longest


def test_a_receipt_is_at_most_64_bytes_in_a_compact_hash(
    api: Api, raw: valkey.Valkey, configure: Callable[..., None]
) -> None:
    configure(score_min=-LARGEST, score_max=LARGEST)
    for score in (-LARGEST, LARGEST, -LARGEST):
        assert send(api, ("PUT", "/users/ada/score", {"score": score}), f"to{score}").status_code == 200
        first = send(api, ("PUT", "/users/ada/score", {"score": -LARGEST, "operator": "set"}), f"from{score}")
        again = send(api, ("PUT", "/users/ada/score", {"score": -LARGEST, "operator": "set"}), f"from{score}")
        assert (facts(again), replayed(again)) == (facts(first), True) or score == -LARGEST
    (fields,) = receipts(raw, "ada").values()
    assert max(map(len, fields.values())) == 64
    assert {raw.object("encoding", key) for key in keys(raw, "*:receipts:*")} == {"listpack"}


def test_a_player_has_so_many_receipts_and_then_waits(
    api: Api, raw: valkey.Valkey, configure: Callable[..., None]
) -> None:
    configure(receipts_max=3)
    for number in range(3):
        submit(api, f"key-{number}")
    before = everything(raw)
    refused = send(api, REQUESTS["submission"])
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_keys")
    assert 86_390 < int(refused.headers["Retry-After"]) <= 86_400
    assert everything(raw) == before, "no intent is left behind"
    assert [submit(api, f"key-{number}") for number in range(3)] == [(101, True), (102, True), (103, True)]
    assert send(api, REQUESTS["submission"], None).status_code == 200, "without a key there is no receipt to keep"
    assert send(api, ("PUT", "/users/bob/score", {"score": 7})).status_code == 200, "others have their own"
    (generation,) = keys(raw, "{user:ada}:receipts:*")
    raw.hincrby(generation, "born", -int(refused.headers["Retry-After"]))
    assert send(api, REQUESTS["submission"]).status_code == 200
    assert [submit(api, f"key-{number}")[1] for number in range(3)] == [True] * 3
    invariants.settle(raw)


def test_a_life_that_was_made_shorter_takes_nothing_from_the_receipts_that_there_are(
    api: Api, raw: valkey.Valkey, configure: Callable[..., None]
) -> None:
    submit(api, "a-day")
    configure(receipt_seconds=60)
    for number in range(5):
        invariants.receipts_grow_older(raw, "ada", 61)
        submit(api, f"a-minute-{number}")
    assert submit(api, "a-day") == (101, True)


def test_a_sweep_drops_receipts_when_their_time_is_over_and_no_sooner(api: Api, raw: valkey.Valkey) -> None:
    for name, request in REQUESTS.items():
        send(api, request, name.replace(" ", "-"))
    raw.hset("{user:eve}:receipts:a", "none", "of ours")
    raw.set("{user:eve}:receipts:b", "nothing to read")
    invariants.receipts_grow_older(raw, "ada", 86_200)
    invariants.rebuild(raw)
    assert len(keys(raw, "{user:*}:receipts:*")) == 4, "what has no end is gone, what nobody can read is left alone"
    raw.delete("{user:eve}:receipts:b")
    invariants.receipts_grow_older(raw, "ada", 300)
    assert submit(api, "another") == (108, False)  # in the other generation
    report = invariants.run_reconcile(raw, {"rebuild": {"cursor": None}})
    assert (report["finished"], report["forgotten"]) == (True, 1)
    assert list(receipts(raw, "ada")) == ["a"]
    assert submit(api, "another") == (108, True)
    invariants.receipts_grow_older(raw, "ada", 86_405)
    assert invariants.run_reconcile(raw)["forgotten"] == 1
    assert receipts(raw, "ada") == {}
    invariants.settle(raw)


def test_a_server_whose_clock_was_ahead_for_a_sweep_has_forgotten_no_key(
    api: Api, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert submit(api, "a-key") == (101, False)
    invariants.receipts_grow_older(raw, "ada", 86_405)  # by the server's clock alone
    true_time = time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: true_time() - 86_405 * 10**9)
        assert invariants.run_reconcile(raw, {"rebuild": {"cursor": None}})["forgotten"] == 0
        assert send(api, REQUESTS["submission"], "a-key").json()["code"] == "stale_attempt"
    invariants.receipts_grow_older(raw, "ada", -86_405)  # it has been put right
    assert submit(api, "a-key") == (101, True)
    invariants.settle(raw)


def test_after_the_receipts_life_a_key_finds_its_player_taken_and_never_makes_a_second(
    api: Api, raw: valkey.Valkey
) -> None:
    first = send(api, REQUESTS["creation"])
    raw.delete(*keys(raw, "*:receipts:*"))
    for _ in range(2):
        again = send(api, REQUESTS["creation"])
        assert (again.status_code, again.json()["code"]) == (409, "user_exists")
    assert api.get("/stats").json()["stats"]["totalPlayers"] == 4
    assert api.get(f"/users/{first.json()['user']['userId']}").json()["user"] == first.json()["user"]
    invariants.settle(raw)


def test_of_racing_requests_that_open_one_session_one_is_the_first(api: Api) -> None:
    for number in range(20):
        with ThreadPoolExecutor(8) as threads:
            replies = list(threads.map(send, [api] * 8, [REQUESTS["session"]] * 8, [f"race-{number}"] * 8))
        assert [reply.status_code for reply in replies] == [201] * 8
        assert len({reply.json()["session"]["sessionId"] for reply in replies}) == 1
        assert [replayed(reply) for reply in replies].count(False) == 1


def test_a_replay_does_not_prolong_a_receipts_life(api: Api, raw: valkey.Valkey) -> None:
    for name, request in REQUESTS.items():
        send(api, request, name.replace(" ", "-"))
    for key in keys(raw, "*:opened"):
        raw.expire(key, 30)
    before = {key: raw.hgetall(key) for key in keys(raw, "*:receipts:*")}
    for name, request in REQUESTS.items():
        assert replayed(send(api, request, name.replace(" ", "-")))
    assert {key: raw.hgetall(key) for key in keys(raw, "*:receipts:*")} == before
    assert {raw.ttl(key) for key in keys(raw, "*:opened")} <= {28, 29, 30}


def test_profiles_and_the_board_live_for_ever(api: Api, raw: valkey.Valkey) -> None:
    for name, request in REQUESTS.items():
        send(api, request, name.replace(" ", "-"))
    invariants.settle(raw)
    lasting = {key for key in keys(raw, "*") if raw.ttl(key) == -1}
    days = set(keys(raw, f"{invariants.ACTIVE}*"))  # reconcile deletes those that are over
    assert days
    assert lasting - days - set(keys(raw, "user:*")) - set(keys(raw, "{user:*}:receipts:*")) == {
        invariants.BOARD,
        invariants.PLAYERS,
        invariants.TOTALS,
        invariants.STATS,
    }


# Sessions


@pytest.mark.parametrize("ending", ["ended", "expired"])
def test_a_replay_opens_no_session_that_is_over(api: Api, raw: valkey.Valkey, ending: str) -> None:
    first = send(api, REQUESTS["session"])
    session_id = first.json()["session"]["sessionId"]
    if ending == "ended":
        assert api.delete(f"/sessions/{session_id}").status_code == 204
    else:
        raw.pexpire(f"session:{session_id}", 1)
        time.sleep(0.01)
    again = send(api, REQUESTS["session"])
    assert (again.status_code, facts(again), replayed(again)) == (201, facts(first), True)
    assert api.get(f"/sessions/{session_id}").status_code == 404
    assert keys(raw, "session:*") == []


def test_a_replay_neither_prolongs_nor_rewrites_a_session(api: Api, raw: valkey.Valkey) -> None:
    session_id = send(api, REQUESTS["session"]).json()["session"]["sessionId"]
    stored = raw.get(f"session:{session_id}")
    raw.expire(f"session:{session_id}", 100)
    assert replayed(send(api, REQUESTS["session"]))
    assert raw.ttl(f"session:{session_id}") <= 100
    assert raw.get(f"session:{session_id}") == stored


def test_a_replayed_session_is_the_one_that_is_read(api: Api) -> None:
    send(api, REQUESTS["session"])
    session = send(api, REQUESTS["session"]).json()["session"]
    assert api.get(f"/sessions/{session['sessionId']}").json() == {"session": session}


@pytest.mark.parametrize("evicted", ["what tells of it", "the session", "both"])
def test_memory_pressure_on_an_opening_makes_no_second_session(api: Api, raw: valkey.Valkey, evicted: str) -> None:
    """As long as one of the two is there, it says what the key was for; after that, the same id is opened anew."""
    first = send(api, REQUESTS["session"])
    session_id = first.json()["session"]["sessionId"]
    lost = {"what tells of it": ["*:opened"], "the session": ["session:*"], "both": ["*:opened", "session:*"]}[evicted]
    raw.delete(*(key for pattern in lost for key in keys(raw, pattern)))
    if evicted != "both":
        for body in OTHERS["session"]:
            assert send(api, ("POST", "/sessions", body)).status_code == 422, body
        again = send(api, REQUESTS["session"])
        assert (facts(again), replayed(again)) == (facts(first), True)
    else:
        again = send(api, REQUESTS["session"])
        assert (again.status_code, replayed(again)) == (201, False)
        assert again.json()["session"]["sessionId"] == session_id
    assert len(keys(raw, "session:*")) == (evicted != "the session")


def test_of_an_opening_that_was_evicted_the_session_knows_the_payload_however_it_is_written(
    api: Api, raw: valkey.Valkey
) -> None:
    for text in SAME["session"]:
        reply = api.request("POST", "/sessions", content=text, headers={"Idempotency-Key": KEY})
        assert (reply.status_code, replayed(reply)) == (201, text != SAME["session"][0]), reply.text
        for key in keys(raw, "*:opened"):
            raw.delete(key)


def test_an_attempt_that_is_held_up_after_it_found_no_player_takes_nothing_from_a_later_one(
    invoke: Callable[..., Answer], api: Api, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three tries with one key: the player is created while the first is held up, and its refusal comes last."""
    body = {"userId": "kim"}
    call = functools.partial(event, "POST", "/sessions", json_body=body, headers={"Idempotency-Key": KEY})
    ask, held, go_on = Store.ask, threading.Event(), threading.Event()

    def hold_up(store: Store, *commands: Any) -> Any:
        replies = ask(store, *commands)
        if replies[-1:] == [0] and len(replies) == 2 and not held.is_set():
            held.set()
            assert go_on.wait(10)
        return replies

    monkeypatch.setattr(Store, "ask", hold_up)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(invoke, "sessions", call())
        assert held.wait(10)
        api.create(userId="kim")
        second = invoke("sessions", call())
        go_on.set()
        assert first.result().status == 404
    assert raw.zrange("{user:kim}:sessions", 0, -1) == [second.json()["session"]["sessionId"]]
    third = invoke("sessions", call())
    assert (second.status, third.status) == (201, 201)
    assert facts(third) == facts(second)
    assert replayed(third)
    assert len(keys(raw, "session:*")) == 1


# At once


def call_of(name: str, body: dict[str, Any] | None = None) -> Callable[[Callable[..., Answer]], Callable[[], Answer]]:
    """A request with KEY, as a call of its handler; the body may be another."""
    method, path, usual_body = REQUESTS[name]
    function = {"/users": "create_user", "/sessions": "sessions"}.get(path, "update_score")

    def made(invoke: Callable[..., Answer]) -> Callable[[], Answer]:
        request = event(method, path, json_body=body or usual_body, headers={"Idempotency-Key": KEY})
        return lambda: invoke(function, request)

    return made


@EACH
@pytest.mark.parametrize("round_number", range(5))
def test_of_racing_requests_with_one_key_one_is_applied_and_all_have_its_facts(
    invoke: Callable[..., Answer], raw: valkey.Valkey, name: str, round_number: int
) -> None:
    answers = race([call_of(name)(invoke) for _ in range(RACERS)])
    assert len({answer.status for answer in answers}) == 1
    assert answers[0].status in (200, 201)
    assert len({json.dumps(facts(answer)) for answer in answers}) == 1
    fresh = [answer for answer in answers if not replayed(answer)]
    assert len(fresh) == 1
    world = invariants.settle(raw)
    expected = {"creation": (4, 0, 355), "creation with an id": (4, 0, 350), "submission": (3, 1, 357)}
    players, games, total = expected.get(name, (3, 0, 350))
    assert (len(world.profiles), int(world.totals["totalGames"])) == (players, games)
    assert int(world.totals["totalScore"]) == total
    assert len(keys(raw, "session:*")) == (name == "session")


@EACH
def test_of_two_payloads_racing_with_one_key_one_is_applied_and_the_other_refused(
    invoke: Callable[..., Answer], raw: valkey.Valkey, name: str
) -> None:
    bodies = [REQUESTS[name][2], OTHERS[name][0]]
    answers = race([call_of(name, bodies[number % 2])(invoke) for number in range(RACERS)])
    won = {number % 2 for number, answer in enumerate(answers) if answer.status < 300}
    assert len(won) == 1
    (winner,) = won
    assert {answer.status for answer in answers[1 - winner :: 2]} == {422}
    assert len({json.dumps(facts(answer)) for answer in answers[winner::2]}) == 1
    invariants.settle(raw)


def test_racing_creations_of_a_taken_id_with_one_key_are_conflicts_and_keep_nothing(
    invoke: Callable[..., Answer], raw: valkey.Valkey
) -> None:
    before = everything(raw)
    taken = {"username": "New", "email": "new@example.com", "userId": "ada"}
    answers = race([call_of("creation", taken)(invoke) for _ in range(RACERS)])
    assert {answer.status for answer in answers} == {409}
    assert everything(raw) == before
    assert call_of("creation")(invoke)().status == 201
    invariants.settle(raw)


# Operators and receipts


class Model:
    """The board as a plain dict, and what a submission must do to it."""

    def __init__(self, scores: dict[str, int], lowest: int, highest: int, step: int | None):
        self.scores = scores
        self.games = dict.fromkeys(scores, 0)
        self.best = dict(scores)
        self.lowest, self.highest, self.step = lowest, highest, step

    def ordered(self) -> list[str]:
        """UserIds, best first."""
        return sorted(self.scores, key=lambda user_id: (self.scores[user_id], user_id.encode()), reverse=True)

    def submit(self, user_id: str, operator: str, amount: int) -> dict[str, Any] | set[str]:
        """The receipt, or the bounds that are broken."""
        before = self.scores[user_id]
        after = {"set": amount, "best": max(before, amount), "increment": before + amount}.get(
            operator, before - amount
        )
        broken = {
            str(self.step): self.step is not None and abs(after - before) > self.step,
            str(self.lowest): after < self.lowest,
            str(self.highest): after > self.highest,
        }
        if any(broken.values()):
            return {bound for bound, is_broken in broken.items() if is_broken}
        previous_rank = self.ordered().index(user_id) + 1
        self.scores[user_id] = after
        self.games[user_id] += 1
        self.best[user_id] = max(self.best[user_id], after)
        order = self.ordered()
        rank = order.index(user_id) + 1
        above = self.scores[order[rank - 2]] if rank > 1 else None
        return {
            "operator": operator,
            "applied": operator != "best" or amount > before,
            "previousScore": before,
            "score": after,
            "delta": after - before,
            "previousRank": previous_rank,
            "rank": rank,
            "totalPlayers": len(order),
            "percentile": round(100 * (len(order) - rank + 1) / len(order), 2),
            "next": None if above is None else {"score": above + 1, "points": above + 1 - after},
        }


LARGEST = 2**53 - 1
BOUNDS = [
    {},
    {"score_max": 1000},
    {"score_min": -500, "score_max": 500},
    {"score_step_max": 60},
    {"score_min": -LARGEST, "score_max": LARGEST},
]


@pytest.mark.parametrize("bounds", BOUNDS)
def test_receipts_are_those_of_a_plain_model(
    api: Api, raw: valkey.Valkey, configure: Callable[..., None], bounds: dict[str, int]
) -> None:
    for user_id in ("Ada", "kim", "a-", "a_"):
        api.create(userId=user_id, score=100)
    configure(**bounds)
    chance = random.Random(json.dumps(bounds))
    edge = bounds.get("score_max") == LARGEST
    scores = {"ada": 100, "bob": 200, "eve": 50, "Ada": 100, "kim": 100, "a-": 100, "a_": 100}
    model = Model(scores, bounds.get("score_min", 0), bounds.get("score_max", 10**12), bounds.get("score_step_max"))
    refused = 0
    for _ in range(200):
        user_id, operator = chance.choice([*scores]), chance.choice(["set", "best", "increment", "decrement"])
        amount = chance.choice([0, 1, 50, 100, 101, 200, chance.randrange(-300, 1200)])
        if edge:
            amount = chance.choice([amount, LARGEST, -LARGEST, 10**15 + 1, -(10**15) - 1])
        before = dict(raw.hgetall(f"user:{user_id}"))
        reply = api.put(f"/users/{user_id}/score", json={"score": amount, "operator": operator})
        expected = model.submit(user_id, operator, amount)
        if isinstance(expected, set):
            refused += 1
            assert reply.status_code == 400
            assert [(error["name"], error["in"]) for error in reply.json()["errors"]] == [("score", "body")]
            assert any(bound in reply.json()["errors"][0]["detail"] for bound in expected), "it names the bound"
            assert raw.hgetall(f"user:{user_id}") == before
            continue
        assert reply.status_code == 200, (reply.text, user_id, operator, amount)
        receipt, user = reply.json()["receipt"], reply.json()["user"]
        assert re.fullmatch(r"[0-9a-f-]{36}", receipt.pop("submissionId"))
        assert receipt == expected
        assert (user["score"], user["gamesPlayed"]) == (model.scores[user_id], model.games[user_id])
        assert api.get("/stats").json()["stats"]["totalScore"] == sum(model.scores.values())
    assert 0 < refused < 180
    world = invariants.settle(raw)
    assert world.board == model.scores
    assert {user_id: int(profile["bestScore"]) for user_id, profile in world.profiles.items()} == model.best


def test_a_best_that_changes_nothing_minds_no_bound_that_was_moved(api: Api, configure: Callable[..., None]) -> None:
    configure(score_max=50)
    reply = api.put("/users/ada/score", json={"score": 40, "operator": "best"})
    assert reply.status_code == 200, reply.text
    assert (reply.json()["receipt"]["applied"], reply.json()["receipt"]["score"]) == (False, 100)
    assert reply.json()["user"]["gamesPlayed"] == 1


def test_an_operator_that_is_none_is_refused(api: Api) -> None:
    for operator in ("SET", "add", "", None, 1, ["set"], "create"):
        reply = api.put("/users/ada/score", json={"score": 1, "operator": operator})
        assert reply.status_code == 400
        assert [(error["name"], error["in"]) for error in reply.json()["errors"]] == [("operator", "body")]


def test_a_creations_score_keeps_to_the_bounds(api: Api, raw: valkey.Valkey, configure: Callable[..., None]) -> None:
    configure(score_min=10, score_max=20)
    new = {"username": "New", "email": "new@example.com"}
    before = everything(raw)
    for score in (9, 21):
        assert api.post("/users", json={**new, "score": score}).status_code == 400
    assert everything(raw) == before
    for score in (10, 20):
        assert api.post("/users", json={**new, "score": score}).status_code == 201


@pytest.mark.parametrize(
    ("request_", "before", "since"),
    [
        (("PUT", "/users/ada/score", {"score": 500}), {}, {"score_max": 400}),
        (("PUT", "/users/ada/score", {"score": 500, "operator": "set"}), {}, {"score_min": 501}),
        (("PUT", "/users/ada/score", {"score": -5}), {"default_operator": "increment"}, {"default_operator": "set"}),
        (("PUT", "/users/ada/score", {"score": 500, "operator": "increment"}), {}, {"score_max": 400}),
        (("PUT", "/users/ada/score", {"score": 500, "operator": "increment"}), {}, {"score_step_max": 1}),
        (("POST", "/users", {"username": "New", "email": "n@example.com", "score": 500}), {}, {"score_max": 400}),
        (("POST", "/users", {"username": "New", "email": "n@example.com"}), {}, {"score_min": 7}),
    ],
)
def test_a_retry_minds_no_setting_that_was_changed_since(
    api: Api,
    raw: valkey.Valkey,
    configure: Callable[..., None],
    request_: Request,
    before: dict[str, object],
    since: dict[str, object],
) -> None:
    configure(**before)
    first = send(api, request_)
    assert first.status_code in (200, 201), first.text
    configure(**since)
    held = everything(raw)
    again = send(api, request_)
    assert (again.status_code, facts(again), replayed(again)) == (first.status_code, facts(first), True), again.text
    assert everything(raw) == held
    anew = send(api, request_, "another-key")
    assert (anew.status_code == 400) == ("score" in request_[2]), "a new key gets no exception"


@pytest.mark.parametrize("path", ["/users/nobody/score", "/users/ada/score"])
def test_a_score_out_of_bounds_is_told_before_anything_else_of_the_player(
    api: Api, raw: valkey.Valkey, configure: Callable[..., None], path: str
) -> None:
    configure(score_min=10, score_max=20, score_step_max=1)
    held = everything(raw)
    taken = {"userId": "ada", "username": "New", "email": "new@example.com"}
    for score in (9, 21, -LARGEST, LARGEST, LARGEST + 1):
        for reply in (
            api.put(path, json={"score": score, "operator": "set"}),
            api.post("/users", json={**taken, "score": score}),
        ):
            assert (reply.status_code, reply.json()["code"]) == (400, "invalid_arguments")
            assert reply.json()["error"] == "score must be an integer from 10 to 20"
    assert everything(raw) == held


@pytest.mark.parametrize(
    ("lowest", "highest", "start"), [(0, 10**12, 0), (10, 20, 10), (-20, -10, -10), (-5, 5, 0), (7, 7, 7)]
)
@pytest.mark.parametrize("step", [None, 3])
def test_a_player_starts_at_the_allowed_score_nearest_to_zero_and_no_step_too_far(
    api: Api,
    raw: valkey.Valkey,
    configure: Callable[..., None],
    lowest: int,
    highest: int,
    start: int,
    step: int | None,
) -> None:
    configure(score_min=lowest, score_max=highest, **({} if step is None else {"score_step_max": step}))
    new = {"username": "New", "email": "new@example.com"}
    request = ("POST", "/users", new)
    first, again = send(api, request), send(api, request)
    assert (first.status_code, first.json()["user"]["score"]) == (201, start), first.text
    assert (facts(again), replayed(again)) == (facts(first), True)
    allowed = {score for score in range(start - 5, start + 6) if lowest <= score <= highest}
    before = everything(raw)
    for score in sorted(allowed | {highest}):
        reply = api.post("/users", json={**new, "userId": f"at{score}", "score": score})
        if step is not None and abs(score - start) > step:
            assert (reply.status_code, reply.json()["errors"][0]["name"]) == (400, "score"), score
            assert "more than 3, the largest change allowed" in reply.json()["errors"][0]["detail"]
            assert everything(raw) == before
        else:
            assert (reply.status_code, reply.json()["user"]["score"]) == (201, score), reply.text
            before = everything(raw)
    invariants.settle(raw)


# gameData


def sized(length: int) -> dict[str, Any]:
    """An object that has exactly this many bytes as JSON."""
    return {"a": "x" * (length - len('{"a":""}'))}


def nested(levels: int) -> dict[str, Any]:
    """An object with this many levels."""
    value: Any = {}
    for level in range(levels - 1):
        value = [value] if level % 2 and level < levels - 2 else {"a": value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"map": "harbour", "é": [None, True, 1.5, "🙂"]},
        sized(4096),
        {"é": "é" * 2000},
        nested(16),
        {"n": 2**53 - 1},
    ],
)
def test_game_data_is_echoed_and_neither_stored_nor_logged(
    api: Api, raw: valkey.Valkey, capsys: pytest.CaptureFixture[str], data: dict[str, Any]
) -> None:
    marked = data if len(json.dumps(data)) > 3000 else {**data, "mark": "mark-of-the-game"}
    request = ("PUT", "/users/ada/score", {"score": 7, "gameData": marked})
    for again in (False, True):
        reply = send(api, request)
        assert (reply.status_code, replayed(reply)) == (200, again)
        assert reply.json()["gameData"] == marked
    stored, logged = repr(everything(raw)), capsys.readouterr().out
    for text in ("mark-of-the-game", "xxxx", "éé"):
        assert text not in stored
        assert text not in logged
    assert "gameData" not in send(api, ("PUT", "/users/ada/score", {"score": 7}), None).json()


@pytest.mark.parametrize(
    "data", [sized(4097), {"é": "é" * 2050}, nested(17), nested(40), {"n": 2**53}, None, [], "x", 1, True]
)
def test_game_data_beyond_its_limits_is_refused(api: Api, raw: valkey.Valkey, data: Any) -> None:
    before = everything(raw)
    reply = send(api, ("PUT", "/users/ada/score", {"score": 7, "gameData": data}))
    assert reply.status_code == 400
    assert [(error["name"], error["in"]) for error in reply.json()["errors"]] == [("gameData", "body")]
    assert everything(raw) == before
