"""A whole slot, taken and put back: a player's profile with its receipts, or the board with everything beside it."""

from __future__ import annotations

import valkey

Snapshot = dict[str, tuple[bytes, int]]
"""A slot's keys as DUMP gives them, and how long each lives (ms, 0 for forever)."""


def patterns(slot: str) -> tuple[str, str]:
    """Which keys a slot holds, that of the board or of a player."""
    if slot == "board":
        return "leaderboard:global", "{leaderboard:global}:*"
    return f"user:{slot}", f"{{user:{slot}}}:*"


def taken(client: valkey.Valkey, slot: str) -> Snapshot:
    """What the slot holds now."""
    keys = [key for pattern in patterns(slot) for key in client.scan_iter(pattern, count=1000)]
    return {key.decode(): (client.dump(key), max(0, client.pttl(key))) for key in keys}


def put_back(client: valkey.Valkey, slot: str, snapshot: Snapshot) -> None:
    """Makes the slot hold what it held then."""
    for pattern in patterns(slot):
        for key in list(client.scan_iter(pattern, count=1000)):
            client.delete(key)
    for name, (value, lifetime) in snapshot.items():
        client.restore(name, lifetime, value)
