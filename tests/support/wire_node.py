"""Nodes that serve `wire_app`, and what they hold.

As `cluster.py`, whose processes they are, with another app in them.
"""

import asyncio
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from tests.cli.running import command, environment, free_ports

from .cluster import ClusterNode, RunningCluster

APP = "tests.support.wire_app:create_app"
FACTORY = "tests.support.wire_app:app_from_environment"


class WireNode(ClusterNode):
    """A node with `wire_app`, served by the kit or, where `ws` names a protocol of its own, by plain uvicorn."""

    ws = ""

    def start(self) -> None:
        """Starts the process; it is ready when `/readyz` says so."""
        kits = command("serve", "--own-port", str(self._own_port), "--app", APP)
        plain = [sys.executable, "-m", "uvicorn", "--factory", FACTORY, "--lifespan", "on", "--ws", self.ws]
        plain += ["--port", str(self._own_port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                plain if self.ws else kits,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment(self._env),
                start_new_session=True,
            )


class WireCluster(RunningCluster):
    """Nodes with `wire_app`. `url` is the first one's own."""

    async def state(self, number: int = 0) -> dict[str, Any]:
        """What a node holds now."""
        state: dict[str, Any] = await self.get("/state", number)
        return state

    def logs(self) -> str:
        """Everything that the nodes have logged."""
        return "\n".join(node.log() for node in self.nodes)


@contextlib.asynccontextmanager
async def wire_cluster(
    redis_url: str, key_prefix: str, nodes: int = 1, ws: str = "", /, **settings: str
) -> AsyncIterator[WireCluster]:
    """Runs nodes while the block does; none of them may have logged a traceback. `settings` as LOCALE="en".

    `ws`: what plain uvicorn is to serve WebSockets with, "" for the kit's own server.
    """
    port = free_ports(nodes + 1)
    env = {"REDIS_URL": redis_url, "KEY_PREFIX": key_prefix, "PORT": str(port), "LOG_LEVEL": "info"} | settings
    with tempfile.TemporaryDirectory(prefix="clusterkit-wire-") as folder:
        made = [
            WireNode(number, port + 1 + number, env, Path(folder, f"node-{number}.log")) for number in range(nodes)
        ]
        for node in made:
            node.ws = ws
        cluster = WireCluster(made[0].url, list(made))
        try:
            for node in made:
                node.start()
            await cluster.ready()
            yield cluster
            assert "Traceback" not in (logs := cluster.logs()), logs[-5000:]
        finally:
            await asyncio.gather(*(asyncio.to_thread(node.kill) for node in made))


def shared_wire_cluster(
    redis_url: str, key_prefix: str, nodes: int = 1, ws: str = "", /, **settings: str
) -> Iterator[WireCluster]:
    """The same for a module's fixture, which has no event loop."""
    with asyncio.Runner() as runner:
        running = wire_cluster(redis_url, key_prefix, nodes, ws, **settings)
        cluster = runner.run(running.__aenter__())
        try:
            yield cluster
        finally:
            runner.run(running.__aexit__(None, None, None))
