"""`make run`: the whole API on this machine, until Ctrl-C."""

import os
import sys

from scripts import signals
from scripts.refusal import Refusal


def main() -> int:
    """Serves the API. Its modules are imported once signals are handled, so that an early Ctrl-C is quiet too."""
    signals.interrupt_once()
    try:
        from scripts.local import api as local_api  # noqa: PLC0415

        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        local_api.run(os.environ)
    except KeyboardInterrupt:
        return 0
    except Refusal as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    signals.leave(main())
