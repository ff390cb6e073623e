"""`make emulate`: terraform/ applied to an AWS on this machine, with real functions, real HTTP and a real Valkey.

Starts LocalStack and a Valkey, or uses those that LOCALSTACK_HOST and VALKEY_HOST name, builds, applies, and takes it
all away again at Ctrl-C. With KEEP=1 the work is done by a process in the background, which Ctrl-C then leaves alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts import signals
from scripts.aws import build, infrastructure, terraform_mirror
from scripts.emulator import localstack
from scripts.emulator.localstack import LocalStack
from scripts.emulator.terraform import ENVIRONMENT, Terraform
from scripts.local import api as local_api
from scripts.local import demo, embedded_valkey
from scripts.places import ROOT
from scripts.refusal import Refusal
from shared import config
from shared.store import Store

FOLDER = ROOT / ".emulated"
FACTS = FOLDER / "emulation.json"
"""Of the one that runs: where everything is, for programs."""

ANSWER_SECONDS = 30
LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Facts:
    """Where everything is, once the API answers."""

    process: int
    base_url: str
    api_key: str
    localstack: str
    region: str
    valkey_host: str
    valkey_port: int


def run(environ: Mapping[str, str]) -> None:
    """Emulates until a signal. Raises Refusal, with nothing left running."""
    with _alone():
        _check(environ)
        with _localstack(environ) as started, _valkey(environ) as (host, port):
            terraform = _terraform(started, host, port)
            try:
                facts = _applied(terraform, host, port)
                player = None if environ.get("VALKEY_HOST") else _fill(facts)
                FACTS.write_text(json.dumps(dataclasses.asdict(facts), indent=2) + "\n")
                print(local_api.welcome(facts.base_url, facts.api_key, player, _settings(facts).rules), flush=True)
                while True:
                    started.check_alive()
                    time.sleep(LOOK_SECONDS)
            finally:
                FACTS.unlink(missing_ok=True)
                _take_away(terraform)


def keep(environ: Mapping[str, str]) -> int:
    """Has a process in the background emulate, and shows what it says until it is ready or has failed."""
    FOLDER.mkdir(exist_ok=True)
    log = FOLDER / "emulate.log"
    with log.open("ab") as output:
        begin = output.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.emulator.emulate"],
            cwd=ROOT,
            env={name: value for name, value in environ.items() if name != "KEEP"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    is_ready = False
    try:
        with log.open(encoding="utf-8") as said:
            said.seek(begin)
            while process.poll() is None:
                is_ready = is_ready or _facts().get("process") == process.pid
                print(said.read(), end="", flush=True)
                time.sleep(LOOK_SECONDS)
            print(said.read(), end="", flush=True)
    except KeyboardInterrupt:
        if is_ready:
            print(f"It goes on in the background. This ends it and all that it started: kill {process.pid}")
            return 0
        process.terminate()
        process.wait()
        raise
    return process.returncode


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """The folder's lock: two that emulate would share their files."""
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = _facts()
            place = f": it answers at {other['base_url']}, and kill {other['process']} ends it" if other else ""
            raise Refusal(f"make emulate is running here already{place}. Use that one, or end it first.") from None
        FACTS.unlink(missing_ok=True)  # of one that was killed
        yield


def _facts() -> dict[str, object]:
    try:
        return dict(json.loads(FACTS.read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def _check(environ: Mapping[str, str]) -> None:
    """What would fail later, and after half a gigabyte was installed. Raises Refusal."""
    infrastructure.check_terraform()
    given = environ.get("TF_PLUGIN_DIR")
    if given and not Path(given, terraform_mirror.PROVIDER).is_dir():
        raise Refusal(
            f"TF_PLUGIN_DIR={given} has no {terraform_mirror.PROVIDER}: name a folder that has, such as "
            "`terraform providers mirror` makes, or leave it out to have Terraform's registry asked."
        )


@contextlib.contextmanager
def _localstack(environ: Mapping[str, str]) -> Iterator[LocalStack]:
    """The one that is named, or one of our own."""
    if given := environ.get("LOCALSTACK_HOST", "").strip():
        yield localstack.find(given)
        return
    if sys.platform != "linux":
        raise Refusal(
            "Functions as processes are for Linux: start LocalStack as you know it, and name it and a Valkey that its "
            "functions reach: make emulate LOCALSTACK_HOST=localhost:4566 VALKEY_HOST=host.docker.internal"
        )
    port = _port(environ)
    localstack.check_port(port)
    python = localstack.install()
    with contextlib.ExitStack() as stack:
        with _step("LocalStack started"):
            started = stack.enter_context(localstack.running(python, FOLDER / "localstack", port))
        yield started


@contextlib.contextmanager
def _valkey(environ: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Host and port of the one that is named, as the functions see it, or of one of our own."""
    if host := environ.get("VALKEY_HOST", "").strip():
        yield host, config.load(environ).valkey_port
        return
    with embedded_valkey.running(FOLDER / "valkey") as server:
        yield server.host, server.port


def _terraform(started: LocalStack, host: str, port: int) -> Terraform:
    """Terraform with the zips in place that it deploys. They are for the Python that LocalStack's functions run on."""
    wanted = build.target(build.LOCAL, localstack.PYTHON)
    with _step("Zips built"):
        build.build(wanted)
    variables = {
        "architecture": wanted.architecture,
        "runtime": f"python{wanted.python}",
        "emulator": {"valkey_host": host, "valkey_port": port},
    }
    terraform = Terraform(started, infrastructure.value(ENVIRONMENT, "region") or "", FOLDER, variables)
    with _step("Terraform ready"):
        terraform.init()
    return terraform


def _applied(terraform: Terraform, host: str, port: int) -> Facts:
    """Applies, and returns when the API answers well."""
    with _step("Terraform applied"):
        terraform.apply()
    outputs = terraform.outputs()
    address = urllib.parse.urlsplit(outputs["api_url"])
    api_id, stage = (address.hostname or "").partition(".")[0], address.path.strip("/")
    facts = Facts(
        process=os.getpid(),
        base_url=f"{terraform.localstack.endpoint}/_aws/execute-api/{api_id}/{stage}",
        api_key=next(iter(outputs["api_key_values"].values())),
        localstack=terraform.localstack.endpoint,
        region=terraform.region,
        valkey_host=host,
        valkey_port=port,
    )
    with _step("The API answers"):
        wait_until_healthy(facts)
    return facts


def wait_until_healthy(facts: Facts) -> None:
    """Until the API answers well. Raises Refusal if it answers otherwise."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{facts.base_url}/health", timeout=ANSWER_SECONDS):
            return
    except urllib.error.HTTPError as error:
        said = f"{error.code}: {error.read().decode(errors='replace')}"
    except OSError as error:
        said = str(error)
    raise Refusal(
        f"Everything is applied, but GET {facts.base_url}/health says {said}. If it is the functions that do not reach "
        f"Valkey at {facts.valkey_host}:{facts.valkey_port}, name one that they reach: VALKEY_HOST=… VALKEY_PORT=… (a "
        "LocalStack in Docker runs them in containers, where this machine's 127.0.0.1 is another)."
    )


def _take_away(terraform: Terraform) -> None:
    """Destroys what is in LocalStack, also after an apply that did not come to its end."""
    print("Destroying …", flush=True)
    try:
        with _step("Terraform destroyed"):
            terraform.destroy()
    except Refusal as error:
        print(f"{error}\nWhat is left of it is in LocalStack, and ends with it.", file=sys.stderr)


def _fill(facts: Facts) -> str:
    """Demo players, and one of them."""
    settings = _settings(facts)
    demo.fill(Store(settings), settings.rules)
    return local_api.PLAYER


def _settings(facts: Facts) -> config.Settings:
    return config.load({"VALKEY_HOST": facts.valkey_host, "VALKEY_PORT": str(facts.valkey_port)})


def _port(environ: Mapping[str, str]) -> int:
    text = environ.get("PORT", "").strip() or str(localstack.PORT)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise Refusal(f"PORT is {text!r}: it should be a number from 1 to 65535.")
    return int(text)


@contextlib.contextmanager
def _step(done: str) -> Iterator[None]:
    """Says what is done and how long it took."""
    began = time.monotonic()
    yield
    print(f"{done} ({time.monotonic() - began:.1f} s)", flush=True)


def main() -> int:
    """Emulates until Ctrl-C, or says in one sentence why it cannot."""
    signals.interrupt_once()
    try:
        if os.environ.get("KEEP", "").strip() == "1":
            return keep(os.environ)
        run(os.environ)
    except KeyboardInterrupt:
        return 0
    except (Refusal, config.MisconfiguredError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    signals.leave(main())
