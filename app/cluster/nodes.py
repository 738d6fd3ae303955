"""The nodes of the cluster: this one's heartbeat, and which of the others are alive.

A node is dead when its heartbeat counter has not moved for one lease of *this* node's monotonic clock during
which this node's own heartbeats were answered: so a Redis that stalls kills nobody. With every heartbeat goes
a canary to the node's own inbox; it comes back through `cluster.relay`.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from ..errors import StoreUnavailable
from ..metrics import Metrics
from ..node import Node, new_sid
from ..store.bulk import local_host
from ..store.keys import Keys
from ..store.redis import CONNECTION_ERRORS, Store
from ..wire import Canary, encode_body, from_json, to_json

logger = logging.getLogger(__name__)

BEAT_S = 1.0
BEAT_JITTER_S = 0.1  # the answers to two heartbeats may be this much less apart
# A node that has not beaten for this many leases is taken out of the registry for good.
FORGET_LEASES = 12
# Others may hold this node dead when no heartbeat was answered for so long. Who waits for the next one waits for
# REGISTERED_WITHIN_S at most.
UNSURE_S = 2 * BEAT_S
REGISTERED_WITHIN_S = 3.0
# A node that alone was cut off from Redis for so long may have been buried, its event loop running all the while.
SILENT_LEASES = 0.5


@dataclass(slots=True)
class NodeRecord:
    """What the registry says of a node, and when this node last saw its counter move."""

    node_id: str
    beat: int
    url: str
    started_at: str
    connections: int
    draining: bool
    confirmed: int = 0  # its clients have received all entries up to this clock
    silent_s: float = 0.0  # how long its counter has stood still while own heartbeats were answered
    silent_until_s: float = 0.0  # up to when that was counted, in `Nodes.now_s`

    def alive(self, lease_s: float) -> bool:
        """Whether the counter moved within the lease."""
        return self.silent_s + BEAT_JITTER_S < lease_s


class Nodes:
    """The registry as this node sees it.

    `connections` tells how many this node has, `delivered` the clock up to which everything was delivered here,
    `confirmed_after_s` how long after that its clients must have received it. `on_data_loss` is told whether
    Redis went back in time, rather than being emptied; `on_silence`, that others may have held this node dead;
    `on_hole`, up to which clock some node has found entries lost.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        node: Node,
        metrics: Metrics,
        *,
        lease_s: float,
        connections: Callable[[], int],
        delivered: Callable[[], int],
        confirmed_after_s: float,
        on_beat: Callable[[], Awaitable[None]],
        on_data_loss: Callable[[bool], Awaitable[None]],
        on_silence: Callable[[], None],
        on_hole: Callable[[int], None],
    ) -> None:
        self._store = store
        self._keys = keys
        self._node = node
        self._metrics = metrics
        self._lease_s = lease_s
        self._connections = connections
        self._delivered = delivered
        self._confirmed_after_s = confirmed_after_s
        self._deliveries: deque[tuple[float, int]] = deque([(float("-inf"), 0)])  # alive_s(), clock
        self.alive_s: Callable[[], float] = time.monotonic  # the time in which pings are counted
        self.now_s: Callable[[], float] = time.monotonic  # the time in which leases are
        self._on_beat = on_beat
        self._on_data_loss = on_data_loss
        self._on_silence = on_silence
        self._on_hole = on_hole
        self._hole = 0
        self._beat = 0
        self._seen: dict[str, NodeRecord] = {}  # node id -> record
        self.epoch = b""  # another one tells that Redis was emptied
        self.answered_s = float("-inf")  # monotonic time of the last answered heartbeat
        self._answered = asyncio.Event()  # since somebody waited for it
        self.draining = False
        self._left = False
        self._located = False
        self._beating = asyncio.Lock()

    async def run(self) -> None:
        """Beats for ever, once every `BEAT_S`."""
        while True:
            started_s = time.monotonic()
            try:
                await self.beat()
            except (StoreUnavailable, RedisError, *CONNECTION_ERRORS) as error:
                logger.warning("heartbeat unanswered: %s", error)
                self._located = False  # when Redis answers again it may be at another address
            await asyncio.sleep(max(0.0, BEAT_S - (time.monotonic() - started_s)))

    async def beat(self) -> None:
        """One heartbeat and one look at the others'; none once the node has left.

        Raises RedisError or a connection error.
        """
        async with self._beating:
            if not self._left:
                if self._node.everywhere and not self._located:
                    await self._locate()
                await self._beat_once()

    async def _locate(self) -> None:
        """Others reach a node that listens everywhere where Redis does."""
        connection = await self._store.connection()
        try:
            if self._node.move(local_host(connection)):
                logger.info("the other nodes reach this one at %s", self._node.url)
        finally:
            await connection.disconnect(nowait=True)
        self._located = True

    async def _beat_once(self) -> None:
        node_id = self._node.node_id
        canary = b"0 - " + encode_body(Canary(self._beat + 1))
        # One transaction: a Redis that refuses writes (full, read-only, MISCONF) must not send the canary either.
        pipeline = self._store.client.pipeline(transaction=True)
        pipeline.hget(self._keys.nodes, node_id)
        pipeline.hset(self._keys.nodes, node_id, self._own_record(self._beat + 1))
        pipeline.hgetall(self._keys.nodes)
        pipeline.publish(self._keys.inbox(node_id), canary)
        pipeline.set(self._keys.epoch, new_sid(), nx=True)
        pipeline.get(self._keys.epoch)
        pipeline.get(self._keys.broken)
        former, _, records, _, _, epoch, hole = await pipeline.execute()
        self._beat += 1
        self._note_delivered(self._delivered())
        now_s = time.monotonic()
        silent_s, self.answered_s = now_s - self.answered_s, now_s
        self._answered.set()
        self._look(records, answered=True)
        emptied = epoch != self.epoch
        older = former is not None and from_json(former)["beat"] < self._beat - 1
        if self._beat > 1:
            await self._doubt(silent_s, older=older and not emptied, lost=emptied or older or former is None)
        self.epoch = epoch
        if int(hole or 0) > self._hole:
            self._hole = int(hole)
            self._on_hole(self._hole)
        await self._forget_dead()
        await self._on_beat()

    async def leave(self) -> None:
        """Takes this node out of the registry, for good; if it still has sockets there, others will bury it.

        Raises StoreUnavailable.
        """
        self._left = True
        async with self._beating:  # one that is under way would register it again
            await self._take_out(self._node.node_id)

    async def all(self) -> list[NodeRecord]:
        """Every node in the registry, dead ones among them until they are forgotten.

        Raises StoreUnavailable.
        """
        self._look(await self._store.answer(self._store.client.hgetall(self._keys.nodes)))
        return sorted(self._seen.values(), key=lambda record: (record.started_at, record.node_id))

    def is_alive(self, record: NodeRecord) -> bool:
        """Whether a node has beaten within its lease."""
        return record.alive(self._lease_s)

    async def find(self, node_id: str) -> NodeRecord | None:
        """A living node by its id; asks Redis for one that is new, or dead. None where there is none."""
        seen = self._seen.get(node_id)
        if seen is not None and self.is_alive(seen):
            return seen
        try:
            found = await self._store.answer(self._store.client.hget(self._keys.nodes, node_id))
        except StoreUnavailable:
            return None
        if found is None:
            return None
        record = _record(node_id, from_json(found), self.now_s())
        if seen is not None and seen.beat == record.beat:
            return None
        self._seen[node_id] = record
        return record

    async def registered(self) -> None:
        """Returns once the other nodes can `find` this one; where Redis is away, after a moment."""
        if time.monotonic() - self.answered_s > UNSURE_S:
            self._answered.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._answered.wait(), REGISTERED_WITHIN_S)

    @property
    def confirmed(self) -> int:
        """The clock up to which clients of this node have received everything: a ping behind it was answered.

        Its age is counted as pings are: a node that stands still does not ping either.
        """
        deliveries, until_s = self._deliveries, self.alive_s() - self._confirmed_after_s
        while len(deliveries) > 1 and deliveries[1][0] <= until_s:
            deliveries.popleft()
        return deliveries[0][1]

    def _note_delivered(self, clock: int) -> None:
        newest_s, newest = self._deliveries[-1]
        now_s = self.alive_s()
        if now_s > newest_s and clock > newest:
            self._deliveries.append((now_s, clock))

    def record(self, node_id: str) -> NodeRecord | None:
        """What was last seen of a node."""
        return self._seen.get(node_id)

    def seen(self) -> list[NodeRecord]:
        """What was last seen of all nodes, without asking Redis."""
        return list(self._seen.values())

    def dead(self) -> list[NodeRecord]:
        """The nodes that have not beaten within their lease."""
        return [record for record in self._seen.values() if not self.is_alive(record)]

    def _own_record(self, beat: int) -> str:
        return to_json(
            {
                "beat": beat,
                "url": self._node.url,
                "started_at": self._node.started_at,
                "connections": self._connections(),
                "draining": self.draining,
                "confirmed": self.confirmed,
            }
        )

    def _look(self, records: dict[bytes, bytes], *, answered: bool = False) -> None:
        """Takes the registry's content; `answered`: with a heartbeat of one's own, else silence does not count."""
        seen, now_s = {}, self.now_s()
        for key, value in records.items():
            record = _record(key.decode(), from_json(value), now_s)
            former = self._seen.get(record.node_id)
            if former is not None and former.beat == record.beat:
                record.silent_s, record.silent_until_s = former.silent_s, former.silent_until_s
                if answered:
                    record.silent_s += min(now_s - former.silent_until_s, BEAT_S)
                    record.silent_until_s = now_s
            seen[record.node_id] = record
        self._seen = seen

    async def _forget_dead(self) -> None:
        for record in list(self._seen.values()):
            if not record.alive(self._lease_s * FORGET_LEASES):
                await self._take_out(record.node_id)

    async def _take_out(self, node_id: str) -> None:
        """Not while it has sockets: who finds them looks for nodes in the registry."""
        if not await self._store.answer(self._store.client.scard(self._keys.node_sockets(node_id))):
            await self._store.answer(self._store.client.hdel(self._keys.nodes, node_id))
            logger.info("node %s is out of the registry", node_id)

    async def _doubt(self, silent_s: float, *, older: bool, lost: bool) -> None:
        """Whether what this node holds is still what Redis has. No later heartbeat would tell again."""
        if lost:
            self._metrics.data_losses += 1
            lost_or_given_up = "Redis lost data, or gave this node up: its last heartbeat is not there"
            logger.error("%s; checking rooms and sockets", lost_or_given_up)
            await self._on_data_loss(older)
        if silent_s > self._lease_s * SILENT_LEASES:
            logger.warning("no heartbeat was answered for %.1f s; checking which sockets this node has", silent_s)
            self._on_silence()


def _record(node_id: str, fields: dict[str, Any], seen_s: float) -> NodeRecord:
    return NodeRecord(
        node_id,
        fields["beat"],
        fields["url"],
        fields["started_at"],
        fields["connections"],
        fields["draining"],
        fields.get("confirmed", 0),
        silent_until_s=seen_s,
    )
