"""`make rebuild`: board, names and totals from the profiles alone, while writes go on; with CHECK=1 it only compares.

Which Valkey: with ENV=dev the one of that environment on AWS, which only its own reconcile function can reach; else the
one that VALKEY_HOST names; else that of `make run`, which is started for as long as this takes if it is not running.
Exit status: 0 all is well, 1 there are differences (or profiles that cannot be read), 2 it cannot run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from typing import Any

from scripts import deployed, embedded_valkey, local_api, schedule, signals
from shared import audit, config, sweeps
from shared.board import BOARD
from shared.problems import Unavailable
from shared.store import ReplyError, Store, store

SLICE_SECONDS = 7.0
"""What a call of the reconcile function is given: it keeps 6 s of that in reserve, and works for one."""

TRIES = 5
"""A call that fails is made again, so often in a row, a second later."""

PAUSE_SECONDS = 1.0
"""Between two looks at a player: far more than lies between the two round trips of a submission."""

LOOKS = 5
"""Who has moved between all of so many looks cannot be compared."""

MOST_SUSPECTS = 5_000
"""So many players wait for their second look at once, at most."""

QUIET_SECONDS = 5.0
"""Between two lines of progress where nobody watches a terminal."""

BAR_WIDTH = 24


class Progress:
    """A line about how far this is, on standard error: it moves on a terminal, and comes now and then elsewhere."""

    def __init__(self, verb: str, total: int):
        self._verb, self._total = verb, total
        self._started = self._written = time.monotonic()
        self._watched = sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._started

    def show(self, seen: int, remark: str) -> None:
        """So many players have been seen."""
        now = time.monotonic()
        if not self._watched and now - self._written < QUIET_SECONDS:
            return
        self._written = now
        rate = f"{seen / self.seconds:,.0f}/s" if self.seconds > 0 else ""
        share = min(1.0, seen / self._total) if self._total else 1.0
        known = f" ({share:.0%})" if self._total else ""
        text = f"{self._verb} {seen:,} players{known}, {remark}, {rate}"
        if self._watched:
            done = round(share * BAR_WIDTH)
            text = f"\r\033[K{'█' * done}{'░' * (BAR_WIDTH - done)} {text}"
        print(text, end="" if self._watched else "\n", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Makes room for something else."""
        if self._watched:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


class _Warnings(io.TextIOBase):
    """The reconcile function's standard output: its log goes to standard error, less what says that all is well."""

    def write(self, text: str) -> int:
        """Whole lines, as the log writes them."""
        if '"level":"INFO"' not in text:
            sys.stderr.write(text)
        return len(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Rebuilds or compares, in any thread. Returns the exit status."""
    given = _arguments(arguments)
    try:
        if environment := os.environ.get("ENV", "").strip():
            if given.check:
                return _failed("CHECK=1 reads Valkey itself, and ENV's is out of reach: set VALKEY_HOST within its VPC")
            reconcile = deployed.invoker(environment, "reconcile")
            return _rebuild(reconcile, "0" if given.resume else None, 0, as_json=given.json)
        with _valkey(os.environ):
            total = _players(store())
            if given.check:
                return _check(store(), total, as_json=given.json)
            cursor = _stopped(store()) if given.resume else None
            return _rebuild(_local, cursor, total, as_json=given.json)
    except (
        deployed.CannotCallError,
        local_api.CannotRunError,
        config.MisconfiguredError,
        embedded_valkey.FolderInUseError,
        embedded_valkey.CannotStartError,
    ) as error:
        return _failed(str(error))
    except Unavailable:
        return _failed("Valkey does not answer any more: see the log above. RESUME=1 make rebuild goes on from there")
    except ReplyError as error:
        return _failed(f"Valkey refuses: {error}")
    except KeyboardInterrupt:
        again = "nothing was changed" if given.check else "RESUME=1 make rebuild goes on from there"
        print(f"\nStopped: {again}.", file=sys.stderr)
        return 130


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    def is_set(name: str) -> bool:
        return os.environ.get(name, "").strip() not in ("", "0")

    parser = argparse.ArgumentParser(prog="python -m scripts.rebuild", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", default=is_set("CHECK"), help="compare only (CHECK=1)")
    parser.add_argument("--json", action="store_true", default=is_set("JSON"), help="JSON lines (JSON=1)")
    parser.add_argument(
        "--resume",
        action="store_true",
        default=is_set("RESUME"),
        help="go on with a rebuild that was stopped (RESUME=1)",
    )
    return parser.parse_args(arguments)


def _failed(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


@contextlib.contextmanager
def _valkey(environ: MutableMapping[str, str]) -> Iterator[None]:
    """A Valkey that answers, whose address then stands in environ. Raises CannotRunError."""
    if environ.get("VALKEY_HOST", "").strip():
        local_api.check_answers(config.load(environ))
        yield
        return
    environ.update(VALKEY_HOST=embedded_valkey.HOST, VALKEY_PORT="", VALKEY_TLS="")
    if port := embedded_valkey.find(local_api.DATA):
        environ["VALKEY_PORT"] = str(port)
        yield
        return
    if not local_api.DATA.exists():
        raise local_api.CannotRunError(
            "There is no board here yet: `make run` begins one, or name the Valkey of another with VALKEY_HOST"
        )
    print("Starting Valkey …", file=sys.stderr)
    with embedded_valkey.running(local_api.DATA, durable=True) as server:
        environ["VALKEY_PORT"] = str(server.port)
        yield


def _players(connection: Store) -> int:
    """About how many players there are. Raises CannotRunError where there is nothing at all."""
    members, keys = connection.ask(("ZCARD", BOARD), ("DBSIZE",))
    if not keys:
        raise local_api.CannotRunError(
            f"There is nothing in this Valkey ({config.settings().valkey_host}:{config.settings().valkey_port}): "
            "no profile and no board"
        )
    return int(members or keys)


def _stopped(connection: Store) -> str | None:
    """The number of the rebuild that was stopped, None if none was."""
    running = sweeps.current(connection)
    print("Going on." if running.position else "No rebuild was stopped: beginning one.", file=sys.stderr)
    return running.number if running.position else None


def _local(event: dict[str, Any]) -> dict[str, Any]:
    with contextlib.redirect_stdout(_Warnings()):
        return schedule.invoke(event, SLICE_SECONDS)


def _rebuild(
    reconcile: Callable[[dict[str, Any]], dict[str, Any]], cursor: str | None, total: int, *, as_json: bool
) -> int:
    progress = Progress("Rebuilt", total)
    sums = {"swept": 0, "mended": 0, "unreadable": 0}
    finished = False
    while not finished:
        report = _slice(reconcile, cursor)
        cursor, finished = report["cursor"], report["finished"]
        for name in sums:
            sums[name] += report[name]
        progress.show(sums["swept"], f"{sums['mended']:,} mended")
    progress.clear()
    if as_json:
        print(json.dumps({**sums, "seconds": round(progress.seconds, 2)}))
    else:
        print(
            f"Rebuilt the board from {sums['swept']:,} players in {progress.seconds:.1f} s: {sums['mended']:,} mended."
        )
        if sums["unreadable"]:
            print(f"{sums['unreadable']:,} could not be read, and were left as they are: see the log above.")
    return 1 if sums["unreadable"] else 0


def _slice(reconcile: Callable[[dict[str, Any]], dict[str, Any]], cursor: str | None) -> dict[str, Any]:
    for left in reversed(range(TRIES)):
        try:
            return reconcile({"rebuild": {"cursor": cursor}})
        except Unavailable:
            if not left:
                raise
            time.sleep(1)
    raise AssertionError("the last try returns or raises")


def _check(connection: Store, total: int, *, as_json: bool) -> int:
    progress = Progress("Compared", total)
    before = audit.fingerprint(connection)
    sums = audit.Sums()
    suspects: list[audit.Sight] = []
    found = unsettled = 0

    def tell(differences: Iterable[audit.Difference]) -> None:
        nonlocal found
        for difference in differences:
            found += 1
            progress.clear()
            print(json.dumps(difference._asdict()) if as_json else _line(difference))

    def settle() -> None:
        nonlocal unsettled
        differing, moving = _second_look(connection, suspects)
        suspects.clear()
        unsettled += moving
        tell(differing)

    for sights in audit.with_profile(connection):
        sums = sums.with_(sights)
        suspects += (sight for sight in sights if audit.compare(sight))
        progress.show(sums.players, f"{found + len(suspects):,} to look at again")
        if len(suspects) >= MOST_SUSPECTS:
            settle()
    for sights in audit.without_profile(connection):
        suspects += (sight for sight in sights if audit.compare(sight))
        if len(suspects) >= MOST_SUSPECTS:
            settle()
    settle()
    tell(audit.overdue(connection))
    tell(audit.receipts(connection))
    counted = _counted(connection, before, sums)
    if counted:
        tell(audit.totals(before, counted))
    progress.clear()
    facts = {
        "players": (counted or sums).players,
        "differences": found,
        "unsettled": unsettled,
        "totalsCompared": counted is not None,
        "seconds": round(progress.seconds, 2),
    }
    print(json.dumps(facts) if as_json else _summary(facts))
    return 1 if found else 0


def _second_look(connection: Store, suspects: list[audit.Sight]) -> tuple[list[audit.Difference], int]:
    """What is wrong with those who have not moved since they were seen, and how many never stood still."""
    found: list[audit.Difference] = []
    for _ in range(LOOKS - 1):
        if not suspects:
            break
        time.sleep(PAUSE_SECONDS)
        moved = []
        for start in range(0, len(suspects), audit.SLICE):
            seen = suspects[start : start + audit.SLICE]
            for before, now in zip(seen, audit.look(connection, [sight.user_id for sight in seen]), strict=True):
                if now == before:
                    found += audit.compare(now)
                elif audit.compare(now):
                    moved.append(now)
        suspects = moved
    return found, len(suspects)


def _counted(connection: Store, before: audit.Fingerprint, sums: audit.Sums) -> audit.Sums | None:
    """What the totals should be, None if somebody wrote while they were counted.

    A scan may show a player twice while the server's table shrinks, so what differs has to come out alike again.
    """
    for _ in range(LOOKS):
        time.sleep(PAUSE_SECONDS if audit.totals(before, sums) else 0)
        if audit.fingerprint(connection) != before:
            return None
        if not audit.totals(before, sums):
            return sums
        again = audit.Sums()
        for sights in audit.with_profile(connection):
            again = again.with_(sights)
        if again == sums:
            return sums
        sums = again
    return None


def _line(difference: audit.Difference) -> str:
    whose = f"{difference.kind:10} {difference.user_id}".rstrip()
    return f"{whose}: expected {difference.expected or 'nothing'}, found {difference.found or 'nothing'}"


def _summary(facts: dict[str, Any]) -> str:
    text = f"Compared {facts['players']:,} players in {facts['seconds']:.1f} s: {facts['differences']:,} differences."
    if not facts["totalsCompared"]:
        text += " The totals were not compared, because somebody wrote meanwhile."
    if facts["unsettled"]:
        text += f" {facts['unsettled']:,} players were written to all the time and could not be compared."
    return text


if __name__ == "__main__":
    signals.interrupt_once()
    signals.leave(main())
