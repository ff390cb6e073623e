"""How a REST API of API Gateway asks a TOKEN authorizer: the very function that runs on Lambda.

Source: API Gateway developer guide, "Use API Gateway Lambda authorizers" and the pages on its input and output.
"""

from __future__ import annotations

import importlib
import re
import threading
import time
import traceback
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from scripts.local import proxy, routes
from shared import problems

FUNCTION = "authorizer"

CACHE_SECONDS = 300
"""How long an answer is good for further requests with the same token, as in terraform/."""

MOST_ANSWERS = 1000


class Authorizer:
    """The authorizer of this API, and what it has answered of late."""

    def __init__(self) -> None:
        self._handler = importlib.import_module(f"functions.{FUNCTION}.handler").handler
        pattern = routes.contract()["components"]["securitySchemes"]["Bearer"]["x-pattern"]
        self._is_token = re.compile(pattern).fullmatch
        self._answers: dict[str, tuple[float, Any]] = {}
        self._lock = threading.Lock()

    def ask(self, request: proxy.Request, seconds: float) -> Mapping[str, str]:
        """What a function finds in its event's `requestContext.authorizer`.

        Raises Unauthenticated, NotAllowed, and Unavailable for an authorizer that fails or answers nonsense.
        """
        tokens = [value for name, value in request.headers if name.lower() == "authorization"]
        if len(tokens) != 1 or not self._is_token(tokens[0]):  # what API Gateway does with two is documented nowhere
            raise problems.Unauthenticated
        now = time.monotonic()
        until, answer = self._answers.get(tokens[0], (0.0, None))
        if until <= now:
            answer = self._call(tokens[0], request.arn, seconds)
            with self._lock:
                while len(self._answers) >= MOST_ANSWERS:
                    del self._answers[next(iter(self._answers))]
                self._answers[tokens[0]] = now + CACHE_SECONDS, answer
        try:
            is_allowed, context = _is_allowed(answer["policyDocument"], request.arn), _texts(answer)
        except (KeyError, TypeError, ValueError):
            traceback.print_exc()
            raise problems.Unavailable from None
        if not is_allowed:
            raise problems.NotAllowed
        return context

    def _call(self, token: str, arn: str, seconds: float) -> Any:
        event = {"type": "TOKEN", "authorizationToken": token, "methodArn": arn}
        try:
            return self._handler(event, proxy.Context(seconds, FUNCTION))
        except Exception as error:
            if str(error) == "Unauthorized":  # the word by which API Gateway knows it
                raise problems.Unauthenticated from None
            raise problems.Unavailable from None


def _is_allowed(policy: Mapping[str, Any], arn: str) -> bool:
    """Whether a policy lets somebody ask for this: a denial counts more, and what is not named is denied."""
    effects = {
        statement["Effect"]
        for statement in policy["Statement"]
        if any(fnmatchcase("execute-api:Invoke", action) for action in _several(statement["Action"]))
        and any(fnmatchcase(arn, resource) for resource in _several(statement["Resource"]))
    }
    return effects == {"Allow"}


def _several(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _texts(answer: Mapping[str, Any]) -> dict[str, str]:
    """The context as a function gets it: everything is text. Raises ValueError for what has parts, which is refused."""
    texts = {}
    for name, value in {**answer.get("context", {}), "principalId": answer["principalId"]}.items():
        if not isinstance(value, str | int | float):
            raise ValueError(f"{name} is neither a text nor a number nor a boolean")
        texts[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return texts
