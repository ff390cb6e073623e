"""What API Gateway gets: the contract in a form that it can read, and answers of its own in the words of ours."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import openapi_spec_validator
import pytest
from jsonschema import Draft4Validator

from scripts.local import gateway, routes
from shared import endpoint, problems
from tests.support import contract
from tests.support.invoking import Answer, event
from tests.terraform.plans import Tree

STAGE = "v1"
REQUEST_ID = "7d3f0c2e-8a41-4f0b-9c55-2f1e6b7a9d10"
HOSTILE = 'a"}\\\n,"status":"200\u2028{$context.identity.apiKey}'

RESPONSE_TYPES = {
    "ACCESS_DENIED",
    "AUTHORIZER_CONFIGURATION_ERROR",
    "AUTHORIZER_FAILURE",
    "UNAUTHORIZED",
    "API_CONFIGURATION_ERROR",
    "BAD_REQUEST_BODY",
    "BAD_REQUEST_PARAMETERS",
    "DEFAULT_4XX",
    "DEFAULT_5XX",
    "EXPIRED_TOKEN",
    "INTEGRATION_FAILURE",
    "INTEGRATION_TIMEOUT",
    "INVALID_API_KEY",
    "INVALID_SIGNATURE",
    "MISSING_AUTHENTICATION_TOKEN",
    "QUOTA_EXCEEDED",
    "REQUEST_TOO_LARGE",
    "RESOURCE_NOT_FOUND",
    "THROTTLED",
    "UNSUPPORTED_MEDIA_TYPE",
    "WAF_FILTERED",
}
"""All response types that API Gateway has."""

OWN_WORDS = {"WAF_FILTERED", "QUOTA_EXCEEDED"}
"""Those that are one of our problems, but with a detail that only API Gateway can know."""

LOGGED = {
    "requestId": REQUEST_ID,
    "extendedRequestId": "JKJaXmPLvHcESHA=",
    "xrayTraceId": "1-5759e988-bd862e3fe1be46a994272793",
    "requestTimeEpoch": "1769596200000",
    "identity.apiKeyId": "a1b2c3d4e5",
    "identity.sourceIp": "192.0.2.7",
    "httpMethod": "PUT",
    "resourcePath": "/users/{userId}/score",
    "status": "429",
    "responseLength": "412",
    "responseLatency": "23",
    "integrationLatency": "19",
    "integrationStatus": "200",
    "integration.status": "200",
    "error.responseType": "THROTTLED",
    "authorizer.scope": "player",
    "authorizer.status": "200",
    "authorizer.integrationLatency": "4",
    "tlsVersion": "TLSv1.3",
    "cipherSuite": "TLS_AES_128_GCM_SHA256",
}
"""What API Gateway makes itself, or has checked before: nothing in a client's own words."""

VARIABLE = re.compile(r"\$context\.([A-Za-z.]*[A-Za-z])")

KEYWORDS_OF_DRAFT_4 = {"$ref", "type"}
"""The keywords that the body needs, of those that draft 4 and OpenAPI 3.0 have in common."""


def render(template: str, context: Mapping[str, str]) -> str:
    """Does what API Gateway does with these templates: replaces variables, escapes nothing, has a dash for unknowns."""
    return VARIABLE.sub(lambda match: context.get(match[1], "-"), template)


def header(mapped: str) -> str:
    """A header's value from its mapping: text in quotes, or a variable."""
    return REQUEST_ID if mapped == "context.requestId" else mapped.removeprefix("'").removesuffix("'")


def headers(parameters: Mapping[str, str]) -> dict[str, str]:
    """The headers that a table of response parameters sets."""
    return {name.rpartition(".header.")[2]: header(mapped) for name, mapped in parameters.items()}


def dictionaries(node: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from dictionaries(child)


def functions() -> dict[str, dict[str, str]]:
    """The functions of the contract, as the module takes them in production."""
    made = {}
    for key in {operation.function for operation in contract.operations().values()}:
        name = f"leaderboard-prod-{key.replace('_', '-')}"
        alias = f"arn:aws:lambda:eu-central-1:123456789012:function:{name}:live"
        invoke = f"arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/{alias}/invocations"
        made[key] = {"name": name, "alias": "live", "invoke_arn": invoke}
    return made


@pytest.fixture(scope="module")
def planned(tree: Tree) -> dict[str, Mapping[str, Any]]:
    """What production plans of the module, for the real contract."""
    tree.start("prod", "prod")
    prefix = "module.api."
    found = (one for one in tree.plan("prod").resources if one.address.startswith(prefix))
    return {one.address.removeprefix(prefix): one.values for one in found}


@pytest.fixture(scope="module")
def body(planned: dict[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document that API Gateway imports."""
    document: dict[str, Any] = json.loads(planned["aws_api_gateway_rest_api.this"]["body"])
    return document


@pytest.fixture(scope="module")
def responses(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The gateway responses, by type."""
    table: dict[str, dict[str, Any]] = body["x-amazon-apigateway-gateway-responses"]
    return table


@pytest.fixture(scope="module")
def access_log(planned: dict[str, Mapping[str, Any]]) -> str:
    """The template for a line of the access log."""
    template: str = planned["aws_api_gateway_stage.this"]["access_log_settings"][0]["format"]
    return template


def requests(body: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The body's operations as "METHOD path", without the preflight requests."""
    return {
        f"{method.upper()} {path}": operation
        for path, item in body["paths"].items()
        for method, operation in item.items()
        if method != "options"
    }


def problem(response: Mapping[str, Any]) -> dict[str, Any]:
    """The problem that a gateway response sends."""
    (template,) = response["responseTemplates"].values()
    value: dict[str, Any] = contract.parse(render(template, {"requestId": REQUEST_ID}).encode())
    return value


def problem_of_ours(code: str) -> problems.Problem:
    """The problem with this code, as the functions raise it."""
    if code == problems.MalformedBody.code:
        return problems.MalformedBody("The body must be a JSON object.")
    if code == problems.BodyTooLarge.code:
        return problems.BodyTooLarge(endpoint.LARGEST_BODY_BYTES)
    classes = [problems.Problem]
    for kind in classes:
        classes += kind.__subclasses__()
    (found,) = (kind for kind in classes if kind.__module__ == problems.__name__ and vars(kind).get("code") == code)
    return found()


class TestGatewayResponses:
    def test_each_type_says_what_it_is(self, responses: dict[str, dict[str, Any]]) -> None:
        assert set(responses) == RESPONSE_TYPES

    @pytest.mark.parametrize("kind", sorted(RESPONSE_TYPES))
    def test_each_is_a_problem_by_the_contracts_schema(self, responses: dict[str, dict[str, Any]], kind: str) -> None:
        value = problem(responses[kind])
        assert not contract.faults(value, contract.schema("Problem"))
        sent = {name.lower(): text for name, text in headers(responses[kind]["responseParameters"]).items()}
        contract.check_problem(int(responses[kind]["statusCode"]), sent, value)
        for name, pattern in contract.COMMON_HEADERS.items():
            assert re.fullmatch(pattern, sent[name]), name

    @pytest.mark.parametrize("kind", sorted(RESPONSE_TYPES))
    def test_each_is_what_a_function_would_have_answered(self, responses: dict[str, Any], kind: str) -> None:
        value, sent = problem(responses[kind]), headers(responses[kind]["responseParameters"])
        if value["code"] == "bad_request":  # the functions always know better
            assert sent == {**endpoint.COMMON_HEADERS, "X-Request-Id": REQUEST_ID, "Content-Type": sent["Content-Type"]}
            return
        ours = endpoint.reply_to_problem(problem_of_ours(value["code"]), REQUEST_ID)
        expected, expected_headers = json.loads(ours["body"]), ours["headers"]
        if kind in OWN_WORDS:
            assert value.pop("detail") != expected.pop("detail")
            sent.pop("Retry-After", None), expected_headers.pop("Retry-After", None)
        if kind == "UNAUTHORIZED":  # API Gateway would rename a function's
            assert sent.pop("WWW-Authenticate") == "Bearer"
        assert value == expected
        assert sent == expected_headers
        assert int(responses[kind]["statusCode"]) == ours["statusCode"]

    def test_the_words_for_what_is_no_object_are_the_functions(self, invoke: Callable[..., Answer]) -> None:
        answer = invoke("create_user", event("POST", "/users", body="[]"))
        assert answer.json()["detail"] == problem_of_ours("malformed_body").detail

    def test_a_quota_is_waited_for_longer_than_a_rate(self, responses: dict[str, dict[str, Any]]) -> None:
        name = "gatewayresponse.header.Retry-After"
        waits = {
            kind: int(header(responses[kind]["responseParameters"][name])) for kind in ("THROTTLED", "QUOTA_EXCEEDED")
        }
        assert 0 < waits["THROTTLED"] < waits["QUOTA_EXCEEDED"]

    @pytest.mark.parametrize("kind", ["MISSING_AUTHENTICATION_TOKEN", "INVALID_SIGNATURE", "RESOURCE_NOT_FOUND"])
    def test_what_does_not_exist_is_not_found(self, responses: dict[str, dict[str, Any]], kind: str) -> None:
        assert responses[kind]["statusCode"] == "404"
        assert problem(responses[kind])["error"] == "Endpoint not found"

    def test_nobody_gets_a_status_that_the_contract_does_not_have(self, responses: dict[str, dict[str, Any]]) -> None:
        anywhere = {"THROTTLED", "INTEGRATION_TIMEOUT", "INTEGRATION_FAILURE", "BAD_REQUEST_PARAMETERS", "DEFAULT_4XX"}
        with_a_key = {"INVALID_API_KEY", "WAF_FILTERED", "QUOTA_EXCEEDED"}
        with_a_token = {"UNAUTHORIZED", "ACCESS_DENIED", "AUTHORIZER_FAILURE", "AUTHORIZER_CONFIGURATION_ERROR"}
        with_a_body = {"BAD_REQUEST_BODY", "REQUEST_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"}
        for operation in contract.operations().values():
            met = set(anywhere)
            met |= with_a_key if operation.document.get("security", True) else set()
            met |= with_a_token if contract.scopes(operation) else set()
            met |= with_a_body if operation.body else set()
            assert {int(responses[kind]["statusCode"]) for kind in met} <= set(operation.responses), operation.id

    def test_nothing_that_a_client_wrote_is_in_any(self, responses: dict[str, dict[str, Any]]) -> None:
        for kind, response in responses.items():
            assert set(VARIABLE.findall(json.dumps(response["responseTemplates"]))) == {"requestId"}, kind
            sources = {
                mapped for mapped in response["responseParameters"].values() if not re.fullmatch(r"'[^']*'", mapped)
            }
            assert sources == {"context.requestId"}, kind
            hostile = dict.fromkeys([*LOGGED, "error.message", "error.validationErrorString"], HOSTILE)
            (template,) = response["responseTemplates"].values()
            assert contract.parse(render(template, {**hostile, "requestId": REQUEST_ID}).encode()) == problem(response)


class TestAccessLog:
    def test_a_line_is_json_that_says_who_what_and_how(self, access_log: str) -> None:
        line = contract.parse(render(access_log, LOGGED).encode())
        assert {line["requestId"], line["apiKeyId"], line["sourceIp"], line["method"], line["route"]} == {
            REQUEST_ID,
            "a1b2c3d4e5",
            "192.0.2.7",
            "PUT",
            "/users/{userId}/score",
        }
        assert set(line.values()) == set(LOGGED.values())

    def test_a_line_with_nothing_in_it_is_json(self, access_log: str) -> None:
        assert set(contract.parse(render(access_log, {}).encode()).values()) == {"-"}

    def test_no_client_can_write_into_a_line(self, access_log: str) -> None:
        """Anything that is not in LOGGED may be a client's words, and the key must least of all be logged."""
        assert set(VARIABLE.findall(access_log)) <= set(LOGGED)
        others = dict.fromkeys(["path", "identity.userAgent", "identity.apiKey", "error.message"], HOSTILE)
        assert HOSTILE not in contract.parse(render(access_log, {**LOGGED, **others}).encode()).values()

    def test_the_template_is_one_that_api_gateway_takes(self, access_log: str) -> None:
        assert len(access_log.encode()) <= 3 * 1024
        assert "\n" not in access_log
        assert "requestId" in VARIABLE.findall(access_log)


class TestBody:
    def test_it_is_openapi(self, body: dict[str, Any]) -> None:
        openapi_spec_validator.validate(body)

    def test_it_has_the_contracts_operations_and_no_other(self, body: dict[str, Any]) -> None:
        assert set(requests(body)) == {f"{one.method} {one.path}" for one in contract.operations().values()}

    def test_each_operation_calls_the_alias_of_its_function(self, body: dict[str, Any]) -> None:
        invoke_arns = {key: one["invoke_arn"] for key, one in functions().items()}
        for one in contract.operations().values():
            integration = requests(body)[f"{one.method} {one.path}"]["x-amazon-apigateway-integration"]
            assert integration == {
                "type": "aws_proxy",
                "httpMethod": "POST",
                "uri": invoke_arns[one.function],
                "timeoutInMillis": 29_000,
            }, one.id

    def test_a_key_is_needed_where_the_local_server_needs_one(self, body: dict[str, Any]) -> None:
        for resource in routes.load():
            for method, route in resource.routes.items():
                security = requests(body)[f"{method} {route.path}"]["security"]
                asked = {"ApiKey": route.needs_api_key, "Token": route.needs_token}
                assert security == [{scheme: []} for scheme, is_needed in asked.items() if is_needed], (
                    route.operation_id
                )
        schemes = body["components"]["securitySchemes"]
        assert set(schemes) == {"ApiKey", "Token"}
        assert schemes["ApiKey"] == {"type": "apiKey", "in": "header", "name": "x-api-key"}
        assert "security" not in body

    def test_a_token_looks_as_the_local_server_wants_it(self, body: dict[str, Any]) -> None:
        asked = body["components"]["securitySchemes"]["Token"]["x-amazon-apigateway-authorizer"]
        pattern = routes.contract()["components"]["securitySchemes"]["Bearer"]["x-pattern"]
        assert asked["identityValidationExpression"] == pattern
        assert asked["authorizerUri"].endswith(":function:leaderboard-prod-authorizer:live/invocations")

    def test_the_parameters_are_named_and_left_to_the_function(self, body: dict[str, Any]) -> None:
        for one in contract.operations().values():
            named = [(each["name"], each["in"]) for each in requests(body)[f"{one.method} {one.path}"]["parameters"]]
            assert named == [(each["name"], each["in"]) for each in one.parameters], one.id
        validator = body["x-amazon-apigateway-request-validators"][body["x-amazon-apigateway-request-validator"]]
        assert validator == {"validateRequestBody": True, "validateRequestParameters": False}

    def test_a_body_is_checked_whatever_type_it_says_it_has(self, body: dict[str, Any]) -> None:
        for one in contract.operations().values():
            operation = requests(body)[f"{one.method} {one.path}"]
            if one.body is None:
                assert "requestBody" not in operation, one.id
            else:
                model = {"schema": {"$ref": "#/components/schemas/JsonObject"}}
                assert operation["requestBody"]["content"] == {"application/json": model, "$default": model}, one.id

    @pytest.mark.parametrize("value", [{}, {"score": "x"}, {"a": [1]}, [], "{}", 1, None, True])
    def test_the_model_asks_for_an_object_and_leaves_the_rest_to_the_function(self, body: Any, value: Any) -> None:
        model = Draft4Validator(body["components"]["schemas"]["JsonObject"])
        assert model.is_valid(value) == isinstance(value, dict)

    def test_no_schema_says_what_draft_4_cannot(self, body: dict[str, Any]) -> None:
        schemas = [node["schema"] for node in dictionaries(body) if "schema" in node]
        schemas += body["components"]["schemas"].values()
        assert schemas
        assert {keyword for schema in schemas for keyword in schema} <= KEYWORDS_OF_DRAFT_4
        assert set(body["components"]) == {"schemas", "securitySchemes"}
        references = {node["$ref"] for node in dictionaries(body) if "$ref" in node}
        assert references == {"#/components/schemas/JsonObject"}

    def test_no_validation_detail_leaves_the_gateway(self, body: dict[str, Any]) -> None:
        assert "validationError" not in json.dumps(body)

    def test_a_preflight_request_is_answered_as_locally(self, body: dict[str, Any]) -> None:
        for resource in routes.load():
            operation = body["paths"][resource.path]["options"]
            integration = operation["x-amazon-apigateway-integration"]
            local = gateway.preflight(resource, REQUEST_ID)
            answer = integration["responses"]["default"]
            assert headers(answer["responseParameters"]) == local["headers"], resource.path
            assert int(answer["statusCode"]) == local["statusCode"]
            assert json.loads(integration["requestTemplates"]["application/json"]) == {
                "statusCode": local["statusCode"]
            }
            assert (integration["type"], operation["security"]) == ("mock", [])
            assert set(operation["responses"][answer["statusCode"]]["headers"]) == set(local["headers"])

    def test_it_fits(self, body: dict[str, Any], planned: dict[str, Mapping[str, Any]]) -> None:
        assert len(planned["aws_api_gateway_rest_api.this"]["body"].encode()) < 6 * 1024 * 1024
        assert sum(path.count("/") for path in body["paths"]) < 300  # resources, at most


class TestPermissions:
    def test_each_operation_has_one_on_the_alias(self, planned: dict[str, Mapping[str, Any]]) -> None:
        permitted = {
            address.partition('"')[2].rpartition('"')[0]: (values["function_name"], values["qualifier"])
            for address, values in planned.items()
            if address.startswith("aws_lambda_permission.")
        }
        names = {key: (one["name"], one["alias"]) for key, one in functions().items()}
        expected = {f"{one.method} {one.path}": names[one.function] for one in contract.operations().values()}
        assert permitted.pop("authorizer") == ("leaderboard-prod-authorizer", "live")
        assert permitted == expected


def test_the_renderer_replaces_as_api_gateway_does() -> None:
    request_id = str(uuid.uuid4())
    assert render('{"a":"$context.requestId","b":$context.error.message}', {"requestId": request_id}) == (
        f'{{"a":"{request_id}","b":-}}'
    )
    with pytest.raises(json.JSONDecodeError):
        contract.parse(render('{"a":"$context.path"}', {"path": HOSTILE}).encode())
