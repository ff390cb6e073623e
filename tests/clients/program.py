"""What a game in Python does with the client generated from the contract: what it sends and reads, and some errors.

Runs where the clients' packages are installed, beside the generated `leaderboard_client`; mypy checks both.
Prints each reply as a line of JSON. Arguments: the API's URL, an id for the player.
"""

from __future__ import annotations

import json
import sys
from typing import Any, TypeVar

import httpx
from leaderboard_client import Client
from leaderboard_client.api.health import health, health_head
from leaderboard_client.api.leaderboard import leaderboard, nearby, rank
from leaderboard_client.api.sessions import sessions_create, sessions_delete, sessions_get
from leaderboard_client.api.statistics import stats
from leaderboard_client.api.users import create_user, get_user, update_score
from leaderboard_client.models import (
    CreateSession,
    CreateSessionSessionData,
    CreateUser,
    FieldErrorIn,
    GameData,
    Healthy,
    LeaderboardPage,
    NearbyPlayers,
    Operator,
    Problem,
    RankFound,
    SessionCreated,
    SessionFound,
    StatisticsFound,
    Submitted,
    UpdateScore,
    UserChanged,
    UserFound,
)
from leaderboard_client.types import Response

Parsed = TypeVar("Parsed")


def tell(response: httpx.Response) -> None:
    """Prints a reply as a line of JSON."""
    request = response.request
    line = {
        "method": request.method,
        "path": request.url.raw_path.decode(),
        "status": response.status_code,
        "headers": dict(response.headers),
        "body": response.read().decode(),
    }
    print(json.dumps(line))


def parsed(reply: Response[Any], kind: type[Parsed]) -> Parsed:
    """A reply's value, which must be of the model that it should be."""
    found = reply.parsed
    assert isinstance(found, kind), reply
    return found


def play(client: Client, user_id: str) -> None:
    """A game, from the player's creation to the errors at its end."""
    new = CreateUser(username="Ada", email="ada@example.com", user_id=user_id)
    key = f"creation-of-{user_id}"
    user = parsed(create_user.sync_detailed(client=client, body=new, idempotency_key=key), UserChanged).user
    assert user.score == 0
    again = create_user.sync_detailed(client=client, body=new, idempotency_key=key)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert parsed(again, UserChanged).user.created_at == user.created_at

    submitted = parsed(update_score.sync_detailed(user_id, client=client, body=UpdateScore(score=700)), Submitted)
    assert submitted.user.score == 700
    data = GameData.from_dict({"map": "harbour"})
    body = UpdateScore(score=1500, operator=Operator.BEST, game_data=data)
    submitted = parsed(update_score.sync_detailed(user_id, client=client, body=body), Submitted)
    assert (submitted.receipt.delta, submitted.receipt.operator, submitted.receipt.next_) == (800, Operator.BEST, None)
    assert submitted.game_data == data
    assert parsed(get_user.sync_detailed(user_id, client=client), UserFound).user.email == "ada@example.com"

    page = parsed(leaderboard.sync_detailed(client=client), LeaderboardPage)
    assert [entry.username for entry in page.leaderboard] == ["Ada"]
    page = parsed(leaderboard.sync_detailed(client=client, limit=1, offset=1), LeaderboardPage)
    assert (page.leaderboard, page.total_players) == ([], 1)
    assert parsed(rank.sync_detailed(user_id, client=client), RankFound).rank.percentile == 100
    near = parsed(nearby.sync_detailed(user_id, client=client, range_=3), NearbyPlayers)
    assert [player.is_current_user for player in near.players] == [True]

    members = CreateSessionSessionData.from_dict({"gameMode": "duel"})
    opening = CreateSession(user_id=user_id, session_data=members)
    session_id = str(
        parsed(sessions_create.sync_detailed(client=client, body=opening), SessionCreated).session.session_id
    )
    found = parsed(sessions_get.sync_detailed(session_id, client=client), SessionFound)
    assert found.session["gameMode"] == "duel"
    assert sessions_delete.sync_detailed(session_id, client=client).status_code == 204

    assert parsed(stats.sync_detailed(client=client), StatisticsFound).stats.total_games == 2
    assert parsed(health.sync_detailed(client=client), Healthy).valkey.connected
    assert health_head.sync_detailed(client=client).status_code == 200

    assert parsed(sessions_get.sync_detailed(session_id, client=client), Problem).code == "session_not_found"
    refused = parsed(update_score.sync_detailed(user_id, client=client, body=UpdateScore(score=-1)), Problem)
    assert isinstance(refused.errors, list)
    assert [(error.name, error.in_) for error in refused.errors] == [("score", FieldErrorIn.BODY)]


def opened(base_url: str) -> Client:
    """A client that prints each reply."""
    hooks = {"event_hooks": {"response": [tell]}, "trust_env": False}
    return Client(base_url=base_url, raise_on_unexpected_status=True, httpx_args=hooks)


if __name__ == "__main__":
    with opened(sys.argv[1]) as client:
        play(client, sys.argv[2])
