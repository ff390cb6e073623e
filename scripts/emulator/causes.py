"""What raises each alarm on an emulated AWS, and takes it away again: one table, by the alarms' names.

A cause is a context manager: it yields what is to be done again and again until the alarm goes off, and leaves
everything as it was, also when it is interrupted.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import valkey

from scripts.emulator.emulate import Facts
from scripts.local import examples
from shared import board, outbox, profiles

ALIAS = "live"
OLD_SECONDS = 900
"""How old a planted intent looks: older than any limit on reconcile's backlog."""

ANSWER_SECONDS = 30
STOPPED_MILLISECONDS = 4000
"""How long Valkey stands still at a time: longer than a request may take. It goes on by itself."""

SLOW_MILLISECONDS = 500
"""How long it stands still to make a request slow, which is answered then."""

AT_ONCE = 50
"""How many requests are sent in a row where it takes many."""

TOGETHER = 5
"""How many are sent while Valkey stands still: a share of all requests has to fail, or to be slow."""

DAY_SECONDS = 86400
FIGURES_A_DAY = 100

NOBODY = "drill-nobody"
"""No player has this id."""

Again = Callable[[], object]


@dataclass(frozen=True)
class Site:
    """A running `make emulate`: its names, its API, its AWS and its Valkey."""

    name: str
    """How the name of every resource begins."""
    facts: Facts
    aws: Callable[[str], Any]

    @functools.cached_property
    def valkey(self) -> valkey.Valkey:
        """A client of its Valkey."""
        return valkey.Valkey(host=self.facts.valkey_host, port=self.facts.valkey_port, decode_responses=True)

    def ask(self, method: str, path: str, body: object = None, key: str | None = None, token: str | None = None) -> int:
        """The status of a request to the API, perhaps with an idempotency key; as a server, or with another token."""
        token = token or self.facts.server_token
        request = urllib.request.Request(  # noqa: S310 - our own http address
            self.facts.base_url + path,
            None if body is None else json.dumps(body).encode(),
            {"x-api-key": self.facts.api_key, "content-type": "application/json"}
            | ({"idempotency-key": key} if key else {})
            | ({"authorization": f"Bearer {token}"} if token else {}),
            method=method,
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=ANSWER_SECONDS) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    def visit(self) -> int:
        """One request as players send them."""
        return self.ask("GET", "/leaderboard?limit=1")

    def visits_together(self) -> None:
        """Some requests at the same time."""
        with ThreadPoolExecutor(TOGETHER) as threads:
            list(threads.map(lambda _: self.visit(), range(TOGETHER)))

    def invoke(self, function: str, event: object) -> None:
        """Calls a function through its alias."""
        with contextlib.suppress(self.aws("lambda").exceptions.TooManyRequestsException):
            self.aws("lambda").invoke(
                FunctionName=f"{self.name}-{function}", Qualifier=ALIAS, Payload=json.dumps(event)
            )

    def player(self) -> str:
        """The last player on the board; one is made if there is nobody."""
        if not self.valkey.zcard(board.BOARD):
            self.ask("POST", "/users", {"userId": "drill", "username": "Drill", "email": "drill@example.com"})
        found: Any = self.valkey.zrange(board.BOARD, 0, 0)
        return str(found[0])


def crash(site: Site, function: str) -> Iterator[Again]:
    """Calls a function with an event that nothing sends: it ends with an error."""
    yield lambda: site.invoke(function, [])


def wrong_setting(site: Site, function: str) -> Iterator[Again]:
    """Publishes a version with a port that is no number, and points the alias to it."""
    aws, name = site.aws("lambda"), f"{site.name}-{function}"
    settings = aws.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    before = aws.get_alias(FunctionName=name, Name=ALIAS)["FunctionVersion"]
    published = None
    try:
        _set(site, name, settings | {"VALKEY_PORT": "drill"})
        published = aws.publish_version(FunctionName=name)["Version"]
        aws.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=published)
        aws.update_alias(FunctionName=name, Name=ALIAS, FunctionVersion=published)
        yield lambda: site.invoke(function, _event(function))
    finally:
        aws.update_alias(FunctionName=name, Name=ALIAS, FunctionVersion=before)
        _set(site, name, settings)
        if published not in (None, before):
            aws.delete_function(FunctionName=name, Qualifier=published)


def _event(function: str) -> dict[str, str]:
    """What there has to be in an event for the function to know its operation; nothing for one that has none."""
    theirs = (one for one in examples.load().values() if one.function == function.replace("-", "_"))
    return next(({"httpMethod": one.method, "resource": one.path} for one in theirs), {})


def no_concurrency(site: Site, function: str) -> Iterator[Again]:
    """Takes all concurrency from a function: Lambda refuses its calls."""
    aws, name = site.aws("lambda"), f"{site.name}-{function}"
    before = aws.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
    try:
        aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        yield lambda: site.invoke(function, _event(function))
    finally:
        if before is None:
            aws.delete_function_concurrency(FunctionName=name)
        else:
            aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=before)


def no_authorizer(site: Site) -> Iterator[Again]:
    """Takes all concurrency from the authorizer, and asks with tokens that nobody has seen before."""
    for _ in no_concurrency(site, "authorizer"):
        yield lambda: site.ask("GET", f"/sessions/{NOBODY}", token=f"drill.{uuid.uuid4().hex}.drill")


def still(site: Site, milliseconds: int, ask: Again) -> Iterator[Again]:
    """Valkey stands still for a moment, again and again, and somebody asks meanwhile."""

    def again() -> None:
        site.valkey.client_pause(milliseconds)  # it waits until the last one is over
        ask()

    yield again


def earlier_days(site: Site) -> Iterator[Again]:
    """Writes slow requests of the days before, which CloudWatch takes up to two weeks late, and makes more today."""
    site.aws("cloudwatch").put_metric_data(
        Namespace=site.name,
        MetricData=[
            {
                "MetricName": "SlowRequests",
                "Timestamp": time.time() - days * DAY_SECONDS,
                "Values": [1],
                "Counts": [FIGURES_A_DAY],
                "Unit": "Count",
            }
            for days in (1.5, 2.5)  # in the middle of each
        ],
    )
    yield from still(site, SLOW_MILLISECONDS, site.visits_together)


def slow_function(site: Site, function: str) -> Iterator[Again]:
    """Valkey stands still while a function is asked for something."""
    request = _request(site, function)  # before Valkey stands still: it looks for a player there
    yield from still(site, STOPPED_MILLISECONDS, lambda: site.ask(*request))


def refusals(site: Site) -> Iterator[Again]:
    """Asks for a page of no size."""
    yield lambda: [site.ask("GET", "/leaderboard?limit=drill") for _ in range(AT_ONCE)]


def conflicts(site: Site) -> Iterator[Again]:
    """Opens a session, which ends by itself, and sends its key with other bodies."""
    key, player = uuid.uuid4().hex, site.player()
    site.ask("POST", "/sessions", {"userId": player}, key)
    yield lambda: [
        site.ask("POST", "/sessions", {"userId": player, "sessionData": {"drill": number}}, key)
        for number in range(AT_ONCE)
    ]


def locked(site: Site) -> Iterator[Again]:
    """Valkey asks for a password, and whoever is connected has to connect anew."""
    try:
        site.valkey.config_set("requirepass", uuid.uuid4().hex)
        site.valkey.client_kill_filter(_type="normal", skipme=True)
        yield site.visit
    finally:
        site.valkey.config_set("requirepass", "")


def unscheduled(site: Site) -> Iterator[Again]:
    """Disables reconcile's schedule."""
    events, rule = site.aws("events"), f"{site.name}-reconcile"
    try:
        events.disable_rule(Name=rule)
        yield lambda: None
    finally:
        events.enable_rule(Name=rule)


def failed_run(site: Site) -> Iterator[Again]:
    """Sends reconcile an event that it refuses, as a schedule does: after a retry it is kept in the failures queue."""
    mark = uuid.uuid4().hex
    site.aws("lambda").invoke(
        FunctionName=f"{site.name}-reconcile",
        Qualifier=ALIAS,
        InvocationType="Event",
        Payload=json.dumps({"drill": mark}),
    )
    sqs = site.aws("sqs")
    url = sqs.get_queue_url(QueueName=f"{site.name}-reconcile-failures")["QueueUrl"]
    try:
        yield lambda: None
    finally:
        ours = None
        while ours is None or ours:
            found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=1).get("Messages", [])
            ours = [message for message in found if mark in message["Body"]]
            for message in ours:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def old_intent(site: Site) -> Iterator[Again]:
    """Plants an intent that looks old, again as soon as reconcile has settled it."""
    intent = f"{site.player()}:{uuid.uuid4().hex}"

    def again() -> None:
        site.valkey.zadd(board.PENDING, {intent: (time.time() - OLD_SECONDS) * 1000})

    try:
        yield again
    finally:
        site.valkey.zrem(board.PENDING, intent)


def unreadable_player(site: Site) -> Iterator[Again]:
    """Writes a score that is no number into a profile, and an intent that makes reconcile read it."""
    player = site.player()
    key, intent = profiles.profile_key(player), f"{player}:{uuid.uuid4().hex}"
    score = site.valkey.hget(key, "score")
    try:
        site.valkey.hset(key, "score", "drill")
        site.valkey.zadd(board.PENDING, {intent: (time.time() - 2 * outbox.DUE_SECONDS) * 1000})
        yield lambda: None
    finally:
        site.valkey.hset(key, "score", str(score))
        site.valkey.zrem(board.PENDING, intent)


def lost_place(site: Site) -> Iterator[Again]:
    """Takes a player from the board, past the API: reconcile's sweep puts them back."""
    player = site.player()
    site.valkey.zrem(board.BOARD, player)
    site.valkey.hdel(board.PLAYERS, player)
    yield lambda: None


def calm(site: Site, alarm: str) -> Again:
    """What to do until an alarm is over: requests as they should be, whose figures take the place of the bad ones."""
    found = find(alarm)
    function = found[1].get("function") if found else None
    if function is None:
        return lambda: [site.visit() for _ in range(AT_ONCE if OBJECTIVES.match(alarm) else 1)]
    if function == "reconcile":
        return lambda: None  # its schedule calls it
    request = _request(site, function)
    return lambda: site.ask(*request)


Make = Callable[..., Iterator[Again]]


@dataclass(frozen=True)
class Cause:
    """What raises the alarms whose names, without the deployment's, match `alarms`; `make` gets the groups.

    `how` says in a sentence what is done or, if nothing here can raise them, why.
    """

    alarms: str
    how: str
    make: Make | None = None


OBJECTIVES = re.compile("slo-|availability-|latency-")
"""Alarms on a share of the requests: it is small again once there are enough good ones."""

NO_ROOM = "It does not wait for Valkey, or is not let near it where access is open."
NO_CACHE = "An emulated AWS has no ElastiCache: its Valkey has neither limits nor sign-ins."
ROUTE = r"(?!reconcile-)(?P<function>[a-z-]+?)"
NOT_BY_VALKEY = r"(authorizer|issue-token|update-user|export-user|erase-user|set-visibility|correct-score)"

CAUSES = (
    Cause(r"cache-.*", NO_CACHE),
    Cause(r".*-live-errors", "Only CodeDeploy reads it, and an emulated AWS has none."),
    Cause(r"authorizer-failures", "Sets the authorizer's concurrency to 0: API Gateway cannot ask it.", no_authorizer),
    Cause(NOT_BY_VALKEY + "-duration", NO_ROOM),
    Cause(r"reconcile-duration", "A run gives up on Valkey after a second, so that nothing here makes one so slow."),
    Cause(r"(?P<function>[a-z-]+)-errors", "Calls the function with an event that it cannot read: it crashes.", crash),
    Cause(r"(?P<function>[a-z-]+)-throttles", "Sets the function's concurrency to 0 and calls it.", no_concurrency),
    Cause(ROUTE + "-failures", "Points the alias to a version with a wrong setting: it answers 500.", wrong_setting),
    Cause(ROUTE + "-duration", "Valkey stands still while the function is called.", slow_function),
    Cause(
        r"availability-days-3d",
        "It takes three days of failures at the gateway: nobody can write figures of AWS's own metrics into the past.",
    ),
    Cause(
        r"latency-days-3d",
        "Writes slow requests of two days before into our own metric, and makes more today, as for the others.",
        earlier_days,
    ),
    Cause(
        r"slo-page|slo-ticket|availability-.*",
        "Valkey stands still, and requests end at their deadline with 503; then come as many good ones as it takes.",
        lambda site: still(site, STOPPED_MILLISECONDS, site.visits_together),
    ),
    Cause(
        r"latency-.*",
        "Valkey stands still for half a second, and requests wait; then come as many quick ones as it takes.",
        lambda site: still(site, SLOW_MILLISECONDS, site.visits_together),
    ),
    Cause(r"security-refusals", "Sends many requests with an argument that is refused.", refusals),
    Cause(r"security-conflicts", "Opens a session, and sends its key with other bodies.", conflicts),
    Cause(r"security-cache-sign-in", "Valkey asks for a password that the functions do not have.", locked),
    Cause(r"reconcile-not-running", "Disables the schedule.", unscheduled),
    Cause(r"reconcile-queue", "Sends reconcile an event that it refuses, and waits for its retry.", failed_run),
    Cause(r"reconcile-backlog", "Plants an intent that looks old, as often as it is settled.", old_intent),
    Cause(r"reconcile-unreadable", "Writes garbage into a profile, and puts it right.", unreadable_player),
    Cause(r"reconcile-mended", "Takes a player from the board past the API; reconcile mends that.", lost_place),
)


def find(alarm: str) -> tuple[Cause, Mapping[str, str]] | None:
    """The cause of an alarm, named without the deployment's name, and what its `make` gets; None if it has none."""
    for cause in CAUSES:
        if found := re.fullmatch(cause.alarms, alarm):
            return cause, found.groupdict()
    return None


def making(site: Site, alarm: str) -> AbstractContextManager[Again]:
    """The cause while the block runs. Call it only for an alarm that can be caused."""
    match find(alarm):
        case Cause(make=make), groups if make:
            return contextlib.contextmanager(make)(site, **groups)
    raise LookupError(alarm)


def _request(site: Site, function: str) -> tuple[str, str, object]:
    """A request to a function that changes nothing: for nobody or, to make a player, for one that there is. Where it
    takes a person's token it is refused, which is no failure either."""
    taken = {"userId": site.player(), "username": "Drill", "email": "drill@example.com"}
    requests: dict[str, tuple[str, str, object]] = {
        "create-user": ("POST", "/users", taken),
        "get-user": ("GET", f"/users/{NOBODY}", None),
        "update-score": ("PUT", f"/users/{NOBODY}/score", {"score": 0}),
        "rank": ("GET", f"/users/{NOBODY}/rank", None),
        "nearby": ("GET", f"/users/{NOBODY}/nearby", None),
        "update-user": ("PATCH", f"/users/{NOBODY}", {"username": "Drill"}),
        "export-user": ("GET", f"/users/{NOBODY}/export", None),
        "erase-user": ("DELETE", f"/users/{NOBODY}", None),
        "issue-token": ("POST", f"/users/{NOBODY}/tokens", {}),
        "set-visibility": ("PUT", f"/users/{NOBODY}/visibility", {"hidden": False, "reason": "Drill"}),
        "correct-score": ("POST", f"/users/{NOBODY}/corrections", {"score": 0, "reason": "Drill"}),
        "sessions": ("POST", "/sessions", {"userId": NOBODY}),
        "leaderboard": ("GET", "/leaderboard", None),
        "stats": ("GET", "/stats", None),
        "health": ("GET", "/health", None),
    }
    return requests[function]


def _set(site: Site, name: str, variables: Mapping[str, str]) -> None:
    aws = site.aws("lambda")
    aws.update_function_configuration(FunctionName=name, Environment={"Variables": dict(variables)})
    aws.get_waiter("function_updated_v2").wait(FunctionName=name)
