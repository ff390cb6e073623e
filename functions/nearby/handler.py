"""GET /users/{userId}/nearby - a player among the neighbours on the board."""

from shared import board, fields
from shared.endpoint import Reply, endpoint
from shared.store import store


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)
    range = fields.WholeText(1, 50, load_default=5)


@endpoint(Arguments, kind="read")
def handler(user_id: str, range: int) -> Reply:
    return 200, {"players": board.around(store(), user_id, range)}
