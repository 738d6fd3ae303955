"""A cluster of real nodes: `clusterkit serve` processes that share a port and a Redis, each with its own port.

For what needs a node as a process of its own: killing it, freezing it, a balancer's view of it. For one node
within the test process there is `serving.py`.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from tests.cli.running import environment, free_ports

from .eventually import eventually

# The module that is `clusterkit`, and arguments before `serve`.
CLUSTERKIT = ("app.cli",)
READY_WITHIN_S = 20.0
END_WITHIN_S = 15.0


class ClusterNode:
    """One node process. `url` is its own address; `program` as CLUSTERKIT."""

    def __init__(
        self, number: int, own_port: int, env: dict[str, str], log: Path, program: Sequence[str] = CLUSTERKIT
    ) -> None:
        self.number = number
        self.url = f"http://127.0.0.1:{own_port}"
        self._own_port = own_port
        self._env = env
        self._log = log
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the process; it is ready when `/readyz` says so."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._program, "serve", "--own-port", str(self._own_port)],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment(self._env),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """A signal to the process."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and waits for the end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def end(self) -> int:
        """SIGTERM, as an operator would; returns the exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text(errors="replace")


class RunningCluster:
    """The nodes, numbered from 0. `url` is the port they share."""

    def __init__(self, url: str, nodes: list[ClusterNode]) -> None:
        self.url = url
        self.nodes = nodes

    def __getitem__(self, number: int) -> ClusterNode:
        return self.nodes[number]

    async def ready(self, *numbers: int) -> None:
        """Waits until these nodes (all, without numbers) are ready."""
        async with aiohttp.ClientSession() as http:
            for number in numbers or range(len(self.nodes)):
                node = self.nodes[number]
                try:
                    await eventually(lambda node=node: _is_ready(http, node.url), READY_WITHIN_S)
                except AssertionError:
                    raise AssertionError(f"node {number} was not ready; its log:\n{node.log()[-3000:]}") from None

    async def get(self, path: str, number: int = 0) -> Any:
        """JSON from one node."""
        async with aiohttp.ClientSession() as http, http.get(self.nodes[number].url + path) as answer:
            answer.raise_for_status()
            return await answer.json()


@contextlib.asynccontextmanager
async def running_cluster(
    redis_url: str | Sequence[str],
    key_prefix: str,
    nodes: int = 3,
    *,
    folder: Path | None = None,
    program: Sequence[str] = CLUSTERKIT,
    **settings: str,
) -> AsyncIterator[RunningCluster]:
    """Runs a cluster while the block does. `settings` are environment variables, as LOCALE="en".

    `redis_url`: one for all nodes, or each one's own way to the same Redis. The nodes' logs are in `folder`, or
    else in one that goes with the block.
    """
    port = free_ports(nodes + 1)
    urls = [redis_url] * nodes if isinstance(redis_url, str) else redis_url
    env = {
        "KEY_PREFIX": key_prefix,
        "PORT": str(port),
        "LOG_LEVEL": "info",
    } | settings
    with tempfile.TemporaryDirectory(prefix="clusterkit-nodes-") as passing:
        logs = folder or Path(passing)
        made = [
            ClusterNode(number, port + 1 + number, env | {"REDIS_URL": url}, logs / f"node-{number}.log", program)
            for number, url in enumerate(urls)
        ]
        cluster = RunningCluster(f"http://127.0.0.1:{port}", made)
        try:
            for node in made:
                node.start()
            await cluster.ready()
            yield cluster
        finally:
            await asyncio.gather(*(asyncio.to_thread(node.kill) for node in made))


async def _is_ready(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(f"{url}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
