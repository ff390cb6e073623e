"""PUT /users/{userId}/visibility - a player is hidden, or shown again."""

from shared import acts, fields, players, sweeps
from shared.access import Caller
from shared.config import settings
from shared.endpoint import Reply, endpoint
from shared.store import store


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)
    hidden = fields.Flag(required=True)
    reason = fields.reason()
    recount = fields.Flag(load_default=False)


@endpoint(Arguments, caller=True)
def handler(caller: Caller, user_id: str, hidden: bool, reason: str, recount: bool) -> Reply:
    with acts.recorded("hide" if hidden else "unhide", caller, user_id, reason) as done:
        change = players.set_hidden(store(), settings().rules, user_id=user_id, hidden=hidden)
        done["before"], done["after"] = {"hidden": change.before}, {"hidden": change.after, "recount": recount}
        if recount:
            sweeps.begin(store(), anew=True)
    visibility = {"userId": user_id, "hidden": change.after, "wasHidden": change.before}
    return 200, {"success": True, "visibility": visibility}
