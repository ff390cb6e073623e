"""Acts: what somebody does to a player's account, with a line in the log before it and a line after it.

These lines are the audit: the functions that write them have log groups of their own, which nothing else that players
do fills. A line tells who did what to whom and why, and what changed in numbers and flags: never a name, an e-mail
address or anything else that is the player's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Literal, TypedDict, get_args

from shared import logs, problems
from shared.access import Caller

Act = Literal["amend", "export", "erase", "hide", "unhide", "correct"]

ACTS = get_args(Act)

Facts = Mapping[str, int | bool | None]
"""Numbers and flags, by name."""


class Done(TypedDict, total=False):
    """What an act has done: what was before it and what is after it; `replayed` if it had been done earlier."""

    before: Facts
    after: Facts
    replayed: bool


@contextlib.contextmanager
def recorded(act: Act, caller: Caller, user_id: str, reason: str | None = None) -> Iterator[Done]:
    """Stands around an act, which says what it has done.

    There is no act without its first line: if that cannot be written, nothing is done. The second has the outcome as a
    request's line has it. One that is missing means that nobody has seen the end.
    """
    facts = {
        "event": "audit",
        "act": act,
        "userId": user_id,
        "issuer": caller.issuer,
        "subject": caller.subject.partition("@")[0],  # some identity providers call people by their address
        "scope": caller.scope,
        "tokenId": caller.token_id or None,
        "reason": reason,
    }
    logs.write("INFO", "act began", **facts)
    done: Done = {}
    ended: dict[str, object] = {"code": problems.InternalError.code, "outcome": "failed"}
    try:
        yield done
        ended = {"code": None, "outcome": "replayed" if done.get("replayed") else "ok"}
    except problems.Problem as problem:
        ended = {"code": problem.code, "outcome": problems.outcome(problem.status, problem.code)}
        raise
    finally:
        changed = {"before": done.get("before"), "after": done.get("after")}
        logs.write("INFO", "act ended", **facts, **changed, **ended)
