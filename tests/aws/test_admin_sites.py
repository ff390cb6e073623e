"""`make admin` on AWS: the token that it makes for itself, and the audit that it reads."""

from __future__ import annotations

import base64
import json
import time

import pytest
from botocore.stub import ANY
from cryptography.hazmat.primitives.asymmetric import utils

from scripts.admin import sites, trail
from scripts.refusal import Refusal
from tests.aws.recorded import Recorded

FUNCTIONS = {key: f"leaderboard-dev-{key.replace('_', '-')}" for key in ("issue_token", *trail.FUNCTIONS)}
KEY = "arn:aws:kms:eu-central-1:123456789012:key/4f8b4a52-6d2c-4f7e-9a39-0c3f3f0c1d11"


def site(aws: Recorded) -> sites.Site:
    return sites.deployed("leaderboard-dev", aws, FUNCTIONS, "https://api.example", "key", {})


def test_it_signs_as_whom_aws_knows_without_an_address(aws: Recorded) -> None:
    told = {"Environment": {"Variables": {"TOKEN_KEY": KEY, "TOKEN_ISSUER": "leaderboard-dev"}}}
    aws.answer("lambda", "get_function_configuration", told, FunctionName="leaderboard-dev-issue-token")
    arn = "arn:aws:sts::123456789012:assumed-role/Admin/carol.w@example.com"
    aws.answer("sts", "get_caller_identity", {"Arn": arn})
    signed = {"KeyId": KEY, "Message": ANY, "MessageType": ANY, "SigningAlgorithm": "ECDSA_SHA_256"}
    aws.answer("kms", "sign", {"Signature": utils.encode_dss_signature(2**250, 2**249)}, **signed)
    api = site(aws).api
    token = api.token()
    assert api.token() == token, "one for all that a command asks for"
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert (claims["sub"], claims["scope"], claims["iss"]) == ("carol.w", "admin", "leaderboard-dev")
    assert claims["exp"] - time.time() <= sites.TOKEN_SECONDS


def test_settings_that_one_may_not_decrypt_are_said_to_be_that(aws: Recorded) -> None:
    """Lambda answers such a caller all the same, with an error in the variables' place."""
    denied = {"Environment": {"Error": {"ErrorCode": "AccessDeniedException", "Message": "not authorized"}}}
    aws.answer("lambda", "get_function_configuration", denied)
    with pytest.raises(Refusal, match="you need kms:Decrypt"):
        site(aws).api.token()


def test_the_audit_is_read_from_the_groups_of_all_functions_that_act(aws: Recorded) -> None:
    facts = {"event": "audit", "act": "erase", "userId": "ada", "issuer": "leaderboard-dev", "subject": "carol"}
    facts |= {"scope": "admin", "tokenId": None, "reason": None}
    began = {"timestamp": "2026-11-28T10:00:00.5Z", "message": "act began", "requestId": "r-1", **facts}
    ended = {**began, "message": "act ended", "before": {"sessions": 1}, "after": None, "code": None, "outcome": "ok"}
    since = time.time() - 3600
    for key in trail.FUNCTIONS:
        question = {"logGroupName": f"/aws/lambda/{FUNCTIONS[key]}", "startTime": int(since * 1000)}
        question["filterPattern"] = '{ $.event = "audit" }'
        if key == "erase_user":
            pages = [[{"message": json.dumps(began)}], [{"message": json.dumps(ended)}, {"message": "REPORT audit"}]]
            aws.answer("logs", "filter_log_events", {"events": pages[0], "nextToken": "more"}, **question)
            aws.answer("logs", "filter_log_events", {"events": pages[1]}, **question, nextToken="more")
        elif key == "export_user":
            aws.refuse("logs", "filter_log_events", "ResourceNotFoundException", **question)
        else:
            aws.answer("logs", "filter_log_events", {"events": []}, **question)
    (entry,) = trail.entries(site(aws).audit(since))
    assert (entry["act"], entry["outcome"], entry["before"]) == ("erase", "ok", {"sessions": 1})
