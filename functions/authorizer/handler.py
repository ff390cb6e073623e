"""The authorizer - not an operation of the API: API Gateway asks it who sent a request, and passes its answer on.

It says who the caller is and lets them in everywhere: API Gateway keeps the answer for the next requests with the same
token, whatever those ask for. What a caller may do is judged by `endpoint`, from the answer's context.
"""

import re
from typing import Any

from functions.authorizer import verification
from shared import logs, security
from shared.config import MisconfiguredError

STAGE = re.compile(r"(arn:[a-z-]+:execute-api:[a-z0-9-]+:\d+:[A-Za-z0-9]+/[^/]+)/[A-Z]+/").match


class AuthorizerError(Exception):
    """Who the caller is cannot be found out. API Gateway takes it for an error of ours and lets nobody in."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The event of a TOKEN authorizer: a policy for the whole stage, and the context that says who the caller is.

    Raises Exception("Unauthorized"), the words by which API Gateway knows to answer 401, for a token that is not
    believed, and AuthorizerError.
    """
    logs.belongs_to(getattr(context, "aws_request_id", None))
    try:
        stage = STAGE(event["methodArn"])
        caller = verification.caller(event["authorizationToken"])
        return {
            "principalId": caller["subject"],
            "policyDocument": _allowed(f"{stage[1]}/*/*"),  # type: ignore[index] # fails as loudly as it should
            "context": caller,
        }
    except verification.Refused as refusal:
        security.report("token_refused", reason=refusal.fault)
    except Exception as error:
        cause = str(error) if isinstance(error, MisconfiguredError) else logs.where(error)
        security.report("authorizer_failed", cause=cause)
        raise AuthorizerError("The log says why.") from None
    finally:
        logs.belongs_to(None)
    raise Exception("Unauthorized")


def _allowed(resource: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": resource}
    return {"Version": "2012-10-17", "Statement": [statement]}
