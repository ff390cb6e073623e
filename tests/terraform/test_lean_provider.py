"""What stands between Terraform and its provider in tests and checks: two answers are kept, all else passes through."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest

from scripts.dev import lean_provider
from scripts.dev.lean_provider import SCHEMAS, SETTINGS

PLAN = "/tfplugin5.Provider/PlanResourceChange"


def field(number: int, content: bytes) -> bytes:
    """A field of a message of protobuf, whose content may be long."""
    return bytes([number * 8 + 2, len(content) % 128 + 128, len(content) // 128]) + content


def described(number: int, name: str) -> bytes:
    """A type among the schemas, as an entry of the map with this number."""
    return field(number, field(1, name.encode()) + field(2, b"x" * 300))


class Provider(grpc.GenericRpcHandler):  # type: ignore[misc]
    """One that writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []

    def service(self, called: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Answers a call with what it was sent, schemas, or an error."""

        def answer(request: bytes, context: Any) -> bytes:
            self.asked.append((called.method, request))
            if request == b"refused":
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
            types = [described(2, "aws_vpc"), described(2, "aws_s3_bucket"), described(3, "aws_vpc")]
            return b"".join([field(1, b"settings"), *types, field(4, b"")]) if called.method == SCHEMAS else request

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def channel(provider: Provider, tmp_path: Path) -> Iterator[grpc.Channel]:
    """How Terraform reaches it, without buckets."""
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads, handlers=[provider])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with (
            lean_provider.between(f"127.0.0.1:{port}", frozenset({"aws_vpc"})) as socket,
            grpc.insecure_channel(f"unix:{socket}") as found,
        ):
            yield found
        server.stop(None).wait()


def test_the_schemas_are_asked_for_once_and_have_the_types_that_are_used(
    provider: Provider, channel: grpc.Channel
) -> None:
    answers = [channel.unary_unary(SCHEMAS)(b"") for _ in range(2)]
    assert answers == [field(1, b"settings") + described(2, "aws_vpc") + described(3, "aws_vpc") + field(4, b"")] * 2
    assert provider.asked == [(SCHEMAS, b"")]


def test_settings_are_judged_once_each(provider: Provider, channel: grpc.Channel) -> None:
    given = [b"dev", b"prod", b"dev"]
    assert [channel.unary_unary(SETTINGS)(one) for one in given] == given
    assert provider.asked == [(SETTINGS, b"dev"), (SETTINGS, b"prod")]


def test_all_else_is_asked_each_time(provider: Provider, channel: grpc.Channel) -> None:
    assert [channel.unary_unary(PLAN)(b"one") for _ in range(2)] == [b"one"] * 2
    assert provider.asked == [(PLAN, b"one")] * 2


@pytest.mark.parametrize("method", [PLAN, SCHEMAS])
def test_an_error_is_the_providers_and_is_not_kept(provider: Provider, channel: grpc.Channel, method: str) -> None:
    for _ in range(2):
        with pytest.raises(grpc.RpcError) as refusal:
            channel.unary_unary(method)(b"refused")
        assert (refusal.value.code(), refusal.value.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
    assert len(provider.asked) == 2


def test_all_types_that_the_tree_names_are_used(tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "main.tf").write_text('resource "aws_vpc" "this" {}')
    (tmp_path / "slips.py").write_text('BUCKET = """resource "aws_s3_bucket" """')
    assert lean_provider.named([tmp_path]) == {"aws_vpc", "aws_s3_bucket"}
