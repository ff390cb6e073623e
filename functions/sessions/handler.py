"""POST /sessions, GET and DELETE /sessions/{sessionId} - a player's play, until it is ended or expires."""

from typing import Any

from shared import access, fields, sessions
from shared.access import Caller
from shared.config import settings
from shared.endpoint import Reply, by_method, endpoint
from shared.idempotency import replay_headers
from shared.store import store


class Creation(fields.Arguments):
    user_id = fields.user_id(required=True)
    session_data = fields.Document(4 * 1024, 16, sessions.is_reserved)


class Arguments(fields.Arguments):
    session_id = fields.session_id()


@endpoint(Creation, keyed="sessions.create", caller=True)
def create(caller: Caller, **arguments: Any) -> Reply:
    done = sessions.create(store(), settings().session_rules_of(caller.scope), **arguments)
    return 201, {"success": True, "session": done.session}, replay_headers(done.replayed)


@endpoint(Arguments, kind="read", caller=True)
def get(caller: Caller, session_id: str) -> Reply:
    return 200, {"session": sessions.find(store(), session_id, access.own(caller))}


@endpoint(Arguments, caller=True)
def delete(caller: Caller, session_id: str) -> Reply:
    sessions.delete(store(), session_id, access.own(caller))
    return 204, None


handler = by_method(POST=create, GET=get, DELETE=delete)
