"""`make admin`: what people do about a player - find, show, hide, unhide, correct, rename, export, erase - and who did
what, of `make run`, `make emulate` (ENV=local) or an environment on AWS (ENV=prod).

It asks the API as an administrator, with a token that it makes for itself for a quarter of an hour, or with TOKEN. What
it does may be done again: after a time-out, give the same command again.
Exit status: 0 it is done, 1 the API refuses or nobody is found, 2 it cannot run, 130 stopped. make turns each of these
but 0 into 2.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts import signals
from scripts import tokens as makers
from scripts.admin import players, sites, trail
from scripts.admin.players import RefusedError, answered, target
from scripts.admin.sites import Site
from scripts.aws import endings
from scripts.refusal import Refusal
from shared import config
from shared.problems import Unavailable

REFUSED = 1

Told = tuple[Any, str]
"""What was done, for programs and for people."""


def find(site: Site, options: argparse.Namespace) -> Told:
    """A player by id, or players by a part of their name."""
    if options.name:
        found = players.named(site.api, options.user_id, options.most)
    else:
        reply = site.api.read(target(options.user_id))
        if reply.code == players.GONE:
            raise RefusedError(
                f"Nobody has the id {options.user_id}. To look for a name: find --name {shlex.quote(options.user_id)}"
            )
        found = [players.show(site.api, options.user_id)]
    if not found:
        raise RefusedError(f"Nobody on the board has {options.user_id!r} in the name. Who is hidden is not on it.")
    return found, "\n".join(f"{one['userId']}  {one['username']}  {_place(one)}" for one in found)


def show(site: Site, options: argparse.Namespace) -> Told:
    """A player as everybody sees them, and whether they are hidden."""
    player = players.show(site.api, options.user_id)
    return player, "\n".join(f"{name}: {_shown(value)}" for name, value in player.items())


def hide(site: Site, options: argparse.Namespace) -> Told:
    """A player goes off the board and out of the totals."""
    return _set_hidden(site, options, hidden=True)


def unhide(site: Site, options: argparse.Namespace) -> Told:
    """A player is shown again."""
    return _set_hidden(site, options, hidden=False)


def _set_hidden(site: Site, options: argparse.Namespace, *, hidden: bool) -> Told:
    body = {"hidden": hidden, "reason": options.reason, "recount": options.recount}
    told = answered(site.api.act("PUT", target(options.user_id, "/visibility"), body))["visibility"]
    now, before = ("hidden" if each else "shown" for each in (told["hidden"], told["wasHidden"]))
    return told, f"{options.user_id} is {now}" + (" now." if now != before else ", as before: nothing was changed.")


def correct(site: Site, options: argparse.Namespace) -> Told:
    """A player's score, and perhaps the best score, is what it should be."""
    best = {} if options.best is None else {"bestScore": options.best}
    key = options.key or str(uuid.uuid4())
    body = {"score": options.score, **best, "reason": options.reason}
    reply = site.api.act("POST", target(options.user_id, "/corrections"), body, key)
    try:
        told = answered(reply)["correction"]
    except RefusedError as error:
        raise RefusedError(f"{error} With --key {key} it cannot be done twice.") from None
    rank = f"rank {told['rank']}" if told["rank"] else "hidden"
    return told, f"{options.user_id} has {told['score']:,} instead of {told['previousScore']:,} ({rank})."


def rename(site: Site, options: argparse.Namespace) -> Told:
    """A player gets another name."""
    told = answered(site.api.act("PATCH", target(options.user_id), {"username": options.username}))["user"]
    return told, f"{options.user_id} is called {told['username']} now."


def export(site: Site, options: argparse.Namespace) -> Told:
    """Everything that is held about a player, but for the e-mail address, which servers and the player alone get."""
    told = answered(site.api.act("GET", target(options.user_id, "/export")))["export"]
    return told, json.dumps(told, indent=2, ensure_ascii=False)


def erase(site: Site, options: argparse.Namespace) -> Told:
    """A player is erased, once the id is typed."""
    if not options.yes:
        _ask_before_erasing(site, options.user_id)
    reply = site.api.act("DELETE", target(options.user_id))
    if not (reply.code == players.GONE and reply.tries > 1):  # gone by a try whose answer was lost
        answered(reply)
    return {"userId": options.user_id, "erased": True}, f"{options.user_id} is erased."


def _ask_before_erasing(site: Site, user_id: str) -> None:
    """Raises Refusal unless somebody at a terminal types the id."""
    if not sys.stdin.isatty():
        raise Refusal("Erasing cannot be undone, and nobody is here to ask: say --yes.")
    player = players.show(site.api, user_id)
    print(
        f"This erases {user_id} ({player['username']}, score {player['score']:,}) of {site.name} for ever.\n"
        f"Type {user_id} to go on: ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    typed = sys.stdin.readline().strip()
    if typed != user_id:
        raise Refusal(f"Nothing was changed: that was {typed!r}, and not {user_id!r}.")


def token(site: Site, options: argparse.Namespace) -> Told:
    """A token for a server or a person."""
    wanted = options.scope, options.name, options.days
    makers.check(*wanted)
    made, facts = makers.make(site.signer(), *wanted)
    print(f"Until {facts['expiresAt']}. To refuse it before that, keep its id: {facts['tokenId']}", file=sys.stderr)
    return {"token": made, **facts}, made


def audit(site: Site, options: argparse.Namespace) -> Told:
    """Who did what, when and why."""
    lines = sites.in_a_file(options.log) if options.log else site.audit
    found = trail.entries(lines(time.time() - options.hours * 3600), options.user_id)
    return found, trail.table(found) or f"Nobody has done anything in the last {options.hours:g} hours."


def _place(player: Mapping[str, Any]) -> str:
    return f"rank {player['rank']:,}, score {player['score']:,}" if player["rank"] else "hidden"


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make admin", description="ARGS=… is one of these.")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(work: Callable[[Site, argparse.Namespace], Told], about: str = "") -> argparse.ArgumentParser:
        text = (work.__doc__ or "").strip()
        made = commands.add_parser(work.__name__, help=text, description=text)
        made.set_defaults(work=work)
        made.add_argument("--json", action="store_true", help="for programs")
        if about:
            made.add_argument("user_id", metavar=about)
        return made

    found = command(find, "ID-OR-NAME")
    found.add_argument("--name", action="store_true", help="look for a part of a name: reads the whole board")
    found.add_argument("--most", type=int, default=20, help="so many players of that name at most (%(default)s)")
    command(show, "ID")
    for work in (hide, unhide):
        changed = command(work, "ID")
        changed.add_argument(
            "--recount", action="store_true", help="put highScore right at once, not with the next sweep"
        )
        _add_reason(changed)
    corrected = command(correct, "ID")
    corrected.add_argument("score", type=int)
    corrected.add_argument("--best", type=int, help="the best score; without it, it stays or becomes the score")
    corrected.add_argument("--key", help="the Idempotency-Key of a try whose end nobody knows")
    _add_reason(corrected)
    command(rename, "ID").add_argument("username")
    command(export, "ID")
    command(erase, "ID").add_argument("--yes", action="store_true", help="do not ask")
    made = command(token)
    made.add_argument("--scope", default="admin", help="server, admin or player (%(default)s)")
    made.add_argument("--name", required=True, help="whose it is; a player's userId")
    made.add_argument("--days", default="1", help="how long it is good (%(default)s)")
    told = command(audit)
    told.add_argument("user_id", metavar="ID", nargs="?", help="only what was done to this player")
    told.add_argument("--hours", type=float, default=24.0, help="how far back (%(default)s)")
    told.add_argument("--log", type=Path, help="read this file, which `make run | tee file` wrote")
    return parser.parse_args(arguments)


def _add_reason(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", required=True, help="why: it stands in the log as it is, so name nobody in it")


def main(arguments: Sequence[str] | None = None) -> int:
    """Does one thing, and returns the exit status."""
    options = _options(arguments)

    def work() -> int:
        try:
            facts, text = options.work(sites.find(os.environ), options)
        except RefusedError as error:
            print(error, file=sys.stderr)
            return REFUSED
        except config.MisconfiguredError as error:
            raise Refusal(str(error)) from None
        except Unavailable:
            raise Refusal("KMS does not answer, or asks to wait: try again.") from None
        print(json.dumps(facts, indent=2, ensure_ascii=False) if options.json else text)
        return 0

    return endings.status(work, stopped="Stopped. What had been asked for by then may be done: look, or ask again.")


if __name__ == "__main__":
    signals.interrupt_once()
    signals.leave(main())
