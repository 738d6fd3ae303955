"""Sockets in Redis: connecting, disconnecting, and the data bound to them.

A socket's hash is there from before its client is told that it is connected until its disconnection; rooms
are `cluster.roster`'s.
"""

import asyncio
from typing import Any

from ..errors import NotConnected
from ..node import Node
from ..store.keys import Keys
from ..store.redis import Store
from ..store.scripts import script
from ..wire import RoomId, from_json, to_json
from .delivery import Delivery
from .local import LocalSocket
from .relay import Relay
from .roomlog import clock_of
from .roster import DATA
from .writer import Writer


class Sockets:
    """The sockets of the cluster."""

    def __init__(
        self, store: Store, writer: Writer, keys: Keys, node: Node, relay: Relay, delivery: Delivery
    ) -> None:
        self._store = store
        self._writer = writer
        self._keys = keys
        self._node = node
        self._relay = relay
        self._delivery = delivery

    async def connect(self, socket: LocalSocket) -> None:
        """Makes a socket of this node known, and a member of everybody. Raises StoreError."""
        everybody = RoomId(socket.namespace, None)
        room = await self._relay.open(everybody)
        socket.rooms[everybody] = room
        try:
            clock = await self._writer.submit(
                script("socket_connect"),
                (self._keys.socket(socket.sid), *self._everybody(socket.namespace), self._own_sockets()),
                (socket.sid, socket.namespace, self._node.node_id, socket.lineage),
                clock_of,
            )
        except BaseException:
            del socket.rooms[everybody]
            self._relay.release(room)
            raise
        self._delivery.admit(room, socket, clock)
        room.newest = socket.entered = clock

    def disconnect(
        self, sid: str, namespace: str, generation: int, *, keep_s: float | None = None
    ) -> "asyncio.Future[bool]":
        """Forgets a socket, `keep_s` after its client's last sign of life where it is away and its client may come
        back; False where it has not left all its rooms. Fails with Stale, StoreError."""
        log = (self._keys.socket_log(sid), self._keys.socket_last(sid))
        keep_ms = "" if keep_s is None else round(keep_s * 1000)

        def settle(reply: bytes) -> bool:
            return reply != b"changed" and clock_of(reply) == 0

        return self._writer.submit(
            script("socket_disconnect"),
            (self._keys.socket(sid), *self._everybody(namespace), self._own_sockets(), *log, self._keys.away),
            (sid, generation, keep_ms),
            settle,
            essential=True,
        )

    def release(self, socket: LocalSocket) -> None:
        """Lets go of the rooms of a socket that this node no longer holds."""
        rooms, socket.rooms = socket.rooms, {}
        for room in rooms.values():
            self._relay.release(room)

    async def set(self, sid: str, key: str, value: Any) -> None:
        """Binds data to a socket of whichever node; `value` is anything JSON holds.

        Raises NotConnected, StoreError, TypeError.
        """
        await self._write(sid, (DATA + key, to_json(value)))

    async def delete(self, sid: str, key: str) -> None:
        """Unbinds data; a key that is not there is fine. Raises NotConnected, StoreError."""
        await self._write(sid, (DATA + key,))

    async def get(self, sid: str, key: str, default: Any = None) -> Any:
        """The data bound to a socket of whichever node. Raises NotConnected, StoreUnavailable."""
        fields = ["n", DATA + key]
        node_id, value = await self._store.answer(self._store.client.hmget(self._keys.socket(sid), fields))
        if node_id is None:
            raise NotConnected(f"no connected socket has the sid {sid!r}")
        return default if value is None else from_json(value)

    async def owned(self, sockets: list[LocalSocket]) -> list[bool]:
        """For each socket of this node, whether Redis still has it in the generation it has here.

        Raises StoreUnavailable.
        """
        pipeline = self._store.client.pipeline(transaction=False)
        for socket in sockets:
            pipeline.hget(self._keys.socket(socket.sid), "g")
        generations = await self._store.answer(pipeline.execute())
        return [
            generation == str(socket.generation).encode()
            for socket, generation in zip(sockets, generations, strict=True)
        ]

    async def _write(self, sid: str, field: tuple[str, ...]) -> None:
        await self._writer.submit(script("data_set"), (self._keys.socket(sid),), field, clock_of)

    def _everybody(self, namespace: str) -> tuple[str, str, str]:
        keys = self._keys.room(RoomId(namespace, None))
        return keys.members, keys.log, keys.last

    def _own_sockets(self) -> str:
        return self._keys.node_sockets(self._node.node_id)
