"""Where things are in this tree."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TERRAFORM = ROOT / "terraform"
CONTRACT = ROOT / "functions" / "openapi.yaml"
