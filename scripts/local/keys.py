"""The key with which `make run` signs tokens: made once, kept beside the data, and never anybody else's."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from scripts.refusal import Refusal

ISSUER = "leaderboard-local"


def settings(folder: Path) -> dict[str, str]:
    """What the functions have to be told to issue tokens with a folder's key and to believe them; makes the key if it
    is missing. Raises Refusal."""
    path = key_file(folder)
    if not path.exists():
        make(path)
    return {"TOKEN_ISSUER": ISSUER, "TOKEN_KEY_FILE": str(path), "TOKEN_PUBLIC_KEYS": public_keys(path)}


def key_file(folder: Path) -> Path:
    """Where a data folder's key is. Its kid is the file's name."""
    return folder / "tokens" / "local.pem"


def make(path: Path) -> None:
    """Makes a key that nobody else on this machine can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    unfinished = path.with_suffix(f".{os.getpid()}")
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    unfinished.replace(path)


def public_keys(*paths: Path) -> str:
    """TOKEN_PUBLIC_KEYS for tokens that are signed with these files. Raises Refusal."""
    keys = {}
    for path in paths:
        try:
            private = serialization.load_pem_private_key(path.read_bytes(), None)
        except (OSError, ValueError):
            raise Refusal(f"{path} holds no private key: remove it, and the next `make run` makes another") from None
        pem = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        keys[path.stem] = pem.decode()
    return json.dumps(keys)
