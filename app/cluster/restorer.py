"""What becomes of sockets whose entries Redis has lost: their clients reconnect and are told.

Where Redis was emptied they are written anew first, with the rooms and nicknames that this node knows of, so that
rosters stay whole and nicknames taken until the clients are back. What they had missed is gone, so none recovers.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import ClusterKitError, NicknameTaken, NotConnected, Stale
from ..metrics import Metrics
from ..node import Node
from ..store.keys import Keys
from ..store.scripts import script
from ..wire import RoomId
from .delivery import FanOut
from .local import LocalSocket
from .nodes import Nodes
from .roomlog import clock_of
from .roster import Roster
from .supervision import end
from .writer import Writer

logger = logging.getLogger(__name__)

SOCKETS_PER_STEP = 500  # so that what clients send meanwhile finds a place in the queue of appends


@dataclass(frozen=True, slots=True)
class Holding:
    """What this node knows of a socket: its rooms, and its nickname in each or ""."""

    socket: LocalSocket
    rooms: dict[RoomId, str]

    @classmethod
    def of(cls, socket: LocalSocket) -> "Holding":
        """As it is now; a room's replica may be replaced by what Redis has."""
        named = [room_id for room_id in socket.rooms if room_id.name is not None]
        return cls(socket, {room_id: socket.nickname(room_id) for room_id in named})


class Restorer:
    """Starts sockets over, each once."""

    def __init__(
        self,
        writer: Writer,
        keys: Keys,
        node: Node,
        nodes: Nodes,
        roster: Roster,
        fanout: FanOut,
        metrics: Metrics,
    ) -> None:
        self._writer = writer
        self._keys = keys
        self._node = node
        self._nodes = nodes
        self._roster = roster
        self._fanout = fanout
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()

    def start_over(self, sockets: Iterable[LocalSocket], reason: str) -> None:
        """Writes sockets anew where Redis was emptied, and closes their connections."""
        held = [Holding.of(each) for each in sockets if not each.lost and self._fanout.is_open(each)]
        for each in held:
            each.socket.lost = True  # from here on it handles nothing
        task = asyncio.ensure_future(self._start_over(held, self._nodes.epoch, reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Restores nothing any more."""
        await end(self._tasks)

    async def _start_over(self, held: list[Holding], epoch: bytes, reason: str) -> None:
        for chunk in (held[at : at + SOCKETS_PER_STEP] for at in range(0, len(held), SOCKETS_PER_STEP)):
            tries = (self._restore(each, epoch) for each in chunk)
            outcomes = await asyncio.gather(*tries, return_exceptions=True)
            for each, outcome in zip(chunk, outcomes, strict=True):
                if isinstance(outcome, BaseException) and not isinstance(outcome, Stale | NotConnected):
                    logger.warning("%s was not written anew: %s", each.socket, outcome)
                self._metrics.stale_sockets += 1
                self._fanout.close(each.socket, reason)

    async def _restore(self, held: Holding, epoch: bytes) -> None:
        """Raises Stale where Redis was not emptied since `epoch`, StoreError."""
        socket, everybody = held.socket, self._keys.room(RoomId(held.socket.namespace, None))
        await self._writer.submit(
            script("socket_restore"),
            (
                *(self._keys.socket(socket.sid), everybody.members, everybody.log, everybody.last),
                *(self._keys.node_sockets(self._node.node_id), self._keys.epoch),
            ),
            (
                *(socket.sid, socket.namespace, self._node.node_id, socket.lineage, socket.generation),
                epoch,
            ),
            clock_of,
        )
        socket.lost = False  # it will be away, and its nicknames are kept for a while
        for room_id, nickname in held.rooms.items():
            try:
                await self._roster.restore(socket, room_id, nickname)
            except NicknameTaken as error:
                logger.warning("%s is not in its room any more: %s", socket, error)
            except ClusterKitError as error:
                logger.warning("%s was not put back into %s: %s", socket, room_id.name, error)
