"""`make rebuild`: board, names and totals from the profiles alone, while writes go on. CHECK=1 only compares."""

from __future__ import annotations

import contextlib
import http.server
import io
import itertools
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import valkey

from functions.reconcile import handler
from scripts import rebuild
from scripts.aws import deployed
from scripts.local import embedded_valkey
from scripts.local.proxy import Context
from shared import audit, config, players, reconcile, sweeps
from shared.problems import Unavailable
from shared.store import Store, store
from tests.support import invariants, processes
from tests.support.invariants import BOARD, PENDING, PLAYERS, SWEEP, TOTALS
from tests.support.invoking import Invoker, invoker
from tests.support.patience import wait_until
from tests.support.wires import free_port, proxy_to, silent
from tests.write_path.populations import OLD, Damage, contents, elsewhere, plant, play

COUNT = 12
Outcome = tuple[int, list[dict[str, Any]], str]


def place(server: embedded_valkey.Server | int) -> dict[str, object]:
    """The variables that lead the command to a Valkey."""
    port = server if isinstance(server, int) else server.port
    return {"VALKEY_HOST": "127.0.0.1", "VALKEY_PORT": port}


def command(server: embedded_valkey.Server | int, *arguments: str, **more: object) -> Outcome:
    """Runs `make rebuild`: its exit status, the JSON lines that it prints, and what it writes to standard error."""
    done = processes.finished("scripts.rebuild", "--json", *arguments, **place(server), **more)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def row(raw: valkey.Valkey, user_id: str, **changed: object) -> str:
    """A player's row with some parts replaced."""
    names = ("revision", "score", "games", "sweep", "username")
    text = raw.hget(PLAYERS, user_id)
    assert isinstance(text, str)
    return " ".join(str(value) for value in {**dict(zip(names, text.split(" ", 4), strict=True)), **changed}.values())


def roll_back(raw: valkey.Valkey) -> None:
    """A profile comes back as it was before the last two games, which the board has seen."""
    before = raw.dump("user:p3")
    settings = config.settings()

    def work() -> None:
        connection = Store(settings)
        for score in (900, 12_345):
            players.submit(connection, settings.rules, None, user_id="p3", score=score)
        connection.close()

    elsewhere(work)
    raw.restore("user:p3", 0, before, replace=True)


DAMAGES: dict[str, Damage] = {
    "a ghost on the board": lambda raw: raw.zadd(BOARD, {"ghost": 10**6}),
    "a ghost with a row": lambda raw: (
        raw.zadd(BOARD, {"ghost": 10**6}),
        raw.hset(PLAYERS, "ghost", f"{OLD} 1000000 3 0 Ghost"),
    ),
    "a ghost with a row of the future": lambda raw: (
        raw.zadd(BOARD, {"ghost": 10**6}),
        raw.hset(PLAYERS, "ghost", f"{OLD * 2} 1000000 3 0 Ghost"),
    ),
    "a row of nobody": lambda raw: raw.hset(PLAYERS, "nobody", f"{OLD} 1 1 0 Nobody"),
    "a row of nobody that is not one": lambda raw: raw.hset(PLAYERS, "nobody", "Nobody"),
    "a row of nobody with a score that is not one": lambda raw: raw.hset(PLAYERS, "nobody", f"{OLD} x 1 0 Nobody"),
    "a row that is not one": lambda raw: raw.hset(PLAYERS, "p3", "so what"),
    "a missing row": lambda raw: raw.hdel(PLAYERS, "p3"),
    "a missing member": lambda raw: raw.zrem(BOARD, "p3"),
    "a missing player": lambda raw: (raw.zrem(BOARD, "p3"), raw.hdel(PLAYERS, "p3")),
    "a wrong score": lambda raw: raw.zadd(BOARD, {"p3": 5}),
    "a wrong score and row": lambda raw: (
        raw.zadd(BOARD, {"p3": 5}),
        raw.hset(PLAYERS, "p3", row(raw, "p3", score=5)),
    ),
    "a wrong name": lambda raw: raw.hset(PLAYERS, "p3", row(raw, "p3", username="Somebody else")),
    "a wrong number of games": lambda raw: raw.hset(PLAYERS, "p3", row(raw, "p3", games=77)),
    "an older row": lambda raw: raw.hset(PLAYERS, "p3", row(raw, "p3", revision=OLD)),
    "a newer row": lambda raw: raw.hset(PLAYERS, "p3", row(raw, "p3", revision=OLD * 2, score=9)),
    "a profile rolled back": roll_back,
    "a profile that is gone": lambda raw: raw.delete("user:p3"),
    "the best profile is gone": lambda raw: raw.delete(f"user:p{COUNT - 1}"),
    "a wrong highScore": lambda raw: raw.hset(TOTALS, "highScore", 10**9),
    "a highScore too low": lambda raw: raw.hset(TOTALS, "highScore", 1),
    "wrong totals": lambda raw: raw.hset(TOTALS, mapping={"totalGames": 3, "totalScore": 12345678901234567890}),
    "negative totals": lambda raw: raw.hset(TOTALS, mapping={"totalGames": -3, "totalScore": -1}),
    "lost totals": lambda raw: raw.delete(TOTALS),
    "a lost sorted set": lambda raw: raw.delete(BOARD),
    "lost rows": lambda raw: raw.delete(PLAYERS),
    "a lost board": lambda raw: raw.delete(BOARD, PLAYERS, TOTALS, SWEEP, PENDING),
    "no profile left": lambda raw: [raw.delete(f"user:p{number}") for number in range(COUNT)],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("rebuilt_before", [0, 1, 2])
def test_a_rebuild_heals(damage: str, rebuilt_before: int, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    play(COUNT)
    monkeypatch.setattr(reconcile, "SWEEP_PLAYERS", 0)
    invariants.run_reconcile(raw)
    for _ in range(rebuilt_before):
        invariants.rebuild(raw)
    invariants.check(raw)
    DAMAGES[damage](raw)
    with pytest.raises((AssertionError, ValueError)):
        invariants.check(raw)
    invariants.rebuild(raw)
    invariants.check(raw)
    play(2, prefix="q")
    invariants.settle(raw)


def test_a_second_rebuild_finds_nothing(raw: valkey.Valkey) -> None:
    plant(raw, COUNT)
    assert invariants.rebuild(raw) == COUNT
    invariants.check(raw)
    before = contents(raw)
    assert invariants.rebuild(raw) == 0
    after = contents(raw)
    assert {key for key in after if after[key] != before[key]} <= {PLAYERS, TOTALS, SWEEP}, (
        "they hold the sweep's number"
    )


def test_totals_that_are_lost_after_the_first_rebuild_are_healed_by_the_second(raw: valkey.Valkey) -> None:
    """The number of the sweep is lost with them: the next sweep must not take the rows for its own."""
    play(COUNT)
    invariants.rebuild(raw)
    raw.delete(TOTALS)
    time.sleep(1)  # the number is the time in seconds
    invariants.rebuild(raw)
    invariants.check(raw)


def test_a_rebuild_whose_place_was_lost_begins_anew(raw: valkey.Valkey, server: embedded_valkey.Server) -> None:
    plant(raw, COUNT)
    with invoker(server.port) as call:
        begun = call.run(lambda: sweeps.begin(store(), anew=True))
    raw.delete(TOTALS, SWEEP)  # as a failover does that loses the board's last writes
    report = invariants.run_reconcile(raw, {"rebuild": {"cursor": begun.number}})
    while not report["finished"]:
        report = invariants.run_reconcile(raw, {"rebuild": {"cursor": report["cursor"]}})
    invariants.check(raw)


class TestCommand:
    def test_it_rebuilds_and_says_how_much_that_was(self, raw: valkey.Valkey, server: embedded_valkey.Server) -> None:
        plant(raw, 1234)
        status, (facts,), _ = command(server)
        assert status == 0
        assert (facts["swept"], facts["mended"], facts["unreadable"]) == (1234, 1234, 0)
        invariants.check(raw)
        done = processes.finished("scripts.rebuild", **place(server))
        assert done.returncode == 0
        assert re.fullmatch(r"Rebuilt the board from 1,234 players in \d+\.\d s: 0 mended\.\n", done.stdout)
        assert done.stderr == ""

    def test_it_goes_on_while_others_play(self, raw: valkey.Valkey, server: embedded_valkey.Server) -> None:
        plant(raw, 3000)
        with writing(server) as acknowledged:
            status, (facts,), _ = command(server)
            assert status == 0
            assert facts["swept"] >= 3000
            status, (facts,), _ = command(server, CHECK=1)
            assert (status, facts["differences"], facts["totalsCompared"]) == (0, 0, False)
        world = invariants.settle(raw)
        assert len(acknowledged) > 50, "somebody has played"
        for user_id, score in acknowledged.items():
            assert world.board[user_id] == score

    def test_a_killed_one_is_gone_on_with(
        self, raw: valkey.Valkey, server: embedded_valkey.Server, tmp_path: Path
    ) -> None:
        plant(raw, 4000)
        with slowly(server) as port, rebuilding(port, tmp_path) as process:
            number = wait_until_under_way(raw)
            process.kill()
            process.wait()
        assert raw.hget(SWEEP, "number") == number
        assert 0 < raw.zcard(BOARD) < 4000
        status, (facts,), stderr = command(server, RESUME=1)
        assert status == 0
        assert "Going on" in stderr
        assert 0 < facts["swept"] < 4000, "not from the beginning"
        assert raw.hget(TOTALS, "sweep") == number
        invariants.check(raw)
        _, (facts,), stderr = command(server, RESUME=1)
        assert "No rebuild was stopped" in stderr
        assert facts["swept"] == 4000

    def test_ctrl_c_ends_it_and_says_how_to_go_on(
        self, raw: valkey.Valkey, server: embedded_valkey.Server, tmp_path: Path
    ) -> None:
        plant(raw, 4000)
        with slowly(server) as port, rebuilding(port, tmp_path) as process:
            number = wait_until_under_way(raw)
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(5) == 130
        stderr = (tmp_path / "output").read_text()
        assert "RESUME=1 make rebuild" in stderr
        assert "Traceback" not in stderr
        assert raw.hget(SWEEP, "number") == number

    def test_a_new_one_begins_from_the_beginning(self, raw: valkey.Valkey, server: embedded_valkey.Server) -> None:
        play(700)
        invariants.rebuild(raw)
        with invoker(server.port) as call:
            begun = call.run(lambda: sweeps.advance(store(), sweeps.begin(store(), anew=True), 100)).sweep
        assert begun.position not in ("", "profiles 0")
        raw.delete(BOARD)
        _, (facts,), _ = command(server)
        assert facts["swept"] == 700
        invariants.check(raw)

    def test_who_cannot_be_read_is_said_and_left_alone(
        self, raw: valkey.Valkey, server: embedded_valkey.Server
    ) -> None:
        play(COUNT)
        raw.delete("user:p3")
        raw.set("user:p3", "a secret of p3@example.com")
        status, (facts,), stderr = command(server)
        assert status == 1
        assert facts["unreadable"] > 0
        assert '"p3"' in stderr
        assert "example.com" not in stderr
        status, lines, _ = command(server, CHECK=1)
        assert status == 1
        assert [(line["kind"], line["user_id"]) for line in lines[:-1]] == [("unreadable", "p3")]

    def test_no_valkey_is_one_line(self) -> None:
        port = free_port()
        status, printed, stderr = command(port)
        assert (status, printed) == (2, [])
        (line,) = stderr.splitlines()
        assert f"127.0.0.1:{port}" in line

    def test_a_valkey_that_never_answers_is_one_line(self) -> None:
        with silent() as port:
            status, _, stderr = command(port, CHECK=1)
        assert status == 2
        assert len(stderr.splitlines()) == 1

    def test_nothing_at_all_is_one_line(self, raw: valkey.Valkey, server: embedded_valkey.Server) -> None:
        for check in ("0", "1"):
            status, printed, stderr = command(server, CHECK=check)
            assert (status, printed) == (2, [])
            (line,) = stderr.splitlines()
            assert "nothing" in line
        assert raw.dbsize() == 0

    def test_a_key_of_another_kind_is_one_line(self, raw: valkey.Valkey, server: embedded_valkey.Server) -> None:
        play(2)
        raw.delete(TOTALS)
        raw.set(TOTALS, "x")
        for check in ("0", "1"):
            status, _, stderr = command(server, CHECK=check)
            assert status == 2
            assert "WRONGTYPE" in stderr.splitlines()[-1]


class TestCheck:
    def test_a_sound_board_has_no_differences(self, raw: valkey.Valkey, server: embedded_valkey.Server) -> None:
        play(COUNT)
        before = contents(raw)
        status, lines, _ = command(server, CHECK=1)
        assert status == 0
        (facts,) = lines
        assert (facts["players"], facts["differences"], facts["totalsCompared"]) == (COUNT, 0, True)
        assert contents(raw) == before

    def test_receipts_that_nobody_can_read_or_that_a_sweep_has_forgotten_are_differences(
        self, raw: valkey.Valkey, server: embedded_valkey.Server
    ) -> None:
        play(COUNT)
        now, _ = raw.time()
        raw.hset("{user:p1}:receipts:a", mapping={"born": now - 200_000, "ends": now - 90_000})
        raw.hset("{user:p2}:receipts:a", mapping={"born": now - 200_000, "ends": now - 80_000})  # the sweep will come
        raw.hset("{user:p3}:receipts:b", mapping={"born": "yesterday", "ends": "tomorrow"})
        raw.hset("{user:p4}:receipts:b", mapping={"born": now})
        raw.set("{user:p5}:receipts:a", "a secret of p5@example.com")
        status, lines, stderr = command(server, CHECK=1)
        assert status == 1
        assert {(line["kind"], line["user_id"]) for line in lines[:-1]} == {("receipts", f"p{n}") for n in (1, 3, 4, 5)}
        assert "example.com" not in json.dumps(lines) + stderr
        raw.delete("{user:p5}:receipts:a")
        invariants.rebuild(raw)
        status, (facts,), _ = command(server, CHECK=1)
        assert (status, facts["differences"]) == (0, 0), "a sweep drops what has no number for its end"

    def test_every_difference_is_reported_by_player_and_nothing_is_written(
        self, raw: valkey.Valkey, server: embedded_valkey.Server
    ) -> None:
        play(COUNT)
        raw.zrem(BOARD, "p0")
        raw.zadd(BOARD, {"p1": 5, "ghost": 1, "spirit": 2})
        raw.hset(PLAYERS, "spirit", f"{OLD} 2 1 0 Spirit")
        raw.hset(PLAYERS, "soul", f"{OLD} 2 1 0 Soul")
        raw.hdel(PLAYERS, "p2")
        raw.hset(PLAYERS, "p3", "so what")
        raw.hset(PLAYERS, "p4", row(raw, "p4", username="Somebody else"))
        raw.hset(PLAYERS, "p5", row(raw, "p5", revision=OLD))
        raw.hset(PLAYERS, "p6", row(raw, "p6", revision=OLD * 2))
        raw.hset(PLAYERS, "p7", row(raw, "p7", games=7))
        raw.delete("user:p8")
        raw.set("user:p8", "x")
        raw.hdel("user:p9", "bestScore")
        for attempt, seconds in (("p1:one", -100), ("p2:two", -10), ("p10:three", 10), ("p11:four", 100)):
            raw.zadd(PENDING, {attempt: (time.time() + seconds) * 1000})
        raw.hincrby(TOTALS, "highScore", 5)
        before = contents_and_dumps(raw)
        status, lines, _ = command(server, "--check")
        assert contents_and_dumps(raw) == before
        assert status == 1
        assert {(line["kind"], line["user_id"]) for line in lines[:-1] if line["kind"] != "totals"} == {
            ("missing", "p0"),
            ("score", "p1"),
            ("ghost", "ghost"),
            ("ghost", "spirit"),
            ("ghost", "soul"),
            ("row", "p2"),
            ("row", "p3"),
            ("row", "p4"),
            ("older", "p5"),
            ("newer", "p6"),
            ("row", "p7"),
            ("unreadable", "p8"),
            ("unreadable", "p9"),
            ("intent", "p1"),
            ("intent", "p11"),
        }
        assert len(lines) == 15 + 3 + 1
        assert lines[-1]["differences"] == 18
        wrong = {line["expected"].split()[0]: line for line in lines[:-1] if line["kind"] == "totals"}
        readable = [user_id for user_id in (f"p{number}" for number in range(COUNT)) if user_id not in ("p8", "p9")]
        games = sum(int(raw.hget(f"user:{user_id}", "gamesPlayed")) for user_id in readable)
        assert wrong["totalGames"]["expected"] == f"totalGames {games}"
        assert wrong["totalGames"]["found"] == f"totalGames {raw.hget(TOTALS, 'totalGames')}"
        assert set(wrong) == {"totalGames", "totalScore", "highScore"}

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_it_sees_whatever_a_rebuild_heals(self, damage: str, raw: valkey.Valkey) -> None:
        """In this process, to be quick; PAUSE_SECONDS is there for others who play, and nobody does."""
        play(COUNT)
        DAMAGES[damage](raw)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reconcile, "PAUSE_SECONDS", 0.01)
            assert checked() == 1
            invariants.rebuild(raw)
            assert checked() == 0

    def test_people_get_sentences(self, raw: valkey.Valkey, server: embedded_valkey.Server) -> None:
        play(3)
        raw.zadd(BOARD, {"p1": 5})
        done = processes.finished("scripts.rebuild", **place(server), CHECK=1)
        assert done.returncode == 1
        difference, end = done.stdout.splitlines()
        assert difference == "score      p1: expected 106, found 5"
        assert re.fullmatch(r"Compared 3 players in \d+\.\d s: 1 differences\.", end)

    def test_a_million_differences_need_no_more_memory_than_a_few(self, raw: valkey.Valkey) -> None:
        plant(raw, 2500)
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
            patch.setattr(reconcile, "PAUSE_SECONDS", 0.0)
            patch.setattr(reconcile, "MOST_SUSPECTS", 500)
            patch.setattr(reconcile, "check", watched := Watched(reconcile.check))
            assert checked() == 1
        assert max(watched.sizes) < 2 * 500 + 100
        assert sum(line.startswith("missing ") for line in out.getvalue().splitlines()) == 2500


def checked() -> int:
    """The exit status of a comparison in this process."""

    def work() -> int:
        try:
            return rebuild.main(["--check"])
        finally:
            store().close()

    status: int = elsewhere(work)
    return status


class Watched:
    """A check that remembers how many differences each call returned."""

    def __init__(self, real: Callable[[Store, str | None], reconcile.Comparison]):
        self._real = real
        self.sizes: list[int] = []

    def __call__(self, connection: Store, position: str | None) -> reconcile.Comparison:
        comparison = self._real(connection, position)
        self.sizes.append(len(comparison["differences"]))
        return comparison


def contents_and_dumps(raw: valkey.Valkey) -> dict[str, Any]:
    """Every key that does not expire, as the server dumps it."""
    with valkey.Valkey(port=raw.connection_pool.connection_kwargs["port"]) as binary:
        return {key: binary.dump(key) for key in sorted(binary.scan_iter(count=1000)) if binary.ttl(key) == -1}


@contextlib.contextmanager
def writing(server: embedded_valkey.Server) -> Iterator[dict[str, int]]:
    """Somebody plays all the time; yields each player's last acknowledged score."""
    acknowledged: dict[str, int] = {}
    stop = threading.Event()
    settings = config.settings()

    def write() -> None:
        connection = Store(settings)
        for turn in itertools.count():
            if stop.is_set():
                break
            user_id = f"p{turn * 7 % 3000}" if turn % 3 else "p1"
            if turn % 10 == 0:
                user_id = f"new-{turn}"
                new = {"username": "New", "email": "n@e.org"}
                players.create(connection, settings.rules, None, user_id=user_id, score=turn, **new)
            else:
                players.submit(connection, settings.rules, None, user_id=user_id, score=turn)
            acknowledged[user_id] = turn
        connection.close()

    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(write)
        try:
            yield acknowledged
        finally:
            stop.set()
        future.result()


@contextlib.contextmanager
def slowly(server: embedded_valkey.Server) -> Iterator[int]:
    """A port that leads to the server, slowly enough to watch."""
    with proxy_to(server.port) as proxy:
        proxy.delay_seconds = 0.05
        yield proxy.port


@contextlib.contextmanager
def rebuilding(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command while it runs; what it prints goes to the file `output`."""
    with processes.started("scripts.rebuild", folder / "output", **place(port)) as process:
        yield process


def wait_until_under_way(raw: valkey.Valkey) -> str:
    """Waits until a slice is done; returns the sweep's number."""
    wait_until(lambda: (raw.hget(SWEEP, "position") or "profiles 0") != "profiles 0")
    number = raw.hget(SWEEP, "number")
    assert isinstance(number, str)
    return number


class Lambda(http.server.BaseHTTPRequestHandler):
    """Answers as AWS does when a function is invoked: first with some failures, then with the real handler's report."""

    invoker: Invoker
    failures: list[str]
    seen: list[str]

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(self.path)
        failure = self.failures.pop(0) if self.failures else None
        report = {"errorType": failure} if failure else self.invoker.run(lambda: handler.handler(event, Context()))
        body = json.dumps(report, ensure_ascii=False).encode()  # as AWS's runtime client does
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if failure:
            self.send_header("X-Amz-Function-Error", "Unhandled")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@contextlib.contextmanager
def pretended_lambda(server: embedded_valkey.Server, failures: list[str]) -> Iterator[tuple[dict[str, str], list[str]]]:
    """The environment that leads the AWS SDK to `Lambda`, and the paths that were asked for."""
    with invoker(server.port) as call:
        kind = type("Handler", (Lambda,), {"invoker": call, "failures": failures, "seen": []})
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as listener:
            thread = threading.Thread(target=listener.serve_forever)
            thread.start()
            try:
                keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
                yield {**keys, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{listener.server_port}"}, kind.seen
            finally:
                listener.shutdown()
                thread.join()


class TestDeployed:
    def test_it_goes_through_the_environments_reconcile_function(
        self, raw: valkey.Valkey, server: embedded_valkey.Server
    ) -> None:
        plant(raw, 1234)
        with pretended_lambda(server, ["Unavailable"]) as (environ, asked):
            status, (facts,), _ = command(server, ENV="dev", **environ)
        assert (status, facts["swept"], facts["mended"]) == (0, 1234, 1234)
        assert set(asked) == {"/2015-03-31/functions/leaderboard-dev-reconcile/invocations?Qualifier=live"}
        invariants.check(raw)

    def test_what_is_wrong_is_said_in_one_sentence(self, server: embedded_valkey.Server) -> None:
        with pretended_lambda(server, ["MisconfiguredError"]) as (environ, _):
            status, _, stderr = command(server, ENV="dev", **environ)
            assert (status, stderr) == (
                2,
                "leaderboard-dev-reconcile failed with MisconfiguredError: its log group says more\n",
            )
        status, _, stderr = command(server, ENV="nowhere")
        assert status == 2
        assert stderr.startswith("ENV=nowhere is unknown")

    def test_a_valkey_that_is_gone_is_said_in_one_sentence(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def invoke(_: dict[str, Any]) -> dict[str, Any]:
            raise Unavailable

        monkeypatch.setenv("ENV", "dev")
        monkeypatch.setattr(deployed, "invoker", lambda *_: invoke)
        monkeypatch.setattr(rebuild, "TRIES", 1)
        assert [rebuild.main([]), rebuild.main(["--check"])] == [2, 2]
        gone = "Valkey does not answer any more, see the log above:"
        assert capsys.readouterr().err == (
            f"{gone} RESUME=1 make rebuild goes on from there\n{gone} nothing was changed\n"
        )

    def test_a_check_says_there_what_it_says_here(
        self, raw: valkey.Valkey, server: embedded_valkey.Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Over many calls, with differences in every phase, and texts that JSON cannot hold or a reply cannot carry."""
        plant(raw, 2600)
        invariants.rebuild(raw)
        raw.hset(PLAYERS, "p3", "x" * 7_000_000)
        raw.hset(PLAYERS, b"\xff", b"\xfe")
        raw.zadd(BOARD, {"p1": 5, "ghost": 1, b"\xfd": 2})
        raw.zadd(PENDING, {"p1:one": (time.time() - 100) * 1000, "p2:two": (time.time() + 100_000) * 1000})
        raw.hset(TOTALS, "totalGames", b"\xfc" + b"1" * 1000)
        before = contents_and_dumps(raw)
        status, here, _ = command(server, CHECK=1)
        assert status == 1
        monkeypatch.setattr(reconcile, "COMPARING_SECONDS", 0.0)  # one slice per call: this process does the work
        monkeypatch.setattr(reconcile, "PAUSE_SECONDS", 0.0)
        with pretended_lambda(server, ["Unavailable"]) as (environ, asked):
            status, there, _ = command(server, ENV="dev", CHECK=1, **environ)
        assert status == 1
        assert contents_and_dumps(raw) == before
        assert len(asked) > 2600 / audit.SLICE
        kinds = [(line["kind"], line["user_id"]) for line in there[:-1]]
        assert sorted(kinds) == [
            ("ghost", "\\udcfd"),
            ("ghost", "\\udcff"),
            ("ghost", "ghost"),
            ("intent", "p1"),
            ("intent", "p2"),
            ("row", "p3"),
            ("score", "p1"),
            ("totals", ""),
        ]
        assert max(len(text) for line in there[:-1] for text in line.values()) <= 200
        for lines in (here, there):
            assert lines[-1].pop("seconds") > 0
        settled = [[line for line in lines if line.get("kind") != "intent"] for lines in (here, there)]
        assert settled[0] == settled[1]
        assert there[-1] == {"players": 2600, "differences": 8, "unsettled": 0, "totalsCompared": True}

    @pytest.mark.usefixtures("empty")
    def test_a_check_there_of_a_sound_board_finds_nothing(self, server: embedded_valkey.Server) -> None:
        play(COUNT)
        with pretended_lambda(server, []) as (environ, asked):
            status, (facts,), _ = command(server, ENV="dev", CHECK=1, **environ)
        assert (status, len(asked)) == (0, 1)
        assert (facts["players"], facts["differences"], facts["totalsCompared"]) == (COUNT, 0, True)
