"""GET /stats - the whole game in five numbers."""

from shared import fields, statistics
from shared.endpoint import Reply, endpoint
from shared.store import store


@endpoint(fields.Arguments, kind="read")
def handler() -> Reply:
    return 200, {"stats": statistics.read(store())}
