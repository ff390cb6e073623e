"""How tokens of ours are made: by KMS, by a file on a laptop, by the API and by `make token`; and what they say."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import given
from hypothesis import strategies as st

from functions.authorizer import verification
from functions.issue_token import handler as issue_token
from scripts import tokens as make_token
from scripts.local import api as local_api
from scripts.local import examples, keys
from scripts.local.proxy import Context
from scripts.refusal import Refusal
from shared import tokens as made
from tests.support import tokens
from tests.support.callers import vouched
from tests.support.invoking import Answer, event, invoke
from tests.support.lines import Lines
from tests.support.wires import free_port

KEY_ID = "0d9f3c6e-1111-4222-8333-123456789abc"
ARN = f"arn:aws:kms:eu-central-1:123456789012:key/{KEY_ID}"

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1"}

ISSUE = examples.load({"userId": "user-7"})["issue_token"]

numbers = st.integers(1, 2**256 - 1)


class Kms:
    """As much of AWS as signs a token and says which key that takes, over HTTP, as AWS documents both."""

    def __init__(self) -> None:
        self.refusal = ""
        """The code that is answered instead."""
        self.seconds = 0.0
        """How long an answer takes."""
        self.asked: list[dict[str, Any]] = []
        self.variables = {"TOKEN_KEY": ARN, "TOKEN_ISSUER": tokens.ISSUER}

    def sign(self, asked: dict[str, Any]) -> dict[str, Any]:
        """KMS's answer to Sign."""
        self.asked.append(asked)
        message = base64.b64decode(asked["Message"])
        assert (asked["KeyId"], asked["SigningAlgorithm"], asked["MessageType"]) == (ARN, "ECDSA_SHA_256", "RAW")
        assert 0 < len(message) <= 4096, "AWS refuses longer ones"
        signature = tokens.private_key("kms").sign(message, ec.ECDSA(hashes.SHA256()))
        return {"KeyId": ARN, "Signature": base64.b64encode(signature).decode(), "SigningAlgorithm": "ECDSA_SHA_256"}

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """Its address."""
        kms = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.headers["X-Amz-Target"] == "TrentService.Sign"
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                time.sleep(kms.seconds)
                if kms.refusal:
                    self._answer(400, {"__type": kms.refusal, "message": "no"})
                else:
                    self._answer(200, kms.sign(asked))

            def do_GET(self) -> None:
                assert self.path == "/2015-03-31/functions/leaderboard-dev-issue-token/configuration"
                self._answer(200, {"Environment": {"Variables": kms.variables}})

            def _answer(self, status: int, answer: dict[str, Any]) -> None:
                content = json.dumps(answer).encode()
                with contextlib.suppress(OSError):  # who gave up is gone
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}"
            finally:
                server.shutdown()
                thread.join()


@contextlib.contextmanager
def signing_at(url: str) -> Iterator[None]:
    """The function as it is on AWS, whose KMS is at a URL."""
    own = {"TOKEN_ISSUER": tokens.ISSUER, "TOKEN_KEY": ARN, "TOKEN_PUBLIC_KEYS": ""}
    with tokens.believing(ACCESS="protected", AWS_ENDPOINT_URL=url, **CREDENTIALS, **own):
        made.kms.cache_clear()
        try:
            yield
        finally:
            made.kms.cache_clear()


@pytest.fixture
def kms() -> Iterator[Kms]:
    """The function signs with this KMS."""
    here = Kms()
    with here.serving() as url, signing_at(url):
        yield here


def asked_for(**body: Any) -> dict[str, Any]:
    """A backend's request."""
    sent = event(ISSUE.method, ISSUE.target, json_body=body)
    sent["requestContext"]["authorizer"] = vouched("server", "backend")
    return sent


def issued(**body: Any) -> Answer:
    """What the function answers a backend."""
    return invoke("issue_token", asked_for(**body))


def verified(token: str, key: str, kid: str) -> dict[str, str]:
    """Whose a token is for the authorizer that knows a key under this kid."""
    pem = json.dumps({kid: tokens.public_pem(key)})
    with tokens.believing(TOKEN_ISSUER=tokens.ISSUER, TOKEN_PUBLIC_KEYS=pem):
        return {**verification.caller(f"Bearer {token}")}


class TestByKms:
    def test_what_is_issued_is_believed_under_the_keys_id(self, kms: Kms) -> None:
        token = issued().json()["token"]
        caller = verified(token["token"], "kms", KEY_ID)
        assert (caller["subject"], caller["scope"], caller["tokenId"]) == ("user-7", "player", token["tokenId"])
        assert len(kms.asked) == 1

    def test_the_longest_one_is_short_enough_for_kms(self, kms: Kms) -> None:
        longest = {"TOKEN_ISSUER": "i" * 255}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(*longest.popitem())
            tokens.renew()
            sent = asked_for()
            sent["pathParameters"] = {"userId": "u" * 64}
            assert issue_token.handler(sent, Context())["statusCode"] == 201
        assert len(kms.asked) == 1

    @pytest.mark.parametrize("refusal", ["ThrottlingException", "KMSInternalException", "DependencyTimeoutException"])
    def test_a_kms_that_asks_to_wait_is_a_503(self, kms: Kms, refusal: str) -> None:
        kms.refusal = refusal
        answer = issued()
        assert (answer.status, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0

    def test_a_kms_that_does_not_answer_is_a_503(self, kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(made, "READ_SECONDS", 0.1)
        monkeypatch.setattr(made, "TRIES", 1)
        made.kms.cache_clear()
        kms.seconds = 0.5
        assert issued().status == 503

    def test_a_kms_that_is_away_is_a_503(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(made, "TRIES", 1)
        with signing_at(f"http://127.0.0.1:{free_port()}"):
            assert issued().status == 503

    def test_a_refusal_for_good_is_a_fault_of_ours_and_says_no_more_than_where(self, kms: Kms, logged: Lines) -> None:
        kms.refusal, logged.kept = "AccessDeniedException", []
        answer = issue_token.handler(asked_for(), Context())
        assert answer["statusCode"] == 500
        assert KEY_ID not in answer["body"]
        assert [line["cause"][0] for line in logged.kept if line["level"] == "ERROR"] == ["ClientError"]

    @pytest.mark.parametrize("body", [{"lifetimeSeconds": 59}, {"lifetimeSeconds": 86_401}, {"lifetimeSeconds": "60"}])
    def test_a_life_that_is_too_short_or_too_long_asks_for_no_signature(self, kms: Kms, body: dict[str, Any]) -> None:
        assert issued(**body).status == 400
        assert kms.asked == []

    def test_without_a_key_the_setting_is_named(self, logged: Lines) -> None:
        logged.kept = []
        with tokens.believing(ACCESS="protected"):
            assert issue_token.handler(asked_for(), Context())["statusCode"] == 500
        assert "TOKEN_KEY is missing" in str(logged.kept)


class TestSignatures:
    @given(numbers, numbers)
    def test_two_numbers_of_any_size_come_out_of_der_at_their_full_size(self, r: int, s: int) -> None:
        raw = made.raw_signature(utils.encode_dss_signature(r, s))
        assert raw == r.to_bytes(32, "big") + s.to_bytes(32, "big")

    @given(st.binary(max_size=80))
    def test_what_is_no_signature_is_refused(self, der: bytes) -> None:
        try:
            r, s = utils.decode_dss_signature(der)
            expected = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        except (ValueError, OverflowError):
            with pytest.raises(ValueError, match="DER"):
                made.raw_signature(der)
        else:
            assert made.raw_signature(der) == expected

    @pytest.mark.parametrize("cut", [1, 2, 10])
    def test_half_a_signature_is_refused(self, cut: int) -> None:
        der = utils.encode_dss_signature(2**255 + 1, 2**255 + 2)
        longer = bytes([der[0], der[1] + cut]) + der[2:] + b"\0" * cut
        for part in (der[:-cut], der[cut:], der + b"\0" * cut, longer):
            with pytest.raises(ValueError, match="DER"):
                made.raw_signature(part)


class TestOnALaptop:
    def test_the_key_is_made_once_and_nobody_else_may_read_it(self, tmp_path: Path) -> None:
        first = keys.settings(tmp_path)
        path = Path(first["TOKEN_KEY_FILE"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [*path.parent.iterdir()] == [path]
        assert keys.settings(tmp_path) == first
        assert "PRIVATE" not in json.dumps(first)

    def test_a_damaged_key_is_named(self, tmp_path: Path) -> None:
        keys.make(path := keys.key_file(tmp_path))
        path.write_text("x")
        with pytest.raises(Refusal, match=r"local\.pem holds no private key: remove it"):
            keys.settings(tmp_path)


class TestTheCommand:
    @pytest.fixture
    def data(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The data folder of `make run`, in which there is a key."""
        monkeypatch.setattr(local_api, "DATA", tmp_path)
        for name in ("ENV", "SCOPE", "NAME", "DAYS", "JSON"):
            monkeypatch.delenv(name, raising=False)
        keys.settings(tmp_path)
        return tmp_path

    def test_it_prints_a_token_that_is_believed_and_nothing_else(
        self, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"SCOPE": "server", "NAME": "backend", "DAYS": "2"}.items():
            monkeypatch.setenv(name, value)
        assert make_token.main([]) == 0
        printed = capsys.readouterr()
        (token,) = printed.out.splitlines()
        with tokens.believing(**keys.settings(data)):
            caller = verification.caller(f"Bearer {token}")
        assert (caller["scope"], caller["subject"], caller["issuer"]) == ("server", "backend", keys.ISSUER)
        assert abs(int(caller["expires"]) - time.time() - 2 * 86_400 - 60) < 60
        assert caller["tokenId"] in printed.err
        assert token not in printed.err

    def test_for_programs_it_is_json(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert make_token.main(["--scope", "admin", "--name", "ada", "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        with tokens.believing(**keys.settings(data)):
            caller = verification.caller(f"Bearer {facts['token']}")
        assert (facts["tokenId"], facts["scope"], facts["subject"]) == (caller["tokenId"], "admin", "ada")

    @pytest.mark.usefixtures("data")
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "Say for whom: make token SCOPE=server NAME=backend"),
            (["--scope", "root", "--name", "a"], "Say for whom"),
            (["--scope", "server"], "Say whose it is"),
            (["--scope", "server", "--name", "ada@example.com"], "without an e-mail address"),
            (["--scope", "server", "--name", "a b"], "Say whose it is"),
            (["--scope", "server", "--name", "a", "--days", "0"], "DAYS is '0': it should be from 1 to 366"),
            (["--scope", "server", "--name", "a", "--days", "1.5"], "DAYS is '1.5'"),
            (["--scope", "player", "--name", "a", "--days", "2"], "it should be 1 for the scope player"),
            (["--scope", "server", "--name", "a", "--env", "nowhere"], "nowhere"),
        ],
    )
    def test_what_it_cannot_do_it_says_in_a_sentence(
        self, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert make_token.main(arguments) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        assert said in line

    def test_without_a_key_it_says_how_to_get_one(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        keys.key_file(data).unlink()
        assert make_token.main(["--scope", "server", "--name", "a"]) == 2
        assert "ACCESS=protected make run makes one" in capsys.readouterr().err

    @pytest.mark.usefixtures("data")
    def test_on_aws_the_environments_own_key_signs(self, kms: Kms, capsys: pytest.CaptureFixture[str]) -> None:
        asked = ["--env", "dev", "--scope", "server", "--name", "backend"]
        assert make_token.main(asked) == 0
        caller = verified(capsys.readouterr().out.strip(), "kms", KEY_ID)
        assert (caller["scope"], caller["subject"]) == ("server", "backend")
        kms.refusal = "AccessDeniedException"
        assert make_token.main(asked) == 2
        assert "you need kms:Sign" in capsys.readouterr().err
        kms.refusal = "ThrottlingException"
        assert make_token.main(asked) == 2
        assert "try again" in capsys.readouterr().err
        kms.variables = {}
        assert make_token.main(asked) == 2
        assert "has no key for tokens yet" in capsys.readouterr().err
