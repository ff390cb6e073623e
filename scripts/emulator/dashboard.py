"""`make dashboard SOURCE=localstack`: the page of `make run` over a dashboard that `make emulate` has deployed.

It asks as a browser of CloudWatch's console would, through clients of AWS: those of localstack-client.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts import signals
from scripts.emulator import emulate, terraform
from scripts.local import api as local_api
from scripts.local.dashboard import collecting, insights, pages
from scripts.local.dashboard.sources import Json
from scripts.refusal import Refusal
from shared import config

POINTS_A_PAGE = 100_800
EVENTS_A_PAGE = 10_000
"""As many as GetMetricData and FilterLogEvents give at once."""

LATE_SECONDS = 60
"""How much later than its time a line may come to its log group."""

FRESH_SECONDS = 2.0
"""The tables of a page all ask at once, for much the same groups: one answer does for them."""


class Emulated:
    """A dashboard that is deployed, asked through clients of AWS. Threads share it, and ask for logs in turn."""

    def __init__(self, cloudwatch: Any, logs: Any, name: str):
        self.title = f"{name}, on the emulated AWS"
        self._cloudwatch, self._logs, self._name = cloudwatch, logs, name
        self._kept: dict[str, _Log] = {}
        self._reading = threading.Lock()

    def body(self) -> Json:
        """What GetDashboard tells."""
        body: Json = json.loads(self._cloudwatch.get_dashboard(DashboardName=self._name)["DashboardBody"])
        return body

    def only_on_aws(self, namespace: str, metric: str) -> bool:  # noqa: ARG002
        """Nobody knows: what the emulator does not make, has no data."""
        return False

    def values(self, queries: Sequence[Mapping[str, Any]], begin: int, end: int) -> list[Json]:
        """What GetMetricData tells, on as many pages as it takes."""
        asked = [{name: value for name, value in query.items() if name != "Period"} for query in queries]
        found: dict[str, Json] = {}
        for page in self._cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=asked,
            StartTime=begin,
            EndTime=end,
            ScanBy="TimestampAscending",
            PaginationConfig={"PageSize": POINTS_A_PAGE},
        ):
            for result in page["MetricDataResults"]:
                told = found.setdefault(result["Id"], {"Id": result["Id"], "Timestamps": [], "Values": []})
                told["Label"] = result.get("Label", result["Id"])
                told["Timestamps"] += [moment.timestamp() for moment in result["Timestamps"]]
                told["Values"] += result["Values"]
        return list(found.values())

    def alarms(self) -> list[Json]:
        """What DescribeAlarms tells of those whose names begin like the dashboard's."""
        found: list[Json] = []
        for page in self._cloudwatch.get_paginator("describe_alarms").paginate(
            AlarmNamePrefix=f"{self._name}-", AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        ):
            found += page.get("MetricAlarms", []) + page.get("CompositeAlarms", [])
        return [
            {name: value.timestamp() if hasattr(value, "timestamp") else value for name, value in alarm.items()}
            for alarm in found
        ]

    def table(self, query: str, begin: float, end: float) -> insights.Table:
        """A query over what FilterLogEvents tells, because LocalStack answers none: of each group the latest lines."""
        lines: list[insights.Line] = []
        with self._reading:
            for group in insights.groups(query):
                lines += self._read(group, begin, end)
        return insights.ask(query, sorted(lines, key=lambda line: line.seconds))

    def _read(self, group: str, begin: float, end: float) -> list[insights.Line]:
        """The lines of a group, of which only those are asked for that are not known yet."""
        kept = self._kept.setdefault(group, _Log(begin))
        if begin < kept.begin:
            kept = self._kept[group] = _Log(begin)
        if time.monotonic() - kept.asked > FRESH_SECONDS:
            self._ask(group, kept, end)
            kept.asked = time.monotonic()
        return [line for line in kept.lines if begin <= line.seconds <= end]

    def _ask(self, group: str, kept: _Log, end: float) -> None:
        since = kept.lines[-1].seconds - LATE_SECONDS if kept.lines else kept.begin
        pages_ = self._logs.get_paginator("filter_log_events").paginate(
            logGroupName=group,
            startTime=int(since * 1000),
            endTime=int(end * 1000),
            PaginationConfig={"PageSize": EVENTS_A_PAGE},
        )
        try:
            for page in pages_:
                for event in page["events"]:
                    if event["eventId"] not in kept.known:
                        kept.known.add(event["eventId"])
                        kept.lines.append(insights.Line(event["timestamp"] / 1000, group, event["message"].strip()))
        except self._logs.exceptions.ResourceNotFoundException:
            return  # a function that was never called


@dataclass
class _Log:
    """What is known of a log group from a time on: its latest lines, and the ids of all that were seen."""

    begin: float
    lines: deque[insights.Line] = field(default_factory=lambda: deque(maxlen=collecting.MOST_LINES))
    known: set[str] = field(default_factory=set)
    asked: float = -math.inf


def source(environ: Mapping[str, str]) -> tuple[Emulated, list[str]]:
    """The dashboard that environ asks for, and commands that fill it. Raises Refusal."""
    if environ.get("SOURCE", "").strip() != "localstack":
        raise Refusal("Name what the dashboard should draw: make dashboard SOURCE=localstack (`make run` has its own).")
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # noqa: PLC0415
    from localstack_client.session import Session  # type: ignore[import-untyped]  # noqa: PLC0415

    name = environ.get("NAME", "").strip() or f"leaderboard-{terraform.ENVIRONMENT}"
    facts = emulate.running()
    host = environ.get("LOCALSTACK_HOST", "").strip() or (facts.localstack.removeprefix("http://") if facts else None)
    region = environ.get("AWS_REGION", "").strip() or (facts.region if facts else "eu-central-1")
    session = Session(region_name=region, localstack_host=host)
    found = Emulated(session.client("cloudwatch"), session.client("logs"), name)
    try:
        found.body()
    except (BotoCoreError, ClientError) as error:
        raise Refusal(f"The emulated AWS has no dashboard {name} ({error}): start it first: make emulate") from None
    return found, local_api.commands(facts.base_url, "YOUR-KEY", None, emulate.settings(facts).rules) if facts else []


def run(environ: Mapping[str, str]) -> None:
    """Serves until a signal. Raises Refusal."""
    found, hints = source(environ)
    try:
        sock = pages.listen(environ)
    except OSError as error:
        raise Refusal(
            f"Cannot serve on that port ({error.strerror}): choose another DASHBOARD_PORT, 0 for any"
        ) from None
    with sock, pages.serving(pages.application(found, environ, hints), sock) as address:
        print(f"The dashboard of {found.title}, is at {address} (Ctrl-C ends it)", flush=True)
        threading.Event().wait()


def main() -> int:
    """Serves the page."""
    signals.interrupt_once()
    try:
        run(os.environ)
    except KeyboardInterrupt:
        return 0
    except (Refusal, config.MisconfiguredError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    signals.leave(main())
