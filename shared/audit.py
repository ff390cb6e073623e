"""The audit: compares the board with the profiles and writes nothing.

What it sees is not one moment: somebody who plays while it looks may stand differently on the two sides. Who is asked
about a second time a moment later, and has neither moved nor become equal, differs indeed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from shared import board, outbox, profiles
from shared.store import Command, ReplyError, Store, value

SLICE = 500
FORGOTTEN_SECONDS = 86_400
"""How long after its end a generation of receipts is dropped at the latest: a sweep of many players takes its time."""

TOTALS = ("totalGames", "totalScore", "highScore")


class Sight(NamedTuple):
    """A player on both sides at one moment: the profile, the row beside the board, the score on the board.

    None where there is none; a profile that cannot be read is the name of what it holds instead.
    """

    user_id: str
    profile: profiles.State | str | None
    row: str | None
    score: str | None


class Difference(NamedTuple):
    """What is wrong: `kind`, whose it is ('' for the game's), what it should be and what it is, '' for nothing."""

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

    def with_(self, sights: Sequence[Sight]) -> Sums:
        """These and some more players."""
        states = [sight.profile for sight in sights if isinstance(sight.profile, profiles.State)]
        return Sums(
            self.players + len(states),
            self.games + sum(int(state.games_played) for state in states),
            self.score + sum(int(state.score) for state in states),
            max(
                [*([] if self.high_score is None else [self.high_score]), *(int(state.best_score) for state in states)],
                default=None,
            ),
        )


class Fingerprint(NamedTuple):
    """The totals, how many players are on the board and how many intents there are: every write moves one of them."""

    totals: tuple[str | None, ...]
    members: int
    pending: int


def fingerprint(store: Store) -> Fingerprint:
    """What tells whether something was written between two looks, in one round trip."""
    totals, members, pending = store.ask(
        ("HMGET", board.TOTALS, *TOTALS), ("ZCARD", board.BOARD), ("ZCARD", board.PENDING)
    )
    return Fingerprint(tuple(totals), members, pending)


def with_profile(store: Store) -> Iterator[list[Sight]]:
    """Everybody who has a profile, a slice at a time; some perhaps twice. Two round trips a slice."""
    cursor = ""
    while cursor != "0":
        cursor, user_ids, _ = profiles.scan(store, cursor or "0", SLICE)
        yield look(store, user_ids)


def without_profile(store: Store) -> Iterator[list[Sight]]:
    """Slices of the rows, and of the board's members that have none, less all who have a profile. Some perhaps twice.

    Three round trips a slice.
    """
    cursor = ""
    while cursor != "0":
        cursor, rows = board.scan_rows(store, cursor or "0", SLICE)
        yield look(store, _absent(store, [user_id for user_id, _ in rows]))
    cursor = ""
    while cursor != "0":
        cursor, user_ids = board.scan_members(store, cursor or "0", SLICE)
        yield [sight for sight in look(store, _absent(store, user_ids)) if sight.row is None]


def look(store: Store, user_ids: Sequence[str]) -> list[Sight]:
    """Some players as they are now, in one round trip."""
    if not user_ids:
        return []
    readings = [profiles.reading(user_id) for user_id in user_ids]
    beside: list[Command] = [("HMGET", board.PLAYERS, *user_ids), ("ZMSCORE", board.BOARD, *user_ids)]
    *replies, rows, scores = store.exchange(*readings, *beside)
    return [
        Sight(user_id, _profile(user_id, reply), row, score)
        for user_id, reply, row, score in zip(user_ids, replies, value(rows), value(scores), strict=True)
    ]


def compare(sight: Sight) -> list[Difference]:
    """How a player stands differently on the two sides."""
    user_id, profile, row, score = sight
    if isinstance(profile, str):
        return [Difference("unreadable", user_id, "a profile", profile)]
    if profile is None:
        if row is None and score is None:
            return []
        return [Difference("ghost", user_id, "", f"score {score}, row {row!r}")]
    found = []
    if score is None:
        found.append(Difference("missing", user_id, profile.score, ""))
    elif float(score) != float(profile.score):
        found.append(Difference("score", user_id, profile.score, score))
    return found + _compare_row(profile, row)


def totals(before: Fingerprint, sums: Sums) -> list[Difference]:
    """How the totals are different from what the profiles sum up to."""
    expected = (sums.games, sums.score, sums.high_score or 0)
    return [
        Difference("totals", "", f"{name} {should}", f"{name} {found or ''}".rstrip())
        for name, should, found in zip(TOTALS, expected, before.totals, strict=True)
        if (found or "0") != str(should)
    ]


def overdue(store: Store) -> Iterator[Difference]:
    """The intents that reconcile should have settled by now, and those from the future, which it cannot see yet."""
    for find, text in ((outbox.due, "seconds old"), (outbox.early, "seconds ahead")):
        skipped = 0
        while found := find(store, skipped, SLICE):
            yield from (
                Difference("intent", entry.user_id, "", f"{abs(entry.age_seconds):.0f} {text}") for entry in found
            )
            skipped += len(found)


def receipts(store: Store) -> Iterator[Difference]:
    """Generations of receipts that nobody can read, or that a sweep should have dropped long ago. Some perhaps twice.

    Two round trips a slice.
    """
    cursor = ""
    while cursor != "0":
        cursor, _, user_ids = profiles.scan(store, cursor or "0", SLICE)
        owned = [(user_id, key) for user_id in user_ids for key in profiles.receipts_keys(user_id)]
        if owned:
            *replies, (now, _) = store.exchange(*(("HMGET", key, "born", "ends") for _, key in owned), ("TIME",))
            for (user_id, _), reply in zip(owned, replies, strict=True):
                yield from _compare_receipts(user_id, reply, int(now))


def _compare_receipts(user_id: str, reply: Any, now: int) -> Iterator[Difference]:
    if isinstance(reply, ReplyError) or not all(text is None or _is_whole(text) for text in reply):
        yield Difference("receipts", user_id, "a generation of receipts", "something else")
    elif (None in reply) != (reply == [None, None]):
        yield Difference("receipts", user_id, "a generation of receipts", "half of one")
    elif None not in reply and now - int(reply[1]) > FORGOTTEN_SECONDS:
        yield Difference("receipts", user_id, "", f"a generation that ended {now - int(reply[1])} seconds ago")


def _compare_row(profile: profiles.State, row: str | None) -> list[Difference]:
    user_id = profile.user_id
    parts = row.split(" ", 4) if row else []
    if len(parts) != 5 or not all(map(_is_whole, parts[:4])):
        return [Difference("row", user_id, "a row", repr(row) if row else "")]
    revision, score, games, _, username = parts
    if revision != profile.revision:
        kind = "older" if int(revision) < int(profile.revision) else "newer"
        return [Difference(kind, user_id, f"revision {profile.revision}", f"revision {revision}")]
    should, found = (profile.score, profile.games_played, profile.username), (score, games, username)
    return [] if should == found else [Difference("row", user_id, repr(" ".join(should)), repr(" ".join(found)))]


def _profile(user_id: str, reply: Any) -> profiles.State | str | None:
    if isinstance(reply, ReplyError):
        return "a value of another type"
    state = profiles.state(user_id, reply)
    if state and not state.score:
        return None
    if state and all(map(_is_whole, (state.revision, state.score, state.games_played, state.best_score))):
        return state
    return "a hash that is none"


def _is_whole(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdecimal()


def _absent(store: Store, user_ids: Sequence[str]) -> list[str]:
    if not user_ids:
        return []
    replies = store.ask(*(("EXISTS", profiles.profile_key(user_id)) for user_id in user_ids))
    return [user_id for user_id, exists in zip(user_ids, replies, strict=True) if not exists]
