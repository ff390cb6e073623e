"""Made from functions/openapi.yaml by `make format`: change that."""

SCOPES: dict[str, tuple[str, ...]] = {
    "POST /users": ("player", "server"),
    "GET /users/{userId}": (),
    "PATCH /users/{userId}": ("player", "server", "admin"),
    "DELETE /users/{userId}": ("player", "server", "admin"),
    "PUT /users/{userId}/score": ("player", "server"),
    "GET /leaderboard": (),
    "GET /users/{userId}/rank": (),
    "GET /users/{userId}/nearby": (),
    "GET /users/{userId}/export": ("player", "server", "admin"),
    "POST /users/{userId}/tokens": ("server",),
    "PUT /users/{userId}/visibility": ("admin",),
    "POST /users/{userId}/corrections": ("admin",),
    "POST /sessions": ("player", "server"),
    "GET /sessions/{sessionId}": ("player", "server"),
    "DELETE /sessions/{sessionId}": ("player", "server"),
    "GET /stats": (),
    "GET /health": (),
    "HEAD /health": (),
}
"""The scopes that each operation answers where access is protected; one without any answers everybody."""

NEED_A_TOKEN = {
    "PATCH /users/{userId}",
    "DELETE /users/{userId}",
    "GET /users/{userId}/export",
    "POST /users/{userId}/tokens",
    "PUT /users/{userId}/visibility",
    "POST /users/{userId}/corrections",
}
"""The operations that are never done without a token, and so never where access is open."""
