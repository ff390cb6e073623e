"""Provisioned concurrency, which AWS does not let anybody change while an alias has weights.

CodeDeploy gives an alias weights during a deployment. Lambda does so for a moment when an alias with provisioned
concurrency is moved, and provider 5.100 does not wait for that to pass. Either way an apply would fail halfway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from scripts.refusal import Refusal

ALIAS = "aws_lambda_alias"
CONFIGURATION = "aws_lambda_provisioned_concurrency_config"

Values = Mapping[str, Any]


def check(document: Values) -> None:
    """Raises Refusal for a plan that AWS would stop halfway; `document` is its `terraform show -json`."""
    changes = [one for one in document["resource_changes"] if one["type"] == CONFIGURATION and _puts(one["change"])]
    pairs = [(one, alias["change"]) for one in changes for alias in _aliases(document, one)]
    if deployed := _functions(one for one, alias in pairs if _is_weighted(alias)):
        raise Refusal(
            f"The plan changes provisioned concurrency of {deployed} in the middle of a deployment, which AWS refuses: "
            "wait until CodeDeploy is done, or stop it, and plan again."
        )
    if moved := _functions(one for one, alias in pairs if one["change"]["before"] and _moves(alias)):
        raise Refusal(
            f"The plan changes both code and provisioned concurrency of {moved}, and AWS refuses the second while it "
            "moves the alias: apply with provisioned_concurrency as it was, then change it and apply again."
        )


def _puts(change: Values) -> bool:
    return bool({"create", "update"} & set(change["actions"]))


def _aliases(document: Values, configuration: Values) -> Iterator[Values]:
    """The changes of the same function's alias: its instance has the same key."""
    place = configuration.get("module_address"), configuration.get("index")
    return (
        one
        for one in document["resource_changes"]
        if one["type"] == ALIAS and (one.get("module_address"), one.get("index")) == place
    )


def _is_weighted(alias: Values) -> bool:
    """Whether the alias had weights when it was read for the plan."""
    return any(routing["additional_version_weights"] for routing in (alias["before"] or {}).get("routing_config", ()))


def _moves(alias: Values) -> bool:
    before, after, unknown = (alias.get(name) or {} for name in ("before", "after", "after_unknown"))
    version = "function_version"
    return bool(before and after) and (bool(unknown.get(version)) or before[version] != after[version])


def _functions(configurations: Iterable[Values]) -> str:
    return ", ".join(sorted({one["change"]["after"]["function_name"] for one in configurations}))
