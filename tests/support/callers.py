"""Who asks: what API Gateway's authorizer says of a token, as a function gets it in an event."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

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


def able(scopes: Sequence[str]) -> dict[str, str] | None:
    """Somebody who may do this to anybody, where these are an operation's scopes; None for what everybody may."""
    found = [scope for scope in ("server", "admin") if scope in scopes]
    return vouched(found[0], f"any-{found[0]}") if found else None
