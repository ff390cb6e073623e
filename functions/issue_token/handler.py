"""POST /users/{userId}/tokens - a token for a player's game client."""

from shared import clock, fields, tokens
from shared.config import settings
from shared.endpoint import Reply, endpoint


class Arguments(fields.Arguments):
    user_id = fields.user_id(required=True)
    lifetime_seconds = fields.Whole(60, tokens.LONGEST_PLAYER_SECONDS, load_default=3600)


@endpoint(Arguments)
def handler(user_id: str, lifetime_seconds: int) -> Reply:
    key, issuer = tokens.key(settings())
    issued = tokens.issue(key, issuer, subject=user_id, scope="player", seconds=lifetime_seconds)
    told = {"userId": user_id, "scope": "player", "expiresAt": clock.text(issued.expires * 1000)}
    return 201, {"success": True, "token": {"token": issued.token, "tokenId": issued.token_id, **told}}
