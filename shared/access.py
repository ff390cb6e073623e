"""Who may do what: judges a request by what the gateway's authorizer has told of the caller's token.

The authorizer says who somebody is, for every operation alike; here it is decided what they may. Nothing else is
trusted, neither a header nor the token itself: where the authorizer has not spoken, or not clearly, nobody may.
The gateway goes on for some minutes by what the authorizer once said, so a token's end is judged here again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from shared.config import IS_ID, Operator, Scope, settings
from shared.operations import NEED_A_TOKEN, SCOPES
from shared.problems import NotAllowed

_ISSUER = re.compile(r"[!-~]{1,255}\Z").match
_SUBJECT = re.compile(r"[ -~]{1,255}\Z").match
_SECONDS = re.compile(r"[0-9]{1,12}\Z").match

Shown = TypeVar("Shown", bound=Mapping[str, Any])


class Caller(NamedTuple):
    """Who asks. `scope` None is somebody without a token, of whom nothing is known. A player's `subject` is their
    userId; `token_id` is '' where the token has none."""

    scope: Scope | None
    issuer: str = ""
    subject: str = ""
    token_id: str = ""

    @property
    def name(self) -> str:
        """Whom an idempotency key belongs to, however often the token is renewed; '' for nobody."""
        return f"{self.issuer} {self.subject}" if self.scope else ""


ANYBODY = Caller(None)


def is_for_anybody(operation: str) -> bool:
    """Whether nothing has to be judged, for `GET /stats` say: a token is not even looked at."""
    return SCOPES.get(operation) == ()


def judge(event: Mapping[str, Any], operation: str, user_id: str | None) -> Caller:
    """The caller of an operation that not everybody may have, on the player of this id; None if it names none.

    Raises NotAllowed.
    """
    if settings().access == "open":
        if operation in NEED_A_TOKEN:
            raise NotAllowed("It takes a deployment whose access is protected: here, access is open.")
        return ANYBODY
    caller = _told(event)
    scopes = SCOPES.get(operation, ())
    if caller.scope not in scopes:
        raise NotAllowed(f"It takes a token of the scope {' or '.join(scopes) or 'that nobody has'}.")
    if caller.scope == "player" and user_id is not None and user_id != caller.subject:
        raise NotAllowed("A player's token allows it for that player only: use the token of this one.")
    return caller


def creation(caller: Caller, starting_score: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with which a caller creates a player: a player's token creates that player, who begins like all.

    Raises NotAllowed.
    """
    if caller.scope != "player":
        return {**arguments}
    if arguments.get("score", starting_score) != starting_score:
        raise NotAllowed("A player begins with the starting score: leave score out.")
    return {**arguments, "user_id": caller.subject}


def may_submit(caller: Caller, operator: Operator) -> None:
    """Raises NotAllowed for a player who submits with an operator that players do not have here."""
    if caller.scope == "player" and operator not in settings().player_operators:
        raise NotAllowed(f"Players may not submit with the operator {operator} here: the game's server has to do it.")


def own(caller: Caller) -> str | None:
    """The only player whose things this caller may have; None if they may have everybody's."""
    return caller.subject if caller.scope == "player" else None


def shown(user: Shown, caller: Caller = ANYBODY) -> Mapping[str, Any]:
    """A profile as the caller may see it: the e-mail address is for the player and for servers; where access is open,
    for anybody."""
    if settings().access == "open" or caller.scope in ("player", "server"):
        return user
    return {name: value for name, value in user.items() if name != "email"}


def _told(event: Mapping[str, Any]) -> Caller:
    """Who the authorizer says it is, in text as API Gateway makes it of each member; it has allowed for other clocks.

    Raises NotAllowed for anything else.
    """
    match (event.get("requestContext") or {}).get("authorizer"):
        case {
            "scope": "player" | "server" | "admin" as scope,
            "issuer": str() as issuer,
            "subject": str() as subject,
            "tokenId": str() as token_id,
            "expires": str() as expires,
        }:
            pass
        case _:
            raise NotAllowed
    is_subject = IS_ID if scope == "player" else _SUBJECT
    if not (_ISSUER(issuer) and is_subject(subject) and _SECONDS(expires)):
        raise NotAllowed
    if int(expires) <= time.time():
        raise NotAllowed("The token has expired: send a new one.")
    return Caller(scope, issuer, subject, token_id)
