"""The life of a cache, as far as an emulated API can show it: users get wider access, a snapshot is restored beside it,
the new cache is switched to, the old one retired, the engine upgraded, everything destroyed. Terraform takes every step
itself, on the real module.

The provider waits half a minute after creating a group or a cache, so what exists at first is imported instead.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.aws import caches, terraform_mirror
from scripts.dev import lean_provider
from scripts.places import ROOT
from tests.support import aws_api, terraforms
from tests.support.terraforms import TerraformError

NAME = "leaderboard-test"

VALUES: Mapping[str, Any] = {
    "name": NAME,
    "subnet_ids": ["subnet-11111111", "subnet-22222222"],
    "security_group_ids": ["sg-11111111"],
    "data_storage_gb": {"maximum": 2},
    "ecpu_per_second": {"maximum": 5000},
}

ONLY_OUTPUTS = "without changing any real infrastructure"
"""What a plan says that has changes of outputs and of nothing else: there are fewer ARNs."""

CHANGES = re.compile("(Create|Modify|Delete)(User|UserGroup|ServerlessCache)")


class Life:
    """The module and its state, in an account of its own."""

    def __init__(self, folder: Path, account: aws_api.Account, environment: Mapping[str, str]):
        self.folder, self.account, self.environment = folder, account, environment
        self.elasticache, self.kms = (account.client(service) for service in ("elasticache", "kms"))
        self.terraform = functools.partial(terraforms.run, folder, environment=environment)
        self.outputs: Mapping[str, Any] = {}
        """The module's outputs after the last apply."""

    def begin(self) -> None:
        """Imports users and group."""
        roles = {**caches_roles("former"), **caches_roles("access")}
        users = [f"{NAME}-{role}" for role in roles]
        for user in users:
            self.elasticache.create_user(
                UserId=user, UserName=user, Engine="valkey", AccessString="on", AuthenticationMode={"Type": "iam"}
            )
        self.elasticache.create_user_group(UserGroupId=NAME, Engine="valkey", UserIds=users)
        imported = {f"aws_elasticache_user.{role}": f"{NAME}-{role}" for role in roles}
        imported["aws_elasticache_user_group.this"] = NAME
        blocks = [f'import {{\n  to = {to}\n  id = "{id}"\n}}\n' for to, id in imported.items()]
        (self.folder / "imported.tf").write_text("".join(blocks))

    def apply(self, **values: Any) -> list[str]:
        """What an apply asks ElastiCache to change, sorted. Nothing may be refused."""
        self.account.forget_calls()
        terraforms.apply(self.folder, {**VALUES, **values}, environment=self.environment)
        self.outputs = {name: output["value"] for name, output in json.loads(self.terraform("output", "-json")).items()}
        changes = [call for call in self.account.calls() if CHANGES.fullmatch(call.operation)]
        assert [call for call in changes if call.error] == []
        return sorted({f"{call.operation} {named(call)}" for call in changes})

    def plan(self, **values: Any) -> str:
        """What a plan prints. Raises TerraformError."""
        (self.folder / "given.tfvars.json").write_text(json.dumps({**VALUES, **values}))
        return self.terraform("plan", "-input=false", "-lock=false", "-var-file=given.tfvars.json")


def named(call: aws_api.Call) -> str:
    """A call, by its operation and what it changes."""
    kinds = ("ServerlessCacheName", "UserId", "UserGroupId")
    return next(str(call.parameters[kind]) for kind in kinds if kind in call.parameters)


def caches_roles(file: str) -> dict[str, Any]:
    """The roles in one of the module's files."""
    return dict(yaml.safe_load((ROOT / "terraform" / "modules" / "cache" / f"{file}.yaml").read_text()))


def of_a_cache(folder: Path, aws: aws_api.Aws) -> None:
    """Runs the whole life, in an empty folder and an account of its own."""
    module = terraforms.copy(folder) / "modules" / "cache"
    account = aws.account("444444444444")
    terraforms.init(module, account=account.id)
    seen = {**terraform_mirror.environment(), **account.variables}
    log, types = folder / "provider.log", lean_provider.named([module])
    with lean_provider.serving(module / ".terraform", log, seen, types=types) as provider:
        live(Life(module, account, {**account.variables, **provider}))


def live(life: Life) -> None:
    """From its first cache to the last snapshot."""
    life.begin()
    # ElastiCache takes one change of a user at a time, and refuses none, though every access string changes.
    changed = life.apply()
    users = [call for call in changed if call.startswith("ModifyUser ")]
    assert len(users) == len(life.elasticache.describe_users()["Users"])
    assert life.outputs["name"] == NAME

    # A second cache beside the first, from its snapshot.
    arn = caches.take_snapshot(life.elasticache, NAME)
    both = {"": {}, "r1": {"restore_snapshot_arn": arn}}
    assert life.apply(caches=both) == [f"CreateServerlessCache {NAME}-r1"]
    (made,) = [call for call in life.account.calls() if call.operation == "CreateServerlessCache"]
    assert made.parameters["SnapshotArnsToRestore"] == [arn]
    before = life.outputs

    # Switching changes nothing in ElastiCache.
    assert life.apply(caches=both, in_use="r1") == []
    assert life.outputs["name"] == f"{NAME}-r1"
    assert life.outputs["host"] != before["host"]
    assert life.outputs["arns"] == before["arns"]

    # Terraform neither destroys nor replaces a cache, and says how to upgrade an engine.
    alone = {"caches": {"r1": {}}, "in_use": "r1", "major_engine_version": "9"}
    with pytest.raises(TerraformError, match=r"(?s)prevent_destroy") as refusal:
        life.plan(**alone)
    raise_engine(life, str(refusal.value))
    caches.take_out_of_state(life.terraform, "")
    last = caches.delete(life.elasticache, NAME)
    assert ONLY_OUTPUTS in " ".join(life.plan(**alone).split())
    assert set(caches.existing(life.elasticache, NAME)) == {f"{NAME}-r1"}

    # Everything goes except snapshots and, for a month, their key.
    caches.take_out_of_state(life.terraform)
    final = caches.delete(life.elasticache, f"{NAME}-r1")
    life.terraform("destroy", "-auto-approve", "-input=false", "-var-file=given.tfvars.json")
    assert [one["ARN"] for one in caches.snapshots(life.elasticache, NAME)] == [arn, last, final]
    assert (life.elasticache.describe_users()["Users"], caches.existing(life.elasticache, NAME)) == ([], {})
    (key,) = life.kms.list_keys()["Keys"]
    assert life.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "PendingDeletion"


def raise_engine(life: Life, printed: str) -> None:
    """Does what a refused plan says."""
    said = re.sub(r"\s+", " ", re.sub(r"(?m)^│ ?", "", printed))
    command = re.search(r"`aws elasticache modify-serverless-cache (.*?)`", said)
    assert command, said
    words = command[1].split()
    given = dict(zip(words[::2], words[1::2], strict=True))
    life.elasticache.modify_serverless_cache(
        ServerlessCacheName=given["--serverless-cache-name"],
        Engine=given["--engine"],
        MajorEngineVersion=given["--major-engine-version"],
    )
