"""Schemathesis over the contract, against the running gateway: whatever is sent, the reply is one that is documented.

The cases are the same in every run. FUZZ_EXAMPLES=2000 asks for more of them for each operation.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
import valkey
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi import checks as openapi

from scripts.local import examples
from shared import config
from tests.support import contract
from tests.support.api import Api

pytest_plugins = ["schemathesis.pytest.plugin"]

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES") or 60)

CHECKS = [
    schemathesis.checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_headers_conformance,
    openapi.response_schema_conformance,
    openapi.negative_data_rejection,
]

EXAMPLE_IDS = examples.ids()

SESSION = json.dumps({**EXAMPLE_IDS, "startTime": "2025-07-22T15:00:00.000Z"})

# The gateway here needs no key, so a request without one breaks no rule.
KEYLESS = {name: value for name, value in contract.document().items() if name != "security"}


@pytest.fixture(params=contract.operations())
def operation(request: pytest.FixtureRequest) -> BaseSchema:
    """The contract with one operation. Its cases are made here, not at collection, where every worker would."""
    chosen = contract.operations()[request.param]
    path = {name: value for name, value in KEYLESS["paths"][chosen.path].items() if name not in contract.METHODS}
    path[chosen.method.lower()] = KEYLESS["paths"][chosen.path][chosen.method.lower()]
    schema = schemathesis.openapi.from_dict({**KEYLESS, "paths": {chosen.path: path}}, config=SchemathesisConfig())
    schema.config.phases.update(phases=["examples", "coverage", "fuzzing"])
    request.node._nodeid = request.node.nodeid  # schemathesis reads this, which pytest 9.2 has no more
    return schema


@pytest.fixture(autouse=True)
def _examples_exist(api: Api, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The player and the session that the contract's examples name; every score that it allows is within bounds."""
    monkeypatch.setenv("SCORE_MIN", str(-config.LARGEST_SCORE))
    monkeypatch.setenv("SCORE_MAX", str(config.LARGEST_SCORE))
    config.settings.cache_clear()
    api.create(userId=EXAMPLE_IDS["userId"])
    raw.set(f"session:{EXAMPLE_IDS['sessionId']}", SESSION, ex=3600)
    yield
    monkeypatch.undo()
    config.settings.cache_clear()


@pytest.fixture(scope="module")
def http() -> Iterator[requests.Session]:
    """Connections that stay open."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@schemathesis.pytest.from_fixture("operation").parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
def test_every_reply_is_a_documented_one(case: schemathesis.Case[Any], gateway: str, http: requests.Session) -> None:
    response = case.call(base_url=gateway, session=http)
    case.validate_response(response, checks=CHECKS)
    request = response.request
    assert request.url
    assert request.method
    path = urlsplit(request.url).path
    headers = {name: ", ".join(values) for name, values in response.headers.items()}
    contract.check(request.method, path, response.status_code, headers, response.content)
