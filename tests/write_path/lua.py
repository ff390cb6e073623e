"""The scripts of `shared/lua`, run on the server as they are."""

from __future__ import annotations

import time
from pathlib import Path

import valkey

from shared import board, profiles

LUA = Path(board.__file__).parent / "lua"

SUBMISSION = [profiles.profile_key("ada"), profiles.mark_key("ada"), *profiles.receipts_keys("ada")]


def submission(operator: str) -> list[str | int]:
    """The arguments of a submission of 7 points with this operator, sent now."""
    sent = time.time_ns() // 1_000_000
    return [operator, 7, 0, 1000, "", 1000, "a" * 12, sent, 30_000, "now", "name", "d" * 16, 60, 1000, 0, 1]


def run(raw: valkey.Valkey, script: str, keys: list[str], arguments: list[str | int]) -> list[str]:
    """The reply of a script of `shared/lua`."""
    reply: list[str] = raw.eval((LUA / f"{script}.lua").read_text(), len(keys), *keys, *map(str, arguments))
    return reply
