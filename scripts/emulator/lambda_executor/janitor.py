"""A process that outlives ours, however ours ends, and then cleans up: ends process groups, removes a folder.

On Lambda the machine ends. PR_SET_PDEATHSIG would not do: it fires when the *thread* that started a process ends, and
LocalStack starts them on threads that come and go.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ATTEMPTS, PAUSE_SECONDS = 100, 0.02


class Janitor:
    """Reads from a pipe that only this process holds: when that closes, on purpose or by SIGKILL, it cleans up."""

    def __init__(self, folder: Path):
        read, write = os.pipe()
        self._pipe = os.fdopen(write, "wb", buffering=0)
        command = [sys.executable, "-I", "-S", __file__, str(folder)]
        self._process = subprocess.Popen(command, stdin=read, start_new_session=True)
        os.close(read)

    def watch(self, group: int) -> None:
        """Adds a process group to those that it will end."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Drops a group that is gone: its number may soon be another's."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Makes it clean up now, and waits until it has."""
        self._pipe.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):  # it has ended or was killed
            self._pipe.write(line.encode())  # short enough to go in one piece


def main() -> None:
    """Notes groups until its input ends, then cleans up."""
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for _ in range(ATTEMPTS):  # what was just killed may still be writing
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        if not Path(sys.argv[1]).exists():
            break
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
