"""The pace that players are held to, the record of their sessions, and the fence of openings.

A pace of one a minute, of which three may come at once: so no test depends on how fast it is.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import valkey

from shared import config, deadline, idempotency, players, profiles, sessions
from shared.config import Pace, SessionRules
from shared.problems import (
    InvalidArguments,
    KeyReused,
    NotAllowed,
    Problem,
    SessionNotFound,
    StaleAttempt,
    TooManySessions,
    TooManySubmissions,
    UserNotFound,
)
from shared.store import Store
from tests.support import invariants
from tests.support.api import Api
from tests.support.invariants import everything
from tests.support.invoking import Answer, event

Invoke = Callable[..., Answer]

PACE = Pace(per_minute=1, burst=3)
MINUTE = 60_000_000
RECORD, PACE_KEY = profiles.record_keys("ada")
SESSIONS = SessionRules(3600, 86_400, PACE, 0)


@pytest.fixture
def store(api: Api) -> Iterator[Store]:
    """A connection, and a player."""
    deadline.start(math.inf)
    api.create(userId="ada", score=100)
    own = Store(config.settings())
    yield own
    own.close()


def key(name: str, operation: str = "update_score", **arguments: Any) -> idempotency.Key:
    return idempotency.key("", name, operation, {"userId": "ada", **arguments})


def submit(store: Store, name: str = "", score: int = 7, **more: Any) -> players.Submitted:
    rules = config.settings().rules._replace(pace=PACE)
    return players.submit(store, rules, key(name) if name else None, user_id="ada", score=score, **more)


def start(store: Store, name: str = "", rules: SessionRules = SESSIONS, user_id: str = "ada") -> sessions.Opened:
    kept = key(name, "sessions.create", userId=user_id) if name else None
    return sessions.create(store, rules, kept, user_id=user_id)


Work = Callable[..., Any]

BOTH = pytest.mark.parametrize(
    ("work", "problem"), [(submit, TooManySubmissions), (start, TooManySessions)], ids=["submissions", "sessions"]
)


def rate(raw: valkey.Valkey, work: Work) -> int:
    """When the next would come at an even pace, by what is stored."""
    return int((raw.hget("user:ada", "rate") if work is submit else raw.get(PACE_KEY)) or 0)


def set_rate(raw: valkey.Valkey, work: Work, microseconds: int) -> None:
    if work is submit:
        raw.hset("user:ada", "rate", microseconds)
    else:
        raw.set(PACE_KEY, microseconds)


def now(raw: valkey.Valkey) -> int:
    seconds, microseconds = raw.time()
    return int(seconds * 1_000_000 + microseconds)


@BOTH
def test_so_many_come_at_once_and_then_one_at_each_interval(
    store: Store, raw: valkey.Valkey, work: Work, problem: type[Problem]
) -> None:
    for _ in range(PACE.burst):
        work(store)
    before = everything(raw)
    with pytest.raises(problem) as refused:
        work(store)
    assert 1 <= (refused.value.retry_after_seconds or 0) <= 60
    assert everything(raw) == before, "what is refused changes nothing"
    set_rate(raw, work, rate(raw, work) - MINUTE)
    work(store)
    with pytest.raises(problem):
        work(store)


@BOTH
def test_who_has_paused_has_a_whole_burst_and_no_more(
    store: Store, raw: valkey.Valkey, work: Work, problem: type[Problem]
) -> None:
    set_rate(raw, work, now(raw) - 100 * MINUTE)
    for _ in range(PACE.burst):
        work(store)
    with pytest.raises(problem):
        work(store)


@BOTH
def test_a_replay_is_free(store: Store, raw: valkey.Valkey, work: Work, problem: type[Problem]) -> None:
    work(store, "one")
    assert rate(raw, work)
    before = everything(raw)
    for _ in range(5):
        assert work(store, "one").replayed
        assert everything(raw) == before, "it is not counted"
    work(store)
    work(store)
    with pytest.raises(problem):
        work(store)
    assert work(store, "one").replayed, "nor is it refused"


@BOTH
def test_a_rate_from_a_clock_that_was_ahead_locks_nobody_out_for_longer_than_a_full_burst(
    store: Store, raw: valkey.Valkey, work: Work, problem: type[Problem]
) -> None:
    full = PACE.burst * MINUTE
    set_rate(raw, work, now(raw) + full + 60 * MINUTE)
    work(store)
    assert rate(raw, work) <= now(raw) + MINUTE
    set_rate(raw, work, now(raw) + full)
    with pytest.raises(problem) as refused:
        work(store)
    assert (refused.value.retry_after_seconds or 0) <= full / 1_000_000


@BOTH
def test_whoever_has_no_pace_is_neither_counted_nor_refused(
    store: Store, raw: valkey.Valkey, work: Work, problem: type[Problem]
) -> None:
    rules = config.settings()
    set_rate(raw, work, now(raw) + PACE.burst * MINUTE)
    moved = rate(raw, work)
    for _ in range(2 * PACE.burst):
        if work is submit:
            players.submit(store, rules.rules_of("server"), None, user_id="ada", score=1)
        else:
            start(store, rules=rules.session_rules_of("server"))
    assert rate(raw, work) == moved


@BOTH
def test_of_many_at_once_a_burst_is_accepted(raw: valkey.Valkey, api: Api, work: Work, problem: type[Problem]) -> None:
    api.create(userId="ada", score=100)

    def one(_: int) -> bool:
        deadline.start(math.inf)
        own = Store(config.settings())
        try:
            work(own)
        except problem:
            return False
        finally:
            own.close()
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(one, range(16))) == PACE.burst
    invariants.settle(raw)


def test_a_submission_that_is_refused_for_another_reason_does_not_move_the_rate(
    store: Store, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    for refusal, arguments in (
        (InvalidArguments, {"score": 10**12, "operator": "increment"}),
        (InvalidArguments, {"score": 200, "operator": "decrement"}),
    ):
        with pytest.raises(refusal):
            submit(store, **arguments)
    real = time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: real() - 40 * 10**9)
        with pytest.raises(StaleAttempt):
            submit(store)
    assert rate(raw, submit) == 0
    set_rate(raw, submit, now(raw) + PACE.burst * MINUTE)
    with pytest.raises(TooManySubmissions):
        submit(store, score=200, operator="decrement")
    with pytest.raises(UserNotFound):
        players.submit(store, config.settings().rules._replace(pace=PACE), None, user_id="nobody", score=1)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: real() - 40 * 10**9)
        with pytest.raises(StaleAttempt):
            submit(store)


# Sessions


def known(raw: valkey.Valkey, user_id: str = "ada") -> set[str]:
    """The sessions in a player's record."""
    return {*raw.zrange(profiles.sessions_key(user_id), 0, -1)}


def opened(raw: valkey.Valkey) -> set[str]:
    return {found.removeprefix("session:") for found in raw.scan_iter("session:*")}


def test_the_record_knows_each_session_until_it_ends(store: Store, raw: valkey.Valkey) -> None:
    first, second = (start(store).session["sessionId"] for _ in range(2))
    assert known(raw) == opened(raw) == {first, second}
    for session_id in (first, second):
        assert 0 <= raw.zscore(RECORD, session_id) - raw.expiretime(f"session:{session_id}") <= 1
    assert raw.expiretime(RECORD) == max(raw.zscore(RECORD, session_id) for session_id in (first, second))
    sessions.delete(store, first, None)
    assert known(raw) == opened(raw) == {second}


def test_at_most_so_many_are_open_and_those_that_have_ended_make_room(store: Store, raw: valkey.Valkey) -> None:
    rules = SessionRules(3600, 86_400, open_max=2)
    first, second = (start(store, f"key-{number}", rules).session["sessionId"] for number in range(2))
    before = everything(raw)
    with pytest.raises(TooManySessions) as refused:
        start(store, rules=rules)
    assert 3590 <= (refused.value.retry_after_seconds or 0) <= 3601, "until the first of them ends"
    assert everything(raw) == before
    assert start(store, "key-0", rules).replayed, "a replay needs no room"
    raw.zadd(RECORD, {first: raw.time()[0]})
    raw.delete(f"session:{first}")
    third = start(store, rules=rules).session["sessionId"]
    assert known(raw) == {second, third}, "who has ended is taken out"
    assert start(store, "key-0", rules).replayed, "nor does a replay of one that has ended"
    assert known(raw) == {second, third}
    sessions.delete(store, third, None)
    start(store, rules=rules)


def test_a_replay_of_a_session_that_has_ended_is_not_counted(store: Store, raw: valkey.Valkey) -> None:
    session_id = start(store, "one").session["sessionId"]
    sessions.delete(store, session_id, None)
    before = everything(raw)
    for _ in range(2 * PACE.burst):
        assert start(store, "one").replayed
    assert everything(raw) == before


def test_a_retry_of_an_attempt_that_got_no_further_than_the_record_is_counted_once(
    store: Store, raw: valkey.Valkey
) -> None:
    session_id = start(store, "one").session["sessionId"]
    counted = rate(raw, start)
    for found in [*raw.scan_iter("session:*"), *raw.scan_iter("*:opened")]:
        raw.delete(found)
    again = start(store, "one")
    assert (again.session["sessionId"], again.replayed) == (session_id, False)
    assert (known(raw), opened(raw), rate(raw, start)) == ({session_id}, {session_id}, counted)


def test_another_players_session_stays_out_of_the_record(store: Store, raw: valkey.Valkey, api: Api) -> None:
    """The same key with another userId: its id is the other's session, which is not to be exported as theirs."""
    api.create(userId="bob")
    start(store, "one")
    with pytest.raises(KeyReused):
        start(store, "one", user_id="bob")
    assert known(raw, "bob") == set()
    assert known(raw) == opened(raw)


def test_another_payload_leaves_the_living_session_in_the_record(store: Store, raw: valkey.Valkey) -> None:
    start(store, "one")
    with pytest.raises(KeyReused):
        sessions.create(store, SESSIONS, key("one", "sessions.create", more=1), user_id="ada", session_data={"more": 1})
    assert known(raw) == opened(raw) != set()


@pytest.mark.parametrize("name", ["", "one"], ids=["without a key", "with a key"])
@pytest.mark.parametrize("seconds", [-40, 40])
def test_an_opening_that_comes_late_opens_nothing_and_leaves_nothing(
    store: Store, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch, seconds: int, name: str, invoke: Invoke
) -> None:
    before = everything(raw)
    real = time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: real() + seconds * 10**9)
        with pytest.raises(StaleAttempt):
            start(store, name)
        reply = invoke("sessions", event("POST", "/sessions", json_body={"userId": "ada"}))
    assert (reply.status, reply.json()["code"]) == (503, "stale_attempt")
    kept = {found: value for found, value in everything(raw).items() if invariants.ACTIVE not in found}
    assert {**kept, PACE_KEY: ""} == {**before, PACE_KEY: ""}
    assert not start(store, name).replayed


def test_a_session_does_not_outlive_its_entry(
    store: Store, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that is held up between its two trips for longer than its session was to live."""
    enter = sessions.enter

    def held_up(*arguments: Any) -> sessions.Entry:
        entry = enter(*arguments)
        return entry._replace(number=str(raw.time()[0]))

    with monkeypatch.context() as patch:
        patch.setattr(sessions, "enter", held_up)
        with pytest.raises(StaleAttempt):
            start(store)
    assert opened(raw) == set()


def test_a_session_is_its_owners(store: Store, raw: valkey.Valkey) -> None:
    session_id = start(store).session["sessionId"]
    before = everything(raw)
    for work in (sessions.find, sessions.delete):
        with pytest.raises(NotAllowed):
            work(store, session_id, "bob")
        with pytest.raises(SessionNotFound):
            work(store, str(uuid.uuid4()), "ada")
    assert everything(raw) == before
    sessions.find(store, session_id, "ada")
    sessions.delete(store, session_id, "ada")
    assert known(raw) == opened(raw) == set()


def test_a_record_of_many_sessions_stays_as_long_as_those_that_are_open(store: Store, raw: valkey.Valkey) -> None:
    """Of a server there may be any number: each that comes takes those out that have ended."""
    raw.zadd(RECORD, {f"ended-{number}": 5 for number in range(1000)})
    start(store, rules=SessionRules(3600, 86_400))
    assert known(raw) == opened(raw)
