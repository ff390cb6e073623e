"""PATCH /users/{userId} - another name or e-mail address for a player."""

from typing import Any

from marshmallow import validates_schema
from marshmallow.exceptions import ValidationError

from shared import access, acts, fields, players
from shared.access import Caller
from shared.config import settings
from shared.endpoint import Reply, endpoint
from shared.store import store


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)
    username = fields.username(required=False)
    email = fields.new_email()

    @validates_schema
    def changes_something(self, arguments: dict[str, Any], **_: Any) -> None:
        """Raises ValidationError if there is nothing to change."""
        if not {"username", "email"} & arguments.keys():
            raise ValidationError("must be given, or email", "username")


@endpoint(Arguments, caller=True)
def handler(caller: Caller, user_id: str, **given: str | None) -> Reply:
    with acts.recorded("amend", caller, user_id) as done:
        texts = {name: text or "" for name, text in given.items()}  # None takes the address away
        user = players.amend(store(), settings().rules, user_id=user_id, **texts)
        done["after"] = {"newUsername": "username" in given, "newEmail": "email" in given, "hasEmail": "email" in user}
    return 200, {"success": True, "user": access.shown(user, caller)}
