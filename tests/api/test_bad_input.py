"""What is refused: with a clear problem that names every offending argument, changing nothing and leaking nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

import httpx
import pytest
import valkey

from tests.support import contract
from tests.support.api import Api, fresh_id

SECRET_EMAIL = "somebody-private@example.org"
SECRET = "the-value-that-nobody-may-repeat"

ADA = {"userId": "ada", "username": "Ada", "email": SECRET_EMAIL, "score": 5}

JSON = {"Content-Type": "application/json"}


def picture(raw: valkey.Valkey) -> dict[str, tuple[bytes, int]]:
    """Everything that the server holds, byte by byte."""
    return {key: (raw.dump(key), raw.pexpiretime(key)) for key in raw.scan_iter(count=1000)}  # type: ignore[misc]


@pytest.fixture(autouse=True)
def _nothing_changes(api: Api, raw: valkey.Valkey, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """One player and one session before each test; after it there is nothing else, and no log line holds a secret."""
    assert api.post("/users", json=ADA).status_code == 201
    session = {"userId": "ada", "sessionData": {"secret": SECRET}}
    assert api.post("/sessions", json=session).status_code == 201
    before = picture(raw)
    yield
    assert picture(raw) == before
    out, err = capsys.readouterr()
    assert '"request answered"' in out
    assert "@" not in out + err
    assert SECRET not in out + err
    assert "Traceback" not in out + err


def refused(response: httpx.Response, *names: str, code: str = "invalid_arguments") -> dict[str, Any]:
    """Asserts that a reply is a 400 that names exactly these arguments and repeats no value."""
    assert response.status_code == 400, response.text
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code, problem
    if code == "invalid_arguments":
        assert sorted({error["name"] for error in problem["errors"]}) == sorted(names), problem
        assert all(name in problem["detail"] for name in names)
        assert problem["error"]
    assert "@" not in response.text
    assert SECRET not in response.text
    return problem


def raw_json(text: str | bytes, **headers: str) -> dict[str, Any]:
    """A request's options for a JSON body that is sent exactly as written."""
    return {"content": text, "headers": {**JSON, **headers}}


class TestNamingWhatIsWrong:
    def test_every_offending_member_is_named_in_one_reply(self, api: Api) -> None:
        body = {"userId": "{x}", "username": "", "email": SECRET, "score": "5", "nickname": SECRET, "admin": True}
        problem = refused(api.post("/users", json=body), "userId", "username", "email", "score", "nickname", "admin")
        assert all(error["in"] == "body" for error in problem["errors"])
        assert len(problem["errors"]) == 6

    def test_a_score_out_of_bounds_is_named_with_all_the_others(self, api: Api) -> None:
        body = {"username": "", "email": "x", "score": -1, "nickname": "x"}
        refused(api.post("/users", json=body), "username", "email", "score", "nickname")
        refused(api.put("/users/ada/score", json={"score": 10**12 + 1, "x": 1}), "score", "x")
        refused(api.put("/users/ada/score?limit=1", json={"score": 10**12 + 1}), "score", "limit")
        refused(api.put("/users/ada/score", json={"score": -1, "operator": "best", "x": 1}), "x")

    def test_every_missing_member_is_named(self, api: Api) -> None:
        refused(api.post("/users", json={}), "username")
        refused(api.put("/users/ada/score", json={}), "score")
        refused(api.post("/sessions", json={}), "userId")

    def test_path_query_and_body_are_named_together(self, api: Api) -> None:
        problem = refused(api.put("/users/a.b/score?limit=1", json={"score": 1.5}), "userId", "limit", "score")
        assert {error["name"]: error["in"] for error in problem["errors"]} == {
            "userId": "path",
            "limit": "query",
            "score": "body",
        }

    def test_every_offending_name_of_a_query_is_named(self, api: Api) -> None:
        path = "/leaderboard?limit=0&offset=-1&page=2&sort=asc"
        problem = refused(api.get(path), "limit", "offset", "page", "sort")
        assert all(error["in"] == "query" for error in problem["errors"])

    def test_null_is_not_a_value(self, api: Api) -> None:
        body = dict.fromkeys(("username", "email", "userId", "score"))
        refused(api.post("/users", json=body), "username", "email", "userId", "score")
        refused(api.post("/sessions", json={"userId": "ada", "sessionData": None}), "sessionData")

    def test_an_e_mail_as_a_name_is_not_repeated(self, api: Api) -> None:
        body = {"username": "Ada", "email": SECRET_EMAIL, SECRET_EMAIL: 1, "<script>": 2, "": 3, "a\r\nX-Evil: 1": 4}
        problem = refused(api.post("/users", json=body), "(unprintable)")
        assert len(problem["errors"]) == 4
        refused(api.get(f"/stats?{SECRET_EMAIL}=1"), "(unprintable)")

    def test_thousands_of_unknown_names_are_a_short_reply(self, api: Api) -> None:
        response = api.post("/users", json={f"n{i}": 0 for i in range(5000)})
        assert response.status_code == 400
        assert len(response.content) < 32_000

    @pytest.mark.parametrize(
        "path",
        ["/users/ada", "/users/ada/rank", "/users/ada/nearby", "/leaderboard", "/stats", "/health", "/sessions/x"],
    )
    def test_an_unknown_query_name_is_refused_everywhere(self, api: Api, path: str) -> None:
        refused(api.get(f"{path}?unknown={SECRET}"), "unknown")
        refused(api.get(f"{path}?unknown"), "unknown")
        refused(api.get(f"{path}?Limit=1"), "Limit")

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", "/users", {**ADA, "userId": "eve"}),
            ("PUT", "/users/ada/score", {"score": 1}),
            ("POST", "/sessions", {"userId": "ada"}),
        ],
    )
    def test_an_unknown_member_is_refused_everywhere(self, api: Api, method: str, path: str, body: Any) -> None:
        for name in ("unknown", "user_id", "user_Id", "session_data", "UserId", "games_played", "__class__", "_schema"):
            refused(api.request(method, path, json={**body, name: SECRET}), name)
        refused(api.request(method, path + "?unknown=1", json=body), "unknown")

    def test_a_query_name_that_is_given_twice_is_refused(self, api: Api) -> None:
        refused(api.get("/leaderboard?limit=5&limit=5"), "limit")
        refused(api.get("/leaderboard?limit=5&offset=1&%6cimit=6"), "limit")
        refused(api.get("/users/ada/nearby?range=1&range="), "range")


class TestNames:
    BAD: ClassVar = {
        "nothing": "",
        "a space": " ",
        "a space before": " Ada",
        "a space after": "Ada ",
        "a line": "Ada\n",
        "a line inside": "A\nda",
        "a carriage return": "A\rda",
        "a tab": "A\tda",
        "NUL": "A\0da",
        "escape": "A\x1b[31mda",
        "delete": "A\x7fda",
        "a C1 control": "A\x85da",
        "a soft hyphen": "A\u00adda",
        "a right-to-left override": "A\u202eda",
        "a left-to-right embedding": "A\u202ada",
        "an isolate": "A\u2066da",
        "a right-to-left mark": "A\u200fda",
        "an Arabic letter mark": "A\u061cda",
        "a zero-width space": "A\u200bda",
        "a word joiner": "A\u2060da",
        "a byte order mark": "\ufeffAda",
        "a line separator": "A\u2028da",
        "the replacement character": "A\ufffdda",
        "an ideographic space before": "\u3000Ada",
        "no-break spaces only": "\u00a0\u00a0",
        "a selector behind a letter": "Ada\ufe0f",
        "a grapheme joiner": "A\u034fda",
        "a tag": "A\U000e007f",
        "a keycap's selector alone": "5\ufe0fa",
        "three accents": "A\u0315\u0316\u0317da",
        "31 accents": "A" + "\u0316" * 31,
        "accents with joiners between": "A" + "\u0315\u0316\u200d" * 9 + "\u0315a",
        "accents with non-joiners between": "A" + "\u0315\u200c" * 3 + "a",
        "an accent on nothing": "\u0301da",
        "five marks that have a place of their own": "ก" + "\u0e47" * 5,
        "five marks over two that take up space": "क" + "ा\u0902\u0902" * 3,
        "three enclosing marks": "a\u0489\u0488\u0489",
        "three accents over a mark that takes up space": "का\u0301ि\u0302\u0303",
        "a joiner in a name": "A\u200dda",
        "a non-joiner in a name": "A\u200cda",
        "a joiner between Arabic letters": "ب\u200dب",
        "a non-joiner before an Arabic mark": "ب\u200c\u064eب",
        "a non-joiner between an Arabic comma and a letter": "ب،\u200cب",
        "a non-joiner between Hebrew letters": "א\u200cב",
        "a joiner between Devanagari letters": "क\u200dख",
        "a joiner between a virama and another script": "क्\u200dA",
        "a joiner between a virama and a comma": "क्\u200d।",
        "a joiner between a letter and an emoji": "A\u200d🐱",
        "a joiner between symbols": "★\u200d★",
        "joiners in a row": "A\u200d\u200cda",
        "joiners in a row behind a virama": "क्\u200d\u200cक",
        "viramas with joiners between": "क" + "्\u200d" * 5 + "क",
        "a note head that is not there": "A\U0001d159da",
        "33 letters": "a" * 33,
        "33 astral characters": "𝒜" * 33,
        "32 and a combining one": "a" * 32 + "\u0301",
    }

    @pytest.mark.parametrize("kind", BAD)
    def test_a_bad_name_is_refused(self, api: Api, kind: str) -> None:
        refused(api.post("/users", json={**ADA, "userId": "eve", "username": self.BAD[kind]}), "username")

    @pytest.mark.parametrize("value", [5, 1.5, True, ["Ada"], {"first": "Ada"}, None])
    def test_a_name_that_is_no_text_is_refused(self, api: Api, value: object) -> None:
        refused(api.post("/users", json={**ADA, "userId": "eve", "username": value}), "username")

    @pytest.mark.parametrize(
        "invisible", ["\u200d", "\u200c\u200d", "\u3164", "\u115f\u1160", "\u2800", "\U000e0041", "\ufe0f"]
    )
    def test_a_name_that_nobody_can_see_is_refused(self, api: Api, invisible: str) -> None:
        refused(api.post("/users", json={**ADA, "userId": "eve", "username": invisible}), "username")

    @pytest.mark.parametrize("half", ["\\ud800", "\\udfff", "\\udc00\\ud800", "A\\ud83d", "\\ud83d\\u0041"])
    @pytest.mark.parametrize("member", ["username", "email", "level", "nickname", "userId"])
    def test_half_a_surrogate_pair_is_refused_wherever_it_is(self, api: Api, half: str, member: str) -> None:
        text = json.dumps({**ADA, "userId": "eve", member: "HERE"}).replace("HERE", half)
        refused(api.post("/users", **raw_json(text)), code="malformed_body")

    def test_half_a_surrogate_pair_is_refused_in_a_members_name_and_in_session_data(self, api: Api) -> None:
        refused(api.post("/users", **raw_json(r'{"\ud800": 1}')), code="malformed_body")
        for data in (r'{"x": "\ud800"}', r'{"\udc00": 1}', r'{"x": [{"y": ["\ud800"]}]}'):
            refused(
                api.post("/sessions", **raw_json(f'{{"userId": "ada", "sessionData": {data}}}')), code="malformed_body"
            )


class TestEMails:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "x",
            "@",
            "a@",
            "@b.cc",
            "a@b",
            "a@@b.cc",
            "a@b@c.dd",
            "a@.cc",
            "a@b.",
            "a@b..cc",
            "a b@c.dd",
            "a@b c.dd",
            " a@b.cc",
            "a@b.cc ",
            "a@b.cc\n",
            "a@b.cc\r\nBcc: x@y.zz",
            "a\0@b.cc",
            "a\u202e@b.cc",
            "a@b.c\u200bc",
            "x" * 65 + "@b.cc",
            "a@" + "b" * 250 + ".cc",
            "a@" + "\u00e9" * 124 + "bb.cc",  # 132 characters, 255 bytes
            "a@" + "\U0001f600" * 63 + "b.c",
        ],
    )
    def test_a_bad_address_is_refused(self, api: Api, text: str) -> None:
        refused(api.post("/users", json={**ADA, "userId": "eve", "email": text}), "email")

    def test_a_taken_id_does_not_tell_whose_it_is(self, api: Api) -> None:
        response = api.post("/users", json={**ADA, "username": "Eve", "email": "eve@example.com"})
        assert response.status_code == 409
        assert "@" not in response.text
        assert "Ada" not in response.text


class TestIds:
    BAD = (
        "",
        "a" * 65,
        "{ada}",
        "a{b}c",
        "ada ",
        "a b",
        "a:b",
        "a.b",
        "a/b",
        "..",
        "ä",
        "ada\n",
        "ada\0",
        "*",
        "٣",
        "ａｄａ",
    )

    @pytest.mark.parametrize("bad", BAD)
    def test_a_bad_id_in_a_body_is_refused(self, api: Api, bad: str) -> None:
        refused(api.post("/users", json={**ADA, "userId": bad}), "userId")
        refused(api.post("/sessions", json={"userId": bad}), "userId")

    @pytest.mark.parametrize("value", [5, True, [], {}, 1.5])
    def test_an_id_that_is_no_text_is_refused(self, api: Api, value: object) -> None:
        refused(api.post("/users", json={**ADA, "userId": value}), "userId")
        refused(api.post("/sessions", json={"userId": value}), "userId")

    @pytest.mark.parametrize(
        "sent",
        [
            b"a" * 65,
            b"a" * 6000,
            b"%7Bada%7D",
            b"%2F",
            b"a%2fb",
            b"%00",
            b"ada%00",
            b"%2561da",
            b"%25%36%31da",
            b"%",
            b"%g1",
            b"%ff",
            b"%c0%ae",
            b"%ed%a0%80",
            b"%20ada",
            b"ada%20",
            b"ada%0a",
            b"ada%0d%0aX-Evil:%201",
            b"%E2%80%AEada",
            b"a.b",
            b"a+b",
            b"a;b",
            b"a,b",
            b"*",
            b"somebody-private%40example.org",
        ],
    )
    def test_a_bad_id_in_a_path_is_refused(self, api: Api, sent: bytes) -> None:
        for path in (b"/users/%s", b"/users/%s/rank", b"/users/%s/nearby"):
            problem = refused(api.request("GET", "", target=path % sent), "userId")
            assert problem["errors"][0]["in"] == "path"
        response = api.request("PUT", "", target=b"/users/%s/score" % sent, json={"score": 1})
        refused(response, "userId")
        for method in ("GET", "DELETE"):
            refused(api.request(method, "", target=b"/sessions/%s" % sent), "sessionId")

    @pytest.mark.parametrize(
        "target",
        [
            b"/users/..",
            b"/users/.",
            b"/users//rank",
            b"/users/",
            b"//users",
            b"/users/ada/",
            b"/users/ada/rank/",
            b"/%75sers/ada/x",
        ],
    )
    def test_a_path_is_not_put_in_order_for_the_client(self, api: Api, target: bytes) -> None:
        response = api.request("GET", "", target=target)
        assert response.status_code in (400, 404)


class TestNumbers:
    BAD: ClassVar = {
        "text": '"5"',
        "a fraction": "5.5",
        "true": "true",
        "false": "false",
        "null": "null",
        "a list": "[5]",
        "an object": "{}",
        "2^53": "9007199254740992",
        "-2^53": "-9007199254740992",
        "2^63": "9223372036854775808",
        "4,000 digits": "9" * 4000,
        "below the bounds": "-1",
        "above the bounds": "1000000000001",
    }

    @pytest.mark.parametrize("text", ["1500.5", "1e308", "9007199254740992.0", "-9007199254740992.0"])
    def test_other_floats_are_refused(self, api: Api, text: str) -> None:
        for operator in ("set", "increment"):
            body = f'{{"score": {text}, "operator": "{operator}"}}'
            refused(api.put("/users/ada/score", **raw_json(body)), "score")

    @pytest.mark.parametrize("kind", BAD)
    def test_a_bad_score_is_refused(self, api: Api, kind: str) -> None:
        refused(api.put("/users/ada/score", **raw_json(f'{{"score": {self.BAD[kind]}}}')), "score")
        body = json.dumps({**ADA, "userId": "eve", "score": 0}).replace('"score": 0', f'"score": {self.BAD[kind]}')
        refused(api.post("/users", **raw_json(body)), "score")

    @pytest.mark.parametrize(
        "text",
        [
            "NaN",
            "Infinity",
            "-Infinity",
            "1e400",
            "-1e400",
            "+5",
            "05",
            ".5",
            "5.",
            "0x5",
            "1_000",
            "",
            "5" * 5000,
            "--5",
            "٥",
        ],
    )
    def test_what_is_no_number_of_json_is_malformed(self, api: Api, text: str) -> None:
        refused(api.put("/users/ada/score", **raw_json(f'{{"score": {text}}}')), code="malformed_body")

    @pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400", "9" * 5000])
    def test_such_a_number_is_malformed_wherever_it_is(self, api: Api, text: str) -> None:
        for body in (
            f'{{"username": "Ada", "email": "a@b.cc", "level": {text}}}',
            f'{{"username": "Ada", "email": "a@b.cc", "gamesPlayed": [{{"x": {text}}}]}}',
        ):
            problem = refused(api.post("/users", **raw_json(body)), code="malformed_body")
            is_number = text[-1].isdigit()
            assert problem["detail"].startswith("A number in the body" if is_number else "NaN and Infinity are")
        body = f'{{"userId": "ada", "sessionData": {{"x": [{text}]}}}}'
        refused(api.post("/sessions", **raw_json(body)), code="malformed_body")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "0",
            "-1",
            "101",
            "+5",
            " 5",
            "5 ",
            "5.0",
            "1e1",
            "0x5",
            "five",
            "٥",
            "５",
            "²",
            "5_0",
            "null",
            "true",
            "NaN",
            "9" * 17,
            "9" * 5000,
            "5%00",
            "5%0A",
            "5,6",
            "[5]",
            "%ff",
        ],
    )
    def test_a_bad_limit_is_refused(self, api: Api, text: str) -> None:
        quoted = text.replace("+", "%2B").replace(" ", "%20")
        refused(api.get(f"/leaderboard?limit={quoted}"), "limit")

    @pytest.mark.parametrize("text", ["", "-1", "1.0", "9007199254740992", "9" * 30, "x"])
    def test_a_bad_offset_is_refused(self, api: Api, text: str) -> None:
        refused(api.get(f"/leaderboard?offset={text}"), "offset")

    @pytest.mark.parametrize("text", ["", "0", "51", "-1", "5.0", "x"])
    def test_a_bad_range_is_refused(self, api: Api, text: str) -> None:
        refused(api.get(f"/users/ada/nearby?range={text}"), "range")

    def test_a_limit_that_was_given_as_a_space_is_refused(self, api: Api) -> None:
        refused(api.get("/leaderboard?limit=+5"), "limit")


class TestBodies:
    ROUTES = (("POST", "/users"), ("PUT", "/users/ada/score"), ("POST", "/sessions"))

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    @pytest.mark.parametrize(
        "text",
        [
            "{",
            "}",
            "{'score': 1}",
            '{"score": 1,}',
            '{"score": 1} x',
            '{"score": 1}{"score": 2}',
            '{"score" 1}',
            "{score: 1}",
            '{"score": 1 /* one */}',
            '{"score": "\t"}',
            '{"score": "\\x41"}',
            '{"score": "\\u12"}',
            '"' + SECRET,
            SECRET_EMAIL,
            "null",
            "true",
            "5",
            '"x"',
            "[]",
            '[{"score": 1}]',
            "\ufeff{}",
            '\ufeff{"score": 1}',
            "\x00",
            " ",
            "\u00a0{}",
            "\x0c{}",
            "[" * 200 + "]" * 200,
            "[" * 30_000,
            "[" * 30_000 + "]" * 30_000,
            '{"a":' * 10_000 + "1" + "}" * 10_000,
            '{"a":[' * 8_000,
        ],
        ids=lambda text: repr(text[:20]),
    )
    def test_what_is_no_json_object_is_malformed(self, api: Api, method: str, path: str, text: str) -> None:
        problem = refused(api.request(method, path, **raw_json(text.encode())), code="malformed_body")
        assert problem["error"] == "Invalid JSON body"

    @pytest.mark.parametrize(
        "content",
        [
            b"\xff\xfe{\x00}\x00",
            b"\xfe\xff\x00{\x00}",
            '{"username": "Ada"}'.encode("utf-16"),
            '{"username": "Ada"}'.encode("utf-32"),
            b'{"username": "\xff"}',
            b'{"username": "\xe9"}',
            b'{"username": "\xed\xa0\x80"}',
            b'{"username": "\xc0\xaf"}',
            b'{"username": "\xf5\x80\x80\x80"}',
            b"\x80",
        ],
    )
    def test_what_is_no_utf_8_is_malformed(self, api: Api, content: bytes) -> None:
        for method, path in self.ROUTES:
            refused(api.request(method, path, **raw_json(content)), code="malformed_body")

    @pytest.mark.parametrize(
        "text",
        [
            '{"score": 1, "score": 1}',
            '{"score": 1, "score": 2}',
            '{"score": 1, "\\u0073core": 2}',
            '{"score": 1, "x": {"a": 1, "a": 1}}',
            '{"score": 1, "x": [[{"a": 1, "b": 2, "a": 3}]]}',
        ],
    )
    def test_a_name_twice_is_malformed_wherever_it_is(self, api: Api, text: str) -> None:
        refused(api.put("/users/ada/score", **raw_json(text)), code="malformed_body")
        nested = f'{{"userId": "ada", "sessionData": {text}}}'
        refused(api.post("/sessions", **raw_json(nested)), code="malformed_body")

    @pytest.mark.parametrize(
        "declared",
        [
            "text/plain",
            "text/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/xml",
            "application/json; charset=utf-16",
            "application/json; charset=iso-8859-1",
            "application/jsonx",
            "application/json-patch+json",
            "application/problem+json",
            "application",
            "*/*",
            ";",
            "json",
            "application/json, text/plain",
        ],
    )
    def test_a_body_that_is_declared_as_something_else_is_refused(self, api: Api, declared: str) -> None:
        for method, path in self.ROUTES:
            response = api.request(method, path, content=b'{"score": 1}', headers={"Content-Type": declared})
            assert response.status_code == 415
            assert response.json()["code"] == "unsupported_media_type"

    def test_a_body_of_more_than_64_kib_is_refused(self, api: Api) -> None:
        for method, path in self.ROUTES:
            for size in (64 * 1024 + 1, 200_000):
                response = api.request(method, path, **raw_json(b'{"score": 1}'.ljust(size)))
                assert response.status_code == 413
                assert response.json()["code"] == "body_too_large"

    def test_a_body_that_does_not_say_its_length_is_limited_too(self, api: Api) -> None:
        chunks = (b" " * 10_000 for _ in range(10))
        response = api.post("/users", content=chunks, headers=JSON)
        assert response.status_code == 413

    def test_a_body_of_64_kib_is_read(self, api: Api) -> None:
        refused(api.put("/users/ada/score", **raw_json(b'{"score": -1}'.ljust(64 * 1024))), "score")

    @pytest.mark.parametrize("deep", [17, 200, 900])
    def test_json_that_is_nested_deeply_is_refused(self, api: Api, deep: int) -> None:
        nested = '{"a":' * (deep - 1) + "{}" + "}" * (deep - 1)
        refused(api.post("/sessions", **raw_json(f'{{"userId": "ada", "sessionData": {nested}}}')), "sessionData")
        lists = "[" * (deep - 1) + "]" * (deep - 1)
        text = f'{{"userId": "ada", "sessionData": {{"a": {lists}}}}}'
        refused(api.post("/sessions", **raw_json(text)), "sessionData")
        refused(api.put("/users/ada/score", **raw_json(f'{{"score": {lists}}}')), "score")

    @pytest.mark.parametrize("value", ["x", 5, True, [], [{}], 1.5])
    def test_session_data_are_an_object(self, api: Api, value: object) -> None:
        refused(api.post("/sessions", json={"userId": "ada", "sessionData": value}), "sessionData")

    @pytest.mark.parametrize("value", [5, 1.5])
    def test_an_id_given_as_a_number_is_told_to_be_a_string(self, api: Api, value: float) -> None:
        for path, body in (("/sessions", {}), ("/users", {"username": "Ada", "email": "ada@example.com"})):
            response = api.post(path, json={**body, "userId": value})
            refused(response, "userId")
            assert "must be a string: send a number in quotes" in response.text

    def test_session_data_are_limited(self, api: Api) -> None:
        for data in (
            {"x": "a" * (4 * 1024 - 7)},
            {"x": "é" * (2 * 1024)},
            {"x": 2**53},
            {"x": [{"y": -(2**53)}]},
            {"x": 2**64},
        ):
            refused(api.post("/sessions", json={"userId": "ada", "sessionData": data}), "sessionData")


class TestHeaders:
    def test_no_header_of_the_request_comes_back(self, api: Api) -> None:
        sent = {"X-Request-Id": SECRET, "X-Evil": SECRET, "Origin": f"https://{SECRET}"}
        for path in ("/stats", "/users/nobody", "/nowhere", "/stats?x=1"):
            response = api.get(path, headers=sent)
            assert SECRET not in str(response.headers) + response.text
            assert response.headers["access-control-allow-origin"] == "*"

    def test_a_line_end_in_a_value_starts_no_header(self, api: Api) -> None:
        response = api.get("/stats?x%0d%0aX-Evil:%201=1%0d%0aX-Evil:%201")
        refused(response, "(unprintable)")
        assert "x-evil" not in response.headers

    def test_a_long_query_is_refused_like_any_other(self, api: Api) -> None:
        refused(api.get(f"/leaderboard?limit={'9' * 6000}"), "limit")
        response = api.get("/leaderboard?" + "&".join(f"n{i}=1" for i in range(500)))
        assert response.status_code == 400
        assert len(response.content) < 32_000


def test_nothing_of_a_list_is_private(api: Api) -> None:
    entry = contract.document()["components"]["schemas"]["Entry"]["properties"]
    assert set(entry) == {"rank", "userId", "username", "score", "level"}
    assert "@" not in api.get("/leaderboard").text
    assert "@" not in api.get("/users/ada/nearby").text
    assert api.get(f"/users/{fresh_id()}").status_code == 404
