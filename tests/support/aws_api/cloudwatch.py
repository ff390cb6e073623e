"""CloudWatch: composite alarms and saved queries, which moto lacks. Spans of time that AWS refuses are refused."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from tests.support.aws_api.operations import Answer, Refused, Request, operation

COMPOSITES, QUERIES = "composite alarms", "query definitions"

HOUR_SECONDS, DAY_SECONDS = 3600, 86400


@operation("cloudwatch", "PutMetricAlarm")
def put_metric_alarm(request: Request) -> Answer:
    """Refused, as the API's reference says, if it would look at more than a day, or seven in periods of an hour or
    more."""
    given = request.parameters
    stats = [query["MetricStat"] for query in given.get("Metrics", ()) if "MetricStat" in query]
    for period in [stat["Period"] for stat in stats] or [given["Period"]]:
        longest = (7 if period >= HOUR_SECONDS else 1) * DAY_SECONDS
        if period * given["EvaluationPeriods"] > longest:
            raise Refused("ValidationError", f"Metrics cannot be checked across more than {longest} seconds")
    return request.ask_moto()


@operation("cloudwatch", "PutCompositeAlarm")
def put_composite_alarm(request: Request) -> Mapping[str, Any]:
    """Refused if its rule names an alarm that is not there."""
    given = dict(request.parameters)
    records, name = request.records("cloudwatch"), given["AlarmName"]
    known = {*records.alarms, *request.account.of(COMPOSITES)}
    if missing := set(re.findall(r'ALARM\("([^"]*)"\)', given["AlarmRule"])) - known:
        raise Refused("ValidationError", f"The alarms {sorted(missing)} in the alarm rule do not exist")
    arn = request.arn("cloudwatch", f"alarm:{name}")
    records.tagger.tag_resource(arn, given.pop("Tags", []))
    request.account.of(COMPOSITES)[name] = {**given, "AlarmArn": arn, "StateValue": "INSUFFICIENT_DATA"}
    return {}


@operation("cloudwatch", "DescribeAlarms")
def describe_alarms(request: Request) -> Answer:
    if request.parameters.get("AlarmTypes") != ["CompositeAlarm"]:
        return request.ask_moto()
    kept = request.account.of(COMPOSITES)
    return {"CompositeAlarms": [kept[name] for name in request.parameters.get("AlarmNames", kept) if name in kept]}


@operation("cloudwatch", "DeleteAlarms")
def delete_alarms(request: Request) -> Answer:
    names = request.parameters["AlarmNames"]
    composites = [name for name in names if request.account.of(COMPOSITES).pop(name, None)]
    return {} if composites else request.ask_moto()


@operation("cloudwatch", "ListTagsForResource")
def list_tags(request: Request) -> Answer:
    arn = request.parameters["ResourceARN"]
    if arn.rpartition(":")[2] not in request.account.of(COMPOSITES):
        return request.ask_moto()
    return dict(request.records("cloudwatch").tagger.list_tags_for_resource(arn))


@operation("logs", "PutQueryDefinition")
def put_query_definition(request: Request) -> Mapping[str, Any]:
    given = dict(request.parameters)
    id = given.setdefault("queryDefinitionId", str(uuid.uuid4()))
    request.account.of(QUERIES)[id] = {key: value for key, value in given.items() if key != "clientToken"}
    return {"queryDefinitionId": id}


@operation("logs", "DescribeQueryDefinitions")
def describe_query_definitions(request: Request) -> Mapping[str, Any]:
    prefix = request.parameters.get("queryDefinitionNamePrefix", "")
    kept = request.account.of(QUERIES).values()
    return {"queryDefinitions": [one for one in kept if one["name"].startswith(prefix)]}


@operation("logs", "DeleteQueryDefinition")
def delete_query_definition(request: Request) -> Mapping[str, Any]:
    return {"success": request.account.of(QUERIES).pop(request.parameters["queryDefinitionId"], None) is not None}
