"""Players who are hidden, corrected, renamed or erased: what is left of them, and what comes back, which is nothing."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import valkey

from shared import (
    audit,
    board,
    config,
    deadline,
    idempotency,
    outbox,
    people,
    players,
    projections,
    records,
    sessions,
    sweeps,
)
from shared.config import SessionRules
from shared.problems import (
    InvalidArguments,
    NotRanked,
    NotYetVisible,
    SessionNotFound,
    StaleAttempt,
    Unavailable,
    UserExists,
    UserNotFound,
)
from shared.store import Store
from tests.support import invariants
from tests.write_path.populations import elsewhere
from tests.write_path.slots import put_back, taken

FORMER = Path(__file__).parent / "former"
"""Scripts as the release before has them."""

DEADLINE_SECONDS = 60
DAY = 86_400 + 60
RULES = config.Rules(0, 10**12, None, 3600, 1000)

Act = Callable[[Store], Any]


@pytest.fixture
def store(raw: valkey.Valkey) -> Iterator[Store]:
    """A connection, and three players: Ada leads, Bob and Cleo follow."""
    deadline.start(DEADLINE_SECONDS)  # whatever ran on this thread before had its own
    opened = Store(config.settings())
    for user_id, score in (("ada", 300), ("bob", 200), ("cleo", 100)):
        create(opened, user_id, score=score // 2)
        players.submit(opened, RULES, None, user_id=user_id, score=score)
    yield opened
    opened.close()


def create(store: Store, user_id: str, key: idempotency.Key | None = None, score: int = 0) -> players.Submitted:
    """A new player; the address tells whose it is."""
    mail = f"{user_id}@example.com"
    return players.create(store, RULES, key, user_id=user_id, username=f"Name of {user_id}", email=mail, score=score)


def play(store: Store, user_id: str, score: int, key: idempotency.Key | None = None) -> players.Submitted:
    """A game."""
    return players.submit(store, RULES, key, user_id=user_id, score=score)


def key(text: str) -> idempotency.Key:
    """An idempotency key."""
    return idempotency.key("", text, "test", {})


def hide(store: Store) -> players.Change:
    return players.set_hidden(store, RULES, user_id="ada", hidden=True)


def show(store: Store) -> players.Change:
    return players.set_hidden(store, RULES, user_id="ada", hidden=False)


def rename(store: Store) -> records.User:
    return players.amend(store, RULES, user_id="ada", username="Ada King", email="")


def correct(store: Store) -> players.Submitted:
    return players.correct(store, RULES, None, user_id="ada", score=50, best_score=60)


def erase(store: Store) -> people.Erased:
    return people.erase(store, RULES, user_id="ada")


ACTS: dict[str, Act] = {"hide": hide, "rename": rename, "correct": correct, "erase": erase}


def page(store: Store) -> list[str]:
    """Who is on the board, best first."""
    return [entry["userId"] for entry in board.top(store, 10, 0)["leaderboard"]]


def sessions_of(store: Store, user_id: str, number: int = 1) -> list[str]:
    """The ids of sessions that the player has opened."""
    rules = SessionRules(3600, 3600)
    return [sessions.create(store, rules, None, user_id=user_id).session["sessionId"] for _ in range(number)]


# --- Hidden, corrected, renamed


def test_a_hidden_player_is_off_the_board_and_keeps_playing(store: Store, raw: valkey.Valkey) -> None:
    assert hide(store) == (False, True)
    assert hide(store) == (True, True)
    assert page(store) == ["bob", "cleo"]
    for look in (lambda: board.standing(store, "ada"), lambda: board.around(store, "ada", 1)):
        with pytest.raises(NotRanked):
            look()
    world = invariants.settle(raw, acted=True)
    assert (world.totals["totalGames"], world.totals["totalScore"], world.totals["highScore"]) == ("2", "300", "200")
    done = play(store, "ada", 900, key("game"))
    assert done.user["score"] == 900
    assert [done.receipt[name] for name in ("rank", "previousRank", "percentile", "next")] == [None] * 4  # type: ignore[literal-required]
    assert (done.receipt["totalPlayers"], done.receipt["delta"]) == (2, 600)
    assert play(store, "ada", 900, key("game")).receipt["rank"] is None, "a replay as well"
    invariants.settle(raw)
    assert show(store) == (True, False)
    assert page(store) == ["ada", "bob", "cleo"]
    assert play(store, "ada", 901).receipt["rank"] == 1
    assert invariants.settle(raw).totals["highScore"] == "901", "what was played meanwhile counts"


def test_a_hidden_player_may_leave_a_board_of_nobody(store: Store, raw: valkey.Valkey) -> None:
    for user_id in ("ada", "bob", "cleo"):
        players.set_hidden(store, RULES, user_id=user_id, hidden=True)
    assert page(store) == []
    assert play(store, "bob", 1).receipt["totalPlayers"] == 0
    assert invariants.settle(raw, acted=True).totals["highScore"] == "0"


def test_a_correction_counts_no_game_and_lowers_the_best_score(store: Store, raw: valkey.Valkey) -> None:
    before = raw.hgetall("user:ada")
    done = players.correct(store, RULES, key("wrong"), user_id="ada", score=50, best_score=60)
    assert (done.user["score"], done.receipt["delta"], done.receipt["rank"]) == (50, -250, 3)
    again = players.correct(store, RULES, key("wrong"), user_id="ada", score=50, best_score=60)
    assert (again.replayed, again.receipt["submissionId"]) == (True, done.receipt["submissionId"])
    after = raw.hgetall("user:ada")
    assert (after["bestScore"], after["gamesPlayed"], after["lastActive"]) == ("60", "1", before["lastActive"])
    assert invariants.settle(raw, acted=True).totals["highScore"] == "200", "a sweep has counted anew"
    players.correct(store, RULES, None, user_id="ada", score=55)
    assert raw.hget("user:ada", "bestScore") == "60", "it stays as it is"
    players.correct(store, RULES, None, user_id="ada", score=70)
    assert raw.hget("user:ada", "bestScore") == "70", "unless it would be below the score"
    steps = RULES._replace(score_step_max=10)
    assert players.correct(store, steps, None, user_id="ada", score=500).receipt["rank"] == 1, "by any step"
    invariants.settle(raw)


@pytest.mark.parametrize("keyed", [False, True])
def test_a_correction_out_of_bounds_is_refused_and_changes_nothing(
    store: Store, raw: valkey.Valkey, keyed: bool
) -> None:
    before = invariants.everything(raw)
    for score, best in ((RULES.score_max + 1, None), (-1, None), (50, 49), (50, RULES.score_max + 1)):
        with pytest.raises(InvalidArguments):
            players.correct(store, RULES, key("bad") if keyed else None, user_id="ada", score=score, best_score=best)
    assert invariants.everything(raw) == before


def test_a_new_name_is_on_the_board_at_once_and_an_empty_address_is_none(store: Store, raw: valkey.Valkey) -> None:
    user = rename(store)
    assert user["username"] == "Ada King"
    assert "email" not in user
    assert "email" not in players.find(store, "ada")
    assert board.top(store, 1, 0)["leaderboard"][0]["username"] == "Ada King"
    assert players.amend(store, RULES, user_id="ada", email="new@example.com")["email"] == "new@example.com"
    assert players.find(store, "ada")["username"] == "Ada King", "what is not given stays"
    invariants.settle(raw)


@pytest.mark.parametrize("name", ACTS)
def test_nobody_is_nobody(store: Store, raw: valkey.Valkey, name: str) -> None:
    erase(store)
    before = invariants.everything(raw)
    with pytest.raises(UserNotFound):
        ACTS[name](store)
    assert invariants.everything(raw) == before


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("seconds", [-31, 31])
def test_an_act_that_comes_late_is_refused(
    store: Store, raw: valkey.Valkey, name: str, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock of ours is wrong: nobody would find the intent."""
    before = invariants.everything(raw)
    time_ns = players.time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(players.time, "time_ns", lambda: time_ns() + seconds * 10**9)
        with pytest.raises(StaleAttempt):
            ACTS[name](store)
    assert invariants.everything(raw) == before


# --- Erased


def left_of(raw: valkey.Valkey, *texts: str) -> list[str]:
    """Where any of these texts still stands."""
    return [
        name for name, value in invariants.everything(raw).items() if any(text in f"{name} {value}" for text in texts)
    ]


def test_of_an_erased_player_a_mark_and_an_empty_row_are_left(store: Store, raw: valkey.Valkey) -> None:
    (session_id,) = sessions_of(store, "ada")
    (others,) = sessions_of(store, "bob")
    play(store, "ada", 400, key("game"))
    assert erase(store) == (1,)
    assert page(store) == ["bob", "cleo"]
    assert left_of(raw, "Name of ada", "ada@example.com") == []
    for name in raw.keys("{user:ada}:submission:*"):
        assert "ada" not in raw.get(name)
        assert 0 < raw.ttl(name) <= 60, "what remembers a request without a key is gone in a minute"
        raw.delete(name)
    assert sorted(left_of(raw, "ada")) == ["{leaderboard:global}:players", "{user:ada}:erased"]
    with pytest.raises(SessionNotFound):
        sessions.find(store, session_id, None)
    assert sessions.find(store, others, "bob")
    for look in (players.find, board.standing, people.export, lambda store, name: board.around(store, name, 1)):
        with pytest.raises(UserNotFound):
            look(store, "ada")
    with pytest.raises(UserNotFound):
        play(store, "ada", 1)
    with pytest.raises(UserExists):
        create(store, "ada")
    with pytest.raises(UserExists):
        create(store, "ada", key("late"))
    invariants.settle(raw, acted=True)


def test_a_creation_that_comes_again_makes_nobody(store: Store, raw: valkey.Valkey) -> None:
    """Its id follows from the key, so it would be the same player."""
    made = players.create(store, RULES, key("new"), username="New", email="new@example.com")
    people.erase(store, RULES, user_id=made.user["userId"])
    with pytest.raises(UserExists):
        players.create(store, RULES, key("new"), username="New", email="new@example.com")
    invariants.settle(raw, acted=True)
    assert made.user["userId"] in invariants.marks(raw)


def test_a_sweep_drops_mark_and_row_when_nothing_late_can_come(store: Store, raw: valkey.Valkey) -> None:
    erase(store)
    mark = invariants.marks(raw)["ada"]
    assert int(mark["ends"]) == int(mark["second"]) + DAY + 1, "a token lives longer than a receipt here"
    invariants.marks_grow_older(raw, DAY - 5)
    invariants.settle(raw, acted=True)
    assert "ada" in invariants.marks(raw)
    invariants.marks_grow_older(raw, 10)
    assert invariants.rebuild(raw) == 0, "nothing was wrong"
    world = invariants.settle(raw)
    assert not world.marks
    assert world.rows.keys() == {"bob", "cleo"}
    assert create(store, "ada").receipt["rank"] == 3
    invariants.settle(raw)


def test_a_mark_lives_as_long_as_a_receipt_if_that_is_longer(store: Store, raw: valkey.Valkey) -> None:
    people.erase(store, RULES._replace(receipt_seconds=10**6), user_id="ada")
    mark = invariants.marks(raw)["ada"]
    assert int(mark["ends"]) == int(mark["second"]) + 10**6 + 1


@pytest.mark.parametrize("seconds", [-31, 31])
def test_a_sweep_whose_clock_is_wrong_drops_no_mark(
    store: Store, raw: valkey.Valkey, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase(store)
    invariants.marks_grow_older(raw, 2 * DAY)
    time_ns = sweeps.time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(sweeps.time, "time_ns", lambda: time_ns() + seconds * 10**9)
        invariants.rebuild(raw)
    assert "ada" in invariants.marks(raw)
    invariants.rebuild(raw)
    assert not invariants.marks(raw)


def test_a_session_that_was_opened_late_is_ended_by_a_sweep(store: Store, raw: valkey.Valkey) -> None:
    """It had been entered into the record before the erasure."""
    (session_id,) = sessions_of(store, "ada")
    (others,) = sessions_of(store, "bob")
    raw.zadd("{user:ada}:sessions", {others: 99})  # a crash may leave an id that is another player's
    session = raw.get(f"session:{session_id}")
    erase(store)
    assert raw.get(f"session:{session_id}") is None
    assert raw.get(f"session:{others}"), "it is not theirs"
    raw.set(f"session:{session_id}", session, ex=100)
    invariants.rebuild(raw)
    assert raw.get(f"session:{session_id}") is None
    raw.set(f"session:{session_id}", session, ex=100)
    invariants.marks_grow_older(raw, 2 * DAY)
    invariants.rebuild(raw)
    assert raw.get(f"session:{session_id}") is None, "when the mark is dropped, too"
    assert raw.get(f"session:{others}")


def test_a_second_erasure_finishes_what_the_first_one_left(store: Store, raw: valkey.Valkey) -> None:
    with pytest.raises(Killed):
        erase(Mortal(config.settings(), 2))
    assert page(store) == ["ada", "bob", "cleo"], "the board does not know yet"
    with pytest.raises(UserNotFound):
        erase(store)
    assert page(store) == ["bob", "cleo"]
    invariants.settle(raw, acted=True)


def test_everything_that_is_held_is_exported(store: Store, raw: valkey.Valkey) -> None:
    (session_id,) = sessions_of(store, "ada")
    (others,) = sessions_of(store, "bob")
    raw.zadd("{user:ada}:sessions", {"gone": 99, others: 99})
    first = play(store, "ada", 400, key("game"))
    players.correct(store, RULES, key("wrong"), user_id="ada", score=50)
    hide(store)
    exported = people.export(store, "ada")
    user = players.find(store, "ada")
    assert exported["user"] == user
    assert user["email"] == "ada@example.com"
    assert (exported["bestScore"], exported["hidden"]) == (400, True)
    assert [session.contents for session in map(Read, exported["sessions"])] == [raw.get(f"session:{session_id}")]
    assert sorted(exported["submissions"], key=lambda each: each["score"]) == [
        {
            "submissionId": exported["submissions"][1]["submissionId"],
            "operator": "correct",
            "previousScore": 400,
            "score": 50,
        },
        {"submissionId": first.receipt["submissionId"], "operator": "set", "previousScore": 300, "score": 400},
    ]


class Read:
    """A session as it is written into a reply."""

    def __init__(self, fragment: Any):
        import orjson

        self.contents = orjson.dumps(fragment).decode()


# --- Whatever else goes on meanwhile


class Killed(BaseException):
    """The process is dead."""


class Mortal(Store):
    """The connection of a process that dies after so many commands, in the middle of a round trip perhaps."""

    def __init__(self, configured: config.Settings, left: int):
        super().__init__(configured)
        self.left = left
        self.lived = False

    def trip(self, commands: Any) -> list[Any]:
        arrived = commands[: self.left]
        self.left -= len(arrived)
        replies = super().trip(arrived) if arrived else []
        if len(arrived) < len(commands):
            raise Killed
        return replies


@pytest.mark.parametrize("name", ACTS)
def test_an_act_that_dies_anywhere_is_done_or_not_and_never_half(store: Store, raw: valkey.Valkey, name: str) -> None:
    """Reconcile finishes it, without a sweep; asking again succeeds."""
    with valkey.Valkey(port=raw.connection_pool.connection_kwargs["port"]) as binary:
        sessions_of(store, "ada", 2)
        hide(store)
        show(store)  # the scripts are known
        start = {slot: taken(binary, slot) for slot in ("ada", "board")}
        before = _facts(raw)
        ACTS[name](store)
        after = _facts(raw)
        assert before != after
        done = []
        for point in itertools.count():
            for slot, snapshot in start.items():
                put_back(binary, slot, snapshot)
            process = Mortal(config.settings(), point)
            try:
                ACTS[name](process)
            except Killed:
                found = _facts(raw)
                assert found in (before, after)
                done.append(found == after)
                invariants.settle(raw, acted=True)
                assert _facts(raw) == found, "reconcile neither finishes nor undoes what was not done"
                if name == "erase" and found == after:
                    assert not raw.keys("session:*"), "and a sweep ends the sessions"
                    with pytest.raises(UserNotFound):
                        ACTS[name](store)
                else:
                    ACTS[name](store)
                assert _facts(raw) == after
                invariants.settle(raw, acted=True)
            else:
                break
            finally:
                process.close()
    assert done == sorted(done)
    assert set(done) == {False, True}


def _facts(raw: valkey.Valkey) -> Any:
    """What is true of Ada, but for the revision."""
    profile = raw.hgetall("user:ada")
    profile.pop("revision", None)
    profile["hidden"] = profile.get("hidden") or ""
    return profile, bool(raw.exists("{user:ada}:erased"))


def late_projection(store: Store, act: Act) -> None:
    """A submission commits, somebody acts, and only then the submission is projected."""
    project = board.project
    with pytest.MonkeyPatch.context() as patch:

        def held_up(*arguments: Any) -> Any:
            patch.undo()
            elsewhere(lambda: act(Store(config.settings())))
            return project(*arguments)

        patch.setattr(board, "project", held_up)
        play(store, "ada", 5000)


def test_a_submission_that_is_projected_after_the_erasure_brings_nothing_back(store: Store, raw: valkey.Valkey) -> None:
    with pytest.raises(Unavailable):
        late_projection(store, erase)
    assert page(store) == ["bob", "cleo"]
    world = invariants.settle(raw, acted=True)
    assert (world.totals["totalGames"], world.totals["totalScore"]) == ("2", "300")


def test_a_submission_that_is_projected_after_the_act_of_hiding_shows_nobody(store: Store, raw: valkey.Valkey) -> None:
    late_projection(store, hide)
    assert page(store) == ["bob", "cleo"]
    assert invariants.settle(raw, acted=True).profiles["ada"]["score"] == "5000"


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("moment", ["read", "written"])
def test_a_sweep_beside_an_act_undoes_nothing(
    store: Store, raw: valkey.Valkey, name: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep has read the profile, or the row of who was erased, before; it writes after."""
    name_of = {"read": "_project", "written": "_states"}
    work = getattr(projections, name_of[moment])

    def held_up(*arguments: Any) -> Any:
        monkeypatch.undo()
        elsewhere(lambda: ACTS[name](Store(config.settings())))
        return work(*arguments)

    monkeypatch.setattr(projections, name_of[moment], held_up)
    sweep = sweeps.begin(store, anew=True)
    while sweep.position:
        sweep = sweeps.advance(store, sweep, 1).sweep
    expected = {"rename": ["ada", "bob", "cleo"], "correct": ["bob", "cleo", "ada"]}.get(name, ["bob", "cleo"])
    assert page(store) == expected
    invariants.settle(raw, acted=True)


def test_a_sweep_that_begins_after_the_act_puts_the_high_score_right(store: Store, raw: valkey.Valkey) -> None:
    """One that had begun before does not: it has counted them."""
    sweep = sweeps.begin(store, anew=True)
    sweep = sweeps.advance(store, sweep, 500).sweep
    hide(store)
    while sweep.position:
        sweep = sweeps.advance(store, sweep, 500).sweep
    assert raw.hget(invariants.TOTALS, "highScore") == "300"
    sweep = sweeps.begin(store, anew=False)
    play(store, "ada", 9000)
    while sweep.position:
        sweep = sweeps.advance(store, sweep, 500).sweep
    assert raw.hget(invariants.TOTALS, "highScore") == "200"


@pytest.mark.parametrize("slot", ["ada", "board"])
@pytest.mark.parametrize("name", ACTS)
def test_after_a_slot_has_lost_an_act_both_sides_agree(store: Store, raw: valkey.Valkey, name: str, slot: str) -> None:
    with valkey.Valkey(port=raw.connection_pool.connection_kwargs["port"]) as binary:
        before = taken(binary, slot)
        ACTS[name](store)
        put_back(binary, slot, before)
    world = invariants.settle(raw, damaged=True)
    assert ("ada" in world.marks) == (name == "erase" and slot == "board"), "the player's slot is the truth"


def test_a_mark_that_is_older_than_the_row_takes_it_away(store: Store, raw: valkey.Valkey) -> None:
    """The slot of a player who was made anew has lost that, and has the mark again."""
    erase(store)
    with valkey.Valkey(port=raw.connection_pool.connection_kwargs["port"]) as binary:
        before = taken(binary, "ada")
        invariants.marks_grow_older(raw, 2 * DAY)
        invariants.rebuild(raw)
        create(store, "ada", score=7)
        put_back(binary, "ada", before)
    assert page(store) == ["bob", "cleo", "ada"]
    assert "ada" in invariants.settle(raw, damaged=True).marks


def test_many_who_play_are_hidden_and_erased_at_once(store: Store, raw: valkey.Valkey) -> None:
    """Beside a sweep that begins again and again."""

    def keep(work: Callable[[Store, int], Any], times: int) -> None:
        own = Store(config.settings())
        for number in range(times):
            with contextlib.suppress(UserNotFound, UserExists, Unavailable, NotYetVisible):
                work(own, number)
        own.close()

    def sweep(own: Store, _: int) -> None:
        running = sweeps.begin(own, anew=True)
        while running.position:
            running = sweeps.advance(own, running, 1).sweep

    users = ("ada", "bob")
    works: list[tuple[Callable[[Store, int], Any], int]] = [
        *((lambda own, number, user_id=user_id: play(own, user_id, number), 60) for user_id in users for _ in range(2)),
        (lambda own, number: players.set_hidden(own, RULES, user_id=users[number % 2], hidden=number % 3 > 0), 40),
        (lambda own, number: people.erase(own, RULES, user_id=users[number % 2]), 2),
        (lambda own, number: create(own, users[number % 2]), 40),
        (sweep, 6),
    ]
    with ThreadPoolExecutor(len(works)) as executor:
        for done in [executor.submit(keep, *work) for work in works]:
            done.result()
    world = invariants.settle(raw, acted=True)
    assert world.marks.keys() == {"ada", "bob"}, "whoever is erased is not made again"


# --- The release before, a full memory, the check


def test_the_release_before_counts_nobody_twice(store: Store, raw: valkey.Valkey) -> None:
    """Its script may meet rows of hidden and erased players, and knows nothing of either."""
    hide(store)
    people.erase(store, RULES, user_id="bob")
    keys = [board.BOARD, board.PLAYERS, board.TOTALS, board.SWEEP, board.PENDING]
    former = (FORMER / "project.lua").read_text(encoding="utf-8")
    profile = raw.hgetall("user:ada")
    old = str(int(profile["revision"]) - 1)
    for revision, is_seen in ((old, False), (profile["revision"], True)):
        raw.eval(former, len(keys), *keys, "ada", revision, profile["score"], profile["gamesPlayed"], "300", "Ada")
        assert (raw.zscore(board.BOARD, "ada") == 300) is is_seen, "older states are respected"
        raw.eval(former, len(keys), *keys, "bob", old, "200", "1", "200", "Bob")
        assert raw.zscore(board.BOARD, "bob") is None
        games, score = raw.hmget(board.TOTALS, "totalGames", "totalScore")
        assert (games, score) == (("2", "400") if is_seen else ("1", "100"))
    mark = invariants.marks(raw)["bob"]
    raw.eval(former, len(keys), *keys, "bob", mark["revision"], "", "", "", "")
    assert raw.hget(board.PLAYERS, "bob") is None, "it takes the row of who has no profile for a ghost's"
    world = invariants.settle(raw, damaged=True)
    assert world.board == {"cleo": 100}
    assert world.rows.keys() == {"ada", "bob", "cleo"}


def test_in_a_full_memory_whoever_asks_is_erased_and_nobody_is_half_hidden(store: Store, raw: valkey.Valkey) -> None:
    before = raw.hgetall("user:ada")
    raw.config_set("maxmemory", 1)
    try:
        for act in (hide, rename, correct):
            with pytest.raises(Unavailable):
                act(store)
            assert raw.hgetall("user:ada") == before
        erase(store)
        assert page(store) == ["bob", "cleo"]
    finally:
        raw.config_set("maxmemory", 0)
    invariants.settle(raw, acted=True)


def differences(store: Store) -> list[tuple[str, str]]:
    """What a check finds."""
    position, found, sums = audit.BEGINNING, [], audit.Sums()
    fingerprint = audit.fingerprint(store)
    while position:
        position, seen, more = audit.step(store, position)
        sums = sums.with_(seen)
        found += [*more, *(difference for player in seen for difference in audit.compare(player))]
    named = ((each.kind, each.user_id) for each in [*found, *audit.totals(fingerprint, sums)])
    return [*dict.fromkeys(named)]  # some may come twice


def test_a_check_knows_who_is_hidden_and_who_was_erased(store: Store, raw: valkey.Valkey) -> None:
    hide(store)
    people.erase(store, RULES, user_id="bob")
    invariants.rebuild(raw)
    assert differences(store) == []
    raw.zadd(board.BOARD, {"ada": 300, "bob": 5})
    assert differences(store) == [("hidden", "ada"), ("hidden", "bob")]
    raw.zrem(board.BOARD, "ada", "bob")
    row = raw.hget(board.PLAYERS, "bob")
    raw.hdel(board.PLAYERS, "bob")
    assert differences(store) == [("row", "bob")]
    raw.hset(board.PLAYERS, "bob", f"{row}Bob")
    assert differences(store) == [("row", "bob")]
    assert invariants.rebuild(raw) == 1
    assert differences(store) == []
    raw.hset("{user:bob}:erased", mapping={"ends": 5})
    assert differences(store) == [("mark", "bob")]
    raw.hdel("{user:bob}:erased", "revision")
    assert differences(store) == [("mark", "bob"), ("ghost", "bob")]
    raw.set("{user:bob}:erased", "x")
    assert differences(store) == [("mark", "bob"), ("unreadable", "bob")]


def test_a_mark_that_is_none_is_left_alone_and_stops_nobody(store: Store, raw: valkey.Valkey) -> None:
    raw.hset("{user:eve}:erased", mapping={"revision": "much", "ends": 10**11})
    raw.set("{user:fay}:erased", "x")
    report = invariants.run_reconcile(raw)
    assert (report["finished"], report["unreadable"]) == (True, 2)
    assert page(store) == ["ada", "bob", "cleo"]
    assert raw.exists("{user:eve}:erased") == raw.exists("{user:fay}:erased") == 1


def test_an_erasure_that_no_sweep_has_seen_needs_reconcile_alone(store: Store, raw: valkey.Valkey) -> None:
    with pytest.raises(Killed):
        erase(Mortal(config.settings(), 2))
    invariants.a_minute_passes(raw)
    projections.settle(store, [(due.user_id, due.intent) for due in outbox.due(store, 0, 10)])
    assert page(store) == ["bob", "cleo"]
    assert raw.zcard(invariants.PENDING) == 0
    assert projections.settle(store, [("ada", None)]) == [
        records.Projection(invariants.marks(raw)["ada"]["revision"], -1, -1, 2, "", "", 0)
    ]
