"""GET /leaderboard - a page of the board, best first."""

from shared import board, fields
from shared.config import LARGEST_SCORE
from shared.endpoint import Reply, endpoint
from shared.store import store


class Arguments(fields.Arguments):
    limit = fields.WholeText(1, 100, load_default=10)
    offset = fields.WholeText(0, LARGEST_SCORE, load_default=0)


@endpoint(Arguments, kind="read")
def handler(limit: int, offset: int) -> Reply:
    return 200, board.top(store(), limit, offset)
