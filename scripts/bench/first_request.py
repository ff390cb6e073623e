"""Clocks the first request of a new environment, with TLS and an IAM sign-in: `make bench FIRST=1`.

Each sample is a process of its own, which imports a handler, as Lambda's init does, and answers two requests. In half
of them the import connects, in the others the first request does. The TLS in front of the Valkey has a certificate that
is checked against the system's authorities and one more. The token is as IAM wants it, and this Valkey takes any.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import trustme
import valkey

from scripts.bench.handlers import progress
from scripts.places import ROOT

NAME = "localhost"

KINDS = {"connected by init": "on-demand", "connected by the request": ""}

ENVIRONMENT = """
import importlib, json, time

def clocked(work):
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, [(time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000]

event = {"httpMethod": "GET", "resource": "/health", "path": "/health"}
module, init = clocked(lambda: importlib.import_module("functions.health.handler"))
first, second = (clocked(lambda: module.handler(event, None)) for _ in range(2))
assert first[0]["statusCode"] == second[0]["statusCode"] == 200, first
print(json.dumps([*init, *first[1], *second[1]]))
"""


@dataclass(frozen=True)
class Row:
    """Medians in milliseconds, by the clock and of CPU."""

    name: str
    init: float
    init_cpu: float
    first: float
    first_cpu: float
    second: float
    second_cpu: float


def rows(port: int, samples: int, folder: Path) -> list[Row]:
    """Both kinds of environments on the Valkey at a port of this machine, in turn."""
    with valkey.Valkey(port=port) as client:
        client.execute_command("ACL", "SETUSER", "app", "on", "nopass", "~*", "+@all")
    found: dict[str, list[list[float]]] = {name: [] for name in KINDS}
    with _tls(port, folder / "authorities.pem") as secure_port:
        for number in range(samples + 1):
            progress(f"starting environments {number} of {samples}")
            for name, kind in KINDS.items():
                found[name].append(_sample(secure_port, folder / "authorities.pem", kind))
    progress("")
    return [
        Row(name, *(round(statistics.median(column), 1) for column in zip(*figures[1:], strict=True)))
        for name, figures in found.items()  # without the first of each, which compiles what it imports
    ]


def _sample(port: int, authorities: Path, kind: str) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", ENVIRONMENT],
        cwd=ROOT,
        env={
            **os.environ,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_LAMBDA_INITIALIZATION_TYPE": kind,
            "AWS_REGION": "eu-central-1",
            "AWS_SECRET_ACCESS_KEY": "an-example",
            "AWS_SESSION_TOKEN": "of-a-role" * 80,
            "VALKEY_CA_FILE": str(authorities),
            "VALKEY_HOST": NAME,
            "VALKEY_IAM_CACHE": "leaderboard",
            "VALKEY_PORT": str(port),
            "VALKEY_TLS": "1",
            "VALKEY_USER": "app",
        },
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures: list[float] = json.loads(done.stdout.splitlines()[-1])
    return figures


@contextlib.contextmanager
def _tls(target: int, authorities: Path) -> Iterator[int]:
    """TLS in front of a port, for whom trusts the authorities in that file, the system's among them; its own port."""
    authority = trustme.CA()
    system = ssl.get_default_verify_paths().cafile
    authorities.write_bytes((Path(system).read_bytes() if system else b"") + authority.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(carry, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


def print_table(rows: Sequence[Row], samples: int) -> None:
    print(f"GET /health with TLS and an IAM sign-in, p50 of {samples} new environments, ms\n")
    print(f"{'':24}" + "".join(f"{field.name.replace('_cpu', ' CPU'):>12}" for field in fields(Row)[1:]))
    for row in rows:
        print(f"{row.name:24}" + "".join(f"{figure:12.1f}" for figure in astuple(row)[1:]))
