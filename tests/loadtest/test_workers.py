"""Generators as processes of their own, as on several machines: one that dies, one that comes late, two runs."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from loadtest.__main__ import cluster as own_cluster
from tests.cli.running import ROOT, free_ports
from tests.support.eventually import eventually
from tests.support.machine import lacking

from .running import FIRST, environment

pytestmark = pytest.mark.time_limit(120)

# A time namespace: for real another monotonic clock, 5,000 s ahead.
SHIFTED = ("unshare", "--time", "--monotonic", "5000", "--fork", "--kill-child", "--")
LOCUST = (*FIRST, sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The URL of two nodes."""
    with own_cluster(REDIS_URL="", NODES="2") as url:
        yield url


class Generators:
    """A locust master and workers, of which one can be killed."""

    def __init__(self, host: str, folder: Path) -> None:
        self.folder = folder
        self._host = host
        self._port = str(free_ports(1))
        self._running: list[asyncio.subprocess.Process] = []
        self._reading: list[asyncio.Task[None]] = []
        self.said = ""

    async def _start(self, *options: str, within: Sequence[str] = ()) -> asyncio.subprocess.Process:
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        started = await asyncio.create_subprocess_exec(
            *within, *LOCUST, *options, cwd=ROOT, env=environment(), start_new_session=True, **streams
        )
        self._running.append(started)
        self._reading.append(asyncio.create_task(self._read(started)))
        return started

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.said += line.decode()

    async def master(self, *options: str) -> asyncio.subprocess.Process:
        to = ("--host", self._host, "--report", str(self.folder), "--master-bind-port", self._port)
        return await self._start("--master", *to, *options)

    async def worker(self, *, within: Sequence[str] = ()) -> asyncio.subprocess.Process:
        return await self._start("--worker", "--master-port", self._port, within=within)

    async def says(self, text: str, times: int = 1) -> None:
        await eventually(lambda: self.said.count(text) >= times, 30, message=f"{text!r} was not said")

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return found

    async def end(self) -> None:
        for process in self._running:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        await asyncio.gather(*self._reading)


@pytest.fixture
async def generators(cluster: str, tmp_path: Path) -> AsyncIterator[Generators]:
    """None yet; all are ended."""
    made = Generators(cluster, tmp_path / "report")
    yield made
    await made.end()


HEADLESS = ("--headless", "--users", "20", "--spawn-rate", "100", "--rate", "20", "--talk-time", "12")


async def test_a_run_that_loses_a_worker_is_not_valid(generators: Generators) -> None:
    master = await generators.master(*HEADLESS, "--expect-workers", "2", "--server-processes", "")
    victim, _ = await generators.worker(), await generators.worker()
    await generators.says("delivered/s")
    victim.kill()
    await asyncio.wait_for(master.wait(), 60)
    assert master.returncode == 2, generators.said
    report = generators.report()
    assert not report["verdict"]["valid"]
    assert any("its last report is missing" in reason for reason in report["verdict"]["reasons"])
    assert sum(not each["finished"] for each in report["generators"]) == 1
    assert report["counters"]["unexpected"] == 0, "what the dead one had sent is nobody's to judge"
    assert "Traceback" not in generators.said


async def test_a_run_that_a_worker_joins_late_is_not_valid(generators: Generators) -> None:
    master = await generators.master(*HEADLESS, "--expect-workers", "1", "--enable-rebalancing")
    await generators.worker()
    await generators.says("delivered/s")
    await generators.worker()
    await asyncio.wait_for(master.wait(), 60)
    assert master.returncode == 2, generators.said
    report = generators.report()
    assert any("joined when the run had begun" in each for each in report["verdict"]["reasons"]), generators.said
    assert "Traceback" not in generators.said
    assert report["counters"]["lost"] == report["counters"]["duplicates"] == 0


async def test_a_worker_with_a_clock_of_its_own_measures_by_the_master_s(generators: Generators) -> None:
    if await asyncio.to_thread(subprocess.call, [*SHIFTED, "true"]):
        raise lacking("a clock of its own for a process", "run it as root, with time namespaces in the kernel")
    master = await generators.master(*HEADLESS, "--expect-workers", "2", "--server-processes", "")
    await generators.worker(within=SHIFTED)
    await generators.worker()
    await asyncio.wait_for(master.wait(), 60)
    assert master.returncode in (0, 2), generators.said  # 2: others had the generator's core
    report = generators.report()
    assert 0 < report["clock_error_us"] < 100_000
    assert report["latencies"]["fanout"]["p99_us"] < 1_000_000, "one clock is 5,000 s ahead"
    assert report["latencies"]["fanout"]["count"] == report["counters"]["delivered"]
    assert report["counters"]["delivered"] == report["counters"]["expected"] > 0
    assert report["counters"]["lost"] == report["counters"]["unexpected"] == 0
    assert "The clocks of the generators agree within" in (generators.folder / "summary.md").read_text()


async def test_two_runs_from_the_web_ui_are_two_reports(generators: Generators, cluster: str) -> None:
    port = free_ports(1)
    web = f"http://127.0.0.1:{port}"
    where = ("--web-host", "127.0.0.1", "--web-port", str(port))
    master = await generators.master(*where, "--expect-workers", "1")
    await generators.worker()
    await generators.says("reported as ready")
    assert "No run has begun" in await ask(f"{web}/fanout")

    reports = []
    for users in (6, 10):
        form = {"user_count": users, "spawn_rate": 100, "host": cluster}
        assert json.loads(await ask(f"{web}/swarm", form))["success"]
        await generators.says("delivered/s", times=len(reports) + 1)
        assert "<svg" in await ask(f"{web}/fanout")
        await ask(f"{web}/stop", {"please": "stop"})
        reports.append(await ask(f"{web}/fanout"))
    assert "6 " in reports[0]
    assert reports[0] != reports[1]
    assert "Traceback" not in generators.said  # later, SIGINT may find gevent's server at the end of its answer
    os.kill(master.pid, signal.SIGINT)
    await asyncio.wait_for(master.wait(), 60)
    report = generators.report()
    assert report["connections_max"] == 10
    assert report["counters"]["delivered"] == report["counters"]["expected"] > 0


async def test_a_run_of_the_web_ui_ends_by_itself_and_the_next_one_is_not_ended_by_it(
    generators: Generators, cluster: str
) -> None:
    port = free_ports(1)
    web = f"http://127.0.0.1:{port}"
    await generators.master("--web-host", "127.0.0.1", "--web-port", str(port), "--expect-workers", "1")
    await generators.worker()
    await generators.says("reported as ready")
    form = {"user_count": 4, "spawn_rate": 100, "host": cluster, "gates": "lost==0,delivered==expected"}

    await ask(f"{web}/swarm", form | {"talk_s": "soon"})
    await generators.says("the run does not begin: talk_s: expected a number above 0, got 'soon'")
    assert "expected a number above 0" in await ask(f"{web}/fanout")

    await ask(f"{web}/swarm", form | {"talk_s": "4"})
    await generators.says("delivered/s")
    await ask(f"{web}/stop", {"please": "stop"})
    await ask(f"{web}/swarm", form | {"talk_s": "6"})
    await generators.says("everybody has talked for 6 s")
    assert "everybody has talked for 4 s" not in generators.said
    await eventually(lambda: shows(f"{web}/fanout", "2 of 2 gates passed"), 30)
    assert "Traceback" not in generators.said


async def shows(url: str, text: str) -> bool:
    return text in await ask(url)


async def ask(url: str, form: dict[str, Any] | None = None) -> str:
    def asked() -> str:
        data = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(url, data, timeout=40) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(asked)
