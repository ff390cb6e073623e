"""AWS as this shell's credentials see it: clients that give up quickly, and what their errors mean."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from scripts.aws.verdicts import NOT_KNOWN, Verdict

CONNECT_SECONDS, READ_SECONDS, TRIES = 5, 20, 3

Seen = TypeVar("Seen")

Aws = Callable[..., Any]
"""`aws("ec2")` is a boto3 client in the environment's Region, `aws("s3", "us-east-1")` one in another."""


def clients(region: str) -> Aws:
    """Clients for a Region, each made once, with the credentials that Terraform would find."""
    import boto3  # type: ignore[import-untyped] # noqa: PLC0415 - it takes longer to load than all the rest
    from botocore.config import Config  # type: ignore[import-untyped] # noqa: PLC0415

    session = boto3.session.Session()
    config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": TRIES})
    made: dict[tuple[str, str], Any] = {}

    def aws(service: str, where: str = region) -> Any:
        if (service, where) not in made:
            made[service, where] = session.client(service, region_name=where, config=config)
        return made[service, where]

    return aws


def code_of(error: Exception) -> str:
    """AWS's code for an error; the name of its class if it does not come from AWS."""
    response: dict[str, Any] = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code") or type(error).__name__)


def asked(check: str, needed: str, look: Callable[[], Seen]) -> Seen | Verdict:
    """What `look` returns, or the verdict NOT_KNOWN: having no permission to look is no failure."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped] # noqa: PLC0415
    from botocore.parsers import ResponseParserError  # type: ignore[import-untyped] # noqa: PLC0415

    try:
        return look()
    except ClientError as error:
        return Verdict(check, f"{error.operation_name}: {code_of(error)}", needed, NOT_KNOWN)
    except (BotoCoreError, ResponseParserError) as error:
        return Verdict(check, " ".join(str(error).split()), needed, NOT_KNOWN)


def unless(codes: Collection[str], call: Callable[[], Any]) -> Any:
    """What `call` returns; None if AWS answers with one of these error codes."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        return call()
    except ClientError as error:
        if code_of(error) not in codes:
            raise
        return None
