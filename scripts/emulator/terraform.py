"""Terraform for `make emulate`: the tree as it is, with its state in the emulator too, and a display of progress."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts import children
from scripts.aws import terraform_mirror, terraform_provider, values
from scripts.aws.terraform_provider import Provider
from scripts.emulator.localstack import LocalStack
from scripts.places import TERRAFORM
from scripts.refusal import Refusal

ENVIRONMENT = "local"
BACKEND = Path("environments", f"{ENVIRONMENT}.backend.hcl")
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
"""The credentials that LocalStack takes for its account 000000000000."""

ATTEMPTS = "4"
"""For each call: by default the provider tries for minutes to reach a LocalStack that has ended."""

LONGEST_SECONDS = 600
END_SECONDS = 30
LOOK_SECONDS = 0.5
READ_SECONDS = 0.1
SHOWN_EVERY = 50


@dataclass(frozen=True)
class Terraform:
    """`tree` with its working files in a folder and everything else in LocalStack."""

    localstack: LocalStack
    region: str
    folder: Path
    variables: Mapping[str, Any]
    """In addition to those of the environment's own file."""
    tree: Path = TERRAFORM

    @property
    def environ(self) -> dict[str, str]:
        """What makes terraform, or an SDK, talk to LocalStack and to nothing else."""
        return {
            **terraform_mirror.environment(),
            **KEYS,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": self.localstack.endpoint,
            "AWS_ENDPOINT_URL_S3": self.localstack.endpoint,  # the backend ignores the other one
            "AWS_MAX_ATTEMPTS": ATTEMPTS,
            "TF_DATA_DIR": str(self._data),
        }

    @property
    def bucket(self) -> str:
        """The bucket of the states, as terraform/bootstrap/ makes one in an account."""
        return self._backend("bucket")

    def init(self) -> None:
        """Makes the state's bucket and the working files. Raises Refusal."""
        from botocore.exceptions import ClientError  # type: ignore[import-untyped] # noqa: PLC0415 - slow to import

        s3 = client(self.localstack, self.region, "s3")
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": self.region})
        if self._unfinished.exists():  # whoever locked the state was killed: the folder is ours now
            with contextlib.suppress(ClientError):
                s3.delete_object(Bucket=self.bucket, Key=f"{self.state}.tflock")
        try:
            self.run(
                "init",
                "-input=false",
                "-no-color",
                "-reconfigure",
                f"-backend-config={BACKEND}",
                *terraform_mirror.init_options(),
            )
        except Refusal as error:
            self.localstack.check_alive()
            raise Refusal(
                f"{error}\nTerraform needs its registry, or a folder with the AWS provider, named by TF_PLUGIN_DIR."
            ) from None

    def apply(self) -> int:
        """Makes LocalStack what terraform/ says, and returns how many resources it changed. Raises Refusal."""
        return self._change("apply")

    def destroy(self) -> int:
        """Destroys all of it, and returns how many resources that were. Raises Refusal."""
        return self._change("destroy")

    def outputs(self) -> dict[str, Any]:
        """The values of terraform/outputs.tf, secrets included."""
        return {name: output["value"] for name, output in json.loads(self.run("output", "-json")).items()}

    def plan(self) -> list[str]:
        """The addresses that an apply would change. Raises Refusal."""
        with self._provided("plan", "-json", "-input=false", *self._values()) as lines:
            events = list(map(json.loads, lines))
        return [event["change"]["resource"]["addr"] for event in events if event["type"] == "planned_change"]

    def run(self, *command: str) -> str:
        """What a command prints. Raises Refusal."""
        with self._running(*command) as lines:
            return "".join(lines)

    @property
    def state(self) -> str:
        """The state's place in that bucket."""
        return self._backend("key")

    def _backend(self, name: str) -> str:
        """One of the texts in the backend's file."""
        return str(values.read(self.tree / BACKEND)[name])

    @property
    def _data(self) -> Path:
        return self.folder / "terraform"

    @property
    def _unfinished(self) -> Path:
        """A file that exists while a change is made, and after one that was killed."""
        return self.folder / "unfinished"

    def _values(self) -> list[str]:
        file = self.folder / "given.tfvars.json"
        file.write_text(json.dumps(self.variables))
        return [f"-var-file=environments/{ENVIRONMENT}.tfvars", f"-var-file={file}"]

    def _change(self, action: str) -> int:
        self._unfinished.touch()
        progress = _Progress(action)
        with self._provided(action, "-json", "-auto-approve", "-input=false", *self._values()) as lines:
            try:
                for line in lines:
                    progress.see(json.loads(line))
            finally:
                progress.end()
        self._unfinished.unlink()
        return progress.done

    @contextlib.contextmanager
    def _provided(self, *command: str) -> Iterator[Iterator[str]]:
        """`_running` with one provider for all steps of the command, which would start one for each."""
        log = self.folder / "provider.log"
        with (
            terraform_provider.serving(self._data, log, self.environ, self.tree) as provider,
            self._running(*command, provider=provider) as lines,
        ):
            yield lines

    @contextlib.contextmanager
    def _running(self, *command: str, provider: Provider | None = None) -> Iterator[Iterator[str]]:
        """The lines that a command prints. Raises Refusal, also if LocalStack has ended.

        They go through a file: if we were killed, a pipe would end Terraform before it has ended its providers.
        """
        output = self.folder / "terraform.out"
        with output.open("wb") as file:
            process = subprocess.Popen(
                children.mortal(["terraform", f"-chdir={self.tree}", *command]),
                env=self.environ | dict(provider.variables if provider else {}),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                pass_fds=[provider.lifeline] if provider else [],  # it needs its provider to end well, if we are killed
                start_new_session=True,  # otherwise the terminal's Ctrl-C would reach Terraform before us
            )
        printed: list[str] = []
        try:
            threading.Thread(target=self._watch, args=[process], daemon=True).start()
            yield self._noted(_lines(process, output), printed, is_secret=command[0] == "output")
            status = process.wait()
        finally:
            _end(process)
            output.unlink()
        self.localstack.check_alive()
        if status:
            raise Refusal(f"terraform {command[0]} failed:\n{_errors(printed)}")

    def _noted(self, lines: Iterator[str], printed: list[str], *, is_secret: bool) -> Iterator[str]:
        with (self.folder / "terraform.log").open("a") as log:
            for line in lines:
                printed.append(line)
                log.write("" if is_secret else line)
                yield line

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Ends a command that takes too long or has lost its LocalStack: the provider would try again for minutes."""
        ends = time.monotonic() + LONGEST_SECONDS
        while process.poll() is None:
            if time.monotonic() > ends or not self.localstack.is_alive():
                _kill(process)
            time.sleep(LOOK_SECONDS)


class _Progress:
    """How many resources are done, on one line of a terminal, or on a new line now and then."""

    def __init__(self, action: str):
        self.done = 0
        self._action, self._of, self._began = action, 0, time.monotonic()
        self._is_terminal = sys.stdout.isatty()

    def see(self, event: Mapping[str, Any]) -> None:
        """Counts one of Terraform's events, as `-json` prints them."""
        if event["type"] == "planned_change":
            self._of += 1
        elif event["type"] == "apply_complete" and event["hook"]["action"] != "read":
            self.done += 1
            if self._is_terminal or self.done % SHOWN_EVERY == 0:
                self._show()

    def end(self) -> None:
        """Ends the line."""
        if self._is_terminal and self.done:
            print()

    def _show(self) -> None:
        seconds = time.monotonic() - self._began
        text = f"terraform {self._action}: {self.done} of {self._of} resources ({seconds:.0f} s)"
        print(f"\r{text}" if self._is_terminal else text, end="" if self._is_terminal else "\n", flush=True)


def client(localstack: LocalStack, region: str, service: str) -> Any:
    """A boto3 client for LocalStack, whatever credentials this shell has."""
    import boto3  # type: ignore[import-untyped] # noqa: PLC0415 - slow to import

    keys = {name.lower(): value for name, value in KEYS.items()}
    return boto3.client(service, region_name=region, endpoint_url=localstack.endpoint, **keys)


def _lines(process: subprocess.Popen[bytes], output: Path) -> Iterator[str]:
    """The lines that a process writes to a file, each as soon as it is whole, until the process has ended."""
    begun = ""
    with output.open(encoding="utf-8") as file:
        while True:
            has_ended = process.poll() is not None
            *whole, begun = (begun + file.read()).split("\n")
            yield from (f"{line}\n" for line in whole)
            if has_ended:
                break
            time.sleep(READ_SECONDS)
    if begun:
        yield begun


def _errors(printed: list[str]) -> str:
    """What went wrong: the errors among `-json`'s events, and all lines that are not events."""
    found = []
    for line in printed:
        try:
            event = json.loads(line)
        except ValueError:
            found.append(line.rstrip())
            continue
        if event.get("type") == "diagnostic" and event["diagnostic"]["severity"] == "error":
            diagnostic = event["diagnostic"]
            place = f" ({diagnostic['address']})" if diagnostic.get("address") else ""
            found.append(f"{diagnostic['summary']}{place}: {diagnostic.get('detail', '')}".strip())
    return "\n".join(found)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks a process that still runs to stop in good order, and kills it if it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills it and its providers, which would outlive it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
