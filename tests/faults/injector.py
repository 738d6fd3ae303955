"""Does to the cluster what the schedule says, and undoes it; each fault is over when this returns from it.

Which faults and when is `schedule.py`'s. Only processes of the run are signalled, by their ids.
"""

import asyncio
import random
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence

from tests.store.redis_proxy import RedisProxy
from tests.support.cluster import ClusterNode, RunningCluster
from tests.support.redis_server import RedisServer

from . import schedule
from .crowd import Crowd
from .schedule import Fault

Say = Callable[[str], None]


class Injector:
    """`ways`: each node's own to Redis. `done`: kind -> how many faults of it there were; `last_s`: when the last
    one was over, monotonic."""

    def __init__(
        self,
        cluster: RunningCluster,
        redis: RedisServer,
        ways: Sequence[RedisProxy],
        crowd: Crowd,
        seed: int,
        say: Say,
    ) -> None:
        self.done: dict[str, int] = {}
        self.last_s = time.monotonic()
        self._cluster = cluster
        self._redis = redis
        self._ways = ways
        self._crowd = crowd
        self._chance = random.Random(seed)
        self._say = say
        self._down: set[int] = set()  # numbers of the nodes that do not come back
        self._inflict: dict[str, Callable[[Fault], Awaitable[str]]] = {
            schedule.NODE_KILL: self._kill_node,
            schedule.NODE_FREEZE: self._freeze_node,
            schedule.NODE_CUT_OFF: self._cut_node_off,
            schedule.REDIS_CUT: self._cut_redis,
            schedule.REDIS_FREEZE: self._freeze_redis,
            schedule.REDIS_RESTART: self._restart_redis,
            schedule.CLIENT_CUT: self._cut_clients,
            schedule.ROLLING_RESTART: self._restart_nodes,
        }

    async def run(self, faults: Sequence[Fault]) -> None:
        """All of them, one after the other. Raises AssertionError where the cluster does not come back."""
        for fault in faults:
            await asyncio.sleep(fault.pause_s)
            began_s = time.monotonic()
            self._say(f"{fault.kind} ...")
            what = await self._inflict[fault.kind](fault)
            await self._cluster.ready(*self.up)
            self.last_s = time.monotonic()
            self.done[fault.kind] = self.done.get(fault.kind, 0) + 1
            self._say(f"{fault.kind}: {what}; over after {self.last_s - began_s:.1f} s")

    @property
    def up(self) -> list[int]:
        """The numbers of the nodes that are to be up."""
        return [node.number for node in self._cluster.nodes if node.number not in self._down]

    async def _kill_node(self, fault: Fault) -> str:
        node = self._cluster[fault.node]
        gone = await self._vanish_with(node, fault.vanish)
        await asyncio.to_thread(node.kill)
        if not fault.returns:
            self._down.add(fault.node)
            return f"node {fault.node} killed for good{gone}"
        cut = await self._last(fault)
        node.start()
        return f"node {fault.node} killed, started again after {fault.lasts_s:.1f} s{cut}{gone}"

    async def _freeze_node(self, fault: Fault) -> str:
        node = self._cluster[fault.node]
        gone = await self._vanish_with(node, fault.vanish)
        node.send(signal.SIGSTOP)
        try:
            cut = await self._last(fault)
        finally:
            node.send(signal.SIGCONT)
        return f"node {fault.node} stopped for {fault.lasts_s:g} s{cut}{gone}"

    async def _cut_node_off(self, fault: Fault) -> str:
        way = self._ways[fault.node]
        way.refusing = True
        way.cut_all()
        try:
            cut = await self._last(fault)
        finally:
            way.refusing = False
        return f"node {fault.node} cut off from Redis for {fault.lasts_s:g} s{cut}"

    async def _cut_redis(self, fault: Fault) -> str:
        cut = await asyncio.to_thread(self._redis.kill_connections)
        return f"{cut} Redis connections cut"

    async def _freeze_redis(self, fault: Fault) -> str:
        self._redis.pause()
        try:
            cut = await self._last(fault)
        finally:
            self._redis.resume()
        return f"Redis stopped for {fault.lasts_s:g} s{cut}"

    async def _restart_redis(self, fault: Fault) -> str:
        await asyncio.to_thread(self._redis.kill)
        await asyncio.to_thread(self._redis.start)
        return "Redis killed, started again with its append-only data"

    async def _cut_clients(self, fault: Fault) -> str:
        gone = self._crowd.vanish(fault.vanish, self._chance)
        cut = self._crowd.cut(fault.clients, self._chance)
        return f"{' '.join(cut)} cut{_gone(gone)}"

    async def _restart_nodes(self, fault: Fault) -> str:
        count = len(self._cluster.nodes)
        for number in ((fault.node + step) % count for step in range(count)):
            await self._end(self._cluster[number])
            self._cluster[number].start()
            await self._cluster.ready(number)
        return "every node ended and started again in turn"

    async def _end(self, node: ClusterNode) -> None:
        try:
            code = await asyncio.to_thread(node.end)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"node {node.number} did not end {error.timeout:g} s after SIGTERM") from None
        assert code == 0, f"node {node.number} ended with {code} after SIGTERM"

    async def _last(self, fault: Fault) -> str:
        """For as long as the fault lasts; half-way, some clients may be cut."""
        await asyncio.sleep(fault.lasts_s / 2)
        cut = self._crowd.cut(fault.clients, self._chance)
        await asyncio.sleep(fault.lasts_s / 2)
        return f", {' '.join(cut)} cut meanwhile" if cut else ""

    async def _vanish_with(self, node: ClusterNode, count: int) -> str:
        """Clients of a node that is about to go go with it."""
        if not count:
            return ""
        node_id = (await self._cluster.get("/healthz", node.number))["node_id"]
        return _gone(self._crowd.vanish(count, self._chance, node=node_id))


def _gone(names: Sequence[str]) -> str:
    return f", and {' '.join(names)} gone for good" if names else ""
