"""PATCH /users/{userId} - another name or e-mail address for a player."""

from typing import Any

from marshmallow import validates_schema
from marshmallow.exceptions import ValidationError

from shared import fields, problems
from shared.endpoint import Reply, endpoint


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)
    username = fields.username(required=False)
    email = fields.new_email()

    @validates_schema
    def changes_something(self, arguments: dict[str, Any], **_: Any) -> None:
        """Raises ValidationError if there is nothing to change."""
        if not {"username", "email"} & arguments.keys():
            raise ValidationError("must be given, or email", "username")


@endpoint(Arguments)
def handler(**_: Any) -> Reply:
    raise problems.NotAllowed
