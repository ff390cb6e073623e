"""Schemathesis tries the contract on the running gateway: whatever is sent, the reply is a documented one.

The cases are the same in every run. FUZZ_EXAMPLES=2000 asks for more of them for each operation. They are made, and the
library is imported, when the tests run: at collection every worker would do it, which takes three seconds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
import valkey
from hypothesis import HealthCheck, settings

from scripts.local import examples
from shared import config
from tests.support import contract
from tests.support.api import Api

if TYPE_CHECKING:
    import schemathesis
    from schemathesis.schemas import BaseSchema

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES") or 60)

EXAMPLE_IDS = examples.ids()

SESSION = json.dumps({**EXAMPLE_IDS, "startTime": "2025-07-22T15:00:00.000Z"})

# This gateway needs no key, and a token comes with every request that takes one: to come without breaks no rule.
KEYLESS = {name: value for name, value in contract.document().items() if name != "security"}


@pytest.fixture(params=contract.operations())
def operation(request: pytest.FixtureRequest) -> BaseSchema:
    """The contract with one operation."""
    import schemathesis
    from schemathesis.config import SchemathesisConfig

    chosen = contract.operations()[request.param]
    path = {name: value for name, value in KEYLESS["paths"][chosen.path].items() if name not in contract.METHODS}
    written = KEYLESS["paths"][chosen.path][chosen.method.lower()]
    path[chosen.method.lower()] = {name: value for name, value in written.items() if name != "security"}
    schema = schemathesis.openapi.from_dict({**KEYLESS, "paths": {chosen.path: path}}, config=SchemathesisConfig())
    schema.config.phases.update(phases=["examples", "coverage", "fuzzing"])
    request.node._nodeid = request.node.nodeid  # schemathesis reads this, which pytest 9.2 has no more
    return schema


@pytest.fixture(autouse=True)
def _examples_exist(api: Api, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The player and the session that the contract's examples name; every score that it allows is allowed."""
    monkeypatch.setenv("SCORE_MIN", str(-config.LARGEST_SCORE))
    monkeypatch.setenv("SCORE_MAX", str(config.LARGEST_SCORE))
    config.settings.cache_clear()
    api.create(userId=EXAMPLE_IDS["userId"])
    raw.set(f"session:{EXAMPLE_IDS['sessionId']}", SESSION, ex=3600)
    yield
    monkeypatch.undo()
    config.settings.cache_clear()


@pytest.fixture
def where(request: pytest.FixtureRequest, gateway: str, _examples_exist: None) -> tuple[str, Mapping[str, str]]:
    """A gateway at which the operation can be had, and the headers with which it can."""
    chosen = examples.load()[request.node.callspec.params["operation"]]
    if not chosen.needs_a_token:
        return gateway, {}
    guarded = request.getfixturevalue("guarded")
    return guarded.base_url, guarded.able(chosen.scopes)


@pytest.fixture(scope="module")
def http() -> Iterator[requests.Session]:
    """Connections that stay open."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.mark.usefixtures("operation")
def test_every_reply_is_a_documented_one(
    request: pytest.FixtureRequest, where: tuple[str, Mapping[str, str]], http: requests.Session
) -> None:
    import schemathesis
    from schemathesis.specs.openapi import checks

    base_url, headers = where
    checked = [
        schemathesis.checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
        checks.negative_data_rejection,
    ]

    @schemathesis.pytest.from_fixture("operation").parametrize()
    @settings(
        max_examples=EXAMPLES // 3 if headers else EXAMPLES,  # a token keeps most people from what takes one
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    def try_it(case: schemathesis.Case[Any]) -> None:
        response = case.call(base_url=base_url, session=http, headers={**headers})
        case.validate_response(response, checks=checked)
        sent = response.request
        assert sent.url
        assert sent.method
        path = urlsplit(sent.url).path
        replied = {name: ", ".join(values) for name, values in response.headers.items()}
        contract.check(sent.method, path, response.status_code, replied, response.content)

    try_it(request=request)
