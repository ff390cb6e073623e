"""The edge judges by nothing but what the gateway's authorizer has said, in full."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import valkey

from scripts.local import examples
from scripts.local.examples import Example
from shared import config, problems
from tests.support import callers
from tests.support.invoking import Answer, event
from tests.support.lines import Lines

Invoke = Callable[..., Answer]

OPERATORS = ("best", "increment")
"""With which players may submit here."""

ADA = {"userId": "ada", "username": "Ada", "email": "ada@example.com"}


@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`deploy(access="open")`: from now on the handlers are those of a deployment with these settings."""

    def deploy(**settings: str) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(name.upper(), value)
        config.settings.cache_clear()

    yield deploy
    monkeypatch.undo()
    config.settings.cache_clear()


@pytest.fixture
def protected(deploy: Callable[..., None]) -> None:
    """A deployment whose access is protected."""
    deploy(access="protected", player_operators=",".join(OPERATORS))


@pytest.fixture
def ada(protected: None, invoke: Invoke) -> str:
    """The id of a player."""
    assert invoke("create_user", event("POST", "/users", json_body=ADA)).status == 201
    return "ada"


def ask(invoke: Invoke, example: Example, authorizer: Any = ...) -> Answer:
    """What a handler answers to an example, from a caller of whom the authorizer says this."""
    return invoke(
        example.function, event(example.method, example.target, json_body=example.body, authorizer=authorizer)
    )


def everything(raw: valkey.Valkey) -> dict[str, Any]:
    """All there is in the server."""
    with valkey.Valkey(**{**raw.connection_pool.connection_kwargs, "decode_responses": False}) as client:
        return {str(key): client.dump(key) for key in client.scan_iter(count=1000)}


# What the authorizer says, or somebody else


def of(**members: Any) -> dict[str, Any]:
    """Ada's own token, but for these members; ... leaves one out."""
    said = {**callers.vouched("player", "ada"), **members}
    return {name: value for name, value in said.items() if value is not ...}


MEMBERS = ("issuer", "subject", "scope", "expires", "tokenId")

HOSTILE: dict[str, Any] = {
    "nothing": None,
    **{f"a {type(value).__name__} {value!r}": value for value in ("", "ada", 1, True, [], {}, ["ada"])},
    **{f"no {name}": of(**{name: ...}) for name in MEMBERS},
    **{
        f"{name} {value!r}": of(**{name: value})
        for name in MEMBERS
        for value in (None, 0, 1e12, True, False, [], ["player"], {}, {"a": "b"})
    },
    **{f"{name} ''": of(**{name: ""}) for name in MEMBERS if name != "tokenId"},
    **{
        f"scope {scope!r}": of(scope=scope)
        for scope in (
            "Player",
            "SERVER",
            "player ",
            " server",
            "player server",
            "server,admin",
            "*",
            "root",
            "server\n",
        )
    },
    **{f"issuer {issuer!r}": of(issuer=issuer) for issuer in ("a b", "a\nb", "é", "a" * 256, "a\0")},
    **{
        f"subject {subject!r}": of(subject=subject)
        for subject in ("eve", "Ada", "ada ", " ada", "ada\n", "ada\0", "{ada}", "ada eve", "a" * 65, "*", "../ada")
    },
    **{
        f"expires {expires!r}": of(expires=expires)
        for expires in (
            *(
                "0",
                "1",
                "-1",
                "soon",
                "1e12",
                "9999999999.5",
                " 9999999999",
                "9999999999\n",
                "+9999999999",
                "9_999_999_999",
            ),
            *("９９９９９９９９９９", "٩٩٩٩٩٩٩٩٩٩", "9" * 13, "0x7fffffff", "Infinity", "NaN", "9999999999e9"),
        )
    },
    "an end in this second": of(expires=str(int(time.time()))),
    "claims of a Cognito authorizer": {"claims": of()},
    "a context within": {"context": of(), "lambda": of()},
    "another spelling": {name.upper(): value for name, value in of().items()},
}


def test_who_is_not_vouched_for_in_full_may_nothing(ada: str, invoke: Invoke, raw: valkey.Valkey) -> None:
    before = everything(raw)
    for name, said in HOSTILE.items():
        request = event("PUT", f"/users/{ada}/score", json_body={"score": 5, "operator": "best"}, authorizer=None)
        request["requestContext"]["authorizer"] = said
        answer = invoke("update_score", request)
        assert (answer.status, answer.json()["code"]) == (403, "not_allowed"), name
    assert everything(raw) == before


def test_who_is_vouched_for_in_full_may(ada: str, invoke: Invoke) -> None:
    request = event("PUT", f"/users/{ada}/score", json_body={"score": 5, "operator": "best"}, authorizer=of())
    assert invoke("update_score", request).status == 200


@pytest.mark.parametrize("context", [..., None, {}, {"authorizer": None}])
def test_an_event_without_an_authorizers_word_is_refused(ada: str, context: Any, invoke: Invoke) -> None:
    request = event("PUT", f"/users/{ada}/score", json_body={"score": 5, "operator": "best"}, authorizer=None)
    if context is ...:
        del request["requestContext"]
    else:
        request["requestContext"] = context
    assert invoke("update_score", request).status == 403


@pytest.mark.parametrize("scope", ["player", "server", "admin"])
def test_what_a_client_says_of_itself_counts_for_nothing(ada: str, scope: str, invoke: Invoke) -> None:
    said = callers.vouched(scope, ada)
    headers = {f"X-{name}": value for name, value in said.items()} | {**said, "Authorization": f"Bearer {said}"}
    request = event(
        "PUT",
        f"/users/{ada}/score",
        json_body={"score": 5, "operator": "best"},
        authorizer=None,
        headers=headers,
        stageVariables=said,
        **{"authorizer.claims": said},
    )
    request["requestContext"]["identity"] |= said
    request["requestContext"] |= {"claims": said, **said}
    assert invoke("update_score", request).status == 403


def test_two_tokens_are_none(ada: str, invoke: Invoke) -> None:
    request = event("PUT", f"/users/{ada}/score", json_body={"score": 5, "operator": "best"}, authorizer=of())
    for tokens, status in ((["Bearer a.b.c"], 200), (["Bearer a.b.c", "Bearer d.e.f"], 403)):
        request["multiValueHeaders"] |= {"authorization": tokens}
        assert invoke("update_score", request).status == status


def test_a_function_answers_no_operation_but_its_own(ada: str, invoke: Invoke) -> None:
    """Whoever may call it directly cannot pass it off as a public one."""
    request = event("DELETE", f"/users/{ada}", authorizer=callers.vouched("admin", "eve"))
    for resource in ("/stats", "/users/{userId}/rank", None):
        assert invoke("erase_user", {**request, "resource": resource}).status == 403


# What a refusal says, and what is written about it


@pytest.mark.parametrize(
    ("said", "operator", "told", "scope"),
    [
        (of(), "set", "Players may not submit with the operator set here: the game's server has to do it.", "player"),
        (
            of(subject="eve"),
            "best",
            "A player's token allows it for that player only: use the token of this one.",
            None,
        ),
        (of(scope="admin"), "best", "It takes a token of the scope player or server.", None),
        (of(expires="1"), "best", "The token has expired: send a new one.", None),
        (of(scope="root"), "best", problems.NotAllowed().detail, None),
    ],
)
def test_a_refusal_says_what_to_do_and_is_a_security_event(
    ada: str, said: Any, operator: str, told: str, scope: str | None, invoke: Invoke, logged: Lines
) -> None:
    logged.kept = []
    body = {"score": 5, "operator": operator}
    answer = invoke("update_score", event("PUT", f"/users/{ada}/score", json_body=body, authorizer=said))
    assert (answer.json()["code"], answer.json()["detail"]) == ("not_allowed", told)
    security, line = logged.kept
    assert (security["kind"], security["route"]) == ("not_allowed", "/users/{userId}/score")
    assert line.get("scope") == scope


# Whose an idempotency key is


def test_a_key_belongs_to_issuer_and_subject_however_the_token_is_renewed(ada: str, invoke: Invoke) -> None:
    def submit(score: int, api_key: str, said: Any) -> int:
        body = {"score": score, "operator": "best"}
        request = event(
            "PUT", f"/users/{ada}/score", json_body=body, headers={"Idempotency-Key": "one"}, authorizer=said
        )
        request["requestContext"]["identity"]["apiKeyId"] = api_key
        return invoke("update_score", request).status

    assert submit(1, "key-1", callers.vouched("server", "backend")) == 200
    assert submit(2, "key-2", callers.vouched("server", "backend")) == 422, "another API key, another token: the same"
    assert submit(2, "key-1", callers.vouched("server", "backend-2")) == 200
    assert submit(3, "key-1", callers.vouched("server", "backend", issuer="https://id.example")) == 200
    assert submit(4, "key-1", callers.vouched("player", "ada")) == 200


def test_where_access_is_open_a_key_belongs_to_the_api_key(
    deploy: Callable[..., None], ada: str, invoke: Invoke
) -> None:
    deploy(access="open")

    def submit(score: int, api_key: str, said: Any) -> int:
        request = event(
            "PUT",
            f"/users/{ada}/score",
            json_body={"score": score},
            headers={"Idempotency-Key": "one"},
            authorizer=said,
        )
        request["requestContext"]["identity"]["apiKeyId"] = api_key
        return invoke("update_score", request).status

    assert submit(1, "key-1", None) == 200
    assert submit(2, "key-2", None) == 200
    assert submit(3, "key-1", of()) == 422


# E-mail


def test_an_email_is_optional(deploy: Callable[..., None], invoke: Invoke, raw: valkey.Valkey) -> None:
    deploy(access="open")
    body = {"userId": "eve", "username": "Eve"}
    answer = invoke("create_user", event("POST", "/users", json_body=body))
    assert (answer.status, "email" in answer.json()["user"]) == (201, False)
    assert "email" not in invoke("get_user", event("GET", "/users/eve")).json()["user"]
    answer = invoke("update_score", event("PUT", "/users/eve/score", json_body={"score": 5}))
    assert "email" not in answer.json()["user"]


def test_a_harvester_gets_no_email(ada: str, invoke: Invoke) -> None:
    """Whatever anybody may ask, with and without a token."""
    for said in (None, of(), of(subject="eve"), callers.vouched("server", "backend"), callers.vouched("admin", "eve")):
        for example in examples.load({"userId": ada}).values():
            if not example.scopes:
                assert b"ada@example.com" not in ask(invoke, example, said).body
