"""CodeDeploy: deployment groups as they were created. moto forgets their alarms and cannot delete them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.aws_api.operations import Answer, Refused, Request, operation

GROUPS = "deployment groups"


@operation("codedeploy", "CreateDeploymentGroup")
def create_group(request: Request) -> Answer:
    answer = request.ask_moto()
    if answer.status_code == 200:
        request.account.of(GROUPS)[_key(request)] = dict(request.parameters)
    return answer


@operation("codedeploy", "GetDeploymentGroup")
def get_group(request: Request) -> Mapping[str, Any]:
    given = _given(request)
    kept = _records(request).deployment_groups[given["applicationName"]][given["deploymentGroupName"]]
    return {
        "deploymentGroupInfo": {
            **{key: value for key, value in given.items() if key != "tags"},
            "deploymentGroupId": kept.deployment_group_id,
            "computePlatform": kept.application.compute_platform,
        }
    }


@operation("codedeploy", "UpdateDeploymentGroup")
def update_group(request: Request) -> Mapping[str, Any]:
    _given(request).update({key: value for key, value in request.parameters.items() if not key.startswith("current")})
    return {}


@operation("codedeploy", "DeleteDeploymentGroup")
def delete_group(request: Request) -> Mapping[str, Any]:
    if request.account.of(GROUPS).pop(_key(request), None):
        application, name = _key(request).split("/")
        del _records(request).deployment_groups[application][name]
    return {}


@operation("codedeploy", "DeleteApplication")
def delete_application(request: Request) -> Mapping[str, Any]:
    _records(request).applications.pop(request.parameters["applicationName"], None)
    return {}


def _given(request: Request) -> dict[str, Any]:
    found: dict[str, Any] | None = request.account.of(GROUPS).get(_key(request))
    if found is None:
        raise Refused("DeploymentGroupDoesNotExistException", f"No deployment group is called {_key(request)}")
    return found


def _key(request: Request) -> str:
    given = request.parameters
    return f"{given['applicationName']}/{given.get('deploymentGroupName') or given['currentDeploymentGroupName']}"


def _records(request: Request) -> Any:
    return request.records("codedeploy")
