"""`make run` as a stranger meets it: what it prints, what it keeps, what it says if it cannot run, and how it ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import valkey

from scripts.local import embedded_valkey
from scripts.local import schedule as local_schedule
from scripts.places import ROOT
from tests.support import once, processes
from tests.support.patience import wait_until
from tests.support.wires import free_port, silent

COPIED = ("functions", "scripts", "shared")
END_SECONDS = 30
"""Patience, not a promise."""
DEMO_PLAYERS = 1000


class Run:
    """A running `python -m scripts.run` and what it printed."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, port: int):
        self.process, self._output, self.port = process, output, port
        self.base_url = f"http://127.0.0.1:{port}"

    @property
    def printed(self) -> str:
        """Everything that it has printed so far."""
        return self._output.read_text(encoding="utf-8")

    def get(self, path: str, **headers: str) -> Any:
        """The value of a good reply."""
        response = httpx.get(self.base_url + path, headers=headers, timeout=5, trust_env=False)
        assert response.status_code == 200, response.text
        return response.json()

    def wait_until(self, phrase: str) -> None:
        """Waits until it has printed this."""
        wait_until(lambda: phrase in self.printed or self.process.poll() is not None)
        assert phrase in self.printed, self.printed

    def end(self, number: int = signal.SIGINT) -> None:
        """Does what Ctrl-C does: sends a signal to the whole process group. The run must end at once and quietly."""
        os.killpg(self.process.pid, number)
        assert self.process.wait(END_SECONDS) == 0, self.printed
        assert "Traceback" not in self.printed
        assert "Exception" not in self.printed
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what `make run` needs: it keeps its data beside the code, and the data here must not be touched."""
    return copied(tmp_path / "copy")


def copied(folder: Path) -> Path:
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("node_modules"))
    return folder


@contextlib.contextmanager
def starting(copy: Path, **more: object) -> Iterator[Run]:
    """The command just after its start."""
    port = free_port()
    output = copy / f"output-{port}"
    with processes.started("scripts.run", output, folder=copy, **{"PORT": port, **more}) as process:
        yield Run(process, output, port)


@contextlib.contextmanager
def running(copy: Path, **more: object) -> Iterator[Run]:
    """The command once it answers requests."""
    with starting(copy, **more) as run:
        run.wait_until("Ctrl-C")
        processes.wait_until_answering(run.base_url, run.process, copy / f"output-{run.port}")
        yield run


def refused(copy: Path, **more: object) -> str:
    """The one line that it prints instead of running, perhaps after the one that says what it is doing."""
    with starting(copy, **more) as run:
        assert run.process.wait(processes.START_SECONDS) == 1, run.printed
        (line,) = [line for line in run.printed.splitlines() if line != "Starting Valkey …"]
        return line


def assert_no_valkey_is_left(copy: Path) -> None:
    """Asserts that the server is gone: it holds the lock of its data folder as long as it lives."""
    with (copy / ".data" / "lock").open("a") as lock:

        def is_free() -> bool:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            return False

        wait_until(is_free)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a first run leaves in `.data`, without the copy of the totals, which shows that the schedule has run.

    It takes seconds, so the workers of one test run share it.
    """

    def make(path: Path) -> None:
        folder = copied(tmp_path_factory.mktemp("first") / "copy")
        with running(folder) as run, inside(folder) as client:
            wait_until(lambda: client.exists("stats:game"))
            client.delete("stats:game")
            run.end()
        assert_no_valkey_is_left(folder)
        (folder / ".data").rename(path)

    return once.made(tmp_path_factory, "first-run", make)


@pytest.fixture
def used(copy: Path, data: Path) -> Path:
    """A copy in which a first run has ended: the demo players are there, whose making takes seconds."""
    shutil.copytree(data, copy / ".data")
    return copy


def assert_the_lines_work(run: Run) -> None:
    """Asserts that all three lines work as they are printed."""
    replies = [processes.pasted(line) for line in processes.lines_to_paste(run.printed)]
    assert len(replies) == 3
    page, written, near = replies
    assert 0 < len(page["leaderboard"]) <= 5
    assert written["success"] is True
    (current,) = [entry for entry in near["players"] if entry["isCurrentUser"]]
    assert (current["userId"], current["score"]) == (written["user"]["userId"], written["user"]["score"])


@processes.needs_curl
def test_a_first_run_has_demo_players_and_its_three_lines_work_when_pasted(copy: Path) -> None:
    with running(copy) as run:
        assert run.base_url in run.printed
        page = run.get("/leaderboard?limit=100")
        assert page["totalPlayers"] == DEMO_PLAYERS
        scores = [entry["score"] for entry in page["leaderboard"]]
        assert scores[0] > 5 * run.get(f"/leaderboard?limit=1&offset={DEMO_PLAYERS // 2}")["leaderboard"][0]["score"]
        assert len({entry["username"] for entry in page["leaderboard"]}) > 80
        assert run.get("/stats")["stats"]["totalGames"] > 0
        assert_the_lines_work(run)
        run.end()
    assert_no_valkey_is_left(copy)


@processes.needs_curl
def test_a_restart_loses_nothing_and_the_lines_carry_the_api_key(used: Path) -> None:
    with running(used) as run:
        created = {"userId": "ada", "username": "Ada", "email": "ada@example.com", "score": 10**9}
        assert httpx.post(f"{run.base_url}/users", json=created, trust_env=False).status_code == 201
        before = run.get("/stats"), run.get("/leaderboard?limit=100")
        run.end(signal.SIGTERM)
    assert_no_valkey_is_left(used)
    key = 'it\'s "mine" & yours'
    with running(used, API_KEY=key) as run:
        assert (
            run.get("/stats", **{"x-api-key": key}),
            run.get("/leaderboard?limit=100", **{"x-api-key": key}),
        ) == before
        assert before[1]["leaderboard"][0]["userId"] == "ada"
        assert httpx.get(f"{run.base_url}/leaderboard", trust_env=False).status_code == 403
        assert_the_lines_work(run)


@processes.needs_curl
def test_a_protected_run_prints_a_token_of_each_scope_and_asks_for_one(used: Path) -> None:
    with running(used, ACCESS="protected") as run:
        lines = processes.lines_to_paste(run.printed)
        page, written, near, exported, shown = map(processes.pasted, lines)
        (entry,) = [entry for entry in near["players"] if entry["isCurrentUser"]]
        assert entry["score"] == written["user"]["score"]
        assert page["leaderboard"]
        assert exported["export"]["user"]["userId"] == entry["userId"]
        assert shown["visibility"]["hidden"] is False
        sent = re.sub("-H 'Authorization: [^']*' ", "", lines[1])
        assert sent != lines[1]
        assert processes.pasted(sent)["code"] == "unauthenticated"
        tokens = re.findall("Bearer ([^']+)", run.printed)
        with httpx.Client(trust_env=False) as client:  # the dashboard shows the lines to whoever opens it
            page = client.get(re.findall(r"dashboard is at (\S+)", run.printed)[0]).text
        assert not [token for token in tokens if token in page]
        made = processes.finished("scripts.tokens", folder=used, SCOPE="server", NAME="backend").stdout.strip()
        headers = {"Authorization": f"Bearer {made}"}
        answer = httpx.get(f"{run.base_url}/sessions/none", headers=headers, timeout=5, trust_env=False)
        assert answer.json()["code"] == "session_not_found"
        run.end()
    with running(used, ACCESS="protected") as run:
        answer = httpx.get(f"{run.base_url}/sessions/none", headers=headers, timeout=5, trust_env=False)
        assert answer.status_code == 404, "the key is still the same"


def test_two_runs_cannot_share_their_data_and_the_second_says_so(used: Path) -> None:
    with running(used) as run:
        line = refused(used)
        assert ".data is in use" in line
        assert run.get("/health")["status"] == "healthy", "the first goes on"


def test_no_valkey_survives_a_run_that_was_killed(used: Path) -> None:
    with running(used) as run:
        run.process.kill()
        run.process.wait()
        assert_no_valkey_is_left(used)
    with running(used) as run:
        assert run.get("/leaderboard")["totalPlayers"] == DEMO_PLAYERS


def test_the_embedded_valkey_is_alone_in_its_cluster_and_has_all_slots_at_every_start(tmp_path: Path) -> None:
    for start in range(2):
        with embedded_valkey.running(tmp_path, durable=True) as server, valkey.Valkey(port=server.port) as client:
            ((ranges, nodes),) = [shard[1:4:2] for shard in client.execute_command("CLUSTER SHARDS")]
            ((_, node_id, _, port),) = [node[:4] for node in nodes]
            assert (ranges, node_id, port) == ([0, 16383], client.execute_command("CLUSTER MYID"), server.port)
            assert client.execute_command("CLUSTER INFO")["cluster_known_nodes"] == "1"
            assert client.execute_command("ROLE")[0] == b"master"
            assert client.incr("starts") == start + 1


def test_ctrl_c_while_it_starts_is_as_quiet(copy: Path) -> None:
    with starting(copy) as run:
        run.wait_until("Starting Valkey")
        run.end()
    assert_no_valkey_is_left(copy)


def test_an_interrupted_filling_is_finished_by_the_next_run(copy: Path) -> None:
    with starting(copy) as run:
        run.wait_until("Starting Valkey")
        time.sleep(0.5)  # somewhere before, in or after the filling: the end is the same
        run.end()
    with running(copy) as run:
        assert run.get("/leaderboard")["totalPlayers"] == DEMO_PLAYERS


def test_ctrl_c_does_not_wait_for_clients_or_for_a_valkey_that_is_away(copy: Path) -> None:
    with contextlib.ExitStack() as stack:
        settings = {"VALKEY_HOST": "127.0.0.1", "COMMAND_SECONDS": 10, "DEADLINE_SECONDS": 20, "RECONCILE_SECONDS": 0.1}
        server = stack.enter_context(embedded_valkey.running(copy / "other"))
        run = stack.enter_context(running(copy, **settings, VALKEY_PORT=server.port))
        idle = stack.enter_context(socket.create_connection(("127.0.0.1", run.port)))
        idle.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert idle.recv(100).startswith(b"HTTP/1.1 200")
        os.kill(server.pid, signal.SIGSTOP)
        stack.callback(os.kill, server.pid, signal.SIGCONT)
        waiting = stack.enter_context(socket.create_connection(("127.0.0.1", run.port)))
        waiting.sendall(b"GET /stats HTTP/1.1\r\nhost: localhost\r\n\r\n")
        time.sleep(0.3)
        run.end()


def test_a_given_valkey_is_used_and_gets_demo_players_only_on_demand(
    copy: Path, server: embedded_valkey.Server, raw: valkey.Valkey
) -> None:
    address = {"VALKEY_HOST": server.host, "VALKEY_PORT": server.port}
    with running(copy, **address) as run:
        assert run.get("/leaderboard") == {"leaderboard": [], "totalPlayers": 0}
        run.end()
    with running(copy, **address, DEMO="1") as run:
        assert run.get("/leaderboard")["totalPlayers"] == DEMO_PLAYERS
        run.end()
    assert raw.ping(), "a Valkey that was given is not ended"
    assert not (copy / ".data").exists()


@processes.needs_curl
def test_the_lines_work_on_an_empty_board_too(copy: Path, server: embedded_valkey.Server, raw: valkey.Valkey) -> None:
    with running(copy, VALKEY_HOST=server.host, VALKEY_PORT=server.port) as run:
        _, create, near = processes.lines_to_paste(run.printed)
        user_id = processes.pasted(create)["user"]["userId"]
        assert [entry["userId"] for entry in processes.pasted(near)["players"]] == [user_id]


@contextlib.contextmanager
def inside(copy: Path) -> Iterator[valkey.Valkey]:
    """A client of the Valkey that a run has started."""
    port = embedded_valkey.find(copy / ".data")
    assert port
    with valkey.Valkey(port=port, decode_responses=True) as client:
        yield client


def leave_half_done(client: valkey.Valkey, user_id: str, score: int) -> None:
    """Leaves what a crash between the two trips of a submission leaves, two minutes later, all of it at once."""
    revision = int(client.hget(f"user:{user_id}", "revision") or 0) + 1  # type: ignore[arg-type]
    with client.pipeline(transaction=False) as pipeline:
        pipeline.hset(f"user:{user_id}", mapping={"score": score, "bestScore": score, "revision": revision})
        pipeline.zadd("{leaderboard:global}:pending", {f"{user_id}:attempt": (time.time() - 120) * 1000})
        pipeline.execute()


def reconciled(run: Run) -> list[dict[str, Any]]:
    """The log lines of the reconcile function."""
    return [json.loads(line) for line in run.printed.splitlines() if '"reconcile' in line]


def wait_for_a_whole_run(client: valkey.Valkey) -> None:
    """Waits until the schedule has begun and ended a run of reconcile: each writes the copy of the totals, once."""
    for _ in range(2):
        client.delete("stats:game")
        wait_until(lambda: client.exists("stats:game"))


def test_the_schedule_mends_what_a_crash_has_left_and_says_so_once(used: Path) -> None:
    with running(used, RECONCILE_SECONDS=0.1) as run, inside(used) as client:
        wait_for_a_whole_run(client)
        assert reconciled(run) == [], "as long as there is nothing to do, nothing is printed"
        leave_half_done(client, "demo-0007", 10**9)
        wait_until(lambda: any(line["found"] for line in reconciled(run)))
        assert run.get("/leaderboard?limit=1")["leaderboard"][0]["userId"] == "demo-0007"
        wait_for_a_whole_run(client)
        *swept, line = reconciled(run)  # a run that came between profile and intent has mended the row with its sweep
        assert [(report["found"], report["mended"]) for report in swept] in ([], [(0, 1)])
        assert (line["level"], line["found"], line["projected"], line["cleared"]) == ("INFO", 1, 1, 1)
        assert line["oldestSeconds"] > 100
        run.end()


def test_the_schedule_runs_every_half_minute_and_first_at_once(used: Path) -> None:
    with running(used) as run, inside(used) as client:
        wait_until(lambda: client.exists("stats:game"))
        client.delete("stats:game")
        time.sleep(1)
        assert not client.exists("stats:game")
        run.end()
    assert local_schedule.INTERVAL_SECONDS == 30


def test_the_schedule_says_that_it_failed_and_goes_on(copy: Path) -> None:
    with embedded_valkey.running(copy / "other") as server:
        settings = {"VALKEY_HOST": "127.0.0.1", "VALKEY_PORT": server.port, "RECONCILE_SECONDS": 0.1}
        with running(copy, **settings, COMMAND_SECONDS=0.2) as run:
            os.kill(server.pid, signal.SIGSTOP)
            wait_until(lambda: [line for line in reconciled(run) if line["level"] == "ERROR"])
            os.kill(server.pid, signal.SIGCONT)
            with valkey.Valkey(port=server.port, decode_responses=True) as client:
                wait_until(lambda: client.exists("stats:game"))
                client.zadd("{leaderboard:global}:pending", {"nobody:attempt": 5})
                wait_until(lambda: not client.exists("{leaderboard:global}:pending"))
            run.end()


def rebuild(copy: Path, **more: object) -> subprocess.CompletedProcess[str]:
    """Runs `make rebuild` in a folder."""
    done = processes.finished("scripts.rebuild", folder=copy, **more)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_a_rebuild_uses_the_valkey_of_the_run_and_starts_it_if_there_is_none(copy: Path, data: Path) -> None:
    done = rebuild(copy)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "make run" in line
    shutil.copytree(data, copy / ".data", dirs_exist_ok=True)
    with running(copy) as run, inside(copy) as client:
        wait_until(lambda: client.exists("stats:game"))  # the schedule's next run is half a minute away
        client.zadd("leaderboard:global", {"demo-0001": 10**11, "ghost": 10**12})
        assert run.get("/leaderboard?limit=1")["leaderboard"][0]["userId"] == "ghost"
        done = rebuild(copy, CHECK=1)
        assert done.returncode == 1
        assert {line.split(":")[0].split()[-1] for line in done.stdout.splitlines()[:-1]} == {"demo-0001", "ghost"}
        done = rebuild(copy)
        assert (done.returncode, done.stderr) == (0, "")
        assert ": 2 mended." in done.stdout
        assert run.get("/leaderboard?limit=1")["leaderboard"][0]["score"] < 10**11
        client.zadd("leaderboard:global", {"ghost": 10**12})
        run.end()
    assert_no_valkey_is_left(copy)
    assert not (copy / ".data" / "port").exists()
    (copy / ".data" / "port").write_text(f"{free_port()}\n")  # as a killed run leaves it
    done = rebuild(copy)
    assert ": 1 mended." in done.stdout
    assert done.returncode == 0
    assert_no_valkey_is_left(copy)
    with running(copy) as run:
        assert run.get("/leaderboard?limit=1")["totalPlayers"] == DEMO_PLAYERS


def test_a_taken_port_is_one_line_that_names_it_and_says_what_to_do(copy: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(copy, PORT=port)
    assert str(port) in line
    assert "PORT=" in line


@pytest.mark.parametrize("port", ["0", "http", "70000", "-1", "80.5", "１"])
def test_a_port_that_is_none_is_one_line_that_says_so(copy: Path, port: str) -> None:
    assert f"PORT is {port!r}" in refused(copy, PORT=port)


@pytest.mark.parametrize(
    ("name", "value"),
    [("COMMAND_SECONDS", "soon"), ("RATE_LIMIT", "-3"), ("SCORE_MAX", "1e3"), ("RECONCILE_SECONDS", "0")],
)
def test_a_bad_setting_is_one_line_that_names_it(copy: Path, name: str, value: str) -> None:
    assert f"{name} is {value!r}" in refused(copy, **{name: value})


def test_a_dead_valkey_is_one_line_that_names_it_and_says_what_to_do(copy: Path) -> None:
    port = free_port()
    line = refused(copy, VALKEY_HOST="127.0.0.1", VALKEY_PORT=port)
    assert f"127.0.0.1:{port}" in line
    assert "VALKEY_HOST" in line


def test_a_valkey_that_never_answers_is_one_line_too(copy: Path) -> None:
    with silent() as port:
        assert f"127.0.0.1:{port}" in refused(copy, VALKEY_HOST="127.0.0.1", VALKEY_PORT=port)


def test_a_valkey_host_that_does_not_exist_is_one_line_too(copy: Path) -> None:
    assert "no-such-host.invalid" in refused(copy, VALKEY_HOST="no-such-host.invalid")
