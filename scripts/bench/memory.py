"""What a million players cost: bytes each, and the time and memory of a rebuild. `make bench MEMORY=1`.

Every player is created by the real scripts. The parts are what `used_memory` falls by when they are deleted, one after
another.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from valkey import Valkey

from scripts.bench import handlers
from scripts.local import schedule
from scripts.places import ROOT
from shared import board, config, deadline, idempotency, players
from shared.store import store

TARGET_BYTES = 600
TARGET_RECEIPT_BYTES = 200
BATCH = 1000
RECEIPTS = 2_000
FURTHER = 4
"""RECEIPTS players with one keyed submission, then with FURTHER more, tell the size of a receipt."""


@dataclass(frozen=True)
class Bytes:
    """Bytes a player, by part; `all` is their sum, without receipts, which live for two days at most."""

    profiles: float
    board: float
    rows: float
    totals: float
    all: float
    first_receipt: float
    further_receipt: float


@dataclass(frozen=True)
class Work:
    """What went over all players: how long it took, how large its process grew, and the server by how much."""

    name: str
    seconds: float
    client_mebibytes: float
    server_mebibytes: float


def measure(host: str, port: int, players: int) -> tuple[Bytes, list[Work]]:
    """Fills the server, which must be empty, measures, and leaves it empty."""
    os.environ.update(VALKEY_HOST=host, VALKEY_PORT=str(port))
    with Valkey(host=host, port=port, decode_responses=True) as client, open(os.devnull, "w", buffering=1) as log:
        with contextlib.closing(handlers.Bare(host, port)) as bare:
            _plant(bare, log)
            client.flushall()
            empty = _used(client)
            _plant(bare, log, players)
        players = client.zcard(board.BOARD)
        handlers.progress("deleting the receipts")
        _delete(client, "*:submission:*")
        settled = _used(client)
        first, further = _receipts(client)
        work = list(_work(client, log))
        sizes = [_used(client)]
        for key in (board.BOARD, board.PLAYERS, board.TOTALS):
            client.unlink(key)
            sizes.append(_used(client))
        _delete(client, "user:*")
        rest = _used(client)
        handlers.progress("")
    parts = [before - after for before, after in itertools.pairwise(sizes)]
    profiles, on_board, rows, totals, all_ = (
        round(part / players, 1) for part in (sizes[-1] - rest, *parts, settled - empty)
    )
    return Bytes(profiles, on_board, rows, totals, all_, first, further), work


def report(players: int, bytes_: Bytes, work: list[Work]) -> str:
    """The tables."""
    lines = [f"{players:,} players with ids of 36 bytes, names of 12 and e-mails of 17: bytes each", ""]
    for name, value in (("profile", bytes_.profiles), ("on the board", bytes_.board), ("row beside it", bytes_.rows)):
        lines.append(f"{name:24}{value:10.1f}")
    verdict = "" if bytes_.all <= TARGET_BYTES else "  missed"
    lines.append(f"{'all keys but receipts':24}{bytes_.all:10.1f}  (target {TARGET_BYTES}){verdict}")
    for name, value in (("first", bytes_.first_receipt), ("further", bytes_.further_receipt)):
        missed = "" if value <= TARGET_RECEIPT_BYTES else "  missed"
        lines.append(f"{f'a {name} receipt':24}{value:10.1f}  (target {TARGET_RECEIPT_BYTES}){missed}")
    lines += ["", f"{'':44}{'seconds':>9}{'client MiB':>12}{'server +MiB':>13}"]
    lines += [
        f"{step.name:44}{step.seconds:9.1f}{step.client_mebibytes:12.0f}{step.server_mebibytes:13.1f}" for step in work
    ]
    return "\n".join(lines)


def _plant(bare: handlers.Bare, log: Any, players: int = 0) -> None:
    handlers.planted(bare, log, players)


def _receipts(client: Valkey) -> tuple[float, float]:
    """What a player's first keyed submission and each further one leave beside the player, in bytes."""
    members = cast(list[str], client.zrange(board.BOARD, 0, RECEIPTS - 1))
    deadline.start(math.inf)
    sizes = [_used(client)]
    for games in (range(1), range(1, 1 + FURTHER)):
        for member in members:
            for game in games:
                key = idempotency.key("caller", f"{member}-{game}", "update_score", {"score": 0})
                players.submit(store(), config.settings().rules, key, user_id=member, score=0, operator="best")
        sizes.append(_used(client))
    _delete(client, "*:receipts:*")
    first, further = (after - before for before, after in itertools.pairwise(sizes))
    return round(first / len(members), 1), round(further / len(members) / FURTHER, 1)


def _work(client: Valkey, log: Any) -> Iterator[Work]:
    handlers.progress("rebuilding")
    yield _process(client, "make rebuild, every row out of date")
    yield _process(client, "make rebuild, nothing to mend")
    handlers.progress("comparing")
    yield _process(client, "CHECK=1 make rebuild", CHECK="1")
    handlers.progress("sweeping")
    runs: list[float] = []

    def sweep() -> None:
        finished = False
        while not finished:
            started = time.perf_counter()
            finished = schedule.invoke({"source": "aws.events", "detail-type": "Scheduled Event"})["finished"]
            runs.append(time.perf_counter() - started)

    with contextlib.redirect_stdout(log):
        seconds, _, more = _watched(client, sweep)
    longest = f"longest {max(runs):.2f} s"
    yield Work(f"a sweep of the schedule: {len(runs)} runs, {longest}", round(seconds, 2), 0, more)


def _process(client: Valkey, name: str, **environ: str) -> Work:
    usage: list[Any] = []

    def run() -> None:
        command = [sys.executable, "-m", "scripts.rebuild", "--json"]
        with subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environ}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            out = process.stdout.read() if process.stdout else b""
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            usage.append(used)
        if process.returncode != 0:
            raise RuntimeError(f"{name} ended with {process.returncode}: {out.decode()[-300:]}")
        usage.append(json.loads(out.splitlines()[-1]))

    _, _, more = _watched(client, run)
    return Work(name, usage[1]["seconds"], round(usage[0].ru_maxrss / 1024, 1), more)


def _watched(client: Valkey, work: Callable[[], None]) -> tuple[float, float, float]:
    """Seconds, the server's memory before in bytes, and how far it rose above that in MiB."""
    before = _used(client)
    most = before
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        with Valkey(**client.connection_pool.connection_kwargs) as watching:
            while not done.wait(0.1):
                most = max(most, _memory(watching)["used_memory"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        work()
    finally:
        seconds = time.perf_counter() - started
        done.set()
        watcher.join()
    return seconds, before, round((most - before) / 2**20, 1)


def _used(client: Valkey) -> int:
    """Bytes in use, once lazy freeing and rehashing have come to rest."""
    last = -1
    for _ in range(600):
        facts = _memory(client)
        now = facts["used_memory"] - facts["mem_clients_normal"]
        if abs(now - last) < 20_000 and not facts["lazyfree_pending_objects"]:
            break
        last = now
        time.sleep(0.3)
    return int(now)


def _memory(client: Valkey) -> dict[str, int]:
    return cast(dict[str, int], client.info("memory"))


def _delete(client: Valkey, pattern: str) -> None:
    batch: list[str] = []

    def unlink() -> None:
        with client.pipeline(transaction=False) as pipeline:
            for key in batch:
                pipeline.unlink(key)
            pipeline.execute()  # type: ignore[no-untyped-call]
        batch.clear()

    for key in client.scan_iter(pattern, count=BATCH):
        batch.append(key)
        if len(batch) == BATCH:
            unlink()
    unlink()
