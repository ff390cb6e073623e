"""The access log of a stage in LocalStack, which keeps its settings and writes no line.

A line is the stage's template with its variables filled in, as AWS documents it: nothing is escaped, and a variable
that has no value is a dash. Lines are handed on once a second: a call for each would cost as much as the request.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections import defaultdict
from typing import Any

from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from localstack.aws.connect import connect_to  # type: ignore[import-not-found]

VARIABLE = re.compile(r"\$context\.([A-Za-z.]*[A-Za-z])")
GROUP = re.compile(r"arn:[^:]+:logs:[^:]+:\d+:log-group:([^:]+)")
EVERY_SECONDS = 1.0
STREAM = f"localstack-{uuid.uuid4().hex}"

_waiting: defaultdict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
"""The lines of each account, region and group that are still to be written."""

_lock = threading.Lock()
_begun: set[tuple[str, str, str]] = set()


def write(context: Any, response: Any, milliseconds: float, waited: float | None) -> None:
    """Writes a line about a request that is answered, if its stage wants one."""
    settings = context.stage_configuration.get("accessLogSettings") or {}
    group = GROUP.match(settings.get("destinationArn") or "")
    if not group:
        return
    answered = getattr(context, "endpoint_response", None) or {}
    known = context.context_variables or {}
    variables = {
        **known,
        "status": response.status_code,
        "responseLength": len(response.get_data()),
        "responseLatency": round(milliseconds),
        "integrationLatency": None if waited is None else round(waited),
        "integrationStatus": 200 if answered else None,
        "integration": {"status": answered.get("status_code")},
        "authorizer": {**(known.get("authorizer") or {}), **getattr(context, "authorizer_outcome", {})},
    }
    line = VARIABLE.sub(lambda found: _text(variables, found[1]), settings["format"])
    place = (context.account_id, context.region, group[1])
    with _lock:
        if not _begun:
            threading.Thread(target=_hand_on, name="access log", daemon=True).start()
            _begun.add(("", "", ""))
        _waiting[place].append({"timestamp": int(time.time() * 1000), "message": line})


def _text(values: Any, path: str) -> str:
    for name in path.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return "-" if values is None else str(values)


def _hand_on() -> None:
    while True:
        time.sleep(EVERY_SECONDS)
        with _lock:
            ready = {place: lines for place, lines in _waiting.items() if lines}
            _waiting.clear()
        for (account, region, group), lines in ready.items():
            logs = connect_to(aws_access_key_id=account, region_name=region).logs
            try:
                if (account, region, group) not in _begun:
                    logs.create_log_stream(logGroupName=group, logStreamName=STREAM)
                    _begun.add((account, region, group))
                logs.put_log_events(logGroupName=group, logStreamName=STREAM, logEvents=lines)
            except ClientError:  # the group is gone: the stage is being destroyed
                _begun.discard((account, region, group))
