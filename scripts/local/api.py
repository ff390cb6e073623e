"""The whole API on this machine: a real Valkey with demo players, and the gateway in front of it."""

import contextlib
import importlib
import secrets
import shlex
import socket
from collections.abc import Iterator, Mapping, MutableMapping

import valkey

from scripts.local import demo, embedded_valkey, gateway, schedule
from scripts.local.dashboard import collecting, pages, sources
from scripts.places import ROOT
from scripts.refusal import Refusal
from shared import config, credentials, players, tokens
from shared.problems import Unavailable, UserNotFound
from shared.store import Store

DATA = ROOT / ".data"
ANSWER_SECONDS = 2
PLAYER = demo.user_id(42)
SCORE = 123_456
TOKEN_SECONDS = tokens.LONGEST_PLAYER_SECONDS


def run(environ: MutableMapping[str, str]) -> None:
    """Serves until a signal. Puts Valkey's address into environ, where the handlers look for it.

    Raises Refusal, with nothing left running.
    """
    is_embedded = not environ.get("VALKEY_HOST", "").strip()
    if is_embedded:
        environ.update(VALKEY_HOST=embedded_valkey.HOST, VALKEY_PORT="", VALKEY_TLS="")
    try:
        is_protected = environ.get("ACCESS", "").strip() == "protected"
        if is_protected and not environ.get("TOKEN_ISSUER", "").strip():
            environ.update(importlib.import_module("scripts.local.keys").settings(DATA))  # it takes a while to load
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
            hidden = dict.fromkeys(tokens.SCOPES, "YOUR-TOKEN") if is_protected else {}
            page = pages.application(
                sources.Local(collector, settings.metrics_namespace),
                environ,
                commands(base_url, has_key, player, settings.rules, hidden),
            )
            with (
                pages.serving(page, dashboard_sock) as dashboard,
                _client(settings) as client,
                collecting.hearing(collector, client.info),
                schedule.running(seconds, collector),
            ):
                told = one_of_each(*tokens.key(settings), player) if is_protected else {}
                print(welcome(base_url, environ.get("API_KEY", ""), player, settings.rules, told))
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


def one_of_each(key: tokens.Key, issuer: str, user_id: str | None = None) -> dict[config.Scope, str]:
    """A token of each scope, the player's for this player or for the demo player that is shown."""
    names: dict[config.Scope, str] = {"player": user_id or PLAYER, "server": "backend", "admin": "you"}
    return {
        scope: tokens.issue(key, issuer, subject=name, scope=scope, seconds=TOKEN_SECONDS).token
        for scope, name in names.items()
    }


def commands(
    base_url: str,
    api_keys: str,
    user_id: str | None,
    rules: config.Rules,
    told: Mapping[config.Scope, str] | None = None,
) -> list[str]:
    """The lines of `welcome` that work when pasted."""
    lines = welcome(base_url, api_keys, user_id, rules, told).splitlines()
    return [line.strip() for line in lines if "curl" in line]


def welcome(
    base_url: str,
    api_keys: str,
    user_id: str | None,
    rules: config.Rules,
    told: Mapping[config.Scope, str] | None = None,
) -> str:
    """What to try next, in lines that work when pasted: with this player, or with a new one if None. With tokens by
    their scope, where access is protected, there is a line for each."""
    key = api_keys.partition(",")[0].strip()
    curl = f"curl -H {shlex.quote(f'x-api-key: {key}')}" if key else "curl"
    as_ = {scope: f"{curl} -H 'Authorization: Bearer {token}'" for scope, token in (told or {}).items()}
    json = "-H 'content-type: application/json' -d"
    score = min(max(SCORE, rules.score_min), rules.score_max)
    if user_id:
        asked = f'-X PUT {base_url}/users/{user_id}/score {json} \'{{"score": {score}, "operator": "best"}}\''
    else:
        if rules.score_step_max is not None:
            score = min(score, rules.starting_score + rules.score_step_max)
        user_id = PLAYER if told else f"player-{secrets.token_hex(4)}"
        body = f'{{"userId": "{user_id}", "username": "Ada", "email": "ada@example.com", "score": {score}}}'
        asked = f"{base_url}/users {json} '{body}'"
    lines = [
        f"\nThe leaderboard is at {base_url} (Ctrl-C ends it). Try:\n",
        f"  {curl} '{base_url}/leaderboard?limit=5'",
        f"  {as_.get('server', curl)} {asked}",
        f"  {curl} '{base_url}/users/{user_id}/nearby?range=3'",
    ]
    if told:
        hide = f"""{json} '{{"hidden": false, "reason": "a try"}}'"""
        lines[2:3] = ["\nAs the game's server, with a token that is good for a day:", lines[2], ""]
        lines += [
            f"\nAs the player {user_id}:",
            f"  {as_['player']} {base_url}/users/{user_id}/export",
            "\nAs one of your people (true hides the player):",
            f"  {as_['admin']} -X PUT {base_url}/users/{user_id}/visibility {hide}",
        ]
    return "\n".join([*lines, ""])


def _demo_player(store: Store) -> str | None:
    """The demo player to show; None if this board does not have them."""
    try:
        return str(players.find(store, PLAYER)["userId"])
    except UserNotFound:
        return None
