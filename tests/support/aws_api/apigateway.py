"""API Gateway: imports as AWS does them, where moto keeps only paths and integrations.

- An import that overwrites sets name, description and the like from the document, or to nothing where it is silent
  (terraform-provider-aws#17099).
- After one with a security policy that begins with SecurityPolicy_, the API is UPDATING for a quarter of an hour
  (developer guide, "How to change a security policy"). Until then UpdateRestApi is refused
  (terraform-provider-aws#45905). Here it lasts until `Account.settle`. Another import is refused as well: nobody has
  seen what AWS does.
- CreateDeployment is taken meanwhile: that page has one deploy the API as soon as the policy is saved. Should AWS
  refuse it all the same, `make apply` has to be run again a quarter of an hour later: nobody has tried that.
- A scheme with an authorizer is of the type apiKey and says in which header the token is, and the authorizer is a
  function's invocation (developer guide, "x-amazon-apigateway-authorizer"). It keeps an answer for an hour at most (API
  reference, Authorizer). A method that names a scheme that is not there is refused.
- A stage that is to write logs needs the account's role for it, `Switches.logging_role`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.support.aws_api.operations import AccountState, Answer, Refused, Request, operation

UPDATING = "APIs that are updating"
POLICIES = "security policies"
ROLE = "API Gateway's role"
LONGEST_TTL_SECONDS = 3600
INVOCATION = r"arn:aws:apigateway:[\w-]+:lambda:path/2015-03-31/functions/arn:aws:lambda:[\w:-]+/invocations"


def settle(account: AccountState) -> None:
    """Makes every API that is UPDATING available."""
    account.of(UPDATING).clear()


@operation("apigateway", "PutRestApi")
def put_rest_api(request: Request) -> Answer:
    id = request.parameters["restApiId"]
    _check_available(request, id)
    document = json.loads(request.parameters["body"])
    info = document.get("info", {})
    endpoint: Mapping[str, Any] = next(
        (
            server["x-amazon-apigateway-endpoint-configuration"]
            for server in document.get("servers", [])
            if "x-amazon-apigateway-endpoint-configuration" in server
        ),
        {},
    )
    policy = document.get("x-amazon-apigateway-security-policy", "TLS_1_0")
    if policy.startswith("SecurityPolicy_") and "x-amazon-apigateway-endpoint-access-mode" not in document:
        raise Refused("BadRequestException", "Endpoint access mode is required for the specified security policy")
    _check_authorizers(document)
    apis = request.records("apigateway")
    apis.put_rest_api(id, {**document, "paths": _readable(document["paths"])}, mode="overwrite", fail_on_warnings=False)
    api = apis.apis[id]
    api.name = info["title"]
    api.description = info.get("description")
    api.api_key_source = document.get("x-amazon-apigateway-api-key-source", "HEADER")
    api.binaryMediaTypes = document.get("x-amazon-apigateway-binary-media-types")
    api.minimum_compression_size = document.get("x-amazon-apigateway-minimum-compression-size")
    api.disableExecuteApiEndpoint = endpoint.get("disableExecuteApiEndpoint", False)
    api.policy = (
        json.dumps(document["x-amazon-apigateway-policy"]) if "x-amazon-apigateway-policy" in document else None
    )
    if policy.startswith("SecurityPolicy_"):
        request.account.of(UPDATING)[id] = True
    request.account.of(POLICIES)[id] = policy
    return _shown(request, id)


@operation("apigateway", "UpdateRestApi")
def update_rest_api(request: Request) -> Answer:
    _check_available(request, request.parameters["restApiId"])
    return request.ask_moto()


@operation("apigateway", "GetAccount")
def get_account(request: Request) -> Answer:
    return {
        "throttleSettings": {"burstLimit": 5000, "rateLimit": 10000.0},
        "features": ["UsagePlans"],
        "apiKeyVersion": "4",
        "cloudwatchRoleArn": _role(request),
    }


@operation("apigateway", "UpdateAccount")
def update_account(request: Request) -> Answer:
    for change in request.parameters.get("patchOperations", []):
        if change["path"] == "/cloudwatchRoleArn":
            request.account.of(ROLE)["arn"] = change.get("value") or None
    return get_account(request)


@operation("apigateway", "UpdateStage")
def update_stage(request: Request) -> Answer:
    changed = [change["path"] for change in request.parameters.get("patchOperations", [])]
    if _role(request) is None and any("accessLogSettings" in path or "logging/loglevel" in path for path in changed):
        raise Refused(
            "BadRequestException", "CloudWatch Logs role ARN must be set in account settings to enable logging"
        )
    return request.ask_moto()


def _role(request: Request) -> str | None:
    given = (
        f"arn:aws:iam::{request.account.id}:role/api-gateway-logs" if request.account.switches.logging_role else None
    )
    role: str | None = request.account.of(ROLE).get("arn", given)
    return role


def _check_available(request: Request, id: str) -> None:
    if id in request.account.of(UPDATING):
        raise Refused(
            "BadRequestException",
            "There is already an update in progress. Please wait until the current update finishes before making "
            "another request.",
        )


def _check_authorizers(document: Mapping[str, Any]) -> None:
    schemes = document.get("components", {}).get("securitySchemes", {})
    for name, scheme in schemes.items():
        if (asked := scheme.get("x-amazon-apigateway-authorizer")) is None:
            continue
        if (scheme.get("type"), scheme.get("in")) != ("apiKey", "header") or not scheme.get("name"):
            raise Refused("BadRequestException", f"Unable to put Authorizer {name}: it takes a header")
        if asked.get("type") != "token" or not re.fullmatch(INVOCATION, asked.get("authorizerUri", "")):
            raise Refused("BadRequestException", f"Invalid Authorizer URI: {asked.get('authorizerUri')}")
        if not 0 <= asked.get("authorizerResultTtlInSeconds", 300) <= LONGEST_TTL_SECONDS:
            raise Refused("BadRequestException", "Authorizer result TTL must be between 0 and 3600 seconds")
    for path, item in document["paths"].items():
        for method, one in item.items():
            unknown = {name for requirement in one.get("security", ()) for name in requirement} - set(schemes)
            if unknown:
                raise Refused("BadRequestException", f"{method} {path} names {sorted(unknown)}, which is no scheme")


def _readable(paths: Mapping[str, Any]) -> Mapping[str, Any]:
    """A document's paths as moto accepts them: it wants members in mock integrations that only others have."""
    integration = "x-amazon-apigateway-integration"
    mocked = {"uri": "", "httpMethod": ""}
    return {
        path: {
            method: {**operation, integration: {**mocked, **operation[integration]}}
            for method, operation in methods.items()
        }
        for path, methods in paths.items()
    }


def _shown(request: Request, id: str) -> Mapping[str, Any]:
    return {
        **request.records("apigateway").apis[id].to_dict(),
        "apiStatus": "UPDATING" if id in request.account.of(UPDATING) else "AVAILABLE",
        "securityPolicy": request.account.of(POLICIES).get(id, "TLS_1_0"),
    }
