"""The model: random operations go to the API and to a plain dict, and sorting the dict must give the board.

By default it is deterministic and short, and shows a failure as it was found. MODEL_EXAMPLES=500 explores, with another
random seed each time, and looks for the shortest way to a failure, which takes minutes.
"""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any

import pytest
import valkey
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.support.api import Api

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))

POINTS_PER_LEVEL = 750

IDS = st.sampled_from(["a", "A", "aa", "B", "b_", "0", "10", "9", "-", "_", "Zz-9", "zZ_9"])
"""Only a few, so that they come up again; some differ only in case, or in the order of _ and - and letters."""

SCORES = st.integers(0, 2) | st.sampled_from([749, 750, 1499, 1500, 2**31, 999_999_999_999, 10**12])
"""Only a few, so that ties are common."""

NAMES = st.sampled_from(["Ada", "Grace Hopper", "Łukasz", "5 5 5", "名前", "a 'b\" \\ c", "🙂"])

START = st.dictionaries(IDS, SCORES, min_size=3, max_size=6) | st.just({})

WHICH = st.integers(0, 11)
"""Which of those that are there, modulo their number."""

SESSION_DATA = st.none() | st.dictionaries(
    st.sampled_from(["device", "level", "startTime", "userId", "sessionId", "é"]),
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text('aé"\\\n🙂', max_size=5) | st.just([{}]),
    max_size=4,
)


@dataclasses.dataclass
class Player:
    """What the dict holds of a player."""

    username: str
    email: str
    score: int
    best: int
    created_at: str
    last_active: str
    games: int = 0

    @property
    def level(self) -> int:
        """1 from the start, one more every 750 points."""
        return self.score // POINTS_PER_LEVEL + 1


class Game(RuleBasedStateMachine):
    """The API beside the dict."""

    def __init__(self, api: Api, raw: valkey.Valkey):
        super().__init__()
        self.api = api
        raw.flushall()
        self.players: dict[str, Player] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.limit = self.reach = 1

    def board(self) -> list[dict[str, Any]]:
        """Every entry, best first; among equal scores, by userId, descending, byte by byte."""
        ordered = sorted(self.players.items(), key=lambda item: (item[1].score, item[0].encode()), reverse=True)
        return [
            {"rank": rank, "userId": user_id, "username": player.username, "score": player.score, "level": player.level}
            for rank, (user_id, player) in enumerate(ordered, 1)
        ]

    def profile(self, user_id: str) -> dict[str, Any]:
        """A player as GET /users/{userId} shows them."""
        player = self.players[user_id]
        return {
            "userId": user_id,
            "username": player.username,
            "email": player.email,
            "score": player.score,
            "level": player.level,
            "gamesPlayed": player.games,
            "createdAt": player.created_at,
            "lastActive": player.last_active,
        }

    def known(self, which: int) -> str:
        """One of the players, or now and then somebody unknown."""
        return [*self.players, "nobody"][which % (len(self.players) + 1)]

    @initialize(players=START, limit=st.integers(1, 4), reach=st.integers(1, 6))
    def begin(self, players: dict[str, int], limit: int, reach: int) -> None:
        """Makes the players who are there from the start; sets how wide this example's pages and neighbourhoods are."""
        self.limit, self.reach = limit, reach
        for user_id, score in players.items():
            self.create(user_id, "Ada", score, None)

    @rule(user_id=IDS | st.none(), username=NAMES, score=SCORES | st.none(), level=st.none() | st.just(99))
    def try_to_create(self, user_id: str | None, username: str, score: int | None, level: int | None) -> None:
        """POST /users, with and without an id and a score; the id may be taken."""
        self.create(user_id, username, score, level)

    def create(self, user_id: str | None, username: str, score: int | None, level: int | None) -> None:
        """Creates a player on both sides, or is refused."""
        body = {"userId": user_id, "username": username, "email": "e@example.com", "score": score, "level": level}
        response = self.api.post("/users", json={name: value for name, value in body.items() if value is not None})
        if user_id in self.players:
            assert response.status_code == 409
            assert response.json()["code"] == "user_exists"
            return
        assert response.status_code == 201
        user = response.json()["user"]
        assert user["userId"] == user_id or user_id is None
        if user_id is None:
            assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", user["userId"])
            assert user["userId"] not in self.players
        assert user["createdAt"] == user["lastActive"]
        start = score or 0
        self.players[user["userId"]] = Player(
            username, "e@example.com", start, start, user["createdAt"], user["createdAt"]
        )
        assert response.json() == {"success": True, "user": self.profile(user["userId"])}

    @rule(which=WHICH, score=SCORES)
    def submit(self, which: int, score: int) -> None:
        """PUT /users/{userId}/score; the user may be unknown."""
        user_id = self.known(which)
        response = self.api.put(f"/users/{user_id}/score", json={"score": score})
        if user_id not in self.players:
            assert response.status_code == 404
            return
        assert response.status_code == 200
        player = self.players[user_id]
        active = response.json()["user"]["lastActive"]
        assert active >= player.last_active
        player.score, player.best = score, max(player.best, score)
        player.games, player.last_active = player.games + 1, active
        reply = response.json()
        assert reply["success"] is True
        assert reply["user"] == self.profile(user_id)

    @rule(which=WHICH, score=st.sampled_from([-1, 10**12 + 1, 2**53 - 1, 1.5, "1", None, True]))
    def submit_nonsense(self, which: int, score: object) -> None:
        """PUT /users/{userId}/score with something that is not a score here: nothing changes."""
        user_id = self.known(which)
        response = self.api.put(f"/users/{user_id}/score", json={"score": score})
        known = user_id in self.players
        assert response.status_code == 400 or (response.status_code == 404 and not known)

    @rule(which=WHICH, data=SESSION_DATA)
    def start_session(self, which: int, data: dict[str, Any] | None) -> None:
        """POST /sessions; the user may be unknown."""
        user_id = self.known(which)
        body = {"userId": user_id, "sessionData": data}
        response = self.api.post("/sessions", json={name: value for name, value in body.items() if value is not None})
        if user_id not in self.players:
            assert response.status_code == 404
            return
        assert response.status_code == 201
        session = response.json()["session"]
        reserved = {name: session[name] for name in ("sessionId", "userId", "startTime")}
        assert reserved["userId"] == user_id
        assert reserved["sessionId"] not in self.sessions
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", reserved["startTime"])
        assert session == {**(data or {}), **reserved}
        self.sessions[reserved["sessionId"]] = session

    @rule(which=WHICH)
    def end_session(self, which: int) -> None:
        """DELETE /sessions/{sessionId}, perhaps of one that never existed."""
        session_id = [*self.sessions, "never-was"][which % (len(self.sessions) + 1)]
        expected = 204 if self.sessions.pop(session_id, None) else 404
        assert self.api.delete(f"/sessions/{session_id}").status_code == expected
        assert self.api.get(f"/sessions/{session_id}").status_code == 404

    @invariant()
    def the_leaderboard_is_the_dict_sorted(self) -> None:
        """Page by page, and one page beyond the end."""
        board, seen = self.board(), []
        for offset in range(0, len(board) + self.limit, self.limit):
            page = self.api.get(f"/leaderboard?limit={self.limit}&offset={offset}").json()
            assert page["totalPlayers"] == len(board)
            seen += page["leaderboard"]
        assert seen == board

    @invariant()
    def everybody_stands_where_the_dict_says(self) -> None:
        """Rank, neighbours and profile of every player."""
        board = self.board()
        for index, entry in enumerate(board):
            user_id = entry["userId"]
            assert self.api.get(f"/users/{user_id}").json() == {"user": self.profile(user_id)}
            assert self.api.get(f"/users/{user_id}/rank").json() == {
                "rank": {
                    "userId": user_id,
                    "rank": index + 1,
                    "score": entry["score"],
                    "totalPlayers": len(board),
                    "percentile": round(100 * (len(board) - index) / len(board), 2),
                }
            }
            around = board[max(0, index - self.reach) : index + self.reach + 1]
            assert self.api.get(f"/users/{user_id}/nearby?range={self.reach}").json() == {
                "players": [{**other, "isCurrentUser": other is entry} for other in around]
            }

    @invariant()
    def nobody_else_is_there(self) -> None:
        """An id that was never created has nothing."""
        for path in ("/users/nobody", "/users/nobody/rank", "/users/nobody/nearby"):
            assert self.api.get(path).status_code == 404

    @invariant()
    def the_statistics_are_the_dicts_sums(self) -> None:
        games = sum(player.games for player in self.players.values())
        total = sum(player.score for player in self.players.values())
        assert self.api.get("/stats").json() == {
            "stats": {
                "totalGames": games,
                "totalScore": total,
                "highScore": max((player.best for player in self.players.values()), default=0),
                "averageScore": round(total / games, 2) if games else 0,
                "totalPlayers": len(self.players),
            }
        }

    @invariant()
    def sessions_are_as_they_were_created(self) -> None:
        for session_id, session in self.sessions.items():
            assert self.api.get(f"/sessions/{session_id}").json() == {"session": session}


@pytest.fixture
def game_settings() -> settings:
    """How many games to play, and for how long."""
    return settings(
        max_examples=EXAMPLES or 12,
        stateful_step_count=25,
        derandomize=not EXAMPLES,
        phases=(Phase.generate, Phase.shrink) if EXAMPLES else (Phase.generate,),
        report_multiple_bugs=False,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.timeout(600 + 20 * EXAMPLES)
def test_whatever_is_done_the_board_is_the_players_sorted(
    api: Api, raw: valkey.Valkey, game_settings: settings
) -> None:
    run_state_machine_as_test(lambda: Game(api, raw), settings=game_settings)
