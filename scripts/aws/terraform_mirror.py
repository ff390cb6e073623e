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


LESS_OFTEN = "400"
"""How much Terraform and its provider may allocate before they collect garbage, per cent of what is in use: their heaps
are large and short-lived, and a quarter of their time went into that."""


def plugin_dir() -> Path | None:
    """A folder with the AWS provider unpacked: TF_PLUGIN_DIR, or a usual place that has it; None for the registry."""
    if given := os.environ.get("TF_PLUGIN_DIR"):
        return Path(given).resolve()
    places = [*(Path(place).expanduser() for place in PLACES), *sorted(Path("/opt").glob("*"))]
    return next((place for place in places if (place / PROVIDER).is_dir()), None)


def init_options() -> list[str]:
    """What `terraform init` is told about it."""
    found = plugin_dir()
    return [f"-plugin-dir={found}"] if found else []


def environment() -> dict[str, str]:
    """The environment for terraform where nobody is to be asked: no credentials, and no settings of another run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
    return {"GOGC": LESS_OFTEN, **kept, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
