"""The caches of an environment on AWS: `make snapshot ENV=prod`, and `make retire ENV=prod CACHE=r1`.

Terraform takes no snapshots, and refuses to destroy a cache. So a cache that goes is taken out of Terraform's state and
then deleted with a last snapshot. Whatever stops this, it can be run again.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from scripts import signals
from scripts.aws import accounts, deployed, endings, infrastructure, values
from scripts.places import TERRAFORM, functions, seen_from_here
from scripts.refusal import Refusal

ADDRESS = re.compile(r"(?:\S+\.)?aws_elasticache_serverless_cache\.\S+")

LONGEST_NAME = 40
"""Characters in the name of a snapshot."""

LOOK_SECONDS = 10
TELL_SECONDS = 60
LONGEST_SECONDS = 2 * 3600
"""How often AWS is asked, how often progress is printed, and how long anything may take."""

STOPPED = "\nStopped. Run this again to go on from here."
"""Printed after Ctrl-C: whatever stops this, it can be run again."""

Terraform = Callable[..., str]
"""Runs terraform with these arguments where the state is, and returns what it prints."""


def client(environment: str, service: str = "elasticache") -> Any:
    """A boto3 client for an environment's Region. Raises Refusal for an unknown one."""
    return accounts.clients(infrastructure.region(environment))(service)


def group_name(environment: str) -> str:
    """The prefix of an environment's names, and the name of its first cache and its user group. Raises Refusal."""
    return infrastructure.name(environment)


def name(environment: str, suffix: str) -> str:
    """A cache's name. Raises Refusal for an unknown environment."""
    return "-".join(filter(None, (group_name(environment), suffix)))


def existing(elasticache: Any, group: str) -> dict[str, Mapping[str, Any]]:
    """All caches with this user group by name, as AWS describes them, whether Terraform's state has them or not."""
    pages = elasticache.get_paginator("describe_serverless_caches").paginate()
    caches = (cache for page in pages for cache in page["ServerlessCaches"])
    return {cache["ServerlessCacheName"]: cache for cache in caches if cache.get("UserGroupId") == group}


def snapshots(elasticache: Any, group: str) -> list[Mapping[str, Any]]:
    """The snapshots of an environment's caches, of deleted ones too, newest last."""
    pages = elasticache.get_paginator("describe_serverless_cache_snapshots").paginate()
    found = (snapshot for page in pages for snapshot in page["ServerlessCacheSnapshots"])
    own = re.compile(rf"{re.escape(group)}(-[a-z0-9]{{1,9}})?")
    mine = (one for one in found if own.fullmatch(one["ServerlessCacheConfiguration"]["ServerlessCacheName"]))
    return sorted(mine, key=lambda snapshot: str(snapshot.get("CreateTime")))


def snapshot_name(cache: str) -> str:
    """The name of a snapshot taken now: the cache's, and the time in UTC to the second."""
    moment = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d%H%M%S")
    return f"{cache[: LONGEST_NAME - len(moment) - 1].rstrip('-')}-{moment}"


def take_snapshot(elasticache: Any, cache: str) -> str:
    """Takes a snapshot, waits until it can be restored, and returns its ARN. Raises Refusal."""
    _wait_until_available(elasticache, cache)
    taken = snapshot_name(cache)
    elasticache.create_serverless_cache_snapshot(ServerlessCacheSnapshotName=taken, ServerlessCacheName=cache)
    return _wait_for_snapshot(elasticache, taken)


def take_out_of_state(terraform: Terraform, suffix: str | None = None) -> None:
    """Makes Terraform forget a cache, or all of them."""
    addresses = [line.strip() for line in terraform("state", "list").splitlines() if ADDRESS.fullmatch(line.strip())]
    forgotten = [address for address in addresses if suffix is None or address.endswith(f'["{suffix}"]')]
    if forgotten:
        terraform("state", "rm", *forgotten)


def delete(elasticache: Any, cache: str) -> str:
    """Deletes a cache and waits until it is gone. Returns the ARN of its last snapshot, '' if it was already going.

    Raises Refusal, also if the snapshot is not there afterwards.
    """
    taken = ""
    if _status(elasticache, cache) != "deleting":
        _wait_until_available(elasticache, cache)
        taken = snapshot_name(cache)
        elasticache.delete_serverless_cache(ServerlessCacheName=cache, FinalSnapshotName=taken)
        print(f"Deleting the cache {cache}; its last snapshot is {taken}.", file=sys.stderr)
    _wait(f"The cache {cache} is being deleted", lambda: _status(elasticache, cache) is None)
    return _wait_for_snapshot(elasticache, taken) if taken else ""


def users(environment: str, cache: str) -> list[str]:
    """The functions of an environment that connect to a cache, in a version that the alias leads to."""
    awslambda = client(environment, "lambda")
    return [
        key for key in functions() if cache in _caches_of(awslambda, infrastructure.function_name(environment, key))
    ]


def _caches_of(awslambda: Any, function: str) -> set[str]:
    try:
        alias = awslambda.get_alias(FunctionName=function, Name=deployed.ALIAS)
    except awslambda.exceptions.ResourceNotFoundException:
        return set()
    versions = [alias["FunctionVersion"], *alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})]
    configured = (awslambda.get_function_configuration(FunctionName=function, Qualifier=one) for one in versions)
    return {one.get("Environment", {}).get("Variables", {}).get("VALKEY_IAM_CACHE", "") for one in configured}


def retire(environment: str, suffix: str, elasticache: Any, terraform: Terraform) -> str:
    """Takes a cache that nobody uses out of the state, deletes it, and returns the ARN of its last snapshot.

    Raises Refusal while values or functions still use it.
    """
    cache = name(environment, suffix)
    file = seen_from_here(values.file_of(environment))
    if suffix == (infrastructure.value(environment, "cache_in_use") or ""):
        raise Refusal(
            f'{cache} is the cache in use: only another can be retired (cache_in_use = "{suffix}" in {file}).'
        )
    if suffix in listed(values.file_of(environment)):
        raise Refusal(
            f'{file} still has it among its caches, and the next apply would make it anew: take "{suffix}" out.'
        )
    if keys := users(environment, cache):
        raise Refusal(
            f"{cache} is still used by {', '.join(keys)}: apply cache_in_use, and deploy them, so that their alias "
            f"{deployed.ALIAS} moves to a version with the other cache."
        )
    if cache not in existing(elasticache, group_name(environment)):
        raise Refusal(f"There is no cache {cache} of this environment.")
    take_out_of_state(terraform, suffix)
    return delete(elasticache, cache)


def listed(file: Path) -> list[str]:
    """The suffixes of the caches in an environment's values."""
    return [*values.read(file).get("caches", {"": {}})]


def _status(elasticache: Any, cache: str) -> str | None:
    try:
        (found,) = elasticache.describe_serverless_caches(ServerlessCacheName=cache)["ServerlessCaches"]
    except elasticache.exceptions.ServerlessCacheNotFoundFault:
        return None
    return str(found["Status"]).lower()


def _wait_until_available(elasticache: Any, cache: str) -> None:
    """Waits, since AWS takes no request for a cache that it is busy with."""

    def is_available() -> bool:
        status = _status(elasticache, cache)
        if status is None or "failed" in status:
            raise Refusal(f"The cache {cache} is {status or 'not there'}: look at it in the console of ElastiCache.")
        return status == "available"

    _wait(f"The cache {cache} is busy", is_available)


def _wait_for_snapshot(elasticache: Any, taken: str) -> str:
    def find() -> Mapping[str, Any]:
        answer = elasticache.describe_serverless_cache_snapshots(ServerlessCacheSnapshotName=taken)
        (found,) = answer["ServerlessCacheSnapshots"]
        if str(found["Status"]).lower() == "failed":
            raise Refusal(f"The snapshot {taken} failed: look at it in the console of ElastiCache.")
        return dict(found)

    _wait(f"The snapshot {taken} is being taken", lambda: str(find()["Status"]).lower() == "available")
    return str(find()["ARN"])


def _wait(what: str, is_over: Callable[[], bool]) -> None:
    began = told = time.monotonic()
    while not is_over():
        now = time.monotonic()
        if now - began > LONGEST_SECONDS:
            raise Refusal(f"{what} for {LONGEST_SECONDS // 60} minutes: look at it on AWS, then run this again.")
        if now - told >= TELL_SECONDS:
            told = now
            print(f"{what}, since {(now - began) / 60:.0f} min.", file=sys.stderr, flush=True)
        time.sleep(LOOK_SECONDS)


def run_terraform(*arguments: str) -> str:
    """Runs terraform in terraform/, after init. Raises Refusal if it fails."""
    line = ["terraform", f"-chdir={TERRAFORM}", *arguments]
    done = infrastructure.run(line, output=subprocess.PIPE, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Refusal(f"terraform {' '.join(arguments[:2])} failed, see above: mend that and run this again.")
    return done.stdout


def main(arguments: Iterable[str] | None = None) -> int:
    """Takes a snapshot or retires a cache, or says in one sentence why not."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.aws.caches", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("action", choices=["snapshot", "retire"])
    parser.add_argument("environment", help="name of a file in terraform/environments")
    parser.add_argument("cache", nargs="?", default="", help="to retire: what its name adds, or nothing for the first")
    options = parser.parse_args(None if arguments is None else list(arguments))
    os.environ["TF_DATA_DIR"] = str(infrastructure.data_folder(options.environment))
    work = partial(_snapshot, options.environment) if options.action == "snapshot" else partial(_retire, options)
    return endings.status(work, stopped=STOPPED)


def _snapshot(environment: str) -> int:
    suffix = infrastructure.value(environment, "cache_in_use") or ""
    print(take_snapshot(client(environment), name(environment, suffix)))
    return 0


def _retire(options: argparse.Namespace) -> int:
    infrastructure.command("state", options.environment, [])
    arn = retire(options.environment, options.cache, client(options.environment), run_terraform)
    print(f"{name(options.environment, options.cache)} is gone. Its last snapshot: {arn or 'as said when it began'}")
    return 0


if __name__ == "__main__":
    signals.interrupt_once()
    sys.exit(main())
