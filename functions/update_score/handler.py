"""PUT /users/{userId}/score - a game was played, and this is what it does to the score."""

from typing import Any, get_args

from shared import access, fields, players, revenue
from shared.access import Caller
from shared.config import Operator, settings
from shared.endpoint import Reply, endpoint
from shared.idempotency import replay_headers
from shared.store import store


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)
    score = fields.Score(has_operator=True, required=True)
    operator = fields.OneOf(*get_args(Operator), load_default=lambda: settings().default_operator)
    game_data = fields.Document(4 * 1024, 16)


@endpoint(Arguments, keyed="update_score", kind="submission", caller=True)
def handler(caller: Caller, game_data: dict[str, Any] | None = None, **arguments: Any) -> Reply:
    access.may_submit(caller, arguments["operator"])
    earned = revenue.read(game_data, settings().currencies)
    done = players.submit(store(), settings().rules_of(caller.scope), earned=earned, **arguments)
    echo = {} if game_data is None else {"gameData": game_data}
    return 200, {"success": True, "user": done.user, "receipt": done.receipt, **echo}, replay_headers(done.replayed)
