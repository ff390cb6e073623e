"""`make drill`: raises an alarm of a running `make emulate` by causing its cause, and waits until it is over.

Without an alarm it lists them all, and how each can be raised. Whatever it changes it puts back, also at Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import fcntl
import functools
import json
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts import signals
from scripts.cloudwatch import alarms
from scripts.emulator import causes, emulate, terraform
from scripts.emulator.causes import Site
from scripts.emulator.localstack import LocalStack
from scripts.refusal import Refusal

AGAIN_SECONDS = 2.0
LONGEST_EXTRA_SECONDS = 600
"""How much longer than an alarm's own time it may take: a busy machine, a schedule, a retry."""

OBJECTIVE_SECONDS = 900
"""What an alarm on an objective may take: its windows are hours, but enough good requests make the share small."""

SHOWN_EVERY_SECONDS = 30
KINDS = ["MetricAlarm", "CompositeAlarm"]
HINT = "ALARM=… raises one. With FORCE=1 its state is set by hand, also where nothing here can cause it."
FORCED = "Set by make drill FORCE=1: nothing is wrong."


@dataclass(frozen=True)
class Row:
    """An alarm, and whether and how it can be raised here. `minutes` is what that takes at least, and ending it."""

    alarm: str
    severity: str
    drilled: bool
    minutes: int | None
    how: str


@dataclass(frozen=True)
class Outcome:
    """What a drill has seen."""

    alarm: str
    severity: str
    cause: str
    raised_after_seconds: float
    told: str | None
    """What the notification said; None if the alarm tells nobody."""
    over_after_seconds: float
    also_raised: list[str]


def site() -> Site:
    """The `make emulate` that runs here. Raises Refusal."""
    if (facts := emulate.running()) is None:
        raise Refusal("make emulate is not running here, or not ready yet: start it in another terminal.")
    host, _, port = facts.localstack.removeprefix("http://").partition(":")
    started = LocalStack(host, int(port))
    aws = functools.cache(functools.partial(terraform.client, started, facts.region))
    return Site(f"leaderboard-{terraform.ENVIRONMENT}", facts, aws)


def rows(here: Site) -> list[Row]:
    """Every alarm that there is, in order of name."""
    return [_row(here, alarm) for alarm in sorted(_alarms(here), key=lambda alarm: str(alarm["AlarmName"]))]


def table(found: Sequence[Row]) -> str:
    """The rows for people."""
    lines = [("alarm", "severity", "minutes", "how")]
    lines += [(row.alarm, row.severity, str(row.minutes or "-"), row.how) for row in found]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    shown = [
        "  ".join([*(text.ljust(width) for text, width in zip(line, widths, strict=False)), line[-1]]) for line in lines
    ]
    return "\n".join([*shown, "", HINT])


def drill(here: Site, wanted: str, *, is_forced: bool, tell: Callable[[str], None]) -> Outcome:
    """Raises an alarm, by its cause or by hand, and returns once it is over. Raises Refusal."""
    alarm = _named(here, wanted)
    name = str(alarm["AlarmName"])
    row = _row(here, alarm)
    if not row.drilled and not is_forced:
        raise Refusal(
            f"{row.alarm} cannot be caused here: {row.how[0].lower()}{row.how[1:]} "
            f"To see only its notification: make drill ALARM={row.alarm} FORCE=1"
        )
    if alarm["StateValue"] == alarms.ALARM:
        raise Refusal(
            f"{row.alarm} is in ALARM already: find out why, or wait until it is over. It says: {alarm['StateReason']}"
        )
    before = _raised(here)
    patience = _seconds(row.alarm, alarm) + LONGEST_EXTRA_SECONDS
    cause = FORCED if is_forced else row.how
    with _hearing(here, alarm) as heard:
        tell(cause)
        began = time.monotonic()
        with _by_hand(here, name) if is_forced else causes.making(here, row.alarm) as again:
            _wait(here, [name], lambda state: state == alarms.ALARM, again, patience, tell)
            raised = time.monotonic() - began
            tell(f"{name} is in ALARM after {raised:.0f} s.")
            told = heard(alarms.ALARM, patience)
            tell("It tells nobody." if told is None else f"Its notification: {told}")
            also = sorted(_raised(here) - before - {name})
        tell("The cause is gone.")
        began = time.monotonic()
        calm = causes.calm(here, row.alarm)
        _wait(here, [name], lambda state: state != alarms.ALARM, calm, patience, tell)
        over = time.monotonic() - began
        tell(f"{name} is over after {over:.0f} s.")
        if not is_forced and causes.OBJECTIVES.match(row.alarm):
            others = [one for one in also if causes.OBJECTIVES.match(one.removeprefix(f"{here.name}-"))]
            tell(f"Good requests also end the {len(others)} others that it has raised.")
            _wait(here, others, lambda state: state != alarms.ALARM, calm, patience, tell)
    return Outcome(row.alarm, row.severity, cause, round(raised, 1), told, round(over, 1), also)


def _alarms(here: Site) -> list[Mapping[str, Any]]:
    pages = (
        here.aws("cloudwatch")
        .get_paginator("describe_alarms")
        .paginate(AlarmNamePrefix=f"{here.name}-", AlarmTypes=KINDS)
    )
    return [alarm for page in pages for kind in ("MetricAlarms", "CompositeAlarms") for alarm in page.get(kind, ())]


def _row(here: Site, alarm: Mapping[str, Any]) -> Row:
    name = str(alarm["AlarmName"]).removeprefix(f"{here.name}-")
    severity = re.split(r"\W", str(alarm.get("AlarmDescription", "")))[0].lower()  # as its text begins
    found = causes.find(name)
    if not found:
        return Row(name, severity, False, None, "Nobody has written down how: scripts/emulator/causes.py.")
    cause, _ = found
    minutes = max(round(_seconds(name, alarm) / 60), 1) if cause.make else None
    return Row(name, severity, bool(cause.make), minutes, cause.how)


def _seconds(name: str, alarm: Mapping[str, Any]) -> int:
    """What it takes to raise a metric alarm and, without new figures, to end it."""
    if "AlarmRule" in alarm or causes.OBJECTIVES.match(name):
        return OBJECTIVE_SECONDS
    needed = int(alarm.get("DatapointsToAlarm") or alarm["EvaluationPeriods"])
    return alarms.asked(alarm)[2] * (needed - 1 + alarms.retrieved(alarm))


def _named(here: Site, wanted: str) -> Mapping[str, Any]:
    known = {str(alarm["AlarmName"]).removeprefix(f"{here.name}-"): alarm for alarm in _alarms(here)}
    short = wanted.removeprefix(f"{here.name}-")
    if short in known:
        return known[short]
    near = difflib.get_close_matches(short, known, 3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise Refusal(f"There is no alarm {short}: make drill lists all.{hint}")


def _raised(here: Site) -> set[str]:
    return {str(alarm["AlarmName"]) for alarm in _alarms(here) if alarm["StateValue"] == alarms.ALARM}


@contextlib.contextmanager
def _by_hand(here: Site, name: str) -> Iterator[causes.Again]:
    """Sets the state itself. CloudWatch sets it back at its next look, or we do."""
    cloudwatch = here.aws("cloudwatch")
    cloudwatch.set_alarm_state(AlarmName=name, StateValue=alarms.ALARM, StateReason=FORCED)
    try:
        yield lambda: None
    finally:
        cloudwatch.set_alarm_state(AlarmName=name, StateValue=alarms.OK, StateReason=FORCED)


@contextlib.contextmanager
def _hearing(here: Site, alarm: Mapping[str, Any]) -> Iterator[Callable[[str, float], str | None]]:
    """Listens to the topics that an alarm tells, and yields what waits for its message about a state."""
    sqs, sns = here.aws("sqs"), here.aws("sns")
    topics = {topic for topic in alarm["AlarmActions"] if ":sns:" in topic}
    url = sqs.create_queue(QueueName=f"drill-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    subscribed: list[str] = []
    try:
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        for topic in topics:
            answer = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)
            subscribed.append(answer["SubscriptionArn"])

        def heard(state: str, patience: float) -> str | None:
            ends = time.monotonic() + patience
            while topics and time.monotonic() < ends:
                found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
                for message in found:
                    told = json.loads(message["Body"])
                    said = json.loads(told["Message"])
                    if (said["AlarmName"], said["NewStateValue"]) == (alarm["AlarmName"], state):
                        return f"{told['Subject']} - {said['AlarmDescription']}"
            if topics:
                raise Refusal(f"{alarm['AlarmName']} is in ALARM, but its notification has not come: look at {topics}.")
            return None

        yield heard
    finally:
        for subscription in subscribed:
            sns.unsubscribe(SubscriptionArn=subscription)
        sqs.delete_queue(QueueUrl=url)


def _wait(
    here: Site,
    names: Sequence[str],
    are_there: Callable[[str], bool],
    again: causes.Again,
    patience: float,
    tell: Callable[[str], None],
) -> None:
    """Does something again and again until the alarms are in such a state. Raises Refusal if that is never."""
    cloudwatch = here.aws("cloudwatch")
    began = shown = time.monotonic()
    while names:
        told = cloudwatch.describe_alarms(AlarmNames=names, AlarmTypes=KINDS)
        found = {one["AlarmName"]: one for one in told["MetricAlarms"] + told["CompositeAlarms"]}
        names = [name for name in names if not are_there(found[name]["StateValue"])]
        if not names:
            return
        alarm, now = found[names[0]], time.monotonic()
        if now - began > patience:
            raise Refusal(
                f"{names[0]} is still in {alarm['StateValue']} after {patience / 60:.0f} minutes: "
                f"{alarm['StateReason']}"
            )
        if now - shown > SHOWN_EVERY_SECONDS:
            shown = now
            tell(f"… {now - began:.0f} s: {alarm['StateValue']}")
        again()
        time.sleep(AGAIN_SECONDS)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two drills at once would see each other's alarms."""
    with (emulate.FOLDER / "drill.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal("Another make drill is running here: wait until it is over.") from None
        yield


def main() -> int:
    """Lists the alarms, or drills one, or says in one sentence why it cannot."""
    parser = argparse.ArgumentParser(prog="make drill")
    parser.add_argument("alarm", nargs="?", default="")
    parser.add_argument("--force", action="store_true", help="set its state by hand, without a cause")
    parser.add_argument("--json", action="store_true", help="for programs, on standard output")
    given = parser.parse_args()
    signals.interrupt_once()
    try:
        here = site()
        if not given.alarm:
            found = rows(here)
            print(json.dumps([dataclasses.asdict(row) for row in found], indent=2) if given.json else table(found))
            return 0
        with _alone():
            outcome = drill(here, given.alarm, is_forced=given.force, tell=_tell)
        if given.json:
            print(json.dumps(dataclasses.asdict(outcome), indent=2))
        elif outcome.also_raised:
            print(f"Also raised, and over later by themselves: {', '.join(outcome.also_raised)}")
    except KeyboardInterrupt:
        print("Stopped: everything is as it was. The alarm, if it went off, is over soon.", file=sys.stderr)
        return 130
    except Refusal as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    signals.leave(main())
