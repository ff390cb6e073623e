"""The emulator's execution environments: AWS's own runtime client in a process, and every failure in Lambda's shape.

Only the last tests need LocalStack.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from scripts.aws import build
from scripts.emulator import localstack
from scripts.emulator.lambda_executor import platform_log
from scripts.emulator.lambda_executor.environment import (
    LOG_LIMIT_BYTES,
    RESPONSE_LIMIT_BYTES,
    BusyError,
    Environment,
    Function,
    Result,
)
from scripts.emulator.lambda_executor.runtime_api import HOST, PREFIX, Answered, Invocation, RuntimeApi
from scripts.emulator.lambda_executor.workshop import Workshop
from scripts.local import embedded_valkey
from scripts.places import ROOT
from tests.support.invoking import event
from tests.support.patience import wait_until
from tests.support.processes import is_running
from tests.support.wires import Proxy, free_port, proxy_to

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="AWS's runtime client is for Linux only")

ARN = "arn:aws:lambda:eu-central-1:000000000000:function:trial"
EARLY_SECONDS, LATE_SECONDS = 1, 60
"""Time limits: one that a sleeping function is sure to exceed, and one that no other function comes near."""

HANDLERS = """
import ctypes, http.client, json, logging, os, signal, subprocess, sys, threading, time

def echo(event, context):
    return event

def who(event, context):
    return {"pid": os.getpid(), "request": context.aws_request_id, "arn": context.invoked_function_arn,
            "version": context.function_version, "memory": context.memory_limit_in_mb,
            "left": context.get_remaining_time_in_millis(), "trace": os.environ.get("_X_AMZN_TRACE_ID")}

def answers_twice(event, context):
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    api.request("POST", f"/2018-06-01/runtime/invocation/{context.aws_request_id}/response", '"first"')
    api.getresponse().read()
    return "second"

def raises(event, context):
    raise ValueError("no such thing")

def unserializable(event, context):
    return {1, 2}

def environ(event, context):
    return dict(os.environ)

def place(event, context):
    return {"cwd": os.getcwd(), "path": sys.path, "files": os.listdir(),
            "open": [os.readlink(f"/proc/self/fd/{n}") for n in range(100) if os.path.exists(f"/proc/self/fd/{n}")]}

def imports(event, context):
    found = {}
    for name in event:
        try:
            __import__(name)
            found[name] = True
        except ImportError:
            found[name] = False
    return found

def waits(event, context):
    with open(event["started"], "w") as file:
        file.write(str(os.getpid()))
    while not os.path.exists(event["go"]):
        time.sleep(0.01)
    return os.getpid()

def sleeps(event, context):
    print("going to sleep, and", subprocess.Popen(["sleep", "600"]).pid, "too")
    time.sleep(600)

def leaves_a_child(event, context):
    return subprocess.Popen(["sleep", "600"]).pid

def parent_of_a_sleeper(event, context):
    with open(event["started"], "w") as file:
        file.write(f"{os.getpid()} {subprocess.Popen(['sleep', '600']).pid}")
    time.sleep(600)

def exits(event, context):
    print("before the end")
    os._exit(event)

def quits(event, context):
    exit(event)

def faults(event, context):
    ctypes.string_at(0)

def killed(event, context):
    os.kill(os.getpid(), signal.SIGKILL)

def allocates(event, context):
    return len(bytearray(event * 1024 * 1024))

def threads(event, context):
    gate = threading.Barrier(event + 1)
    for _ in range(event):
        threading.Thread(target=gate.wait).start()
    gate.wait()
    return event

def prints(event, context):
    print("to standard output: Łódź")
    print("to standard error", file=sys.stderr)
    logging.getLogger().warning("through logging")
    sys.stdout.write("no newline")

def binary(event, context):
    os.write(1, b"a\\xff\\x00b\\n")

def floods(event, context):
    for number in range(event // 16):
        print(f"{number:15d}")

def cuts(event, context):
    os.ftruncate(1, 0)
    print(event)

def closes(event, context):
    if not sys.stdout.closed:
        sys.stdout.close()
        sys.stderr.close()
        os.close(1)
        os.close(2)
    return "still here"

def home(event, context):
    return os.path.expanduser("~")

def size(event, context):
    return len(event)

def large(event, context):
    return "x" * event

def writes(event, context):
    import tempfile
    with tempfile.NamedTemporaryFile(delete=False) as file:
        return file.name
"""


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    opened = Workshop()
    yield opened
    opened.close()
    assert not opened.folder.exists()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "trial.py").write_text(HANDLERS)
    return folder


Start = Callable[..., Environment]


@pytest.fixture
def started(workshop: Workshop, code: Path) -> Iterator[Start]:
    """`started("echo", memory_mb=256)`: an environment for one of the handlers above, past its cold start."""
    environments = []

    def start(handler: str, **settings: Any) -> Environment:
        name = handler if "." in handler else f"trial.{handler}"
        function = Function(name, **{"code": code, "timeout_seconds": LATE_SECONDS, **settings})
        environments.append(Environment(function, workshop))
        environments[-1].start()
        return environments[-1]

    yield start
    for environment in environments:
        environment.stop()


def invoke(environment: Environment, payload: Any = None, request_id: str | None = None) -> Result:
    """Invokes with a JSON value."""
    text = json.dumps(payload, ensure_ascii=False).encode()
    return environment.invoke(Invocation(request_id or str(uuid.uuid4()), text, ARN, "Root=1-5759e988-bd862e3fe1be4"))


def answer(environment: Environment, payload: Any = None) -> Any:
    """What a handler returned."""
    result = invoke(environment, payload)
    assert not result.is_error, result
    return json.loads(result.body)


def failure(environment: Environment, payload: Any = None, request_id: str = "r-1") -> dict[str, Any]:
    """The error that came instead of an answer."""
    result = invoke(environment, payload, request_id)
    assert result.is_error, result
    error: dict[str, Any] = json.loads(result.body)
    return error


def in_background(work: Callable[[], Any]) -> Callable[[], Any]:
    """Starts work in a thread; what this returns waits for its result."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()

    def result() -> Any:
        thread.join(LATE_SECONDS)
        return results[0]

    return result


class TestAnswers:
    @pytest.mark.parametrize("value", [None, 0, "", "Łódź 🏆 \u2028", [1, {"a": None}], {"ключ": ["值"]}])
    def test_a_handler_gets_the_event_and_its_value_is_the_answer(self, started: Start, value: Any) -> None:
        assert answer(started("echo"), value) == value

    def test_the_context_is_lambdas(self, started: Start) -> None:
        environment = started("who", version="7", memory_mb=256, environment={"AWS_LAMBDA_FUNCTION_NAME": "trial"})
        seen = json.loads(invoke(environment, request_id="r-9").body)
        assert 0 < seen.pop("left") <= LATE_SECONDS * 1000
        assert seen == {
            "pid": environment.pid,
            "request": "r-9",
            "arn": ARN,
            "version": "7",
            "memory": "256",
            "trace": "Root=1-5759e988-bd862e3fe1be4",
        }

    def test_the_next_invocation_finds_the_same_process(self, started: Start) -> None:
        environment = started("who")
        pid = environment.pid
        assert [answer(environment)["pid"] for _ in range(5)] == [pid] * 5

    def test_a_second_answer_is_not_taken_for_the_next_invocations(self, started: Start) -> None:
        environment = started("answers_twice")
        assert [answer(environment) for _ in range(3)] == ["first"] * 3

    def test_environments_work_side_by_side_each_in_its_own_process(self, started: Start, tmp_path: Path) -> None:
        environments = [started("waits") for _ in range(2)]
        signs = [{"started": str(tmp_path / f"started-{n}"), "go": str(tmp_path / "go")} for n in range(2)]
        results = [
            in_background(lambda environment=environment, sign=sign: answer(environment, sign))
            for environment, sign in zip(environments, signs, strict=True)
        ]
        for sign in signs:
            wait_until(Path(sign["started"]).exists)
        (tmp_path / "go").touch()
        assert {result() for result in results} == {environment.pid for environment in environments}
        assert len({environment.pid for environment in environments}) == 2

    def test_an_environment_does_one_thing_at_a_time(self, started: Start, tmp_path: Path) -> None:
        environment = started("waits")
        sign = {"started": str(tmp_path / "started"), "go": str(tmp_path / "go")}
        result = in_background(lambda: answer(environment, sign))
        wait_until((tmp_path / "started").exists)
        with pytest.raises(BusyError, match="in the middle"):
            invoke(environment)
        (tmp_path / "go").touch()
        assert result() == environment.pid

    def test_six_megabytes_go_in_and_out(self, started: Start) -> None:
        text = "x" * (6 * 1024 * 1024 - 2)
        assert answer(started("echo", memory_mb=512), text) == text
        text = "ü" * (3 * 1024 * 1024 - 1)
        assert answer(started("size", memory_mb=512), text) == len(text)

    def test_a_larger_answer_is_lambdas_error_and_the_process_goes_on(self, started: Start) -> None:
        environment = started("large", memory_mb=512)
        pid = environment.pid
        assert failure(environment, RESPONSE_LIMIT_BYTES) == {
            "errorType": "Function.ResponseSizeTooLarge",
            "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        }
        assert answer(environment, 1) == "x"
        assert environment.pid == pid


class TestErrors:
    def test_an_exception_keeps_its_type_message_and_trace(self, started: Start) -> None:
        environment = started("raises")
        pid = environment.pid
        error = failure(environment)
        assert (error["errorType"], error["errorMessage"], error["requestId"]) == ("ValueError", "no such thing", "r-1")
        assert "trial.py" in error["stackTrace"][0]
        assert environment.pid == pid

    def test_what_is_no_json_is_an_error_of_the_runtime(self, started: Start) -> None:
        error = failure(started("unserializable"))
        assert error["errorType"] == "Runtime.MarshalError"
        assert "set is not JSON serializable" in error["errorMessage"]

    @pytest.mark.parametrize(
        ("handler", "kind", "message"),
        [
            ("nowhere.handler", "Runtime.ImportModuleError", "Unable to import module 'nowhere'"),
            ("trial.nothing", "Runtime.HandlerNotFound", "Handler 'nothing' missing on module 'trial'"),
            ("broken.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'broken'"),
            ("falls.handler", "ZeroDivisionError", "division by zero"),
        ],
    )
    def test_an_init_error_is_the_answer_to_every_invocation(
        self, started: Start, code: Path, handler: str, kind: str, message: str
    ) -> None:
        (code / "broken.py").write_text("def handler(:")
        (code / "falls.py").write_text("1 / 0")
        environment = started(handler)
        for _ in range(2):
            result = invoke(environment)
            error = json.loads(result.body)
            assert result.is_error
            assert (error["errorType"], message in error["errorMessage"]) == (kind, True)
            assert f"[ERROR] {kind}: " in result.log
            assert f"Status: error\tError Type: {kind}" in result.log

    def test_what_failed_at_the_cold_start_may_succeed_at_the_invocation(self, started: Start, code: Path) -> None:
        environment = started("later.handler")
        assert environment.pid is None
        (code / "later.py").write_text("def handler(event, context): return 'well'")
        assert answer(environment) == "well"

    @pytest.mark.parametrize(
        ("handler", "event", "reason"),
        [
            ("exits", 3, "Runtime exited with error: exit status 3"),
            ("exits", 0, "Runtime exited without providing a reason"),
            ("quits", 0, "Runtime exited without providing a reason"),
            ("quits", 3, "Runtime exited with error: exit status 3"),
            ("killed", 0, "Runtime exited with error: signal: killed"),
            ("faults", 0, "Runtime exited with error: signal: segmentation fault"),
            ("gone.handler", 0, "Runtime exited with error: exit status 3"),
        ],
    )
    def test_a_process_that_ends_is_an_error_and_the_next_invocation_starts_another(
        self, started: Start, code: Path, handler: str, event: int, reason: str
    ) -> None:
        (code / "gone.py").write_text("import os\nos._exit(3)")
        environment = started(handler)
        for _ in range(2):
            assert failure(environment, event) == {
                "errorType": "Runtime.ExitError",
                "errorMessage": f"RequestId: r-1 Error: {reason}",
            }

    def test_a_process_that_was_killed_between_invocations_is_replaced(self, started: Start) -> None:
        environment = started("who")
        first = environment.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: environment.pid is None)
        assert answer(environment)["pid"] != first

    def test_a_process_that_is_killed_while_it_works_is_an_error(self, started: Start, tmp_path: Path) -> None:
        environment = started("waits")
        sign = {"started": str(tmp_path / "started"), "go": str(tmp_path / "go")}
        result = in_background(lambda: failure(environment, sign))
        wait_until(lambda: (tmp_path / "started").exists() and (tmp_path / "started").read_text())
        os.kill(int((tmp_path / "started").read_text()), signal.SIGKILL)
        assert result()["errorMessage"] == "RequestId: r-1 Error: Runtime exited with error: signal: killed"
        (tmp_path / "go").touch()
        assert answer(environment, sign) == environment.pid

    def test_a_time_out_kills_the_process_with_its_children_and_says_so(self, started: Start) -> None:
        environment = started("sleeps", timeout_seconds=EARLY_SECONDS)
        pid = environment.pid
        result = invoke(environment, request_id="r-1")
        assert json.loads(result.body) == {
            "errorType": "Sandbox.Timedout",
            "errorMessage": "RequestId: r-1 Error: Task timed out after 1.00 seconds",
        }
        printed = re.search(r"^going to sleep, and (\d+) too$", result.log, re.MULTILINE)
        assert printed
        assert re.search(r"^\S+Z r-1 Task timed out after 1.00 seconds$", result.log, re.MULTILINE)
        assert "Status: timeout" in result.log
        assert environment.pid is None
        assert pid is not None
        assert not is_running(pid)
        wait_until(lambda: not is_running(int(printed[1])))
        assert failure(environment)["errorType"] == "Sandbox.Timedout"

    def test_a_cold_start_that_hangs_takes_the_invocations_time(
        self, started: Start, code: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("scripts.emulator.lambda_executor.environment.INIT_SECONDS", EARLY_SECONDS)
        (code / "hangs.py").write_text("import time; time.sleep(600)")
        environment = started("hangs.handler", timeout_seconds=EARLY_SECONDS)
        assert environment.pid is None
        assert failure(environment)["errorType"] == "Sandbox.Timedout"

    def test_more_memory_than_the_function_has_ends_the_process(self, started: Start, code: Path) -> None:
        environment = started("allocates", memory_mb=128)
        assert answer(environment, 32) == 32 * 1024 * 1024
        pid = environment.pid
        assert failure(environment, 256) == {
            "errorType": "Runtime.OutOfMemory",
            "errorMessage": "RequestId: r-1 Error: Runtime exited with error: signal: killed",
        }
        assert pid is not None
        assert not is_running(pid)
        assert answer(environment, 1) == 1024 * 1024
        assert answer(started("allocates", memory_mb=512), 256) == 256 * 1024 * 1024
        (code / "greedy.py").write_text("bytearray(256 * 1024 * 1024)")
        assert failure(started("greedy.handler"))["errorType"] == "Runtime.OutOfMemory"

    def test_a_small_function_may_have_many_threads(self, started: Start) -> None:
        assert answer(started("threads", memory_mb=128), 30) == 30

    def test_an_answer_that_breaks_off_is_none(self) -> None:
        api = RuntimeApi()
        start = f"POST {PREFIX}/invocation/r-1/response HTTP/1.1\r\nContent-Length: 4\r\n\r\n"
        for body in "nu", "null":
            with socket.create_connection((HOST, api.server_port)) as connection:
                connection.sendall(f"{start}{body}".encode())
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1000):
                    pass
        assert api.events.get(timeout=LATE_SECONDS) == Answered("r-1", b"null", is_error=False)
        api.close()


class TestCleanliness:
    def test_a_function_sees_its_own_and_lambdas_variables_and_no_other(
        self, started: Start, workshop: Workshop, code: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the developer's own")
        monkeypatch.setenv("EDITOR", "ed")
        chosen = {"VALKEY_HOST": "cache.example", "TZ": "Asia/Tokyo", "LAMBDA_TASK_ROOT": "/elsewhere", "ÜBER": "größe"}
        seen = answer(started("environ", environment=chosen))
        assert seen.pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"  # Python sets it if there is no en_US.UTF-8
        assert seen.pop("AWS_LAMBDA_RUNTIME_API").startswith("127.0.0.1:")
        assert seen.pop("HOME") == seen["TMPDIR"]
        assert seen.pop("TMPDIR").startswith(str(workshop.folder))
        runtime = seen.pop("LAMBDA_RUNTIME_DIR")
        assert runtime == str(workshop.runtime())
        assert seen == {
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "LAMBDA_TASK_ROOT": str(code),
            "LANG": "en_US.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": f"{code}:{runtime}",
            "TZ": "Asia/Tokyo",
            "VALKEY_HOST": "cache.example",
            "_HANDLER": "trial.environ",
            "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be4",
            "ÜBER": "größe",
        }

    def test_a_function_has_an_empty_home(self, started: Start) -> None:
        home = Path(answer(started("home")))
        assert home.is_dir()
        assert list(home.iterdir()) == []

    def test_a_function_runs_in_its_code_with_no_open_file_of_ours(self, started: Start, code: Path) -> None:
        seen = answer(started("place"))
        assert seen["cwd"] == str(code)
        assert seen["files"] == ["trial.py"]
        assert seen["path"][0] == str(code)
        assert not [path for path in seen["path"] if "site-packages" in path or path.startswith(str(ROOT))]
        assert not [name for name in seen["open"][3:] if name.startswith("/")]

    def test_a_function_imports_what_lambda_has_and_nothing_else_of_ours(self, started: Start) -> None:
        names = ["boto3", "botocore", "awslambdaric", "six", "pytest", "httpx", "valkey", "shared", "scripts"]
        found = answer(started("imports", memory_mb=256), names)
        assert [name for name in names if found[name]] == ["boto3", "botocore", "awslambdaric", "six"]

    def test_layers_lie_over_each_other_as_in_opt(self, started: Start, workshop: Workshop, tmp_path: Path) -> None:
        packages = f"python/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        places = {"one/python": "abcdf", "two/python": "bcd", f"two/{packages}": "cd", "code": "d", "elsewhere": "def"}
        for folder, modules in places.items():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            for module in modules:
                (tmp_path / folder / f"{module}.py").write_text(f"where = {folder!r}")
        (tmp_path / "two" / "python" / "six.py").write_text("where = 'two/python'")
        (tmp_path / "code" / "layered.py").write_text(
            "import a, b, c, d, e, f, six\ndef handler(*_): return [module.where for module in (a, b, c, d, e, f, six)]"
        )
        layers = workshop.layers([tmp_path / "one", tmp_path / "two"])
        environment = started("layered.handler", layers=layers, environment={"PYTHONPATH": str(tmp_path / "elsewhere")})
        assert answer(environment) == [
            "one/python",
            "two/python",
            f"two/{packages}",
            "code",
            "elsewhere",
            "one/python",
            "two/python",
        ]

    def test_what_a_handler_left_running_ends_with_its_environment(self, started: Start) -> None:
        environment = started("leaves_a_child")
        child = answer(environment)
        assert is_running(child)
        environment.stop()
        wait_until(lambda: not is_running(child))

    def test_what_a_handler_left_running_ends_with_its_process(self, started: Start) -> None:
        environment = started("leaves_a_child")
        child = answer(environment)
        assert environment.pid is not None
        os.kill(environment.pid, signal.SIGKILL)
        wait_until(lambda: not is_running(child))

    def test_stopping_removes_what_a_function_wrote(self, started: Start) -> None:
        environment = started("writes")
        written = Path(answer(environment))
        assert written.exists()
        environment.stop()
        environment.stop()
        assert not written.exists()
        assert environment.pid is None
        with pytest.raises(BusyError, match="stopped"):
            invoke(environment)

    def test_stopping_ends_an_invocation(self, started: Start, tmp_path: Path) -> None:
        environment = started("parent_of_a_sleeper")
        note = tmp_path / "started"
        result = in_background(lambda: failure(environment, {"started": str(note)}))
        wait_until(lambda: note.exists() and note.read_text())
        environment.stop()
        assert result()["errorType"] == "Runtime.ExitError"
        for pid in note.read_text().split():
            wait_until(lambda pid=int(pid): not is_running(pid))  # type: ignore[misc]

    def test_a_killed_executor_leaves_neither_process_nor_folder(self, code: Path, tmp_path: Path) -> None:
        note = tmp_path / "started"
        program = f"""
from pathlib import Path
from scripts.emulator.lambda_executor.environment import Environment, Function
from scripts.emulator.lambda_executor.runtime_api import Invocation
from scripts.emulator.lambda_executor.workshop import Workshop

workshop = Workshop()
print(workshop.folder, flush=True)
environment = Environment(Function("trial.parent_of_a_sleeper", Path({str(code)!r}), timeout_seconds=600), workshop)
environment.invoke(Invocation("r", {json.dumps({"started": str(note)}).encode()!r}, "arn"))
"""
        with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as executor:
            assert executor.stdout
            folder = Path(executor.stdout.readline().strip())
            wait_until(lambda: note.exists() and len(note.read_text().split()) == 2)
            pids = [int(pid) for pid in note.read_text().split()]
            assert [is_running(pid) for pid in pids] == [True, True]
            executor.kill()
        wait_until(lambda: not any(is_running(pid) for pid in pids))
        wait_until(lambda: not folder.exists())


class TestUnzipping:
    def archive(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("package/module.py", "")
            entry = zipfile.ZipInfo("bin/tool")
            entry.external_attr = 0o100755 << 16
            file.writestr(entry, "#!/bin/sh")

    def test_code_is_unzipped_once_a_hash_with_its_run_bits(self, workshop: Workshop) -> None:
        folder = workshop.code("a hash", self.archive)
        assert (folder / "package" / "module.py").is_file()
        assert os.access(folder / "bin" / "tool", os.X_OK)
        assert not os.access(folder / "package" / "module.py", os.X_OK)
        assert workshop.code("a hash", lambda _: pytest.fail("it is there")) == folder
        assert workshop.code("another", self.archive) != folder

    def test_what_cannot_be_unzipped_leaves_nothing_and_is_tried_again(self, workshop: Workshop) -> None:
        with pytest.raises(zipfile.BadZipFile):
            workshop.code("a hash", lambda path: path.write_bytes(b"no zip") and None)
        assert list(workshop.folder.iterdir()) == []
        assert (workshop.code("a hash", self.archive) / "bin" / "tool").exists()


class TestLogs:
    REPORT = (
        r"REPORT RequestId: r-1\tDuration: (?P<duration>\d+\.\d\d) ms\tBilled Duration: (?P<billed>\d+) ms\t"
        r"Memory Size: 128 MB\tMax Memory Used: (?P<used>\d+) MB\t(?:Init Duration: (?P<init>\d+\.\d\d) ms\t)?\n\Z"
    )

    def test_what_a_function_writes_stands_between_lambdas_lines(self, started: Start) -> None:
        log = invoke(started("prints", version="3"), request_id="r-1").log
        lines = log.splitlines()
        assert lines[0] == "START RequestId: r-1 Version: 3"
        assert lines[1:3] == ["to standard output: Łódź", "to standard error"]
        assert re.fullmatch(r"\[WARNING\]\t\S+Z\tr-1\tthrough logging", lines[3])
        assert lines[4:6] == ["no newline", "END RequestId: r-1"]
        assert re.search(self.REPORT, log)

    def test_only_the_first_report_counts_the_cold_start(self, started: Start) -> None:
        environment = started("echo")
        first = re.search(self.REPORT, invoke(environment, request_id="r-1").log)
        second = re.search(self.REPORT, invoke(environment, request_id="r-1").log)
        assert first
        assert second
        assert first["init"]
        assert not second["init"]
        assert int(first["billed"]) >= float(first["init"]) + float(first["duration"])
        assert 0 < int(second["used"]) < 128

    def test_no_line_is_told_twice(self, started: Start) -> None:
        environment = started("prints")
        logs = [invoke(environment).log for _ in range(3)]
        assert [log.count("no newline") for log in logs] == [1, 1, 1]

    def test_what_is_no_text_is_told_as_far_as_it_is(self, started: Start) -> None:
        assert "\na\ufffd\0b\nEND" in invoke(started("binary")).log

    def test_a_long_log_is_told_and_of_a_flood_the_end(self, started: Start) -> None:
        environment = started("floods")
        assert invoke(environment, LOG_LIMIT_BYTES).log.count("\n") == LOG_LIMIT_BYTES // 16 + 3
        lines = invoke(environment, LOG_LIMIT_BYTES + 160).log.splitlines()
        assert lines[1:3] == ["[160 bytes of log omitted]", f"{10:15d}"]
        assert len(lines) == LOG_LIMIT_BYTES // 16 + 4

    def test_a_function_may_cut_or_close_its_output(self, started: Start) -> None:
        cutting = started("cuts")
        assert "a longer text\n" in invoke(cutting, "a longer text").log
        assert not invoke(cutting, "short").is_error
        closing = started("closes")
        assert answer(closing) == "still here"
        assert re.fullmatch(r"START .*\nEND .*\nREPORT .*\n", invoke(closing, request_id="r-2").log)

    def test_what_is_printed_at_import_comes_before_the_first_start(self, started: Start, code: Path) -> None:
        (code / "chatty.py").write_text("print('hello')\ndef handler(*_): pass")
        assert invoke(started("chatty.handler"), request_id="r-1").log.startswith("hello\nSTART RequestId: r-1")

    def test_an_exit_is_told_before_the_end(self, started: Start) -> None:
        log = invoke(started("exits"), 3, "r-1").log
        text = "before the end\nRequestId: r-1 Error: Runtime exited with error: exit status 3\nRuntime.ExitError\nEND "
        assert text in log

    def test_a_function_that_logs_json_gets_json(self, started: Start) -> None:
        as_json = platform_log.Format(is_json=True)
        log = invoke(started("raises", log_format=as_json), request_id="r-1").log
        first, error, last = (json.loads(line) for line in log.splitlines())
        assert (first["type"], first["record"]) == ("platform.start", {"requestId": "r-1", "version": "$LATEST"})
        assert (error["level"], error["errorType"]) == ("ERROR", "ValueError")
        assert (last["type"], last["record"]["status"]) == ("platform.report", "error")
        assert last["record"]["metrics"].keys() == {
            *("durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB", "initDurationMs")
        }

    def test_the_systems_level_silences_lambdas_lines_but_for_failures(self, started: Start) -> None:
        warnings_only = platform_log.Format(is_json=True, system_level="WARN")
        assert invoke(started("echo", log_format=warnings_only)).log == ""
        log = invoke(started("exits", log_format=warnings_only), 1).log
        record = json.loads(log.splitlines()[-1])["record"]
        assert (record["status"], record["errorType"]) == ("error", "Runtime.ExitError")

    def test_the_applications_level_is_the_runtime_clients(self, started: Start) -> None:
        errors_only = platform_log.Format(is_json=True, application_level="ERROR", system_level="WARN")
        assert "through logging" not in invoke(started("prints", log_format=errors_only)).log


@pytest.fixture(scope="module")
def zips() -> Path:
    """What `make build` makes for this machine."""
    return build.build(build.target(build.LOCAL, build.LOCAL))


@pytest.fixture
def proxy(server: embedded_valkey.Server, empty: None) -> Iterator[Proxy]:
    """What counts connections."""
    with proxy_to(server.port) as between:
        yield between


@pytest.mark.parametrize("initialization_type", ["on-demand", "provisioned-concurrency"])
def test_our_own_zips_answer_from_a_real_valkey(
    initialization_type: str, workshop: Workshop, proxy: Proxy, zips: Path
) -> None:
    def unzipped(name: str) -> Path:
        return workshop.code(name, lambda path: path.write_bytes((zips / name).read_bytes()) and None)

    function = Function(
        handler="functions.health.handler.handler",
        code=unzipped("functions/health.zip"),
        layers=workshop.layers([unzipped("layer.zip")]),
        environment={"VALKEY_HOST": "127.0.0.1", "VALKEY_PORT": str(proxy.port)},
        timeout_seconds=LATE_SECONDS,
        memory_mb=512,
        log_format=platform_log.Format(is_json=True, system_level="WARN"),
        initialization_type=initialization_type,
    )
    environment = Environment(function, workshop)
    environment.start()
    wait_until(lambda: proxy.connections == 1)  # it connects before the proxy has accepted
    result = invoke(environment, event("GET", "/health"))
    answered = json.loads(result.body)
    assert (result.is_error, answered["statusCode"]) == (False, 200), result
    assert all(json.loads(line)["level"] == "INFO" for line in result.log.splitlines())
    assert proxy.connections == 1, "what init has connected serves the first request"
    environment.stop()


LAYERED = """
import json, os, time, lay

def handler(event, context):
    print(json.dumps({"seen": event}))
    if event.get("exit"):
        os._exit(event["exit"])
    if event.get("started"):
        with open(event["started"], "w") as file:
            file.write("yes")
        while not os.path.exists(event["go"]):
            time.sleep(0.01)
    return {"pid": os.getpid(), "layer": lay.value, "environ": dict(os.environ)}
"""


def zipped(**files: str) -> bytes:
    """A zip of Python modules; two underscores in a name stand for a slash."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{name.replace('__', '/')}.py", text)
    return buffer.getvalue()


class Aws:
    """Lambda and its logs, as LocalStack has them."""

    def __init__(self, started: localstack.LocalStack):
        session = boto3.Session("test", "test", region_name="eu-central-1")
        self.functions = session.client(
            "lambda", endpoint_url=started.endpoint, config=Config(max_pool_connections=20, read_timeout=LATE_SECONDS)
        )
        self.logs = session.client("logs", endpoint_url=started.endpoint)

    def create(self, **settings: Any) -> str:
        """Makes a function, and waits until it is ready or has failed."""
        name = f"trial-{uuid.uuid4().hex[:8]}"
        settings = {
            "Runtime": f"python{localstack.PYTHON}",
            "Role": "arn:aws:iam::000000000000:role/trial",
            "Handler": "layered.handler",
            "Timeout": LATE_SECONDS,
            "Architectures": ["x86_64" if platform.machine() == "x86_64" else "arm64"],
            **settings,
        }
        self.functions.create_function(FunctionName=name, Code={"ZipFile": zipped(layered=LAYERED)}, **settings)
        wait_until(lambda: self.state(name)[0] != "Pending")
        return name

    def state(self, name: str) -> tuple[str, str]:
        """Active or Failed, and why."""
        settings = self.functions.get_function_configuration(FunctionName=name)
        return settings["State"], settings.get("StateReason", "")

    def invoke(self, name: str, event: Any = None) -> tuple[bool, Any]:
        """Whether it failed, and what came back."""
        reply = self.functions.invoke(FunctionName=name, Payload=json.dumps(event or {}))
        return "FunctionError" in reply, json.loads(reply["Payload"].read())

    def log(self, name: str) -> str:
        """Everything that has reached its log group so far."""
        with contextlib.suppress(self.logs.exceptions.ResourceNotFoundException):
            events = self.logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
            return "".join(event["message"] for event in events)
        return ""


def processes(folder: Path) -> set[int]:
    """The processes of this folder's LocalStack, which all have their temporary files in the folder."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"TMPDIR={folder}/".encode() in path.read_bytes():
                found.add(int(path.parent.name))
    return found


@pytest.fixture(scope="module")
def aws(localstack_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """A LocalStack for these tests; at the end it ends by itself, soon, and nothing is left."""
    folder = tmp_path_factory.mktemp("localstack")
    with localstack.running(localstack_python, folder, free_port()) as started:
        yield Aws(started)
        assert len(processes(folder)) > 2
    assert started.process
    assert started.process.returncode == 0
    wait_until(lambda: not processes(folder))
    assert list(folder.rglob("lambda-executor-*")) == []


@pytest.fixture(scope="module")
def layer(aws: Aws) -> str:
    content = {"ZipFile": zipped(python__lay="value = 42")}
    arn: str = aws.functions.publish_layer_version(LayerName="lay", Content=content)["LayerVersionArn"]
    return arn


class TestLocalStack:
    def test_a_function_answers_with_its_layer_from_the_same_process(self, aws: Aws, layer: str) -> None:
        name = aws.create(Layers=[layer])
        answers = [aws.invoke(name) for _ in range(3)]
        assert [failed for failed, _ in answers] == [False] * 3
        assert {answer["layer"] for _, answer in answers} == {42}
        assert len({answer["pid"] for _, answer in answers}) == 1

    def test_its_log_reaches_its_group_between_lambdas_lines(self, aws: Aws, layer: str) -> None:
        name = aws.create(Layers=[layer])
        aws.invoke(name, {"a": "ü"})
        wait_until(lambda: "REPORT" in aws.log(name))
        pattern = (
            r'START RequestId: (\S+) Version: \$LATEST\n{"seen": {"a": "\\u00fc"}}\nEND RequestId: \1\nREPORT .*\n'
        )
        assert re.fullmatch(pattern, aws.log(name))

    def test_a_log_in_json_keeps_to_its_levels(self, aws: Aws, layer: str) -> None:
        name = aws.create(Layers=[layer], LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "WARN"})
        aws.invoke(name, {"a": 1})
        wait_until(lambda: aws.log(name))
        assert aws.log(name) == '{"seen": {"a": 1}}\n'

    def test_a_function_sees_nothing_of_localstack_but_where_aws_is(self, aws: Aws, layer: str) -> None:
        name = aws.create(Layers=[layer], Environment={"Variables": {"OWN": "yes", "LOCALSTACK_OWN": "too"}})
        _, answer = aws.invoke(name)
        seen = answer["environ"]
        assert seen["OWN"] == "yes"
        assert seen["AWS_LAMBDA_FUNCTION_NAME"] == name
        assert seen["AWS_REGION"] == "eu-central-1"
        assert seen["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
        assert seen["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
        assert [variable for variable in seen if "LOCALSTACK" in variable] == ["LOCALSTACK_OWN"]
        assert not {"EDGE_PORT", "FILESYSTEM_ROOT", "GATEWAY_LISTEN"} & seen.keys()
        assert seen["HOME"] == seen["TMPDIR"]

    def test_concurrent_calls_get_processes_of_their_own(self, aws: Aws, layer: str, tmp_path: Path) -> None:
        name = aws.create(Layers=[layer])
        signs = [{"started": str(tmp_path / f"started-{n}"), "go": str(tmp_path / "go")} for n in range(5)]
        results = [in_background(lambda sign=sign: aws.invoke(name, sign)) for sign in signs]  # type: ignore[misc]
        for sign in signs:
            wait_until(Path(sign["started"]).exists)
        (tmp_path / "go").touch()
        pids = {result()[1]["pid"] for result in results}
        assert len(pids) == 5
        assert aws.invoke(name)[1]["pid"] in pids

    def test_a_crash_is_an_error_and_the_next_call_an_answer(self, aws: Aws, layer: str) -> None:
        name = aws.create(Layers=[layer])
        failed, error = aws.invoke(name, {"exit": 7})
        assert (failed, error["errorType"]) == (True, "Runtime.ExitError")
        assert error["errorMessage"].endswith("Runtime exited with error: exit status 7")
        assert aws.invoke(name)[0] is False
        wait_until(lambda: aws.log(name).count("REPORT") == 2)
        assert "Error Type: Runtime.ExitError" in aws.log(name)

    def test_a_time_out_is_lambdas(self, aws: Aws, layer: str, tmp_path: Path) -> None:
        name = aws.create(Layers=[layer], Timeout=1)
        failed, error = aws.invoke(name, {"started": str(tmp_path / "started"), "go": str(tmp_path / "never")})
        assert (failed, error["errorType"]) == (True, "Sandbox.Timedout")
        assert error["errorMessage"].endswith("Task timed out after 1.00 seconds")

    def test_an_init_error_is_the_answer_and_in_the_log(self, aws: Aws) -> None:
        name = aws.create()  # without its layer
        failed, error = aws.invoke(name)
        assert (failed, error["errorType"]) == (True, "Runtime.ImportModuleError")
        wait_until(lambda: "REPORT" in aws.log(name))
        assert "[ERROR] Runtime.ImportModuleError: Unable to import module 'layered'" in aws.log(name)

    @pytest.mark.parametrize(
        ("settings", "reason"),
        [
            (
                {"Runtime": "python3.13"},
                "for python3.13, and this machine's emulator runs python3.11",
            ),
            ({"Architectures": ["arm64" if platform.machine() == "x86_64" else "x86_64"]}, "and this machine is"),
        ],
    )
    def test_what_this_machine_cannot_run_fails_and_says_why(
        self, aws: Aws, settings: dict[str, Any], reason: str
    ) -> None:
        state, why = aws.state(aws.create(**settings))
        assert (state, reason in why) == ("Failed", True)

    def test_a_killed_localstack_leaves_nothing_running(self, localstack_python: Path, tmp_path: Path) -> None:
        folder = tmp_path / "killed"
        with localstack.running(localstack_python, folder, free_port()) as started:
            aws = Aws(started)
            content = {"ZipFile": zipped(python__lay="value = 1")}
            arn = aws.functions.publish_layer_version(LayerName="lay", Content=content)["LayerVersionArn"]
            name = aws.create(Layers=[arn])
            sign = {"started": str(tmp_path / "started"), "go": str(tmp_path / "never")}

            def call() -> None:
                with contextlib.suppress(BotoCoreError):  # nobody is left to answer
                    aws.invoke(name, sign)

            answered = in_background(call)
            wait_until((tmp_path / "started").exists)
            assert len(processes(folder)) == 3  # LocalStack, the function, the janitor
            assert started.process
            started.process.kill()
            started.process.wait()
            wait_until(lambda: not processes(folder))
            wait_until(lambda: list(folder.rglob("lambda-executor-*")) == [])
            answered()

    def test_what_localstack_gets_wrong_under_load_is_repaired(self, localstack_python: Path, tmp_path: Path) -> None:
        program = """
from localstack.services.lambda_.invocation import assignment, execution_environment
from localstack.services.lambda_.invocation.runtime_executor import get_runtime_executor

print(get_runtime_executor().__name__, get_runtime_executor().__name__)
print(execution_environment.Timer(600, print).daemon)

class Started:
    id, initialization_type, version_manager_id, taken, released = "1", "on-demand", "v", 2, False

    def reserve(self):
        self.taken -= 1
        if self.taken >= 0:
            raise execution_environment.InvalidStatusException("taken")

    def release(self):
        self.released = True

service, started = assignment.AssignmentService(), Started()
service.start_environment = lambda *_: started
with service.get_environment("v", None, "on-demand") as environment:
    print(environment is started, started.released)
print(started.released)
"""
        printed = subprocess.run(
            [localstack_python, "-c", program],
            env={
                "PYTHONPATH": f"{ROOT}:{localstack.PLUGIN}",
                "LAMBDA_RUNTIME_EXECUTOR": "process",
                "XDG_CACHE_HOME": str(tmp_path),
                "PYTHONDONTWRITEBYTECODE": "1",
                "HOME": str(tmp_path),
            },
            check=True,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        ).stdout
        assert printed.split() == ["ProcessExecutor", "ProcessExecutor", "True", "True", "False", "True"]
