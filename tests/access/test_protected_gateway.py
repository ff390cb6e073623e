"""The local gateway where access is protected: it asks the authorizer as API Gateway does, and lets in nobody else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from functions.authorizer import handler as authorizer
from scripts.local import authorizing, embedded_valkey, examples, keys
from scripts.local import gateway as local_gateway
from shared import clock, problems
from shared import tokens as made
from tests.support import tokens
from tests.support.api import Api

REQUESTS = examples.load()
PROTECTED = [one for one in REQUESTS.values() if one.scopes]
PUBLIC = [one for one in REQUESTS.values() if not one.scopes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose key signs the tokens that are believed here."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def _believing(folder: Path) -> Iterator[None]:
    with tokens.believing(ACCESS="protected", **keys.settings(folder)):
        yield


@pytest.fixture
def protected(server: embedded_valkey.Server, empty: None) -> Iterator[Api]:
    """The API, as it is where access is protected."""
    with local_gateway.running({"ACCESS": "protected"}) as base_url:
        client = Api(base_url)
        yield client
        client.close()


@pytest.fixture
def bearer(folder: Path) -> Callable[..., dict[str, str]]:
    """`bearer("player", "user-7")`: the header with a token of ours."""

    def header(scope: Any, subject: str = "backend") -> dict[str, str]:
        return {"Authorization": f"Bearer {tokens.issue(folder, scope, subject)}"}

    return header


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the authorizer was asked, from now on: the gateway finds it when it starts."""
    events: list[dict[str, Any]] = []
    real = authorizer.handler

    def watched(sent: dict[str, Any], context: Any) -> dict[str, Any]:
        events.append(sent)
        return real(sent, context)

    monkeypatch.setattr(authorizer, "handler", watched)
    return events


def code(response: httpx.Response) -> tuple[int, str]:
    """A refusal's status and code."""
    return response.status_code, response.json()["code"]


UNAUTHENTICATED = (401, "unauthenticated")
BEARER = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln"


class TestWhoIsAsked:
    @pytest.mark.parametrize(
        "headers",
        [
            [],
            [("Authorization", "")],
            [("Authorization", "Bearer")],
            [("Authorization", "Basic YTpi")],
            [("Authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.")],
            [("Authorization", f"{BEARER} x")],
            [("Authorization", f"{BEARER},{BEARER}")],
            [("Authorization", BEARER), ("authorization", BEARER)],
            [("Authorization", "Bearer \u00e9.a.b".encode())],
            [("X-Authorization", BEARER)],
        ],
    )
    def test_without_one_header_that_looks_like_a_token_nobody_is_asked(
        self, asked: list[dict[str, Any]], protected: Api, headers: list[tuple[str, Any]]
    ) -> None:
        for example in PROTECTED:
            response = protected.request(example.method, example.target, json=example.body, headers=headers)
            assert code(response) == UNAUTHENTICATED, example.operation_id
        assert asked == []

    def test_two_good_tokens_are_refused_and_so_is_one_in_the_query(
        self, protected: Api, folder: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        token = tokens.issue(folder, "server", "backend")
        header = ("Authorization", f"Bearer {token}")
        ask = REQUESTS["sessions.get"]
        assert code(protected.get(ask.target, headers=[header, header])) == UNAUTHENTICATED
        for name in ("access_token", "Authorization", "authorizationToken"):
            assert code(protected.get(f"{ask.target}?{name}={token}")) == UNAUTHENTICATED
        assert token not in "".join(capfd.readouterr())

    def test_what_is_public_asks_nobody_whatever_comes_with_it(
        self, asked: list[dict[str, Any]], protected: Api, bearer: Callable[..., dict[str, str]]
    ) -> None:
        ids = {
            "userId": protected.post("/users", json={"username": "Ada"}, headers=bearer("server")).json()["user"][
                "userId"
            ]
        }
        del asked[:]
        for example in PUBLIC:
            target = example.target.replace(example.parameters.get("userId", "-"), ids["userId"])
            for headers in ({}, {"Authorization": BEARER}):
                assert protected.request(example.method, target, headers=headers).status_code == 200, example
        assert asked == []

    def test_the_event_is_api_gateways_and_the_answer_is_kept_for_the_next_request(
        self, asked: list[dict[str, Any]], protected: Api, bearer: Callable[..., dict[str, str]]
    ) -> None:
        header = bearer("server")
        for path in ("/users/ada/export", "/sessions/none", "/sessions/none"):
            protected.get(path, headers=header)
        (sent,) = asked
        arn = "arn:aws:execute-api:eu-central-1:123456789012:local/local/GET/users/ada/export"
        assert sent == {"type": "TOKEN", "methodArn": arn, "authorizationToken": header["Authorization"]}
        protected.get("/sessions/none", headers=bearer("server"))
        assert len(asked) == 2, "another token is asked for anew"

    def test_a_refusal_is_not_kept(self, asked: list[dict[str, Any]], protected: Api) -> None:
        for _ in range(2):
            assert code(protected.get("/sessions/none", headers={"Authorization": BEARER})) == UNAUTHENTICATED
        assert len(asked) == 2


@pytest.mark.usefixtures("server")
class TestWhatItHears:
    @pytest.mark.parametrize("scope", made.SCOPES)
    def test_functions_are_told_who_the_caller_is(
        self, protected: Api, bearer: Callable[..., dict[str, str]], scope: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[Any] = []
        told = local_gateway.proxy.event

        def watched(*given: Any) -> Any:
            seen.append(told(*given)["requestContext"].get("authorizer"))
            return told(*given)

        monkeypatch.setattr(local_gateway.proxy, "event", watched)
        protected.get("/sessions/none", headers=bearer(scope, "ada"))
        protected.get("/stats", headers=bearer(scope, "ada"))
        caller, nobody = seen
        assert nobody is None
        assert {name: caller[name] for name in ("principalId", "subject", "scope", "issuer")} == {
            "principalId": "ada",
            "subject": "ada",
            "scope": scope,
            "issuer": keys.ISSUER,
        }
        assert set(map(type, caller.values())) == {str}

    @pytest.mark.parametrize(
        "answer",
        [
            RuntimeError("Unauthorized "),
            {},
            None,
            {"principalId": "a"},
            {"principalId": "a", "policyDocument": {}},
            {"policyDocument": {"Statement": []}},
            {"principalId": "a", "context": {"scope": ["server"]}, "policyDocument": {"Statement": []}},
        ],
    )
    def test_an_authorizer_that_fails_or_answers_nonsense_lets_nobody_in(
        self, answer: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(_event: Any, _context: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(authorizer, "handler", broken)
        with local_gateway.running({"ACCESS": "protected"}) as base_url:
            client = Api(base_url)
            response = client.get("/sessions/none", headers={"Authorization": BEARER})
            assert code(response) == (503, "unavailable")
            assert int(response.headers["Retry-After"]) > 0
            assert client.get("/stats").status_code == 200
            client.close()

    @pytest.mark.parametrize(
        ("effect", "resource", "allowed"),
        [
            ("Allow", "*", True),
            ("Allow", "arn:aws:execute-api:eu-central-1:123456789012:local/local/*/*", True),
            ("Allow", "arn:aws:execute-api:eu-central-1:123456789012:local/local/POST/*", False),
            ("Allow", "arn:aws:execute-api:eu-central-1:123456789012:local/other/*/*", False),
            ("Deny", "*", False),
        ],
    )
    def test_the_policy_decides(
        self, effect: str, resource: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": [resource]}
        answer = {"principalId": "a", "policyDocument": {"Statement": [statement]}, "context": {"n": 1, "yes": True}}
        monkeypatch.setattr(authorizer, "handler", lambda _event, _context: answer)
        request = local_gateway.proxy.Request("1", "GET", "/stats", "", [("authorization", BEARER)], b"", "")
        if allowed:
            found = authorizing.Authorizer().ask(request, 1)
            assert found == {"principalId": "a", "n": "1", "yes": "true"}
        else:
            with pytest.raises(problems.NotAllowed):
                authorizing.Authorizer().ask(request, 1)

    def test_with_no_key_to_believe_it_is_503_and_never_open(self) -> None:
        with tokens.believing(ACCESS="protected"), local_gateway.running({"ACCESS": "protected"}) as base_url:
            client = Api(base_url)
            assert code(client.get("/sessions/none")) == UNAUTHENTICATED
            assert code(client.get("/sessions/none", headers={"Authorization": BEARER})) == (503, "unavailable")
            client.close()

    def test_the_token_comes_before_the_api_key(self, bearer: Callable[..., dict[str, str]]) -> None:
        with local_gateway.running({"ACCESS": "protected", "API_KEY": "secret"}) as base_url:
            client = Api(base_url)
            assert code(client.get("/sessions/none", headers={"x-api-key": "secret"})) == UNAUTHENTICATED
            assert code(client.get("/sessions/none", headers=bearer("server"))) == (403, "forbidden")
            found = client.get("/sessions/none", headers={**bearer("server"), "x-api-key": "secret"})
            assert code(found) == (404, "session_not_found")
            client.close()


def test_where_access_is_open_no_header_is_looked_at(gateway: str, asked: list[dict[str, Any]]) -> None:
    with httpx.Client(trust_env=False) as client:
        response = client.get(f"{gateway}/sessions/none", headers=[("Authorization", BEARER)] * 2)
    assert response.status_code != 401
    assert asked == []


def test_a_browser_may_send_tokens_and_patches(protected: Api) -> None:
    response = protected.request("OPTIONS", "/users/ada")
    assert "Authorization" in response.headers["access-control-allow-headers"].split(", ")
    assert "PATCH" in response.headers["access-control-allow-methods"].split(", ")


def a_token(api: Api, header: dict[str, str], **body: Any) -> dict[str, Any]:
    """A player's token, issued by the API."""
    response = api.post("/users/user-7/tokens", json=body, headers=header)
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()["token"]
    return found


def test_a_token_that_a_server_is_issued_is_that_players_own(
    protected: Api, folder: Path, bearer: Callable[..., dict[str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    issued = a_token(protected, bearer("server"))
    own = {"Authorization": f"Bearer {issued['token']}"}
    created = protected.post("/users", json={"username": "Ada"}, headers=own)
    assert (created.status_code, created.json()["user"]["userId"]) == (201, "user-7")
    for header in (own, bearer("player", "user-7"), bearer("admin")):
        assert code(protected.post("/users/user-7/tokens", json={}, headers=header)) == (403, "not_allowed")
    with (
        tokens.believing(ACCESS="protected", REVOKED_TOKENS=issued["tokenId"], **keys.settings(folder)),
        local_gateway.running({"ACCESS": "protected"}) as base_url,
    ):
        refusing = Api(base_url)
        assert code(refusing.get("/sessions/none", headers=own)) == UNAUTHENTICATED
        refusing.close()
    assert issued["token"] not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("body", "seconds"), [({}, 3600), ({"lifetimeSeconds": 60}, 60), ({"lifetimeSeconds": 86400}, 86400)]
)
def test_it_lasts_as_long_as_was_asked_for(
    protected: Api, bearer: Callable[..., dict[str, str]], body: dict[str, int], seconds: int
) -> None:
    issued = a_token(protected, bearer("server"), **body)
    claims = jwt.decode(issued["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == seconds
    assert abs(claims["iat"] - time.time()) < 60
    assert issued["expiresAt"] == clock.text(claims["exp"] * 1000)
    assert (issued["tokenId"], issued["userId"], issued["scope"]) == (claims["jti"], claims["sub"], claims["scope"])
