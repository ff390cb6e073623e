"""DELETE /users/{userId} - a player is erased."""

from typing import Any

from shared import fields, problems
from shared.endpoint import Reply, endpoint


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)


@endpoint(Arguments)
def handler(**_: Any) -> Reply:
    raise problems.NotAllowed
