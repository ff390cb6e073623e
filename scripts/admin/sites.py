"""Where an administrator's commands go: the API of `make run`, of `make emulate` or of an environment on AWS, with a
token for it and the log that keeps what was done."""

from __future__ import annotations

import functools
import getpass
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts import tokens as makers
from scripts.admin import trail
from scripts.admin.asking import Api
from scripts.aws import accounts, infrastructure
from scripts.aws.accounts import Aws
from scripts.emulator import drill
from scripts.local import gateway
from scripts.refusal import Refusal
from shared import tokens

TOKEN_SECONDS = 900
"""How long the token is good that a command makes for itself."""

NOBODY = re.compile(r"[^A-Za-z0-9._-]+")
"""What a token's holder cannot be called."""


@dataclass(frozen=True)
class Site:
    """A deployment: its API, and the lines of its audit."""

    name: str
    api: Api
    audit: trail.Lines
    signer: Callable[[], makers.Signer]
    """The key that signs tokens there, and who issues them with it."""


def find(environ: Mapping[str, str]) -> Site:
    """The deployment that the environment's variables name. Raises Refusal.

    ENV=local is `make emulate`, any other ENV one on AWS. Without ENV it is BASE_URL, or else `make run` on PORT.
    """
    environment = environ.get("ENV", "").strip()
    if environment == infrastructure.EMULATED:
        return _emulated(environ)
    return _on_aws(environment, environ) if environment else _local(environ)


def _local(environ: Mapping[str, str]) -> Site:
    base_url = environ.get("BASE_URL", "").strip().rstrip("/")
    is_ours = not base_url
    base_url = base_url or f"http://{gateway.HOST}:{gateway.port(environ)}"
    signer = makers.here if is_ours else functools.partial(_no_key, base_url)
    return _site(base_url, base_url, environ.get("API_KEY", ""), environ, signer, getpass.getuser, _no_log)


def _emulated(environ: Mapping[str, str]) -> Site:
    here = drill.site()
    functions = {key: f"{here.name}-{key.replace('_', '-')}" for key in ("issue_token", *trail.FUNCTIONS)}
    facts = here.facts
    return deployed(here.name, here.aws, functions, facts.base_url, facts.api_key, environ)


def _on_aws(environment: str, environ: Mapping[str, str]) -> Site:
    outputs = infrastructure.outputs(environment)
    if not outputs.get("api_url"):
        raise Refusal(f"{environment} has not been applied: run make apply ENV={environment} first.")
    aws = accounts.clients(infrastructure.region(environment))
    keys: Mapping[str, str] = outputs["api_key_values"]
    api_key = next(iter(keys.values()), "")
    name = infrastructure.name(environment)
    return deployed(name, aws, outputs["function_names"], outputs["api_url"], api_key, environ)


def deployed(
    name: str, aws: Aws, functions: Mapping[str, str], base_url: str, api_key: str, environ: Mapping[str, str]
) -> Site:
    """What Terraform has deployed, by the names of its functions and the clients of the AWS that it is on."""
    signer = functools.partial(makers.on_aws, aws, functions["issue_token"])
    groups = [f"/aws/lambda/{functions[key]}" for key in trail.FUNCTIONS]
    audit = functools.partial(_cloudwatch, aws, groups)
    return _site(name, base_url, api_key, environ, signer, functools.partial(_aws_user, aws), audit)


def _site(
    name: str,
    base_url: str,
    api_key: str,
    environ: Mapping[str, str],
    signer: Callable[[], makers.Signer],
    user: Callable[[], str],
    audit: trail.Lines,
) -> Site:
    def token() -> str:
        if given := environ.get("TOKEN", "").strip():
            return given
        key, issuer = signer()
        who = NOBODY.sub("-", user().partition("@")[0])[:64] or "somebody"
        return tokens.issue(key, issuer, subject=who, scope="admin", seconds=TOKEN_SECONDS).token

    return Site(name, Api(base_url, api_key.partition(",")[0].strip(), functools.cache(token)), audit, signer)


def _aws_user(aws: Aws) -> str:
    """What AWS calls whoever runs this: the last part of the ARN, which is a user, a role's session or root."""
    return re.split("[:/]", aws("sts").get_caller_identity()["Arn"])[-1]


def _cloudwatch(aws: Aws, groups: list[str], since: float) -> Iterator[str]:
    logs = aws("logs")
    for group in groups:
        question = {"logGroupName": group, "startTime": int(since * 1000), "filterPattern": trail.FILTER}
        try:
            for page in logs.get_paginator("filter_log_events").paginate(**question):
                yield from (event["message"] for event in page["events"])
        except logs.exceptions.ResourceNotFoundException:
            continue  # a function that nobody has called yet


def in_a_file(path: Path) -> trail.Lines:
    """The lines of a log in a file, such as `make run` writes with `| tee run.log`."""

    def lines(since: float) -> Iterator[str]:
        began = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since))
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from (line for line in file if _time_of(line) >= began)

    return lines


def _time_of(line: str) -> str:
    found = re.search(r'"timestamp":"([^"]+)"', line)
    return found[1] if found else ""


def _no_log(_since: float) -> Iterator[str]:
    raise Refusal(
        "Nothing keeps the log of make run: it is on the terminal alone. To keep it, start it as `make run | tee "
        "run.log`, and read it with --log run.log."
    )


def _no_key(base_url: str) -> makers.Signer:
    raise Refusal(f"Nothing here signs tokens for {base_url}: put one of the scope admin into TOKEN.")
