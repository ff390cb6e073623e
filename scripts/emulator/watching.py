"""What LocalStack 4.9.2 measures and judges, with repairs: metrics, alarms and what becomes of log lines.

It keeps a metric as rows of a database that finds it under fewer dimensions, too, and knows no percentiles and no
metric math. Here it is scripts/cloudwatch, in memory, that keeps them; DescribeAlarms, notifications and the history
stay LocalStack's.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any

from localstack.aws.api import CommonServiceException  # type: ignore[import-not-found]
from localstack.aws.api.lambda_ import TooManyRequestsException  # type: ignore[import-not-found]
from localstack.aws.connect import connect_to  # type: ignore[import-not-found]
from localstack.services.apigateway.next_gen.execute_api.gateway import (  # type: ignore[import-not-found]
    RestApiGateway,
)
from localstack.services.apigateway.next_gen.execute_api.handlers.integration import (  # type: ignore[import-not-found]
    IntegrationHandler,
)
from localstack.services.cloudwatch import provider_v2  # type: ignore[import-not-found]
from localstack.services.cloudwatch.models import (  # type: ignore[import-not-found]
    LocalStackCompositeAlarm,
    cloudwatch_stores,
)
from localstack.services.cloudwatch.provider_v2 import CloudwatchProvider  # type: ignore[import-not-found]
from localstack.services.lambda_.invocation import version_manager  # type: ignore[import-not-found]
from localstack.services.lambda_.invocation.execution_environment import (  # type: ignore[import-not-found]
    ExecutionEnvironment,
)
from localstack.services.logs.models import get_moto_logs_backend  # type: ignore[import-not-found]
from localstack.services.logs.provider import LogsProvider  # type: ignore[import-not-found]
from localstack.services.moto import call_moto  # type: ignore[import-not-found]

from scripts.cloudwatch import alarms, api_gateway, emf, expressions, series
from scripts.cloudwatch.series import Datum, Metrics
from scripts.emulator import access_log

LOOK_SECONDS = 5
"""From one look at all alarms to the next. CloudWatch looks each minute."""

PATTERN = re.compile(r'{ \$\.(\w+) = "([^"\\]*)" }')
FUNCTION_LOG = "/aws/lambda/"
MOST_QUERIES = 500
MOST_POINTS = 100_800
STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
DAY_SECONDS, WEEK_SECONDS = 86400, 7 * 86400
LONG_PERIOD_SECONDS = 3600
ALL = "*/*"

LOG = logging.getLogger(__name__)

_kept: defaultdict[tuple[str, str], Metrics] = defaultdict(Metrics)
"""The metrics of each account and region."""


def keep_metrics_in_memory() -> None:
    """A metric is found under some of its dimensions, too, each value costs a commit, and p99 is not known."""

    def put_metric_data(_provider: Any, context: Any, namespace: str, metric_data: Any = None, **_given: Any) -> None:
        if namespace.startswith("AWS/") and not context.is_internal_call:  # LocalStack's own SQS sends its figures so
            raise _refused(f"The value {namespace} for parameter Namespace is invalid.")
        provider_v2._validate_parameters_for_put_metric_data(metric_data or [])
        _metrics(context).add(_datum(namespace, one) for one in metric_data or [])

    def get_metric_statistics(_provider: Any, context: Any, **given: Any) -> dict[str, Any]:
        key = expressions.key(
            {
                "Namespace": given["namespace"],
                "MetricName": given["metric_name"],
                "Dimensions": given.get("dimensions"),
            }
        )
        metrics, points = _metrics(context), defaultdict(dict)  # type: ignore[var-annotated]
        unit = metrics.unit(key)
        if given.get("unit") in (None, unit):
            begin, end = _minute(given["start_time"]), int(given["end_time"].timestamp())
            for name in [*(given.get("statistics") or ()), *(given.get("extended_statistics") or ())]:
                for moment, value in _asked(metrics.points, key, name, begin, end, given["period"]).items():
                    if name in STATISTICS:
                        points[moment][name] = value
                    else:
                        points[moment].setdefault("ExtendedStatistics", {})[name] = value
        data = [{"Timestamp": moment, "Unit": unit, **point} for moment, point in points.items()]
        return {"Datapoints": data, "Label": given["metric_name"]}

    def list_metrics(
        _provider: Any, context: Any, namespace: Any = None, metric_name: Any = None, dimensions: Any = None, **_: Any
    ) -> dict[str, Any]:
        def has(there: series.Dimensions, wanted: Any) -> bool:
            return any(name == wanted["Name"] and wanted.get("Value") in (None, value) for name, value in there)

        return {
            "Metrics": [
                {
                    "Namespace": space,
                    "MetricName": name,
                    "Dimensions": [{"Name": one, "Value": value} for one, value in there],
                }
                for space, name, there in _metrics(context).known()
                if namespace in (None, space)
                and metric_name in (None, name)
                and all(has(there, wanted) for wanted in dimensions or ())
            ]
        }

    CloudwatchProvider.put_metric_data = put_metric_data
    CloudwatchProvider.get_metric_statistics = get_metric_statistics
    CloudwatchProvider.list_metrics = list_metrics


def answer_metric_math() -> None:
    """GetMetricData fails on an expression and on a percentile."""

    def get_metric_data(
        _provider: Any,
        context: Any,
        metric_data_queries: Any,
        start_time: Any,
        end_time: Any,
        scan_by: str | None = None,
        max_datapoints: int | None = None,
        next_token: str | None = None,
        **_given: Any,
    ) -> dict[str, Any]:
        if len(metric_data_queries) > MOST_QUERIES:
            raise _refused(f"The collection MetricDataQueries must not have more than {MOST_QUERIES} members.")
        found = _asked(
            expressions.results,
            metric_data_queries,
            _metrics(context),
            _minute(start_time),
            int(end_time.timestamp()),
        )
        results, room, already_told = [], max_datapoints or MOST_POINTS, int(next_token or 0)
        told = already_told
        for query in metric_data_queries:
            if query.get("ReturnData", True):
                every = sorted(found[query["Id"]].items(), reverse=scan_by != "TimestampAscending")
                points = every[already_told:][:room]
                is_partial = len(points) < len(every[already_told:])
                already_told, room, told = max(already_told - len(every), 0), room - len(points), told + len(points)
                named = query["MetricStat"]["Metric"]["MetricName"] if "MetricStat" in query else query["Id"]
                results.append(
                    {
                        "Id": query["Id"],
                        "Label": query.get("Label") or named,
                        "StatusCode": "PartialData" if is_partial else "Complete",
                        "Timestamps": [moment for moment, _ in points],
                        "Values": [value for _, value in points],
                    }
                )
        is_whole = all(result["StatusCode"] == "Complete" for result in results)
        return {"MetricDataResults": results, "Messages": []} | ({} if is_whole else {"NextToken": str(told)})

    CloudwatchProvider.get_metric_data = get_metric_data


def judge_every_alarm() -> None:
    """Alarms on a percentile or on metric math are never judged, others only once in the time of all their periods."""

    def start(self: Any) -> None:
        self.alarm_scheduler = self.alarm_scheduler or Watch(self)

    CloudwatchProvider.start_alarm_scheduler = start


def refuse_alarms_that_cloudwatch_refuses() -> None:
    """An alarm is taken that CloudWatch would refuse: over too long a time, or with an expression that says nothing."""
    put_metric_alarm = CloudwatchProvider.put_metric_alarm

    @functools.wraps(put_metric_alarm)
    def checking(self: Any, context: Any, request: Any) -> None:
        watched = [query for query in request.get("Metrics") or () if query.get("ReturnData", True)]
        if request.get("Metrics") and len(watched) != 1:
            raise _refused("Exactly one element of the Metrics list should return data.")
        queries, _, period = alarms.asked(request)
        _asked(expressions.results, queries, Metrics(), 0, period, period)
        spans = period * request["EvaluationPeriods"]
        if spans > (DAY_SECONDS if period < LONG_PERIOD_SECONDS else WEEK_SECONDS):
            raise _refused(
                "Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400)."
            )
        put_metric_alarm(self, context, request)

    CloudwatchProvider.put_metric_alarm = checking


def judge_composite_alarms() -> None:
    """Of a composite alarm's rule only OR is known, it is judged only when a member changes, and any name will do."""
    put_composite_alarm = CloudwatchProvider.put_composite_alarm

    @functools.wraps(put_composite_alarm)
    def putting(self: Any, context: Any, request: Any) -> None:
        store = self.get_store(context.account_id, context.region)
        missing = [name for name in alarms.members(request["AlarmRule"]) if not _found(store, name)]
        if missing:
            names = ", ".join(missing)
            raise _refused(f"Could not save the composite alarm as alarms [{names}] in the alarm rule do not exist")
        _asked(alarms.holds, request["AlarmRule"], lambda _: alarms.OK)
        put_composite_alarm(self, context, request)

    def evaluate(self: Any, context: Any, composite: Any, _triggering: Any) -> None:
        store = self.get_store(context.account_id, context.region)
        rule, old = composite.alarm["AlarmRule"], composite.alarm["StateValue"]
        members = {name: _found(store, name) for name in alarms.members(rule)}
        if not all(members.values()):
            return  # they are being destroyed
        states = {name: member.alarm["StateValue"] for name, member in members.items()}
        if getattr(composite, "judged_by", None) == states:
            return  # one that was set by hand stays so until a member changes
        composite.judged_by = states
        judged = alarms.judge_composite(rule, states)
        if judged.state == old:
            return
        changed = max(members.values(), key=lambda member: member.alarm["StateTransitionedTimestamp"])
        about = {"triggeringAlarms": [{"arn": changed.alarm["AlarmArn"]}]}
        self._update_state(context, composite, judged.state, judged.reason, about)
        if composite.alarm["ActionsEnabled"]:
            self._run_composite_alarm_actions(context, composite, old, changed)

    CloudwatchProvider.put_composite_alarm = putting
    CloudwatchProvider._evaluate_composite_alarm = evaluate
    CloudwatchProvider._validate_alarm_rule_expression = lambda _self, _rule: []


def tell_composite_alarms_only_if_asked() -> None:
    """DescribeAlarms ignores AlarmTypes; without it, CloudWatch tells of metric alarms only."""
    describe_alarms = CloudwatchProvider.describe_alarms

    def describing(self: Any, context: Any, alarm_types: Any = None, **given: Any) -> Any:
        found = describe_alarms(self, context, **given)
        wanted = alarm_types or ["MetricAlarm"]
        return {
            kind: found[kind] if kind.removesuffix("s") in wanted else []
            for kind in ("CompositeAlarms", "MetricAlarms")
        }

    CloudwatchProvider.describe_alarms = describing


def make_metrics_of_log_lines() -> None:
    """Metric filters count every line of every group, and EMF lines become no metrics. Of patterns this knows ours."""

    def put_log_events(_provider: Any, context: Any, **_given: Any) -> Any:
        request = context.service_request
        response = call_moto(context)  # first: it may refuse, and whoever has no stream yet comes again
        group = request["logGroupName"]
        filters = get_moto_logs_backend(context.account_id, context.region).filters
        found = filters.get_matching_filters(log_group_name=group)
        if found or group.startswith(FUNCTION_LOG):
            _metrics(context).add(
                datum
                for line in request["logEvents"]
                for datum in _of_line(line, found, group.startswith(FUNCTION_LOG))
            )
        return response

    LogsProvider.put_log_events = put_log_events


def keep_saved_queries() -> None:
    """The saved queries of Logs Insights cannot be kept at all."""
    kept: defaultdict[tuple[str, str], dict[str, dict[str, Any]]] = defaultdict(dict)

    def put_query_definition(
        _provider: Any, context: Any, name: str, query_string: str, query_definition_id: Any = None, **given: Any
    ) -> dict[str, Any]:
        identity = query_definition_id or str(uuid.uuid4())
        kept[context.account_id, context.region][identity] = {
            "queryDefinitionId": identity,
            "name": name,
            "queryString": query_string,
            "logGroupNames": given.get("log_group_names") or [],
            "lastModified": int(time.time() * 1000),
        }
        return {"queryDefinitionId": identity}

    def describe_query_definitions(
        _provider: Any, context: Any, query_definition_name_prefix: str | None = None, **_given: Any
    ) -> dict[str, Any]:
        found = kept[context.account_id, context.region].values()
        return {
            "queryDefinitions": [one for one in found if one["name"].startswith(query_definition_name_prefix or "")]
        }

    def delete_query_definition(
        _provider: Any, context: Any, query_definition_id: str, **_given: Any
    ) -> dict[str, Any]:
        return {"success": kept[context.account_id, context.region].pop(query_definition_id, None) is not None}

    LogsProvider.put_query_definition = put_query_definition
    LogsProvider.describe_query_definitions = describe_query_definitions
    LogsProvider.delete_query_definition = delete_query_definition


def measure_requests() -> None:
    """API Gateway has no metrics at all, and writes no access log."""
    process = RestApiGateway.process_with_context
    integrate = IntegrationHandler.__call__

    def integrating(self: Any, chain: Any, context: Any, response: Any) -> None:
        began = time.monotonic()
        try:
            integrate(self, chain, context, response)
        finally:
            context.integration_milliseconds = (time.monotonic() - began) * 1000

    def processing(self: Any, context: Any, response: Any) -> None:
        began = time.monotonic()
        process(self, context, response)
        if not (context.deployment and context.stage_configuration):
            return
        settings = (context.stage_configuration.get("methodSettings") or {}).get(ALL, {})
        is_detailed = bool(context.resource and settings.get("metricsEnabled"))
        milliseconds = (time.monotonic() - began) * 1000
        waited = getattr(context, "integration_milliseconds", None)
        _metrics(context).add(
            api_gateway.measured(
                context.deployment.rest_api.rest_api["name"],
                context.stage,
                (str(context.invocation_request["http_method"]), context.resource["path"]) if is_detailed else None,
                int(time.time()),
                status=response.status_code,
                milliseconds=milliseconds,
                integration_milliseconds=waited,
            )
        )
        access_log.write(context, response, milliseconds, waited)

    IntegrationHandler.__call__ = integrating
    RestApiGateway.process_with_context = processing


def measure_calls_of_functions() -> None:
    """Of Lambda's metrics there are only Invocations and Errors, without an alias; Duration and Throttles are not."""
    invoke, run = version_manager.LambdaVersionManager.invoke, ExecutionEnvironment.invoke
    at_once: Counter[str] = Counter()
    counting = threading.Lock()

    def invoking(self: Any, *, invocation: Any) -> Any:
        identity = self.function_version.id
        name = identity.function_name
        metrics = _kept[identity.account, identity.region]
        figures = {"Throttles": (0.0, "Count")}
        with counting:
            at_once[name] += 1
            figures["ConcurrentExecutions"] = (float(at_once[name]), "Count")
        try:
            result = invoke(self, invocation=invocation)
            figures |= {"Invocations": (1.0, "Count"), "Errors": (float(result.is_error), "Count")}
            return result
        except TooManyRequestsException:
            figures = {"Throttles": (1.0, "Count")}
            raise
        finally:
            with counting:
                at_once[name] -= 1
            _measure(metrics, _callers(name, invocation), figures)

    def running(self: Any, invocation: Any) -> Any:
        began = time.monotonic()
        try:
            return run(self, invocation)
        finally:
            identity = self.function_version.id
            took = {"Duration": ((time.monotonic() - began) * 1000, "Milliseconds")}
            callers = _callers(identity.function_name, invocation)
            _measure(_kept[identity.account, identity.region], callers, took)

    version_manager.LambdaVersionManager.invoke = invoking
    ExecutionEnvironment.invoke = running
    version_manager.record_cw_metric_error = version_manager.record_cw_metric_invocation = lambda **_: None


REPAIRS: tuple[Callable[[], None], ...] = (
    keep_metrics_in_memory,
    answer_metric_math,
    judge_every_alarm,
    refuse_alarms_that_cloudwatch_refuses,
    judge_composite_alarms,
    tell_composite_alarms_only_if_asked,
    make_metrics_of_log_lines,
    keep_saved_queries,
    measure_requests,
    measure_calls_of_functions,
)


class Watch:
    """Judges every alarm every few seconds. Its methods are those of LocalStack's scheduler, whose place it takes."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="alarms", daemon=True)
        self._thread.start()

    def schedule_metric_alarm(self, alarm_arn: str) -> None:
        """Nothing to do: the next look finds it."""

    def delete_scheduler_for_alarm(self, alarm_arn: str) -> None:
        """Nothing to do: the next look does not find it."""

    def restart_existing_alarms(self) -> None:
        """Nothing to do."""

    def shutdown_scheduler(self) -> None:
        """Ends the looks."""
        self._ended.set()
        self._thread.join(LOOK_SECONDS)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            for account, regions in list(cloudwatch_stores.items()):
                for region, store in list(regions.items()):
                    try:
                        _judge_all(self._provider, account, region, store)
                    except Exception:
                        LOG.exception("The alarms of %s could not be judged", region)


def _judge_all(provider: Any, account: str, region: str, store: Any) -> None:
    """Sets every alarm of a region to what it should be, by SetAlarmState, which tells whom it should tell."""
    now = time.time()
    client = connect_to(aws_access_key_id=account, region_name=region).cloudwatch
    composites = []
    for kept in list(store.alarms.values()):
        alarm = kept.alarm
        if isinstance(kept, LocalStackCompositeAlarm):
            composites.append(kept)
            continue
        judged = alarms.judge(alarm, _kept[account, region], now)
        if judged and judged.state != alarm["StateValue"]:
            client.set_alarm_state(
                AlarmName=alarm["AlarmName"],
                StateValue=judged.state,
                StateReason=judged.reason,
                StateReasonData=json.dumps({"version": "1.0", "recentDatapoints": judged.values}),
            )
    context = SimpleNamespace(account_id=account, region=region)
    for composite in composites:
        provider._evaluate_composite_alarm(context, composite, None)


def _found(store: Any, name: str) -> Any:
    """An alarm by its name or ARN; None if there is none."""
    return next(
        (kept for arn, kept in store.alarms.items() if name in (arn, kept.alarm["AlarmName"])),
        None,
    )


def _metrics(context: Any) -> Metrics:
    return _kept[context.account_id, context.region]


def _measure(metrics: Metrics, dimensions: list[dict[str, str]], figures: dict[str, tuple[float, str]]) -> None:
    seconds = int(time.time())
    metrics.add(
        Datum("AWS/Lambda", name, tuple(sorted(chosen.items())), seconds, {value: 1}, unit)
        for chosen in dimensions
        for name, (value, unit) in figures.items()
    )


def _callers(name: str, invocation: Any) -> list[dict[str, str]]:
    """By what Lambda counts a call: its function and, if it came through one, its alias or version."""
    by_function = {"FunctionName": name}
    qualifier = invocation.invoked_arn.partition(f":function:{name}")[2].removeprefix(":")
    return [by_function, by_function | {"Resource": f"{name}:{qualifier}"}] if qualifier else [by_function]


def _of_line(line: Any, filters: Any, is_functions: bool) -> Iterator[Datum]:
    """What a log line becomes by metric filters and, if a function wrote it, as EMF."""
    try:
        event = json.loads(line["message"])
    except ValueError:
        return
    now = time.time()
    for found in filters:
        for change in found["metricTransformations"]:
            figure = _counted(found["filterPattern"], change["metricValue"], event)
            if figure is not None:
                seconds = line["timestamp"] // 1000
                yield Datum(
                    change["metricNamespace"],
                    change["metricName"],
                    (),
                    seconds,
                    {figure: 1},
                    change.get("unit") or "None",
                )
    if is_functions:
        yield from emf.of(event, now)


def _counted(pattern: str, value: str, event: Any) -> float | None:
    """What a metric filter makes of a line; None if it does not match."""
    matched = PATTERN.fullmatch(pattern)
    if not matched or not isinstance(event, dict) or not fnmatchcase(str(event.get(matched[1])), matched[2]):
        return None
    figure = event.get(value.removeprefix("$.")) if value.startswith("$.") else value
    return None if figure is None else float(figure)


def _datum(namespace: str, given: Any) -> Datum:
    """What PutMetricData gives. A set of statistics becomes values that have the same ones, but for percentiles."""
    if summed := given.get("StatisticValues"):
        low, high, count = summed["Minimum"], summed["Maximum"], summed["SampleCount"]
        counts: Counter[float] = Counter({low: 1})
        counts[high] += min(count - 1, 1)
        if count > len((low, high)):
            counts[(summed["Sum"] - low - high) / (count - 2)] += count - 2
    elif values := given.get("Values"):
        counts = Counter()
        for value, count in zip(values, given.get("Counts") or [1] * len(values), strict=True):
            counts[value] += count
    else:
        counts = Counter({given["Value"]: 1})
    dimensions = tuple(sorted((one["Name"], one["Value"]) for one in given.get("Dimensions") or ()))
    moment = given["Timestamp"].timestamp() if given.get("Timestamp") else time.time()
    return Datum(namespace, given["MetricName"], dimensions, int(moment), counts, given.get("Unit") or "None")


def _minute(moment: Any) -> int:
    """The whole minute in which CloudWatch begins a range."""
    return int(moment.timestamp()) // 60 * 60


def _asked(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function answers, or CloudWatch's refusal of what it cannot read."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise _refused(str(error)) from None


def _refused(message: str) -> CommonServiceException:
    return CommonServiceException("ValidationError", message, 400, True)
