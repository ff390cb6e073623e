"""AWS's API on this machine, to show what an apply does: moto, what moto lacks, and refusals where AWS refuses.

    with aws_api.serving(folder) as aws:
        account = aws.account("111111111111")
        account.set(concurrent_executions=10)
        terraforms.apply(tree, values, environment=account.variables)
        assert "UpdateRestApi" not in [call.operation for call in account.calls()]

One process serves any number of accounts, which know nothing of each other. Its log is in the folder. Signatures and
permissions are not checked: a request belongs to the account that its access key names.

Every request is checked against botocore's model of the operation (required members, lengths, patterns, choices), which
moto hardly does, and is then answered by its service's module here, or else by moto. To add an operation or a
refusal, write a function under `@operation(service, name)` in that module.

What is refused besides: see `Switches`, which a test turns by `account.set`, and the modules. Names and messages of the
errors are AWS's where somebody has seen them, as the comment beside each says.
"""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import processes
from tests.support.wires import free_port

REGION = "eu-central-1"
ACCOUNT = "123456789012"
"""The account of a request whose access key does not name one."""


@dataclass
class Switches:
    """The properties of an account, and how strict AWS is where nobody has seen it."""

    concurrent_executions: int = 1000
    """Lambda's quota for the Region: 10 in a new account. 100 must stay unreserved."""
    zones_without_endpoints: Sequence[str] = ()
    """Availability zones that no interface endpoint can be in."""
    logging_role: bool = True
    """Whether API Gateway has the role with which it writes logs in this Region."""


@dataclass(frozen=True)
class Call:
    """A request that arrived."""

    service: str
    """As botocore calls it, e.g. "apigateway"."""
    operation: str
    parameters: Mapping[str, Any]
    """As botocore names them. Bytes are replaced by their number, except API Gateway's documents."""
    error: str | None
    """The error code, if it was refused."""


def access_key(account: str) -> str:
    """The access key that makes a request belong to an account."""
    return f"ACCOUNT{account}"


@dataclass(frozen=True)
class Account:
    """An account on the emulated AWS."""

    url: str
    id: str

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that lead Terraform, boto3 and the command line to it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": access_key(self.id),
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self, service: str) -> Any:
        """A boto3 client for a service."""
        import boto3  # type: ignore[import-untyped]

        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id=self.variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.variables["AWS_SECRET_ACCESS_KEY"],
        )

    def calls(self) -> list[Call]:
        """All requests until now, in the order in which they arrived."""
        return [Call(**call) for call in self._ask("GET", "calls")]

    def forget_calls(self) -> None:
        """Empties the list of requests."""
        self._ask("DELETE", "calls")

    def set(self, **switches: Any) -> None:
        """Turns some of the Switches; the others stay as they are."""
        self._ask("PUT", "switches", switches)

    def settle(self) -> None:
        """Finishes what AWS would take minutes over: REST APIs that are UPDATING become AVAILABLE."""
        self._ask("POST", "settle")

    def _ask(self, method: str, what: str, body: Any = None) -> Any:
        url = f"{self.url}/emulated/{self.id}/{what}"
        request = urllib.request.Request(url, method=method, data=json.dumps(body).encode())  # noqa: S310 - our own
        with urllib.request.urlopen(request) as reply:  # noqa: S310 - our own
            return json.load(reply)


@dataclass(frozen=True)
class Aws:
    """The serving process."""

    url: str

    def account(self, id: str = ACCOUNT) -> Account:
        """An account; it is empty when it is first used."""
        return Account(self.url, id)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Aws]:
    """Serves until the block ends. Raises ServerError."""
    port = free_port()
    with processes.serving(folder / "aws_api.log", "tests.support.aws_api", str(port), port=port):
        yield Aws(f"http://127.0.0.1:{port}")
