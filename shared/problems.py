"""Everything that can go wrong with a request, as one tree: raise them anywhere, `endpoint` answers them (RFC 9457)."""

from __future__ import annotations

from typing import Literal, TypedDict

Location = Literal["path", "query", "body", "header"]

FieldError = TypedDict("FieldError", {"name": str, "in": Location, "detail": str})
"""One offending argument: its name, where it came from, and what it must be. Never its value."""

NO_INTEGER_WITHIN = "must be an integer from {} to {}"
"""What is wrong with a value that is not an integer, or is out of range."""


class Problem(Exception):
    """A refusal with a stable `code`. `error` is the short sentence, `detail` the one that says what to do."""

    status = 500
    code = "internal_error"
    title = "Internal error"
    error = "Internal server error"
    detail = "The request could not be answered. It was logged under the requestId of this reply."
    retry_after_seconds: int | None = None
    errors: list[FieldError] | None = None


class InternalError(Problem):
    """A bug of ours."""


class InvalidArguments(Problem):
    """Arguments that break their rules: all of them in one reply."""

    status = 400
    code = "invalid_arguments"
    title = "Invalid arguments"

    def __init__(self, errors: list[FieldError]):
        super().__init__()
        self.errors = errors
        self.error = f"{errors[0]['name']} {errors[0]['detail']}"
        self.detail = "; ".join(f"{error['name']} {error['detail']}" for error in errors)


class MalformedBody(Problem):
    """A body that is not a JSON object; `detail` says why."""

    status = 400
    code = "malformed_body"
    title = "Malformed body"
    error = "Invalid JSON body"

    def __init__(self, detail: str):
        super().__init__()
        self.detail = detail


class Forbidden(Problem):
    """The API key is missing or unknown."""

    status = 403
    code = "forbidden"
    title = "Forbidden"
    error = "Forbidden"
    detail = "Send a valid API key in the header x-api-key."


class NotAllowed(Problem):
    """The caller's token does not allow this; `detail` says what would."""

    status = 403
    code = "not_allowed"
    title = error = "Not allowed"

    def __init__(self, detail: str = "Nobody vouches for the token that came with this request: send another one."):
        super().__init__()
        self.detail = detail


class Unauthenticated(Problem):
    """No valid token came with a request that needs one. The gateway says so: our functions are not called then."""

    status = 401
    code = "unauthenticated"
    title = error = "Unauthenticated"
    detail = "Send a valid token in the header Authorization: Bearer, with the token behind it."


class NotFound(Problem):
    """Something that the request names does not exist."""

    status = 404


class UserNotFound(NotFound):
    """No player has this userId."""

    code = "user_not_found"
    title = error = "User not found"
    detail = "No user has this userId. Create one with POST /users."


class NotRanked(NotFound):
    """The player is hidden."""

    code = "not_ranked"
    title = error = "Not ranked"
    detail = "This player is on no leaderboard."


class SessionNotFound(NotFound):
    """The session never existed, was deleted, or has expired."""

    code = "session_not_found"
    title = error = "Session not found"
    detail = "No session has this sessionId. It may have expired: create one with POST /sessions."


class EndpointNotFound(NotFound):
    """No operation has this path and method."""

    code = "endpoint_not_found"
    title = error = "Endpoint not found"
    detail = "No operation has this path and method."


class UserExists(Problem):
    """The userId is taken."""

    status = 409
    code = "user_exists"
    title = error = "User already exists"
    detail = "Another user has this userId. Nothing was changed."


class KeyReused(Problem):
    """The Idempotency-Key was used before, with another payload."""

    status = 422
    code = "idempotency_key_reused"
    title = error = "Idempotency-Key already used"
    detail = "This Idempotency-Key was used with another payload. Nothing was changed: send a new key."


class BodyTooLarge(Problem):
    """The body has too many bytes."""

    status = 413
    code = "body_too_large"
    title = error = "Request body too large"

    def __init__(self, limit_bytes: int):
        super().__init__()
        self.detail = f"The body may have {limit_bytes} bytes at most."


class UnsupportedMediaType(Problem):
    """The body is not declared as JSON."""

    status = 415
    code = "unsupported_media_type"
    title = error = "Unsupported media type"
    detail = "Send a JSON body in UTF-8 with the header Content-Type: application/json."


class TooManyRequests(Problem):
    """The caller's rate limit is reached."""

    status = 429
    code = "too_many_requests"
    title = error = "Too many requests"
    detail = "The rate limit is reached. Wait as long as Retry-After says."
    retry_after_seconds = 1


class TooManyKeys(TooManyRequests):
    """The player has as many receipts as are allowed: without a limit, one client could fill the memory with them."""

    code = "too_many_keys"
    title = error = "Too many Idempotency-Keys"

    def __init__(self, most: int, retry_after_seconds: int):
        super().__init__()
        self.detail = f"This player's last {most} keys are still remembered. Wait as long as Retry-After says."
        self.retry_after_seconds = retry_after_seconds


class TooManySubmissions(TooManyRequests):
    """The player has submitted as often as a player may."""

    code = "too_many_submissions"
    title = error = "Too many submissions"

    def __init__(self, per_minute: int, retry_after_seconds: int):
        super().__init__()
        self.detail = f"A player may submit {per_minute} scores a minute. Wait as long as Retry-After says."
        self.retry_after_seconds = retry_after_seconds


class TooManySessions(TooManyRequests):
    """The player has as many sessions as may be open, or has started them as often as a player may."""

    code = "too_many_sessions"
    title = error = "Too many sessions"
    detail = (
        "This player has too many open sessions, or has started too many of late. Wait as long as Retry-After says, "
        "or end one."
    )

    def __init__(self, retry_after_seconds: int):
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Problem):
    """The cache could not be reached, or refused to work, or time was up."""

    status = 503
    code = "unavailable"
    title = error = "Service unavailable"
    detail = "The leaderboard cannot be reached at the moment. Wait as long as Retry-After says."
    retry_after_seconds = 1


class StaleAttempt(Unavailable):
    """The attempt reached the cache long before or after the time at which it claims to have been made."""

    code = "stale_attempt"
    detail = "The request was held up on its way and refused. Send it again, with the same Idempotency-Key."


class NotYetVisible(Unavailable):
    """The submission is safe in the profile, but the board did not take it in time; it will be brought up to date."""

    code = "not_yet_visible"
    title = error = "Not yet visible"
    detail = (
        "The submission is stored and will appear on the board within minutes. "
        "To be sure of it, send it again with the same Idempotency-Key; without one, do not send it again."
    )


def outcome(status: int, code: str | None) -> str:
    """What has become of a request that was answered with a problem of this status and code, in a word."""
    if status < 500:
        return "refused"
    if status == 503:
        return "not_yet_visible" if code == NotYetVisible.code else "unavailable"
    return "failed"
