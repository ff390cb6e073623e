"""Which tokens are believed, whose they are, and that nothing of one that is not believed is ever logged."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.authorizer import handler as authorizer
from functions.authorizer import jwks, verification
from scripts.local.proxy import Context
from shared import config
from tests.support import tokens
from tests.support.lines import Lines, parsed
from tests.support.tokens import AUDIENCE, ISSUER, PROVIDER, own_claims, providers_claims, signed, written
from tests.support.tunnels import Authority
from tests.support.wires import free_port, silent

STAGE = "arn:aws:execute-api:eu-central-1:123456789012:abc123/dev"


@pytest.fixture(autouse=True)
def _believing() -> Iterator[None]:
    """Two keys of our own are believed; `third` is nobody's."""
    with tokens.believing(**tokens.own_keys("first", "second"), REVOKED_TOKENS="stolen, lost"):
        yield


def ask(token: str, *, scheme: str = "Bearer ", method: str = f"{STAGE}/PUT/users/a/score") -> dict[str, Any]:
    """What API Gateway hears about a token."""
    event = {"type": "TOKEN", "authorizationToken": f"{scheme}{token}", "methodArn": method}
    answer: dict[str, Any] = json.loads(json.dumps(authorizer.handler(event, Context())))
    return answer


def caller(token: str) -> dict[str, str]:
    """Whom a token stands for."""
    found: dict[str, str] = ask(token)["context"]
    return found


def fault(token: str, logged: Lines, **how: str) -> str:
    """Why a token is refused, which only the log says: API Gateway hears a word that it knows, and nothing else."""
    logged.kept = []
    with pytest.raises(Exception, match=r"^Unauthorized\Z") as refusal:
        ask(token, **how)
    assert type(refusal.value) is Exception
    assert refusal.value.__context__ is None, "Lambda would log it"
    (line,) = logged.kept
    assert (line["event"], line["kind"], line["level"]) == ("security", "token_refused", "INFO")
    reason: str = line["reason"]
    return reason


class TestOurOwn:
    def test_a_callers_scope_and_name_come_with_leave_for_the_whole_stage(self) -> None:
        expires = int(time.time()) + 600
        answer = ask(signed(own_claims("player", "user-7", exp=expires, jti="a-token")))
        assert answer["context"] == {
            "issuer": ISSUER,
            "subject": "user-7",
            "scope": "player",
            "expires": str(expires + 60),
            "tokenId": "a-token",
        }
        assert answer["principalId"] == "user-7"
        (statement,) = answer["policyDocument"]["Statement"]
        assert statement == {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": f"{STAGE}/*/*"}

    @pytest.mark.parametrize("key", ["first", "second"])
    @pytest.mark.parametrize("scope", ["player", "server", "admin"])
    def test_both_keys_and_all_scopes_are_believed(self, key: str, scope: str) -> None:
        assert caller(signed(own_claims(scope), key))["scope"] == scope

    def test_a_key_takes_the_others_place_without_an_outage(self, logged: Lines) -> None:
        old, new = signed(own_claims(), "first"), signed(own_claims(), "third")
        for keys, believed in [
            (("first",), (old,)),
            (("first", "third"), (old, new)),  # the new one is made known, then signs
            (("third",), (new,)),  # the old one's last token has ended
        ]:
            with tokens.believing(**tokens.own_keys(*keys)):
                for token in (old, new):
                    if token in believed:
                        assert caller(token)["subject"] == "backend"
                    else:
                        assert fault(token, logged) == "key"

    @pytest.mark.parametrize(
        ("claims", "why"),
        [
            ({"exp": -61}, "expired"),
            ({"nbf": 90}, "not_yet_valid"),
            ({"iat": 90}, "not_yet_valid"),
            ({"aud": "leaderboard-prod"}, "audience"),
            ({"aud": [ISSUER, "another"]}, "audience"),
            ({"aud": None}, "claims"),
            ({"iss": "leaderboard-prod"}, "issuer"),
            ({"iss": None}, "issuer"),
            ({"iss": [ISSUER]}, "issuer"),
            ({"exp": None}, "claims"),
            ({"iat": None}, "claims"),
            ({"jti": None}, "claims"),
            ({"sub": None}, "claims"),
            ({"scope": None}, "claims"),
            ({"scope": "root"}, "claims"),
            ({"scope": "player server"}, "claims"),
            ({"scope": ["server"]}, "claims"),
            ({"sub": "two\nlines"}, "claims"),
            ({"sub": "line\u2028separator"}, "claims"),
            ({"sub": "backend\n"}, "claims"),
            ({"sub": "a b"}, "claims"),
            ({"sub": ""}, "claims"),
            ({"sub": 7}, "claims"),
            ({"scope": "player", "sub": "some.body"}, "claims"),
            ({"scope": "player", "sub": "player\n"}, "claims"),
            ({"jti": "stolen"}, "revoked"),
            ({"jti": "lost"}, "revoked"),
            ({"jti": "two\nlines"}, "claims"),
            ({"jti": ["stolen"]}, "claims"),
            ({"exp": "soon"}, "malformed"),
            ({"exp": 1e400}, "malformed"),
        ],
    )
    def test_a_signed_token_that_says_something_else_is_refused(
        self, claims: dict[str, Any], why: str, logged: Lines
    ) -> None:
        now = int(time.time())
        moved = {
            name: now + value if name in ("exp", "nbf", "iat") and isinstance(value, int) else value
            for name, value in claims.items()
        }
        assert fault(signed(own_claims(**moved)), logged) == why

    def test_clocks_may_be_a_minute_apart(self) -> None:
        now = int(time.time())
        for moved in ({"exp": now - 50}, {"iat": now + 50}, {"nbf": now + 50}):
            assert caller(signed(own_claims(**moved)))["subject"] == "backend"

    def test_a_crit_that_nobody_understands_is_refused(self, logged: Lines) -> None:
        assert fault(signed(own_claims(), crit=["b64"], b64=True), logged) == "claims"


def hmac_with_the_public_key() -> str:
    """HS256 with what everybody may know, which a verifier that believes the header takes for a secret."""
    signed_part = written({"alg": "HS256", "kid": "first"}, own_claims()).rpartition(".")[0]
    digest = hmac.digest(tokens.public_pem("first").encode(), signed_part.encode(), hashlib.sha256)
    return f"{signed_part}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def with_another_subject() -> str:
    """A token of ours in which somebody has put in another name."""
    head, _, signature = signed(own_claims("player", "me")).split(".")
    return ".".join((head, written({}, own_claims("player", "you")).split(".")[1], signature))


FORGED = {
    "another's key under our kid": (lambda: signed(own_claims(), "third", kid="first"), "signature"),
    "another's key under its own kid": (lambda: signed(own_claims(), "third"), "key"),
    "no kid": (lambda: signed(own_claims(), kid=None), "key"),
    "alg none, some signature": (lambda: written({"alg": "none", "kid": "first"}, own_claims(), b"x"), "algorithm"),
    "alg None": (lambda: written({"alg": "None", "kid": "first"}, own_claims(), b"x"), "algorithm"),
    "alg a list": (lambda: written({"alg": ["ES256"], "kid": "first"}, own_claims(), b"x"), "algorithm"),
    "no alg": (lambda: written({"kid": "first"}, own_claims(), b"x"), "algorithm"),
    "HS256 with the public key": (hmac_with_the_public_key, "algorithm"),
    "RS256 under our kid": (lambda: signed(own_claims(), "rsa", kid="first"), "algorithm"),
    "another curve": (lambda: signed(own_claims(), "p384", algorithm="ES384", kid="first"), "algorithm"),
    "another subject": (with_another_subject, "signature"),
    "a key that it brings along": (
        lambda: signed(own_claims(), "third", kid="first", jwk=tokens.public_jwk("third")),
        "signature",
    ),
    "no signature": (lambda: written({"alg": "none"}, own_claims()), "malformed"),
    "truncated": (lambda: signed(own_claims())[:-1], "malformed"),
    "half": (lambda: signed(own_claims()).rpartition(".")[0], "malformed"),
    "one more part": (lambda: f"{signed(own_claims())}.e30", "malformed"),
    "eight KiB": (lambda: signed(own_claims(more="x" * 6000)), "malformed"),
    "claims that are a list": (lambda: written({"alg": "ES256", "kid": "first"}, [1], b"x"), "malformed"),
    "claims that are nested": (lambda: _raw(b'{"alg":"ES256"}', b"[" * 1500), "malformed"),
    "claims that are no text": (lambda: _raw(b'{"alg":"ES256"}', b"\xff\xfe"), "malformed"),
    "a head that is a list": (lambda: written([], own_claims(), b"x"), "malformed"),
    "a kid that is a number": (lambda: written({"alg": "ES256", "kid": 1}, own_claims(), b"x"), "claims"),
    "nothing": (lambda: "", "malformed"),
}


def _raw(*parts: bytes) -> str:
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, b"signature"))


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_token_is_refused(forged: str, logged: Lines, capfd: pytest.CaptureFixture[str]) -> None:
    make, why = FORGED[forged]
    token = make()
    assert fault(token, logged) == why
    printed = "".join(capfd.readouterr())
    assert parsed(printed)
    assert not [part for part in token.split(".") if len(part) > 8 and part in printed], "nothing of it is logged"


@pytest.mark.parametrize(
    "scheme", ["", "Basic ", "bearer", "Bearer  ", " Bearer ", "BEARER ", "Bearer a.b.c,Bearer ", "Bearer\n"]
)
def test_what_is_not_a_bearers_token_is_refused(scheme: str, logged: Lines) -> None:
    assert fault(signed(own_claims()), logged, scheme=scheme) == "malformed"


def test_no_garbage_does_more_than_be_refused(logged: Lines) -> None:
    chance = random.Random(14)
    good = signed(own_claims())
    for _ in range(300):
        letters = [*good]
        for _ in range(chance.randint(1, 4)):
            letters[chance.randrange(len(letters) - 1)] = chance.choice("AQgw.-_9=\n{ é")  # the last has spare bits
        if "".join(letters) != good:
            fault("".join(letters), logged)


class TestTheProvider:
    @pytest.fixture
    def provider(self) -> Iterator[tokens.Provider]:
        """A provider that is believed, and our own keys are too."""
        with (
            tokens.Provider("rsa-1", "ec-1").serving() as serving,
            tokens.believing(**tokens.own_keys("first"), **serving.environment(), REVOKED_TOKENS="stolen"),
        ):
            yield serving

    @pytest.mark.usefixtures("provider")
    @pytest.mark.parametrize("key", ["rsa-1", "ec-1"])
    def test_its_tokens_are_players_unless_a_claim_says_otherwise(self, key: str) -> None:
        expires = int(time.time()) + 600
        found = caller(signed(providers_claims(scope="admin", exp=expires), key))
        assert found == {
            "issuer": PROVIDER,
            "subject": "player-7",
            "scope": "player",
            "expires": str(expires + 60),
            "tokenId": "",
        }
        assert caller(signed(own_claims()))["issuer"] == ISSUER, "our own are believed beside them"

    @pytest.mark.parametrize(
        ("claims", "scope", "subject"),
        [
            ({"roles": "openid player", "game_id": "p1"}, "player", "p1"),
            ({"roles": ["player"], "game_id": "p1"}, "player", "p1"),
            ({"roles": ["server", 7], "sub": "auth0|42@clients"}, "server", "auth0|42@clients"),
            ({"roles": "admin profile", "sub": "somebody"}, "admin", "somebody"),
        ],
    )
    def test_claims_that_the_studio_names_say_scope_and_player(
        self, provider: tokens.Provider, claims: dict[str, Any], scope: str, subject: str
    ) -> None:
        with tokens.believing(**provider.environment(OIDC_SCOPE_CLAIM="roles", OIDC_USER_CLAIM="game_id")):
            found = caller(signed(providers_claims(**claims), "rsa-1"))
        assert (found["scope"], found["subject"]) == (scope, subject)

    @pytest.mark.parametrize(
        "claims",
        [
            {"game_id": "p1"},
            {"roles": "openid profile", "game_id": "p1"},
            {"roles": "player admin", "game_id": "p1"},
            {"roles": {"player": True}, "game_id": "p1"},
            {"roles": "player"},
            {"roles": "player", "game_id": 7},
            {"roles": "player", "game_id": "auth0|7"},
            {"roles": "player", "game_id": "p1\n"},
            {"roles": "server", "sub": "two\nlines"},
            {"roles": "server", "sub": None},
        ],
    )
    def test_whose_scope_or_player_is_unclear_is_refused(
        self, provider: tokens.Provider, claims: dict[str, Any], logged: Lines
    ) -> None:
        with tokens.believing(**provider.environment(OIDC_SCOPE_CLAIM="roles", OIDC_USER_CLAIM="game_id")):
            assert fault(signed(providers_claims(**claims), "rsa-1"), logged) == "claims"

    @pytest.mark.usefixtures("provider")
    @pytest.mark.parametrize(
        ("token", "why"),
        [
            (lambda: signed(providers_claims(iss="https://id.studio.example"), "rsa-1"), "issuer"),
            (lambda: signed(providers_claims(aud="another-app"), "rsa-1"), "audience"),
            (lambda: signed(providers_claims(exp=int(time.time()) - 90), "rsa-1"), "expired"),
            (lambda: signed(providers_claims(jti="stolen"), "rsa-1"), "revoked"),
            (lambda: signed(providers_claims(), "rsa-1", algorithm="PS256"), "algorithm"),
            (lambda: signed(providers_claims(), "rsa-1", algorithm="RS512"), "algorithm"),
            (lambda: signed(providers_claims(), "ec-1", kid="rsa-1"), "algorithm"),
            (lambda: signed(providers_claims(), "rsa-9", kid="rsa-1"), "signature"),
            (lambda: signed(providers_claims(), "rsa-9"), "key"),
            (lambda: signed(providers_claims(), "rsa-1", kid=None), "key"),
            (lambda: written({"alg": "none", "kid": "rsa-1"}, providers_claims(), b"x"), "algorithm"),
            (lambda: signed(own_claims(), "rsa-1"), "key"),
            (lambda: signed(own_claims(iss=PROVIDER), "first"), "key"),
        ],
    )
    def test_a_token_of_its_that_is_not_for_us_is_refused(self, token: Any, why: str, logged: Lines) -> None:
        assert fault(token(), logged) == why

    def test_its_keys_are_asked_for_once(self, provider: tokens.Provider) -> None:
        for key in ("rsa-1", "ec-1", "rsa-1"):
            caller(signed(providers_claims(), key))
        assert provider.asked == 1

    def test_a_new_key_is_found_and_made_up_ones_cost_a_call_a_minute(
        self, provider: tokens.Provider, logged: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old, new = signed(providers_claims(), "rsa-1"), signed(providers_claims(), "ec-2")
        caller(old)
        provider.document["keys"].append(tokens.public_jwk("ec-2"))
        for _ in range(20):
            assert fault(signed(providers_claims(), "third"), logged) == "key"
        assert provider.asked == 1, "it was asked less than a minute ago"
        monkeypatch.setattr(jwks, "BETWEEN_SECONDS", 0)
        assert caller(new)["subject"] == caller(old)["subject"] == "player-7"
        assert provider.asked == 2

    def test_a_key_that_it_takes_back_is_believed_for_an_hour(
        self, provider: tokens.Provider, logged: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = signed(providers_claims(), "rsa-1")
        caller(token)
        del provider.document["keys"][0]
        assert caller(token)
        monkeypatch.setattr(jwks, "FRESH_SECONDS", 0)  # the hour has passed
        monkeypatch.setattr(jwks, "BETWEEN_SECONDS", 0)
        assert fault(token, logged) == "key"

    @pytest.mark.parametrize("how", ["503", "302", "no json", "no keys", "too large"])
    def test_while_it_is_away_its_known_keys_do_for_a_day(
        self, provider: tokens.Provider, how: str, logged: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = signed(providers_claims(), "rsa-1")
        caller(token)
        fail(provider, how)
        monkeypatch.setattr(jwks, "FRESH_SECONDS", 0)
        monkeypatch.setattr(jwks, "BETWEEN_SECONDS", 0)
        logged.kept = []
        assert caller(token)["subject"] == "player-7"
        assert [line["level"] for line in logged.kept] == ["WARNING"]
        assert fault_or_failure(signed(providers_claims(), "ec-2"), logged) == "key"
        monkeypatch.setattr(jwks, "LONGEST_SECONDS", 0)  # the day has passed
        assert fault_or_failure(token, logged) == "authorizer_failed"

    @pytest.mark.parametrize("how", ["503", "302", "no json", "no keys", "too large", "closed"])
    def test_without_its_keys_nobody_gets_in_and_it_is_our_failure(
        self, provider: tokens.Provider, how: str, logged: Lines
    ) -> None:
        fail(provider, how)
        token = signed(providers_claims(), "rsa-1")
        with tokens.believing(**{**tokens.own_keys("first"), **provider.environment()}):
            assert fault_or_failure(token, logged) == "authorizer_failed"
            assert fault_or_failure(token, logged) == "authorizer_failed"
            assert provider.asked <= 1, "it is not asked again within seconds"
            assert caller(signed(own_claims()))["issuer"] == ISSUER, "ours need nobody else"

    def test_a_provider_that_never_answers_is_waited_for_for_seconds(
        self, logged: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.05)
        with silent() as port, tokens.believing(**oidc(f"http://127.0.0.1:{port}/keys")):
            assert fault_or_failure(signed(providers_claims(), "rsa-1"), logged) == "authorizer_failed"

    @pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
    def test_a_key_that_is_weak_or_for_something_else_is_none(self, provider: tokens.Provider, logged: Lines) -> None:
        provider.document = {
            "keys": [
                tokens.public_jwk("rsa-weak"),
                tokens.public_jwk("rsa-2", use="enc"),
                tokens.public_jwk("rsa-3", alg="RS512"),
                tokens.public_jwk("p384"),
                {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
                {"kty": "RSA", "kid": "half"},
                {"kty": "EC"},
                None,
                tokens.public_jwk("rsa-4", alg="RS256"),
            ]
        }
        for key in ("rsa-weak", "rsa-2", "rsa-3"):
            assert fault(signed(providers_claims(), key), logged) == "key", key
        assert fault(signed(providers_claims(), "p384", algorithm="ES384"), logged) == "key"
        assert caller(signed(providers_claims(), "rsa-4"))["subject"] == "player-7"

    def test_over_tls_its_certificate_has_to_be_good(
        self, tmp_path: Path, logged: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours, others = Authority(tmp_path), Authority(tmp_path)
        token = signed(providers_claims(), "rsa-1")
        monkeypatch.setenv("SSL_CERT_FILE", str(ours.file))
        with tokens.Provider("rsa-1").serving(ours.context("localhost")) as provider:
            with tokens.believing(**provider.environment()):
                assert caller(token)["subject"] == "player-7"
            assert provider.url.startswith("https://")
            monkeypatch.setenv("SSL_CERT_FILE", str(others.file))
            with tokens.believing(**provider.environment()):
                assert fault_or_failure(token, logged) == "authorizer_failed"
        monkeypatch.setenv("SSL_CERT_FILE", str(ours.file))
        with (
            tokens.Provider("rsa-1").serving(ours.context("other.example")) as provider,
            tokens.believing(**provider.environment()),
        ):
            assert fault_or_failure(token, logged) == "authorizer_failed"


def fail(provider: tokens.Provider, how: str) -> None:
    """Makes a provider answer something else."""
    if how.isdigit():
        provider.status, provider.headers = int(how), {"Location": provider.url}
    elif how == "closed":
        provider.url = f"http://127.0.0.1:{free_port()}/keys"
    else:
        large = {**provider.document, "more": "x" * 300_000}
        provider.document = {"no json": float("nan"), "no keys": [], "too large": large}[how]


def fault_or_failure(token: str, logged: Lines) -> str:
    """Why a token gets nobody in."""
    logged.kept = []
    with pytest.raises(Exception) as failure:  # noqa: PT011 - whichever it is
        ask(token)
    assert failure.value.__suppress_context__ or failure.value.__context__ is None, "Lambda would log that too"
    line = logged.kept[-1]
    if line["kind"] == "authorizer_failed":
        assert isinstance(failure.value, authorizer.AuthorizerError)
        assert line["level"] == "ERROR"
    found: str = line.get("reason") or line["kind"]
    return found


def oidc(url: str) -> dict[str, str]:
    """The variables by which a provider at a URL is believed."""
    return {"OIDC_ISSUER": PROVIDER, "OIDC_AUDIENCE": AUDIENCE, "OIDC_JWKS_URL": url}


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, "TOKEN_PUBLIC_KEYS is missing"),
        ({"TOKEN_PUBLIC_KEYS": "{}"}, "TOKEN_PUBLIC_KEYS is missing"),
        ({"TOKEN_ISSUER": "a", "TOKEN_PUBLIC_KEYS": "no json"}, "TOKEN_PUBLIC_KEYS is malformed"),
        ({"TOKEN_ISSUER": "a", "TOKEN_PUBLIC_KEYS": '{"k": "secret"}'}, "TOKEN_PUBLIC_KEYS is malformed"),
        (
            {"TOKEN_ISSUER": "a", "TOKEN_PUBLIC_KEYS": '{"k": "-----BEGIN PUBLIC KEY-----"}'},
            "TOKEN_PUBLIC_KEYS is wrong for k",
        ),
        ({"TOKEN_PUBLIC_KEYS": json.dumps({"k": tokens.public_pem("first")})}, "TOKEN_ISSUER is missing"),
        (
            {"TOKEN_ISSUER": "a", "TOKEN_PUBLIC_KEYS": json.dumps({"k": tokens.public_pem("p384")})},
            "TOKEN_PUBLIC_KEYS is wrong for k",
        ),
        ({"OIDC_ISSUER": PROVIDER}, "OIDC_ISSUER is set: OIDC_AUDIENCE and OIDC_JWKS_URL are needed"),
        (oidc("http://id.studio.example/keys"), "OIDC_JWKS_URL is"),
        (oidc("file:///etc/passwd"), "OIDC_JWKS_URL is"),
        ({**oidc("https://id.studio.example/keys"), "TOKEN_ISSUER": PROVIDER}, "OIDC_ISSUER is TOKEN_ISSUER"),
        ({"TOKEN_ISSUER": "two words"}, "TOKEN_ISSUER is"),
    ],
)
def test_a_wrong_setting_is_named_and_nobody_gets_in(environment: dict[str, str], named: str, logged: Lines) -> None:
    with tokens.believing(**environment):
        assert fault_or_failure(signed(own_claims()), logged) == "authorizer_failed"
        assert logged.kept
        cause = logged.kept[-1]["cause"]
        assert isinstance(cause, str), cause
        assert cause.startswith(named), cause
        with pytest.raises(config.MisconfiguredError, match=named):
            verification.known()


@pytest.mark.parametrize("method", ["", "arn:aws:lambda:x", f"{STAGE}", "arn:aws:execute-api:eu:1:a/b"])
def test_an_event_that_names_no_stage_gets_nobody_in(method: str) -> None:
    with pytest.raises(authorizer.AuthorizerError):
        ask(signed(own_claims()), method=method)
