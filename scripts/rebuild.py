"""`make rebuild`: board, names and totals from the profiles alone, while writes go on; with CHECK=1 it only compares.

The reconcile function does the work, called until it has finished. With ENV=dev it is that environment's own function
on AWS, since nothing else reaches its Valkey. Otherwise it runs in this process, on the Valkey that VALKEY_HOST names,
or on that of `make run`, which is started for as long as this takes if it is not running.
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
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from scripts import signals
from scripts.aws import deployed
from scripts.local import api as local_api
from scripts.local import embedded_valkey, proxy, schedule
from scripts.refusal import Refusal
from shared import audit, config, reconcile, sweeps
from shared.board import BOARD
from shared.problems import Unavailable
from shared.store import ReplyError, Store, store

Call = Callable[[dict[str, Any]], dict[str, Any]]
"""The reconcile function: what it reports for an event."""

SLICE_SECONDS = 7.0
"""How long a call of the reconcile function may take in a rebuild: it keeps 6 s in reserve, so it works for 1 s."""

TRIES = 5
"""How often a call is tried, a second apart, when Valkey or Lambda is unavailable."""

RECOUNTS = 4
"""How often totals that differ are counted again, until two counts agree."""

QUIET_SECONDS = 5.0
"""Between two lines of progress when standard error is not a terminal."""

BAR_WIDTH = 24


class Progress:
    """Progress on standard error: one line that moves on a terminal, a new line now and then elsewhere."""

    def __init__(self, verb: str, total: int):
        self._verb, self.total = verb, total
        self._started = self._written = time.monotonic()
        self._watched = sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def show(self, seen: int, remark: str) -> None:
        """Says how many players have been seen so far."""
        now = time.monotonic()
        if not self._watched and now - self._written < QUIET_SECONDS:
            return
        self._written = now
        rate = f"{seen / self.seconds:,.0f}/s" if self.seconds > 0 else ""
        share = min(1.0, seen / self.total) if self.total else 1.0
        known = f" ({share:.0%})" if self.total else ""
        text = f"{self._verb} {seen:,} players{known}, {remark}, {rate}"
        if self._watched:
            done = round(share * BAR_WIDTH)
            text = f"\r\033[K{'█' * done}{'░' * (BAR_WIDTH - done)} {text}"
        print(text, end="" if self._watched else "\n", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Takes the line away, to make room for other output."""
        if self._watched:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


class Seen:
    """The sum of a check's reports."""

    def __init__(self) -> None:
        self.sums = audit.Sums()
        self.found = self.unsettled = 0
        self.before: dict[str, Any] = {}
        self.after: dict[str, Any] = {}

    def add(self, report: Mapping[str, Any]) -> None:
        self.sums = self.sums.and_(audit.Sums(**report["sums"]))
        self.found += len(report["differences"])
        self.unsettled += report["unsettled"]
        self.before = self.before or report["before"]
        self.after = report["after"]


class _Warnings(io.TextIOBase):
    """Standard output for the reconcile function: its log goes to standard error, without lines of level INFO."""

    def write(self, text: str) -> int:
        """Gets whole lines, as the log writes them."""
        if '"level":"INFO"' not in text:
            sys.stderr.write(text)
        return len(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Rebuilds or compares, and returns the exit status."""
    options = _options(arguments)
    outcome = "nothing was changed" if options.check else "RESUME=1 make rebuild goes on from there"
    try:
        if environment := os.environ.get("ENV", "").strip():
            call = deployed.invoker(environment, "reconcile")
            if options.check:
                return _check(call, 0, as_json=options.json)
            return _rebuild(call, "0" if options.resume else None, 0, as_json=options.json)
        with _valkey(os.environ):
            total = _players(store())
            if options.check:
                return _check(_local, total, as_json=options.json)
            cursor = _stopped(store()) if options.resume else None
            return _rebuild(_local, cursor, total, as_json=options.json)
    except (Refusal, config.MisconfiguredError) as error:
        return _failed(str(error))
    except Unavailable:
        return _failed(f"Valkey does not answer any more, see the log above: {outcome}")
    except ReplyError as error:
        return _failed(f"Valkey refuses: {error}")
    except KeyboardInterrupt:
        print(f"\nStopped: {outcome}.", file=sys.stderr)
        return 130


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
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
    """Finds or starts a Valkey, and puts its address into environ. Raises Refusal."""
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
        raise Refusal("There is no board here yet: start one with `make run`, or name another Valkey with VALKEY_HOST")
    print("Starting Valkey …", file=sys.stderr)
    with embedded_valkey.running(local_api.DATA, durable=True) as server:
        environ["VALKEY_PORT"] = str(server.port)
        yield


def _players(connection: Store) -> int:
    """About how many players there are. Raises Refusal if Valkey is empty."""
    members, keys = connection.ask(("ZCARD", BOARD), ("DBSIZE",))
    if not keys:
        raise Refusal(
            f"There is nothing in this Valkey ({config.settings().valkey_host}:{config.settings().valkey_port}): "
            "no profile and no board"
        )
    return int(members or keys)


def _stopped(connection: Store) -> str | None:
    """The number of the rebuild that was stopped; None if none was."""
    running = sweeps.current(connection)
    print("Going on." if running.position else "No rebuild was stopped: beginning one.", file=sys.stderr)
    return running.number if running.position else None


def _local(event: dict[str, Any]) -> dict[str, Any]:
    with contextlib.redirect_stdout(_Warnings()):
        return schedule.invoke(event, SLICE_SECONDS if "rebuild" in event else proxy.FUNCTION_SECONDS)


def _rebuild(call: Call, cursor: str | None, total: int, *, as_json: bool) -> int:
    progress = Progress("Rebuilt", total)
    sums = {"swept": 0, "mended": 0, "unreadable": 0}
    finished = False
    while not finished:
        report = _ask(call, {"rebuild": {"cursor": cursor}})
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


def _ask(call: Call, event: dict[str, Any]) -> dict[str, Any]:
    for tries_left in reversed(range(TRIES)):
        try:
            return call(event)
        except Unavailable:
            if not tries_left:
                raise
            time.sleep(1)
    raise AssertionError("the last try returns or raises")


def _check(call: Call, total: int, *, as_json: bool) -> int:
    progress = Progress("Compared", total)
    seen = Seen()
    for report in _reports(call):
        seen.add(report)
        _tell(progress, report["differences"], as_json=as_json)
        progress.total = progress.total or report["before"]["members"]
        progress.show(seen.sums.players, f"{seen.found:,} different")
    counted = _counted(call, seen)
    if counted:
        wrong = [total._asdict() for total in audit.totals(audit.Fingerprint(**seen.before), counted)]
        _tell(progress, wrong, as_json=as_json)
        seen.found += len(wrong)
    progress.clear()
    facts = {
        "players": (counted or seen.sums).players,
        "differences": seen.found,
        "unsettled": seen.unsettled,
        "totalsCompared": counted is not None,
        "seconds": round(progress.seconds, 2),
    }
    print(json.dumps(facts) if as_json else _summary(facts))
    return 1 if seen.found else 0


def _reports(call: Call) -> Iterator[dict[str, Any]]:
    """A check from its beginning to its end."""
    report = _ask(call, {"check": {"cursor": None}})
    yield report
    while not report["finished"]:
        report = _ask(call, {"check": {"cursor": report["cursor"]}})
        yield report


def _counted(call: Call, seen: Seen) -> audit.Sums | None:
    """What the totals should be; None if somebody wrote while they were counted.

    A scan may show a player twice while the server's table shrinks, so a difference counts once a second count agrees.
    """
    sums, after = seen.sums, seen.after
    for _ in range(RECOUNTS):
        if after != seen.before:
            return None
        if not audit.totals(audit.Fingerprint(**seen.before), sums):
            return sums
        time.sleep(reconcile.PAUSE_SECONDS)
        recount = Seen()
        for report in _reports(call):
            recount.add(report)
            if not report["cursor"].startswith(audit.PHASES[0]):
                break
        if (recount.before, recount.after, recount.sums) == (seen.before, seen.before, sums):
            return sums
        sums, after = recount.sums, recount.after
    return None


def _tell(progress: Progress, differences: Iterable[dict[str, str]], *, as_json: bool) -> None:
    for difference in differences:
        progress.clear()
        print(json.dumps(difference) if as_json else _line(difference))


def _line(difference: Mapping[str, str]) -> str:
    subject = f"{difference['kind']:10} {difference['user_id']}".rstrip()
    return f"{subject}: expected {difference['expected'] or 'nothing'}, found {difference['found'] or 'nothing'}"


def _summary(facts: dict[str, Any]) -> str:
    text = f"Compared {facts['players']:,} players in {facts['seconds']:.1f} s: {facts['differences']:,} differences."
    if not facts["totalsCompared"]:
        text += " The totals were not compared, because of writes in the meantime."
    if facts["unsettled"]:
        text += f" {facts['unsettled']:,} players kept changing and could not be compared."
    return text


if __name__ == "__main__":
    signals.interrupt_once()
    signals.leave(main())
