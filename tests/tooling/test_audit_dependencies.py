"""`make audit-dependencies`, with the real pip-audit and a source of advisories of our own."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from scripts.dev import audit_dependencies, bootstrap
from scripts.dev.audit_dependencies import KNOWN, Pin
from tests.support import once

HOLE = {
    "id": "PYSEC-2019-217",
    "affected": [
        {
            "package": {"name": "jinja2", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.10.1"}]}],
        }
    ],
}

LOCK = """# a comment
jinja2==2.9 ; python_full_version < '3.12' \\
    --hash=sha256:00
orjson==3.11.0 \\
    --hash=sha256:00
"""


@contextlib.contextmanager
def advisories(known: Mapping[str, Any]) -> Iterator[str]:
    """A service that answers as OSV does; `known` are the holes of a package, by its name."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            holes = known.get(asked["package"]["name"])
            body = json.dumps({"vulns": [holes]} if holes else {}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def _installed(tmp_path_factory: pytest.TempPathFactory) -> None:
    with once.one_at_a_time(tmp_path_factory, "pip-audit's installation"):
        bootstrap.install("audit.lock", audit_dependencies.PROGRAM.parent.parent)


@pytest.fixture
def audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], _installed: None
) -> Callable[[str], tuple[int, str, str]]:
    """The command for a folder with one lock: its exit status, and what it printed."""
    (tmp_path / "layer.lock").write_text(LOCK)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def run(source: str) -> tuple[int, str, str]:
        monkeypatch.setenv("OSV_URL", source)
        return audit_dependencies.main(["--json", "--locks", str(tmp_path)]), *capsys.readouterr()

    return run


def test_a_published_hole_is_told_with_what_mends_it_and_who_pins_it(audited: Callable[[str], Any]) -> None:
    with advisories({"jinja2": HOLE}) as source:
        status, output, told = audited(source)
    assert status == 1, told
    assert json.loads(output) == [
        {"package": "jinja2", "version": "2.9", "id": HOLE["id"], "mended": "2.10.1", "locks": "layer.lock"}
    ]
    assert told.endswith("Published holes: 1 in the 2 releases that the locks pin.\n")


def test_a_source_that_knows_nothing_or_cannot_be_reached_is_no_good_news(audited: Callable[[str], Any]) -> None:
    """pip-audit itself says 'No known vulnerabilities found' of the first."""
    with advisories({}) as ignorant, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{unused.getsockname()[1]}/v1/query"
        for source, why in (
            (ignorant, f"holes in {KNOWN.name} {KNOWN.version}"),
            (away, "cannot be reached from here"),
        ):
            status, output, told = audited(source)
            assert (status, output) == (2, "")
            assert told.startswith("Nobody can tell whether the locks pin a known hole")
            assert why in told
            assert told.count("\n") == 1, "one sentence or two, in one line"


def test_every_lock_is_asked_about_and_no_question_names_a_package_twice() -> None:
    found = audit_dependencies.pins(audit_dependencies.LOCKS)
    locks = {path.name for path in audit_dependencies.LOCKS.glob("*.lock")}
    assert {lock for each in found.values() for lock in each} == locks
    for lock in locks:
        pinned = {f"{pin.name}=={pin.version}" for pin, each in found.items() if lock in each}
        assert pinned == bootstrap.pins(lock)
    asked = audit_dependencies.rounds(found)
    assert sorted(pin for each in asked for pin in each) == sorted(found)
    assert all(len({pin.name for pin in each}) == len(each) for each in asked)
    assert audit_dependencies.rounds([Pin("a", "1"), Pin("a", "2"), Pin("b", "1")]) == [
        [Pin("a", "1"), Pin("b", "1")],
        [Pin("a", "2")],
    ]
