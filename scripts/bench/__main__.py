"""`make bench`: every handler against the bare round trip, what many players cost (--memory), a new environment's first
request (--first), or a request's line in the log (--line)."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from scripts.bench import first_request, handlers, line, memory
from scripts.local import embedded_valkey


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and prints its table."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--players", type=int, help="how many are on the board (100000; 1000000 with --memory)")
    parser.add_argument("--memory", action="store_true", help="bytes a player, and a rebuild, instead of the handlers")
    parser.add_argument("--first", action="store_true", help="a new environment's first request instead")
    parser.add_argument("--line", action="store_true", help="what a request's line in the log costs instead")
    parser.add_argument("--samples", type=int, default=20, help="environments of each kind, with --first (%(default)s)")
    parser.add_argument("--iterations", type=int, default=2000, help="calls of each kind, a row (%(default)s)")
    parser.add_argument("--only", metavar="TEXT", default="", help="only rows whose name holds this")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args(arguments)
    players = options.players or (1_000_000 if options.memory else 100_000)
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_valkey.running(Path(folder)) as server,
        contextlib.nullcontext(False) if options.memory or options.first else handlers.own_cores(server.pid) as pinned,
    ):
        if options.first:
            starts = first_request.rows(server.port, options.samples, Path(folder))
        elif options.memory:
            bytes_, work = memory.measure(server.host, server.port, players)
        elif options.line:
            lines = list(line.rows(server.host, server.port, players, options.iterations, options.only))
        else:
            rows = list(handlers.rows(server.host, server.port, players, options.iterations, options.only))
    if options.first and options.json:
        print(json.dumps({"samples": options.samples, "rows": [asdict(row) for row in starts]}, indent=2))
    elif options.first:
        first_request.print_table(starts, options.samples)
    elif options.memory:
        facts = {"players": players, "bytes": asdict(bytes_), "work": [asdict(step) for step in work]}
        print(json.dumps(facts, indent=2) if options.json else memory.report(players, bytes_, work))
    elif options.json:
        facts = {"players": players, "iterations": options.iterations, "pinned": pinned}
        print(json.dumps({**facts, "rows": [asdict(row) for row in (lines if options.line else rows)]}, indent=2))
    elif options.line:
        line.print_table(lines, f"{players} players")
    else:
        handlers.print_table(rows, f"{players} players, p50 of {options.iterations}", pinned)
    return 0


if __name__ == "__main__":
    sys.exit(main())
