"""Calls a function of an environment on AWS, with the credentials that the AWS SDK finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from scripts.aws import infrastructure
from scripts.refusal import Refusal
from shared.problems import Unavailable

ALIAS = "live"
LONGEST_SECONDS = 70
"""A little more than a function may run."""


def invoker(environment: str, key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Returns a function that calls a Lambda function with an event and returns its reply.

    That raises Unavailable where trying again may help, else Refusal. Raises Refusal for an unknown environment.
    """
    import boto3  # type: ignore[import-untyped] # noqa: PLC0415 - it takes longer than a local rebuild
    from botocore.config import Config  # type: ignore[import-untyped] # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped] # noqa: PLC0415

    name, region = infrastructure.function_name(environment, key), infrastructure.region(environment)
    client = boto3.client("lambda", region_name=region, config=Config(read_timeout=LONGEST_SECONDS))

    def invoke(event: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = client.invoke(FunctionName=name, Qualifier=ALIAS, Payload=json.dumps(event))
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and _may_pass(error.response["ResponseMetadata"]["HTTPStatusCode"]):
                raise Unavailable from None
            raise Refusal(f"{name} in {region} cannot be called: {error}") from None
        reply = json.loads(answer["Payload"].read())
        if "FunctionError" not in answer:
            return dict(reply)
        if reply.get("errorType") == Unavailable.__name__:
            raise Unavailable
        raise Refusal(f"{name} failed with {reply.get('errorType')}: its log group says more")

    return invoke


def _may_pass(status: int) -> bool:
    """Whether a failure may pass: others use all of the function's concurrency, for example."""
    return status == 429 or status >= 500
