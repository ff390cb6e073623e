"""GET /users/{userId}/rank - where a player stands."""

from shared import board, fields
from shared.endpoint import Reply, endpoint
from shared.store import store


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)


@endpoint(Arguments, kind="read")
def handler(user_id: str) -> Reply:
    return 200, {"rank": board.standing(store(), user_id)}
