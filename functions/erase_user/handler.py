"""DELETE /users/{userId} - a player is erased."""

from shared import acts, fields, people
from shared.access import Caller
from shared.config import settings
from shared.endpoint import Reply, endpoint
from shared.store import store


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)


@endpoint(Arguments, caller=True)
def handler(caller: Caller, user_id: str) -> Reply:
    with acts.recorded("erase", caller, user_id) as done:
        erased = people.erase(store(), settings().rules, user_id=user_id)
        done["before"] = {**erased._asdict()}
    return 204, None
