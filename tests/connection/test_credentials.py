"""How we sign in to Valkey: with a password or a signed token, fresh for each new connection, and never in a log."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import ssl
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import botocore.auth
import pytest
import valkey
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from functions.health import handler as health
from functions.rank import handler as rank
from scripts.local import embedded_valkey
from scripts.local.proxy import Context
from scripts.places import ROOT
from shared import config, credentials, deadline, reconcile, store
from shared.config import AwsCredentials
from tests.support import contract
from tests.support.invoking import Answer, Invoker, event, invoker
from tests.support.patience import ANSWER_SECONDS, in_time
from tests.support.tunnels import Authority, Tunnel, tunnel_to

REQUESTS = contract.asking_valkey({"userId": "ada"})

MOMENT = datetime.datetime(2026, 1, 28, 10, 30, 5, tzinfo=datetime.UTC)
REGION = "eu-central-1"
KEY = AwsCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None)
ROLE = AwsCredentials("ASIDEXAMPLE", "other+/secret=", "IQoJb3JpZ2luX2VjE//+x=&y z~")
PASSWORD = "a-password-of-sixteen-or-more"

visible = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
names = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=40)
cache_names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,39}", fullmatch=True)
moments = st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2099, 1, 1), timezones=st.just(datetime.UTC))


def signed_by_botocore(cache: str, user: str, region: str, aws: AwsCredentials, now: datetime.datetime) -> str:
    """The token as the AWS SDK makes it: a presigned GET without its scheme."""
    request = AWSRequest(
        method="GET",
        url=f"https://{cache.lower()}/",
        params={"Action": "connect", "User": user, "ResourceType": "ServerlessCache"},
    )
    signer = botocore.auth.SigV4QueryAuth(Credentials(*aws), "elasticache", region, expires=900)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: now)
        signer.add_auth(request)
    return str(request.prepare().url).removeprefix("https://")


def parts(token: str) -> tuple[str, frozenset[str]]:
    """The host, and the parts of the query, whose order means nothing: the signature is over the sorted query."""
    host, _, query = token.partition("/?")
    return host, frozenset(query.split("&"))


@pytest.mark.parametrize("aws", [KEY, ROLE])
def test_a_token_is_signed_as_botocore_signs_it(aws: AwsCredentials) -> None:
    token = credentials.token("leaderboard-dev", "app", REGION, aws, MOMENT)
    assert parts(token) == parts(signed_by_botocore("leaderboard-dev", "app", REGION, aws, MOMENT))
    assert token.startswith("leaderboard-dev/?Action=connect&")
    assert ("X-Amz-Security-Token=" in token) == (aws is ROLE)
    assert token.count("X-Amz-Expires=900") == 1


@given(
    cache=cache_names,
    user=names,
    region=st.sampled_from(["eu-central-1", "us-gov-west-1", "cn-north-1"]),
    aws=st.builds(AwsCredentials, visible, visible, st.none() | names),
    now=moments,
)
def test_every_name_key_and_moment_is_signed_as_botocore_signs_it(
    cache: str, user: str, region: str, aws: AwsCredentials, now: datetime.datetime
) -> None:
    token = credentials.token(cache, user, region, aws, now)
    assert parts(token) == parts(signed_by_botocore(cache, user, region, aws, now))


def test_a_cache_is_named_in_lower_case_whatever_the_setting_says() -> None:
    spelled = [credentials.token(name, "app", REGION, KEY, MOMENT) for name in ("Leader-BOARD", "leader-board")]
    assert spelled[0] == spelled[1]
    assert spelled[0].startswith("leader-board/?")


def test_a_token_differs_with_everything_that_it_depends_on() -> None:
    base = {"cache": "board", "user": "app", "region": REGION, "aws": KEY, "now": MOMENT}
    others = {
        "cache": "other",
        "user": "other",
        "region": "us-east-1",
        "aws": KEY._replace(secret_access_key="x"),
        "now": MOMENT + datetime.timedelta(seconds=1),
    }
    tokens = {credentials.token(**{**base, name: other}) for name, other in others.items()}  # type: ignore[arg-type]
    assert len(tokens | {credentials.token(**base)}) == 6  # type: ignore[arg-type]


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment with nothing about AWS in it, and an empty home; the network is not asked."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def user_of(provider: Any) -> str:
    """The access key that a token was signed with."""
    (credential,) = [part for part in provider.get_credentials()[1].split("&") if part.startswith("X-Amz-Credential=")]
    return str(credential.partition("=")[2].partition("%2F")[0])


def test_the_environment_is_read_for_each_token(no_aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = credentials.IamToken("board", "app", REGION)
    assert config.aws_credentials() is None
    for aws in (KEY, ROLE):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws.access_key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", aws.secret_access_key)
        if aws.session_token:
            monkeypatch.setenv("AWS_SESSION_TOKEN", aws.session_token)
        assert config.aws_credentials() == aws
        assert user_of(provider) == aws.access_key_id
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert config.aws_credentials() is None, "half a key is none"


def test_an_empty_session_token_is_none(no_aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY.secret_access_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "")
    assert "X-Amz-Security-Token" not in credentials.IamToken("board", "app", REGION).get_credentials()[1]


def test_a_profile_of_the_home_signs_where_the_environment_holds_no_key(no_aws: Path) -> None:
    folder = no_aws / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text(
        f"[default]\naws_access_key_id = {ROLE.access_key_id}\naws_secret_access_key = {ROLE.secret_access_key}\n"
        f"aws_session_token = {ROLE.session_token}\n"
    )
    with frozen(MOMENT):
        user, token = credentials.IamToken("board", "app", REGION).get_credentials()
    assert user == "app"
    assert parts(token) == parts(signed_by_botocore("board", "app", REGION, ROLE, MOMENT))


@contextlib.contextmanager
def container_endpoint(*aws: AwsCredentials, status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """A local endpoint like that of SnapStart functions: its address, and the authorizations that it received. Each
    answer is the next of the credentials, and then the last one again and again."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            current = aws[min(len(asked), len(aws) - 1)]
            asked.append(self.headers.get("Authorization", ""))
            expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
            reply = {
                "AccessKeyId": current.access_key_id,
                "SecretAccessKey": current.secret_access_key,
                "Token": current.session_token,
                "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            body = json.dumps(reply).encode() if status == 200 else b"{}"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Logs nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/credentials", asked
        finally:
            server.shutdown()
            thread.join()


def test_a_containers_endpoint_signs_where_the_environment_holds_no_key(
    no_aws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with container_endpoint(ROLE, KEY._replace(session_token="next")) as (address, asked):
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address)
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "let-me-in")
        provider = credentials.IamToken("board", "app", REGION)
        with frozen(MOMENT):
            token = provider.get_credentials()[1]
        assert parts(token) == parts(signed_by_botocore("board", "app", REGION, ROLE, MOMENT))
        assert asked == ["let-me-in"]
        assert user_of(provider) == KEY.access_key_id, "a rotated role's key signs the next token"


@contextlib.contextmanager
def frozen(moment: datetime.datetime) -> Iterator[None]:
    """Stops the provider's clock, and nobody else's."""

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return moment.astimezone(tz)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(credentials, "datetime", types.SimpleNamespace(datetime=Clock, UTC=datetime.UTC))
        yield


ADMIN = "admin-of-the-tests"

RIGHTS = "~* -@all +@read +@write +@connection +@scripting +time -@dangerous"
"""The rights of an application's user, without any of an administrator's."""


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[valkey.Valkey]:
    """A client who may do everything, of a Valkey that nobody may use without signing in."""
    with embedded_valkey.running(tmp_path_factory.mktemp("valkey")) as server:
        address: dict[str, Any] = {"host": server.host, "port": server.port, "decode_responses": True}
        with valkey.Valkey(**address) as first:
            first.execute_command("ACL", "SETUSER", ADMIN, "on", f">{ADMIN}", "~*", "&*", "+@all")
        with valkey.Valkey(username=ADMIN, password=ADMIN, **address) as client:
            client.execute_command("ACL", "SETUSER", "default", "off")
            yield client


@pytest.fixture
def users(admin: valkey.Valkey) -> valkey.Valkey:
    """That client, of an empty server with one other user: `app`, with PASSWORD."""
    admin.flushall()
    admin.execute_command("ACL", "SETUSER", "app", "reset", "on", f">{PASSWORD}", *RIGHTS.split())
    return admin


def port_of(client: valkey.Valkey) -> int:
    """The port on which a client's server listens."""
    port: int = client.connection_pool.connection_kwargs["port"]
    return port


def drop_connections(client: valkey.Valkey) -> None:
    """Ends the connections of `app`."""
    client.execute_command("CLIENT", "KILL", "USER", "app")
    time.sleep(0.05)


def ask_everything(call: Invoker) -> dict[str, Answer]:
    """Every operation's answer; each succeeds if Valkey lets it."""
    creation = {"userId": "ada", "username": "Ada", "email": "ada@example.com"}
    call("create_user", "POST", "/users", json_body=creation)
    return {operation: call.ask(example) for operation, example in REQUESTS.items()}


def assert_refused(call: Invoker, operation: str = "rank", *, seconds: float = ANSWER_SECONDS) -> None:
    """Asserts that an operation answers 503, in time."""
    answer = in_time(seconds, lambda: call.ask(REQUESTS[operation]))
    assert answer.status == 503


def test_a_user_with_a_password_and_few_rights_can_do_everything_we_do(users: valkey.Valkey) -> None:
    with invoker(port_of(users), valkey_user="app", valkey_password=PASSWORD, access="protected") as call:
        answers = ask_everything(call)
        assert {operation for operation, answer in answers.items() if answer.status >= 500} == set()
        assert answers["update_score"].status == 200
        report = call.run(lambda: run_reconcile(anew=True))
        assert (report["finished"], report["unreadable"]) == (True, 0)
    assert {client["user"] for client in users.client_list()} <= {ADMIN, "app"}


def run_reconcile(*, anew: bool) -> Any:
    """Runs reconcile and a rebuild on this thread's connection."""
    deadline.start(30)
    reconcile.run(store.store())
    return reconcile.rebuild(store.store(), None if anew else "")


@pytest.mark.parametrize("operation", REQUESTS)
def test_nobody_and_a_wrong_password_are_503(operation: str, users: valkey.Valkey) -> None:
    for settings in ({}, {"valkey_user": "app", "valkey_password": "wrong"}, {"valkey_password": PASSWORD}):
        with invoker(port_of(users), access="protected", **settings) as call:
            assert_refused(call, operation)


def test_a_connection_outlives_a_changed_password_and_the_next_one_does_not(users: valkey.Valkey) -> None:
    with invoker(port_of(users), valkey_user="app", valkey_password=PASSWORD, access="protected") as call:
        assert call("health", "GET", "/health").status == 200
        users.execute_command("ACL", "SETUSER", "app", "resetpass", ">another-password-of-ours")
        assert call("health", "GET", "/health").status == 200
        drop_connections(users)
        assert_refused(call)
        users.execute_command("ACL", "SETUSER", "app", f">{PASSWORD}")
        assert call("health", "GET", "/health").status == 200


def test_a_user_without_a_right_gets_no_answer_that_shows_it(users: valkey.Valkey) -> None:
    users.execute_command("ACL", "SETUSER", "app", "-zrevrank", "-eval", "-evalsha")
    with invoker(port_of(users), valkey_user="app", valkey_password=PASSWORD, access="protected") as call:
        assert call("health", "GET", "/health").status == 200
        answer = call.run(lambda: rank.handler(event("GET", "/users/ada/rank"), Context()))
        assert answer["statusCode"] >= 500
        assert "NOPERM" not in answer["body"]
        assert "zrevrank" not in answer["body"].lower()


@pytest.fixture
def iam(users: valkey.Valkey, no_aws: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Tunnel]:
    """TLS in front of the Valkey, an IAM user `app`, and a role's credentials in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ROLE.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ROLE.secret_access_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", str(ROLE.session_token))
    authority = Authority(tmp_path)
    monkeypatch.setenv("VALKEY_CA_FILE", str(authority.file))
    users.execute_command("ACL", "SETUSER", "app", "resetpass")
    with tunnel_to(port_of(users), authority.context("localhost")) as tunnel:
        yield tunnel


IAM = {
    "access": "protected",
    "valkey_host": "localhost",
    "valkey_tls": "1",
    "valkey_user": "app",
    "valkey_iam_cache": "Leaderboard-Test",
    "aws_region": REGION,
}


def accept(users: valkey.Valkey, moment: datetime.datetime) -> str:
    """Makes Valkey take the token of this moment and no other, signed as the AWS SDK would; returns the token."""
    token = credentials.token("leaderboard-test", "app", REGION, ROLE, moment)
    assert parts(token) == parts(signed_by_botocore("leaderboard-test", "app", REGION, ROLE, moment))
    users.execute_command("ACL", "SETUSER", "app", "resetpass", f">{token}")
    return token


def test_an_iam_user_is_let_in_with_a_token_signed_for_this_moment(users: valkey.Valkey, iam: Tunnel) -> None:
    accept(users, MOMENT)
    with frozen(MOMENT), invoker(iam.port, **IAM) as call:
        answers = ask_everything(call)
        assert {operation for operation, answer in answers.items() if answer.status >= 500} == set()
        assert {client["user"] for client in users.client_list()} == {ADMIN, "app"}
    assert len(iam.handshakes) == 1


def test_each_new_connection_has_a_token_of_its_own_time(users: valkey.Valkey, iam: Tunnel) -> None:
    with invoker(iam.port, **IAM) as call:
        tokens = []
        for hours in range(0, 39, 13):  # a connection lives 12 h, a token 15 min
            moment = MOMENT + datetime.timedelta(hours=hours)
            tokens.append(accept(users, moment))
            with frozen(moment):
                for _ in range(2):
                    assert call("health", "GET", "/health").status == 200
            drop_connections(users)
        assert len(set(tokens)) == 3
        received = iam.received.decode()
        assert received.count("AUTH") == 3
        assert [received.count(token) for token in tokens] == [1, 1, 1]


def test_a_connection_in_place_of_an_idle_one_signs_in_with_a_new_token(
    users: valkey.Valkey, iam: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with invoker(iam.port, **IAM) as call:
        tokens = []
        for idle_times in range(2):
            moment = MOMENT + datetime.timedelta(seconds=idle_times * store.IDLE_SECONDS)
            tokens.append(accept(users, moment))
            now = moment.timestamp()
            monkeypatch.setattr(time, "time", lambda now=now: now)
            with frozen(moment):
                for _ in range(2):
                    assert call("health", "GET", "/health").status == 200
        said = iam.received.decode()
    assert [said.count(token) for token in tokens] == [1, 1]
    assert len(iam.handshakes) == 2


def test_a_token_that_has_expired_is_503_until_there_is_a_new_one(users: valkey.Valkey, iam: Tunnel) -> None:
    accept(users, MOMENT + datetime.timedelta(minutes=16))
    with invoker(iam.port, **IAM) as call:
        with frozen(MOMENT):
            for operation in REQUESTS:
                assert_refused(call, operation)
        with frozen(MOMENT + datetime.timedelta(minutes=16)):
            assert call("health", "GET", "/health").status == 200


def test_credentials_that_cannot_be_had_are_503_in_time_and_healed_when_they_can(
    users: valkey.Valkey, iam: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    accept(users, MOMENT)
    with frozen(MOMENT), invoker(iam.port, **IAM) as call:
        with container_endpoint(ROLE, status=500) as (address, _):
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address)
            for operation in ("health", "update_score"):
                assert_refused(call, operation, seconds=4)  # the SDK asks three times, a second apart
        with container_endpoint(ROLE) as (address, _):
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address)
            assert call("health", "GET", "/health").status == 200


def test_a_connection_for_which_there_was_no_credential_is_not_used_without_one(
    users: valkey.Valkey, iam: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    iam.context.maximum_version = ssl.TLSVersion.TLSv1_2  # 1.3 sends more than we ask for, so we would start afresh
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    accept(users, MOMENT)
    with frozen(MOMENT), invoker(iam.port, **IAM) as call:
        for _ in range(2):
            assert call.run(lambda: health.handler(event("GET", "/health"), Context()))["statusCode"] >= 500
        assert not iam.received, "no command on a connection that has not signed in"
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ROLE.access_key_id)
        assert call("health", "GET", "/health").status == 200


def secrets(*tokens: str) -> set[str]:
    """What must not be in any log, and what would give it away."""
    return {PASSWORD, "a-wrong-password", ROLE.secret_access_key, str(ROLE.session_token), "X-Amz-Signature", *tokens}


def test_no_log_line_holds_a_password_or_a_token(
    users: valkey.Valkey,
    iam: Tunnel,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    token = accept(users, MOMENT)
    with frozen(MOMENT), invoker(iam.port, **IAM) as call:
        ask_everything(call)
        users.execute_command("ACL", "SETUSER", "app", "resetpass", f">{PASSWORD}")
        drop_connections(users)
        ask_everything(call)
    for password in (PASSWORD, "a-wrong-password"):
        with invoker(port_of(users), valkey_user="app", valkey_password=password) as call:
            ask_everything(call)
    with frozen(MOMENT), container_endpoint(ROLE) as (address, _):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address)
        with invoker(iam.port, **IAM) as call:
            ask_everything(call)
    out, err = capfd.readouterr()
    printed = out + err
    assert printed.count('"status":503') >= 2 * len(REQUESTS), "the refusals were logged"
    assert "AuthenticationError" in printed
    ours = [line for line in caplog.text.splitlines() if "botocore" not in line and "hypothesis" not in line]
    for secret in secrets(token):
        assert secret not in printed
        assert not any(secret in line for line in ours)


def test_settings_show_no_password_when_they_are_printed() -> None:
    settings = config.load({"VALKEY_HOST": "cache", "VALKEY_USER": "app", "VALKEY_PASSWORD": PASSWORD})
    assert settings.valkey_password == PASSWORD
    for shown in (repr(settings), str(settings), f"{settings}"):
        assert PASSWORD not in shown
        assert "app" in shown


@pytest.mark.parametrize("missing", ["VALKEY_USER", "AWS_REGION", "VALKEY_TLS"])
def test_iam_needs_a_user_a_region_and_tls(missing: str) -> None:
    environment = {"VALKEY_HOST": "cache", **{name.upper(): value for name, value in IAM.items()}}
    assert config.load(environment).valkey_iam_cache == "Leaderboard-Test"
    with pytest.raises(config.MisconfiguredError, match=missing):
        config.load({**environment, missing: ""})


def test_a_password_beside_iam_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    iam = {name.upper(): value for name, value in IAM.items()}
    environ = {"VALKEY_HOST": "cache", "VALKEY_PASSWORD": PASSWORD, **iam}
    provider = credentials.provider(config.load(environ))
    assert isinstance(provider, credentials.IamToken)


def test_nothing_of_botocore_is_imported_where_the_environment_has_a_key() -> None:
    code = (
        "import sys; from shared import credentials;"
        "credentials.IamToken('board', 'app', 'eu-central-1').get_credentials();"
        "print('botocore' in sys.modules)"
    )
    environment = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
