"""`make emulate`: terraform/ applied to an AWS on this machine, with real functions, real HTTP and a real Valkey.

Starts LocalStack and a Valkey, or uses those that LOCALSTACK_HOST and VALKEY_HOST name, builds, applies, and takes it
all away again at Ctrl-C. With KEEP=1 a process in the background does this, and goes on after Ctrl-C.
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
from typing import Any, get_args

from scripts import signals
from scripts.aws import build, infrastructure, terraform_mirror
from scripts.emulator import localstack
from scripts.emulator.localstack import LocalStack
from scripts.emulator.terraform import ENVIRONMENT, Terraform, client
from scripts.local import api as local_api
from scripts.local import demo, embedded_valkey
from scripts.places import ROOT
from scripts.refusal import Refusal
from shared import config, tokens
from shared.store import Store

FOLDER = ROOT / ".emulated"
FACTS = FOLDER / "emulation.json"
"""Where everything is while it runs, for programs to read."""

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
    access: str = "open"
    server_token: str | None = None
    """A server's token that is good for a day, where access is protected."""


def run(environ: Mapping[str, str]) -> None:
    """Emulates until a signal. Raises Refusal, with nothing left running."""
    with _alone():
        _check(environ)
        access = _access(environ)
        with _localstack(environ) as started, _valkey(environ) as (host, port):
            terraform = _terraform(started, host, port, access)
            try:
                facts = _applied(terraform, host, port)
                player = None if environ.get("VALKEY_HOST") else _fill(facts)
                told = _tokens(terraform) if facts.access == "protected" else {}
                facts = dataclasses.replace(facts, server_token=told.get("server"))
                FACTS.write_text(json.dumps(dataclasses.asdict(facts), indent=2) + "\n")
                FACTS.chmod(0o600)  # it has a key, and perhaps a token
                rules = settings(facts).rules
                print(local_api.welcome(facts.base_url, facts.api_key, player, rules, told), flush=True)
                while True:
                    started.check_alive()
                    time.sleep(LOOK_SECONDS)
            finally:
                FACTS.unlink(missing_ok=True)
                _take_away(terraform)


def keep(environ: Mapping[str, str]) -> int:
    """Emulates in a background process and shows its output. Ctrl-C ends that process, unless it is ready by then."""
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
        with log.open(encoding="utf-8") as written:
            written.seek(begin)
            while process.poll() is None:
                is_ready = is_ready or ((facts := running()) is not None and facts.process == process.pid)
                print(written.read(), end="", flush=True)
                time.sleep(LOOK_SECONDS)
            print(written.read(), end="", flush=True)
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
    """Holds the folder's lock: two emulations would share their files."""
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = running()
            place = f": it answers at {other.base_url}, and kill {other.process} ends it" if other else ""
            raise Refusal(f"make emulate is already running here{place}. Use that one, or end it first.") from None
        FACTS.unlink(missing_ok=True)  # of one that was killed
        yield


def running() -> Facts | None:
    """Where everything is that a `make emulate` has made here; None if there is none, or it is not ready yet."""
    try:
        return Facts(**json.loads(FACTS.read_text()))
    except (FileNotFoundError, ValueError):
        return None


def _check(environ: Mapping[str, str]) -> None:
    """Raises Refusal for what would otherwise fail later, after half a gigabyte was installed."""
    infrastructure.check_terraform()
    plugin_dir = environ.get("TF_PLUGIN_DIR")
    if plugin_dir and not Path(plugin_dir, terraform_mirror.PROVIDER).is_dir():
        raise Refusal(
            f"TF_PLUGIN_DIR={plugin_dir} has no {terraform_mirror.PROVIDER}: name a folder that has it, such as one "
            "that `terraform providers mirror` makes, or leave TF_PLUGIN_DIR out to use Terraform's registry."
        )


@contextlib.contextmanager
def _localstack(environ: Mapping[str, str]) -> Iterator[LocalStack]:
    """The LocalStack that environ names, or one of our own."""
    if address := environ.get("LOCALSTACK_HOST", "").strip():
        yield localstack.find(address)
        return
    if sys.platform != "linux":
        raise Refusal(
            "Functions run as processes on Linux only: start LocalStack your own way, and name it and a Valkey that "
            "its functions can reach: make emulate LOCALSTACK_HOST=localhost:4566 VALKEY_HOST=host.docker.internal"
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
    """Host and port of the Valkey that environ names, as the functions see it, or of one of our own."""
    if host := environ.get("VALKEY_HOST", "").strip():
        yield host, config.load(environ).valkey_port
        return
    with embedded_valkey.running(FOLDER / "valkey") as server:
        yield server.host, server.port


def _access(environ: Mapping[str, str]) -> str:
    """What ACCESS says, or what the environment's file does. Raises Refusal."""
    text = environ.get("ACCESS", "").strip() or infrastructure.value(ENVIRONMENT, "access") or ""
    if text not in get_args(config.Access):
        raise Refusal(f"ACCESS is {text!r}: it should be {' or '.join(get_args(config.Access))}.")
    return text


def _tokens(terraform: Terraform) -> dict[config.Scope, str]:
    """A token of each scope, signed by the deployment's own key."""

    def kms() -> Any:
        return client(terraform.localstack, terraform.region, "kms")

    alias = terraform.outputs()["signing_key_alias"]
    key = tokens.kms_key(kms().describe_key(KeyId=alias)["KeyMetadata"]["Arn"], kms)
    return local_api.one_of_each(key, f"leaderboard-{ENVIRONMENT}")


def _terraform(started: LocalStack, host: str, port: int, access: str) -> Terraform:
    """Builds the zips, for the Python that LocalStack's functions run on, and returns an initialised Terraform."""
    wanted = build.target(build.LOCAL, localstack.PYTHON)
    with _step("Zips built"):
        build.build(wanted)
    variables = {
        "architecture": wanted.architecture,
        "runtime": f"python{wanted.python}",
        "emulator": {"valkey_host": host, "valkey_port": port},
        "access": access,
    }
    terraform = Terraform(started, infrastructure.value(ENVIRONMENT, "region") or "", FOLDER, variables)
    with _step("Terraform ready"):
        terraform.init()
    return terraform


def _applied(terraform: Terraform, host: str, port: int) -> Facts:
    """Applies, and returns once the API is healthy."""
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
        access=str(terraform.variables["access"]),
    )
    with _step("The API answers"):
        wait_until_healthy(facts)
    return facts


def wait_until_healthy(facts: Facts) -> None:
    """Returns once the API answers that it is healthy. Raises Refusal if it answers otherwise."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{facts.base_url}/health", timeout=ANSWER_SECONDS):
            return
    except urllib.error.HTTPError as error:
        problem = f"{error.code}: {error.read().decode(errors='replace')}"
    except OSError as error:
        problem = str(error)
    raise Refusal(
        f"Everything is applied, but GET {facts.base_url}/health says {problem}. If the functions cannot reach "
        f"Valkey at {facts.valkey_host}:{facts.valkey_port}, name one that they can: VALKEY_HOST=… VALKEY_PORT=… (a "
        "LocalStack in Docker runs them in containers, whose 127.0.0.1 is not this machine's)."
    )


def _take_away(terraform: Terraform) -> None:
    """Destroys what is in LocalStack, even after an apply that did not finish."""
    print("Destroying …", flush=True)
    try:
        with _step("Terraform destroyed"):
            terraform.destroy()
    except Refusal as error:
        print(f"{error}\nWhat is left is in LocalStack, and goes when it ends.", file=sys.stderr)


def _fill(facts: Facts) -> str:
    """Creates the demo players, and returns the id of one."""
    own = settings(facts)
    demo.fill(Store(own), own.rules)
    return local_api.PLAYER


def settings(facts: Facts) -> config.Settings:
    """The functions' settings, as far as they reach its Valkey."""
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
