"""POST /users/{userId}/corrections - people put a player's score right."""

from typing import Any

from shared import fields, problems
from shared.endpoint import Reply, endpoint


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)
    score = fields.Score(has_operator=False, required=True)
    best_score = fields.Score(has_operator=False)
    reason = fields.reason()


@endpoint(Arguments, keyed="correct_score")
def handler(**_: Any) -> Reply:
    raise problems.NotAllowed
