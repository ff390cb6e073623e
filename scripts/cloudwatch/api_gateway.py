"""What API Gateway measures of a request, under AWS's names: by API, by stage and, where that is wanted, by method."""

from __future__ import annotations

from scripts.cloudwatch.series import Datum

UNITS = {
    "Count": "Count",
    "4XXError": "Count",
    "5XXError": "Count",
    "Latency": "Milliseconds",
    "IntegrationLatency": "Milliseconds",
}


def measured(
    api: str,
    stage: str,
    method: tuple[str, str] | None,
    seconds: int,
    *,
    status: int,
    milliseconds: float,
    integration_milliseconds: float | None,
) -> list[Datum]:
    """A request's figures at a time, in seconds. `method` is its HTTP method and the path of its resource, None where
    neither is counted; a request for which no integration was asked has no IntegrationLatency."""
    figures = {
        "Count": 1,
        "4XXError": int(400 <= status < 500),
        "5XXError": int(status >= 500),
        "Latency": milliseconds,
    }
    if integration_milliseconds is not None:
        figures["IntegrationLatency"] = integration_milliseconds
    by_stage = (("ApiName", api), ("Stage", stage))
    counted_by: list[tuple[tuple[str, str], ...]] = [by_stage[:1], by_stage]
    if method:
        counted_by.append((by_stage[0], ("Method", method[0]), ("Resource", method[1]), by_stage[1]))
    return [
        Datum("AWS/ApiGateway", name, dimensions, seconds, {value: 1}, UNITS[name])
        for dimensions in counted_by
        for name, value in figures.items()
    ]
