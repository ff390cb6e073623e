"""The requests made from the contract's examples: what they ask about, and what has to exist before."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.local import examples, routes


def operation(name: str, **members: Any) -> dict[str, Any]:
    """An operation of a made-up contract."""
    return {"operationId": name, "tags": ["teams"], "responses": {"404": {}, "201": {}}, **members}


def parameter(name: str, where: str, example: Any) -> dict[str, Any]:
    """A parameter and its example."""
    return {"name": name, "in": where, "example": example}


def body(example: dict[str, Any], *required: str) -> dict[str, Any]:
    """A request body."""
    schema = (
        {"schema": {"$ref": "#/components/schemas/Body"}} if not required else {"schema": {"required": [*required]}}
    )
    return {"requestBody": {"content": {"application/json": {**schema, "example": example}}}}


TEAM = parameter("teamId", "path", "team-1")
MEMBER = parameter("memberId", "path", "member-1")
CONTRACT: dict[str, Any] = {
    "components": {
        "parameters": {"TeamId": TEAM},
        "schemas": {"Body": {"required": ["name"]}},
    },
    "paths": {
        "/teams": {"post": operation("teams.create", **body({"name": "Reds", "teamId": "reds", "size": 3}))},
        "/teams/{teamId}/members": {
            "post": operation(
                "members.create", parameters=[{"$ref": "#/components/parameters/TeamId"}], **body({"name": "Ada"})
            )
        },
        "/teams/{teamId}/members/{memberId}": {
            "parameters": [TEAM, MEMBER],
            "get": operation("members.get", parameters=[parameter("part", "query", "a b")]),
        },
        "/moves": {
            "put": operation(
                "moves",
                parameters=[parameter("Idempotency-Key", "header", "key")],
                **body({"memberId": "x", "from": {}, "teamId": "y"}, "memberId"),
            )
        },
    },
}


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the made-up contract in the place of ours."""
    monkeypatch.setattr(routes, "contract", lambda: CONTRACT)


def test_an_id_in_a_path_is_filled_in_and_the_contracts_own_where_none_is_given() -> None:
    assert examples.load()["members.get"].target == "/teams/team-1/members/member-1?part=a+b"
    assert examples.load({"teamId": "t"})["members.get"].target == "/teams/t/members/member-1?part=a+b"
    assert examples.ids() == {"teamId": "team-1", "memberId": "member-1"}


def test_an_id_in_a_body_is_filled_in_where_it_has_to_be_there_and_left_out_elsewhere() -> None:
    found = examples.load({"teamId": "t", "memberId": "m"})
    assert found["teams.create"].body == {"name": "Reds", "size": 3}
    assert found["moves"].body == {"memberId": "m", "from": {}}
    assert found["members.get"].body is None


def test_another_payload_lacks_what_may_be_left_out() -> None:
    found = examples.load()
    assert found["teams.create"].other_body == {"name": "Reds"}
    assert found["moves"].other_body == {"memberId": "x"}


def test_an_example_says_what_it_gets_and_what_it_takes() -> None:
    found = examples.load()
    assert {example.status for example in found.values()} == {201}
    assert {name for name, example in found.items() if example.is_keyed} == {"moves"}
    assert {name for name, example in found.items() if not example.changes} == {"members.get"}
    assert found["teams.create"].function == "teams"


def test_what_has_to_exist_is_made_in_the_order_of_the_paths() -> None:
    asked = []

    def ask(example: examples.Example) -> dict[str, Any]:
        asked.append(example.target)
        return {"teamId": "t1"} if example.operation_id == "teams.create" else {"member": {"memberId": "m1"}}

    assert examples.existing(ask) == {"teamId": "t1", "memberId": "m1"}
    assert asked == ["/teams", "/teams/t1/members"]


def test_what_nothing_makes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    orphan = {"/clubs/{clubId}": {"get": operation("club", parameters=[parameter("clubId", "path", "c")])}}
    monkeypatch.setattr(routes, "contract", lambda: {**CONTRACT, "paths": orphan})
    with pytest.raises(LookupError, match="no POST on /clubs makes a clubId"):
        examples.existing(lambda _: {})


def test_a_reply_without_the_id_is_shown() -> None:
    with pytest.raises(LookupError, match=r"no teamId in .*unavailable"):
        examples.existing(lambda _: {"code": "unavailable"})
