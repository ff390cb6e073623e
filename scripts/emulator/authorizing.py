"""API Gateway's TOKEN authorizers in LocalStack, which keeps them and never calls one.

As AWS documents them: without the header, or with one that the validation expression does not match, the answer is
UNAUTHORIZED and nobody is asked; what the function answers holds for the same token, whatever the method, for as long
as the authorizer says; a function that raises "Unauthorized" is UNAUTHORIZED, a policy that does not allow is
ACCESS_DENIED, what cannot be called is AUTHORIZER_CONFIGURATION_ERROR and whatever else is wrong AUTHORIZER_FAILURE. A
context is handed on as text. Which of the last two a throttled or a slow function is, AWS does not say: both are one
reply of ours.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
from localstack.aws.connect import connect_to  # type: ignore[import-not-found]
from localstack.services.apigateway.next_gen.execute_api import (  # type: ignore[import-not-found]
    gateway_response as said,
)
from localstack.services.apigateway.next_gen.execute_api import helpers

HEADER = "method.request.header."
FUNCTION = re.compile(r".*/functions/(arn:[^/]+)/invocations")
ACTION = "execute-api:Invoke"
MOST_KEPT = 10_000

ONCE = Config(retries={"total_max_attempts": 1})
"""A function that is throttled is not asked again: the client would have gone long before."""

Answer = Mapping[str, Any]


class Authorize:
    """A handler of the gateway's chain, before the API key is looked at."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, ...], tuple[float, Answer]] = {}
        """What a function answered, and until when it holds, by API, stage, authorizer and token."""
        self._lock = threading.Lock()

    def __call__(self, _chain: Any, context: Any, _response: Any) -> None:
        """Raises one of LocalStack's gateway exceptions, or adds `authorizer` to the context of the request."""
        method = context.resource_method
        if method.get("authorizationType") != "CUSTOM":
            return
        authorizer = context.deployment.rest_api.authorizers.get(method.get("authorizerId"))
        if authorizer is None or authorizer["type"] != "TOKEN":
            raise said.AuthorizerConfigurationError
        began = time.monotonic()
        logged = context.authorizer_outcome = {"status": "401"}
        try:
            answer = self._answer(context, authorizer)
            logged["status"] = "200"
        except said.BaseGatewayException as refusal:
            if refusal.type != "UNAUTHORIZED":
                logged["status"] = "500"
            raise
        finally:
            logged["integrationLatency"] = str(round((time.monotonic() - began) * 1000))
        arn = helpers.get_source_arn(context)
        if not _allows(answer["policyDocument"], arn):
            raise said.AccessDeniedError("User is not authorized to access this resource with an explicit deny")
        told = {name: _text(value) for name, value in (answer.get("context") or {}).items()}
        context.context_variables["authorizer"] = {"principalId": answer["principalId"], **told}

    def _answer(self, context: Any, authorizer: Mapping[str, Any]) -> Answer:
        header = authorizer["identitySource"].removeprefix(HEADER)
        token = context.invocation_request["headers"].get(header) or ""
        form = authorizer.get("identityValidationExpression")
        if not token or (form and not re.search(form, token)):
            raise said.UnauthorizedError("Unauthorized")
        key = (context.api_id, context.stage, context.deployment_id, authorizer["id"], token)
        now = time.monotonic()
        kept = self._kept.get(key)
        if kept and now < kept[0]:
            return kept[1]
        answer = _asked(context, authorizer, token)
        ttl = authorizer.get("authorizerResultTtlInSeconds")
        with self._lock:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[key] = (now + (300 if ttl is None else int(ttl)), answer)
        return answer


def _asked(context: Any, authorizer: Mapping[str, Any], token: str) -> Answer:
    """What the function says of a token. Raises gateway exceptions."""
    found = FUNCTION.fullmatch(authorizer["authorizerUri"])
    if not found:
        raise said.AuthorizerConfigurationError
    place = f"arn:aws:execute-api:{context.region}:{context.account_id}:{context.api_id}"
    event = {"type": "TOKEN", "authorizationToken": token, "methodArn": helpers.get_source_arn(context)}
    try:
        function = connect_to(region_name=context.region, config=ONCE).lambda_.request_metadata(
            service_principal="apigateway", source_arn=f"{place}/authorizers/{authorizer['id']}"
        )
        answer = json.loads(function.invoke(FunctionName=found[1], Payload=json.dumps(event))["Payload"].read())
    except (ClientError, BotoCoreError):
        raise said.AuthorizerConfigurationError from None
    except ValueError:
        answer = None
    if isinstance(answer, dict) and answer.get("errorMessage") == "Unauthorized":
        raise said.UnauthorizedError("Unauthorized")
    match answer:
        case {"principalId": str(), "policyDocument": {"Statement": list()}}:
            return dict(answer)
        case _:
            raise said.AuthorizerFailureError


def _allows(policy: Mapping[str, Any], arn: str) -> bool:
    """Whether a policy allows a call: some statement does, and none denies it."""
    effects = {
        statement.get("Effect")
        for statement in policy["Statement"]
        if any(fnmatchcase(ACTION, action) for action in _many(statement.get("Action")))
        and any(fnmatchcase(arn, resource) for resource in _many(statement.get("Resource")))
    }
    return effects == {"Allow"}


def _many(value: Any) -> list[str]:
    return value if isinstance(value, list) else [str(value)]


def _text(value: Any) -> str:
    """As API Gateway hands on a member of the context."""
    return str(value).lower() if isinstance(value, bool) else str(value)
