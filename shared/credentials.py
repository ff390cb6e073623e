"""Who we are to Valkey: nobody, a user with a password, or an IAM role that signs a token for each connection."""

from __future__ import annotations

import datetime
import hashlib
import hmac
from urllib.parse import quote

from valkey.credentials import CredentialProvider, UsernamePasswordCredentialProvider
from valkey.exceptions import AuthenticationError

from shared.config import AwsCredentials, Settings, aws_credentials

TOKEN_SECONDS = 900


class IamToken(CredentialProvider):
    """The client library asks for a new one for every connection, so that no token is too old."""

    def __init__(self, cache: str, user: str, region: str):
        self.cache, self.user, self.region = cache, user, region

    def get_credentials(self) -> tuple[str, str]:
        """User name and token."""
        aws = aws_credentials() or _botocore_credentials()
        if aws is None:
            raise AuthenticationError("no AWS credentials to sign the token with")
        return self.user, token(self.cache, self.user, self.region, aws, datetime.datetime.now(datetime.UTC))


def provider(settings: Settings) -> CredentialProvider | None:
    """What the settings ask for; None if Valkey does not ask who we are."""
    if settings.valkey_iam_cache:
        return IamToken(settings.valkey_iam_cache, settings.valkey_user or "", settings.aws_region or "")
    if settings.valkey_password:
        return UsernamePasswordCredentialProvider(settings.valkey_user, settings.valkey_password)
    return None


def token(cache: str, user: str, region: str, aws: AwsCredentials, now: datetime.datetime) -> str:
    """A password that ElastiCache takes from an IAM user for 15 minutes: a presigned URL (SigV4) without its scheme.

    Local arithmetic, no call. Source: ElastiCache developer guide, "Authenticating with IAM".
    """
    cache = cache.lower()
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    day = moment[:8]
    scope = f"{day}/{region}/elasticache/aws4_request"
    query = {
        "Action": "connect",
        "ResourceType": "ServerlessCache",
        "User": user,
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{aws.access_key_id}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(TOKEN_SECONDS),
        "X-Amz-SignedHeaders": "host",
    }
    if aws.session_token:
        query["X-Amz-Security-Token"] = aws.session_token
    encoded = "&".join(f"{name}={quote(query[name], safe='-_.~')}" for name in sorted(query))
    request = f"GET\n/\n{encoded}\nhost:{cache}\n\nhost\n{hashlib.sha256(b'').hexdigest()}"
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{aws.secret_access_key}".encode()
    for part in (day, region, "elasticache", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return f"{cache}/?{encoded}&X-Amz-Signature={hmac.digest(key, to_sign.encode(), 'sha256').hex()}"


def _botocore_credentials() -> AwsCredentials | None:
    """What the AWS SDK finds if the environment holds no key (SnapStart, a laptop's profile); None if nothing."""
    import botocore.session  # type: ignore[import-untyped] # noqa: PLC0415 - it would be most of a cold start

    try:
        found = botocore.session.Session().get_credentials()
        frozen = found.get_frozen_credentials() if found else None
    except Exception as error:
        raise AuthenticationError("no AWS credentials could be obtained") from error
    return AwsCredentials(str(frozen.access_key), str(frozen.secret_key), frozen.token) if frozen else None
