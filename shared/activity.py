"""Activity: how many players submitted or opened a session, of a day (UTC) and of the last days.

Each day has a HyperLogLog in the board's slot: 12 KiB at most, within a per cent, however many play. Requests add to
it; what brings the board in line afterwards does not. A count is for people to look at: where it cannot be kept,
because memory is full or somebody has put something else there, the request succeeds all the same.
"""

from __future__ import annotations

import datetime
import time
from typing import Any, NamedTuple

from shared import logs, outbox
from shared.board import BOARD
from shared.store import Command, ReplyError, Store, value

MONTH_DAYS = 30
"""How many days are kept, today among them."""

FORGOTTEN_DAYS = 365
"""How many days before those are taken away, whether they are there or not: a key of the board has no TTL, and a run
may come after a long pause, or after a snapshot of last spring."""


class Active(NamedTuple):
    """How many players were active today, and how many in the last MONTH_DAYS; None where that is not known."""

    today: int | None
    month: int | None


def day_key(day: str) -> str:
    """The HyperLogLog of a day; of a time in ISO-8601, the day is what counts."""
    return f"{{{BOARD}}}:active:{day[:10]}"


def count_command(user_id: str, moment: str) -> Command:
    """The command that counts a player as active on the day of a moment. (model: count)"""
    return ("PFADD", day_key(moment), user_id)


def take_stock(store: Store) -> Active:
    """Who was active, by the earlier of the server's clock and our own, in two round trips. A clock that is ahead
    deletes no day that should stay.

    The first run after midnight finds a day that has become too old, and takes a third trip to delete those before it.
    """
    now = min(outbox.server_time(store), time.time_ns() // 1_000_000)
    today = datetime.datetime.fromtimestamp(now / 1000, datetime.UTC).date()
    days = [day_key(str(today - datetime.timedelta(ago))) for ago in range(MONTH_DAYS + FORGOTTEN_DAYS)]
    active, month, ended = store.exchange(
        ("PFCOUNT", days[0]), ("PFCOUNT", *days[:MONTH_DAYS]), ("DEL", days[MONTH_DAYS])
    )
    if value(ended):
        store.ask(("DEL", *days[MONTH_DAYS + 1 :]))
    return Active(_known(active), _known(month))


def _known(count: Any) -> int | None:
    """A count; None if somebody else's key is among the days. Raises Unavailable."""
    try:
        return int(value(count))
    except ReplyError as error:
        logs.write("WARNING", "active players not counted", cause=type(error).__name__)
        return None
