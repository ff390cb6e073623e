"""Many clients at once: nobody meets an error, and no game is lost or counted twice."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import valkey

from scripts.local import embedded_valkey
from tests.support import contract, processes
from tests.support.api import Api
from tests.support.invoking import Answer, event, race

CONNECTIONS = 200
REQUESTS_EACH = 20
PLAYERS = 50
RACERS = 16


@pytest.fixture
def gateway_process(server: embedded_valkey.Server, raw: valkey.Valkey, tmp_path: Path) -> Iterator[str]:
    """A gateway in its own process, so that the clients here do not slow it down."""
    with processes.gateway(tmp_path, server.port) as base_url:
        yield base_url


class Connection:
    """One keep-alive connection; if the server wants to close it, that is an error."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader, self._writer = reader, writer

    async def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The status and value of a reply, which must be as the contract says."""
        sent = b"" if body is None else json.dumps(body).encode()
        kind = "content-type: application/json\r\n" if sent else ""
        head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{kind}content-length: {len(sent)}\r\n\r\n"
        self._writer.write(head.encode() + sent)
        received = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in received[1:] if line)
        assert headers.get("connection") != "close"
        reply = await self._reader.readexactly(int(headers.get("content-length", "0")))
        status = int(received[0].split()[1])
        contract.check(method, path, status, headers, reply)
        return status, json.loads(reply) if reply else None

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def play(port: int, number: int, ready: asyncio.Barrier, scores: Counter[str]) -> None:
    """One client, who reads and writes at random over one connection that is open before anybody starts."""
    chance = random.Random(number)
    connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
    await ready.wait()
    for _ in range(REQUESTS_EACH):
        user_id = f"player-{chance.randrange(PLAYERS)}"
        kind = chance.randrange(6)
        if kind < 2:
            status, reply = await connection.request("PUT", f"/users/{user_id}/score", {"score": chance.randrange(99)})
            assert reply["user"]["userId"] == user_id
            scores[user_id] += 1
        elif kind == 2:
            status, reply = await connection.request("GET", f"/users/{user_id}/rank")
            assert reply["rank"]["userId"] == user_id
        elif kind == 3:
            status, reply = await connection.request("GET", "/leaderboard?limit=100")
            assert [entry["rank"] for entry in reply["leaderboard"]] == list(range(1, PLAYERS + 1))
            shown = [entry["score"] for entry in reply["leaderboard"]]
            assert shown == sorted(shown, reverse=True)
        elif kind == 4:
            status, reply = await connection.request("GET", f"/users/{user_id}/nearby?range=3")
            assert [entry["userId"] for entry in reply["players"] if entry["isCurrentUser"]] == [user_id]
        else:
            status, reply = await connection.request("GET", "/stats")
            assert reply["stats"]["totalPlayers"] == PLAYERS
        assert status == 200, reply
    await connection.close()


async def everybody_plays(port: int) -> Counter[str]:
    """All clients at once; returns how many games each player played."""
    ready = asyncio.Barrier(CONNECTIONS)
    scores: Counter[str] = Counter()
    async with asyncio.timeout(90), asyncio.TaskGroup() as clients:
        for number in range(CONNECTIONS):
            clients.create_task(play(port, number, ready, scores))
    return scores


def assert_sums_are_exact(api: Api, scores: Counter[str], board: dict[str, int]) -> None:
    """Asserts that profiles, board and statistics all count the same games."""
    users = [api.get(f"/users/{user_id}").json()["user"] for user_id in board]
    assert {user["userId"]: user["gamesPlayed"] for user in users if user["gamesPlayed"]} == scores
    assert {user["userId"]: user["score"] for user in users} == board
    stats = api.get("/stats").json()["stats"]
    assert (stats["totalGames"], stats["totalScore"]) == (scores.total(), sum(board.values()))


def listed(api: Api) -> dict[str, int]:
    """The scores of the first hundred."""
    page = api.get("/leaderboard?limit=100").json()
    return {entry["userId"]: entry["score"] for entry in page["leaderboard"]}


def test_two_hundred_connections_meet_no_error_and_no_game_is_lost(gateway_process: str) -> None:
    api = Api(gateway_process)
    for number in range(PLAYERS):
        api.create(userId=f"player-{number}", score=number)
    scores = asyncio.run(everybody_plays(int(gateway_process.rpartition(":")[2])))
    assert scores.total() > CONNECTIONS * REQUESTS_EACH / 4
    assert_sums_are_exact(api, scores, listed(api))
    assert len(listed(api)) == PLAYERS
    api.close()


def test_racing_submissions_of_one_player_are_all_counted(invoke: Callable[..., Answer], api: Api) -> None:
    api.create(userId="ada")

    def submissions(racer: int) -> Callable[[], Answer]:
        def submit() -> Answer:
            for score in range(20):
                body = {"score": racer * 100 + score}
                answer = invoke("update_score", event("PUT", "/users/ada/score", json_body=body))
                assert answer.status == 200
            return answer

        return submit

    race([submissions(racer) for racer in range(RACERS)])
    user = api.get("/users/ada").json()["user"]
    assert user["gamesPlayed"] == RACERS * 20
    assert_sums_are_exact(api, Counter({"ada": RACERS * 20}), {"ada": user["score"]})
    assert listed(api) == {"ada": user["score"]}, "the board ends where the profile does"


@pytest.mark.parametrize("round_number", range(5))
def test_of_racing_creations_of_one_id_one_wins(invoke: Callable[..., Answer], api: Api, round_number: int) -> None:
    def creation(racer: int) -> Callable[[], Answer]:
        body = {"userId": "ada", "username": f"Racer {racer}", "email": f"{racer}@example.com", "score": racer}
        return lambda: invoke("create_user", event("POST", "/users", json_body=body))

    answers = race([creation(racer) for racer in range(RACERS)])
    assert sorted(answer.status for answer in answers) == [201] + [409] * (RACERS - 1)
    (winner,) = [answer.json()["user"] for answer in answers if answer.status == 201]
    assert api.get("/users/ada").json() == {"user": winner}
    (entry,) = api.get("/leaderboard").json()["leaderboard"]
    assert (entry["username"], entry["score"]) == (winner["username"], winner["score"])
    assert api.get("/stats").json()["stats"]["totalScore"] == winner["score"]
