"""Valkey servers that are killed, restarted and failed over, and clients that go on submitting meanwhile."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import valkey

from scripts import children
from scripts.local import embedded_valkey
from tests.support.invoking import Invoker, invoker
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tests.support.wires import free_port


class Node:
    """A server process that can be killed and started again, on the same port and with the same files."""

    def __init__(self, folder: Path, **options: object):
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.bus_port = free_port(), free_port()
        self.client = valkey.Valkey(port=self.port, decode_responses=True, socket_timeout=5)
        self._log = folder / "valkey.log"
        self._options = {
            "bind": "127.0.0.1",
            "port": self.port,
            "dir": folder,
            "save": "",
            "maxmemory-policy": "volatile-lru",
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        if self._options.get("cluster-enabled") == "yes":
            self._options["cluster-port"] = self.bus_port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers. To be called in the main thread: it ends with the thread that does."""
        flags = [text for name, value in self._options.items() for text in (f"--{name}", str(value))]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                children.mortal([str(embedded_valkey.binary()), *flags]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self.client.ping)

    def kill(self) -> None:
        """SIGKILL: what it has not written is lost."""
        assert self._process
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self.client.close()

    def close(self) -> None:
        if self._process and self._process.poll() is None:
            self.kill()
        self.client.close()


@contextlib.contextmanager
def node(folder: Path, **options: object) -> Iterator[Node]:
    """A running server with these settings, gone at the end."""
    server = Node(folder, **options)
    try:
        server.start()
        yield server
    finally:
        server.close()


def is_writable(node: Node) -> bool:
    """Whether a cluster's node accepts writes."""
    return bool(node.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")


def role(node: Node) -> str:
    """master or slave."""
    return str(node.client.execute_command("ROLE")[0])


class Submission(NamedTuple):
    """A keyed increment of a player's score."""

    user_id: str
    key: str
    amount: int


class Crew:
    """Clients, each with its own connection, that submit with keys and retry until they know that it is done."""

    def __init__(self, invokers: list[Invoker], users: list[str]):
        self._invokers = invokers
        self._threads = ThreadPoolExecutor(len(invokers))
        self._users = users
        self._stopped = threading.Event()
        self.statuses: Counter[int] = Counter()
        self.acknowledged: list[Submission] = []
        self.slowest_seconds = 0.0

    def create(self, score: int = 0) -> None:
        """Creates the players."""
        for user_id in self._users:
            body = {"userId": user_id, "username": user_id, "email": f"{user_id}@example.com", "score": score}
            assert self._invokers[0]("create_user", "POST", "/users", json_body=body).status == 201

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """All clients submit until the block ends; then what each has begun is acknowledged."""
        self._stopped.clear()
        work = [self._threads.submit(self._work, number) for number in range(len(self._invokers))]
        try:
            yield
        finally:
            self._stopped.set()
            for client in work:
                client.result(PATIENCE_SECONDS * 2)

    def _work(self, number: int) -> None:
        chance = random.Random(number)
        while not self._stopped.is_set():
            submission = Submission(chance.choice(self._users), str(uuid.uuid4()), chance.randrange(1, 1000))
            self.send(submission, number)
            self.acknowledged.append(submission)

    def send(self, submission: Submission, number: int = 0) -> Any:
        """The answer to a submission, which is sent again until it is acknowledged."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            began = time.monotonic()
            answer = self._invokers[number](
                "update_score",
                "PUT",
                f"/users/{submission.user_id}/score",
                json_body={"score": submission.amount, "operator": "increment"},
                headers={"Idempotency-Key": submission.key},
            )
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
            self.statuses[answer.status] += 1
            if answer.status == 200:
                return answer
            assert answer.status == 503, answer.body
            assert time.monotonic() < ends, "it was never acknowledged"
            time.sleep(0.02)

    def wait_for(self, more: int) -> None:
        """Waits until so many more submissions have been acknowledged."""
        goal = len(self.acknowledged) + more
        wait_until(lambda: len(self.acknowledged) >= goal)

    def expected(self) -> dict[str, tuple[str, str]]:
        """Each player's score and games, if every acknowledged submission counts exactly once."""
        scores: Counter[str] = Counter()
        games: Counter[str] = Counter()
        for submission in self.acknowledged:
            scores[submission.user_id] += submission.amount
            games[submission.user_id] += 1
        return {user_id: (str(scores[user_id]), str(games[user_id])) for user_id in self._users}

    def close(self) -> None:
        """Stops sending."""
        self._stopped.set()
        self._threads.shutdown()


@contextlib.contextmanager
def crew(port: int, size: int = 6, players: int = 4, **settings: object) -> Iterator[Crew]:
    """Clients of handlers whose Valkey is at a port."""
    with contextlib.ExitStack() as stack:
        invokers = [stack.enter_context(invoker(port, **settings)) for _ in range(size)]
        clients = Crew(invokers, [f"player-{number}" for number in range(players)])
        stack.callback(clients.close)
        yield clients


def standing(raw: valkey.Valkey, users: list[str]) -> dict[str, tuple[str, str]]:
    """Each player's score and games, from the profiles."""
    return {user_id: tuple(raw.hmget(f"user:{user_id}", "score", "gamesPlayed")) for user_id in users}  # type: ignore[misc]
