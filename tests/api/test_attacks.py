"""The attacks that a review found: each succeeds where access is open, and fails where it is protected.

They go over HTTP through the local gateway and its authorizer, with a real token; but for the filling of the memory,
which takes an hour of a clock that a test moves, and so are events on a server of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import valkey

from scripts.local import embedded_valkey
from shared import config, profiles
from tests.support import callers, invariants
from tests.support import guarded as guarding
from tests.support.api import Api
from tests.support.guarded import Guarded
from tests.support.invoking import Answer, Invoker, invoker

LEADER, EVE = "leader", "eve"
PLAYERS = {LEADER: 900, "second": 800, EVE: 10}

WANTED = ["admin", "moderator", "ada", "a-famous-player"]
"""Ids that somebody would like to have."""

KIB = 1024

Headers = Mapping[str, str]


def people(api: Api) -> None:
    """Some players, and who attacks is one of them."""
    for user_id, score in PLAYERS.items():
        api.create(userId=user_id, username=f"Name of {user_id}", email=f"{user_id}@example.com", score=score)


@pytest.fixture
def eve(guarded: Guarded, raw: valkey.Valkey) -> Callable[[str], Headers]:
    """The players, on a protected board, and the headers with which Eve comes: with her token or without one."""
    with guarding.client(guarded) as able:
        people(able)
    return lambda scope: guarded.bearer("player", EVE) if scope else {}


@pytest.fixture
def stranger(guarded: Guarded) -> Iterator[Api]:
    """A client of the protected board that sends no token by itself."""
    with contextlib.closing(Api(guarded.base_url)) as client:
        yield client


def rob(api: Api, headers: Headers) -> list[int]:
    """Everything that would take the leader's place away."""
    admin = {"reason": "A joke"}
    taken = {"userId": LEADER, "username": "Eve", "email": "eve@example.com", "score": 0}
    attempts: list[tuple[str, str, Any]] = [
        ("PUT", f"/users/{LEADER}/score", {"score": 0}),
        ("PUT", f"/users/{LEADER}/score", {"score": 900, "operator": "decrement"}),
        ("PUT", f"/users/{EVE}/score", {"score": 10**9, "operator": "best"}),
        ("PUT", f"/users/{EVE}/score", {"score": 10**9, "operator": "increment"}),
        ("POST", "/users", taken),
        ("PATCH", f"/users/{LEADER}", {"username": "Loser"}),
        ("PUT", f"/users/{LEADER}/visibility", {"hidden": True, **admin}),
        ("POST", f"/users/{LEADER}/corrections", {"score": 0, **admin}),
        ("POST", f"/users/{LEADER}/tokens", {"lifetimeSeconds": 3600}),
        ("POST", "/sessions", {"userId": LEADER}),
        ("DELETE", f"/users/{LEADER}", None),
    ]
    return [api.request(method, path, json=body, headers=headers).status_code for method, path, body in attempts]


def harvest(api: Api, headers: Headers) -> set[str]:
    """Every e-mail address but Eve's own that all pages, profiles and exports tell."""
    board = api.get("/leaderboard?limit=100", headers=headers)
    texts = [board.text]
    for entry in board.json()["leaderboard"]:
        paths = [f"/users/{entry['userId']}{path}" for path in ("", "/rank", "/nearby", "/export")]
        texts += [api.get(path, headers=headers).text for path in paths]
    return {f"{user_id}@example.com" for user_id in PLAYERS if user_id != EVE and f"{user_id}@" in "".join(texts)}


def squat(api: Api, headers: Headers) -> set[str]:
    """The ids that could be taken: those that are wanted, and any number of others."""
    made = set()
    bodies = [{"userId": user_id} for user_id in WANTED] + [{}, {}, {"score": 10**9}]
    for body in bodies:
        given = {"username": "Eve", "email": "eve@example.com", **body}
        reply = api.post("/users", json=given, headers={**headers, "Idempotency-Key": str(uuid.uuid4())})
        if reply.is_success:
            made.add(reply.json()["user"]["userId"])
    return made


def test_where_access_is_open_each_of_them_succeeds(api: Api, raw: valkey.Valkey) -> None:
    """So that nobody believes that they fail because they are badly made."""
    people(api)
    assert harvest(api, {}) == {f"{user_id}@example.com" for user_id in (LEADER, "second")}
    assert set(WANTED) < squat(api, {})
    rob(api, {})
    assert api.get(f"/users/{LEADER}").json()["user"]["score"] == 0


BOTH = pytest.mark.parametrize("scope", ["", "player"], ids=["without a token", "with a player's token"])


@BOTH
def test_nobody_robs_the_leader(scope: str, eve: Callable[[str], Headers], stranger: Api, raw: valkey.Valkey) -> None:
    before = invariants.everything(raw)
    assert set(rob(stranger, eve(scope))) == {403 if scope else 401}
    assert invariants.everything(raw) == before
    assert stranger.get("/leaderboard").json()["leaderboard"][0]["userId"] == LEADER


@BOTH
def test_nobody_harvests_addresses(scope: str, eve: Callable[[str], Headers], stranger: Api) -> None:
    assert harvest(stranger, eve(scope)) == set()


@BOTH
def test_nobody_squats_on_ids(scope: str, eve: Callable[[str], Headers], stranger: Api, raw: valkey.Valkey) -> None:
    before = invariants.everything(raw)
    assert squat(stranger, eve(scope)) == set(), "a player's token creates that player alone, who exists by now"
    assert invariants.everything(raw) == before


# Filling the memory

MINUTES = 12
"""How long the attack lasts: by then as many sessions are open as may be, and only receipts and openings grow."""

STEP_SECONDS = 10
"""How long a full burst of submissions takes to come back."""

SESSION_BYTES, OPENING_BYTES, RECEIPT_BYTES, OTHER_BYTES = 4400, 150, 90, 8 * KIB
"""What docs/security.md counts for a session with as much data as there may be, for what is kept of its opening, for a
receipt, and for the rest: what remembers a minute's submissions, and a row of the board."""


@pytest.fixture
def small(own_server: embedded_valkey.Server) -> Iterator[valkey.Valkey]:
    """A server with room for little more than what one token may store."""
    with valkey.Valkey(host=own_server.host, port=own_server.port, decode_responses=True) as client:
        client.flushall()
        client.config_set("maxmemory-policy", "volatile-lru")
        yield client
        client.config_set("maxmemory", 0)


def sizes(raw: valkey.Valkey) -> dict[str, int]:
    """The bytes of each key with its value."""
    return {key: raw.memory_usage(key, samples=0) or 0 for key in raw.scan_iter(count=1000)}


def time_passes(raw: valkey.Valkey, seconds: int) -> None:
    """For a player's pace: as if it had been counted so much earlier."""
    _, pace = profiles.record_keys(EVE)
    if counted := raw.get(pace):
        raw.set(pace, int(counted) - seconds * 1_000_000, keepttl=True)
    if raw.hexists(profiles.profile_key(EVE), "rate"):
        raw.hincrby(profiles.profile_key(EVE), "rate", -seconds * 1_000_000)


def until_refused(call: Callable[[int], Answer]) -> int:
    """How often a call succeeds before it is refused."""
    for number in itertools.count():
        answer = call(number)
        if answer.status == 429:
            return number
        assert answer.status < 300, answer.body
    raise AssertionError


def fill(
    call: Invoker, said: Mapping[str, str] | None, minutes: int, raw: valkey.Valkey, most: int = 10**9
) -> tuple[int, int]:
    """How many sessions and submissions somebody gets through who sends as much as they can."""
    data = {"text": "x" * 4080}
    sessions = submissions = 0

    def session(_: int) -> Answer:
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        body = {"userId": EVE, "sessionData": data}
        return call("sessions", "POST", "/sessions", json_body=body, headers=headers, authorizer=said)

    def submission(_: int) -> Answer:
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        body = {"score": 5, "operator": "best"}
        return call("update_score", "PUT", f"/users/{EVE}/score", json_body=body, headers=headers, authorizer=said)

    for _ in range(minutes * 60 // STEP_SECONDS):
        sessions += until_refused(lambda number: session(number) if number < most else Answer(429, {}, b""))
        submissions += until_refused(lambda number: submission(number) if number < most else Answer(429, {}, b""))
        time_passes(raw, STEP_SECONDS)
    return sessions, submissions


def test_one_token_stores_what_the_documentation_says_and_evicts_nobody(
    own_server: embedded_valkey.Server, small: valkey.Valkey
) -> None:
    own = config.Settings(valkey_host="")
    with invoker(own_server.port, access="protected", player_operators="best") as call:
        for user_id in (EVE, LEADER):
            body = {"userId": user_id, "username": user_id, "score": 5}
            assert call("create_user", "POST", "/users", json_body=body).status == 201
        made = call("sessions", "POST", "/sessions", json_body={"userId": LEADER})
        session_id = made.json()["session"]["sessionId"]
        before, used = sizes(small), int(small.info("memory")["used_memory"])
        burst = own.sessions_per_minute
        opened = min(own.sessions_open_max, burst + MINUTES * own.sessions_per_minute)
        submitted = MINUTES * own.submissions_per_minute
        receipts = min(submitted + own.submissions_burst, own.receipts_max)
        allowed = opened * (SESSION_BYTES + OPENING_BYTES) + receipts * RECEIPT_BYTES + OTHER_BYTES
        small.config_set("maxmemory", used + 2 * allowed)
        sessions, submissions = fill(call, callers.vouched("player", EVE), MINUTES, small)
        grown = sum(bytes_ - before.get(key, 0) for key, bytes_ in sizes(small).items())
        assert sessions == opened
        assert submitted <= submissions <= submitted + own.submissions_burst
        assert grown <= allowed
        assert grown >= 0.8 * allowed, "the documentation does not say far too much either"
        assert small.info("stats")["evicted_keys"] == 0
        assert call("sessions", "GET", f"/sessions/{session_id}").status == 200
        for status, key in ((201, "one"), (201, "one")):
            headers = {"Idempotency-Key": key}
            assert call("sessions", "POST", "/sessions", json_body={"userId": LEADER}, headers=headers).status == status
        print(f"one token in {MINUTES} minutes: {sessions} sessions, {submissions} submissions, {grown / KIB:.0f} KiB")


def test_where_access_is_open_one_client_evicts_the_others_sessions(
    own_server: embedded_valkey.Server, small: valkey.Valkey
) -> None:
    """The same attack, on a memory that is as small."""
    with invoker(own_server.port) as call:
        for user_id in (EVE, LEADER):
            body = {"userId": user_id, "username": user_id, "email": "e@example.com", "score": 5}
            assert call("create_user", "POST", "/users", json_body=body).status == 201
        assert call("sessions", "POST", "/sessions", json_body={"userId": LEADER}).status == 201
        used = int(small.info("memory")["used_memory"])
        small.config_set("maxmemory", used + KIB * KIB)
        before = small.info("stats")["evicted_keys"]
        fill(call, None, 1, small, most=300)
        assert small.info("stats")["evicted_keys"] > before
