"""GET /users/{userId}/export - everything that is held about a player."""

from typing import Any

from shared import fields, problems
from shared.endpoint import Reply, endpoint


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)


@endpoint(Arguments)
def handler(**_: Any) -> Reply:
    raise problems.NotAllowed
