"""The settings: read from the environment once, at first use, and nowhere else."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar, get_args

LARGEST_SCORE = 2**53 - 1
"""The largest whole number that a sorted set's score, a double, holds exactly together with all smaller ones."""

ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
IS_ID = re.compile(ID_PATTERN.removesuffix("$") + r"\Z").match
"""What an id of a player or a session looks like, as the contract writes it."""

Operator = Literal["set", "best", "increment", "decrement"]
"""What a submission's score does to the player's."""

Access = Literal["open", "protected"]
"""Whether anybody may do what the seed's clients do, or only those whose token allows it."""

Scope = Literal["player", "server", "admin"]
"""Whose a token is: a player's game client, the studio's backend, or one of its people."""

Depth = Literal["totals", "routes"]
"""How finely metrics are counted: without the dimension Route, or with all dimensions."""

NAMESPACE = re.compile(r"(?!AWS/)[A-Za-z0-9][A-Za-z0-9._/#-]{0,254}")
"""A namespace of CloudWatch; those of AWS's own services begin with AWS/."""

MOST_CURRENCIES = 10
"""Each is a metric of its own."""

PLAYER = "player"
"""The scope of a player's own game client, the only one that is held to a pace."""

INITIALIZED = {"on-demand", "provisioned-concurrency"}
"""Kinds of Lambda environments that answer one request after the other with what their init has made. A snapshot's
(`snap-start`) connections would be dead when it is restored."""

Value = TypeVar("Value", int, float, bool)


class Pace(NamedTuple):
    """How often a player may do something: so many times a minute, 0 for any number, and `burst` of them at once."""

    per_minute: int
    burst: int

    @property
    def interval_microseconds(self) -> int:
        """The time between two of them if they come evenly; 0 for none."""
        return 60_000_000 // self.per_minute if self.per_minute else 0


ANY_PACE = Pace(0, 1)


class Rules(NamedTuple):
    """What a submission must keep to; `score_step_max` None allows any change."""

    score_min: int
    score_max: int
    score_step_max: int | None
    receipt_seconds: int
    receipts_max: int
    pace: Pace = ANY_PACE

    @property
    def starting_score(self) -> int:
        """A new player's score, unless the client sends one: the allowed score nearest to 0."""
        return min(max(0, self.score_min), self.score_max)


class SessionRules(NamedTuple):
    """How long a session lives, and its key is remembered; how often a player may open one, and how many at a time, 0
    for any number."""

    lifetime_seconds: int
    receipt_seconds: int
    pace: Pace = ANY_PACE
    open_max: int = 0


class AwsCredentials(NamedTuple):
    """What a signature is made with; `session_token` None for a user's own long-lived key."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None


class Oidc(NamedTuple):
    """An identity provider whose tokens are believed. `user_claim` is the claim with the userId; `scope_claim` the one
    with the scope, None if all of its tokens are players'."""

    issuer: str
    audience: str
    jwks_url: str
    user_claim: str
    scope_claim: str | None


class MisconfiguredError(Exception):
    """A setting is missing or malformed; the message names it and says what it should be."""


@dataclass(frozen=True)
class Settings:
    """One deployment's values; the names are the environment's, in lower case."""

    valkey_host: str
    valkey_port: int = 6379
    valkey_tls: bool = False
    valkey_ca_file: str | None = None
    valkey_user: str | None = None
    valkey_password: str | None = field(default=None, repr=False)
    valkey_iam_cache: str | None = None
    aws_region: str | None = None
    connect_seconds: float = 1.0
    command_seconds: float = 1.0
    deadline_seconds: float = 2.5
    session_seconds: int = 3600
    score_min: int = 0
    score_max: int = 10**12
    score_step_max: int | None = None
    receipt_seconds: int = 86_400
    receipts_max: int = 1000
    submissions_per_minute: int = 60
    submissions_burst: int = 10
    sessions_per_minute: int = 10
    sessions_open_max: int = 100
    default_operator: Operator = "set"
    access: Access = "open"
    player_operators: tuple[Operator, ...] = ()
    metrics_namespace: str = "leaderboard-dev"
    metrics_depth: Depth = "routes"
    currencies: tuple[str, ...] = ("EUR", "USD")
    slow_milliseconds: float = 150
    token_issuer: str | None = None
    token_public_keys: Mapping[str, str] = field(default_factory=dict)
    token_key: str | None = None
    token_key_file: str | None = None
    revoked_tokens: frozenset[str] = frozenset()
    oidc_issuer: str | None = None
    oidc_audience: str | None = None
    oidc_jwks_url: str | None = None
    oidc_user_claim: str = "sub"
    oidc_scope_claim: str | None = None

    @property
    def oidc(self) -> Oidc | None:
        """The studio's own identity provider, if it has one."""
        if not (self.oidc_issuer and self.oidc_audience and self.oidc_jwks_url):
            return None
        return Oidc(
            self.oidc_issuer, self.oidc_audience, self.oidc_jwks_url, self.oidc_user_claim, self.oidc_scope_claim
        )

    @property
    def rules(self) -> Rules:
        """The settings that every submission is checked against."""
        return Rules(self.score_min, self.score_max, self.score_step_max, self.receipt_seconds, self.receipts_max)

    def rules_of(self, scope: str | None) -> Rules:
        """What the submissions of a caller of this scope must keep to: players have a pace."""
        if scope != PLAYER:
            return self.rules
        return self.rules._replace(pace=Pace(self.submissions_per_minute, self.submissions_burst))

    def session_rules_of(self, scope: str | None) -> SessionRules:
        """What the sessions of a caller of this scope must keep to: players have a pace, and so many at a time."""
        rules = SessionRules(self.session_seconds, self.receipt_seconds)
        if scope != PLAYER:
            return rules
        per_minute = self.sessions_per_minute
        return rules._replace(pace=Pace(per_minute, max(1, per_minute)), open_max=self.sessions_open_max)


def load(environ: Mapping[str, str]) -> Settings:
    """Settings from a mapping such as `os.environ`. A name that is absent or empty takes its default.

    Raises MisconfiguredError for the first that is missing, malformed or outside its range.
    """
    host = environ.get("VALKEY_HOST", "").strip()
    if not host:
        raise MisconfiguredError("VALKEY_HOST is missing: set it to the cache's host name")
    settings = Settings(
        valkey_host=host,
        valkey_port=_read(environ, "VALKEY_PORT", int, Settings.valkey_port, 1, 65535),
        valkey_tls=_read(environ, "VALKEY_TLS", _boolean, Settings.valkey_tls, False, True),
        valkey_ca_file=environ.get("VALKEY_CA_FILE") or None,
        valkey_user=environ.get("VALKEY_USER") or None,
        valkey_password=environ.get("VALKEY_PASSWORD") or None,
        valkey_iam_cache=environ.get("VALKEY_IAM_CACHE") or None,
        aws_region=environ.get("AWS_REGION") or None,
        connect_seconds=_read(environ, "CONNECT_SECONDS", float, Settings.connect_seconds, 0.01, 10),
        command_seconds=_read(environ, "COMMAND_SECONDS", float, Settings.command_seconds, 0.01, 10),
        deadline_seconds=_read(environ, "DEADLINE_SECONDS", float, Settings.deadline_seconds, 0.01, 28),
        session_seconds=_read(environ, "SESSION_SECONDS", int, Settings.session_seconds, 1, 31_536_000),
        score_min=_read(environ, "SCORE_MIN", int, Settings.score_min, -LARGEST_SCORE, LARGEST_SCORE),
        score_max=_read(environ, "SCORE_MAX", int, Settings.score_max, -LARGEST_SCORE, LARGEST_SCORE),
        score_step_max=_read(environ, "SCORE_STEP_MAX", int, 0, 1, LARGEST_SCORE) or None,
        receipt_seconds=_read(environ, "RECEIPT_SECONDS", int, Settings.receipt_seconds, 60, 31_536_000),
        receipts_max=_read(environ, "RECEIPTS_MAX", int, Settings.receipts_max, 1, 1_000_000),
        submissions_per_minute=_read(
            environ, "SUBMISSIONS_PER_MINUTE", int, Settings.submissions_per_minute, 0, 60_000
        ),
        submissions_burst=_read(environ, "SUBMISSIONS_BURST", int, Settings.submissions_burst, 1, 60_000),
        sessions_per_minute=_read(environ, "SESSIONS_PER_MINUTE", int, Settings.sessions_per_minute, 0, 60_000),
        sessions_open_max=_read(environ, "SESSIONS_OPEN_MAX", int, Settings.sessions_open_max, 0, 10_000),
        default_operator=_word(environ, "DEFAULT_OPERATOR", Operator, Settings.default_operator),
        access=_word(environ, "ACCESS", Access, Settings.access),
        player_operators=_words(environ, "PLAYER_OPERATORS", Operator),
        metrics_namespace=_namespace(environ, "METRICS_NAMESPACE", Settings.metrics_namespace),
        metrics_depth=_word(environ, "METRICS_DEPTH", Depth, Settings.metrics_depth),
        currencies=_currencies(environ, "CURRENCIES", Settings.currencies),
        slow_milliseconds=_read(environ, "SLOW_MILLISECONDS", float, Settings.slow_milliseconds, 1, 28_000),
        token_issuer=_name(environ, "TOKEN_ISSUER"),
        token_public_keys=_public_keys(environ, "TOKEN_PUBLIC_KEYS"),
        token_key=_key_arn(environ, "TOKEN_KEY"),
        token_key_file=environ.get("TOKEN_KEY_FILE") or None,
        revoked_tokens=frozenset(filter(None, map(str.strip, environ.get("REVOKED_TOKENS", "").split(",")))),
        oidc_issuer=_name(environ, "OIDC_ISSUER"),
        oidc_audience=_name(environ, "OIDC_AUDIENCE"),
        oidc_jwks_url=_jwks_url(environ, "OIDC_JWKS_URL"),
        oidc_user_claim=environ.get("OIDC_USER_CLAIM", "").strip() or Settings.oidc_user_claim,
        oidc_scope_claim=environ.get("OIDC_SCOPE_CLAIM", "").strip() or None,
    )
    if settings.valkey_iam_cache and not (settings.valkey_user and settings.aws_region and settings.valkey_tls):
        raise MisconfiguredError("VALKEY_IAM_CACHE is set: VALKEY_USER, AWS_REGION and VALKEY_TLS=1 are needed with it")
    if settings.score_min > settings.score_max:
        raise MisconfiguredError(f"SCORE_MIN ({settings.score_min}) is above SCORE_MAX ({settings.score_max})")
    if (settings.token_public_keys or settings.token_key or settings.token_key_file) and not settings.token_issuer:
        raise MisconfiguredError("TOKEN_ISSUER is missing: there are keys for tokens, so say who issues them")
    if bool(settings.oidc_issuer) != bool(settings.oidc):
        raise MisconfiguredError("OIDC_ISSUER is set: OIDC_AUDIENCE and OIDC_JWKS_URL are needed with it")
    if settings.oidc_issuer and settings.oidc_issuer == settings.token_issuer:
        raise MisconfiguredError("OIDC_ISSUER is TOKEN_ISSUER: nobody could tell whose token is whose")
    return settings


@functools.cache
def settings() -> Settings:
    """This process's settings."""
    return load(os.environ)


def measuring() -> Settings:
    """The settings as far as metrics go: those are known even if another one is wrong."""
    try:
        return settings()
    except MisconfiguredError:
        told = {name: os.environ.get(name, "") for name in ("METRICS_NAMESPACE", "METRICS_DEPTH", "SLOW_MILLISECONDS")}
    try:
        return load({"VALKEY_HOST": "unknown", **told})
    except MisconfiguredError:
        return load({"VALKEY_HOST": "unknown"})


def aws_credentials() -> AwsCredentials | None:
    """The credentials that are in the environment at this moment, where Lambda puts them; None if there are none."""
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    return AwsCredentials(key, secret, os.environ.get("AWS_SESSION_TOKEN")) if key and secret else None


def trace() -> str:
    """Lambda's header of the trace that the present request belongs to; '' where there is none."""
    return os.environ.get("_X_AMZN_TRACE_ID", "")


def is_initialized_by_lambda() -> bool:
    """Whether this process is a Lambda environment whose init serves its requests. Lambda alone sets the variable."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") in INITIALIZED


def is_initialized_ahead() -> bool:
    """Whether this process's init is over long before a request comes: provisioned concurrency on Lambda."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "provisioned-concurrency"


def _boolean(text: str) -> bool:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]


def _word(environ: Mapping[str, str], name: str, words: Any, default: Any) -> Any:
    """One of a Literal's words."""
    text = environ.get(name, "").strip() or default
    if text not in get_args(words):
        raise MisconfiguredError(f"{name} is {text!r}: it should be one of {', '.join(get_args(words))}")
    return text


def _words(environ: Mapping[str, str], name: str, words: Any) -> Any:
    """Some of a Literal's words, each once; none if there is no text."""
    text = environ.get(name, "").strip()
    found = tuple(word.strip() for word in text.split(",")) if text else ()
    if not {*found} <= {*get_args(words)} or len({*found}) < len(found):
        raise MisconfiguredError(
            f"{name} is {text!r}: it should be any of {', '.join(get_args(words))}, with commas between them"
        )
    return found


def _namespace(environ: Mapping[str, str], name: str, default: str) -> str:
    text = environ.get(name, "").strip() or default
    if not NAMESPACE.fullmatch(text):
        raise MisconfiguredError(
            f"{name} is {text!r}: it should be 1 to 255 letters, digits, and any of . _ / # - and not begin with AWS/"
        )
    return text


def _currencies(environ: Mapping[str, str], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    text = environ.get(name, "").strip()
    codes = tuple(code.strip() for code in text.split(",")) if text else default
    if not all(re.fullmatch("[A-Z]{3}", code) for code in codes) or not len(codes) == len({*codes}) <= MOST_CURRENCIES:
        raise MisconfiguredError(
            f"{name} is {text!r}: it should be 1 to {MOST_CURRENCIES} different codes of ISO 4217 with commas between "
            "them, such as EUR,USD"
        )
    return codes


def _name(environ: Mapping[str, str], name: str) -> str | None:
    """An issuer or an audience: a logged line and a caller's name begin with it, so it has no spaces."""
    text = environ.get(name, "").strip()
    if text and not re.fullmatch(r"[!-~]{1,255}", text):
        raise MisconfiguredError(f"{name} is {text!r}: it should be 1 to 255 visible ASCII characters without spaces")
    return text or None


def _key_arn(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name, "").strip()
    if text and not re.fullmatch(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d+:key/[A-Za-z0-9-]+", text):
        raise MisconfiguredError(f"{name} is {text!r}: it should be the ARN of a key of KMS, no alias")
    return text or None


def _public_keys(environ: Mapping[str, str], name: str) -> Mapping[str, str]:
    text = environ.get(name, "").strip()
    try:
        keys = json.loads(text) if text else {}
    except ValueError:
        keys = None
    if not isinstance(keys, dict) or not all(
        kid and isinstance(pem, str) and pem.lstrip().startswith("-----BEGIN PUBLIC KEY-----")
        for kid, pem in keys.items()
    ):
        raise MisconfiguredError(f"{name} is malformed: it should be a JSON object of public keys in PEM by their kid")
    return keys


def _jwks_url(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name, "").strip()
    if text and not re.fullmatch(r"https://[!-~]+|http://(?:127\.0\.0\.1|localhost)[:/][!-~]*", text):
        raise MisconfiguredError(f"{name} is {text!r}: it should begin with https://, or lead to this machine")
    return text or None


def _read(
    environ: Mapping[str, str], name: str, parse: Callable[[str], Value], default: Value, lowest: Value, highest: Value
) -> Value:
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = parse(text)
    except (ValueError, KeyError):
        value = None
    if value is None or not lowest <= value <= highest:
        raise MisconfiguredError(f"{name} is {text!r}: it should be from {lowest} to {highest}")
    return value
