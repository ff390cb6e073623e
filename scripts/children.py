"""Processes that end with us, however we end."""

import os
import sys
from collections.abc import Sequence

# The interpreter becomes the command after it asked Linux to end it with us (1 is PR_SET_PDEATHSIG, 15 is SIGTERM).
# Done there and not in preexec_fn, which is unsafe once this process has threads.
_BECOME = """
import ctypes, os, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15)
if os.getppid() == int(parent):
    os.execvp(command[0], command)
"""


def mortal(command: Sequence[str]) -> list[str]:
    """A command line that becomes this one and, on Linux, gets SIGTERM when the *thread* ends that started it."""
    return [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid()), *command]
