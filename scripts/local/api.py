"""The whole API on this machine: a real Valkey with demo players, and the gateway in front of it."""

import contextlib
import secrets
import shlex
import socket
from collections.abc import Iterator, Mapping, MutableMapping

import valkey

from scripts.local import demo, embedded_valkey, gateway, schedule
from scripts.local.dashboard import collecting, pages, sources
from scripts.places import ROOT
from scripts.refusal import Refusal
from shared import config, credentials, players
from shared.problems import Unavailable, UserNotFound
from shared.store import Store

DATA = ROOT / ".data"
ANSWER_SECONDS = 2
PLAYER = demo.user_id(42)
SCORE = 123_456


def run(environ: MutableMapping[str, str]) -> None:
    """Serves until a signal. Puts Valkey's address into environ, where the handlers look for it.

    Raises Refusal, with nothing left running.
    """
    is_embedded = not environ.get("VALKEY_HOST", "").strip()
    if is_embedded:
        environ.update(VALKEY_HOST=embedded_valkey.HOST, VALKEY_PORT="", VALKEY_TLS="")
    try:
        collector = collecting.Collector(config.load(environ).metrics_namespace)
        app = gateway.application(environ, collector)
        port = gateway.port(environ)
        seconds = schedule.interval_seconds(environ)
        with (
            _listening(port) as sock,
            _listening_for_the_dashboard(environ) as dashboard_sock,
            _valkey(environ, is_embedded=is_embedded),
        ):
            settings = config.load(environ)
            store = Store(settings)
            has_demo = is_embedded or environ.get("DEMO", "").strip() == "1"
            if has_demo and (created := demo.fill(store, settings.rules)):
                print(f"Created {created} demo players.")
            base_url = f"http://{gateway.HOST}:{port}"
            player = _demo_player(store)
            has_key = "YOUR-KEY" if environ.get("API_KEY", "").strip() else ""
            page = pages.application(
                sources.Local(collector, settings.metrics_namespace),
                environ,
                commands(base_url, has_key, player, settings.rules),
            )
            with (
                pages.serving(page, dashboard_sock) as dashboard,
                _client(settings) as client,
                collecting.hearing(collector, client.info),
                schedule.running(seconds, collector),
            ):
                print(welcome(base_url, environ.get("API_KEY", ""), player, settings.rules))
                print(f"Its dashboard is at {dashboard}\n")
                gateway.serve(app, sock)
    except config.MisconfiguredError as error:
        raise Refusal(str(error)) from None
    except Unavailable as problem:
        raise Refusal("Valkey answers, but not to the leaderboard's commands: see the log above") from problem


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """Takes the port before anything else is started."""
    try:
        sock = gateway.listen(port)
    except OSError as error:
        raise Refusal(
            f"Cannot serve on port {port} ({error.strerror}): stop what uses it, or choose another: make run PORT=9090"
        ) from None
    with sock:
        yield sock


@contextlib.contextmanager
def _listening_for_the_dashboard(environ: Mapping[str, str]) -> Iterator[socket.socket]:
    try:
        sock = pages.listen(environ)
    except OSError as error:
        raise Refusal(
            f"Cannot serve the dashboard on port {environ['DASHBOARD_PORT'].strip()} ({error.strerror}): stop what "
            "uses it, or let it take any free port: make run DASHBOARD_PORT=0"
        ) from None
    with sock:
        yield sock


@contextlib.contextmanager
def _valkey(environ: MutableMapping[str, str], *, is_embedded: bool) -> Iterator[None]:
    """Runs the embedded Valkey and puts its port into environ, or checks that the one that environ names answers."""
    if not is_embedded:
        check_answers(config.load(environ))
        yield
        return
    print("Starting Valkey …")
    with embedded_valkey.running(DATA, durable=True) as server:
        environ["VALKEY_PORT"] = str(server.port)
        yield


def check_answers(settings: config.Settings) -> None:
    """Raises Refusal unless a Valkey answers where the settings say."""
    address = f"{settings.valkey_host}:{settings.valkey_port}"
    try:
        with _client(settings) as client:
            client.ping()
    except (valkey.ValkeyError, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise Refusal(
            f"No Valkey answers at {address} ({reason}): start it, check VALKEY_HOST, VALKEY_PORT and VALKEY_TLS, "
            "or leave VALKEY_HOST unset to run the embedded one"
        ) from None


def _client(settings: config.Settings) -> valkey.Valkey:
    return valkey.Valkey(
        host=settings.valkey_host,
        port=settings.valkey_port,
        ssl=settings.valkey_tls,
        ssl_ca_certs=settings.valkey_ca_file,
        credential_provider=credentials.provider(settings),
        socket_connect_timeout=ANSWER_SECONDS,
        socket_timeout=ANSWER_SECONDS,
    )


def welcome(base_url: str, api_keys: str, user_id: str | None, rules: config.Rules) -> str:
    """What to try next, in three lines that work when pasted: with this player, or with a new one if None."""
    lines = "".join(f"  {line}\n" for line in commands(base_url, api_keys, user_id, rules))
    return f"\nThe leaderboard is at {base_url} (Ctrl-C ends it). Try:\n\n{lines}"


def commands(base_url: str, api_keys: str, user_id: str | None, rules: config.Rules) -> list[str]:
    """Those three lines."""
    key = api_keys.partition(",")[0].strip()
    curl = f"curl -H {shlex.quote(f'x-api-key: {key}')}" if key else "curl"
    json = "-H 'content-type: application/json' -d"
    score = min(max(SCORE, rules.score_min), rules.score_max)
    if user_id:
        write = f"""{curl} -X PUT {base_url}/users/{user_id}/score {json} '{{"score": {score}, "operator": "best"}}'"""
    else:
        if rules.score_step_max is not None:
            score = min(score, rules.starting_score + rules.score_step_max)
        user_id = f"player-{secrets.token_hex(4)}"
        body = f'{{"userId": "{user_id}", "username": "Ada", "email": "ada@example.com", "score": {score}}}'
        write = f"{curl} {base_url}/users {json} '{body}'"
    return [
        f"{curl} '{base_url}/leaderboard?limit=5'",
        write,
        f"{curl} '{base_url}/users/{user_id}/nearby?range=3'",
    ]


def _demo_player(store: Store) -> str | None:
    """The demo player to show; None if this board does not have them."""
    try:
        return str(players.find(store, PLAYER)["userId"])
    except UserNotFound:
        return None
