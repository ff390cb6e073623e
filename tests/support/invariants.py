"""What holds for every history of requests, retries, crashes and reconnections, once reconcile has run.

The keys are spelled out, and read with a client of the server itself: nothing here trusts the code under test.
"""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

import pytest
import valkey

from functions.reconcile import handler as reconcile_handler
from scripts.local.proxy import Context
from shared import reconcile
from tests.support.invoking import invoker

SCALE = int(os.environ.get("CRASH_SCALE", "1"))
"""How much larger than in `make test` the crash points, lost replies and races are."""

BOARD = "leaderboard:global"
PLAYERS = "{leaderboard:global}:players"
TOTALS = "{leaderboard:global}:totals"
SWEEP = "{leaderboard:global}:sweep"
PENDING = "{leaderboard:global}:pending"
STATS = "stats:game"
ACTIVE = "{leaderboard:global}:active:"
"""What the keys of the days begin with; the day follows, in UTC."""

EVENTBRIDGE = {"version": "0", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}

Report = dict[str, Any]


class World(NamedTuple):
    """Everything in the server except sessions and receipts. `marks` are those of players who were erased."""

    profiles: dict[str, dict[str, str]]
    marks: dict[str, dict[str, str]]
    board: dict[str, int]
    rows: dict[str, str]
    totals: dict[str, str]
    pending: list[str]
    stats: dict[str, str]


def look(raw: valkey.Valkey) -> World:
    """What the server holds now."""
    with raw.pipeline(transaction=False) as pipeline:
        pipeline.zrange(BOARD, 0, -1, withscores=True).hgetall(PLAYERS).hgetall(TOTALS)
        pipeline.zrange(PENDING, 0, -1).hgetall(STATS)
        board, rows, totals, pending, stats = pipeline.execute()
    return World(
        profiles(raw), marks(raw), {user_id: int(score) for user_id, score in board}, rows, totals, pending, stats
    )


def profiles(raw: valkey.Valkey) -> dict[str, dict[str, str]]:
    """Every profile, by userId."""
    return _hashes(raw, "user:", "")


def marks(raw: valkey.Valkey) -> dict[str, dict[str, str]]:
    """What is left of everybody who was erased, by userId."""
    return _hashes(raw, "{user:", "}:erased")


def _hashes(raw: valkey.Valkey, prefix: str, suffix: str) -> dict[str, dict[str, str]]:
    keys = list(raw.scan_iter(f"{prefix}*{suffix}", count=1000))
    with raw.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.hgetall(key)
        found = zip(keys, pipeline.execute(), strict=True)
        return {key.removeprefix(prefix).removesuffix(suffix): fields for key, fields in found}


def check(raw: valkey.Valkey, *, high_score: bool = True) -> World:
    """Asserts every invariant of a settled world; without the high score, if a player was hidden, corrected or erased
    since a sweep began."""
    world = look(raw)
    for user_id, profile in world.profiles.items():
        assert profile["userId"] == user_id
        assert int(profile["bestScore"]) >= int(profile["score"])
        assert int(profile["level"]) == max(1, int(profile["score"]) // 750 + 1)
    ranked = {user_id: profile for user_id, profile in world.profiles.items() if not profile.get("hidden")}
    scores = {user_id: int(profile["score"]) for user_id, profile in ranked.items()}
    games = sum(int(profile["gamesPlayed"]) for profile in ranked.values())
    total = sum(scores.values())
    high = max((int(profile["bestScore"]) for profile in ranked.values()), default=0)
    assert world.board == scores, "board score = profile score for every player; membership = the profiles not hidden"
    hidden = {
        user_id: [profile["revision"], "0", "0", profile["username"]]
        for user_id, profile in world.profiles.items()
        if user_id not in ranked
    }
    assert {user_id: _without_sweep(row) for user_id, row in world.rows.items()} == {
        **{
            user_id: [profile[name] for name in ("revision", "score", "gamesPlayed", "username")]
            for user_id, profile in ranked.items()
        },
        **hidden,
        **{user_id: [mark["revision"], "0", "0", ""] for user_id, mark in world.marks.items()},
    }, "rows = profiles, and an empty one for each mark"
    assert not world.marks.keys() & world.profiles.keys(), "whoever was erased has no profile"
    assert all(raw.ttl(f"{{user:{user_id}}}:erased") == -1 for user_id in world.marks), "and a mark that stays"
    assert world.pending == [], "the outbox is empty"
    held = {name: int(world.totals.get(name, "0")) for name in ("totalGames", "totalScore", "highScore")}
    if not high_score:
        assert held["highScore"] >= high
        high = held["highScore"]
    assert held == {"totalGames": games, "totalScore": total, "highScore": high}
    average = round(total / games, 2) if games else 0
    assert world.stats == {**{name: str(value) for name, value in held.items()}, "averageScore": str(average)}
    return world


def check_receipts(raw: valkey.Valkey) -> None:
    """Asserts that receipts of keys cannot be evicted, and that a sweep has left none that have ended."""
    now, _ = raw.time()
    for key in raw.scan_iter("{user:*}:receipts:*", count=1000):
        generation = raw.hgetall(key)
        assert raw.ttl(key) == -1
        born, ends = int(generation.pop("born")), int(generation.pop("ends"))
        assert born <= now < ends
        assert generation
        assert all(re.fullmatch(r"[\w-]{28}[csbidk]-?\d+ -?\d+", receipt) for receipt in generation.values())


def _without_sweep(row: str) -> list[str]:
    revision, score, games, sweep, username = row.split(" ", 4)
    assert sweep.isdigit()
    return [revision, score, games, username]


def active_days(raw: valkey.Valkey) -> dict[str, int]:
    """How many players were active on each day that is kept."""
    return {key.removeprefix(ACTIVE): raw.pfcount(key) for key in sorted(raw.scan_iter(f"{ACTIVE}*", count=1000))}


def active(raw: valkey.Valkey, *user_ids: str) -> set[str]:
    """Which of these players were active on some day that is kept: adding them to a copy changes nothing."""
    copy = f"{ACTIVE}copy"
    raw.pfmerge(copy, *raw.scan_iter(f"{ACTIVE}*", count=1000))
    found = {user_id for user_id in user_ids if not raw.pfadd(copy, user_id)}
    raw.delete(copy)
    return found


def a_minute_passes(raw: valkey.Valkey) -> None:
    """For the outbox: each intent ages by a minute, since reconcile takes those that are older than 60 s."""
    older = {entry: sent - 61_000 for entry, sent in raw.zrange(PENDING, 0, -1, withscores=True)}
    if older:
        raw.zadd(PENDING, older, xx=True)


def receipts_grow_older(raw: valkey.Valkey, user_id: str, seconds: int) -> None:
    """A player's receipts age by so many seconds; with '*', everybody's do."""
    for key in raw.scan_iter(f"{{user:{user_id}}}:receipts:*", count=1000):
        for name in ("born", "ends"):
            raw.hincrby(key, name, -seconds)


def run_reconcile(raw: valkey.Valkey, event: dict[str, Any] | None = None) -> Report:
    """What the scheduled function reports; it has its own connection to the same server."""
    port = raw.connection_pool.connection_kwargs["port"]
    with invoker(port, connect_seconds=10, command_seconds=10) as call:  # whatever the test's own handlers are given
        report: Report = call.run(lambda: reconcile_handler.handler(event or EVENTBRIDGE, Context()))
    return report


def rebuild(raw: valkey.Valkey) -> int:
    """Rebuilds the board from the profiles, to the end; returns how many players needed it."""
    report = run_reconcile(raw, {"rebuild": {"cursor": None}})
    mended: int = report["mended"]
    while not report["finished"]:
        report = run_reconcile(raw, {"rebuild": {"cursor": report["cursor"]}})
        mended += report["mended"]
    assert report["unreadable"] == 0
    return mended


def marks_grow_older(raw: valkey.Valkey, seconds: int) -> None:
    """Everybody's marks age by so many seconds."""
    for key in raw.scan_iter("{user:*}:erased", count=1000):
        for name in ("second", "ends"):
            raw.hincrby(key, name, -seconds)


def settle(raw: valkey.Valkey, *, damaged: bool = False, acted: bool = False) -> World:
    """A minute passes, reconcile runs, a sweep goes over everybody: then every invariant holds. If somebody `acted`, by
    hiding a player, say, the high score needs the sweep.

    Unless somebody has damaged the data, the outbox alone is enough, as if the sweep were far away among a million
    other players: the sweep that follows finds nothing to mend.
    """
    a_minute_passes(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "SWEEP_PLAYERS", 0)
        report = run_reconcile(raw)
    assert report["found"] == report["cleared"]
    assert report["unreadable"] == report["swept"] == 0
    if not damaged:
        settled = check(raw, high_score=not acted)
    mended = rebuild(raw)
    world = check(raw)
    check_receipts(raw)
    if not damaged:
        assert mended == 0, "the sweep found something that the outbox had left"
        assert world.profiles == settled.profiles
    return world


def everything(raw: valkey.Valkey) -> dict[str, Any]:
    """Every key of the server with its value."""
    found: dict[str, Any] = {}
    for key in raw.scan_iter(count=1000):
        kind = "active" if key.startswith(ACTIVE) else raw.type(key)
        read = {
            "active": raw.pfcount,
            "string": raw.get,
            "hash": raw.hgetall,
            "zset": lambda key: raw.zrange(key, 0, -1, withscores=True),
        }
        found[key] = read[kind](key)
    return found
