"""Who asks: what API Gateway's authorizer says of a token, as a function gets it in an event."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

from shared.config import Scope

ISSUER = "leaderboard-dev"


def vouched(scope: str, subject: str, *, issuer: str = ISSUER, seconds: int = 3600) -> dict[str, str]:
    """The `requestContext.authorizer` of a token that is good for so many seconds more. API Gateway adds members."""
    return {
        "principalId": subject,
        "integrationLatency": "3",
        "issuer": issuer,
        "subject": subject,
        "scope": scope,
        "expires": str(int(time.time()) + seconds),
        "tokenId": str(uuid.uuid4()),
    }


def able_scope(scopes: Sequence[str]) -> Scope | None:
    """Whose token may do this to anybody, where these are an operation's scopes; None for what everybody may."""
    preferred: tuple[Scope, ...] = ("server", "admin")
    return next((scope for scope in preferred if scope in scopes), None)


def able(scopes: Sequence[str]) -> dict[str, str] | None:
    """What the authorizer says of somebody with such a token."""
    scope = able_scope(scopes)
    return vouched(scope, f"any-{scope}") if scope else None
