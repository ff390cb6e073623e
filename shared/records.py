"""Records: what is kept of a player, and what goes into and comes out of the two scripts that change it.

The fields of each, their order and their text are here and nowhere else in Python. The scripts have lists of their own,
which a test compares with these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

from shared.config import LARGEST_SCORE, Operator

POINTS_PER_LEVEL = 750

Act = Operator | Literal["create", "correct"]
"""Whatever submit.lua does to a score."""


class User(TypedDict):
    """A profile as its owner sees it; no `email` where there is none. Times are ISO-8601 in UTC with milliseconds."""

    userId: str
    username: str
    email: NotRequired[str]
    score: int
    level: int
    gamesPlayed: int
    createdAt: str
    lastActive: str


class Entry(TypedDict):
    """A player as everybody sees them. `rank` is 1-based."""

    rank: int
    userId: str
    username: str
    score: int
    level: int


class Profile(NamedTuple):
    """A player's hash, by its own names and without the userId; numbers as decimal text. A player is `hidden` if there
    is any text in it, and has no e-mail address if there is none.

    What players tell us about themselves comes last, in the order of a Creation. An empty email is none.
    """

    revision: str
    score: str
    gamesPlayed: str
    bestScore: str
    level: str
    createdAt: str
    lastActive: str
    hidden: str | None
    username: str
    email: str | None


class Submission(NamedTuple):
    """What submit.lua is told of a submission; an empty `score_step_max` allows any change, and an interval
    of 0 any pace."""

    operator: str
    amount: int
    score_min: int
    score_max: int
    score_step_max: int | str
    points_per_level: int
    attempt: str
    sent_milliseconds: int
    fence_milliseconds: int
    sent: str
    key_name: str
    digest: str
    receipt_seconds: int
    receipts_max: int
    interval_microseconds: int
    burst: int


class Creation(NamedTuple):
    """What submit.lua is told as well if the player is new; an empty `email` is none."""

    user_id: str
    username: str
    email: str = ""


class Correction(NamedTuple):
    """What submit.lua is told as well if a score is put right; an empty `best_score` leaves the best score."""

    best_score: int | str


class Facts(NamedTuple):
    """What a receipt keeps of a submission; numbers as decimal text."""

    attempt: str
    operator: Act
    previous_score: str
    score_then: str


class Outcome(NamedTuple):
    """What submit.lua replies if the word is `done` or `replayed`: the facts, and the profile as it is now."""

    word: str
    facts: Facts
    profile: Profile


class State(NamedTuple):
    """What project.lua is told of a profile, at a revision; numbers as decimal text.

    `shown` is what everybody sees besides the score. An empty score means that there is no profile. An empty best score
    means that there is a row and nothing else: the player is hidden, or was erased if nothing is shown either.
    """

    user_id: str
    revision: str
    score: str
    games_played: str
    best_score: str
    shown: str


class Row(NamedTuple):
    """What stands beside a member of the board: the state that was projected, and the sweep that last counted it. It
    has no score and no games if the player is hidden, and shows nothing if they were erased."""

    revision: str
    score: str
    games_played: str
    counted_in: str
    shown: str


class Projection(NamedTuple):
    """What project.lua replies: where the player is now. Indexes are 0-based from the top, -1 for nowhere; scores are
    text, '' for none.

    `row_revision` is '0' if there is no row; `mended` is 1 if the board was different before.
    """

    row_revision: str
    index_before: int
    index_now: int
    total_players: int
    board_score: str
    score_above: str
    mended: int


SHOWN = ("username",)
"""The profile's fields that everybody sees besides the score: one text in a state and in a row, one line for each."""

STATE_FIELDS = ("revision", "score", "gamesPlayed", "bestScore", *SHOWN, "hidden")
"""The profile's fields from which `state` makes a state."""

MARK_FIELDS = ("revision",)
"""The fields of a mark from which `remains` makes a state."""

USER_FIELDS = tuple(User.__annotations__)[1:]
"""The profile's fields from which `user` makes a user."""

STATE = r"-?[0-9]{1,16} -?[0-9]{1,16} [0-9]{1,16} -?[0-9]{1,16} [^\ud800-\udfff]*\Z"
"""A state's values as a submission writes them, joined by spaces; bytes that are not text are read as surrogates."""

REVISION = r"[0-9]{1,16}\Z"
"""The revision of a mark."""

ROW = r"(?s)([0-9]{1,16}) (-?[0-9]+) ([0-9]+) ([0-9]+) (.*)\Z"
"""A row as project.lua writes and reads it."""


def outcome(reply: Sequence[Any]) -> Outcome:
    """The reply of submit.lua to a submission that it has accepted, now or before."""
    word, *values = reply
    facts = len(Facts._fields)
    return Outcome(word, Facts(*values[:facts]), Profile(*values[facts:]))


def state(user_id: str, values: Sequence[Any]) -> State | None:
    """A player's state from the values of STATE_FIELDS; None for a hash that is not one of our profiles."""
    if set(values) == {None}:
        return _absent(user_id)
    *values, hidden = values
    if None in values or not re.match(STATE, " ".join(values)):
        return None
    revision, score, games_played, best_score, *shown = values
    return _state(user_id, revision, score, games_played, best_score, shown, hidden)


def state_of(user_id: str, profile: Profile) -> State:
    """A player's state from a whole profile."""
    shown = [getattr(profile, name) for name in SHOWN]
    return _state(
        user_id, profile.revision, profile.score, profile.gamesPlayed, profile.bestScore, shown, profile.hidden
    )


def erased(user_id: str, revision: str) -> State:
    """The state of somebody who was erased, at the revision of their mark."""
    return State(user_id, revision, "0", "0", "", "")


def remains(user_id: str, values: Sequence[Any]) -> State | None:
    """The state of a player without a profile from the values of MARK_FIELDS; None for a hash that is not our mark."""
    (revision,) = values
    if revision is None:
        return _absent(user_id)
    return erased(user_id, revision) if re.match(REVISION, revision) else None


def is_erased(state: State) -> bool:
    """Whether this is the state of somebody who was erased."""
    return bool(state.score) and not state.shown


def _absent(user_id: str) -> State:
    return State(user_id, "0", "", "", "", "")


def _state(
    user_id: str,
    revision: str,
    score: str,
    games_played: str,
    best_score: str,
    shown: Sequence[str],
    hidden: str | None,
) -> State:
    if hidden:
        score, games_played, best_score = "0", "0", ""
    return State(user_id, revision, score, games_played, best_score, "\n".join(shown))


def user(user_id: str, profile: Mapping[str, Any]) -> User:
    """A player's profile, which needs at least USER_FIELDS, as its owner sees it."""
    told: User = {
        "userId": user_id,
        "username": profile["username"],
        "email": profile["email"],
        "score": int(profile["score"]),
        "level": int(profile["level"]),
        "gamesPlayed": int(profile["gamesPlayed"]),
        "createdAt": profile["createdAt"],
        "lastActive": profile["lastActive"],
    }
    if not profile["email"]:
        del told["email"]
    return told


def row(text: str | None) -> Row | None:
    """A row from its text; None if there is none, or if it is something else."""
    found = re.match(ROW, text or "")
    return Row(*found.groups()) if found else None


def entries(first: int, flat: Sequence[str], rows: Sequence[str | None]) -> list[Entry]:
    """Entries from index `first` on: a sorted set's flat reply, and the texts of the rows beside it."""
    return [
        {
            "rank": rank,
            "userId": user_id,
            "username": text.split(" ", 4)[-1] if text else "",
            "score": (score := whole_score(on_board)),
            "level": level(score),
        }
        for rank, (user_id, on_board, text) in enumerate(zip(flat[::2], flat[1::2], rows, strict=True), first + 1)
    ]


def whole_score(text: str) -> int:
    """A score from the sorted set: whole, unless somebody else wrote it and no sweep has come by yet."""
    try:
        return int(text)
    except ValueError:
        return round(max(-LARGEST_SCORE, min(float(text), LARGEST_SCORE)))


def level(score: int) -> int:
    """A score's level: 1 from the start, one more every 750 points."""
    return score // POINTS_PER_LEVEL + 1 if score > 0 else 1
