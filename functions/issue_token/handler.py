"""POST /users/{userId}/tokens - a token for a player's game client."""

from typing import Any

from shared import fields, problems
from shared.endpoint import Reply, endpoint


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)
    lifetime_seconds = fields.Whole(60, 86_400, required=True)


@endpoint(Arguments)
def handler(**_: Any) -> Reply:
    raise problems.NotAllowed
