"""Processes that end with us, however we end."""

import os
import sys
from collections.abc import Sequence

# An interpreter asks Linux to end it with us (1 is PR_SET_PDEATHSIG, 15 is SIGTERM), then becomes the command. This is
# not done in preexec_fn, which is unsafe once this process has threads.
_BECOME = """
import ctypes, os, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15)
if os.getppid() == int(parent):
    os.execvp(command[0], command)
"""


def mortal(command: Sequence[str]) -> list[str]:
    """Wraps a command: on Linux its process gets SIGTERM when the *thread* that started it ends."""
    return [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid()), *command]
