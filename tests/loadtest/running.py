"""Runs `python -m loadtest` against a server, and reads its report."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.running import ROOT, free_ports

LIMIT_S = 150.0
# Where server and generator share cores, a generator that waits for one measures itself.
FIRST = ("nice", "-n", "-15") if os.geteuid() == 0 else ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """`report`: report.json; empty where there is none."""

    exit_code: int
    output: str
    report: dict[str, Any]
    folder: Path

    def count(self, name: str) -> int:
        """A counter."""
        return int(self.report["counters"][name])


def environment() -> dict[str, str]:
    """This process', without what would change a run."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("LOADTEST_", "LOCUST_"))}


KIT = ("-m", "loadtest")


async def load_test(
    host: str, folder: Path, *options: str, program: Sequence[str] = KIT, **variables: str
) -> Outcome:
    """A run of `python` with that program, once it has ended."""
    command = [*FIRST, sys.executable, *program, "--host", host, "--report", str(folder), *options]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    running = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment() | variables, start_new_session=True, **streams
    )
    try:
        output, _ = await asyncio.wait_for(running.communicate(), LIMIT_S)
    except TimeoutError:
        os.killpg(running.pid, signal.SIGKILL)
        raise
    path = folder / "report.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    return Outcome(running.returncode or 0, output.decode(), report, folder)


@dataclass(slots=True)
class Planted:
    """A server with planted faults; `counts` are there once it has ended."""

    url: str
    counts: dict[str, int]


@contextmanager
def planted(*options: str) -> Iterator[Planted]:
    """Runs tests.loadtest.planted_server."""
    port = free_ports(1)
    command = [sys.executable, "-m", "tests.loadtest.planted_server", str(port), *options]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    try:
        assert running.stdout.readline() == "ready\n"
        found = Planted(f"http://127.0.0.1:{port}", {})
        yield found
        running.terminate()
        found.counts.update(json.loads(running.stdout.readline()))
    finally:
        running.kill()
        running.wait()
        running.stdout.close()
