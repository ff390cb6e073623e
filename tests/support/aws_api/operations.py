"""The operations that we answer or refuse ourselves, by service and name: `@operation` adds them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moto.backends import get_backend
from moto.core.exceptions import ServiceException
from werkzeug.wrappers import Response

from tests.support.aws_api import Switches


class Refused(ServiceException):  # type: ignore[misc]
    """AWS's refusal: `Refused(code, message)`, with the code that botocore's model has for it."""


@dataclass
class AccountState:
    """What moto does not keep about an account."""

    id: str
    switches: Switches = field(default_factory=Switches)
    things: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What was created, by kind and name."""

    def of(self, kind: str) -> dict[str, Any]:
        """Everything of a kind, by name; may be changed in place."""
        return self.things.setdefault(kind, {})


@dataclass(frozen=True)
class Request:
    """A request that is valid by botocore's model."""

    account: AccountState
    region: str
    parameters: Mapping[str, Any]
    ask_moto: Callable[[], Response]
    """moto's answer to it."""

    def records(self, service: str) -> Any:
        """moto's own records of a service; may be changed in place."""
        return get_backend(service)[self.account.id][self.region]  # type: ignore[call-overload]

    def arn(self, service: str, rest: str) -> str:
        """An ARN of this account and Region."""
        return f"arn:aws:{service}:{self.region}:{self.account.id}:{rest}"


Answer = Response | Mapping[str, Any]
"""moto's response as it is, or the result as botocore names its members."""

OPERATIONS: dict[tuple[str, str], Callable[[Request], Answer]] = {}

LOCK = threading.RLock()
"""Held while an operation runs: none sees another's half-done work, neither ours nor moto's."""


def operation(service: str, *names: str) -> Callable[[Callable[[Request], Answer]], Callable[[Request], Answer]]:
    """Makes a function answer these operations in moto's place."""

    def keep(function: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
        OPERATIONS.update({(service, name): function for name in names})
        return function

    return keep
