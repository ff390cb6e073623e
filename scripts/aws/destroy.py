"""`make destroy ENV=dev`: removes an environment once its name is typed, and keeps a last snapshot of each cache.

The caches are taken out of Terraform's state, which protects them, and deleted with a last snapshot; then Terraform
destroys the rest. Whatever stops this, run it again: it starts from what is still there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from scripts import signals
from scripts.aws import caches, endings, infrastructure
from scripts.refusal import Refusal


def destroy(environment: str, more: Sequence[str]) -> int:
    """Destroys an environment and returns Terraform's exit status. Raises Refusal, also if nobody confirms."""
    line = infrastructure.command("destroy", environment, ["-auto-approve", *more])
    elasticache, group = caches.client(environment), caches.group_name(environment)
    found = caches.existing(elasticache, group)
    ask(environment, group, found)
    caches.take_out_of_state(caches.run_terraform)
    for name in found:
        caches.delete(elasticache, name)
    status = infrastructure.run(line, stdin=subprocess.DEVNULL).returncode
    if status:
        print(f"Something is left. Mend it and run make destroy ENV={environment} again.", file=sys.stderr)
    else:
        tell(caches.snapshots(elasticache, group))
    return status


def ask(environment: str, group: str, found: Mapping[str, Any]) -> None:
    """Asks for the environment's name to be typed. Raises Refusal for anything else."""
    what = f"with its data, in the cache {' and the cache '.join(found)}" if found else "which has no cache any more"
    print(f"This destroys {group} in {infrastructure.region(environment)}, {what}.", file=sys.stderr)
    if found:
        print("A last snapshot of each cache is kept; whatever is written after it is lost.", file=sys.stderr)
    print(f"Type {environment} to go on: ", end="", file=sys.stderr, flush=True)
    typed = sys.stdin.readline().strip()
    if typed != environment:
        raise Refusal(f"Nothing was changed: that was {typed!r}, and not {environment!r}.")


def tell(left: Sequence[Mapping[str, Any]]) -> None:
    """Prints what is left, and how long it can be read."""
    for snapshot in left:
        print(f"Left: the snapshot {snapshot['ARN']}")
    for key in sorted({str(snapshot["KmsKeyId"]) for snapshot in left if snapshot.get("KmsKeyId")}):
        print(
            f"Its key goes in 30 days, and then nobody can read it. To keep both, run: "
            f"aws kms cancel-key-deletion --key-id {key} && aws kms enable-key --key-id {key}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Destroys an environment, or says in one sentence why not."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.aws.destroy", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("environment", help="name of a file in terraform/environments")
    parser.add_argument("more", nargs=argparse.REMAINDER, help="arguments for terraform destroy")
    options = parser.parse_args(arguments)
    os.environ["TF_DATA_DIR"] = str(infrastructure.data_folder(options.environment))
    return endings.status(lambda: destroy(options.environment, options.more), stopped=caches.STOPPED)


if __name__ == "__main__":
    signals.interrupt_once()
    sys.exit(main())
