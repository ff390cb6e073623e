"""A CodeDeploy deployment that is stopped, and so rolled back, as soon as a new version gets some of the calls.

The new version is the running one with another description, since Lambda publishes nothing twice. In the end alias,
description and versions are as they were.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

from scripts.aws.accounts import Aws
from scripts.aws.deployed import ALIAS
from scripts.aws.verdicts import LOOK, NO, OK, Verdict

DESCRIPTION = "make smoke: the running version once more"

NEEDED = "a new version gets calls, and loses them again"

ENDED_BADLY = {"Failed", "Stopped"}


def there_and_back(aws: Aws, function: str, application: str, group: str) -> Generator[str, None, Verdict]:
    """A check, as live_checks.py has them."""
    client, deploy = aws("lambda"), aws("codedeploy")
    before, weights = _alias(client, function)
    newest = max(_versions(client, function))
    if weights or newest != int(before):
        remedy = f"version {newest} of {function} waits for its deployment: run make smoke again after it."
        return Verdict("canary", f"{ALIAS} is at {before}", NEEDED, LOOK, remedy)
    version = yield from _published_again(client, function)
    try:
        return (yield from _moved(client, deploy, function, application, group, before, version))
    finally:
        if _alias(client, function) == (before, {}):  # otherwise somebody should look at it first
            client.delete_function(FunctionName=function, Qualifier=version)


def _moved(
    client: Any, deploy: Any, function: str, application: str, group: str, before: str, version: str
) -> Generator[str, None, Verdict]:
    deployment = _deploy(deploy, function, application, group, before, version)
    is_over = False
    try:
        while not (share := _share(client, function, version)):
            status, error = _status(deploy, deployment)
            if status in ENDED_BADLY:
                is_over = True
                return Verdict(
                    "canary", f"{status}: {error}", NEEDED, NO, f"look at CodeDeploy's deployment {deployment}."
                )
            yield f"deployment {deployment}: {status}"
        if share < 1:
            deploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=True)
        else:  # nothing to stop: this configuration moves everything at once
            deployment = _deploy(deploy, function, application, group, version, before)
        is_over = True
        while _alias(client, function) != (before, {}):
            yield f"{share:.0%} of the calls went to version {version}, and are on their way back"
    finally:
        if not is_over:
            deploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=True)
    return Verdict("canary", f"{share:.0%} to version {version}, then all back to {before}", NEEDED, OK)


def _published_again(client: Any, function: str) -> Generator[str, None, str]:
    """The number of a new version with the same code."""
    described = client.get_function_configuration(FunctionName=function)["Description"]
    client.update_function_configuration(FunctionName=function, Description=DESCRIPTION)
    try:
        yield from _settled(client, function)
        version: str = client.publish_version(FunctionName=function)["Version"]
    finally:
        client.update_function_configuration(FunctionName=function, Description=described)
    yield from _settled(client, function)
    while client.get_function_configuration(FunctionName=function, Qualifier=version)["State"] == "Pending":
        yield f"version {version} of {function} is pending"
    return version


def _settled(client: Any, function: str) -> Generator[str, None, None]:
    while client.get_function_configuration(FunctionName=function)["LastUpdateStatus"] == "InProgress":
        yield f"{function} is being updated"


def _deploy(deploy: Any, function: str, application: str, group: str, current: str, target: str) -> str:
    """Starts a deployment and returns its id."""
    names = {"Name": function, "Alias": ALIAS, "CurrentVersion": current, "TargetVersion": target}
    resource = {"Type": "AWS::Lambda::Function", "Properties": names}
    content = json.dumps({"version": 0.0, "Resources": [{"function": resource}]})
    revision = {"revisionType": "AppSpecContent", "appSpecContent": {"content": content}}
    answer = deploy.create_deployment(
        applicationName=application, deploymentGroupName=group, revision=revision, description=DESCRIPTION
    )
    return str(answer["deploymentId"])


def _status(deploy: Any, deployment: str) -> tuple[str, str]:
    info = deploy.get_deployment(deploymentId=deployment)["deploymentInfo"]
    return info["status"], info.get("errorInformation", {}).get("message", "")


def _alias(client: Any, function: str) -> tuple[str, dict[str, float]]:
    """The version that the alias points to, and the weights of others."""
    found = client.get_alias(FunctionName=function, Name=ALIAS)
    return found["FunctionVersion"], found.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})


def _share(client: Any, function: str, version: str) -> float:
    """The share of calls that a version gets, from 0 to 1."""
    current, weights = _alias(client, function)
    return 1.0 if current == version else weights.get(version, 0.0)


def _versions(client: Any, function: str) -> list[int]:
    """The numbers of all published versions."""
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=function)
    return [int(one["Version"]) for page in pages for one in page["Versions"] if one["Version"] != "$LATEST"]
