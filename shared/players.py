"""Players: the profile of each is the truth about them, and what they submit goes through here."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from shared import activity, board, clock, idempotency, outbox, profiles, projections, records, telemetry
from shared.config import Operator, Rules
from shared.idempotency import Key
from shared.problems import (
    NO_INTEGER_WITHIN,
    InvalidArguments,
    KeyReused,
    NotYetVisible,
    Problem,
    StaleAttempt,
    TooManyKeys,
    TooManySubmissions,
    Unavailable,
    UserExists,
    UserNotFound,
)
from shared.records import Act, Correction, Creation, Facts, Profile, Projection, State, Submission, User
from shared.revenue import UNREADABLE, Amount
from shared.store import Command, Script, Store, value

SUBMIT = Script("submit", writes=True)
AMEND = Script("amend", writes=True)

UNKEYED = ("", "-" * 16, 60)
"""For a submission without a key: a name, a digest, and how many seconds its receipt lives, for our own second try."""

REFUSALS: dict[str, type[UserNotFound | UserExists | KeyReused | StaleAttempt]] = {
    "missing": UserNotFound,
    "taken": UserExists,
    "reused": KeyReused,
    "stale": StaleAttempt,
}
BROKEN_RULES = {
    "outside": NO_INTEGER_WITHIN,
    "below": "would become lower than {}, the lowest score allowed",
    "above": "would become higher than {}, the highest score allowed",
    "step": "would change by more than {}, the largest change allowed",
    "games": "cannot be counted: the player has {} games, the most there can be",
}


class Next(TypedDict):
    """What it takes to pass the player directly above: the score, and how many points are missing."""

    score: int
    points: int


class Receipt(TypedDict):
    """What a submission did, and where the player stands now: nowhere, and None, if they are hidden. `previousRank` is
    None in a replay as well."""

    submissionId: str
    operator: Act
    applied: bool
    previousScore: int
    score: int
    delta: int
    previousRank: int | None
    rank: int | None
    totalPlayers: int
    percentile: float | None
    next: Next | None


class Submitted(NamedTuple):
    """An accepted submission; `replayed` if an earlier request with its key had done it."""

    user: User
    receipt: Receipt
    replayed: bool


class Change(NamedTuple):
    """Whether a player was hidden before, and whether they are now."""

    before: bool
    after: bool


def find(store: Store, user_id: str) -> User:
    """A player's profile, in one round trip. Raises UserNotFound."""
    (values,) = store.ask(("HMGET", profiles.profile_key(user_id), *records.USER_FIELDS))
    profile = dict(zip(records.USER_FIELDS, values, strict=True))
    if profile["username"] is None:
        raise UserNotFound
    return records.user(user_id, profile)


def create(
    store: Store,
    rules: Rules,
    key: Key | None,
    *,
    user_id: str | None = None,
    score: int | None = None,
    **fields: str,
) -> Submitted:
    """A new player with the fields of a Creation, ranked at once, in two round trips. Without a user_id they get a UUID
    that follows from the key if there is one; without a score they get the rules' starting score.

    So a key makes one player at most: once its receipt is gone, the id is taken, even if the player was erased since.
    Raises UserExists, KeyReused, and InvalidArguments for a score that breaks the rules.
    """
    chosen = user_id or (key.made_id if key else str(uuid.uuid4()))
    if score is None:
        score = rules.starting_score
    return _submit(store, rules, key, chosen, "create", score, Creation(chosen, **fields))


def submit(
    store: Store,
    rules: Rules,
    key: Key | None,
    *,
    user_id: str,
    score: int,
    operator: Operator = "set",
    earned: Amount | None = None,
) -> Submitted:
    """Applies a score to a player's and counts a game, in two round trips: the profile, then the board. What the game
    has `earned` is counted once the profile has changed.

    Raises UserNotFound, KeyReused, TooManySubmissions, TooManyKeys, and InvalidArguments for a result that breaks the
    rules: then nothing has changed. Raises Unavailable when nobody knows whether it was applied, NotYetVisible when it
    was but the board lags behind.
    """
    return _submit(store, rules, key, user_id, operator, score, earned=earned)


def correct(
    store: Store,
    rules: Rules,
    key: Key | None,
    *,
    user_id: str,
    score: int,
    best_score: int | None = None,
) -> Submitted:
    """Puts a player's score right, and the best score with it, in two round trips. No game is counted, nobody is
    active, and the change may be of any size. Without a best score it stays, or becomes the score if that is higher.

    Raises as `submit` does, and InvalidArguments for a best score below the score.
    """
    if best_score is not None and not score <= best_score <= rules.score_max:
        detail = NO_INTEGER_WITHIN.format(score, rules.score_max)
        raise InvalidArguments([{"name": "bestScore", "in": "body", "detail": detail}])
    best = Correction("" if best_score is None else best_score)
    return _submit(store, rules, key, user_id, "correct", score, best)


def amend(store: Store, rules: Rules, *, user_id: str, username: str | None = None, email: str | None = None) -> User:
    """A player with another name or e-mail address, on the board at once, in two round trips. None leaves one as it is,
    an empty address takes it away.

    Raises UserNotFound, Unavailable when nobody knows whether it was done, NotYetVisible when it was but the board lags
    behind.
    """
    given = {"username": username, "email": email}
    _, profile = _amend(store, rules, user_id, {name: text for name, text in given.items() if text is not None})
    return records.user(user_id, profile._asdict())


def set_hidden(store: Store, rules: Rules, *, user_id: str, hidden: bool) -> Change:
    """Hides a player, or shows them again, in two round trips. Whoever is hidden is neither on the board nor in its
    totals, except that the high score may be theirs until a sweep has ended that began after this.

    Raises as `amend` does.
    """
    was, profile = _amend(store, rules, user_id, {"hidden": "1" if hidden else ""})
    return Change(before=bool(was), after=bool(profile.hidden))


def carry_out(store: Store, rules: Rules, intent: str, sent_milliseconds: int, command: Command) -> list[Any]:
    """Sends an attempt's intent, and the command that does it in the player's slot, in one round trip: the reply, if
    it says that it was done. Else the refusal is raised, and the intent cleared if nothing can come of it any more.
    """
    _, reply = store.exchange(outbox.add_command(intent, sent_milliseconds), command)
    done: list[Any] = value(reply)
    if done[0] not in ("done", "replayed"):
        if store.repeated:  # the first try may still arrive, or has succeeded: reconcile clears its intent
            raise StaleAttempt if done[0] == "stale" else Unavailable
        with contextlib.suppress(Unavailable):  # the refusal stands; reconcile clears what this could not
            outbox.clear(store, intent)
        raise _refusal(rules, done[0], done[1:])
    return done


def project(store: Store, state: State, intent: str, active_key: str | None = None) -> Projection:
    """Brings the board to the state. It may be past that already: by a later submission, or because this slot has lost
    its last writes while the clock stood still; then the profile gets a newer revision, so that its owner sees it.
    Raises NotYetVisible when the board cannot be reached: what was done is done."""
    try:
        projection = board.project(store, state, intent, active_key)
        if int(projection.row_revision) > int(state.revision):
            (settled,) = projections.settle(store, [(state.user_id, None)])
            return settled._replace(index_before=projection.index_before) if settled else projection
    except Unavailable as problem:
        raise NotYetVisible from problem
    return projection


def _submit(
    store: Store,
    rules: Rules,
    key: Key | None,
    user_id: str,
    operator: str,
    amount: int,
    more: Creation | Correction | tuple[()] = (),
    earned: Amount | None = None,
) -> Submitted:
    is_absolute = operator in ("create", "set", "correct")
    if not key and is_absolute and not rules.score_min <= amount <= rules.score_max:
        raise _refusal(rules, "outside", (str(rules.score_min), str(rules.score_max)))
    attempt = idempotency.attempt()
    intent = outbox.intent(user_id, attempt)
    kept = profiles.receipts_keys(user_id) if key else [profiles.unkeyed_receipt_key(user_id, attempt)]
    submission = _submission(rules, key, operator, amount, attempt)
    keys = [profiles.profile_key(user_id), profiles.mark_key(user_id), *kept]
    command = SUBMIT.command(keys, *submission, *more)
    reply = carry_out(store, rules, intent, submission.sent_milliseconds, command)
    outcome = records.outcome(reply)
    replayed = outcome.word == "replayed" and outcome.facts.attempt != attempt
    if not replayed:  # this attempt has done it, whatever becomes of the board and of the reply
        _count(operator, outcome.facts, earned)
    projection = project(
        store,
        records.state_of(user_id, outcome.profile),
        intent,
        None if more else activity.day_key(submission.sent if outcome.word == "done" else outcome.profile.lastActive),
    )
    _look_for(store, user_id, outcome.profile, projection)
    return Submitted(
        records.user(user_id, outcome.profile._asdict()),
        _receipt(user_id, submission.key_name, outcome.facts, projection, replayed=replayed),
        replayed,
    )


def _amend(store: Store, rules: Rules, user_id: str, given: Mapping[str, str]) -> tuple[str, Profile]:
    """Gives fields of a profile other values: whether the player was hidden before, '' for no, and the profile now."""
    attempt, sent = idempotency.attempt(), time.time_ns() // 1_000_000
    intent = outbox.intent(user_id, attempt)
    pairs = [text for pair in given.items() for text in pair]
    command = AMEND.command(
        [profiles.profile_key(user_id), profiles.unkeyed_receipt_key(user_id, attempt)],
        *(sent, outbox.FENCE_SECONDS * 1000, UNKEYED[-1], len(pairs)),
        *pairs,
        *Profile._fields,
    )
    _, was, *stored = carry_out(store, rules, intent, sent, command)
    profile = Profile(*stored)
    _look_for(store, user_id, profile, project(store, records.state_of(user_id, profile), intent))
    return was, profile


def _look_for(store: Store, user_id: str, profile: Profile, projection: Projection) -> None:
    """Raises Unavailable if a player is not on the board though not hidden: the profile was lost or erased meanwhile,
    and what was done with it."""
    if projection.index_now < 0 and not (profile.hidden and projection.row_revision == profile.revision):
        (hidden,) = store.ask(("HGET", profiles.profile_key(user_id), "hidden"))
        if not hidden:
            raise Unavailable


def _submission(rules: Rules, key: Key | None, operator: str, amount: int, attempt: str) -> Submission:
    """What the script is told of an attempt that is made now."""
    name, digest, life = (key.name, key.digest, rules.receipt_seconds) if key else UNKEYED
    sent = time.time_ns() // 1_000_000
    return Submission(
        operator=operator,
        amount=amount,
        score_min=rules.score_min,
        score_max=rules.score_max,
        score_step_max="" if rules.score_step_max is None else rules.score_step_max,
        points_per_level=records.POINTS_PER_LEVEL,
        attempt=attempt,
        sent_milliseconds=sent,
        fence_milliseconds=outbox.FENCE_SECONDS * 1000,
        sent=clock.text(sent),
        key_name=name,
        digest=digest,
        receipt_seconds=life,
        receipts_max=rules.receipts_max,
        interval_microseconds=rules.pace.interval_microseconds,
        burst=rules.pace.burst,
    )


def _count(operator: str, facts: Facts, earned: Amount | None) -> None:
    """Counts what a submission has done: once for each, by the attempt that did it. A correction is no game."""
    if operator == "correct":
        return
    if operator == "create":
        telemetry.add("PlayersCreated")
        return
    telemetry.add("Submissions")
    telemetry.add("ScoreVolume", abs(int(facts.score_then) - int(facts.previous_score)))
    if earned == UNREADABLE:
        telemetry.add("RevenueUnreadable")
    elif earned:
        telemetry.add("Revenue", earned.amount, earned.currency)


def _refusal(rules: Rules, word: str, bounds: Sequence[str]) -> Problem:
    if word in REFUSALS:
        return REFUSALS[word]()
    if word == "many":
        return TooManyKeys(rules.receipts_max, int(bounds[0]))
    if word == "often":
        return TooManySubmissions(rules.pace.per_minute, int(bounds[0]))
    return InvalidArguments([{"name": "score", "in": "body", "detail": BROKEN_RULES[word].format(*bounds)}])


def _receipt(user_id: str, name: str, facts: Facts, projection: Projection, *, replayed: bool) -> Receipt:
    previous, score = int(facts.previous_score), int(facts.score_then)
    rank = projection.index_now + 1 or None
    above = None
    if projection.score_above:
        passing = records.whole_score(projection.score_above) + 1
        above = Next(score=passing, points=passing - records.whole_score(projection.board_score))
    return {
        "submissionId": idempotency.derived_id(user_id, name, facts.attempt),
        "operator": facts.operator,
        "applied": facts.operator != "best" or score != previous,
        "previousScore": previous,
        "score": score,
        "delta": score - previous,
        "previousRank": None if replayed or not rank or projection.index_before < 0 else projection.index_before + 1,
        "rank": rank,
        "totalPlayers": projection.total_players,
        "percentile": board.percentile(rank, projection.total_players) if rank else None,
        "next": above,
    }
