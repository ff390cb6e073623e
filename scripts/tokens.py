"""`make token`: a token for a server or a person, signed by the key of an environment on AWS, or by that of `make run`.

Whoever may call kms:Sign with the environment's key can make one: IAM says who. It is stored nowhere. The token alone
goes to standard output; its id, by which it can be refused before it ends, and when that is, to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from scripts import signals
from scripts.aws import accounts, infrastructure
from scripts.emulator import drill
from scripts.local import api as local_api
from scripts.local import keys
from scripts.refusal import Refusal
from shared import clock, tokens
from shared.problems import Unavailable

LONGEST_DAYS = {"player": tokens.LONGEST_PLAYER_SECONDS // 86_400, "server": 366, "admin": 366}
USUAL_DAYS = 90
"""Unless that is too long for the scope."""

Signer = tuple[tokens.Key, str]
"""A key to sign tokens with, and who issues them with it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a token."""
    options = _options(arguments)
    try:
        wanted = options.scope, options.name, options.days or usual_days(options.scope)
        check(*wanted)
        token, facts = make(_signer(options.env), *wanted)
    except Unavailable:
        return _failed("KMS does not answer, or asks to wait: try again.")
    except Refusal as error:
        return _failed(str(error))
    if options.json:
        print(json.dumps({"token": token, **facts}, indent=2))
    else:
        print(f"{facts['scope']} {facts['subject']} of {facts['issuer']}, until {facts['expiresAt']}.", file=sys.stderr)
        print(f"To refuse it before that, keep its id: {facts['tokenId']}", file=sys.stderr)
        print(token)
    return 0


def check(scope: str, name: str, days: str) -> None:
    """Raises Refusal, which says what is wrong, unless there could be such a token."""
    if scope not in tokens.SCOPES:
        raise Refusal("Say for whom: make token SCOPE=server NAME=backend (or SCOPE=admin, or SCOPE=player)")
    if not tokens.is_name(name):
        raise Refusal("Say whose it is, without spaces and without an e-mail address: NAME=backend")
    longest = LONGEST_DAYS[scope]
    if not (days.isascii() and days.isdigit() and 1 <= int(days) <= longest):
        allowed = "1" if longest == 1 else f"from 1 to {longest}"
        raise Refusal(f"DAYS is {days!r}: it should be {allowed} for the scope {scope}")


def usual_days(scope: str) -> str:
    """How long a token of this scope is good if nobody says."""
    return str(min(USUAL_DAYS, LONGEST_DAYS.get(scope, USUAL_DAYS)))


def make(signer: Signer, scope: Any, name: str, days: str) -> tuple[str, dict[str, str]]:
    """A token of what `check` has let pass, and what may be told of it. Raises Refusal, and Unavailable of KMS."""
    key, issuer = signer
    made = tokens.issue(key, issuer, subject=name, scope=scope, seconds=int(days) * 86_400)
    ends = clock.text(made.expires * 1000)
    facts = {"tokenId": made.token_id, "issuer": issuer, "scope": scope, "subject": name, "expiresAt": ends}
    return made.token, facts


def here() -> Signer:
    """The key of `make run`. Raises Refusal."""
    path = keys.key_file(local_api.DATA)
    if not path.exists():
        raise Refusal("There is no key here yet: ACCESS=protected make run makes one. ENV=dev asks AWS for a token")
    return tokens.file_key(str(path)), keys.ISSUER


def on_aws(aws: accounts.Aws, function: str) -> Signer:
    """The key with which a deployed function of this name issues tokens. Raises Refusal, and so does signing."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped] # noqa: PLC0415

    try:
        environment = aws("lambda").get_function_configuration(FunctionName=function).get("Environment", {})
    except (BotoCoreError, ClientError) as error:
        raise Refusal(f"{function} cannot be looked at: {accounts.code_of(error)}") from None
    if "Error" in environment:  # that is how Lambda says that its caller may not decrypt them
        code = environment["Error"].get("ErrorCode")
        raise Refusal(f"The settings of {function} cannot be read ({code}): you need kms:Decrypt with their key")
    variables = environment.get("Variables", {})
    if not variables.get("TOKEN_KEY"):
        raise Refusal(f"{function} has no key for tokens yet: apply this version of terraform/ first")
    key = tokens.kms_key(variables["TOKEN_KEY"], lambda: aws("kms"))

    def sign(text: bytes) -> bytes:
        try:
            return key.sign(text)
        except ClientError as error:
            code = accounts.code_of(error)
            raise Refusal(f"The key {key.kid} does not sign for you ({code}): you need kms:Sign") from None

    return tokens.Key(key.kid, sign), variables["TOKEN_ISSUER"]


def _signer(environment: str) -> Signer:
    """The key of an environment: of `make run` without one, of `make emulate` for the emulated one, else on AWS."""
    if not environment:
        return here()
    function = infrastructure.function_name(environment, "issue_token")
    if environment == infrastructure.EMULATED:
        return on_aws(drill.site().aws, function)
    return on_aws(accounts.clients(infrastructure.region(environment)), function)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    def told(name: str) -> str:
        return os.environ.get(name, "").strip()

    parser = argparse.ArgumentParser(prog="python -m scripts.tokens", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--env", default=told("ENV"), help="the environment on AWS; without it, `make run` (ENV)")
    parser.add_argument("--scope", default=told("SCOPE"), help="server, admin or player (SCOPE)")
    parser.add_argument("--name", default=told("NAME"), help="whose it is; a player's userId (NAME)")
    parser.add_argument("--days", default=told("DAYS"), help="how long it is good (DAYS; 90, for a player 1)")
    parser.add_argument("--json", action="store_true", default=told("JSON") not in ("", "0"), help="as JSON (JSON=1)")
    return parser.parse_args(arguments)


def _failed(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


if __name__ == "__main__":
    signals.interrupt_once()
    signals.leave(main())
