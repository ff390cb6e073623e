"""POST /users/{userId}/corrections - people put a player's score right."""

from typing import Any

from shared import access, acts, fields, players
from shared.access import Caller
from shared.config import settings
from shared.endpoint import Reply, endpoint
from shared.idempotency import replay_headers
from shared.store import store


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)
    score = fields.Score(has_operator=False, required=True)
    best_score = fields.Score(has_operator=False)
    reason = fields.reason()


@endpoint(Arguments, keyed="correct_score", caller=True)
def handler(caller: Caller, reason: str, **arguments: Any) -> Reply:
    with acts.recorded("correct", caller, arguments["user_id"], reason) as done:
        corrected = players.correct(store(), settings().rules, **arguments)
        receipt = corrected.receipt
        done["replayed"] = corrected.replayed
        done["before"] = {"score": receipt["previousScore"], "rank": receipt["previousRank"]}
        done["after"] = {"score": receipt["score"], "rank": receipt["rank"], "bestScore": arguments.get("best_score")}
    correction = {
        "correctionId": receipt["submissionId"],
        "previousScore": receipt["previousScore"],
        "score": receipt["score"],
        "delta": receipt["delta"],
        "previousRank": receipt["previousRank"],
        "rank": receipt["rank"],
        "totalPlayers": receipt["totalPlayers"],
    }
    user = access.shown(corrected.user, caller)
    return 201, {"success": True, "user": user, "correction": correction}, replay_headers(corrected.replayed)
