"""Answers of AWS, checked against botocore's models: an impossible answer or a wrong request fails the test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.stub import ANY, Stubber

__all__ = ["ANY", "Recorded", "recorded"]


class Recorded:
    """`recorded("lambda")` is a client that gives prepared answers, in the order in which it is asked."""

    def __init__(self) -> None:
        self._stubs: dict[str, tuple[Any, Stubber]] = {}

    def __call__(self, service: str, _region: str = "") -> Any:
        """The client, whatever the Region."""
        return self._of(service)[0]

    def answer(self, service: str, operation: str, response: dict[str, Any], **expected: Any) -> None:
        """Sets what an operation returns the next time, and the parameters that it must be called with, if any."""
        self._of(service)[1].add_response(operation, response, expected or None)

    def refuse(self, service: str, operation: str, code: str = "AccessDeniedException", **expected: Any) -> None:
        """Sets the error that an operation returns the next time."""
        self._of(service)[1].add_client_error(operation, code, expected_params=expected or None)

    def assert_asked(self) -> None:
        """Fails if an answer is left over."""
        for _, stub in self._stubs.values():
            stub.assert_no_pending_responses()

    def _of(self, service: str) -> tuple[Any, Stubber]:
        if service not in self._stubs:
            keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
            client = boto3.client(service, region_name="eu-central-1", **keys)
            stub = Stubber(client)
            stub.activate()
            self._stubs[service] = client, stub
        return self._stubs[service]


@contextlib.contextmanager
def recorded() -> Iterator[Recorded]:
    """A recorded AWS, all of whose answers have to be used by the end."""
    one = Recorded()
    yield one
    one.assert_asked()
