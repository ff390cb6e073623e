"""A Lambda execution environment as a process of this machine: AWS's own runtime client, one invocation at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.emulator.lambda_executor import launch, platform_log
from scripts.emulator.lambda_executor.runtime_api import (
    Answered,
    Event,
    Exited,
    InitFailed,
    Invocation,
    Ready,
    RuntimeApi,
    wait,
)
from scripts.emulator.lambda_executor.workshop import Workshop

INIT_SECONDS = 10
"""For the cold start. An environment that fails or is not ready by then starts again in its first invocation, at the
expense of that one's time, as on Lambda."""

RESPONSE_LIMIT_BYTES = 6 * 1024 * 1024 + 100

LOG_LIMIT_BYTES = 4 * 1024 * 1024
"""For one invocation: an endless loop that prints would fill the emulator's memory. Lambda has no such limit."""

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
"""The only runtime here: this interpreter's."""

FLAGS = ("-P", "-S", "-B")
"""No folder but PYTHONPATH's on the module path: neither that of `launch.py` nor this interpreter's site-packages. And
no bytecode is written, as /var/task is read-only."""


class BusyError(Exception):
    """An environment does one thing at a time."""


@dataclass(frozen=True)
class Function:
    """What there is to run. `environment` is all that the process sees besides Lambda's own variables."""

    handler: str
    code: Path
    layers: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 3
    memory_mb: int = 128
    version: str = "$LATEST"
    initialization_type: str = "on-demand"
    log_format: platform_log.Format = field(default_factory=platform_log.Format)


@dataclass(frozen=True)
class Result:
    """What Lambda answers: JSON, from the handler or about an error, and what was logged meanwhile."""

    body: bytes
    is_error: bool
    log: str


@dataclass(frozen=True)
class _Outcome:
    """How an invocation ended; `error_type` only if the process did not survive it."""

    body: bytes
    status: str = "success"
    error_type: str | None = None
    log: str = ""


class Environment:
    """One process, started ahead of the first invocation and again after one that it did not survive."""

    def __init__(self, function: Function, workshop: Workshop):
        self._function, self._workshop = function, workshop
        self._temporary = workshop.temporary()
        self._output = _Output(workshop.folder)
        self._busy, self._changing = threading.Lock(), threading.Lock()
        self._process: _Process | None = None
        self._stopped = False
        self._init_ms: float | None = None

    @property
    def pid(self) -> int | None:
        """The process that waits for the next invocation; None if that would have to start one."""
        process = self._process
        return process.pid if process and process.is_alive else None

    def start(self) -> None:
        """The cold start. If anything goes wrong, the first invocation tries again and reports it."""
        with self._alone():
            started = time.monotonic()
            process = self._spawn()
            if isinstance(wait(process.api.events, started + INIT_SECONDS), Ready):
                self._init_ms = _ms_since(started)
            else:
                self._end_process()

    def invoke(self, invocation: Invocation) -> Result:
        """Calls the handler. Raises BusyError while another invocation runs, and after `stop`."""
        with self._alone():
            function, started = self._function, time.monotonic()
            log = [self._output.new(), platform_log.start(function.log_format, invocation.request_id, function.version)]
            outcome = self._outcome(invocation, started + function.timeout_seconds)
            figures = (_ms_since(started), function.memory_mb, self._peak_mb(), self._init_ms)
            self._init_ms = None
            if outcome.error_type:
                self._end_process()
            report = platform_log.Report(invocation.request_id, outcome.status, outcome.error_type, *figures)
            log += [self._output.new(), outcome.log, platform_log.end(function.log_format, report)]
            return Result(outcome.body, outcome.status != "success", "".join(log))

    def stop(self) -> None:
        """Ends the process, even in the middle of an invocation, and removes its files. May be called twice."""
        with self._changing:
            self._stopped = True
        self._end_process()
        with self._busy:  # an interrupted invocation reports first
            self._output.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise BusyError("it is in the middle of an invocation")
        try:
            yield
        finally:
            self._busy.release()

    def _spawn(self) -> _Process:
        with self._changing:
            if self._stopped:
                raise BusyError("it was stopped")
            self._process = _Process(self._function, self._workshop, self._temporary, self._output)
            return self._process

    def _end_process(self) -> None:
        with self._changing:
            process, self._process = self._process, None
        if process:
            process.end()

    def _peak_mb(self) -> int:
        process = self._process
        return process.peak_mb() if process else 0

    def _outcome(self, invocation: Invocation, ends: float) -> _Outcome:
        process = self._process
        if not process or not process.is_alive:
            self._end_process()
            process = self._spawn()
            if not isinstance(event := wait(process.api.events, ends), Ready):
                return self._end_of_process(invocation, event)
        process.api.give(invocation, time.time() + ends - time.monotonic())
        while True:
            event = wait(process.api.events, ends)
            if isinstance(event, Answered) and event.request_id == invocation.request_id:
                return self._answer(invocation, event)
            if not isinstance(event, Answered | Ready):
                return self._end_of_process(invocation, event)

    def _answer(self, invocation: Invocation, answer: Answered) -> _Outcome:
        if answer.is_error and _error_type(answer.body) == "MemoryError":
            return self._out_of_memory(invocation)
        if not answer.is_error and len(answer.body) > RESPONSE_LIMIT_BYTES:
            limit = f"maximum allowed payload size ({RESPONSE_LIMIT_BYTES} bytes)"
            return _Outcome(
                _error("Function.ResponseSizeTooLarge", f"Response payload size exceeded {limit}."), "error"
            )
        return _Outcome(answer.body, "error" if answer.is_error else "success")

    def _end_of_process(self, invocation: Invocation, event: Event | None) -> _Outcome:
        match event:
            case InitFailed(body) if _error_type(body) == "MemoryError":
                return self._out_of_memory(invocation)
            case InitFailed(body):
                return _Outcome(body, "error", _error_type(body))
            case Exited(status):
                return self._exit(invocation, "Runtime.ExitError", _reason(status))
            case _:
                seconds = self._function.timeout_seconds
                message = f"RequestId: {invocation.request_id} Error: Task timed out after {seconds:.2f} seconds"
                log = platform_log.timed_out(self._function.log_format, invocation.request_id, seconds)
                return _Outcome(_error("Sandbox.Timedout", message), "timeout", "Sandbox.Timedout", log)

    def _out_of_memory(self, invocation: Invocation) -> _Outcome:
        """A process that got a MemoryError and lived: Lambda would have killed it."""
        return self._exit(invocation, "Runtime.OutOfMemory", _reason(-signal.SIGKILL))

    def _exit(self, invocation: Invocation, error_type: str, reason: str) -> _Outcome:
        body = _error(error_type, f"RequestId: {invocation.request_id} Error: {reason}")
        log = platform_log.exited(self._function.log_format, invocation.request_id, error_type, reason)
        return _Outcome(body, "error", error_type, log)


class _Process:
    """The runtime client with a Runtime API of its own, and the processes that the handler starts.

    Those end with it, except one that leaves the group on purpose, as a daemon does: on Lambda the machine ends.
    """

    def __init__(self, function: Function, workshop: Workshop, temporary: Path, output: _Output):
        self.api = RuntimeApi()
        self._janitor = workshop.janitor
        self._peak_mb = 0
        self._reaping = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, *FLAGS, launch.__file__, str(function.memory_mb), function.handler],
            cwd=function.code,
            env=_environment(function, workshop, temporary, self.api.address),
            stdin=subprocess.DEVNULL,
            stdout=output.descriptor,
            stderr=output.descriptor,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._janitor.watch(self.pid)
        self._watcher = threading.Thread(target=self._watch, name=f"lambda-{self.pid}", daemon=True)
        self._watcher.start()

    @property
    def is_alive(self) -> bool:
        """Whether it can take work."""
        return self._watcher.is_alive()

    def peak_mb(self) -> int:
        """The most memory that it had at once, as of the last call while it lived."""
        with contextlib.suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
            self._peak_mb = math.ceil(int(found[1]) / 1024) if found else self._peak_mb
        return self._peak_mb

    def end(self) -> None:
        """Kills whatever is left of it, and returns when it is gone."""
        self._kill()
        self._watcher.join()
        self.api.close()

    def _watch(self) -> None:
        """Waits for its end, then kills what it started: until it is reaped, no other group can have its number."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self._kill()
        with self._reaping:
            status = self._process.wait()
        self._janitor.forget(self.pid)
        self.api.events.put(Exited(status))

    def _kill(self) -> None:
        with self._reaping:
            if self._process.returncode is None:
                os.killpg(self.pid, signal.SIGKILL)


class _Output:
    """What processes print: a file without a name. What was written before an answer is there when the answer is."""

    def __init__(self, folder: Path):
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, it lives as long as this
        fcntl.fcntl(self._file, fcntl.F_SETFL, os.O_APPEND)
        self._read_bytes = 0

    @property
    def descriptor(self) -> int:
        """For the processes to write to."""
        return self._file.fileno()

    def new(self) -> str:
        """What has not been read yet, in whole lines; of more than LOG_LIMIT_BYTES only the end."""
        if self._file.closed:
            return ""
        begin, self._read_bytes = self._read_bytes, os.fstat(self.descriptor).st_size
        unread = max(0, self._read_bytes - begin)  # the function may have truncated the file
        omitted = max(0, unread - LOG_LIMIT_BYTES)
        text = os.pread(self.descriptor, unread - omitted, begin + omitted).decode(errors="replace")
        lines = text if not text or text.endswith("\n") else f"{text}\n"
        return f"[{omitted} bytes of log omitted]\n{lines}" if omitted else lines

    def close(self) -> None:
        """Removes the file."""
        self._file.close()


def _environment(function: Function, workshop: Workshop, temporary: Path, address: str) -> dict[str, str]:
    """The process's whole environment, nothing of ours: first what a function may override, then what it may not."""
    path, libraries, packages = ["/usr/local/bin", "/usr/bin", "/bin"], [], [str(function.code)]
    if function.layers:
        path.append(f"{function.layers}/bin")
        libraries.append(f"{function.layers}/lib")
        packages += [f"{function.layers}/python/lib/{RUNTIME}/site-packages", f"{function.layers}/python"]
    runtime = str(workshop.runtime())
    packages += [*filter(None, [function.environment.get("PYTHONPATH")]), runtime]
    logs = function.log_format
    return {
        "HOME": str(temporary),  # not as on Lambda: otherwise an SDK would read the developer's own ~/.aws
        "LANG": "en_US.UTF-8",
        "PATH": ":".join(path),
        "TZ": ":UTC",
        "TMPDIR": str(temporary),  # Lambda's /tmp, which each environment has for itself
        **({"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {}),
        **function.environment,
        **({"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": logs.application_level} if logs.is_json else {}),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{RUNTIME}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": function.initialization_type,
        "AWS_LAMBDA_RUNTIME_API": address,
        "LAMBDA_RUNTIME_DIR": runtime,
        "LAMBDA_TASK_ROOT": str(function.code),
        "PYTHONPATH": ":".join(packages),
        "_HANDLER": function.handler,
    }


def _reason(status: int) -> str:
    """Why a process is gone, in Lambda's words, which are Go's."""
    if status < 0:
        return f"Runtime exited with error: signal: {(signal.strsignal(-status) or str(-status)).lower()}"
    return f"Runtime exited with error: exit status {status}" if status else "Runtime exited without providing a reason"


def _error(error_type: str, message: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()


def _error_type(body: bytes) -> str:
    """What kind of error the runtime client posted."""
    return str(json.loads(body)["errorType"])


def _ms_since(started: float) -> float:
    return (time.monotonic() - started) * 1000
