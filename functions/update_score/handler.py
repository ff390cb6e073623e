"""PUT /users/{userId}/score - a game was played, and this is the score now."""

from shared import fields, players
from shared.config import settings
from shared.endpoint import Reply, endpoint
from shared.store import store


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)
    score = fields.Score(required=True)


@endpoint(Arguments)
def handler(user_id: str, score: int) -> Reply:
    user = players.submit(store(), settings().score_bounds, user_id=user_id, score=score)
    return 200, {"success": True, "user": user}
