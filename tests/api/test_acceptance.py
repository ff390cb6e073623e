"""What a client of the API relies on, over plain HTTP: at BASE_URL, or at this run's own gateway.

Every player is new, and nothing is assumed about the others on the board.
"""

from __future__ import annotations

import datetime
import itertools
import os
import random
from typing import Any

import pytest

from tests.support import contract
from tests.support.api import Api, fresh_id

EMAIL = "ada.lovelace@example.com"

ROUTES = [
    ("POST", "/users"),
    ("GET", "/users/{userId}"),
    ("PUT", "/users/{userId}/score"),
    ("GET", "/leaderboard"),
    ("GET", "/users/{userId}/rank"),
    ("GET", "/users/{userId}/nearby"),
    ("POST", "/sessions"),
    ("GET", "/sessions/{sessionId}"),
    ("DELETE", "/sessions/{sessionId}"),
    ("GET", "/stats"),
    ("GET", "/health"),
]
"""The operations of the seed system, the earlier one that this one replaces: its clients go on working."""


def public(user: dict[str, Any]) -> dict[str, Any]:
    """What GET /users/{userId} tells of a player: where access is protected, no e-mail address."""
    return {name: value for name, value in user.items() if name != "email"} if os.environ.get("TOKEN") else user


def rank_of(api: Api, user_id: str) -> dict[str, Any]:
    response = api.get(f"/users/{user_id}/rank")
    assert response.status_code == 200
    standing: dict[str, Any] = response.json()["rank"]
    return standing


def unusual_score() -> int:
    """A score that probably nobody else has."""
    return random.SystemRandom().randrange(10**9, 10**12)


def read_time(text: str) -> datetime.datetime:
    """A time, from ISO-8601 with milliseconds and Z."""
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")


def test_the_routes_are_those_of_the_seed_system() -> None:
    assert {(operation.method, operation.path) for operation in contract.operations().values()} >= set(ROUTES)


def test_a_client_of_the_seed_system_finds_everything_where_it_was(api: Api) -> None:
    user_id = fresh_id("user")
    created = api.post(
        "/users",
        json={
            "userId": user_id,
            "username": "player-name",
            "email": EMAIL,
            "score": 1500,
            "level": 1,
            "gamesPlayed": 0,
        },
    )
    assert created.status_code == 201
    assert created.headers["content-type"] == "application/json"
    body = created.json()
    assert body["success"] is True
    moment = body["user"]["createdAt"]
    assert body == {
        "success": True,
        "user": {
            "userId": user_id,
            "username": "player-name",
            "email": EMAIL,
            "score": 1500,
            "level": 3,
            "gamesPlayed": 0,
            "createdAt": moment,
            "lastActive": moment,
        },
    }
    assert api.get(f"/users/{user_id}").json() == {"user": public(body["user"])}

    scored = api.put(f"/users/{user_id}/score", json={"score": 2500})
    assert scored.status_code == 200
    assert scored.json()["success"] is True
    user = scored.json()["user"]
    assert (user["score"], user["level"], user["gamesPlayed"]) == (2500, 4, 1)
    assert user["createdAt"] == moment <= user["lastActive"]
    assert api.get(f"/users/{user_id}").json() == {"user": public(user)}

    page = api.get("/leaderboard").json()
    assert page["leaderboard"][0]["rank"] == 1
    assert 1 <= len(page["leaderboard"]) <= 10

    rank = api.get(f"/users/{user_id}/rank").json()["rank"]
    assert (rank["userId"], rank["score"]) == (user_id, 2500)
    assert 1 <= rank["rank"] <= rank["totalPlayers"]

    players = api.get(f"/users/{user_id}/nearby").json()["players"]
    assert [player["userId"] for player in players if player["isCurrentUser"] is True] == [user_id]

    data = {"gameMode": "competitive", "difficulty": "expert", "startTime": "2025-07-22T15:00:00Z"}
    started = api.post("/sessions", json={"userId": user_id, "sessionData": data})
    assert started.status_code == 201
    assert started.json()["success"] is True
    session = started.json()["session"]
    assert session["userId"] == user_id
    assert (session["gameMode"], session["difficulty"]) == ("competitive", "expert")
    assert api.get(f"/sessions/{session['sessionId']}").json() == {"session": session}

    stats = api.get("/stats").json()["stats"]
    assert stats["totalGames"] >= 1
    assert stats["highScore"] >= 2500

    health = api.get("/health").json()
    assert (health["status"], health["valkey"]["connected"]) == ("healthy", True)


class TestCreatingAPlayer:
    def test_only_a_name_and_an_e_mail_are_needed(self, api: Api) -> None:
        user = api.post("/users", json={"username": "Ada", "email": EMAIL}).json()["user"]
        assert contract.formats.conforms(user["userId"], "uuid")
        assert (user["score"], user["level"], user["gamesPlayed"]) == (0, 1, 0)
        assert api.get(f"/users/{user['userId']}").json()["user"] == public(user)

    def test_two_players_without_an_id_are_two_players(self, api: Api) -> None:
        users = [api.create(userId=None) for _ in range(2)]
        assert users[0]["userId"] != users[1]["userId"]

    @pytest.mark.parametrize("prefix", ["a", "_", "-", "0", "A-Z_z"])
    def test_an_id_may_be_anything_of_letters_digits_dashes_and_underscores(self, api: Api, prefix: str) -> None:
        user_id = fresh_id(prefix).ljust(64, "x")
        assert api.create(userId=user_id)["userId"] == user_id
        assert api.get(f"/users/{user_id}").status_code == 200

    @pytest.mark.parametrize(
        ("score", "level"), [(0, 1), (749, 1), (750, 2), (1499, 2), (1500, 3), (10**12, 1333333334)]
    )
    def test_the_level_follows_from_the_score(self, api: Api, score: int, level: int) -> None:
        user = api.create(score=score)
        assert (user["score"], user["level"]) == (score, level)
        assert api.put(f"/users/{user['userId']}/score", json={"score": score}).json()["user"]["level"] == level

    @pytest.mark.parametrize("value", [99, -1, 1.5, "x", None, True, [], {"a": [1]}, 10**30])
    def test_level_and_games_played_are_accepted_and_ignored(self, api: Api, value: object) -> None:
        body = {"userId": fresh_id(), "username": "Ada", "email": EMAIL, "level": value, "gamesPlayed": value}
        response = api.post("/users", json=body)
        assert response.status_code == 201
        assert (response.json()["user"]["level"], response.json()["user"]["gamesPlayed"]) == (1, 0)

    def test_times_are_in_utc_with_milliseconds_and_now(self, api: Api) -> None:
        user = api.create()
        assert user["createdAt"] == user["lastActive"]
        age = datetime.datetime.now(datetime.UTC) - read_time(user["createdAt"])
        assert abs(age) < datetime.timedelta(minutes=5)

    @pytest.mark.parametrize(
        "name",
        [
            "Ada",
            "Ada  Lovelace",
            "<script>alert(1)</script>",
            "'; DROP TABLE users; --",
            '"\\/',
            "名前",
            "عَلِي",
            "नमस्ते",
            "é",
            "👩\u200d👩\u200d👧\u200d👦",
            "👩🏽\u200d❤\ufe0f\u200d💋\u200d👨",
            "🏳\ufe0f\u200d🌈",
            "🙋🏻\u200d♀\ufe0f",
            "🤷\u200d♂",
            "می\u200cخواهم",
            "مُحَمَّدٌ",
            "الرَّحْمٰن",
            "שַּׁבָּת",
            "ज\u093cें",
            "दर्\u200dया",
            "র\u200d্যাব",
            "চাঁদ",
            "ශ්\u200dරී",
            "ஸ்ரீதரன்",
            "น้ำที่",
            "ཧཱུྃ",
            "བསྒྲུབས",
            "လျှို့ဝှက်",
            "Nguyễn Thị Ngọc Ánh",
            "Ọlátúńjí",
            "𝒜" * 32,
            "a" * 32,
            "%s %d {0} ${x} %00",
            "null",
            "0",
            "user:1 2 3",
        ],
    )
    def test_a_name_comes_back_as_it_was_given(self, api: Api, name: str) -> None:
        user_id = api.create(username=name)["userId"]
        assert api.get(f"/users/{user_id}").json()["user"]["username"] == name
        players = api.get(f"/users/{user_id}/nearby").json()["players"]
        assert [player["username"] for player in players if player["isCurrentUser"]] == [name]

    def test_a_taken_id_is_a_conflict_and_changes_nothing(self, api: Api) -> None:
        user = api.create(score=unusual_score())
        before = api.get(f"/users/{user['userId']}").json(), rank_of(api, user["userId"])["score"]
        response = api.post("/users", json={"userId": user["userId"], "username": "Mallory", "email": "m@example.com"})
        assert response.status_code == 409
        assert (response.json()["code"], response.json()["error"]) == ("user_exists", "User already exists")
        assert (api.get(f"/users/{user['userId']}").json(), rank_of(api, user["userId"])["score"]) == before

    def test_a_player_with_no_points_is_ranked(self, api: Api) -> None:
        user_id = api.create()["userId"]
        standing = rank_of(api, user_id)
        assert standing["score"] == 0
        assert 1 <= standing["rank"] <= standing["totalPlayers"]
        assert user_id in {player["userId"] for player in api.get(f"/users/{user_id}/nearby").json()["players"]}


class TestScores:
    def test_a_score_overwrites_the_one_before_whether_higher_or_lower(self, api: Api) -> None:
        user_id = api.create(score=100)["userId"]
        for games, score in enumerate((5000, 20, 20, 0), start=1):
            user = api.put(f"/users/{user_id}/score", json={"score": score}).json()["user"]
            assert (user["score"], user["gamesPlayed"]) == (score, games)
            assert rank_of(api, user_id)["score"] == score

    def test_a_score_leaves_the_rest_of_the_profile_alone(self, api: Api) -> None:
        before = api.create(username="Grace", email="grace@example.com")
        after = api.put(f"/users/{before['userId']}/score", json={"score": 1}).json()["user"]
        same = ("userId", "username", "email", "createdAt")
        assert [after[name] for name in same] == [before[name] for name in same]
        assert after["lastActive"] >= before["lastActive"]

    def test_totals_move_by_what_was_played(self, api: Api) -> None:
        user_id = api.create(score=700)["userId"]
        before = api.get("/stats").json()["stats"]
        api.put(f"/users/{user_id}/score", json={"score": 1000})
        after = api.get("/stats").json()["stats"]
        assert after["totalGames"] == before["totalGames"] + 1
        assert after["totalScore"] == before["totalScore"] + 300
        assert after["totalPlayers"] == before["totalPlayers"]
        assert after["averageScore"] == round(after["totalScore"] / after["totalGames"], 2)
        assert after["highScore"] >= 1000


class TestTheBoard:
    def test_a_walk_in_pages_meets_everybody_near_a_player_once_and_in_order(self, api: Api) -> None:
        base = unusual_score()
        users = [api.create(score=base + step)["userId"] for step in range(7)]
        best = rank_of(api, users[-1])["rank"]
        found: list[dict[str, Any]] = []
        for offset in range(best - 1, best + 6, 3):
            page = api.get(f"/leaderboard?limit=3&offset={offset}").json()
            assert [entry["rank"] for entry in page["leaderboard"]] == list(
                range(offset + 1, offset + 1 + len(page["leaderboard"]))
            )
            assert page["totalPlayers"] >= 7
            found += page["leaderboard"]
        assert [entry["userId"] for entry in found[:7]] == users[::-1]
        assert all(above["score"] >= below["score"] for above, below in itertools.pairwise(found))

    def test_a_page_has_ten_rows_unless_asked_otherwise(self, api: Api) -> None:
        for _ in range(11):
            api.create()
        assert len(api.get("/leaderboard").json()["leaderboard"]) == 10
        assert len(api.get("/leaderboard?limit=11").json()["leaderboard"]) == 11
        assert len(api.get("/leaderboard?limit=1").json()["leaderboard"]) == 1
        assert len(api.get("/leaderboard?limit=100").json()["leaderboard"]) >= 11

    @pytest.mark.parametrize("beyond", [0, 1, 10**6])
    def test_a_page_beyond_the_end_is_an_empty_list(self, api: Api, beyond: int) -> None:
        api.create()
        total = api.get("/leaderboard?limit=1").json()["totalPlayers"]
        page = api.get(f"/leaderboard?offset={total + beyond}").json()
        assert page == {"leaderboard": [], "totalPlayers": total}

    def test_the_last_page_is_short(self, api: Api) -> None:
        api.create()
        api.create()
        total = api.get("/leaderboard?limit=1").json()["totalPlayers"]
        page = api.get(f"/leaderboard?offset={total - 2}&limit=100").json()
        assert [entry["rank"] for entry in page["leaderboard"]] == [total - 1, total]

    def test_rank_page_and_neighbours_agree(self, api: Api) -> None:
        base = unusual_score()
        users = [api.create(username=f"P{step}", score=base + step // 2) for step in range(6)]
        for user in users:
            standing = rank_of(api, user["userId"])
            (entry,) = api.get(f"/leaderboard?limit=1&offset={standing['rank'] - 1}").json()["leaderboard"]
            assert entry == {
                "rank": standing["rank"],
                "userId": user["userId"],
                "username": user["username"],
                "score": user["score"],
                "level": user["level"],
            }
            near = api.get(f"/users/{user['userId']}/nearby?range=3").json()["players"]
            first = near[0]["rank"]
            page = api.get(f"/leaderboard?limit={len(near)}&offset={first - 1}").json()["leaderboard"]
            assert [{**row, "isCurrentUser": row["userId"] == user["userId"]} for row in page] == near

    def test_equal_scores_are_ordered_by_id_descending_in_byte_order(self, api: Api) -> None:
        score, suffix = unusual_score(), fresh_id("")
        ids = [f"{first}{suffix}" for first in ("z", "A", "0", "-", "_", "a", "Z")]
        for user_id in ids:
            api.create(userId=user_id, score=score)
        expected = sorted(ids, key=str.encode, reverse=True)
        ranks = {user_id: rank_of(api, user_id)["rank"] for user_id in ids}
        assert sorted(ids, key=ranks.__getitem__) == expected
        page = api.get(f"/leaderboard?limit=7&offset={ranks[expected[0]] - 1}").json()["leaderboard"]
        assert [entry["userId"] for entry in page] == expected
        near = api.get(f"/users/{expected[3]}/nearby?range=3").json()["players"]
        assert [entry["userId"] for entry in near] == expected

    def test_a_player_has_so_many_neighbours_on_each_side(self, api: Api) -> None:
        base = unusual_score()
        users = [api.create(score=base + step)["userId"] for step in range(13)]
        for reach, path in ((5, ""), (1, "?range=1"), (6, "?range=6")):
            players = api.get(f"/users/{users[6]}/nearby{path}").json()["players"]
            assert [player["userId"] for player in players] == users[6 - reach : 7 + reach][::-1]
            assert [player["isCurrentUser"] for player in players] == [False] * reach + [True] + [False] * reach

    def test_the_percentile_is_the_share_at_or_below(self, api: Api) -> None:
        standing = rank_of(api, api.create()["userId"])
        below = standing["totalPlayers"] - standing["rank"] + 1
        assert standing["percentile"] == round(100 * below / standing["totalPlayers"], 2)

    def test_lists_never_hold_an_e_mail(self, api: Api) -> None:
        user_id = api.create(email="somebody-private@example.com", score=10**12)["userId"]
        rank = rank_of(api, user_id)["rank"]
        paths = (f"/leaderboard?limit=100&offset={max(0, rank - 50)}", f"/users/{user_id}/nearby?range=50")
        for path in (*paths, f"/users/{user_id}/rank", "/stats"):
            assert "@" not in api.get(path).text


class TestSessions:
    def test_the_session_data_are_members_of_the_session(self, api: Api) -> None:
        data = {
            "gameMode": "competitive",
            "nested": {"list": [1, 2.5, -0.25, None, True, "ü"], "empty": {}},
            "largest": 2**53 - 1,
            "": "a name may be empty",
            "名": "👾",
            "__proto__": {"x": 1},
        }
        user_id = api.create()["userId"]
        session = api.post("/sessions", json={"userId": user_id, "sessionData": data}).json()["session"]
        reserved = {name: session.pop(name) for name in ("sessionId", "userId", "startTime")}
        assert session == data
        assert reserved["userId"] == user_id
        assert api.get(f"/sessions/{reserved['sessionId']}").json()["session"] == {**reserved, **data}

    @pytest.mark.parametrize("data", [{}, {"sessionData": {}}])
    def test_a_session_needs_no_data(self, api: Api, data: dict[str, object]) -> None:
        user_id = api.create()["userId"]
        response = api.post("/sessions", json={"userId": user_id, **data})
        assert response.status_code == 201
        assert set(response.json()["session"]) == {"sessionId", "userId", "startTime"}

    def test_session_data_of_4_kib_are_taken(self, api: Api) -> None:
        user_id = api.create()["userId"]
        data = {"x": "a" * (4 * 1024 - 8)}
        assert api.post("/sessions", json={"userId": user_id, "sessionData": data}).status_code == 201

    @pytest.mark.parametrize(
        ("text", "score"), [("1500.0", "1500"), ("1.5e3", "1500"), ("-0.0", "0"), ("1e12", "1000000000000")]
    )
    def test_a_whole_number_may_be_written_as_a_float(self, api: Api, text: str, score: str) -> None:
        user_id = api.create()["userId"]
        response = api.put(
            f"/users/{user_id}/score", content=f'{{"score": {text}}}', headers={"content-type": "application/json"}
        )
        assert response.status_code == 200
        assert f'"score":{score},' in api.get(f"/users/{user_id}").text.replace("}", ",")

    @pytest.mark.parametrize(
        ("sent", "stored"),
        [
            ("Ame\u0301lie", "Am\u00e9lie"),
            ("Ada \u2764\ufe0f", "Ada \u2764\ufe0f"),
            ("5\ufe0f\u20e3", "5\ufe0f\u20e3"),
            ("a\u0316\u0317", "a\u0316\u0317"),
        ],
    )
    def test_a_name_is_stored_in_nfc_with_its_emoji(self, api: Api, sent: str, stored: str) -> None:
        user_id = api.create(username=sent)["userId"]
        assert api.get(f"/users/{user_id}").json()["user"]["username"] == stored

    def test_reserved_names_in_the_data_are_accepted_and_ignored(self, api: Api) -> None:
        user_id = api.create()["userId"]
        data = {"sessionId": "mine", "userId": "somebody", "startTime": "1999-12-31T23:59:59.999Z", "kept": 1}
        data |= {"USERID": "somebody", "sessionid": "mine", "\u017ftartTime": "then"}
        session = api.post("/sessions", json={"userId": user_id, "sessionData": data}).json()["session"]
        assert session["sessionId"] != "mine"
        assert session["userId"] == user_id
        assert session["startTime"] != data["startTime"]
        assert session["kept"] == 1
        assert set(session) == {"sessionId", "userId", "startTime", "kept"}
        assert api.get(f"/sessions/{session['sessionId']}").json()["session"] == session
        assert api.get("/sessions/mine").status_code == 404

    def test_a_session_that_was_ended_is_gone(self, api: Api) -> None:
        user_id = api.create()["userId"]
        path = f"/sessions/{api.post('/sessions', json={'userId': user_id}).json()['session']['sessionId']}"
        ended = api.delete(path)
        assert (ended.status_code, ended.content) == (204, b"")
        assert api.get(path).status_code == 404
        assert api.delete(path).status_code == 404
        assert api.get(f"/users/{user_id}").status_code == 200

    def test_a_player_may_have_several_sessions(self, api: Api) -> None:
        user_id = api.create()["userId"]
        first, second = (api.post("/sessions", json={"userId": user_id}).json()["session"] for _ in range(2))
        assert first["sessionId"] != second["sessionId"]
        api.delete(f"/sessions/{first['sessionId']}")
        assert api.get(f"/sessions/{second['sessionId']}").json()["session"] == second

    def test_reading_a_session_changes_nothing_in_it(self, api: Api) -> None:
        user_id = api.create()["userId"]
        session = api.post("/sessions", json={"userId": user_id}).json()["session"]
        assert [api.get(f"/sessions/{session['sessionId']}").json()["session"] for _ in range(3)] == [session] * 3


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/users/{}", None),
        ("GET", "/users/{}/rank", None),
        ("GET", "/users/{}/nearby", None),
        ("PUT", "/users/{}/score", {"score": 1}),
        ("POST", "/sessions", {"userId": "{}"}),
        ("POST", "/sessions", {"userId": "{}", "sessionData": {"userId": "x"}}),
    ],
)
def test_an_unknown_user_is_not_found(api: Api, method: str, path: str, body: dict[str, object] | None) -> None:
    user_id = fresh_id("nobody")
    if body and "userId" in body:
        body = {**body, "userId": user_id}
    response = api.request(method, path.format(user_id), json=body)
    assert response.status_code == 404
    assert (response.json()["code"], response.json()["error"]) == ("user_not_found", "User not found")
    assert api.get(f"/users/{user_id}").status_code == 404
    assert api.get(f"/users/{user_id}/rank").status_code == 404


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_session_is_not_found(api: Api, method: str) -> None:
    response = api.request(method, f"/sessions/{fresh_id()}")
    assert response.status_code == 404
    assert (response.json()["code"], response.json()["error"]) == ("session_not_found", "Session not found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/nowhere"),
        ("GET", "/users"),
        ("DELETE", "/users"),
        ("POST", "/users/x"),
        ("PUT", "/users/x"),
        ("PATCH", "/users/x/score"),
        ("POST", "/users/x/score"),
        ("GET", "/users/x/score"),
        ("GET", "/users/x/y/z"),
        ("GET", "/sessions"),
        ("PUT", "/sessions/x"),
        ("POST", "/leaderboard"),
        ("POST", "/health"),
        ("GET", "/Health"),
        ("GET", "/openapi.yaml"),
        ("GET", "/.env"),
    ],
)
def test_an_unknown_path_or_method_is_not_found(api: Api, method: str, path: str) -> None:
    response = api.request(method, path)
    assert response.status_code == 404
    assert response.json()["error"] == "Endpoint not found"


@pytest.mark.parametrize("path", sorted({path for _, path in ROUTES}))
def test_every_path_answers_a_browsers_preflight_request(api: Api, path: str) -> None:
    methods = {method for method, other in ROUTES if other == path}
    response = api.request(
        "OPTIONS",
        path.format(userId="x", sessionId="x"),
        headers={
            "Origin": "https://game.example",
            "Access-Control-Request-Method": next(iter(methods)),
            "Access-Control-Request-Headers": "content-type,x-api-key",
        },
    )
    assert response.status_code in (200, 204)
    assert methods <= {name.strip() for name in response.headers["access-control-allow-methods"].split(",")}
    allowed = {name.strip().lower() for name in response.headers["access-control-allow-headers"].split(",")}
    assert {"content-type", "x-api-key"} <= allowed


def test_a_page_of_another_origin_may_read_request_ids_and_waiting_times(api: Api) -> None:
    response = api.get("/stats", headers={"Origin": "https://game.example"})
    exposed = {name.strip().lower() for name in response.headers["access-control-expose-headers"].split(",")}
    assert {"x-request-id", "retry-after"} <= exposed


def test_statistics_are_five_numbers(api: Api) -> None:
    api.create(score=7)
    stats = api.get("/stats").json()["stats"]
    assert set(stats) == {"totalGames", "totalScore", "highScore", "averageScore", "totalPlayers"}
    assert stats["totalPlayers"] >= 1
    assert stats["highScore"] >= 7


def test_head_of_health_is_get_without_the_body(api: Api) -> None:
    replies = [api.request(method, "/health") for method in ("GET", "HEAD")]
    assert [(reply.status_code, bool(reply.content)) for reply in replies] == [(200, True), (200, False)]
    assert replies[0].headers["content-type"] == replies[1].headers["content-type"]
    assert api.request("HEAD", "/health?unknown=1").status_code == 400


def test_health_tells_how_long_valkey_took(api: Api) -> None:
    health = api.get("/health").json()
    assert set(health) == {"status", "valkey", "timestamp"}
    assert health["valkey"]["responseTime"].endswith("ms")
    assert 0 <= int(health["valkey"]["responseTime"].removesuffix("ms")) < 1000
    age = datetime.datetime.now(datetime.UTC) - read_time(health["timestamp"])
    assert abs(age) < datetime.timedelta(minutes=5)


def test_every_reply_has_a_request_id_of_its_own(api: Api) -> None:
    ids = [api.get(path).headers["x-request-id"] for path in ("/stats", "/stats", "/health", "/nowhere")]
    assert len(set(ids)) == 4


def test_a_body_without_a_declared_type_is_taken_as_json(api: Api) -> None:
    content = f'{{"userId": "{fresh_id()}", "username": "Ada", "email": "{EMAIL}"}}'.encode()
    assert api.post("/users", content=content).status_code == 201


@pytest.mark.parametrize(
    "declared", ["application/json; charset=utf-8", "APPLICATION/JSON", 'application/json;charset="UTF-8"']
)
def test_json_may_be_declared_in_any_case_and_with_its_charset(api: Api, declared: str) -> None:
    content = f'{{"userId": "{fresh_id()}", "username": "Zoë", "email": "{EMAIL}"}}'.encode()
    assert api.post("/users", content=content, headers={"Content-Type": declared}).status_code == 201
