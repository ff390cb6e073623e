"""Tokens as their issuers make them, and as others forge them; and functions that believe a test's issuers."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import http.server
import json
import os
import ssl
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from functions.authorizer import verification
from scripts.local import keys
from shared import config, tokens

ISSUER = keys.ISSUER
"""Who issues our own tokens, and whom they are for."""

PROVIDER = "https://id.studio.example/"
AUDIENCE = "leaderboard-api"

Claims = Mapping[str, Any]


@functools.cache
def private_key(name: str) -> Any:
    """A key of this name: `rsa…` is one of RSA, `p384…` of another curve, all others of P-256."""
    if name.startswith("rsa"):
        return rsa.generate_private_key(65537, 1024 if name.endswith("weak") else 2048)
    return ec.generate_private_key(ec.SECP384R1() if name.startswith("p384") else ec.SECP256R1())


def public_pem(name: str) -> str:
    """The public half of a key."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return private_key(name).public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def public_jwk(name: str, **members: Any) -> dict[str, Any]:
    """The public half as a provider publishes it; its kid is the key's name."""
    public = private_key(name).public_key()
    algorithm = jwt.algorithms.RSAAlgorithm if name.startswith("rsa") else jwt.algorithms.ECAlgorithm
    return {**json.loads(algorithm.to_jwk(public)), "kid": name, "use": "sig", **members}


def own_claims(scope: str = "server", subject: str = "backend", **claims: Any) -> dict[str, Any]:
    """What a token of ours says; None leaves a claim out."""
    now = int(time.time())
    lasting = {"iat": now, "exp": now + 600, "jti": str(uuid.uuid4())}
    said = {"iss": ISSUER, "aud": ISSUER, "sub": subject, "scope": scope, **lasting, **claims}
    return {name: value for name, value in said.items() if value is not None}


def providers_claims(**claims: Any) -> dict[str, Any]:
    """What a token of a studio's provider says; None leaves a claim out."""
    now = int(time.time())
    said = {"iss": PROVIDER, "aud": AUDIENCE, "sub": "player-7", "iat": now, "exp": now + 600, **claims}
    return {name: value for name, value in said.items() if value is not None}


def signed(claims: Claims, key: str = "first", algorithm: str | None = None, **head: Any) -> str:
    """A token that is signed with a key, whose name is its kid unless `head` says otherwise."""
    chosen = algorithm or ("RS256" if key.startswith("rsa") else "ES256")
    said = {name: value for name, value in {"kid": key, **head}.items() if value is not None}
    return jwt.PyJWS().encode(json.dumps(claims).encode(), private_key(key), chosen, headers=said)


def written(head: Claims, claims: Any, signature: bytes = b"") -> str:
    """A token with any parts."""
    parts = (json.dumps(part).encode() for part in (head, claims))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, signature))


@contextlib.contextmanager
def believing(**environment: str) -> Iterator[None]:
    """Our functions as they are with these variables, beside which there are no others about tokens."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (field.name.upper() for field in dataclasses.fields(config.Settings)):
            if name.startswith(("TOKEN_", "OIDC_", "REVOKED_")):
                patch.delenv(name, raising=False)
        for name, value in {"VALKEY_HOST": os.environ.get("VALKEY_HOST", "unknown"), **environment}.items():
            patch.setenv(name, value)
        renew()
        try:
            yield
        finally:
            patch.undo()
            renew()


def renew() -> None:
    """Makes the functions read their settings again."""
    config.settings.cache_clear()
    verification.known.cache_clear()


def own_keys(*names: str) -> dict[str, str]:
    """The variables by which tokens are believed that these keys have signed."""
    return {"TOKEN_ISSUER": ISSUER, "TOKEN_PUBLIC_KEYS": json.dumps({name: public_pem(name) for name in names})}


def issue(folder: Path, scope: config.Scope, subject: str, seconds: int = 600) -> str:
    """A token of the key in a folder of `make run`."""
    key = tokens.file_key(str(keys.key_file(folder)))
    return tokens.issue(key, ISSUER, subject=subject, scope=scope, seconds=seconds).token


class Provider:
    """An identity provider's key set at `url`, which a test may change, and how often it was asked for."""

    def __init__(self, *names: str):
        self.document: Any = {"keys": [public_jwk(name) for name in names]}
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked = 0
        self.url = ""

    @contextlib.contextmanager
    def serving(self, context: ssl.SSLContext | None = None) -> Iterator[Provider]:
        """Publishes on this machine, with TLS if there is a context for it."""
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                content = json.dumps(provider.document).encode()
                self.send_response(provider.status)
                for name, value in {"Content-Length": str(len(content)), **provider.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            if context:
                server.socket = context.wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            self.url = f"http{'s' if context else ''}://localhost:{server.server_address[1]}/keys"
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

    def environment(self, **more: str) -> dict[str, str]:
        """The variables by which its tokens are believed."""
        return {"OIDC_ISSUER": PROVIDER, "OIDC_AUDIENCE": AUDIENCE, "OIDC_JWKS_URL": self.url, **more}
