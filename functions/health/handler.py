"""GET and HEAD /health - whether the system can do its work; needs no API key."""

from shared import fields, health
from shared.endpoint import Reply, endpoint
from shared.store import store


@endpoint(fields.Arguments)
def handler() -> Reply:
    return health.report(store())
