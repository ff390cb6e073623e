"""What a request's line costs: CPU of each handler with it and without it, alternating in the same run."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scripts.bench import handlers
from scripts.local import proxy

TARGET_MICROSECONDS = 20.0


@dataclass(frozen=True)
class Row:
    """One handler's CPU in microseconds, of the best of many blocks: a busy machine only ever adds."""

    name: str
    with_microseconds: float
    without_microseconds: float
    line_microseconds: float
    target: float


def rows(host: str, port: int, players: int, iterations: int, only: str) -> Iterator[Row]:
    handlers.as_on_lambda(host, port)
    with (
        contextlib.closing(handlers.Bare(host, port)) as bare,
        open(os.devnull, "w", buffering=1, encoding="utf-8") as log,
    ):
        for case in handlers.cases(handlers.planted(bare, log, players), log):
            if only in case.name:
                handlers.progress(f"clocking {case.name}")
                with contextlib.redirect_stdout(log):
                    row = _row(case, iterations)
                yield row
    handlers.progress("")


def _row(case: handlers.Case, iterations: int) -> Row:
    handler, context = handlers.handler_of(case.function), proxy.Context(handlers.LONGEST_SECONDS, case.function)

    def block(start: int) -> float:
        began = time.process_time_ns()
        for index in range(start, start + handlers.BLOCK):
            handler(case.events[index % len(case.events)], context)
        return (time.process_time_ns() - began) / 1000 / handlers.BLOCK

    both, none = [], []
    for start in range(0, iterations, handlers.BLOCK):
        both.append(block(start))
        with handlers.unseen():
            none.append(block(start))
    ours, bare = min(both), min(none)
    return Row(case.name, round(ours, 1), round(bare, 1), round(ours - bare, 1), TARGET_MICROSECONDS)


def print_table(rows: Sequence[Row], conditions: str) -> None:
    print(f"{conditions}, CPU of the best block of {handlers.BLOCK}\n")
    print(f"{'':16}{'with µs':>10}{'without µs':>12}{'line µs':>10}{'target':>8}")
    for row in rows:
        figures = f"{row.with_microseconds:10.1f}{row.without_microseconds:12.1f}{row.line_microseconds:10.1f}"
        missed = "" if row.line_microseconds <= row.target else "  missed"
        print(f"{row.name:16}{figures}{row.target:8.1f}{missed}")
