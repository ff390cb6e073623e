"""`make dashboard SOURCE=localstack`: the page over a dashboard that `make emulate` has deployed, until Ctrl-C."""

import os
import sys
import threading

from scripts import signals
from scripts.local.dashboard import bodies, pages, sources
from scripts.refusal import Refusal
from shared import config


def run() -> None:
    """Serves until a signal. Raises Refusal."""
    if os.environ.get("SOURCE", "").strip() != "localstack":
        raise Refusal("Name what the dashboard should draw: make dashboard SOURCE=localstack (`make run` has its own).")
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # noqa: PLC0415
    from localstack_client.session import Session  # type: ignore[import-untyped]  # noqa: PLC0415

    session = Session(region_name=os.environ.get("AWS_REGION", "").strip() or "eu-central-1")
    name = os.environ.get("NAME", "").strip() or bodies.DEPLOYED
    source = sources.Emulated(session.client("cloudwatch"), session.client("logs"), name)
    try:
        source.body()
    except (BotoCoreError, ClientError) as error:
        raise Refusal(f"The emulated AWS has no dashboard {name} ({error}): start it first: make emulate") from None
    try:
        sock = pages.listen(os.environ)
    except OSError as error:
        raise Refusal(
            f"Cannot serve on that port ({error.strerror}): choose another DASHBOARD_PORT, 0 for any"
        ) from None
    with sock, pages.serving(pages.application(source, os.environ), sock) as address:
        print(f"The dashboard of {source.title}, is at {address} (Ctrl-C ends it)", flush=True)
        threading.Event().wait()


def main() -> int:
    """Serves the page."""
    signals.interrupt_once()
    try:
        run()
    except KeyboardInterrupt:
        return 0
    except (Refusal, config.MisconfiguredError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    signals.leave(main())
