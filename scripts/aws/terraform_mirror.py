"""Where this machine keeps Terraform's providers, if it does: without a mirror Terraform asks its registry."""

from __future__ import annotations

import os
from pathlib import Path

PROVIDER = Path("registry.terraform.io", "hashicorp", "aws")

PLACES = (
    "~/.terraform.d/plugins",
    "~/.local/share/terraform/plugins",
    "/usr/local/share/terraform/plugins",
    "/usr/share/terraform/plugins",
)
"""Where Terraform itself looks for unpacked providers; other mirrors are commonly put under /opt."""


GARBAGE_PERCENT = "400"
"""How much Terraform and its provider may allocate before they collect garbage, in per cent of what is in use. Their
heaps are large and short-lived: with the default of 100, collecting took a quarter of their time."""


def plugin_dir() -> Path | None:
    """A folder with the AWS provider unpacked: TF_PLUGIN_DIR, or a usual place that has it; None for the registry."""
    if folder := os.environ.get("TF_PLUGIN_DIR"):
        return Path(folder).resolve()
    places = [*(Path(place).expanduser() for place in PLACES), *sorted(Path("/opt").glob("*"))]
    return next((place for place in places if (place / PROVIDER).is_dir()), None)


def init_options() -> list[str]:
    """How `terraform init` is told of that folder."""
    folder = plugin_dir()
    return [f"-plugin-dir={folder}"] if folder else []


def environment() -> dict[str, str]:
    """The environment for an unattended terraform: no credentials, and no settings from the shell."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
    return {"GOGC": GARBAGE_PERCENT, **kept, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
