"""A plan in a file, and beside it, in a file of the same name with `.json` behind it, what it is a plan of.

The second file tells people and programs what would change, and `make apply PLAN=…` where the plan belongs. A plan
holds the values of secrets; the file beside it does not.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.aws.changes import Change
from scripts.places import ROOT, TERRAFORM, seen_from_here
from scripts.refusal import Refusal


@dataclass(frozen=True)
class Facts:
    """What a plan was made from."""

    environment: str
    terraform: str
    """The version that made it, the only one that applies it."""
    account: str | None
    """The AWS account, if it could be found out."""
    sha256: str
    """The SHA-256 of the plan."""
    zips: Mapping[str, str]
    """The SHA-256 of each zip that an apply would upload, by path: a plan names the files but does not hold them."""


def beside(plan: Path) -> Path:
    """The file beside a plan."""
    return plan.with_name(f"{plan.name}.json")


def facts(plan: Path, document: Mapping[str, Any], environment: str, account: str | None) -> Facts:
    """The facts of a plan that was just made; `document` is its `terraform show -json`."""
    zips = {path: _sha256(ROOT / path) for path in sorted(set(_uploaded(document)))}
    return Facts(environment, document["terraform_version"], account, _sha256(plan), zips)


def read(plan: Path) -> tuple[Facts, list[Change]]:
    """The facts of a saved plan, and what it would change. Raises Refusal unless both files are there and intact."""
    shown, file = seen_from_here(plan), beside(plan)
    again = "plan again with make plan ENV=… OUT=…"
    if not plan.is_file():
        raise Refusal(f"There is no plan {shown}: make one with make plan ENV=… OUT={shown}.")
    if not file.is_file():
        raise Refusal(
            f"{shown}.json is missing, which make plan wrote beside the plan: keep them together, or {again}."
        )
    try:
        document = json.loads(file.read_text())
        found = Facts(**{name: document[name] for name in Facts.__dataclass_fields__})
        changes = [Change(**one) for one in document["changes"]]
    except (ValueError, KeyError, TypeError):
        raise Refusal(f"{shown}.json is not what make plan wrote beside a plan: {again}.") from None
    if found.sha256 != _sha256(plan):
        raise Refusal(
            f"{shown} is not the plan that {shown}.json tells of: keep the two of one plan together, or {again}."
        )
    return found, changes


def check(found: Facts, plan: Path, environment: str, terraform: str) -> None:
    """Raises Refusal for a plan that cannot be applied here, before AWS is asked. `environment` may be empty."""
    shown = seen_from_here(plan)
    if environment and environment != found.environment:
        raise Refusal(
            f"{shown} is a plan for {found.environment}, not for {environment}: leave ENV out, or plan again."
        )
    if terraform != found.terraform:
        raise Refusal(
            f"{shown} was made by Terraform {found.terraform}, and this is {terraform}: apply it with the one that "
            f"made it, or run make plan ENV={found.environment} OUT={shown} again."
        )
    for path, sha256 in found.zips.items():
        if not (ROOT / path).is_file() or _sha256(ROOT / path) != sha256:
            raise Refusal(
                f"{path} is not the file that {shown} was made with: bring build/ from where it was planned, or build "
                "the same sources here with the same Python."
            )


def check_account(found: Facts, plan: Path, account: str | None) -> None:
    """Raises Refusal for a plan made for an account other than the credentials'."""
    if found.account and account and account != found.account:
        raise Refusal(
            f"{seen_from_here(plan)} is a plan for account {found.account}, and these credentials are for {account}: "
            "use that account's."
        )


def check_state(plan: Path, environment: str, pulled: str) -> None:
    """Raises Refusal if the state has changed since the plan was made; `pulled` is what `terraform state pull` prints.

    Terraform compares the same two members, and would refuse in more words.
    """
    with zipfile.ZipFile(plan) as archive:
        planned = json.loads(archive.read("tfstate"))
    current = json.loads(pulled) if pulled.strip() else {"serial": 0, "lineage": ""}
    is_first = not planned["serial"] and not planned["lineage"]
    if planned["serial"] != current["serial"] or (planned["lineage"] != current["lineage"] and not is_first):
        shown = seen_from_here(plan)
        raise Refusal(
            f"{shown} is stale, since {environment} was changed after it was made: run make plan ENV={environment} "
            f"OUT={shown} again, and look at what it says now."
        )


def _uploaded(document: Mapping[str, Any]) -> Iterator[str]:
    """The files that an apply uploads, relative to the project's folder."""
    for one in document.get("resource_changes", ()):
        after = one["change"].get("after") or {}
        if one["change"]["actions"] != ["no-op"] and after.get("source_code_hash") and after.get("filename"):
            path = (TERRAFORM / after["filename"]).resolve()
            yield path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
