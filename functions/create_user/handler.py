"""POST /users - a new player, on the board at once."""

from typing import Any

from shared import access, fields, players
from shared.access import Caller
from shared.config import settings
from shared.endpoint import Reply, endpoint
from shared.idempotency import replay_headers
from shared.store import store


class Arguments(fields.Arguments):
    username = fields.username()
    email = fields.email()
    user_id = fields.user_id()
    score = fields.Score(has_operator=False)
    level = fields.Ignored()
    games_played = fields.Ignored()


@endpoint(Arguments, keyed="create_user", caller=True)
def handler(caller: Caller, **arguments: Any) -> Reply:
    rules = settings().rules
    done = players.create(store(), rules, **access.creation(caller, rules.starting_score, arguments))
    return 201, {"success": True, "user": done.user}, replay_headers(done.replayed)
