"""Lambda: what moto forgets about a function, and concurrency, of which it keeps only the reserved number.

Refused besides what botocore's model forbids:
- Reserved and provisioned concurrency that leaves fewer than 100 of the account's quota unreserved (reference of
  PutFunctionConcurrency).
- Provisioned concurrency for an alias that shares its calls between two versions (terraform-provider-aws#48116).
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from werkzeug.wrappers import Response

from tests.support.aws_api.operations import Answer, Refused, Request, operation

UNRESERVED = 100

LOGGING, RESERVED, PROVISIONED, RECURSION = "logging", "reserved", "provisioned", "recursion"


@operation("lambda", "CreateFunction", "UpdateFunctionConfiguration")
def keep_logging(request: Request) -> Answer:
    name = _name(request)
    if given := request.parameters.get("LoggingConfig"):
        request.account.of(LOGGING)[name] = given
    return _with_logging(request, request.ask_moto(), name)


@operation("lambda", "GetFunction", "GetFunctionConfiguration", "PublishVersion", "UpdateFunctionCode")
def show_logging(request: Request) -> Answer:
    return _with_logging(request, request.ask_moto(), _name(request))


@operation("lambda", "DeleteFunction")
def delete_function(request: Request) -> Answer:
    if "Qualifier" not in request.parameters:
        for kind in (LOGGING, RESERVED, RECURSION):
            request.account.of(kind).pop(_name(request), None)
    return request.ask_moto()


def _with_logging(request: Request, response: Response, name: str) -> Response:
    kept = request.account.of(LOGGING).get(name)
    if kept is None or response.status_code >= 400:
        return response
    made = json.loads(response.get_data())
    made.get("Configuration", made)["LoggingConfig"] = kept
    response.set_data(json.dumps(made))
    return response


@operation("lambda", "GetAccountSettings")
def get_account_settings(request: Request) -> Mapping[str, Any]:
    return {
        "AccountLimit": {
            "TotalCodeSize": 80_530_636_800,
            "CodeSizeUnzipped": 262_144_000,
            "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": request.account.switches.concurrent_executions,
            "UnreservedConcurrentExecutions": _unreserved(request),
        },
        "AccountUsage": {"TotalCodeSize": 0, "FunctionCount": 0},
    }


@operation("lambda", "PutFunctionConcurrency")
def put_function_concurrency(request: Request) -> Answer:
    wanted = request.parameters["ReservedConcurrentExecutions"]
    _check_unreserved(request, wanted, besides=(RESERVED, _name(request)))
    request.account.of(RESERVED)[_name(request)] = wanted
    return request.ask_moto()


@operation("lambda", "DeleteFunctionConcurrency")
def delete_function_concurrency(request: Request) -> Answer:
    request.account.of(RESERVED).pop(_name(request), None)
    return request.ask_moto()


@operation("lambda", "PutProvisionedConcurrencyConfig")
def put_provisioned_concurrency(request: Request) -> Mapping[str, Any]:
    name, qualifier, wanted = _name(request), request.parameters["Qualifier"], _wanted(request)
    if not qualifier.isdigit() and request.records("lambda").get_alias(qualifier, name).routing_config:
        raise Refused(
            "InvalidParameterValueException",
            f"Alias with weights can not be used with Provisioned Concurrency: {name}:{qualifier}",
        )
    _check_unreserved(request, wanted, besides=(PROVISIONED, f"{name}:{qualifier}"))
    request.account.of(PROVISIONED)[f"{name}:{qualifier}"] = wanted
    return {**_provisioned(wanted), "Status": "IN_PROGRESS"}


@operation("lambda", "GetProvisionedConcurrencyConfig")
def get_provisioned_concurrency(request: Request) -> Mapping[str, Any]:
    key = f"{_name(request)}:{request.parameters['Qualifier']}"
    found = request.account.of(PROVISIONED).get(key)
    if found is None:
        raise Refused("ProvisionedConcurrencyConfigNotFoundException", f"No Provisioned Concurrency Config for {key}")
    return _provisioned(found)


@operation("lambda", "DeleteProvisionedConcurrencyConfig")
def delete_provisioned_concurrency(request: Request) -> Mapping[str, Any]:
    request.account.of(PROVISIONED).pop(f"{_name(request)}:{request.parameters['Qualifier']}", None)
    return {}


@operation("lambda", "PutFunctionRecursionConfig", "GetFunctionRecursionConfig")
def recursion(request: Request) -> Mapping[str, Any]:
    kept = request.account.of(RECURSION)
    if given := request.parameters.get("RecursiveLoop"):
        kept[_name(request)] = given
    return {"RecursiveLoop": kept.get(_name(request), "Terminate")}


def _wanted(request: Request) -> int:
    wanted: int = request.parameters["ProvisionedConcurrentExecutions"]
    return wanted


def _provisioned(count: int) -> dict[str, Any]:
    return {
        "RequestedProvisionedConcurrentExecutions": count,
        "AllocatedProvisionedConcurrentExecutions": count,
        "AvailableProvisionedConcurrentExecutions": count,
        "Status": "READY",
        "LastModified": datetime.datetime.now(datetime.UTC).isoformat(),
    }


def _unreserved(request: Request, besides: tuple[str, str] | None = None) -> int:
    """What is left of the quota, leaving one reservation out of account."""
    taken = sum(
        count
        for kind in (RESERVED, PROVISIONED)
        for name, count in request.account.of(kind).items()
        if (kind, name) != besides and not (kind == PROVISIONED and name.split(":")[0] in request.account.of(RESERVED))
    )
    left: int = request.account.switches.concurrent_executions - taken
    return left


def _check_unreserved(request: Request, wanted: int, besides: tuple[str, str]) -> None:
    if _unreserved(request, besides) - wanted < UNRESERVED:
        raise Refused(
            "InvalidParameterValueException",
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            f"below its minimum value of [{UNRESERVED}].",
        )


def _name(request: Request) -> str:
    """A function's name, which may be given as an ARN or with a qualifier."""
    name: str = request.parameters["FunctionName"]
    return name.split(":")[6] if name.startswith("arn:") else name.split(":", maxsplit=1)[0]
