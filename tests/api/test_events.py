"""The handlers on their own, with all variants of the events that a REST API (v1) sends to Lambda."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
import valkey

from scripts.local import examples
from scripts.local.examples import Example
from scripts.local.proxy import Context
from tests.support.guarded import Guarded
from tests.support.invoking import Answer, event

Invoke = Callable[..., Answer]

ADA = {"userId": "ada", "username": "Ada", "email": "ada@example.com"}


@pytest.fixture
def ada(invoke: Invoke) -> str:
    """The id of a new player."""
    assert invoke("create_user", event("POST", "/users", json_body=ADA)).status == 201
    return "ada"


def names(answer: Answer) -> list[str]:
    """The arguments that a reply refuses."""
    return sorted(error["name"] for error in answer.json()["errors"])


def test_every_handler_answers_an_event(invoke: Invoke, guarded: Guarded) -> None:
    def ask(example: Example) -> Answer:
        return invoke(example.function, event(example.method, example.target, json_body=example.body))

    ids = examples.existing(lambda example: ask(example).json())
    for example in examples.load(ids).values():
        assert ask(example).status == example.status, example


class TestHeaders:
    @pytest.mark.parametrize("absent", [{"headers": None}, {"headers": {}}])
    def test_an_event_may_have_no_headers(self, invoke: Invoke, absent: dict[str, Any]) -> None:
        request = event("GET", "/stats", **absent, multiValueHeaders=absent["headers"])
        assert invoke("stats", request).status == 200
        request = event("POST", "/users", body=json.dumps(ADA), **absent, multiValueHeaders=None)
        assert invoke("create_user", request).status == 201

    def test_members_that_an_event_lacks_are_as_null(self, invoke: Invoke) -> None:
        request = event("GET", "/stats")
        for name in set(request) - {"httpMethod", "path", "resource", "requestContext"}:
            del request[name]
        assert invoke("stats", request).status == 200

    @pytest.mark.parametrize("name", ["content-type", "Content-Type", "CONTENT-TYPE", "cOnTeNt-TyPe"])
    @pytest.mark.parametrize("multi_only", [False, True])
    def test_a_headers_name_may_be_in_any_case(self, invoke: Invoke, name: str, multi_only: bool) -> None:
        def declared(value: str) -> dict[str, Any]:
            several = {name: [value]}
            single = None if multi_only else {name: value}
            return event("POST", "/users", body=json.dumps(ADA), multiValueHeaders=several) | {"headers": single}

        assert invoke("create_user", declared("text/plain")).status == 415
        assert invoke("create_user", declared("application/json")).status == 201

    def test_of_a_header_that_came_twice_the_last_counts_as_in_headers(self, invoke: Invoke) -> None:
        request = event("POST", "/users", body=json.dumps(ADA)) | {"headers": None}
        request["multiValueHeaders"] = {"Content-Type": ["application/json", "text/plain"]}
        assert invoke("create_user", request).status == 415


class TestQueries:
    @pytest.mark.usefixtures("ada")
    def test_null_is_no_query(self, invoke: Invoke) -> None:
        request = event("GET", "/leaderboard", queryStringParameters=None, multiValueQueryStringParameters=None)
        assert len(invoke("leaderboard", request).json()["leaderboard"]) == 1

    @pytest.mark.parametrize(
        ("single", "several"),
        [
            ({"limit": "0"}, {"limit": ["0"]}),
            ({"limit": "0"}, None),
            (None, {"limit": ["0"]}),
            ({"limit": "0"}, {}),
        ],
    )
    def test_either_form_of_the_query_is_read(self, invoke: Invoke, single: Any, several: Any) -> None:
        request = event("GET", "/leaderboard", queryStringParameters=single, multiValueQueryStringParameters=several)
        answer = invoke("leaderboard", request)
        assert (answer.status, names(answer)) == (400, ["limit"])

    @pytest.mark.parametrize("path", ["/leaderboard?limit=5&limit=5", "/leaderboard?limit=5&offset=0&limit=6"])
    def test_a_name_given_twice_is_refused(self, invoke: Invoke, path: str) -> None:
        answer = invoke("leaderboard", event("GET", path))
        assert (answer.status, set(names(answer))) == (400, {"limit"})
        assert answer.json()["errors"][0]["detail"] == "is given twice"

    @pytest.mark.usefixtures("ada")
    def test_a_query_cannot_stand_for_the_path(self, invoke: Invoke) -> None:
        answer = invoke("rank", event("GET", "/users/ada/rank?userId=ada"))
        assert (answer.status, names(answer)) == (400, ["userId"])

    @pytest.mark.usefixtures("ada")
    def test_a_query_beside_a_body_is_refused(self, invoke: Invoke) -> None:
        answer = invoke("update_score", event("PUT", "/users/ada/score?score=9", json_body={"score": 5}))
        assert (answer.status, names(answer)) == (400, ["score"])
        assert answer.json()["errors"][0]["in"] == "query"

    def test_null_for_a_querys_value_is_an_empty_value(self, invoke: Invoke) -> None:
        variants: tuple[dict[str, Any], ...] = (
            {"queryStringParameters": {"limit": None}, "multiValueQueryStringParameters": None},
            {"queryStringParameters": None, "multiValueQueryStringParameters": {"limit": None}},
        )
        for members in variants:
            answer = invoke("leaderboard", event("GET", "/leaderboard", **members))
            assert (answer.status, names(answer)) == (400, ["limit"])


class TestBodies:
    def test_a_body_may_be_base64(self, invoke: Invoke) -> None:
        request = event("POST", "/users", body=json.dumps({**ADA, "username": "Zoë 👾"}, ensure_ascii=False).encode())
        assert request["isBase64Encoded"] is True
        assert invoke("create_user", request).json()["user"]["username"] == "Zoë 👾"

    @pytest.mark.parametrize("text", ["{}", "!", "e30", "e30=\n", "é", "=" * 5])
    def test_a_body_that_is_called_base64_and_is_not_is_malformed(self, invoke: Invoke, text: str) -> None:
        answer = invoke("create_user", event("POST", "/users", body=text, isBase64Encoded=True))
        assert (answer.status, answer.json()["code"]) == (400, "malformed_body")

    def test_the_bytes_are_limited_after_base64(self, invoke: Invoke) -> None:
        def padded(size: int) -> bytes:
            document = json.dumps(ADA).encode()
            return document + b" " * (size - len(document))

        over, most = padded(64 * 1024 + 1), padded(64 * 1024)
        assert invoke("create_user", event("POST", "/users", body=over)).status == 413
        assert invoke("create_user", event("POST", "/users", body=over.decode())).status == 413
        assert invoke("create_user", event("POST", "/users", body=most)).status == 201
        assert invoke("create_user", event("POST", "/users", body=most.decode())).status == 409

    def test_the_limit_counts_bytes_and_not_characters(self, invoke: Invoke) -> None:
        text = json.dumps({**ADA, "level": "é" * 40_000}, ensure_ascii=False)
        assert len(text) < 64 * 1024
        assert invoke("create_user", event("POST", "/users", body=text)).status == 413

    @pytest.mark.parametrize("body", [None, ""])
    @pytest.mark.parametrize("is_base64", [False, True])
    def test_no_body_misses_every_required_member(self, invoke: Invoke, body: str | None, is_base64: bool) -> None:
        answer = invoke("create_user", event("POST", "/users", body=body, isBase64Encoded=is_base64))
        assert (answer.status, names(answer)) == (400, ["username"])
        assert all(error["in"] == "body" for error in answer.json()["errors"])

    @pytest.mark.usefixtures("ada")
    def test_a_body_where_none_is_expected_is_ignored(self, invoke: Invoke) -> None:
        assert invoke("rank", event("GET", "/users/ada/rank", json_body={"userId": "eve", "x": 1})).status == 200

    @pytest.mark.usefixtures("ada")
    def test_a_body_cannot_stand_for_the_path(self, invoke: Invoke) -> None:
        answer = invoke("update_score", event("PUT", "/users/ada/score", json_body={"score": 5, "userId": "ada"}))
        assert (answer.status, names(answer)) == (400, ["userId"])

    def test_base64_of_bytes_that_are_no_text_is_malformed(self, invoke: Invoke) -> None:
        for content in (b"\xff\xfe{\x00}\x00", b'{"username": "\xff"}', b"\x80", json.dumps(ADA).encode("utf-16")):
            answer = invoke("create_user", event("POST", "/users", body=content))
            assert (answer.status, answer.json()["code"]) == (400, "malformed_body")


class TestPaths:
    @pytest.mark.parametrize("sent", ["ada", "%61da", "%61%64%61", "ad%61"])
    @pytest.mark.usefixtures("ada")
    def test_a_path_parameter_is_percent_decoded(self, invoke: Invoke, sent: str) -> None:
        request = event("GET", f"/users/{sent}/rank")
        assert request["pathParameters"] == {"userId": sent}
        assert invoke("rank", request).json()["rank"]["userId"] == "ada"

    @pytest.mark.parametrize(
        "sent", ["a%2Fb", "%00", "%2561da", "%", "%zz", "%ff", "%C3%A9", "%20ada", "ada%0A", "%7Bx%7D"]
    )
    @pytest.mark.usefixtures("ada")
    def test_a_path_parameter_is_decoded_before_it_is_judged_and_once(self, invoke: Invoke, sent: str) -> None:
        answer = invoke("rank", event("GET", f"/users/{sent}/rank"))
        assert (answer.status, names(answer)) == (400, ["userId"])
        assert answer.json()["errors"][0]["in"] == "path"

    def test_no_path_parameters_is_a_missing_argument(self, invoke: Invoke) -> None:
        for absent in (None, {}, {"userId": None}):
            answer = invoke("rank", event("GET", "/users/ada/rank", pathParameters=absent))
            assert (answer.status, names(answer)) == (400, ["userId"])


class TestContexts:
    def test_any_context_will_do(self, invoke: Invoke) -> None:
        for context in (None, Context(), Context(seconds=3), object()):
            assert invoke("stats", event("GET", "/stats"), context).status == 200

    def test_the_request_id_is_the_one_of_the_gateway(self, invoke: Invoke) -> None:
        request = event("GET", "/stats")
        assert invoke("stats", request).headers["X-Request-Id"] == request["requestContext"]["requestId"]

    @pytest.mark.parametrize("request_context", [None, {}, {"requestId": None}])
    def test_without_a_gateway_the_request_id_is_lambdas(self, invoke: Invoke, request_context: Any) -> None:
        context = Context()
        request = event("GET", "/users/nobody", requestContext=request_context)
        answer = invoke("get_user", request, context)
        assert answer.headers["X-Request-Id"] == context.aws_request_id
        assert answer.json()["requestId"] == context.aws_request_id

    def test_without_either_there_is_a_reply_all_the_same(self, invoke: Invoke) -> None:
        request = event("GET", "/users/nobody")
        del request["requestContext"]
        assert invoke("get_user", request, None).status == 404

    @pytest.mark.parametrize("seconds", [0, 0.1])
    @pytest.mark.usefixtures("ada")
    def test_without_time_left_the_answer_is_to_come_again(self, invoke: Invoke, seconds: float) -> None:
        for function, request in (
            ("rank", event("GET", "/users/ada/rank")),
            ("update_score", event("PUT", "/users/ada/score", json_body={"score": 9})),
        ):
            answer = invoke(function, request, Context(seconds=seconds))
            assert (answer.status, answer.json()["code"]) == (503, "unavailable")
        assert invoke("get_user", event("GET", "/users/ada")).json()["user"]["gamesPlayed"] == 0


def test_a_method_that_a_function_does_not_have_is_no_endpoint(invoke: Invoke) -> None:
    for method in ("PUT", "PATCH"):
        answer = invoke("sessions", event(method, "/sessions"))
        assert (answer.status, answer.json()["code"]) == (404, "endpoint_not_found")


def test_a_reply_without_a_body_has_no_content_type(invoke: Invoke, ada: str) -> None:
    session = invoke("sessions", event("POST", "/sessions", json_body={"userId": ada})).json()["session"]["sessionId"]
    answer = invoke("sessions", event("DELETE", f"/sessions/{session}"))
    assert (answer.status, answer.body) == (204, b"")
    assert "content-type" not in {name.lower() for name in answer.headers}


def test_each_request_is_one_line_of_json_in_the_log(
    invoke: Invoke, ada: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    request = event("GET", "/users/ada/rank")
    invoke("rank", request)
    invoke("get_user", event("GET", "/users/nobody"))
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["level"] == "INFO"
    assert (first["method"], first["route"], first["status"]) == ("GET", "/users/{userId}/rank", 200)
    assert first["requestId"] == request["requestContext"]["requestId"]
    assert first["milliseconds"] >= 0
    assert (second["status"], second["code"]) == (404, "user_not_found")


def test_a_bug_is_logged_by_its_place_and_never_by_its_text(
    invoke: Invoke, ada: str, raw: valkey.Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    raw.hset("user:ada", "score", "ada@example.com")
    capsys.readouterr()
    with pytest.raises(AssertionError, match="documents no 500"):
        invoke("get_user", event("GET", "/users/ada"))
    lines = capsys.readouterr().out
    failure = next(json.loads(line) for line in lines.splitlines() if '"ERROR"' in line)
    assert failure["cause"][0] == "ValueError"
    assert "records.py" in failure["cause"][-1]
    assert "@" not in lines


def test_base64_is_decoded_only_where_the_event_says_so(invoke: Invoke) -> None:
    text = base64.b64encode(json.dumps(ADA).encode()).decode()
    assert invoke("create_user", event("POST", "/users", body=text, isBase64Encoded=False)).status == 400
    assert invoke("create_user", event("POST", "/users", body=text, isBase64Encoded=True)).status == 201
