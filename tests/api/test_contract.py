"""The contract is kept both ways: every reply that it documents can happen, and the code has every limit it states."""

from __future__ import annotations

import contextlib
import importlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import valkey

from scripts.local import embedded_valkey, examples
from scripts.local import gateway as local_gateway
from scripts.local.examples import Example
from scripts.places import ROOT
from shared import config, problems, tokens
from tests.support import contract
from tests.support import guarded as guarding
from tests.support.api import Api, fresh_id
from tests.support.contract import Operation
from tests.support.invoking import Answer, event

FUNCTIONS = ROOT / "functions"

OPERATIONS = contract.operations()

OTHERS = {"reconcile", "authorizer"}
"""Functions that serve no operation."""


def of_replies(operation: Operation) -> Iterator[Mapping[str, Any]]:
    """Each kind of body with which an operation replies."""
    for response in operation.responses.values():
        yield from response.get("content", {}).values()


def shown(media: Mapping[str, Any]) -> list[Any]:
    """The contract's own examples."""
    return [media["example"]] if "example" in media else [example["value"] for example in media["examples"].values()]


def broken(value: Any) -> Iterator[Any]:
    """A value as it is, and with one part of it changed: most of these break a rule, some do not."""
    yield value
    if isinstance(value, dict):
        yield {**value, "another": 1}
        for name in value:
            yield {key: member for key, member in value.items() if key != name}
            yield from ({**value, name: changed} for changed in broken(value[name]))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from ([*value[:number], changed, *value[number + 1 :]] for changed in broken(item))
    elif isinstance(value, str):
        yield from (value + "\n", value + "é", "", value * 300, None)
    else:
        yield from (str(value), 1.0, 0.5, -1, 2**53, 2**53 + 1, None, [value])


def valid(api: Api, operation: Operation, ids: Mapping[str, str] | None = None) -> Example:
    """A request that succeeds, or would if its ids existed: the contract's example, with the ids of what exists."""
    return examples.load(ids or examples.existing(lambda example: api.ask(example).json()))[operation.id]


@pytest.fixture
def api(request: pytest.FixtureRequest, _api: Api, empty: None) -> Iterator[Api]:
    """The API, as everybody has it; or where access is protected, for somebody who may do everything, if a test's
    operation or status takes that."""
    of_this_test = getattr(request.node, "callspec", None)
    given = of_this_test.params if of_this_test else {}
    if given.get("status") == 401 or ("operation" in given and needs_a_token(given["operation"])):
        with guarding.client(request.getfixturevalue("guarded")) as able:
            yield able
    else:
        yield _api


def needs_a_token(operation: Operation) -> bool:
    """Whether there is no such operation where access is open."""
    return examples.load()[operation.id].needs_a_token


@contextlib.contextmanager
def another(api: Api, **environ: str) -> Iterator[Api]:
    """The same API through another gateway, which has these settings."""
    with local_gateway.running({"ACCESS": "protected" if api.able else "open", **environ}) as base_url:
        client = Api(base_url, able=api.able)
        yield client
        client.close()


def nobody() -> dict[str, str]:
    """Ids that nothing has."""
    return {name: fresh_id("nobody") for name in examples.ids()}


def succeed(api: Api, operation: Operation) -> int:
    """The status of a proper request."""
    return api.ask(valid(api, operation)).status_code


def break_a_rule(api: Api, operation: Operation) -> int:
    """The status of a request with an unknown argument."""
    example = valid(api, operation)
    return api.ask(replace(example, query={**example.query, "unknown": 1})).status_code


def name_nobody(api: Api, operation: Operation) -> int:
    """The status of a request with an id that nothing has."""
    return api.ask(valid(api, operation, nobody())).status_code


def come_twice(api: Api, operation: Operation) -> int:
    """The status of a request that is sent again, if it chooses the id of what it makes."""
    example = valid(api, operation)
    chosen = {name: new for name, new in nobody().items() if name in (operation.body or {})["properties"]}
    example = replace(example, body={**chosen, **(example.body or {})})
    assert api.ask(example).status_code == example.status
    return api.ask(example).status_code


def send_much(api: Api, operation: Operation) -> int:
    """The status of a body of more than 64 KiB."""
    example, headers = valid(api, operation), {"Content-Type": "application/json"}
    much = b" " * (64 * 1024 + 1)
    return api.request(example.method, example.target, content=much, headers=headers).status_code


def send_text(api: Api, operation: Operation) -> int:
    """The status of a body that is not declared as JSON."""
    example, headers = valid(api, operation), {"Content-Type": "text/plain"}
    return api.request(example.method, example.target, content=b"{}", headers=headers).status_code


def reuse_a_key(api: Api, operation: Operation) -> int:
    """The status of another payload with the Idempotency-Key of a request that succeeded."""
    example, headers = valid(api, operation), {"Idempotency-Key": fresh_id()}
    assert api.ask(example, headers=headers).status_code == example.status
    return api.ask(replace(example, body=example.other_body), headers=headers).status_code


def come_without_a_key(api: Api, operation: Operation) -> int:
    """The status of a request without an API key if one is needed."""
    example = valid(api, operation)
    with another(api, API_KEY="key-1") as stranger:
        return stranger.ask(example).status_code


def come_too_often(api: Api, operation: Operation) -> int:
    """The status for a caller who does not stop."""
    example = valid(api, operation)
    with another(api, RATE_LIMIT="1") as impatient:
        statuses = [impatient.ask(example).status_code for _ in range(3)]
    assert statuses[0] < 300
    return statuses[-1]


AWAY = {
    "VALKEY_PORT": "1",
    "TOKEN_ISSUER": "leaderboard-test",
    "TOKEN_KEY": "arn:aws:kms:eu-central-1:123456789012:key/1",
    "AWS_ENDPOINT_URL_KMS": "http://127.0.0.1:1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
}
"""The environment of a container that reaches nothing."""


def find_nobody_there(api: Api, operation: Operation, invoke: Callable[..., Answer]) -> int:
    """The status if a container can reach neither Valkey nor KMS: this process does the work, in a thread without a
    connection."""
    example = valid(api, operation)
    statuses: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in AWAY.items():
            patch.setenv(name, value)
        config.settings.cache_clear()
        request = event(example.method, example.target, json_body=example.body)
        thread = threading.Thread(target=lambda: statuses.append(invoke(operation.function, request).status))
        thread.start()
        thread.join()
    config.settings.cache_clear()
    tokens.kms.cache_clear()
    return statuses[0]


def come_without_a_token(api: Api, operation: Operation) -> int:
    """The status of a request that nobody vouches for."""
    with contextlib.closing(Api(api.base_url)) as stranger:
        return stranger.ask(valid(api, operation)).status_code


PROVOCATIONS: dict[int, Callable[..., int]] = {
    200: succeed,
    201: succeed,
    204: succeed,
    400: break_a_rule,
    401: come_without_a_token,
    403: come_without_a_key,
    404: name_nobody,
    409: come_twice,
    413: send_much,
    415: send_text,
    422: reuse_a_key,
    429: come_too_often,
    503: find_nobody_there,
}
"""How each documented status is provoked. A new one belongs here, with the way to it."""


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        pytest.param(operation, status, id=f"{operation.id}-{status}")
        for operation in OPERATIONS.values()
        for status in operation.responses
    ],
)
def test_every_documented_status_can_be_had(
    api: Api, invoke: Callable[..., Answer], operation: Operation, status: int
) -> None:
    if status not in PROVOCATIONS:
        pytest.fail(f"{operation.id} documents {status}, and nothing here provokes it: add it to PROVOCATIONS")
    provoke = PROVOCATIONS[status]
    found = provoke(api, operation, invoke) if provoke is find_nobody_there else provoke(api, operation)
    assert found == status
    assert (operation.id, status) in contract.seen


@pytest.mark.parametrize("operation", [op for op in OPERATIONS.values() if op.body], ids=lambda op: op.id)
def test_every_code_of_a_bad_body_can_be_had(api: Api, operation: Operation) -> None:
    documented = set(contract.problems(operation.responses[400]))
    example = valid(api, operation)
    found = {
        api.request(example.method, example.target, content=content).json()["code"]
        for content in (b'{"unknown": 1}', b"[]", b"{", b"\xff")
    }
    assert found == documented


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema within a schema that lists the members of an object, itself included."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield schema
        for part in schema.values():
            yield from objects(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from objects(part)


def with_a_member_more(value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    """A value, once for each object in it whose members the schema lists, with an undocumented member in the object."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            for other in with_a_member_more(item, schema["items"]):
                yield [*value[:index], other, *value[index + 1 :]]
    elif isinstance(value, dict):
        if not schema.get("additionalProperties"):
            yield {**value, "leaked": "ada@example.com"}
        for name, part in schema.get("properties", {}).items():
            for other in with_a_member_more(value.get(name), part):
                yield {**value, name: other}


class TestTheDocument:
    def test_every_function_has_a_folder_and_every_folder_a_route(self) -> None:
        folders = {path.parent.name for path in FUNCTIONS.glob("*/handler.py")}
        assert {operation.function for operation in OPERATIONS.values()} == folders - OTHERS

    def test_every_action_is_answered(self, invoke: Callable[..., Answer]) -> None:
        for example in examples.load().values():
            answer = invoke(example.function, event(example.method, example.target))
            assert answer.status == 200 or answer.json()["code"] != "endpoint_not_found", example

    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.id)
    def test_every_example_keeps_its_own_rules(self, operation: Operation) -> None:
        media = [*operation.document.get("requestBody", {}).get("content", {}).values(), *of_replies(operation)]
        checked = [contract.faults(example, kind["schema"]) for kind in media for example in shown(kind)]
        assert not any(checked)
        for parameter in operation.parameters:
            assert contract.faults(parameter["example"], parameter["schema"]) == []
        assert len(checked) >= 2 or operation.method == "HEAD"

    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.id)
    def test_the_short_cut_of_these_tests_refuses_what_the_whole_explanation_refuses(
        self, operation: Operation
    ) -> None:
        tried = 0
        for media in of_replies(operation):
            short = contract.compiled(media["schema"])
            for example in shown(media):
                for value in broken(example):
                    assert short.is_valid(value) == (not contract.explained(value, media["schema"])), value
                    tried += 1
        assert tried > 10 or operation.method == "HEAD"

    def test_every_error_of_every_operation_is_a_problem(self) -> None:
        for operation in OPERATIONS.values():
            for status, response in operation.responses.items():
                if status >= 400 and operation.method != "HEAD" and (operation.id, status) != ("health", 503):
                    assert list(response["content"]) == [contract.PROBLEM_TYPE], f"{operation.id} {status}"
                    for code, example in contract.problems(response).items():
                        headers = {"content-type": contract.PROBLEM_TYPE, "x-request-id": example["requestId"]}
                        contract.check_problem(status, {**headers, "retry-after": "1"}, example)
                        assert (example["code"], example["status"]) == (code, status)
                if status in (429, 503):
                    assert "Retry-After" in response["headers"], f"{operation.id} {status}"

    def test_all_errors_have_one_schema_by_its_name(self) -> None:
        problem = {"$ref": "#/components/schemas/Problem"}
        contents = [response["content"] for response in contract.document()["components"]["responses"].values()]
        schemas = [media["schema"] for content in contents for kind, media in content.items() if "problem" in kind]
        assert schemas == [problem] * len(schemas)
        assert len(schemas) > 10
        for operation in OPERATIONS.values():
            written = contract.document()["paths"][operation.path][operation.method.lower()]["responses"]
            for status, response in written.items():
                assert int(status) < 400 or operation.method == "HEAD" or set(response) == {"$ref"}, operation.id

    def test_the_codes_of_the_contract_are_those_of_the_code(self) -> None:
        responses = contract.document()["components"]["responses"].values()
        written = {code for response in responses for code in response.get("x-codes", ())}
        classes, kinds = [problems.Problem], set()
        while classes:
            kind = classes.pop()
            kinds |= {kind} if kind.__module__ == problems.__name__ else set()
            classes += kind.__subclasses__()
        assert written == {kind.code for kind in kinds} - {problems.InternalError.code}

    def test_no_schema_has_a_default_which_generators_take_for_given(self) -> None:
        def keys(node: Any) -> Iterator[str]:
            for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
                yield from keys(child)
            yield from node if isinstance(node, dict) else ()

        assert "schema" in set(keys(contract.document()))
        assert "default" not in set(keys(contract.document()))

    def test_requests_are_closed(self) -> None:
        for operation in OPERATIONS.values():
            if operation.body:
                assert [schema.get("additionalProperties") for schema in objects(operation.body)] == [False], (
                    operation.id
                )

    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.id)
    def test_replies_are_open_to_a_member_that_is_added_later_and_the_tests_refuse_it(
        self, operation: Operation
    ) -> None:
        tried = 0
        for media in of_replies(operation):
            for example in shown(media):
                for value in with_a_member_more(example, media["schema"]):
                    assert contract.as_written(value, media["schema"]) == []
                    assert contract.faults(value, media["schema"]), value
                    tried += 1
        assert tried > 1 or operation.method == "HEAD"

    def test_nothing_documents_an_internal_error(self) -> None:
        assert not [op.id for op in OPERATIONS.values() if set(op.responses) & {500, 501, 502, 504}]

    def test_only_health_needs_no_key(self) -> None:
        assert contract.document()["security"]
        free = {operation.id for operation in OPERATIONS.values() if operation.document.get("security") == []}
        assert free == {"health", "health.head"}
        assert {operation.id for operation in OPERATIONS.values() if 403 not in operation.responses} == free

    def test_an_operation_that_names_a_user_or_a_session_may_not_find_it(self) -> None:
        for operation in OPERATIONS.values():
            if "{" in operation.path and "x-cache-role" in operation.document:
                assert 404 in operation.responses, operation.id


@pytest.fixture(scope="module")
def locked(server: embedded_valkey.Server) -> Iterator[str]:
    """A gateway that requires a key."""
    with local_gateway.running({"API_KEY": "key-1"}) as base_url:
        yield base_url


class TestKeys:
    @pytest.mark.parametrize("key", ["", "key-2", "key-1x", "KEY-1", "key", "key-1,key-1"])
    def test_a_wrong_key_opens_nothing(self, locked: str, key: str) -> None:
        stranger = Api(locked, {"x-api-key": key})
        assert stranger.get("/stats").status_code == 403
        assert stranger.post("/users", json={}).status_code == 403
        assert stranger.get("/health").status_code == 200
        assert stranger.request("OPTIONS", "/stats").status_code in (200, 204)
        stranger.close()

    def test_the_right_key_opens_everything(self, locked: str) -> None:
        friend = Api(locked, {"X-API-Key": "key-1"})
        assert friend.get("/stats").status_code == 200
        assert friend.create()["level"] == 1
        friend.close()

    def test_a_request_without_a_key_changes_nothing(self, locked: str, raw: valkey.Valkey) -> None:
        stranger = Api(locked)
        assert stranger.post("/users", json={"username": "Ada", "email": "a@b.cc"}).status_code == 403
        assert raw.dbsize() == 0
        stranger.close()


# Limits: whatever the contract says about an argument is tried on the code, with values on both sides of each limit.

TEXTS = [
    "",
    " ",
    "a",
    "Z",
    "0",
    "_",
    "-",
    "a b",
    " a",
    "a ",
    "a\n",
    "\na",
    "a\r",
    "a\t",
    "a\0",
    "a\x7f",
    "a\x85",
    "a.b",
    "a/b",
    "{a}",
    "a:b",
    "ä",
    "名",
    "👾",
    "👩\u200d👧",
    "\u200d",
    "a\u0301",
    "a\u00ad",
    "\u202ea",
    "a\u2066",
    "a\u200b",
    "\ufeffa",
    "a\ufffd",
    "a\u00a0",
    "\u3000a",
    "a@b",
    "a@b.cc",
    "a@b.c.d",
    "a@.cc",
    "a@b.",
    "a@@b.cc",
    "a b@c.dd",
    "ä@ö.üü",
    "a@b.cc\n",
    "a" * 64 + "@b.cc",
    "a" * 65 + "@b.cc",
]

VALUES = [None, True, False, 0, -1, 1, 5, 1.0, 1.5, -0.5, 10**30, [], {}, [1], {"x": 1}, "5", *TEXTS]


def stretched(example: str, length: int) -> str:
    """A text like the example, but of exactly that length."""
    local, at, _ = example.partition("@")
    if not at:
        return "a" * length
    return f"{local[:1]}@{'b' * (length - 5)}.cc"


def borders(schema: Mapping[str, Any]) -> list[Any]:
    """Values at, just inside and just outside each limit of a schema."""
    found: list[Any] = []
    for name in ("minimum", "maximum"):
        if name in schema:
            found += [schema[name] - 1, schema[name], schema[name] + 1]
    for name in ("minLength", "maxLength"):
        if name in schema:
            found += [stretched(schema["example"], max(0, schema[name] + step)) for step in (-1, 0, 1)]
            found.append("👾" * schema[name])
    return found


def arguments() -> list[Any]:
    """Every argument of every operation: where it goes, its name and its schema."""
    found = []
    for operation in OPERATIONS.values():
        stated = [
            (parameter["in"], parameter["name"], {"example": parameter.get("example"), **parameter["schema"]})
            for parameter in operation.parameters
        ]
        for name, schema in (operation.body or {}).get("properties", {}).items():
            if "type" in schema:
                stated.append(("body", name, schema))
        found += [pytest.param(operation, *argument, id=f"{operation.id}-{argument[1]}") for argument in stated]
    return found


@pytest.fixture
def widest_scores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A deployment that allows every score that the contract allows."""
    monkeypatch.setenv("SCORE_MIN", str(-config.LARGEST_SCORE))
    monkeypatch.setenv("SCORE_MAX", str(config.LARGEST_SCORE))
    config.settings.cache_clear()
    yield
    monkeypatch.undo()
    config.settings.cache_clear()


BESIDE: dict[tuple[str, str], dict[str, Any]] = {
    ("correct_score", "score"): {"bestScore": config.LARGEST_SCORE},
    ("correct_score", "bestScore"): {"score": -config.LARGEST_SCORE},
}
"""What stands beside an argument whose own limit is another one, so that only the contract's limits count."""


@pytest.mark.parametrize(("operation", "where", "name", "schema"), arguments())
def test_an_argument_is_taken_if_and_only_if_the_contract_says_so(
    api: Api,
    invoke: Callable[..., Answer],
    widest_scores: None,
    operation: Operation,
    where: str,
    name: str,
    schema: dict[str, Any],
) -> None:
    taken = refused = 0
    example = valid(api, operation, nobody() if where == "path" else None)
    for value in [*borders(schema), *schema.get("enum", ()), *VALUES]:
        request = event(example.method, example.target, json_body=example.body)
        is_valid = not contract.faults(value, schema)
        if where == "body":
            is_valid = not contract.faults(value, schema, contract.RequestValidator)
            body = {**(example.body or {}), **BESIDE.get((operation.id, name), {}), name: value}
            request = event(example.method, example.target, json_body=body)
        elif where == "query":
            text = value if isinstance(value, str) else str(value)
            if isinstance(value, str | bool | list | dict | None):
                is_valid = text.isascii() and text.isdigit() and not contract.faults(int(text), schema)
            request |= {"queryStringParameters": {name: text}, "multiValueQueryStringParameters": {name: [text]}}
        elif where == "header":
            text = value if isinstance(value, str) else str(value)
            is_valid = not contract.faults(text, schema)
            request |= {"headers": {name: text}, "multiValueHeaders": {name: [text]}}
        else:
            text = value if isinstance(value, str) else str(value)
            is_valid = not contract.faults(text, schema)
            request["pathParameters"] = {**request["pathParameters"], name: text}
        answer = invoke(operation.function, request)
        accepted = answer.status != 400
        assert accepted == is_valid, f"{name} = {str(value)[:90]!r}: {answer.status}, {answer.body[:300]!r}"
        if not accepted:
            assert [error["name"] for error in answer.json()["errors"]] == [name]
            assert answer.json()["errors"][0]["in"] == where
        taken += accepted
        refused += not accepted
    assert taken
    assert refused


@pytest.mark.parametrize(("operation", "where", "name", "schema"), arguments())
def test_every_argument_has_limits_that_can_be_tried(
    operation: Operation, where: str, name: str, schema: dict[str, Any]
) -> None:
    limits = {
        "integer": {"minimum", "maximum"},
        "string": {"minLength", "maxLength", "pattern"},
        "object": set(),
        "boolean": set(),
    }
    assert limits[schema["type"]] <= set(schema) or "enum" in schema


@pytest.mark.parametrize("operation", [op for op in OPERATIONS.values() if op.body], ids=lambda op: op.id)
def test_what_the_contract_requires_is_required(api: Api, invoke: Callable[..., Answer], operation: Operation) -> None:
    assert operation.body is not None
    for name in operation.body["properties"]:
        example = valid(api, operation)
        body = {key: value for key, value in (example.body or {}).items() if key != name}
        answer = invoke(operation.function, event(example.method, example.target, json_body=body))
        if name in operation.body.get("required", ()):
            assert answer.status == 400
            assert [error["name"] for error in answer.json()["errors"]] == [name]
        else:
            assert answer.status == example.status


@pytest.mark.parametrize("name", ["limit", "offset", "range"])
def test_a_default_is_the_one_of_the_contract(api: Api, name: str) -> None:
    for step in range(13):
        api.create(userId=f"p{step}", score=step)
    paths = {"limit": "/leaderboard", "offset": "/leaderboard", "range": "/users/p6/nearby"}
    defaults = {
        parameter["name"]: int(re.findall(r"; (\d+) by default\.$", parameter["description"])[0])
        for operation in OPERATIONS.values()
        for parameter in operation.parameters
        if parameter["in"] == "query"
    }
    explicit = api.get(f"{paths[name]}?{name}={defaults[name]}").json()
    assert api.get(paths[name]).json() == explicit
    other = api.get(f"{paths[name]}?{name}={defaults[name] + 1}").json()
    assert other != explicit


def test_the_default_bounds_of_a_score_are_those_that_the_contract_tells(api: Api) -> None:
    lowest, highest, *_ = config.load({"VALKEY_HOST": "x"}).rules
    assert f"{lowest} to {highest} by default" in contract.document()["components"]["schemas"]["Score"]["description"]
    for score, status in ((lowest, 201), (highest, 201), (lowest - 1, 400), (highest + 1, 400)):
        body = {"username": "Ada", "email": "ada@example.com", "score": score}
        assert api.post("/users", json=body).status_code == status
        user_id = api.create()["userId"]
        assert api.put(f"/users/{user_id}/score", json={"score": score}).status_code == (200 if status == 201 else 400)


def test_every_module_of_a_function_is_one_of_the_contracts() -> None:
    for operation in OPERATIONS.values():
        module = importlib.import_module(f"functions.{operation.function}.handler")
        first = (module.__doc__ or "").partition(" - ")[0]
        assert operation.method in first, operation.id
        assert operation.path in first, operation.id
