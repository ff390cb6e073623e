"""GET /users/{userId} - a player's profile, as everybody may see it."""

from shared import access, fields, players
from shared.endpoint import Reply, endpoint
from shared.store import store


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)


@endpoint(Arguments, kind="read")
def handler(user_id: str) -> Reply:
    return 200, {"user": access.shown(players.find(store(), user_id))}
