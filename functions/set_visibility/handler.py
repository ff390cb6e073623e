"""PUT /users/{userId}/visibility - a player is hidden, or shown again."""

from typing import Any

from shared import fields, problems
from shared.endpoint import Reply, endpoint


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)
    hidden = fields.Flag(required=True)
    reason = fields.reason()
    recount = fields.Flag(load_default=False)


@endpoint(Arguments)
def handler(**_: Any) -> Reply:
    raise problems.NotAllowed
