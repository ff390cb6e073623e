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

from scripts import signals
from scripts.aws import accounts, infrastructure
from scripts.local import api as local_api
from scripts.local import keys
from scripts.refusal import Refusal
from shared import clock, tokens
from shared.problems import Unavailable

LONGEST_DAYS = 366


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a token."""
    options = _options(arguments)
    try:
        scope, days = _checked(options)
        key, issuer = _on_aws(options.env) if options.env else _here()
        made = tokens.issue(key, issuer, subject=options.name, scope=scope, seconds=days * 86_400)
    except Unavailable:
        return _failed("KMS does not answer, or asks to wait: try again.")
    except Refusal as error:
        return _failed(str(error))
    facts = {"tokenId": made.token_id, "issuer": issuer, "scope": scope, "subject": options.name}
    facts["expiresAt"] = clock.text(made.expires * 1000)
    if options.json:
        print(json.dumps({"token": made.token, **facts}, indent=2))
    else:
        print(f"{scope} {options.name} of {issuer}, until {facts['expiresAt']}.", file=sys.stderr)
        print(f"To refuse it before that, keep its id: {made.token_id}", file=sys.stderr)
        print(made.token)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    def told(name: str) -> str:
        return os.environ.get(name, "").strip()

    parser = argparse.ArgumentParser(prog="python -m scripts.tokens", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--env", default=told("ENV"), help="the environment on AWS; without it, `make run` (ENV)")
    parser.add_argument("--scope", default=told("SCOPE"), help="server, admin or player (SCOPE)")
    parser.add_argument("--name", default=told("NAME"), help="whose it is; a player's userId (NAME)")
    parser.add_argument("--days", default=told("DAYS") or "90", help="how long it is good (DAYS, %(default)s)")
    parser.add_argument("--json", action="store_true", default=told("JSON") not in ("", "0"), help="as JSON (JSON=1)")
    return parser.parse_args(arguments)


def _checked(options: argparse.Namespace) -> tuple[tokens.Scope, int]:
    """Scope and days, if all that was asked for makes sense. Raises Refusal."""
    scopes: dict[str, tokens.Scope] = {scope: scope for scope in tokens.SCOPES}
    if options.scope not in scopes:
        raise Refusal("Say for whom: make token SCOPE=server NAME=backend (or SCOPE=admin, or SCOPE=player)")
    if not tokens.is_name(options.name):
        raise Refusal("Say whose it is, without spaces and without an e-mail address: NAME=backend")
    if not (options.days.isascii() and options.days.isdigit() and 1 <= int(options.days) <= LONGEST_DAYS):
        raise Refusal(f"DAYS is {options.days!r}: it should be from 1 to {LONGEST_DAYS}")
    return scopes[options.scope], int(options.days)


def _here() -> tuple[tokens.Key, str]:
    path = keys.key_file(local_api.DATA)
    if not path.exists():
        raise Refusal("There is no key here yet: ACCESS=protected make run makes one. ENV=dev asks AWS for a token")
    return tokens.file_key(str(path)), keys.ISSUER


def _on_aws(environment: str) -> tuple[tokens.Key, str]:
    """The key that an environment's own function signs with. Raises Refusal."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped] # noqa: PLC0415

    name, region = infrastructure.function_name(environment, "issue_token"), infrastructure.region(environment)
    aws = accounts.clients(region)
    try:
        variables = aws("lambda").get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    except (BotoCoreError, ClientError) as error:
        raise Refusal(f"{name} in {region} cannot be looked at: {accounts.code_of(error)}") from None
    if not variables.get("TOKEN_KEY"):
        raise Refusal(f'{environment} has no key for tokens: it takes access = "protected" in its file, and an apply')
    key = tokens.kms_key(variables["TOKEN_KEY"], lambda: aws("kms"))

    def sign(digest: bytes) -> bytes:
        try:
            return key.sign(digest)
        except ClientError as error:
            code = accounts.code_of(error)
            raise Refusal(f"The key of {environment} does not sign for you ({code}): you need kms:Sign") from None

    return tokens.Key(key.kid, sign), variables["TOKEN_ISSUER"]


def _failed(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


if __name__ == "__main__":
    signals.interrupt_once()
    signals.leave(main())
