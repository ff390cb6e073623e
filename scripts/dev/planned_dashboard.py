"""Writes scripts/local/dashboard.json, the dashboard and alarms that Terraform plans for dev; `--check` only compares.

`make run` draws that dashboard, and cannot ask Terraform. The plan is made without AWS, by `terraform test` on a copy
of the tree. Without Terraform nothing is written, and the file stays as it is.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.aws import terraform_mirror, terraform_provider
from scripts.dev import check_terraform
from scripts.places import DASHBOARD, seen_from_here
from scripts.refusal import Refusal

COMMAND = "python -m scripts.dev.planned_dashboard"
ENVIRONMENT = "dev"
ALARMS = ("aws_cloudwatch_composite_alarm", "aws_cloudwatch_metric_alarm")

ACCOUNT = "123456789012"
COUNTED = ("network", "cache", "delivery")
"""Modules that not every environment has."""

WHO = (
    'override_data {\n  target = %s.data.aws_caller_identity.current\n  values = { account_id = "'
    + ACCOUNT
    + '" }\n}\n'
)

TEST = """
override_data {
  target = module.leaderboard.module.network[0].data.aws_availability_zones.available
  values = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c"] }
}

run "plan" {
  command = plan
}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the file, or with --check says whether it would change."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 if the file is out of date")
    options = parser.parse_args(arguments)
    if shutil.which("terraform") is None:
        print(f"NOT WRITTEN: {seen_from_here(DASHBOARD)}, because terraform is missing.", file=sys.stderr)
        return 0
    try:
        text = rendered(planned())
    except Refusal as error:
        print(error, file=sys.stderr)
        return 1
    if DASHBOARD.exists() and DASHBOARD.read_text(encoding="utf-8") == text:
        return 0
    if options.check:
        print(f"{seen_from_here(DASHBOARD)} is not what {ENVIRONMENT} plans. Run: {COMMAND}", file=sys.stderr)
        return 1
    DASHBOARD.write_text(text, encoding="utf-8")
    return 0


def rendered(resources: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """The file's text, from what is planned: each resource's type and values."""
    found = sorted(resources, key=lambda one: str(one[1].get("alarm_name")))
    (body,) = [json.loads(values["dashboard_body"]) for kind, values in found if kind == "aws_cloudwatch_dashboard"]
    alarms = [_told(values) for kind, values in found if kind in ALARMS]
    return json.dumps({"dashboard": body, "alarms": alarms}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def planned() -> list[tuple[str, Mapping[str, Any]]]:
    """The type and the values of everything that is planned. Raises Refusal if Terraform cannot."""
    with tempfile.TemporaryDirectory() as folder:
        tree = check_terraform.copy(Path(folder))
        whose = re.findall(r"^module \"(\w+)\"", (tree / "modules/leaderboard/main.tf").read_text(), re.MULTILINE)
        asking = [name for name in whose if _asks(tree / "modules" / name)]
        targets = ["module.leaderboard", *(f"module.leaderboard.module.{name}" for name in asking)]
        test = "".join(WHO % f"{target}{'[0]' if target.endswith(COUNTED) else ''}" for target in targets)
        (tree / "planned.tftest.hcl").write_text(TEST + test)
        offline = {"provider": {"aws": terraform_provider.OFFLINE}}
        (tree / terraform_provider.OFFLINE_FILE).write_text(json.dumps(offline))
        _terraform(tree, "init", "-backend=false", "-input=false", *terraform_mirror.init_options())
        values = f"-var-file=environments/{ENVIRONMENT}.tfvars"
        lines = _terraform(tree, "test", "-json", "-verbose", "-filter=planned.tftest.hcl", values).splitlines()
    plans = [json.loads(line)["test_plan"] for line in lines if '"test_plan":' in line]
    if len(plans) != 1:
        raise Refusal(f"terraform test showed {len(plans)} plans of {ENVIRONMENT} where one was expected.")
    return [(one["type"], one["change"]["after"]) for one in plans[0]["resource_changes"]]


def _asks(module: Path) -> bool:
    return any('data "aws_caller_identity"' in path.read_text() for path in module.glob("*.tf"))


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    """An alarm without what is not set, and without tags."""
    empty: tuple[object, ...] = (None, [], {}, "")
    return {
        name: _without_nothing(value)
        for name, value in values.items()
        if value not in empty and name not in ("tags", "tags_all")
    }


def _without_nothing(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nothing(one) for one in value]
    return _told(value) if isinstance(value, dict) else value


def _terraform(tree: Path, *command: str) -> str:
    done = subprocess.run(
        ["terraform", f"-chdir={tree}", *command],
        env=terraform_mirror.environment(),
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = re.findall(r'"summary":"(.*?)","detail":"(.*?)","', done.stdout)
        raise Refusal(
            "\n".join([f"terraform {command[0]} of {ENVIRONMENT} failed:", *map(": ".join, said), done.stderr])
        )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
