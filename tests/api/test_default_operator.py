"""What a submission without an operator means is up to the deployment, and not part of what the client sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import get_args

import pytest

from shared import config
from tests.support import contract
from tests.support.api import Api

RESULTS = {"set": 40, "best": 100, "increment": 140, "decrement": 60}
"""What a submission of 40 makes of a score of 100, by operator."""


@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """`deploy("best")`: the deployment's default operator from now on; the gateway runs in this process."""

    def set_it(operator: str) -> None:
        monkeypatch.setenv("DEFAULT_OPERATOR", operator)
        config.settings.cache_clear()

    yield set_it
    monkeypatch.undo()
    config.settings.cache_clear()


def test_the_operators_of_a_deployment_are_those_of_the_contract() -> None:
    assert list(get_args(config.Operator)) == contract.document()["components"]["schemas"]["Operator"]["enum"]
    assert set(get_args(config.Operator)) == set(RESULTS)


def test_the_default_is_the_one_that_the_contract_tells(api: Api) -> None:
    default = config.load({"VALKEY_HOST": "x"}).default_operator
    assert f"`{default}` by default" in contract.document()["components"]["schemas"]["Operator"]["description"]
    user_id = api.create(score=100)["userId"]
    assert api.put(f"/users/{user_id}/score", json={"score": 40}).json()["user"]["score"] == RESULTS[default]


@pytest.mark.parametrize("operator", RESULTS)
def test_a_submission_without_an_operator_means_the_deployments(
    api: Api, deploy: Callable[[str], None], operator: str
) -> None:
    deploy(operator)
    user_id = api.create(score=100)["userId"]
    reply = api.put(f"/users/{user_id}/score", json={"score": 40}).json()
    assert (reply["user"]["score"], reply["receipt"]["operator"]) == (RESULTS[operator], operator)


@pytest.mark.parametrize("operator", RESULTS)
def test_an_operator_that_is_named_is_the_one_that_counts(
    api: Api, deploy: Callable[[str], None], operator: str
) -> None:
    deploy("decrement" if operator != "decrement" else "increment")
    user_id = api.create(score=100)["userId"]
    reply = api.put(f"/users/{user_id}/score", json={"score": 40, "operator": operator}).json()
    assert (reply["user"]["score"], reply["receipt"]["operator"]) == (RESULTS[operator], operator)


def test_bounds_of_a_score_are_bounds_of_the_result_where_the_default_is_not_set(
    api: Api, deploy: Callable[[str], None]
) -> None:
    user_id = api.create(score=100)["userId"]
    refused = api.put(f"/users/{user_id}/score", json={"score": -40})
    deploy("increment")
    taken = api.put(f"/users/{user_id}/score", json={"score": -40})
    below = api.put(f"/users/{user_id}/score", json={"score": -61})
    assert [refused.status_code, taken.status_code, below.status_code] == [400, 200, 400]
    assert taken.json()["user"]["score"] == 60


@pytest.mark.parametrize("operator", RESULTS)
def test_a_new_players_score_keeps_to_the_bounds_whatever_the_default_is(
    api: Api, deploy: Callable[[str], None], operator: str
) -> None:
    deploy(operator)
    problem = api.post("/users", json={"username": "", "email": "x", "score": -1}).json()
    assert [error["name"] for error in problem["errors"]] == ["username", "email", "score"], "all at once"


def test_a_retry_across_a_change_of_the_default_is_a_replay_of_what_was_done(
    api: Api, deploy: Callable[[str], None]
) -> None:
    user_id = api.create(score=100)["userId"]
    headers = {"Idempotency-Key": f"round-17-of-{user_id}"}
    deploy("increment")
    first = api.put(f"/users/{user_id}/score", json={"score": 40}, headers=headers)
    deploy("best")
    second = api.put(f"/users/{user_id}/score", json={"score": 40}, headers=headers)
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.json()["receipt"]["operator"] == "increment"
    assert api.get(f"/users/{user_id}").json()["user"]["score"] == 140


def test_the_default_that_is_spelled_out_is_another_payload(api: Api, deploy: Callable[[str], None]) -> None:
    deploy("best")
    user_id = api.create()["userId"]
    headers = {"Idempotency-Key": f"round-17-of-{user_id}"}
    assert api.put(f"/users/{user_id}/score", json={"score": 4}, headers=headers).status_code == 200
    spelled_out = {"score": 4, "operator": "best"}
    assert api.put(f"/users/{user_id}/score", json=spelled_out, headers=headers).status_code == 422


@pytest.mark.parametrize("text", ["create", "Set", "best,set", "none"])
def test_a_malformed_default_is_named_with_what_it_should_be(text: str) -> None:
    with pytest.raises(config.MisconfiguredError) as raised:
        config.load({"VALKEY_HOST": "x", "DEFAULT_OPERATOR": text})
    assert str(raised.value) == (f"DEFAULT_OPERATOR is {text!r}: it should be one of set, best, increment, decrement")
