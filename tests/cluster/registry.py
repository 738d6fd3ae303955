"""Registries of nodes in one Redis, beaten by hand."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from app.cluster.nodes import Nodes
from app.metrics import Metrics
from app.node import Node
from app.store.keys import Keys
from app.store.redis import Store
from app.wire import from_json
from tests.support.redis_server import RedisServer


@dataclass(slots=True)
class Member:
    """One node's registry, beaten by hand; what it noticed is kept."""

    nodes: Nodes
    node: Node
    keys: Keys
    metrics: Metrics
    store: Store
    losses: int = 0
    went_back: bool = False
    silences: int = 0
    holes: list[int] = field(default_factory=list)
    connections: int = 0
    delivered: int = 0
    alive_s: float = 0.0
    loops: list["asyncio.Task[None]"] = field(default_factory=list)

    async def sees(self, *others: "Member") -> list[bool]:
        """Whether each of the others is alive for this one; False also where it is not in the registry."""
        found = {record.node_id: self.nodes.is_alive(record) for record in await self.nodes.all()}
        return [found.get(other.node.node_id, False) for other in others]

    async def beat(self, times: int = 1) -> None:
        for _ in range(times):
            await self.nodes.beat()
            self.alive_s += 1

    def run(self) -> None:
        self.loops.append(asyncio.create_task(self.nodes.run()))


class Registry:
    """Makes members of one cluster."""

    def __init__(self, redis: RedisServer, key_prefix: str) -> None:
        self.redis = redis
        self._prefix = key_prefix
        self._made: list[Member] = []

    def member(
        self,
        *,
        url: str = "",
        at: str = "http://127.0.0.1:1",
        lease_s: float = 5.0,
        timeout_s: float = 0.3,
        started_at: str = "2026-01-01",
        confirmed_after_s: float = 3.0,
    ) -> Member:
        store, keys = Store(url or self.redis.url, timeout_s), Keys(self._prefix)
        node, metrics = Node(url=at, started_at=started_at), Metrics()

        async def lost(went_back: bool) -> None:
            member.losses += 1
            member.went_back = went_back

        def silent() -> None:
            member.silences += 1

        async def nothing() -> None:
            pass

        nodes = Nodes(
            store,
            keys,
            node,
            metrics,
            lease_s=lease_s,
            connections=lambda: member.connections,
            delivered=lambda: member.delivered,
            confirmed_after_s=confirmed_after_s,
            on_beat=nothing,
            on_data_loss=lost,
            on_silence=silent,
            on_hole=lambda clock: member.holes.append(clock),
        )
        member = Member(nodes, node, keys, metrics, store)
        nodes.alive_s = nodes.now_s = lambda: member.alive_s
        self._made.append(member)
        return member

    async def close(self) -> None:
        for member in self._made:
            for loop in member.loops:
                while not loop.done():  # not once: see the test of cancelling below
                    loop.cancel()
                    await asyncio.wait([loop], timeout=0.1)
            await member.store.aclose()


def record_of(registry: Registry, member: Member) -> dict[str, Any] | None:
    text = registry.redis.command("HGET", member.keys.nodes, member.node.node_id)
    return from_json(text) if text else None
