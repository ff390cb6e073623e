"""GET /users/{userId} - a player's profile."""

from shared import fields, players
from shared.endpoint import Reply, endpoint
from shared.store import store


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)


@endpoint(Arguments, kind="read")
def handler(user_id: str) -> Reply:
    return 200, {"user": players.find(store(), user_id)}
