"""What HTTP cannot show of the layer: its settings, its rules for every character there is, and lives that end."""

from __future__ import annotations

import contextlib
import gc
import re
import string
import weakref
from typing import Any

import pytest
import valkey
from marshmallow.exceptions import ValidationError

from scripts.local import embedded_valkey
from shared import clock, config, deadline, fields, problems, records
from shared.store import ReplyError, Store
from tests.support import contract
from tests.support.api import Api
from tests.support.invariants import everything

HOST = {"VALKEY_HOST": "cache.example"}


def accepts(field: fields.Text, text: str) -> bool:
    try:
        field.deserialize(text)
    except ValidationError:
        return False
    return True


class TestSettings:
    def test_only_the_host_is_needed(self) -> None:
        settings = config.load(HOST)
        assert settings == config.Settings(valkey_host="cache.example")
        assert (settings.valkey_port, settings.valkey_tls, settings.session_seconds) == (6379, False, 3600)
        assert settings.rules == (0, 10**12, None, 86_400, 1000, (0, 1))

    @pytest.mark.parametrize("environ", [{}, {"VALKEY_HOST": ""}, {"VALKEY_HOST": "  "}])
    def test_a_missing_host_is_named(self, environ: dict[str, str]) -> None:
        with pytest.raises(config.MisconfiguredError, match="VALKEY_HOST is missing"):
            config.load(environ)

    def test_an_empty_setting_is_an_absent_one(self) -> None:
        names = ("VALKEY_PORT", "VALKEY_TLS", "VALKEY_CA_FILE", "DEADLINE_SECONDS", "SCORE_MAX")
        assert config.load({**HOST, **dict.fromkeys(names, "")}) == config.load(HOST)

    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [
            ("VALKEY_PORT", "6380", 6380),
            ("VALKEY_TLS", "1", True),
            ("VALKEY_TLS", "True", True),
            ("VALKEY_TLS", "yes", True),
            ("VALKEY_TLS", "0", False),
            ("VALKEY_TLS", "no", False),
            ("VALKEY_CA_FILE", "/ca.pem", "/ca.pem"),
            ("CONNECT_SECONDS", "0.25", 0.25),
            ("COMMAND_SECONDS", "2", 2.0),
            ("DEADLINE_SECONDS", " 5 ", 5.0),
            ("SESSION_SECONDS", "60", 60),
            ("DEFAULT_OPERATOR", "best", "best"),
            ("METRICS_NAMESPACE", " leaderboard-prod ", "leaderboard-prod"),
            ("METRICS_DEPTH", "totals", "totals"),
            ("SLOW_MILLISECONDS", "95", 95.0),
            ("SCORE_MIN", "-100", -100),
            ("SCORE_MAX", "9007199254740991", 2**53 - 1),
        ],
    )
    def test_each_setting_is_read_by_its_name(self, name: str, text: str, value: object) -> None:
        assert getattr(config.load({**HOST, name: text}), name.lower()) == value

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("VALKEY_PORT", "0"),
            ("VALKEY_PORT", "65536"),
            ("VALKEY_PORT", "6379.0"),
            ("VALKEY_PORT", "http"),
            ("VALKEY_TLS", "maybe"),
            ("CONNECT_SECONDS", "0"),
            ("CONNECT_SECONDS", "11"),
            ("COMMAND_SECONDS", "-1"),
            ("COMMAND_SECONDS", "nan"),
            ("DEADLINE_SECONDS", "inf"),
            ("DEADLINE_SECONDS", "28.5"),
            ("SESSION_SECONDS", "0"),
            ("SCORE_MIN", "-9007199254740992"),
            ("SCORE_MAX", "9007199254740992"),
            ("SCORE_MAX", "1e6"),
            ("DEFAULT_OPERATOR", "BEST"),
            ("DEFAULT_OPERATOR", "create"),
            ("METRICS_NAMESPACE", "AWS/Lambda"),
            ("METRICS_NAMESPACE", "two words"),
            ("METRICS_NAMESPACE", "n" * 256),
            ("METRICS_DEPTH", "users"),
            ("SLOW_MILLISECONDS", "0"),
            ("SUBMISSIONS_PER_MINUTE", "-1"),
            ("SUBMISSIONS_PER_MINUTE", "60001"),
            ("SUBMISSIONS_BURST", "0"),
            ("SESSIONS_PER_MINUTE", "60001"),
            ("SESSIONS_OPEN_MAX", "ten"),
        ],
    )
    def test_a_malformed_setting_is_named_with_its_range(self, name: str, text: str) -> None:
        with pytest.raises(config.MisconfiguredError, match=rf"^{name} is .*should be (?:from|one of|1 to)"):
            config.load({**HOST, name: text})

    def test_only_players_are_held_to_a_pace(self) -> None:
        own = config.load({**HOST, "SUBMISSIONS_PER_MINUTE": "7", "SUBMISSIONS_BURST": "3", "SESSIONS_PER_MINUTE": "5"})
        for scope in (None, "server", "admin"):
            assert own.rules_of(scope) == own.rules
            assert own.session_rules_of(scope) == (3600, 86_400, config.ANY_PACE, 0)
        assert own.rules_of("player") == own.rules._replace(pace=config.Pace(7, 3))
        assert own.session_rules_of("player") == (3600, 86_400, (5, 5), 100)
        free = config.load(
            {**HOST, "SUBMISSIONS_PER_MINUTE": "0", "SESSIONS_PER_MINUTE": "0", "SESSIONS_OPEN_MAX": "0"}
        )
        assert free.rules_of("player").pace.interval_microseconds == 0
        assert free.session_rules_of("player") == (3600, 86_400, (0, 1), 0)

    def test_the_lowest_score_is_not_above_the_highest(self) -> None:
        with pytest.raises(config.MisconfiguredError, match=r"SCORE_MIN \(6\) is above SCORE_MAX \(5\)"):
            config.load({**HOST, "SCORE_MIN": "6", "SCORE_MAX": "5"})

    def test_settings_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            config.load(HOST).valkey_port = 1  # type: ignore[misc]


class TestRules:
    @pytest.mark.parametrize("field", [fields.user_id(), fields.session_id()])
    def test_of_all_characters_an_id_takes_letters_digits_dash_and_underscore(self, field: fields.Text) -> None:
        allowed = {chr(i) for i in range(0x110000) if field.matches(chr(i))}
        assert allowed == set(string.ascii_letters + string.digits + "_-")

    def test_white_space_is_the_same_to_the_contracts_readers(self) -> None:
        """The contract's patterns are ECMA-262's, with other white space than Python's: the rest of a rule makes up."""
        ecmascript = {*"\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff", *map(chr, range(0x2000, 0x200B))}
        differing = [i for i in range(0x110000) if bool(re.match(r"\s", chr(i))) != (chr(i) in ecmascript)]
        for i in differing:
            assert not accepts(fields.username(), f"a{chr(i)}b"), hex(i)
            assert not accepts(fields.email(), f"a{chr(i)}b@example.com"), hex(i)

    def test_no_character_can_stand_in_a_name_that_could_not_be_sent_back(self) -> None:
        for i in range(0xD800, 0xE000):
            assert not accepts(fields.username(), f"a{chr(i)}b"), hex(i)
            assert not accepts(fields.email(), f"a{chr(i)}b@example.com"), hex(i)
        for text in ("a\n", "\na", "a\x00", "a\u202e"):
            assert not accepts(fields.username(), text)

    @pytest.mark.parametrize(
        ("field", "text"),
        [
            (fields.username(), "a" * 10**6),
            (fields.username(), " " * 10**6),
            (fields.email(), "a" * 10**6),
            (fields.email(), "a@" + "a." * 10**6),
            (fields.user_id(), "a" * 10**6),
        ],
    )
    @pytest.mark.timeout(2)
    def test_a_long_text_costs_nothing(self, field: fields.Text, text: str) -> None:
        assert not accepts(field, text)

    def test_a_long_text_within_the_length_costs_nothing_either(self) -> None:
        for text in ("a@" + "a." * 125, "@" * 254, "a" * 64 + "@" + "." * 180, "a@" + ".a" * 126):
            for _ in range(1000):
                assert not accepts(fields.email(), text)

    def test_the_contracts_patterns_are_the_layers(self) -> None:
        expected = {
            "userId": fields.ID_PATTERN,
            "sessionId": fields.ID_PATTERN,
            "username": fields.USERNAME_PATTERN,
            "email": fields.EMAIL_PATTERN,
            "reason": fields.REASON_PATTERN,
            "Idempotency-Key": "^[!-~]{1,255}$",
        }
        found: list[str] = []
        for operation in contract.operations().values():
            stated = {parameter["name"]: parameter["schema"] for parameter in operation.parameters}
            stated |= (operation.body or {}).get("properties", {})
            for name, schema in stated.items():
                if "pattern" in schema:
                    assert schema["pattern"] == expected[name], f"{operation.id} {name}"
                    assert "\\ud" not in schema["pattern"], "many engines refuse a range of surrogates"
                    found.append(name)
        assert set(found) == set(expected)


class TestDocuments:
    def nested(self, levels: int) -> dict[str, Any]:
        """An object of so many levels, in which lists and objects alternate."""
        value: Any = {} if levels % 2 else []
        for level in range(levels - 1, 0, -1):
            value = {"x": value} if level % 2 else [value]
        assert isinstance(value, dict)
        return value

    def test_so_many_levels_and_no_more(self) -> None:
        field = fields.Document(1000, 5)
        assert field.deserialize(self.nested(5)) == self.nested(5)
        with pytest.raises(ValidationError, match="deeper than 5 levels"):
            field.deserialize(self.nested(6))

    def test_so_many_bytes_and_no_more(self) -> None:
        field = fields.Document(20, 5)
        assert field.deserialize({"x": "é" * 6})
        with pytest.raises(ValidationError, match="at most 20 bytes"):
            field.deserialize({"x": "é" * 7})

    def test_no_integer_that_a_double_cannot_hold(self) -> None:
        field = fields.Document(1000, 5)
        assert field.deserialize({"x": [2**53 - 1, -(2**53) + 1]})
        for number in (2**53, -(2**53), 2**64, 10**100):
            with pytest.raises(ValidationError, match="no integer beyond"):
                field.deserialize({"x": [number]})


class TestProblems:
    def every(self, kind: type[problems.Problem] = problems.Problem) -> list[type[problems.Problem]]:
        """The whole tree of problems."""
        return [kind, *(below for child in kind.__subclasses__() for below in self.every(child))]

    def test_a_code_means_one_thing(self) -> None:
        ours = [kind for kind in self.every() if kind.__module__ == "shared.problems" and "code" in vars(kind)]
        codes = [kind.code for kind in ours]
        assert len(set(codes)) == len(codes)
        assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)

    def test_every_problem_says_something(self) -> None:
        for kind in self.every():
            if "code" in vars(kind) and kind.__init__ is problems.Problem.__init__:
                problem = kind()
                assert all(isinstance(text, str) and text for text in (problem.title, problem.error, problem.detail))
                assert 400 <= problem.status < 600


class TestLevels:
    @pytest.mark.parametrize(
        ("score", "level"),
        [
            (0, 1),
            (749, 1),
            (750, 2),
            (1500, 3),
            (10**12, 1333333334),
            (2**53 - 1, 12009599006322),
            (-1, 1),
            (-(10**9), 1),
        ],
    )
    def test_a_level_is_750_points_wide_and_at_least_one(self, score: int, level: int) -> None:
        assert records.level(score) == level


class TestTime:
    def test_the_time_of_day_is_iso_8601_with_milliseconds(self) -> None:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", clock.now())

    def test_a_deadline_comes_nearer(self) -> None:
        deadline.start(5)
        first = deadline.remaining()
        assert 4 < first <= 5
        assert deadline.remaining() <= first
        deadline.start(-1)
        assert deadline.remaining() < 0


class TestSessionsLives:
    def session(self, api: Api) -> str:
        """The id of a new session."""
        user_id = api.create()["userId"]
        session_id: str = api.post("/sessions", json={"userId": user_id}).json()["session"]["sessionId"]
        return session_id

    def test_a_session_lives_for_an_hour(self, api: Api, raw: valkey.Valkey) -> None:
        key = f"session:{self.session(api)}"
        assert raw.pttl(key) in range(3_590_000, 3_600_001)

    def test_reading_does_not_extend_it(self, api: Api, raw: valkey.Valkey) -> None:
        session_id = self.session(api)
        raw.expire(f"session:{session_id}", 100)
        ends = raw.pexpiretime(f"session:{session_id}")
        api.get(f"/sessions/{session_id}")
        assert raw.pexpiretime(f"session:{session_id}") == ends

    def test_a_session_whose_time_is_over_is_gone(self, api: Api, raw: valkey.Valkey) -> None:
        session_id = self.session(api)
        raw.pexpire(f"session:{session_id}", 1)
        while raw.exists(f"session:{session_id}"):
            pass
        assert api.get(f"/sessions/{session_id}").status_code == 404
        assert api.delete(f"/sessions/{session_id}").status_code == 404

    def test_nothing_else_ever_expires(self, api: Api, raw: valkey.Valkey) -> None:
        session_id = self.session(api)
        mortal = {key for key in raw.scan_iter() if raw.ttl(key) != -1 and ":submission:" not in key}
        (record,) = raw.scan_iter("{user:*}:sessions")
        assert mortal == {f"session:{session_id}", record}
        assert 0 <= raw.expiretime(record) - raw.expiretime(f"session:{session_id}") <= 1, "it ends with its session"

    def test_a_session_of_nobody_leaves_nothing_behind(self, api: Api, raw: valkey.Valkey) -> None:
        assert api.post("/sessions", json={"userId": "nobody"}).status_code == 404
        assert api.post("/sessions", json={"userId": "nobody"}, headers={"Idempotency-Key": "a-key"}).status_code == 404
        assert list(raw.scan_iter()) == []


class TestWhatIsStored:
    def test_a_profile_is_the_hash_of_the_seed_system(self, api: Api, raw: valkey.Valkey) -> None:
        user = api.create(userId="user-123", score=1500)
        stored: Any = raw.hgetall("user:user-123")
        assert {name: stored[name] for name in user} == {name: str(value) for name, value in user.items()}

    def test_the_board_is_the_sorted_set_of_the_seed_system(self, api: Api, raw: valkey.Valkey) -> None:
        api.create(userId="user-123", score=1500)
        assert raw.zrange("leaderboard:global", 0, -1, withscores=True) == [("user-123", 1500.0)]

    def test_the_e_mail_is_in_the_profile_and_nowhere_else(self, api: Api, raw: valkey.Valkey) -> None:
        user_id = api.create(email="ada@example.com")["userId"]
        api.put(f"/users/{user_id}/score", json={"score": 5})
        api.post("/sessions", json={"userId": user_id, "sessionData": {"x": 1}})
        held = {key: str(value) for key, value in everything(raw).items()}
        assert len(held) >= 5
        assert [key for key, value in held.items() if "@" in value] == [f"user:{user_id}"]


class TestTheConnection:
    @pytest.mark.parametrize("port", [0, 1], ids=["a server's error", "nobody there"])
    def test_an_error_keeps_nothing_alive(self, server: embedded_valkey.Server, port: int) -> None:
        """If only the collector of cycles can free a connection, its socket stays open until that runs."""
        deadline.start(5)
        gc.collect()
        gc.disable()
        try:
            store = Store(config.load({"VALKEY_HOST": server.host, "VALKEY_PORT": str(port or server.port)}))
            with contextlib.suppress(ReplyError, problems.Unavailable):
                store.ask(("PING",), ("NOSUCH",))
            with contextlib.suppress(ReplyError, problems.Unavailable):
                store.ask_once(("HGET", "one", "two", "three"))
            left = weakref.ref(store._connection)
            del store
            assert left() is None
        finally:
            gc.enable()
