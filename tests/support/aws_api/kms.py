"""KMS: keys that sign, of which moto knows all but what they cannot do.

Refused besides what botocore's model forbids, as the API reference has it:
- Rotation of a key that is not symmetric (EnableKeyRotation: UnsupportedOperationException).
- The public key of a key that has none, or that waits for its end (GetPublicKey: UnsupportedOperationException,
  KMSInvalidStateException).
"""

from __future__ import annotations

from typing import Any

from tests.support.aws_api.operations import Answer, Refused, Request, operation

SYMMETRIC = "SYMMETRIC_DEFAULT"


@operation("kms", "EnableKeyRotation")
def enable_key_rotation(request: Request) -> Answer:
    key = _key(request)
    if key.key_spec != SYMMETRIC:
        raise Refused("UnsupportedOperationException", f"{key.arn} cannot be rotated: its spec is {key.key_spec}.")
    return request.ask_moto()


@operation("kms", "GetPublicKey")
def get_public_key(request: Request) -> Answer:
    key = _key(request)
    if key.key_spec == SYMMETRIC:
        raise Refused("UnsupportedOperationException", f"{key.arn} has no public key.")
    if key.key_state == "PendingDeletion":
        raise Refused("KMSInvalidStateException", f"{key.arn} is pending deletion.")
    return request.ask_moto()


def _key(request: Request) -> Any:
    """moto's record of a key, which is named by its id or its ARN."""
    return request.records("kms").keys[request.parameters["KeyId"].rpartition("/")[2]]
