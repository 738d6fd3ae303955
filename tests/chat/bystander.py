"""Somebody who has nothing to do with what another client does wrong, and what a node must show meanwhile.

The tests that send bad input ask after every example: is the node alive, has it logged a traceback, has its
memory ballooned, and has the bystander noticed anything?
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import aiohttp

from tests.support.cluster import ClusterNode, RunningCluster
from tests.support.js_client import JsClient, JsClients

from .people import told

GROWTH_MAX_BYTES = 50 * 1024 * 1024


class Bystander:
    """A stock client in a room of its own on one node, and an eye on that node."""

    def __init__(self, cluster: RunningCluster, client: JsClient) -> None:
        self.node: ClusterNode = cluster[0]
        self.client = client
        self._sid = client.sid
        self._logged = len(self.node.log())
        self._resident_bytes = resident_bytes(self.node.pid)

    async def notices_nothing(self) -> None:
        """Asserts all of it; what was logged is looked at once."""
        await self.healthy()
        mark = uuid4().hex
        assert await self.client.emit("send_msg", {"to": "ALL", "msg": mark}) == {"ok": True}
        await self.client.wait_for("broadcast_msg", lambda data: data["msg"].endswith(mark))
        assert (self.client.sid, self.client.connects, self.client.disconnects) == (self._sid, 1, [])
        assert {data["nickname"] for data in told(self.client)} == {"증인"}
        self.client.events.clear()
        self.logged_no_traceback()
        growth_bytes = resident_bytes(self.node.pid) - self._resident_bytes
        assert growth_bytes < GROWTH_MAX_BYTES, f"the node has grown by {growth_bytes >> 20} MiB"

    def logged_no_traceback(self) -> None:
        """Since it was asked last."""
        log = self.node.log()
        new, self._logged = log[self._logged :], len(log)
        assert "Traceback" not in new, new[-2_000:]

    async def healthy(self) -> float:
        """Asserts that the node answers; returns the seconds it took."""
        clock = asyncio.get_running_loop().time
        started = clock()
        async with aiohttp.ClientSession() as http, http.get(f"{self.node.url}/healthz") as answer:
            assert answer.status == 200
            await answer.read()
        return clock() - started


@contextlib.asynccontextmanager
async def bystander_of(cluster: RunningCluster, js: JsClients) -> AsyncIterator[Bystander]:
    """A bystander at node 0."""
    auth = {"room": f"곁-{uuid4().hex}", "nickname": "증인"}
    client = await js.open(cluster[0].url, transports=["websocket"], auth=auth)
    await client.wait_for("userlist")
    yield Bystander(cluster, client)
    await client.close()


def resident_bytes(pid: int, field: str = "VmRSS") -> int:
    """The memory a process holds, or has held at most (VmHWM)."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found, f"no {field} of process {pid}"
    return int(found[1]) * 1024
