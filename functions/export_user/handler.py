"""GET /users/{userId}/export - everything that is held about a player."""

from shared import access, acts, fields, people
from shared.access import Caller
from shared.endpoint import Reply, endpoint
from shared.store import store


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)


@endpoint(Arguments, caller=True)
def handler(caller: Caller, user_id: str) -> Reply:
    with acts.recorded("export", caller, user_id) as done:
        export = people.export(store(), user_id)
        done["after"] = {"submissions": len(export["submissions"]), "sessions": len(export["sessions"])}
    return 200, {"export": {**export, "user": access.shown(export["user"], caller)}}
