"""LocalStack's side of the executor, for LocalStack 4.9.2, whose internal interfaces it uses.

LocalStack finds it by the entry point in `plugin/`: start it with PYTHONPATH=<this repository>:<this folder>/plugin and
LAMBDA_RUNTIME_EXECUTOR=process. Nothing is installed, so nothing installed can be stale.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import platform
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localstack import config  # type: ignore[import-not-found]
from localstack.services.lambda_.invocation import assignment, execution_environment  # type: ignore[import-not-found]
from localstack.services.lambda_.invocation.lambda_models import (  # type: ignore[import-not-found]
    FunctionVersion,
    InvocationResult,
)
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin  # type: ignore[import-not-found]
from localstack.services.lambda_.invocation.runtime_executor import (  # type: ignore[import-not-found]
    LambdaRuntimeException,
    RuntimeExecutor,
)

from scripts.emulator.lambda_executor import environment, platform_log, runtime_api
from scripts.emulator.lambda_executor.workshop import Workshop

MACHINES = {"arm64": ("aarch64", "arm64"), "x86_64": ("x86_64",)}

OPENING = threading.Lock()

KEPT = {
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",  # not Lambda's, but without it an SDK would talk to AWS
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_PORT",
}
"""Of the variables that LocalStack gives a container, those that a function on Lambda has. The others come from
`environment`, or Lambda does not have them."""


class ProcessExecutorPlugin(RuntimeExecutorPlugin):  # type: ignore[misc]
    """What LAMBDA_RUNTIME_EXECUTOR=process names."""

    name = "process"

    def load(self, *_: Any, **__: Any) -> type[ProcessExecutor]:
        """Called for every environment."""
        with OPENING:
            _repair()
        return ProcessExecutor


class DaemonTimer(threading.Timer):
    """Does not hold up LocalStack's end: when many calls come at once, it loses keep-alive timers of ten minutes."""

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self.daemon = True


class ProcessExecutor(RuntimeExecutor):  # type: ignore[misc]
    """One execution environment. LocalStack decides when there is another."""

    _environment: environment.Environment | None = None

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        """Unzips code and layers. What it raises is what LocalStack gives as the reason for the function's failure."""
        settings = function_version.config
        if settings.runtime != environment.RUNTIME:
            raise LambdaRuntimeException(
                f"the function is for {settings.runtime}, and this machine's emulator runs {environment.RUNTIME} only"
            )
        if platform.machine() not in MACHINES[settings.architectures[0]]:
            raise LambdaRuntimeException(
                f"the function is for {settings.architectures[0]}, and this machine is {platform.machine()}"
            )
        _code(settings.code)
        _layers(function_version)

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        """What is unzipped stays for other versions with the same code, and goes when LocalStack ends."""

    def start(self, env_vars: dict[str, Any]) -> None:
        """The cold start. If it fails, the first invocation answers with the error, as on Lambda."""
        settings = self.function_version.config
        variables = settings.environment or {}
        logging = settings.logging_config
        function = environment.Function(
            handler=settings.handler,
            code=_code(settings.code),
            layers=_layers(self.function_version),
            environment={name: str(value) for name, value in env_vars.items() if name in KEPT} | variables,
            timeout_seconds=settings.timeout,
            memory_mb=settings.memory_size,
            version=self.function_version.id.qualifier,
            initialization_type=env_vars["AWS_LAMBDA_INITIALIZATION_TYPE"],
            log_format=platform_log.Format(
                is_json=logging.get("LogFormat") == "JSON",
                application_level=logging.get("ApplicationLogLevel") or "INFO",
                system_level=logging.get("SystemLogLevel") or "INFO",
            ),
        )
        self._environment = environment.Environment(function, _workshop())
        self._environment.start()

    def stop(self) -> None:
        """Ends it at once."""
        if self._environment:
            self._environment.stop()

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        if not self._environment:
            raise LambdaRuntimeException("it was never started")
        invocation = runtime_api.Invocation(
            payload["invoke-id"], payload["payload"].encode(), payload["invoked-function-arn"], payload["trace-id"]
        )
        result = self._environment.invoke(invocation)
        return InvocationResult(invocation.request_id, result.body, is_error=result.is_error, logs=result.log)

    def get_logs(self) -> str:
        """What LocalStack shows when an environment did not start: here the first invocation reports it."""
        return ""

    def get_address(self) -> str:
        """Where the environment is."""
        return runtime_api.HOST

    def get_endpoint_from_executor(self) -> str:
        """Where LocalStack is, seen from the function."""
        return runtime_api.HOST

    def get_runtime_endpoint(self) -> str:
        """Where a container would report to; nothing does here."""
        return f"http://{runtime_api.HOST}:{config.GATEWAY_LISTEN[0].port}/_localstack_lambda/{self.id}"


@functools.cache
def _repair() -> None:
    """Repairs two faults of LocalStack that show when many calls come at once: this one and DaemonTimer's.

    Another call may take an environment that was just started, before it is reserved for the call that it was started
    for. That call then fails with an error of LocalStack's own instead of looking for the next environment.
    """
    execution_environment.Timer = DaemonTimer
    get_environment = assignment.AssignmentService.get_environment

    @contextlib.contextmanager
    def looking_again(self: Any, *arguments: Any) -> Iterator[Any]:
        with contextlib.ExitStack() as stack:
            reserved = None
            while reserved is None:
                with contextlib.suppress(execution_environment.InvalidStatusException):
                    reserved = stack.enter_context(get_environment(self, *arguments))
            yield reserved

    assignment.AssignmentService.get_environment = looking_again


@functools.cache
def _only_workshop() -> Workshop:
    workshop = Workshop()
    atexit.register(workshop.close)
    return workshop


def _workshop() -> Workshop:
    """This process's only one, even if two threads are the first to want it."""
    with OPENING:
        return _only_workshop()


def _code(archive: Any) -> Path:
    """The folder with the content of a zip that LocalStack keeps in its S3."""

    def fetch(path: Path) -> None:
        with path.open("wb") as file:
            archive._download_archive_to_file(file)

    return _workshop().code(archive.code_sha256, fetch)


def _layers(function_version: FunctionVersion) -> Path | None:
    folders = [_code(layer.code) for layer in function_version.config.layers]
    return _workshop().layers(folders) if folders else None
