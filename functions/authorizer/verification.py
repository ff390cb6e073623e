"""Whether a token is to be believed, and whose it is: our own, or one of the studio's own identity provider (OIDC)."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import exceptions

from functions.authorizer.jwks import Jwks
from shared.config import IS_ID, MisconfiguredError, Oidc, settings
from shared.tokens import SCOPES, SKEW_SECONDS, Fault, is_name

LONGEST = 4096
"""Characters. Tokens of ours have about 400; those of a provider that lists groups may have thousands."""

_is_bearer = re.compile(r"[Bb]earer ([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)\Z").match
_is_visible = re.compile(r"[!-~]{1,255}\Z").match

FAULTS: dict[type[Exception], Fault] = {
    exceptions.ExpiredSignatureError: "expired",
    exceptions.ImmatureSignatureError: "not_yet_valid",
    exceptions.InvalidAudienceError: "audience",
    exceptions.InvalidAlgorithmError: "algorithm",
    exceptions.InvalidSignatureError: "signature",
    exceptions.DecodeError: "malformed",
}
"""What the library's exceptions mean; all others are about what a token should have said."""


class Refused(Exception):
    """The token is not believed. The fault is a word for the log: the caller hears nothing of it."""

    def __init__(self, fault: Fault):
        super().__init__(fault)
        self.fault = fault


class Caller(TypedDict):
    """Who sent a request, all in text as API Gateway hands it on."""

    issuer: str
    subject: str
    scope: str
    expires: str
    """In seconds since 1970: the last moment at which the token is believed, other clocks allowed for."""
    tokenId: str
    """'' where a provider gives its tokens none."""


@dataclass(frozen=True)
class Known:
    """Whose tokens are believed."""

    issuer: str | None
    keys: Mapping[str, ec.EllipticCurvePublicKey]
    revoked: frozenset[str]
    oidc: Oidc | None
    jwks: Jwks | None


@functools.cache
def known() -> Known:
    """What the settings say, read once. Raises MisconfiguredError."""
    own = settings()
    if not own.token_public_keys and not own.oidc:
        raise MisconfiguredError("TOKEN_PUBLIC_KEYS is missing, and there is no OIDC_ISSUER: nobody has a token then")
    keys = {kid: _public_key(kid, pem) for kid, pem in own.token_public_keys.items()}
    return Known(own.token_issuer, keys, own.revoked_tokens, own.oidc, Jwks(own.oidc.jwks_url) if own.oidc else None)


def caller(header: str) -> Caller:
    """Who the value of the header Authorization stands for.

    Raises Refused, and JwksAwayError where nobody can tell because the provider's keys are out of reach.
    """
    found = _is_bearer(header) if len(header) <= LONGEST else None
    if not found:
        raise Refused("malformed")
    whose = known()
    try:
        head, said = jwt.get_unverified_header(found[1]), _unverified(found[1])
        issuer = said.get("iss")
        if whose.issuer and issuer == whose.issuer:
            return _own(whose, found[1], head)
        if whose.oidc and whose.jwks and issuer == whose.oidc.issuer:
            return _providers(whose.oidc, whose.jwks, whose.revoked, found[1], head)
    except exceptions.PyJWTError as error:
        raise Refused(FAULTS.get(type(error), "claims")) from None
    except (ValueError, RecursionError, OverflowError):  # a part is no JSON, or a number no time
        raise Refused("malformed") from None
    raise Refused("issuer")


def _own(whose: Known, token: str, head: Mapping[str, Any]) -> Caller:
    key = whose.keys.get(head.get("kid", ""))
    if key is None:
        raise Refused("key")
    claims = _verified(token, key, ["ES256"], whose.issuer, whose.issuer, ["iat", "jti"])
    if claims["aud"] != whose.issuer:  # one of several would do for the library
        raise Refused("audience")
    scope, subject = str(claims.get("scope")), claims["sub"]
    if scope not in SCOPES or not (IS_ID if scope == "player" else is_name)(subject):
        raise Refused("claims")
    return _caller(claims, subject, scope, whose.revoked)


def _providers(oidc: Oidc, jwks: Jwks, revoked: frozenset[str], token: str, head: Mapping[str, Any]) -> Caller:
    key = jwks.key(head.get("kid", ""))
    if key is None:
        raise Refused("key")
    claims = _verified(token, key.key, [key.algorithm], oidc.audience, oidc.issuer, [])
    scopes = _words(claims.get(oidc.scope_claim)) & {*SCOPES} if oidc.scope_claim else {"player"}
    if len(scopes) != 1:
        raise Refused("claims")
    (scope,) = scopes
    subject = claims.get(oidc.user_claim if scope == "player" else "sub")
    if not isinstance(subject, str) or not (IS_ID if scope == "player" else _is_visible)(subject):
        raise Refused("claims")
    return _caller(claims, subject, scope, revoked)


def _verified(
    token: str,
    key: Any,
    algorithms: list[str],
    audience: str | None,
    issuer: str | None,
    also_required: Iterable[str],
) -> dict[str, Any]:
    """A token's claims, once everything is as it has to be. Raises PyJWTError and ValueError."""
    required = ["exp", "iss", "aud", "sub", *also_required]
    return jwt.decode(
        token, key, algorithms, audience=audience, issuer=issuer, leeway=SKEW_SECONDS, options={"require": required}
    )


def _caller(claims: Mapping[str, Any], subject: str, scope: str, revoked: frozenset[str]) -> Caller:
    token_id = claims.get("jti", "")
    if token_id in revoked:
        raise Refused("revoked")
    if token_id and not _is_visible(token_id):
        raise Refused("claims")
    return {
        "issuer": claims["iss"],
        "subject": subject,
        "scope": scope,
        "expires": str(int(claims["exp"]) + SKEW_SECONDS),
        "tokenId": token_id,
    }


def _unverified(token: str) -> dict[str, Any]:
    """What a token says, whoever wrote it: good for nothing but to choose the key that it must be signed with."""
    said = json.loads(jwt.utils.base64url_decode(token.split(".")[1]))
    if not isinstance(said, dict):
        raise ValueError("the claims are no object")
    return said


def _words(claim: Any) -> set[str]:
    """A provider's scopes, a text with spaces or a list of texts."""
    words = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return {word for word in words if isinstance(word, str)}


def _public_key(kid: str, pem: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError:
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise MisconfiguredError(f"TOKEN_PUBLIC_KEYS is wrong for {kid}: it should be a public key of P-256 in PEM")
    return key
