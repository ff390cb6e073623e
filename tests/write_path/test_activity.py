"""Active players: who submitted or opened a session on a day, and who does not count."""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable

import pytest
import valkey

from shared import activity, config, deadline, idempotency, players
from shared.problems import NotYetVisible, StaleAttempt, Unavailable
from shared.store import Store
from tests.support import invariants
from tests.support.api import Api
from tests.support.invariants import ACTIVE, everything
from tests.write_path.populations import play

DAY_SECONDS = 86_400
HOUR_SECONDS = 3_600


@pytest.fixture(autouse=True)
def _no_hurry() -> None:
    """For what is done here without a request: this thread's last one may have left no time."""
    deadline.start(math.inf)


def day(ago: int) -> str:
    """The day so many days ago, in UTC."""
    return str(datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(ago))


def by_clock(monkeypatch: pytest.MonkeyPatch, seconds: float, work: Callable[[], object]) -> None:
    """Does work while this process's clock is ahead."""
    real = time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: real() + int(seconds * 10**9))
        work()


def days_kept(raw: valkey.Valkey) -> set[str]:
    return {key.removeprefix(ACTIVE) for key in raw.scan_iter(f"{ACTIVE}*")}


def figures(raw: valkey.Valkey) -> tuple[int | None, int | None]:
    """What a run of reconcile reports: active today, and this month."""
    report = invariants.run_reconcile(raw)
    return report["activeToday"], report["activeMonth"]


def test_who_submits_or_opens_a_session_is_active_and_counted_once(api: Api, raw: valkey.Valkey) -> None:
    for user_id in ("ada", "bob", "cleo"):
        api.create(userId=user_id, score=100)
    assert figures(raw) == (0, 0), "who was only created has not played"
    for headers in ({}, {"Idempotency-Key": "a-key"}, {"Idempotency-Key": "a-key"}):
        assert api.put("/users/ada/score", json={"score": 5}, headers=headers).status_code == 200
        assert api.post("/sessions", json={"userId": "bob"}, headers=headers).status_code == 201
    assert figures(raw) == (2, 2)
    assert invariants.active(raw, "ada", "bob", "cleo") == {"ada", "bob"}
    assert {raw.ttl(f"{ACTIVE}{each}") for each in days_kept(raw)} == {-1}, "or memory pressure would take them"


def test_who_is_refused_is_not_active(api: Api, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    api.create(userId="ada", score=100)
    settings = config.settings()
    store = Store(settings)

    def stale() -> None:
        with pytest.raises(StaleAttempt):
            players.submit(store, settings.rules, None, user_id="ada", score=1)

    by_clock(monkeypatch, HOUR_SECONDS, stale)
    store.close()
    body = {"score": 1000, "operator": "decrement"}
    for headers in ({}, {"Idempotency-Key": "a-key"}):
        assert api.put("/users/nobody/score", json=body, headers=headers).status_code == 404
        assert api.put("/users/ada/score", json=body, headers=headers).status_code == 400
        assert api.post("/sessions", json={"userId": "nobody"}, headers=headers).status_code == 404
    assert invariants.active_days(raw) == {}


def test_nobody_becomes_active_by_a_repair_a_rebuild_or_a_read(
    api: Api, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(3)
    raw.delete(*raw.scan_iter(f"{ACTIVE}*"))
    with monkeypatch.context() as patch:
        patch.setattr(players.board, "project", lambda *_: (_ for _ in ()).throw(Unavailable))
        store = Store(config.settings())
        with pytest.raises(NotYetVisible):
            players.submit(store, config.settings().rules, None, user_id="p0", score=5)
        store.close()
    invariants.settle(raw)
    raw.delete(invariants.BOARD)
    invariants.rebuild(raw)
    for path in ("/leaderboard", "/users/p1", "/users/p1/rank", "/users/p1/nearby", "/stats", "/health"):
        assert api.get(path).status_code == 200
    assert invariants.active_days(raw) == {}
    assert api.put("/users/p1/score", json={"score": 5}).status_code == 200
    kept = everything(raw)
    report = invariants.run_reconcile(raw, {"rebuild": {"cursor": None}})
    assert (report["activeToday"], report["activeMonth"]) == (None, None)
    assert invariants.run_reconcile(raw, {"check": {"cursor": None}})["differences"] == []
    assert {key: value for key, value in everything(raw).items() if ACTIVE in key} == {
        key: value for key, value in kept.items() if ACTIVE in key
    }


def test_a_request_whose_state_reconcile_has_projected_meanwhile_counts_its_player(
    raw: valkey.Valkey, empty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(1, games=0)
    project = players.board.project

    def late(store: Store, *rest: object) -> object:
        invariants.rebuild(raw)
        project(store, rest[0]._replace(revision=str(2**53 - 2)))  # type: ignore[attr-defined]
        return project(store, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(players.board, "project", late)
    store = Store(config.settings())
    players.submit(store, config.settings().rules, None, user_id="p0", score=5)
    store.close()
    assert invariants.active(raw, "p0") == {"p0"}


def test_a_replay_counts_on_the_day_of_its_submission(
    api: Api, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.create(userId="ada", score=100)
    settings, store = config.settings(), Store(config.settings())
    key = idempotency.key("", "a-key", "submit", {})

    def submit() -> None:
        players.submit(store, settings.rules, key, user_id="ada", score=5)

    submit()
    before = invariants.active_days(raw)
    by_clock(monkeypatch, 2 * DAY_SECONDS, submit)
    by_clock(monkeypatch, -2 * DAY_SECONDS, submit)
    assert invariants.active_days(raw) == before, "no fence judges a replay's clock"
    raw.delete(*raw.scan_iter(f"{ACTIVE}*"))
    by_clock(monkeypatch, 2 * DAY_SECONDS, submit)
    assert invariants.active_days(raw) == before, "the first may have died before it counted"
    store.close()


def test_a_month_is_thirty_days_and_older_ones_are_deleted(raw: valkey.Valkey, empty: None) -> None:
    last = activity.MONTH_DAYS + activity.FORGOTTEN_DAYS - 1
    for ago in (-1, 0, 1, 29, 30, 31, 59, 200, last):
        raw.pfadd(f"{ACTIVE}{day(ago)}", "everyday", f"player-{ago}")
    assert figures(raw) == (2, 4)
    assert days_kept(raw) == {day(-1), day(0), day(1), day(29)}, "tomorrow may have begun elsewhere"


def test_a_day_ends_at_midnight(raw: valkey.Valkey, empty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As days pass, each is counted until it is thirty days old; the server's clock goes along here."""
    raw.pfadd(f"{ACTIVE}2026-03-01", "ada", "bob")
    raw.pfadd(f"{ACTIVE}2026-03-02", "bob", "cleo")
    store = Store(config.settings())
    for moment, expected in {
        "2026-03-01T00:00:00.000": (2, 2),
        "2026-03-01T23:59:59.999": (2, 2),
        "2026-03-02T00:00:00.000": (2, 3),
        "2026-03-03T12:00:00.000": (0, 3),
        "2026-03-30T23:59:59.999": (0, 3),
        "2026-03-31T00:00:00.000": (0, 2),
        "2026-04-01T00:00:00.000": (0, 0),
    }.items():
        now = round(datetime.datetime.fromisoformat(f"{moment}+00:00").timestamp() * 1000)
        monkeypatch.setattr("shared.activity.outbox.server_time", lambda _, now=now: now)
        monkeypatch.setattr(time, "time_ns", lambda now=now: now * 10**6)
        assert activity.take_stock(store) == expected, moment
    store.close()
    assert days_kept(raw) == set()


@pytest.mark.parametrize("days", [40, -40])
def test_a_clock_of_reconcile_that_is_wrong_deletes_no_day_that_counts(
    raw: valkey.Valkey, empty: None, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    raw.pfadd(f"{ACTIVE}{day(0)}", "ada")
    raw.pfadd(f"{ACTIVE}{day(29)}", "bob")
    store = Store(config.settings())
    by_clock(monkeypatch, days * DAY_SECONDS, lambda: activity.take_stock(store))
    store.close()
    assert days_kept(raw) == {day(0), day(29)}
    assert figures(raw) == (1, 2)


def test_what_somebody_else_put_in_the_place_of_a_day_hinders_no_request(api: Api, raw: valkey.Valkey) -> None:
    api.create(userId="ada", score=100)
    for ago in (-1, 0):
        raw.hset(f"{ACTIVE}{day(ago)}", "not", "ours")
    assert api.put("/users/ada/score", json={"score": 5}).status_code == 200
    for headers in ({}, {"Idempotency-Key": "a-key"}):
        assert api.post("/sessions", json={"userId": "ada"}, headers=headers).status_code == 201
    assert raw.zscore(invariants.BOARD, "ada") == 5
    assert figures(raw) == (None, None), "and no run of reconcile"
