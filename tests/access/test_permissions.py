"""Who may do what, through the local gateway: its authorizer, real tokens, and the edge behind it."""

from __future__ import annotations

import contextlib

import pytest
import valkey

from scripts.local import examples
from shared import config
from tests.support import contract, permissions
from tests.support import guarded as guarding
from tests.support.api import Api
from tests.support.guarded import Guarded
from tests.support.permissions import Asked

OPERATORS = ("best", "increment")
"""With which players may submit here."""

EXAMPLES = examples.load()


def everything(raw: valkey.Valkey) -> dict[str, object]:
    """All there is in the server."""
    with valkey.Valkey(**{**raw.connection_pool.connection_kwargs, "decode_responses": False}) as client:
        return {str(key): client.dump(key) for key in client.scan_iter(count=1000)}


@pytest.mark.parametrize("operation", EXAMPLES)
def test_who_may_do_what_where_access_is_open(operation: str, api: Api, raw: valkey.Valkey) -> None:
    def ask(asked: Asked) -> tuple[int, bytes]:
        response = api.ask(asked.example, headers={"Authorization": f"Bearer {asked.scope}"} if asked.scope else None)
        return response.status_code, response.content

    rows = [row for row in permissions.rows("open") if row.operation == operation]
    given = lambda: examples.existing(lambda example: api.ask(example).json())  # noqa: E731
    assert permissions.faults(rows, ask, given, lambda: everything(raw)) == []
    assert len(rows) >= 5


@pytest.mark.parametrize("operation", EXAMPLES)
def test_who_may_do_what_where_access_is_protected(
    operation: str, guarded: Guarded, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYER_OPERATORS", ",".join(OPERATORS))
    config.settings.cache_clear()
    rows = [row for row in permissions.rows("protected", OPERATORS) if row.operation == operation]
    with guarding.client(guarded) as able, contextlib.closing(Api(guarded.base_url)) as stranger:

        def ask(asked: Asked) -> tuple[int, bytes]:
            response = stranger.ask(asked.example, headers=guarded.bearer(asked.scope, asked.subject))
            return response.status_code, response.content

        given = lambda: examples.existing(lambda example: able.ask(example).json())  # noqa: E731
        assert permissions.faults(rows, ask, given, lambda: everything(raw)) == []
    assert len(rows) >= 5


def test_the_table_refuses_as_much_as_it_should() -> None:
    """A table that is made from the contract says yes to a contract that says yes to everybody."""
    rows = [row for row in permissions.rows("protected") if not row.is_refused]
    for row in rows:
        example = EXAMPLES[row.operation]
        assert row.who != "nobody" or not example.changes, f"{row}: without a token, nothing may change"
        assert row.who != "other" or not example.scopes, f"{row}: another player's things"
        assert row.who != "player" or row.operation != "update_score", f"{row}: nobody lets players submit"
    only = {
        who: {row.operation for row in rows if row.who == who and EXAMPLES[row.operation].scopes}
        for who in ("player", "server", "admin")
    }
    assert only["player"] < only["server"]
    assert "issue_token" in only["server"] - only["player"] - only["admin"]
    assert only["admin"] - only["server"] - only["player"] == {"set_visibility", "correct_score"}


def test_scopes_and_security_of_an_operation_do_not_contradict_each_other() -> None:
    for operation in contract.operations().values():
        ways = operation.document.get("security", contract.document()["security"])
        needs_a_token = any("Bearer" in way for way in ways)
        assert needs_a_token == EXAMPLES[operation.id].needs_a_token, operation.id
        assert operation.document["x-scopes"] or not needs_a_token, operation.id
        assert set(operation.document["x-scopes"]) <= {"player", "server", "admin"}, operation.id
        assert all("ApiKey" in way for way in ways), operation.id
    assert sum(example.needs_a_token for example in EXAMPLES.values()) == 6, "what was there before there were tokens"
