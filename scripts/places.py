"""Where things are in this tree."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TERRAFORM = ROOT / "terraform"
CONTRACT = ROOT / "functions" / "openapi.yaml"
DASHBOARD = ROOT / "scripts" / "local" / "dashboard.json"
"""The dashboard and the alarms that Terraform plans for dev, for those who cannot ask it."""


def functions() -> list[str]:
    """The keys of the functions, which are the names of their folders."""
    return sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))


def seen_from_here(path: Path) -> str:
    """A path for people to read: relative to the root of this tree if it is inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
