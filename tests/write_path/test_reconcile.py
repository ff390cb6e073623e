"""Reconcile, which a schedule runs every minute so that nothing stays half-done, and the sweep that it carries on."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import valkey

from functions.reconcile import handler as reconcile_handler
from scripts.local import embedded_valkey
from scripts.local.proxy import Context
from shared import board, config, outbox, players, reconcile, sweeps
from shared.problems import Unavailable
from shared.store import store
from tests.support import invariants
from tests.support.invariants import BOARD, EVENTBRIDGE, PENDING, PLAYERS, STATS, SWEEP, TOTALS, Report
from tests.support.invoking import Invoker, invoker
from tests.support.lines import faults
from tests.support.wires import free_port, proxy_to
from tests.write_path.populations import OLD, Damage, contents, plant, play

REPORTED = {"found", "projected", "cleared", "oldestSeconds"} | {"swept", "mended", "unreadable", "forgotten"}
REPORTED |= {"cursor", "position", "finished", "activeToday", "activeMonth"}

SIZES = [0, 1, 2, reconcile.BATCH - 1, reconcile.BATCH, reconcile.BATCH + 1, 2 * reconcile.BATCH + 1]


@pytest.fixture
def call(server: embedded_valkey.Server, empty: None) -> Iterator[Invoker]:
    """A thread with its own connection, as a function has."""
    with invoker(server.port) as handlers:
        yield handlers


def run(call: Invoker, *, seconds: float = 60, event: Any = EVENTBRIDGE) -> Report:
    """What the function reports if Lambda gives it so many seconds."""
    report: Report = call.run(lambda: reconcile_handler.handler(event, Context(seconds)))
    return report


def intend(raw: valkey.Valkey, age_seconds: float, *entries: str | bytes) -> None:
    """Adds intents of attempts that began so many seconds ago."""
    seconds, microseconds = raw.time()
    raw.zadd(PENDING, dict.fromkeys(entries, seconds * 1000 + microseconds // 1000 - age_seconds * 1000))


def submit(call: Invoker, user_id: str, score: int, *, crash: bool = False) -> None:
    """A submission. One that crashes ends between its trips: intent and profile are written, the board is not."""

    def work() -> None:
        players.submit(store(), config.settings().rules, None, user_id=user_id, score=score)

    def half() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(board, "project", lambda *_: next(iter(())))
            with pytest.raises(StopIteration):
                work()

    call.run(half if crash else work)


def create(call: Invoker, user_id: str, score: int) -> None:
    rules = config.settings().rules
    call.run(lambda: players.create(store(), rules, None, username="N", email="n@e.org", user_id=user_id, score=score))


def lines(printed: str) -> list[dict[str, Any]]:
    """The lines of the log."""
    return [json.loads(line) for line in printed.splitlines()]


SPOILS: dict[str, Damage] = {
    "another type of key": lambda raw: (raw.delete("user:p1"), raw.set("user:p1", "x")),
    "a score of letters": lambda raw: raw.hset("user:p1", "score", "many"),
    "no games": lambda raw: raw.hset("user:p1", "gamesPlayed", ""),
    "a best score that is not one": lambda raw: raw.hset("user:p1", "bestScore", "1e400x"),
    "a revision of letters": lambda raw: raw.hset("user:p1", "revision", "newest"),
    "no revision": lambda raw: raw.hdel("user:p1", "revision"),
    "no score": lambda raw: raw.hdel("user:p1", "score"),
    "no name": lambda raw: raw.hdel("user:p1", "username", "bestScore"),
    "an empty score": lambda raw: raw.hset("user:p1", "score", ""),
    "an empty id": lambda raw: raw.hset("user:", "score", "5"),
    "an id that is not text": lambda raw: raw.hset(b"user:\xff\xfe", "score", "5"),
    "a name that is not text": lambda raw: raw.hset("user:p1", "username", b"\xff\xfe"),
    "an empty intent": lambda raw: raw.zadd(PENDING, {"": 5}),
    "an intent that is not text": lambda raw: raw.zadd(PENDING, {b"\xff:attempt": 5}),
    "a row that is not text": lambda raw: raw.hset(PLAYERS, b"\xff", "x"),
    "a member that is not text": lambda raw: raw.zadd(BOARD, {b"\xff": 7}),
}
"""What somebody else may have written."""


class TestIntents:
    def test_a_run_reports_what_it_found_and_did(self, raw: valkey.Valkey, call: Invoker) -> None:
        play(3)
        submit(call, "p0", 5000, crash=True)
        assert raw.zscore(BOARD, "p0") != 5000
        invariants.a_minute_passes(raw)
        intend(raw, 90.5, "nobody:an-attempt")
        intend(raw, 70, "p1:an-attempt-that-was-projected")
        report = run(call)
        assert set(report) == REPORTED
        assert (report["found"], report["projected"], report["cleared"]) == (3, 2, 3)
        assert 90 <= report["oldestSeconds"] <= 92
        assert (report["swept"], report["mended"], report["unreadable"]) == (3, 0, 0)
        assert raw.zscore(BOARD, "p0") == 5000
        invariants.check(raw)

    @pytest.mark.parametrize(("age_seconds", "found"), [(-20, 0), (0, 0), (58, 0), (60.1, 1), (100_000, 1)])
    def test_an_intent_is_due_after_a_minute(
        self, raw: valkey.Valkey, call: Invoker, age_seconds: float, found: int
    ) -> None:
        intend(raw, age_seconds, "nobody:an-attempt")
        assert run(call)["found"] == found
        assert raw.zcard(PENDING) == 1 - found

    @pytest.mark.parametrize(("age_seconds", "ahead_seconds"), [(30, 3600), (90, -3600), (90, -45)])
    def test_an_intent_is_due_by_the_servers_clock_and_the_runners(
        self, raw: valkey.Valkey, call: Invoker, monkeypatch: pytest.MonkeyPatch, age_seconds: float, ahead_seconds: int
    ) -> None:
        intend(raw, age_seconds, "nobody:an-attempt")
        real = time.time_ns
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: real() / 1e9 + ahead_seconds)
            patch.setattr(time, "time_ns", lambda: real() + ahead_seconds * 10**9)
            assert run(call)["found"] == 0
        assert run(call)["found"] == (age_seconds > outbox.DUE_SECONDS)

    def test_no_attempt_can_still_submit_when_its_intent_is_due(self) -> None:
        assert outbox.DUE_SECONDS >= 2 * outbox.FENCE_SECONDS
        assert outbox.EARLY_SECONDS >= outbox.FENCE_SECONDS

    def test_more_than_a_batch_is_settled_in_one_run(self, raw: valkey.Valkey, call: Invoker) -> None:
        plant(raw, 30)
        count = 2 * reconcile.BATCH + 203
        intend(raw, 100, *(f"p{number % 40}:{number}" for number in range(count)))
        report = run(call)
        assert (report["found"], report["cleared"]) == (count, count)
        assert report["projected"] == sum(number % 40 < 30 for number in range(count))
        invariants.check(raw)

    def test_unreadable_players_do_not_stand_in_the_way_of_the_others(self, raw: valkey.Valkey, call: Invoker) -> None:
        bad = reconcile.BATCH + 7
        for number in range(bad):
            raw.set(f"user:bad{number}", "x")
        play(1)
        submit(call, "p0", 777, crash=True)
        invariants.a_minute_passes(raw)
        intend(raw, 1000, *(f"bad{number}:attempt" for number in range(bad)))
        report = run(call)
        assert (report["found"], report["projected"], report["cleared"]) == (bad + 1, 1, 1)
        assert report["unreadable"] >= bad
        assert raw.zscore(BOARD, "p0") == 777
        assert raw.zcard(PENDING) == bad, "they stay, and so does the alarm"

    @pytest.mark.parametrize(
        "entry",
        [":", "no-colon", ":attempt", "p0:", "p0:a:b", "a b c:x", "{leaderboard:global}:x", "ünï:x", "x" * 9999],
    )
    def test_a_malformed_intent_is_cleared_like_any(self, raw: valkey.Valkey, call: Invoker, entry: str) -> None:
        play(1)
        intend(raw, 100, entry)
        report = run(call)
        assert (report["found"], report["cleared"]) == (1, 1)
        invariants.check(raw)

    def test_the_intent_of_a_profile_that_is_gone_takes_its_ghost_with_it(
        self, raw: valkey.Valkey, call: Invoker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reconcile, "SWEEP_PLAYERS", 0)
        play(2)
        raw.delete("user:p0")
        intend(raw, 100, "p0:attempt")
        report = run(call)
        assert (report["found"], report["projected"], report["cleared"]) == (1, 0, 1)
        invariants.check(raw)

    def test_a_second_run_finds_nothing_and_changes_nothing(self, raw: valkey.Valkey, call: Invoker) -> None:
        play(20)
        intend(raw, 100, *(f"p{number}:x" for number in range(30)))
        run(call)
        before = contents(raw)
        report = run(call)
        assert (report["found"], report["mended"]) == (0, 0)
        after = contents(raw)
        assert {key for key in after if after[key] != before[key]} <= {PLAYERS, TOTALS, SWEEP}, (
            "they hold the sweep's number"
        )

    def test_two_at_once_do_no_harm(self, raw: valkey.Valkey, server: embedded_valkey.Server) -> None:
        plant(raw, 2500)
        for number in range(0, 2500, 3):
            raw.hset(PLAYERS, f"p{number}", f"{OLD * 2} 5 1 0 Newer")
        intend(raw, 100, *(f"p{number}:x" for number in range(1800)))
        with invoker(server.port), ThreadPoolExecutor(3) as executor:
            futures = [executor.submit(reconcile_handler.handler, EVENTBRIDGE, Context()) for _ in range(3)]
            reports = [future.result() for future in futures]
            for _ in range(3):
                executor.submit(store().close)
        assert max(report["found"] for report in reports) <= 1800
        assert sum(report["found"] for report in reports) >= 1800
        for _ in range(2):
            invariants.run_reconcile(raw)
        invariants.check(raw)


class TestTime:
    def test_a_short_one_ends_in_time_and_the_next_goes_on(
        self, raw: valkey.Valkey, server: embedded_valkey.Server
    ) -> None:
        plant(raw, 2000)
        count = 4 * reconcile.BATCH
        intend(raw, 100, *(f"p{number}:x" for number in range(count)))
        reports, durations, stalled = [], [], 0
        with proxy_to(server.port) as proxy, invoker(proxy.port) as call:
            run(call)  # so that the server knows the scripts
            raw.delete(BOARD, PLAYERS, TOTALS, SWEEP)
            intend(raw, 100, *(f"p{number}:x" for number in range(count)))
            proxy.delay_seconds = 0.03
            while not reports or not reports[-1]["finished"]:
                started = time.monotonic()
                try:
                    reports.append(run(call, seconds=6.3))
                except Unavailable:  # a busy machine held a reply back until time was up: such a run tells nothing
                    stalled += 1
                durations.append(time.monotonic() - started)
                assert len(durations) < 50
        assert statistics.median(durations) < 1.3, "the time less the handler's reserve; a machine may stall"
        assert 0 < reports[0]["found"] < count
        assert reports[0]["swept"] == 0
        assert stalled or sum(report["found"] for report in reports) == count
        assert len({report["position"] for report in reports if report["swept"]}) > 2 - stalled
        assert stalled or sum(report["swept"] for report in reports) == 2000
        assert not raw.zcard(PENDING)
        invariants.check(raw)

    def test_one_without_any_time_fails_and_changes_nothing(self, raw: valkey.Valkey, call: Invoker) -> None:
        intend(raw, 100, "nobody:x")
        with pytest.raises(Unavailable):
            run(call, seconds=4)
        assert raw.keys() == [PENDING]

    def test_without_valkey_it_fails_so_that_somebody_hears_of_it(self) -> None:
        with invoker(free_port()) as call, pytest.raises(Unavailable):
            run(call)


class TestReport:
    def test_stats_game_is_a_copy_of_the_totals(self, raw: valkey.Valkey, call: Invoker) -> None:
        play(3)
        assert raw.hgetall(STATS) == {}
        run(call)
        assert raw.hgetall(STATS) == {
            "totalGames": "6",
            "totalScore": str(6 + 106 + 206),
            "highScore": "207",
            "averageScore": "53.0",
        }
        submit(call, "p0", 1000)
        assert raw.hget(STATS, "highScore") == "207", "as old as the last run"
        run(call)
        assert raw.hget(STATS, "highScore") == "1000"

    def test_an_empty_game_has_statistics_too(self, raw: valkey.Valkey, call: Invoker) -> None:
        run(call)
        assert raw.hgetall(STATS) == {"totalGames": "0", "totalScore": "0", "highScore": "0", "averageScore": "0"}

    @pytest.mark.parametrize("event", [EVENTBRIDGE, {"rebuild": {"cursor": None}}])
    def test_whatever_starts_it_what_it_returns_is_json(
        self, raw: valkey.Valkey, call: Invoker, event: dict[str, Any]
    ) -> None:
        play(3)
        raw.delete(BOARD)
        report = run(call, event=event)
        assert set(json.loads(json.dumps(report))) == REPORTED
        assert (report["mended"], report["finished"]) == (3, True)
        invariants.check(raw)

    @pytest.mark.parametrize(
        "event",
        [
            {},
            None,
            [],
            {"source": "aws.events"},
            {**EVENTBRIDGE, "source": "aws.s3"},
            {**EVENTBRIDGE, "detail-type": "Object Created"},
            {**EVENTBRIDGE, "rebuild": {"cursor": None}},
            {**EVENTBRIDGE, "check": {"cursor": None}},
            {"rebuild": {"cursor": None}, "check": {"cursor": None}},
            {"check": None},
            {"check": {}},
            {"check": {"cursor": None}, "more": 1},
            {"check": {"cursor": None, "more": 1}},
            {"rebuild": None},
            {"rebuild": {}},
            {"rebuild": {"cursor": None}, "more": 1},
            {"rebuild": {"cursor": None, "more": 1}},
            *(
                {"rebuild": {"cursor": cursor}}
                for cursor in (0, 7, True, "", "-1", "1.5", " 1", "x", "\u0661", "\u00b2", "9" * 21)
            ),
            *(
                {"check": {"cursor": cursor}}
                for cursor in (
                    0,
                    True,
                    "",
                    "7",
                    "profiles",
                    "profiles x",
                    "rows -1",
                    "members  1",
                    "overdue 1 ",
                    "all 0",
                )
            ),
        ],
        ids=repr,
    )
    def test_anything_else_is_refused_and_nothing_runs(self, raw: valkey.Valkey, call: Invoker, event: Any) -> None:
        play(3)
        raw.delete(BOARD)
        with pytest.raises(reconcile_handler.UnknownEventError, match="should be a schedule's"):
            run(call, event=event)
        assert not raw.exists(BOARD)
        assert not raw.exists(STATS)

    def test_a_rebuild_that_has_ended_stays_so(self, call: Invoker) -> None:
        play(3)
        cursor = run(call, event={"rebuild": {"cursor": None}})["cursor"]
        report = run(call, event={"rebuild": {"cursor": cursor}})
        assert (report["finished"], report["swept"], report["cursor"]) == (True, 0, cursor)

    def test_its_log_is_one_line_of_json_with_the_report(
        self, call: Invoker, capsys: pytest.CaptureFixture[str]
    ) -> None:
        play(3)
        capsys.readouterr()
        report = run(call)
        (line,) = lines(capsys.readouterr().out)
        assert (line.pop("level"), line.pop("message")) == ("INFO", "reconciled")
        counted = {
            "ActivePlayersToday": 3,
            "ActivePlayersMonth": 3,
            "IntentsFound": report["found"],
            "OldestIntentSeconds": report["oldestSeconds"],
            "PlayersMended": report["mended"],
            "PlayersUnreadable": report["unreadable"],
        }
        assert {name: value for name, value in line.items() if name not in ("timestamp", "_aws")} == report | counted
        assert faults(line) == []

    def test_no_name_or_e_mail_is_logged(
        self, raw: valkey.Valkey, call: Invoker, capsys: pytest.CaptureFixture[str]
    ) -> None:
        plant(raw, 6)
        raw.hset(PLAYERS, "p0", f"{OLD * 2} 5 1 0 Player 0")  # the profile is older
        raw.hset("user:p1", "score", "p1@example.com")
        raw.hset("user:p2", "revision", "p2@example.com")
        raw.hdel("user:p3", "username")
        raw.delete("user:p4")
        raw.set("user:p4", "p4@example.com")
        intend(raw, 100, *(f"p{number}:x" for number in range(6)))
        with contextlib.suppress(Exception):
            run(call)
        printed = capsys.readouterr().out
        logged = lines(printed)
        assert {line["userId"] for line in logged if "userId" in line} >= {"p0", "p1", "p3", "p4"}
        assert "@" not in printed
        assert "Player " not in printed


class TestSweep:
    @pytest.mark.parametrize("count", SIZES)
    def test_it_goes_over_everybody(self, raw: valkey.Valkey, call: Invoker, count: int) -> None:
        plant(raw, count)
        report = run(call)
        assert report["finished"]
        assert (report["swept"], report["mended"]) == (count, count)
        invariants.check(raw)

    @pytest.mark.parametrize("count", SIZES)
    def test_it_goes_over_all_ghosts(self, raw: valkey.Valkey, call: Invoker, count: int) -> None:
        plant(raw, 5)
        with raw.pipeline(transaction=False) as pipeline:
            for number in range(count):
                pipeline.zadd(BOARD, {f"ghost{number}": 1, f"spirit{number}": 2})
                pipeline.hset(PLAYERS, f"spirit{number}", f"{OLD} 2 1 0 Spirit")
                pipeline.hset(PLAYERS, f"soul{number}", f"{OLD} 2 1 0 Soul")
            pipeline.execute()
        run(call)
        invariants.check(raw)

    def test_each_run_goes_on_where_the_last_one_ended(
        self, raw: valkey.Valkey, call: Invoker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reconcile, "SWEEP_PLAYERS", 500)
        plant(raw, 2100)
        reports = [run(call)]
        while not reports[-1]["finished"]:
            reports.append(run(call))
            assert reports[-1]["cursor"] == reports[0]["cursor"]
        assert len(reports) >= 4
        assert all(report["swept"] < 1000 for report in reports)
        assert sum(report["swept"] for report in reports) == 2100
        assert reports[-1]["position"] == ""
        invariants.check(raw)
        assert run(call)["cursor"] != reports[0]["cursor"], "the next one begins anew"

    def test_a_run_gets_over_its_share_of_players_and_no_more(
        self, raw: valkey.Valkey, call: Invoker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reconcile, "SWEEP_PLAYERS", 1000)
        plant(raw, 3000)
        assert 1000 <= run(call)["swept"] < 1000 + 2 * reconcile.BATCH

    def test_whoever_plays_or_comes_or_goes_meanwhile_is_counted_once(self, raw: valkey.Valkey, call: Invoker) -> None:
        plant(raw, 1500)
        run(call)
        raw.hset(TOTALS, mapping={"totalGames": 1, "totalScore": 1, "highScore": 10**9})
        sweep = call.run(lambda: sweeps.begin(store(), anew=True))
        turn = 0
        while sweep.position:
            there = {user_id: row.split(" ")[3] for user_id, row in raw.hgetall(PLAYERS).items()}
            there = {user_id: number for user_id, number in there.items() if raw.exists(f"user:{user_id}")}
            seen = {user_id for user_id, number in there.items() if number == sweep.number}
            unseen = set(there) - seen
            for user_id in [*sorted(seen)[:5], *sorted(unseen)[:5]]:
                turn += 1
                submit(call, user_id, 10_000 + turn)
            create(call, f"new-{turn}", turn)
            for user_id in [*sorted(seen)[-1:], *sorted(unseen)[-1:]]:
                raw.delete(f"user:{user_id}")
            position = sweep.position
            sweep = call.run(lambda at=sweep: sweeps.advance(store(), at, 300)).sweep
            assert sweep.position != position
        assert turn > 20
        assert raw.hget(TOTALS, "highScore") != str(10**9)
        invariants.rebuild(raw)  # whoever went after the sweep had passed is left to the next one
        invariants.check(raw)

    def test_who_plays_meanwhile_needs_no_second_sweep(self, raw: valkey.Valkey, call: Invoker) -> None:
        plant(raw, 1500)
        run(call)
        raw.hset(TOTALS, mapping={"totalGames": 1, "totalScore": 1, "highScore": 10**9})
        sweep = call.run(lambda: sweeps.begin(store(), anew=True))
        turn = 0
        while sweep.position:
            for step in range(10):
                submit(call, f"p{turn * 37 % 1500}", 10_000 + turn)
                turn += 1
                if step == 0:
                    create(call, f"new-{turn}", turn)
            sweep = call.run(lambda at=sweep: sweeps.advance(store(), at, 300)).sweep
        submit(call, "p7", 99)
        monkey = pytest.MonkeyPatch()
        with monkey.context() as patch:
            patch.setattr(reconcile, "SWEEP_PLAYERS", 0)
            run(call)
        invariants.check(raw)

    def test_the_same_slice_twice_is_as_good_as_once(self, raw: valkey.Valkey, call: Invoker) -> None:
        plant(raw, 1500)

        def twice() -> int:
            sweep = sweeps.begin(store(), anew=True)
            slices = 0
            while sweep.position:
                first = sweeps.advance(store(), sweep, 200)
                second = sweeps.advance(store(), sweep, 200)
                assert second.sweep == first.sweep, "the second finds the work done"
                assert second.mended == 0
                sweep = first.sweep
                slices += 1
            return slices

        assert call.run(twice) > 5
        run(call)
        invariants.check(raw)

    def test_a_new_sweep_takes_the_place_of_one_that_was_left(self, raw: valkey.Valkey, call: Invoker) -> None:
        plant(raw, 1500)

        def left() -> sweeps.Sweep:
            sweep = sweeps.begin(store(), anew=True)
            return sweeps.advance(store(), sweep, 400).sweep

        old = call.run(left)
        assert old.position
        new = call.run(lambda: sweeps.begin(store(), anew=True))
        assert int(new.number) > int(old.number)
        assert call.run(lambda: sweeps.begin(store(), anew=False)) == new, "a schedule's run joins it"
        submit(call, "p3", 4)
        late = call.run(lambda: sweeps.advance(store(), old, 400)).sweep
        assert late == new, "whoever still works on the old one cannot move the new one"
        assert run(call)["finished"]
        invariants.check(raw)

    def test_a_rebuild_that_was_left_is_ended_by_the_schedule(self, raw: valkey.Valkey, call: Invoker) -> None:
        plant(raw, 1500)
        begun = call.run(lambda: sweeps.advance(store(), sweeps.begin(store(), anew=True), 300).sweep)
        report = run(call)
        assert (report["cursor"], report["finished"]) == (begun.number, True)
        report = run(call, event={"rebuild": {"cursor": begun.number}})
        assert (report["swept"], report["finished"]) == (0, True), "and whoever asks again is told so"
        invariants.check(raw)

    def test_a_profile_older_than_the_board_gets_a_new_revision_and_is_the_truth(
        self, raw: valkey.Valkey, call: Invoker, capsys: pytest.CaptureFixture[str]
    ) -> None:
        play(3)
        raw.hset("user:p1", mapping={"revision": OLD, "score": 5, "gamesPlayed": 1})
        capsys.readouterr()
        assert run(call)["mended"] == 1
        assert raw.zscore(BOARD, "p1") == 5
        assert int(raw.hget("user:p1", "revision") or 0) > OLD
        warned = [line for line in lines(capsys.readouterr().out) if line["level"] == "WARNING"]
        assert [line["userId"] for line in warned] == ["p1"]
        invariants.check(raw)

    @pytest.mark.parametrize("spoil", SPOILS)
    def test_one_that_is_spoiled_does_not_stop_the_others(self, raw: valkey.Valkey, call: Invoker, spoil: str) -> None:
        play(3)
        SPOILS[spoil](raw)
        raw.zadd(BOARD, {"p0": 5, "ghost": 7})
        raw.hset("user:p2", mapping={"revision": OLD, "score": 5})
        intend(raw, 100, "p0:x")
        started = time.monotonic()
        for _ in range(2):
            assert run(call)["finished"]
        assert time.monotonic() - started < 10, "it does not try again until its time is up"
        assert raw.zscore(BOARD, "p0") == 6
        assert raw.zscore(BOARD, "ghost") is None
        assert raw.zscore(BOARD, "p2") == 5
        assert raw.zscore(PENDING, "p0:x") is None
