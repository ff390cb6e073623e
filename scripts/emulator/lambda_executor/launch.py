"""Becomes a function's process: `launch.py <memory in MB> <handler>` limits its memory, then runs AWS's runtime client.

RLIMIT_DATA counts what is private and writable, so neither libraries nor address space that is only reserved. Beyond it
Python raises MemoryError. It does count a thread's whole stack, used or not: with the usual 8 MB each, a function with
128 MB could have only fifteen threads, so stacks are smaller here.
"""

import resource
import runpy
import site
import sys
import threading

STACK_BYTES = 2 * 1024 * 1024

if __name__ == "__main__":
    site.setquit()  # exit() and quit(), which `-S` leaves out
    limit = int(sys.argv.pop(1)) * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.stack_size(STACK_BYTES)
    runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)
