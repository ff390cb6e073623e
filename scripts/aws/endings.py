"""How the commands that speak with AWS end: a sentence for whatever stops them, and an exit status."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from scripts.refusal import Refusal

CANNOT, STOPPED = 2, 130
"""Nothing was done, or not all of it, and a sentence says why; Ctrl-C."""


def status(
    work: Callable[[], int], *, cannot: int = CANNOT, broken: int | None = None, stopped: str | None = None
) -> int:
    """What `work` returns; `cannot` with a sentence for what it cannot do or AWS refuses, STOPPED for Ctrl-C.

    A program that failed has said why: `broken`, or else its own status. stopped is what is said to Ctrl-C.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped] # noqa: PLC0415

    try:
        return work()
    except Refusal as error:
        print(error, file=sys.stderr)
        return cannot
    except (BotoCoreError, ClientError) as error:
        print(f"AWS refuses: {' '.join(str(error).split())}. Mend that and run this again.", file=sys.stderr)
        return cannot
    except subprocess.CalledProcessError as error:
        return error.returncode if broken is None else broken
    except KeyboardInterrupt:
        if stopped:
            print(stopped, file=sys.stderr)
        return STOPPED
