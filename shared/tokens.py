"""Tokens of our own: JWTs that are signed with ES256, by KMS or, on a laptop, with a key in a file.

Making one takes no library of JWTs. Who believes them is another matter: functions/authorizer.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import re
import time
import uuid
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

from shared.config import MisconfiguredError, Scope, Settings
from shared.problems import Unavailable

SCOPES = get_args(Scope)

Fault = Literal[
    "malformed", "issuer", "key", "algorithm", "signature", "audience", "claims", "expired", "not_yet_valid", "revoked"
]
"""Why a token is not believed."""

LONGEST_PLAYER_SECONDS = 86_400
"""How long a player's token is good at most: for so long somebody who was erased could still ask with theirs."""

SKEW_SECONDS = 60
"""How far two clocks may be apart."""

is_name = re.compile(r"[A-Za-z0-9._-]{1,64}\Z").match
"""What a server or a person may be called in a token of ours; a player is called by the userId."""

CONNECT_SECONDS, READ_SECONDS, TRIES = 0.5, 1.0, 2
"""What KMS gets: three seconds in all."""

MAY_PASS = {"DependencyTimeoutException", "KMSInternalException", "ThrottlingException"}
"""KMS's codes for what is over soon."""

HALF_BYTES = 32
"""A signature is two numbers of this size."""

Sign = Callable[[bytes], bytes]
"""Signs a text with ECDSA on P-256 and SHA-256; the signature is in DER."""


class Key(NamedTuple):
    """A key to sign with, and the `kid` by which those who verify know it."""

    kid: str
    sign: Sign


class Issued(NamedTuple):
    """A token, its id (`jti`), and when it ends, in seconds since 1970."""

    token: str
    token_id: str
    expires: int


def issue(key: Key, issuer: str, *, subject: str, scope: Scope, seconds: int) -> Issued:
    """A token that is good from now on for so many seconds."""
    now = int(time.time())
    issued = {"jti": str(uuid.uuid4()), "iat": now, "exp": now + seconds}
    claims = {"iss": issuer, "aud": issuer, "sub": subject, "scope": scope, **issued}
    signed = f"{_part({'alg': 'ES256', 'kid': key.kid, 'typ': 'JWT'})}.{_part(claims)}"
    signature = raw_signature(key.sign(signed.encode()))
    return Issued(f"{signed}.{_base64(signature)}", str(issued["jti"]), now + seconds)


def key(own: Settings) -> tuple[Key, str]:
    """The key that the settings name, and who issues tokens with it. Raises MisconfiguredError if they name none."""
    if own.token_issuer and own.token_key:
        region = own.token_key.split(":")[3]
        return kms_key(own.token_key, functools.partial(kms, region)), own.token_issuer
    if own.token_issuer and own.token_key_file:
        return file_key(own.token_key_file), own.token_issuer
    raise MisconfiguredError("TOKEN_KEY is missing: set it, and TOKEN_ISSUER, to issue tokens")


def kms_key(arn: str, client: Callable[[], Any]) -> Key:
    """A key of KMS, which never leaves it. Its id is the kid.

    Signing raises Unavailable where KMS cannot be reached or asks to try again.
    """

    def sign(text: bytes) -> bytes:
        from botocore import exceptions  # type: ignore[import-untyped] # noqa: PLC0415

        try:
            reply = client().sign(KeyId=arn, Message=text, MessageType="RAW", SigningAlgorithm="ECDSA_SHA_256")
        except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
            raise Unavailable from error
        except exceptions.ClientError as error:
            if error.response["Error"]["Code"] in MAY_PASS:
                raise Unavailable from error
            raise
        return bytes(reply["Signature"])

    return Key(arn.rpartition("/")[2], sign)


@functools.cache
def kms(region: str) -> Any:
    """This process's client of KMS in a Region, which gives up in time for the caller to get an answer."""
    import logging  # noqa: PLC0415

    import boto3  # type: ignore[import-untyped] # noqa: PLC0415 - it would be most of a cold start
    from botocore.config import Config  # type: ignore[import-untyped] # noqa: PLC0415

    logging.getLogger("botocore").setLevel(logging.WARNING)  # its lines are not ours, and it has one for each start
    retries = {"total_max_attempts": TRIES, "mode": "standard"}
    return boto3.client(
        "kms",
        region_name=region,
        config=Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries=retries),
    )


def file_key(path: str) -> Key:
    """A private key in PEM, on a laptop: nothing on AWS has such a file. Its name without `.pem` is the kid."""
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - not part of the layer
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    with open(path, "rb") as file:
        private = serialization.load_pem_private_key(file.read(), None)
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise ValueError("the key is not one of P-256")
    kid = os.path.basename(path).removesuffix(".pem")
    return Key(kid, functools.partial(private.sign, signature_algorithm=ec.ECDSA(hashes.SHA256())))


def raw_signature(der: bytes) -> bytes:
    """The two numbers of a signature one after the other, as JWTs want them, instead of in DER.

    Raises ValueError for what is not the signature of a P-256 key.
    """
    is_sequence = len(der) > 2 and (der[0], der[1]) == (0x30, len(der) - 2)
    first, rest = _integer(der[2:]) if is_sequence else (b"", b"")
    second, rest = _integer(rest)
    if rest or not first or not second:
        raise ValueError("not a signature of P-256 in DER")
    return first + second


def _integer(der: bytes) -> tuple[bytes, bytes]:
    """The number that DER begins with, at its full size, and what comes after it; nothing if it is none."""
    if len(der) < 3 or der[0] != 2 or der[1] > HALF_BYTES + 1 or len(der) < 2 + der[1]:
        return b"", b""
    number = der[2 : 2 + der[1]].lstrip(b"\0")
    return (number.rjust(HALF_BYTES, b"\0") if len(number) <= HALF_BYTES else b""), der[2 + der[1] :]


def _part(members: dict[str, Any]) -> str:
    return _base64(json.dumps(members, separators=(",", ":")).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
