"""Finds players, and shows what anybody may see of one."""

from __future__ import annotations

import math
import sys
import time
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from scripts.admin.asking import Api, Reply
from scripts.refusal import Refusal

PAGE = 100
"""Players a request, the most that the leaderboard gives."""

QUIET_SECONDS = 5.0
"""Between two lines of progress when standard error is not a terminal."""

GONE = "user_not_found"
HIDDEN = "not_ranked"


class RefusedError(Exception):
    """The API does not do what it was asked; the message is a sentence of the API's with what it means here."""


def target(user_id: str, rest: str = "") -> str:
    """The path of a player, or of something of theirs."""
    return f"/users/{quote(user_id, safe='')}{rest}"


def answered(reply: Reply) -> Any:
    """The body of an answer that is none of a problem. Raises RefusedError."""
    if reply.status == 0 or reply.status >= 500:
        why = reply.code or str(reply.status or "no answer came")
        raise RefusedError(f"Nobody knows whether it was done ({why}): give the same command again.")
    if reply.status >= 400:
        said = reply.body.get("detail", "") if isinstance(reply.body, dict) else str(reply.body)[:200]
        raise RefusedError(f"The API refuses ({reply.code or reply.status}): {said}")
    return reply.body


def show(api: Api, user_id: str) -> dict[str, Any]:
    """A player's profile without the e-mail address, `hidden`, and `rank` of `totalPlayers`. Raises RefusedError."""
    user = {name: value for name, value in answered(api.read(target(user_id)))["user"].items() if name != "email"}
    reply = api.read(target(user_id, "/rank"))
    if reply.code == HIDDEN:
        return {**user, "hidden": True, "rank": None}
    rank = answered(reply)["rank"]
    return {**user, "hidden": False, "rank": rank["rank"], "totalPlayers": rank["totalPlayers"]}


def named(api: Api, text: str, most: int) -> list[Mapping[str, Any]]:
    """The players on the board whose name has this text in it, best first, at most so many.

    It reads the board from its top, a page a request: there is no index of names, and nobody who is hidden is on it.
    Whoever moves between two pages while it reads may be missed, or seen twice. Raises RefusedError.
    """
    wanted = _plain(text)
    if not wanted:
        raise Refusal("Say a part of the name: --name grace")
    found: dict[str, Mapping[str, Any]] = {}
    offset, total = 0, math.inf
    progress = _Progress()
    while offset < total and len(found) < most:
        page = answered(api.read(f"/leaderboard?limit={PAGE}&offset={offset}"))
        if not page["leaderboard"]:
            break
        if not offset:
            progress.begin(page["totalPlayers"])
        offset, total = offset + PAGE, page["totalPlayers"]
        found |= {one["userId"]: one for one in page["leaderboard"] if wanted in _plain(one["username"])}
        progress.show(min(offset, total), total, len(found))
    progress.end()
    return [*found.values()][:most]


def _plain(text: str) -> str:
    """A name without what people see past when they look for one: case and compatible forms."""
    return unicodedata.normalize("NFKC", text).casefold()


class _Progress:
    """Of a scan, on standard error: one line that moves on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._watched = sys.stderr.isatty()
        self._written = time.monotonic()

    def begin(self, total: int) -> None:
        """Says what it will cost."""
        requests = math.ceil(total / PAGE)
        print(
            f"Names have no index, so this reads the board: {total:,} players, so up to {requests:,} requests.",
            file=sys.stderr,
            flush=True,
        )

    def show(self, seen: int, total: int, found: int) -> None:
        now = time.monotonic()
        if not self._watched and now - self._written < QUIET_SECONDS:
            return
        self._written = now
        text = f"Read {seen:,} of {total:,} players, found {found}"
        print(
            f"\r\033[K{text}" if self._watched else text, end="" if self._watched else "\n", file=sys.stderr, flush=True
        )

    def end(self) -> None:
        if self._watched:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
