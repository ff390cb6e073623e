"""ElastiCache: serverless caches, their snapshots and users. moto has only the users.

Besides what botocore's model forbids:
- A name has 40 characters at most (the user guide, on each of these names).
- An IAM user's name is its id (user guide, "Authenticating with IAM").
- Only active users and groups can be modified, and while a user is modified, so are its group and the group's users,
  until somebody asks for their state (terraform-provider-aws#49726).
- ModifyServerlessCache changes one thing at a time (its reference).
- A group that a cache uses, and a user's last group, cannot be deleted first.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

from tests.support.aws_api.operations import Refused, Request, operation

NAME = re.compile(r"[a-z](-?[a-z0-9]){0,39}")
"""Letters and digits, with single dashes between them."""

LONGEST = 40

ACTIVE, MODIFYING, AVAILABLE = "active", "modifying", "available"

CHANGES = ("CacheUsageLimits", "DailySnapshotTime", "Description", "SecurityGroupIds", "SnapshotRetentionLimit")
CHANGES += ("UserGroupId", "Engine", "MajorEngineVersion")

CACHES, SNAPSHOTS, USERS, GROUPS, TAGS = "serverless caches", "snapshots", "users", "user groups", "tags"


def _check_name(name: str, what: str) -> None:
    if len(name) > LONGEST or not NAME.fullmatch(name):
        raise Refused("InvalidParameterValue", f"The parameter {what} is not a valid identifier: {name}")


def _found(request: Request, kind: str, name: str, code: str) -> dict[str, Any]:
    found: dict[str, Any] | None = request.account.of(kind).get(name)
    if found is None:
        raise Refused(code, f"{name} not found.")
    return found


def _listed(request: Request, kind: str, member: str, code: str) -> list[dict[str, Any]]:
    if name := request.parameters.get(member):
        return [_found(request, kind, name, code)]
    return list(request.account.of(kind).values())


def _tag(request: Request, arn: str) -> None:
    request.account.of(TAGS)[arn] = {tag["Key"]: tag.get("Value", "") for tag in request.parameters.get("Tags", [])}


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@operation("elasticache", "CreateUser")
def create_user(request: Request) -> Mapping[str, Any]:
    given = request.parameters
    users, name = request.account.of(USERS), given["UserId"]
    _check_name(name, "UserId")
    if name in users:
        raise Refused("UserAlreadyExists", f"User {name} already exists.")
    by_iam = given.get("AuthenticationMode", {}).get("Type") == "iam"
    if by_iam and given["UserName"] != name:
        raise Refused("InvalidParameterValue", "For IAM authentication, UserId and UserName must be the same.")
    users[name] = {
        "UserId": name,
        "UserName": given["UserName"],
        "Status": ACTIVE,
        "Engine": given["Engine"],
        "MinimumEngineVersion": "7.2" if given["Engine"] == "valkey" else "6.0",
        "AccessString": given["AccessString"],
        "UserGroupIds": [],
        "Authentication": {"Type": "iam" if by_iam else "password"},
        "ARN": request.arn("elasticache", f"user:{name}"),
    }
    _tag(request, users[name]["ARN"])
    return {**users[name], "Status": "creating"}


@operation("elasticache", "DescribeUsers")
def describe_users(request: Request) -> Mapping[str, Any]:
    users = [dict(user) for user in _listed(request, USERS, "UserId", "UserNotFound")]
    for user in users:
        if user["Status"] == MODIFYING:
            _finish(request, user["UserId"])
    return {"Users": users}


@operation("elasticache", "ModifyUser")
def modify_user(request: Request) -> Mapping[str, Any]:
    given = request.parameters
    user = _found(request, USERS, given["UserId"], "UserNotFound")
    if user["Status"] != ACTIVE:
        raise Refused(
            "InvalidUserState",
            f"User {user['UserId']} has status {user['Status']}. Only active users can be modified.",
        )
    user["AccessString"] = given.get("AccessString", user["AccessString"])
    _begin(request, [user["UserId"]], user["UserGroupIds"])
    return user


@operation("elasticache", "DeleteUser")
def delete_user(request: Request) -> Mapping[str, Any]:
    user = _found(request, USERS, request.parameters["UserId"], "UserNotFound")
    if user["Status"] != ACTIVE:
        raise Refused("InvalidUserState", f"User {user['UserId']} has status {user['Status']}.")
    for group in user["UserGroupIds"]:
        request.account.of(GROUPS)[group]["UserIds"].remove(user["UserId"])
    return {**request.account.of(USERS).pop(user["UserId"]), "Status": "deleting"}


@operation("elasticache", "CreateUserGroup")
def create_user_group(request: Request) -> Mapping[str, Any]:
    given = request.parameters
    groups, name = request.account.of(GROUPS), given["UserGroupId"]
    _check_name(name, "UserGroupId")
    if name in groups:
        raise Refused("UserGroupAlreadyExists", f"User group {name} already exists.")
    users = [_found(request, USERS, user, "UserNotFound") for user in given.get("UserIds", [])]
    groups[name] = {
        "UserGroupId": name,
        "Status": ACTIVE,
        "Engine": given["Engine"],
        "UserIds": [user["UserId"] for user in users],
        "MinimumEngineVersion": "7.2",
        "ServerlessCaches": [],
        "ARN": request.arn("elasticache", f"usergroup:{name}"),
    }
    for user in users:
        user["UserGroupIds"].append(name)
    _tag(request, groups[name]["ARN"])
    return {**groups[name], "Status": "creating"}


@operation("elasticache", "DescribeUserGroups")
def describe_user_groups(request: Request) -> Mapping[str, Any]:
    groups = [dict(group) for group in _listed(request, GROUPS, "UserGroupId", "UserGroupNotFound")]
    for group in groups:
        if group["Status"] == MODIFYING:
            _finish(request, *group["UserIds"], group=group["UserGroupId"])
    return {"UserGroups": groups}


@operation("elasticache", "ModifyUserGroup")
def modify_user_group(request: Request) -> Mapping[str, Any]:
    given = request.parameters
    group = _found(request, GROUPS, given["UserGroupId"], "UserGroupNotFound")
    if group["Status"] != ACTIVE:
        raise Refused(
            "InvalidUserGroupState",
            f"User group {group['UserGroupId']} has status {group['Status']}. Only active user groups can be modified.",
        )
    for name in given.get("UserIdsToRemove", []):
        if name not in group["UserIds"]:
            raise Refused("InvalidParameterValue", f"{name} is not a member of user group {group['UserGroupId']}.")
        group["UserIds"].remove(name)
        request.account.of(USERS)[name]["UserGroupIds"].remove(group["UserGroupId"])
    for name in given.get("UserIdsToAdd", []):
        _found(request, USERS, name, "UserNotFound")["UserGroupIds"].append(group["UserGroupId"])
        group["UserIds"].append(name)
    _begin(request, group["UserIds"], [group["UserGroupId"]])
    return group


@operation("elasticache", "DeleteUserGroup")
def delete_user_group(request: Request) -> Mapping[str, Any]:
    name = request.parameters["UserGroupId"]
    group = _found(request, GROUPS, name, "UserGroupNotFound")
    if _caches_of(request, name):
        raise Refused("InvalidUserGroupState", f"User group {name} is associated with a serverless cache.")
    for user in group["UserIds"]:
        request.account.of(USERS)[user]["UserGroupIds"].remove(name)
    return {**request.account.of(GROUPS).pop(name), "Status": "deleting"}


def _begin(request: Request, users: list[str], groups: list[str]) -> None:
    """Marks these as being modified, and the users of these groups with them."""
    for group in groups:
        request.account.of(GROUPS)[group]["Status"] = MODIFYING
        users = users + request.account.of(GROUPS)[group]["UserIds"]
    for user in users:
        request.account.of(USERS)[user]["Status"] = MODIFYING


def _finish(request: Request, *users: str, group: str | None = None) -> None:
    """Makes them active again, now that somebody has seen them being modified, and whatever had to wait for them."""
    for name in users:
        user = request.account.of(USERS)[name]
        user["Status"] = ACTIVE
        for other in user["UserGroupIds"]:
            _settle_group(request, other)
    if group:
        _settle_group(request, group)


def _settle_group(request: Request, name: str) -> None:
    group = request.account.of(GROUPS)[name]
    group["Status"] = ACTIVE
    for user in group["UserIds"]:
        request.account.of(USERS)[user]["Status"] = ACTIVE


def _caches_of(request: Request, group: str) -> list[str]:
    return [name for name, cache in request.account.of(CACHES).items() if cache["UserGroupId"] == group]


@operation("elasticache", "CreateServerlessCache")
def create_serverless_cache(request: Request) -> Mapping[str, Any]:
    given = request.parameters
    caches, name = request.account.of(CACHES), given["ServerlessCacheName"]
    _check_name(name, "ServerlessCacheName")
    if name in caches:
        raise Refused("ServerlessCacheAlreadyExistsFault", f"Serverless cache {name} already exists.")
    if group := given.get("UserGroupId"):
        _found(request, GROUPS, group, "UserGroupNotFound")
    for arn in given.get("SnapshotArnsToRestore", []):
        if arn not in [snapshot["ARN"] for snapshot in request.account.of(SNAPSHOTS).values()]:
            raise Refused("InvalidParameterValue", f"Snapshot {arn} not found.")
    host = f"{name}-abc123.serverless.euc1.cache.amazonaws.com"
    caches[name] = {
        "ServerlessCacheName": name,
        "Description": given.get("Description"),
        "CreateTime": _now(),
        "Status": AVAILABLE,
        "Engine": given["Engine"],
        "MajorEngineVersion": given.get("MajorEngineVersion", "8"),
        "FullEngineVersion": f"{given.get('MajorEngineVersion', '8')}.0",
        "CacheUsageLimits": given.get("CacheUsageLimits"),
        "KmsKeyId": given.get("KmsKeyId"),
        "SecurityGroupIds": given.get("SecurityGroupIds", []),
        "Endpoint": {"Address": host, "Port": 6379},
        "ReaderEndpoint": {"Address": host, "Port": 6380},
        "ARN": request.arn("elasticache", f"serverlesscache:{name}"),
        "UserGroupId": given.get("UserGroupId"),
        "SubnetIds": given.get("SubnetIds", []),
        "SnapshotRetentionLimit": given.get("SnapshotRetentionLimit", 0),
        "DailySnapshotTime": given.get("DailySnapshotTime", "03:00"),
    }
    _tag(request, caches[name]["ARN"])
    return {"ServerlessCache": {**caches[name], "Status": "creating", "Endpoint": None, "ReaderEndpoint": None}}


@operation("elasticache", "DescribeServerlessCaches")
def describe_serverless_caches(request: Request) -> Mapping[str, Any]:
    return {"ServerlessCaches": _listed(request, CACHES, "ServerlessCacheName", "ServerlessCacheNotFoundFault")}


@operation("elasticache", "ModifyServerlessCache")
def modify_serverless_cache(request: Request) -> Mapping[str, Any]:
    given = request.parameters
    cache = _found(request, CACHES, given["ServerlessCacheName"], "ServerlessCacheNotFoundFault")
    changes = {key: given[key] for key in CHANGES if key in given and not _same(given[key], cache.get(key))}
    if len(changes) > 1:
        raise Refused("InvalidParameterCombination", f"Only one attribute can be modified at a time: {sorted(changes)}")
    cache.update(changes)
    return {"ServerlessCache": {**cache, "Status": MODIFYING}}


def _same(one: Any, other: Any) -> bool:
    return sorted(one) == sorted(other) if isinstance(one, list) and isinstance(other, list) else one == other


@operation("elasticache", "DeleteServerlessCache")
def delete_serverless_cache(request: Request) -> Mapping[str, Any]:
    given = request.parameters
    cache = _found(request, CACHES, given["ServerlessCacheName"], "ServerlessCacheNotFoundFault")
    if name := given.get("FinalSnapshotName"):
        _snapshot(request, cache, name)
    return {"ServerlessCache": {**request.account.of(CACHES).pop(given["ServerlessCacheName"]), "Status": "deleting"}}


@operation("elasticache", "CreateServerlessCacheSnapshot")
def create_serverless_cache_snapshot(request: Request) -> Mapping[str, Any]:
    given = request.parameters
    cache = _found(request, CACHES, given["ServerlessCacheName"], "ServerlessCacheNotFoundFault")
    return {"ServerlessCacheSnapshot": _snapshot(request, cache, given["ServerlessCacheSnapshotName"])}


@operation("elasticache", "DescribeServerlessCacheSnapshots")
def describe_serverless_cache_snapshots(request: Request) -> Mapping[str, Any]:
    code = "ServerlessCacheSnapshotNotFoundFault"
    cache = request.parameters.get("ServerlessCacheName")
    return {
        "ServerlessCacheSnapshots": [
            snapshot
            for snapshot in _listed(request, SNAPSHOTS, "ServerlessCacheSnapshotName", code)
            if cache in (None, snapshot["ServerlessCacheConfiguration"]["ServerlessCacheName"])
        ]
    }


@operation("elasticache", "DeleteServerlessCacheSnapshot")
def delete_serverless_cache_snapshot(request: Request) -> Mapping[str, Any]:
    name = request.parameters["ServerlessCacheSnapshotName"]
    _found(request, SNAPSHOTS, name, "ServerlessCacheSnapshotNotFoundFault")
    return {"ServerlessCacheSnapshot": {**request.account.of(SNAPSHOTS).pop(name), "Status": "deleting"}}


def _snapshot(request: Request, cache: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    _check_name(name, "ServerlessCacheSnapshotName")
    snapshots = request.account.of(SNAPSHOTS)
    if name in snapshots:
        raise Refused("ServerlessCacheSnapshotAlreadyExistsFault", f"Snapshot {name} already exists.")
    snapshots[name] = {
        "ServerlessCacheSnapshotName": name,
        "ARN": request.arn("elasticache", f"serverlesscachesnapshot:{name}"),
        "KmsKeyId": cache["KmsKeyId"],
        "SnapshotType": "manual",
        "Status": AVAILABLE,
        "CreateTime": _now(),
        "ServerlessCacheConfiguration": {
            key: cache[key] for key in ("ServerlessCacheName", "Engine", "MajorEngineVersion")
        },
    }
    return {**snapshots[name], "Status": "creating"}


@operation("elasticache", "ListTagsForResource")
def list_tags(request: Request) -> Mapping[str, Any]:
    return {"TagList": _tags(request, request.account.of(TAGS).get(request.parameters["ResourceName"], {}))}


@operation("elasticache", "AddTagsToResource")
def add_tags(request: Request) -> Mapping[str, Any]:
    tags = request.account.of(TAGS).setdefault(request.parameters["ResourceName"], {})
    tags.update({tag["Key"]: tag.get("Value", "") for tag in request.parameters["Tags"]})
    return {"TagList": _tags(request, tags)}


@operation("elasticache", "RemoveTagsFromResource")
def remove_tags(request: Request) -> Mapping[str, Any]:
    tags = request.account.of(TAGS).setdefault(request.parameters["ResourceName"], {})
    for key in request.parameters["TagKeys"]:
        tags.pop(key, None)
    return {"TagList": _tags(request, tags)}


def _tags(_: Request, tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
