"""A cluster node without a web server: everything below the hub, and a witness in place of the fan-out.

What it would have written, closed and asked is kept; `app.hub` and `app.transport` have no part in it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from app.cluster.cluster import Cluster
from app.cluster.local import LocalRoom, LocalSocket
from app.metrics import Metrics
from app.node import Node, new_lineage, new_sid
from app.settings import load_settings
from app.wire import Answer, Ask, Enter, Packet, RoomId, from_json
from tests.support.eventually import eventually


@dataclass(slots=True)
class Witness:
    """The fan-out and the hub at once: sid -> packets, in order, and what was asked for."""

    written: dict[str, list[Packet]] = field(default_factory=dict)
    sent: dict[str, list[Packet]] = field(default_factory=dict)  # eio_sid -> packets
    closed: list[tuple[str, str]] = field(default_factory=list)  # (sid, reason)
    disconnected: list[str] = field(default_factory=list)
    asked: list[tuple[str, Ask]] = field(default_factory=list)
    entering: list[Enter] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def write(self, sockets: Iterable[LocalSocket], packet: Packet, *, offset: int = 0) -> None:
        for socket in sockets:
            self.written.setdefault(socket.sid, []).append(packet)

    def broadcast(
        self, room: LocalRoom, packet: Packet, *, offset: int = 0, skip: Collection[LocalSocket] = ()
    ) -> None:
        self.write([socket for socket in room.sockets.values() if socket not in skip], packet, offset=offset)

    def send(self, eio_sid: str, packet: Packet) -> None:
        self.sent.setdefault(eio_sid, []).append(packet)

    def has_unsent(self, socket: LocalSocket) -> bool:
        return False

    def is_open(self, socket: LocalSocket) -> bool:
        return all(sid != socket.sid for sid, _ in self.closed)

    def settle(self, socket: LocalSocket) -> None:
        pass  # nothing waits here

    def close(self, socket: LocalSocket, reason: str) -> None:
        self.closed.append((socket.sid, reason))

    def disconnect_local(self, socket: LocalSocket) -> None:
        self.disconnected.append(socket.sid)

    def ask(self, sockets: Iterable[LocalSocket], ask: Ask) -> None:
        self.asked += [(socket.sid, ask) for socket in sockets]

    def enter(self, request: Enter) -> None:
        self.entering.append(request)

    def answer(self, answer: Answer) -> None:
        self.answers.append(answer)


class BareNode:
    """One node's cluster, and the sockets that a test gives it."""

    def __init__(self, redis_url: str, key_prefix: str, **settings: Any) -> None:
        self.witness = Witness()
        self.cluster = Cluster(
            load_settings(redis_url=redis_url, key_prefix=key_prefix, **settings),
            Node(),
            self.witness,
            self.witness,
            Metrics(),
        )

    async def socket(self, *rooms: RoomId, nickname: str = "", recovers: bool = False) -> LocalSocket:
        """A new connected socket in the namespace of its rooms, a member of each."""
        namespace, lineage = rooms[0].namespace if rooms else "/", new_lineage() if recovers else ""
        socket = LocalSocket(new_sid(), self.cluster.node.new_eio_sid(), namespace, lineage)
        self.cluster.locals.add(socket)
        await self.cluster.sockets.connect(socket)
        for room in rooms:
            await self.cluster.roster.enter(socket, room, nickname)
        return socket

    async def disconnect(self, socket: LocalSocket) -> None:
        """The end of a socket, as the hub does it."""
        rooms = [room_id for room_id in socket.rooms if room_id.name is not None]
        self.cluster.locals.remove(socket)
        self.cluster.sockets.release(socket)
        leaving = [self.cluster.roster.leave(socket.sid, room, generation=socket.generation) for room in rooms]
        await asyncio.gather(
            *leaving, self.cluster.sockets.disconnect(socket.sid, socket.namespace, socket.generation)
        )

    def heard(self, socket: LocalSocket) -> list[Any]:
        """The first argument of every event that was written to a socket of this node, in order."""
        texts = [packet.text.lstrip("2") for packet in self.witness.written.get(socket.sid, [])]
        return [from_json(text[text.index("[") :])[1] for text in texts]


@contextlib.asynccontextmanager
async def bare_node(redis_url: str, key_prefix: str, **settings: Any) -> AsyncIterator[BareNode]:
    """A node that listens, while the block runs."""
    node = BareNode(redis_url, key_prefix, **settings)
    node.cluster.start()
    try:
        await eventually(lambda: node.cluster.relay.listening, every_s=0.005)
        yield node
    finally:
        await node.cluster.stop()
