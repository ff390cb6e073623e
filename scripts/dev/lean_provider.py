"""The AWS provider for tests and checks, which is asked but once what it always answers alike.

Each command of Terraform has the provider describe all of its 1,500 types, 5 MB, of which ours need a tenth; and each
plan, and each run of `terraform test`, has it judge its settings, for which it goes through all those types once more.
That was half of what a small command cost. All else passes through as it is: it is the real provider that judges
resources, plans them and calls AWS.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]

from scripts.aws import terraform_provider

SCHEMAS, SETTINGS = "/tfplugin5.Provider/GetSchema", "/tfplugin5.Provider/PrepareProviderConfig"
"""The calls whose answer only the request decides."""

BY_TYPE = {2, 3}
"""The fields of the schemas' message that are maps of types: resources, data sources."""

AT_ONCE = 16
"""How many calls wait for the provider at the same time; Terraform makes ten for each command."""

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@contextlib.contextmanager
def serving(
    data: Path, log: Path, environment: Mapping[str, str], folder: Path | None = None, *, types: Iterable[str]
) -> Iterator[Mapping[str, str]]:
    """What points Terraform to a provider with these types, as `terraform_provider.serving` runs it. Raises Refusal."""
    with terraform_provider.serving(data, log, environment, folder) as whole:
        attached = json.loads(whole.variables[terraform_provider.VARIABLE])
        (address,) = (one["Addr"] for one in attached.values())
        with between(f"unix:{address['String']}", frozenset(types)) as address["String"]:
            yield {terraform_provider.VARIABLE: json.dumps(attached)}


def named(folders: Iterable[Path]) -> set[str]:
    """All types of resources and data sources that a file somewhere in these folders names."""
    files = (path for folder in folders for path in folder.rglob("*") if path.suffix in (".tf", ".hcl", ".py"))
    return {name for path in files for name in re.findall(r"\baws_\w+", path.read_text(encoding="utf-8"))}


@contextlib.contextmanager
def between(provider: str, types: frozenset[str]) -> Iterator[str]:
    """The path of a socket behind which a provider, at an address of gRPC, answers with these types."""
    with (
        tempfile.TemporaryDirectory() as folder,  # the path of a socket has to be short
        grpc.insecure_channel(provider, options=UNLIMITED) as channel,
        ThreadPoolExecutor(AT_ONCE) as threads,
    ):
        server = grpc.server(threads, handlers=[_Handler(channel, types)], options=UNLIMITED)
        server.add_insecure_port(f"unix:{folder}/provider")
        server.start()
        try:
            yield f"{folder}/provider"
        finally:
            server.stop(None).wait()


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Hands calls on, as bytes."""

    def __init__(self, channel: grpc.Channel, types: frozenset[str]):
        self._channel, self._types = channel, types
        self._answers: dict[tuple[str, bytes], bytes] = {}

    def service(self, called: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Who answers a call; nobody answers go-plugin's streams, of printed lines and of further sockets."""
        method: str = called.method
        if method.startswith(("/plugin.GRPCBroker/", "/plugin.GRPCStdio/")):
            return None
        return grpc.unary_unary_rpc_method_handler(self._answering(method))

    def _answering(self, method: str) -> Callable[[bytes, Any], bytes]:
        ask = self._channel.unary_unary(method)

        def answer(request: bytes, context: Any) -> bytes:
            try:
                if method not in (SCHEMAS, SETTINGS):
                    return bytes(ask(request))
                if (method, request) not in self._answers:
                    found = ask(request)
                    self._answers[method, request] = only(self._types, found) if method == SCHEMAS else found
                return self._answers[method, request]
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
                raise  # that does not return

        return answer


def only(types: frozenset[str], schemas: bytes) -> bytes:
    """The provider's schemas, a message of protobuf, without the types that are not among these."""
    return b"".join(
        field for number, field, content in _fields(schemas) if number not in BY_TYPE or _key(content).decode() in types
    )


def _key(entry: bytes) -> bytes:
    """The key of a map's entry."""
    return next(content for number, _, content in _fields(entry) if number == 1)


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Each field of a message: its number, all of it, and its content; those that have a length."""
    end = 0
    while end < len(message):
        begin = end
        tag, end = _number(message, end)
        length, end = _number(message, end)
        if tag % 8 != 2:
            raise ValueError("a field without a length: this provider speaks another protocol")
        yield tag // 8, message[begin : end + length], message[end : end + length]
        end += length


def _number(message: bytes, at: int) -> tuple[int, int]:
    """A number as protobuf writes it, and where it ends."""
    found = shift = 0
    while True:
        byte, at, shift = message[at], at + 1, shift + 7
        found |= (byte & 127) << (shift - 7)
        if byte < 128:
            return found, at
