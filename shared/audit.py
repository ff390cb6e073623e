"""The audit: compares the board with the profiles and writes nothing.

It does not see everything at one moment: somebody who plays meanwhile may differ between the two sides. So whoever
differs is looked at again a moment later, and if neither side has moved and they are still different, they really are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from shared import board, outbox, profiles, projections, records
from shared.records import State
from shared.store import Command, ReplyError, Store, value

SLICE = 500
FORGOTTEN_SECONDS = 86_400
"""A generation of receipts, or a mark, is dropped at most this long after its end: a sweep of many players takes its
time."""

TOTALS = ("totalGames", "totalScore", "highScore")

INTENTS = {"overdue": (outbox.due, "seconds old"), "early": (outbox.early, "seconds ahead")}
PHASES = ("profiles", "rows", "members", *INTENTS)
BEGINNING = f"{PHASES[0]} 0"
POSITION = re.compile(f"(?:{'|'.join(PHASES)}) [0-9]{{1,20}}")
"""How far an audit is: its phase, and a cursor within it; for intents, how many it has passed."""


class Player(NamedTuple):
    """A player on both sides at one moment: the state of the profile, or of the mark in its place, the text of the row,
    the score on the board.

    None where there is none; if profile or mark cannot be read, `state` says what is there instead.
    """

    user_id: str
    state: State | str | None
    row: str | None
    score: str | None


class Difference(NamedTuple):
    """What is wrong: its `kind`, whose it is ('' for the game's), what should be there and what is, '' for nothing."""

    kind: str
    user_id: str
    expected: str
    found: str


class Sums(NamedTuple):
    """What the totals should be, over the profiles counted so far."""

    players: int = 0
    games: int = 0
    score: int = 0
    high_score: int | None = None

    def with_(self, players: Sequence[Player]) -> Sums:
        """These sums with some more players: those whom the board has."""
        states = [player.state for player in players if isinstance(player.state, State) and player.state.best_score]
        part = Sums(
            len(states),
            sum(int(state.games_played) for state in states),
            sum(int(state.score) for state in states),
            max((int(state.best_score) for state in states), default=None),
        )
        return self.and_(part)

    def and_(self, part: Sums) -> Sums:
        """These sums and those of some more players."""
        highest = [score for score in (self.high_score, part.high_score) if score is not None]
        return Sums(
            self.players + part.players,
            self.games + part.games,
            self.score + part.score,
            max(highest, default=None),
        )


class Step(NamedTuple):
    """A slice: the position to go on from, '' at the end; the players as they are; and what should not be there."""

    position: str
    players: list[Player]
    differences: list[Difference]


class Fingerprint(NamedTuple):
    """The totals, how many players are on the board and how many intents there are: every write moves one of them."""

    totals: list[str | None]
    members: int
    pending: int


def fingerprint(store: Store) -> Fingerprint:
    """What shows, compared with a later one, whether anything was written in between; in one round trip."""
    totals, members, pending = store.ask(
        ("HMGET", board.TOTALS, *TOTALS), ("ZCARD", board.BOARD), ("ZCARD", board.PENDING)
    )
    return Fingerprint(totals, members, pending)


def step(store: Store, position: str) -> Step:
    """The next slice from a position on: everybody who has a profile or was erased, and generations of receipts and
    marks that nobody can read or that a sweep should have dropped long ago; the rows and the members of the board whose
    players have no profile; the intents that reconcile should have settled by now, and those from the future, which it
    cannot see yet. Some may come twice. Four round trips at most.
    """
    phase, cursor = position.split(" ")
    players: list[Player] = []
    differences: list[Difference] = []
    if phase == "profiles":
        following, user_ids, receipts_of, erased = profiles.scan(store, cursor, SLICE)
        players = look(store, [*user_ids, *erased])
        owned = [(user_id, key) for user_id in receipts_of for key in profiles.receipts_keys(user_id)]
        differences = _ended(store, "receipts", "generation", ("born", "ends"), owned)
        marks = [(user_id, profiles.mark_key(user_id)) for user_id in erased]
        differences += _ended(store, "mark", "mark", ("revision", "ends"), marks)
    elif phase == "rows":
        following, rows = board.scan_rows(store, cursor, SLICE)
        players = _gone(store, [user_id for user_id, _ in rows])
    elif phase == "members":
        following, user_ids = board.scan_members(store, cursor, SLICE)
        players = [player for player in _gone(store, user_ids) if player.row is None]
    else:
        (find, text), skipped = INTENTS[phase], int(cursor)
        found = find(store, skipped, SLICE)
        differences = [Difference("intent", due.user_id, "", f"{abs(due.age_seconds):.0f} {text}") for due in found]
        following = str(skipped + len(found)) if found else "0"
    if following != "0":
        return Step(f"{phase} {following}", players, differences)
    ended = PHASES.index(phase) + 1
    return Step(f"{PHASES[ended]} 0" if ended < len(PHASES) else "", players, differences)


def look(store: Store, user_ids: Sequence[str]) -> list[Player]:
    """Some players as they are now, in one round trip; in two, if some have no profile."""
    if not user_ids:
        return []
    states = [projections.state_command(user_id) for user_id in user_ids]
    beside: list[Command] = [("HMGET", board.PLAYERS, *user_ids), ("ZMSCORE", board.BOARD, *user_ids)]
    *replies, rows, scores = store.exchange(*states, *beside)
    players = [
        Player(user_id, _state(user_id, reply), row, score)
        for user_id, reply, row, score in zip(user_ids, replies, value(rows), value(scores), strict=True)
    ]
    absent = [index for index, player in enumerate(players) if player.state is None]
    marks = store.exchange(*(projections.mark_command(user_ids[index]) for index in absent)) if absent else []
    for index, reply in zip(absent, marks, strict=True):
        players[index] = players[index]._replace(state=_state(user_ids[index], reply, records.remains))
    return players


def compare(player: Player) -> list[Difference]:
    """How a player differs between the two sides."""
    user_id, state, row, score = player
    if isinstance(state, str):
        return [Difference("unreadable", user_id, "a profile", state)]
    if state is None:
        if row is None and score is None:
            return []
        return [Difference("ghost", user_id, "", f"score {score}, row {row!r}")]
    found = []
    if not state.best_score:
        if score is not None:
            found.append(Difference("hidden", user_id, "", f"score {score}"))
    elif score is None:
        found.append(Difference("missing", user_id, state.score, ""))
    elif float(score) != float(state.score):
        found.append(Difference("score", user_id, state.score, score))
    return found + _compare_row(state, row)


def totals(before: Fingerprint, sums: Sums) -> list[Difference]:
    """How the totals differ from the sums over the profiles."""
    expected = (sums.games, sums.score, sums.high_score or 0)
    return [
        Difference("totals", "", f"{name} {total}", f"{name} {found or ''}".rstrip())
        for name, total, found in zip(TOTALS, expected, before.totals, strict=True)
        if (found or "0") != str(total)
    ]


def _ended(
    store: Store, kind: str, word: str, names: tuple[str, str], owned: Sequence[tuple[str, str]]
) -> list[Difference]:
    """What is wrong with hashes that end: each has two fields of these names, the last of which says when."""
    if not owned:
        return []
    *replies, (now, _) = store.exchange(*(("HMGET", key, *names) for _, key in owned), ("TIME",))
    return [
        difference
        for (user_id, _), reply in zip(owned, replies, strict=True)
        for difference in _compare_end(kind, word, user_id, reply, int(now))
    ]


def _compare_end(kind: str, word: str, user_id: str, reply: Any, now: int) -> Iterator[Difference]:
    expected = "a generation of receipts" if kind == "receipts" else f"a {word}"
    if isinstance(reply, ReplyError) or not all(text is None or _is_whole(text) for text in reply):
        yield Difference(kind, user_id, expected, "something else")
    elif (None in reply) != (reply == [None, None]):
        yield Difference(kind, user_id, expected, "half of one")
    elif None not in reply and now - int(reply[1]) > FORGOTTEN_SECONDS:
        yield Difference(kind, user_id, "", f"a {word} that ended {now - int(reply[1])} seconds ago")


def _compare_row(state: State, text: str | None) -> list[Difference]:
    user_id, row = state.user_id, records.row(text)
    if row is None or not all(map(_is_whole, row[:4])):
        return [Difference("row", user_id, "a row", repr(text) if text else "")]
    if row.revision != state.revision:
        kind = "older" if int(row.revision) < int(state.revision) else "newer"
        return [Difference(kind, user_id, f"revision {state.revision}", f"revision {row.revision}")]
    expected, found = (" ".join((side.score, side.games_played, side.shown)) for side in (state, row))
    return [] if expected == found else [Difference("row", user_id, repr(expected), repr(found))]


def _state(
    user_id: str, reply: Any, read: Callable[[str, Sequence[Any]], State | None] = records.state
) -> State | str | None:
    if isinstance(reply, ReplyError):
        return "a value of another type"
    state = read(user_id, reply)
    if state and not state.score:
        return None
    if state and all(map(_is_whole, (state.revision, state.score, state.games_played, state.best_score or "0"))):
        return state
    return "a hash that is not a profile" if read is records.state else "a hash that is not a mark"


def _is_whole(text: str) -> bool:
    """Whether this is a number as our own scripts write it: Python does not read one with thousands of digits."""
    return len(text) <= 20 and text.isascii() and text.removeprefix("-").isdecimal()


def _gone(store: Store, user_ids: Sequence[str]) -> list[Player]:
    """Those of some players who have neither a profile nor a mark: whoever has was met among the profiles."""
    if not user_ids:
        return []
    replies = store.ask(*(("EXISTS", profiles.profile_key(user_id)) for user_id in user_ids))
    absent = [user_id for user_id, exists in zip(user_ids, replies, strict=True) if not exists]
    return [player for player in look(store, absent) if not isinstance(player.state, State)]
