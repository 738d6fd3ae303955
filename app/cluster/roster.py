"""Who is in a room: entering, renaming, leaving, and asking.

Rosters are changed only by scripts, which write the members, the nicknames, the index of rooms, the socket's
hash and the log entry together. Replicas of them follow the log (`cluster.delivery`).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import NicknameTaken, Refused, Stale, StoreOverloaded, StoreUnavailable
from ..node import Node, looks_like_sid
from ..store.keys import Keys, room_of_field
from ..store.redis import Store
from ..store.scripts import script
from ..wire import Closed, Joined, Left, Packet, Renamed, RoomId, encode_body, to_json
from .delivery import Delivery
from .local import LocalRoom, LocalSocket
from .relay import Relay
from .roomlog import clock_of
from .writer import Writer

# Fields of a socket's hash that hold bound data begin with this.
DATA = "d:"


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a room, as Redis has it. `entered`: the clock at which it became one."""

    sid: str
    nickname: str
    node_id: str
    generation: int
    entered: int


class Roster:
    """The rosters of all rooms."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        keys: Keys,
        node: Node,
        relay: Relay,
        delivery: Delivery,
    ) -> None:
        self._store = store
        self._writer = writer
        self._keys = keys
        self._node = node
        self._relay = relay
        self._delivery = delivery

    # --- changing ------------------------------------------------------------------------------------------

    async def enter(
        self,
        socket: LocalSocket,
        room_id: RoomId,
        nickname: str = "",
        *,
        packet: Packet | None = None,
        own: str = "",
        farewell: str = "",
        data: Mapping[str, object] | None = None,
    ) -> bool:
        """Makes a socket of this node a member; it is one when this returns. False: it was one before.

        All with the change itself: `packet` goes to the room, the new member included, `own` to the new
        member before it, `data` is bound to the socket, and `farewell` kept for those who stay when it
        leaves (both packets' texts). Raises NicknameTaken, Refused where the room has the name of a socket,
        Stale, StoreError.
        """
        tried_before = room_id in socket.rooms
        room = await self._room_for(socket, room_id)
        if socket.sid in room.sockets:
            return False
        joined = encode_body(Joined(socket.sid, nickname, self._node.node_id, packet, own))
        try:
            entered, clock = await self._submit_enter(socket, room_id, nickname, joined, farewell, data or {})
        except (Refused, Stale, StoreUnavailable, StoreOverloaded):
            if not tried_before:  # certainly no member; after an unknown outcome it may be one
                self._not_entered(socket, room)
            raise
        if entered or room_id not in socket.farewells:  # an answer may have been lost before
            _keep_farewell(socket, room_id, farewell)
        await self._entered(socket, room, clock)
        return entered

    async def restore(self, socket: LocalSocket, room_id: RoomId, nickname: str) -> None:
        """Makes a socket a member again of a room that Redis has forgotten; nobody is told until it leaves.

        Raises NicknameTaken, Stale, StoreError.
        """
        joined = encode_body(Joined(socket.sid, nickname, self._node.node_id))
        farewell = socket.farewells.get(room_id, "")
        await self._submit_enter(socket, room_id, nickname, joined, farewell, {})

    async def _room_for(self, socket: LocalSocket, room_id: RoomId) -> LocalRoom:
        """The room, open, and among the socket's: the entry may come back before the reply does."""
        if room_id not in socket.rooms:
            room = await self._relay.open(room_id)
            if room_id in socket.rooms:  # another of the socket's events was faster
                self._relay.release(room)
            else:
                socket.rooms[room_id] = room
        return socket.rooms[room_id]

    def _not_entered(self, socket: LocalSocket, room: LocalRoom) -> None:
        if socket.rooms.pop(room.room, None) is room:
            self._relay.release(room)

    async def _entered(self, socket: LocalSocket, room: LocalRoom, clock: int) -> None:
        """Waits for the entry; where it came before this room was opened here (a join whose answer was lost,
        tried again), makes the socket a member now."""
        await room.reached(clock)
        if socket.rooms.get(room.room) is room and not room.closed:
            self._delivery.admit(room, socket, clock)

    def _submit_enter(
        self,
        socket: LocalSocket,
        room_id: RoomId,
        nickname: str,
        joined: bytes,
        farewell: str,
        data: Mapping[str, object],
    ) -> "asyncio.Future[tuple[bool, int]]":
        keys = self._keys.room(room_id)
        name = room_id.name or ""
        same_name = self._keys.socket(name) if looks_like_sid(name) else f"{keys.members}:none"

        def settle(reply: bytes) -> tuple[bool, int]:
            if reply == b"reserved":
                raise Refused("a room cannot have the name of a socket", code="reserved_name")
            return not reply.startswith(b"already"), _named(reply, nickname)

        return self._writer.submit(
            script("member_enter"),
            (
                *(keys.log, keys.last, keys.members, keys.roster, self._keys.rooms),
                *(self._keys.socket(socket.sid), same_name),
            ),
            (
                *(keys.channel, socket.generation, socket.sid, nickname, self._node.node_id, keys.field),
                joined,
                farewell,
                *_fields(data),
            ),
            settle,
        )

    async def rename(
        self,
        socket: LocalSocket,
        room_id: RoomId,
        nickname: str,
        *,
        packet: Packet | None = None,
        farewell: str = "",
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Gives a member another nickname; its node's replica has it when this returns.

        `packet`, `farewell` and `data` as for `enter`. Raises NicknameTaken, NotConnected where the socket is
        no member, Stale, StoreError.
        """
        keys, room = self._keys.room(room_id), socket.rooms.get(room_id)
        clock = await self._writer.submit(
            script("member_rename"),
            (keys.log, keys.last, keys.members, keys.roster, self._keys.socket(socket.sid)),
            (
                *(keys.channel, socket.generation, socket.sid, nickname),
                *(encode_body(Renamed(socket.sid, nickname, packet)), keys.field, farewell),
                *_fields(data or {}),
            ),
            lambda reply: _named(reply, nickname),
        )
        if room is not None:
            _keep_farewell(socket, room_id, farewell)
            await room.reached(clock)

    async def leave_here(self, socket: LocalSocket, room_id: RoomId) -> None:
        """Ends a membership of a socket of this node; it is over when this returns. Raises Stale, StoreError."""
        room = socket.rooms.get(room_id)
        clock = await self.leave(socket.sid, room_id, generation=socket.generation)
        if room is not None:
            await room.reached(clock)

    def leave(
        self,
        sid: str,
        room_id: RoomId,
        *,
        generation: int | None = None,
        remember: Literal["stay", "room", "nothing"] = "stay",
    ) -> "asyncio.Future[int]":
        """Ends a membership, on whichever node. The clock is 0 where there was none.

        Those who stay hear the farewell it was entered with. `remember`: what of it a socket keeps whose client
        may come back: when it was a member, or the room, to enter it again. Fails with Stale, StoreError.
        """
        keys, acting = self._keys.room(room_id), "" if generation is None else str(generation)
        return self._writer.submit(
            script("member_leave"),
            (keys.log, keys.last, keys.members, keys.roster, self._keys.rooms, self._keys.socket(sid)),
            (keys.channel, acting, sid, keys.field, encode_body(Left(sid)), remember),
            lambda reply: 0 if reply == b"absent" else clock_of(reply),
            essential=True,
        )

    async def close(self, room_id: RoomId) -> int:
        """Ends all memberships of a room; returns the clock, 0 where there were none. Raises StoreError."""
        keys = self._keys.room(room_id)
        while True:  # again where the members changed between reading and closing
            sids = [member.sid for member in await self.members(room_id)]
            reply = await self._writer.submit(
                script("room_close"),
                (
                    *(keys.log, keys.last, keys.members, keys.roster, self._keys.rooms),
                    *(self._keys.socket(sid) for sid in sids),
                ),
                (keys.channel, keys.field, encode_body(Closed()), *sids),
            )
            if reply != b"changed":
                return 0 if reply == b"absent" else clock_of(reply)

    # --- asking --------------------------------------------------------------------------------------------

    async def members(self, room_id: RoomId) -> list[Member]:
        """The members of a room in the whole cluster, in order of entering. Raises StoreUnavailable."""
        found = await self._store.answer(self._store.client.hgetall(self._keys.room(room_id).members))
        return sorted((_member(sid, value) for sid, value in found.items()), key=lambda member: member.entered)

    async def count(self, room_id: RoomId) -> int:
        """How many members a room has in the whole cluster. Raises StoreUnavailable."""
        return int(await self._store.answer(self._store.client.hlen(self._keys.room(room_id).members)))

    async def rooms(self, namespace: str | None = None) -> dict[RoomId, int]:
        """The rooms that have members, largest first -> how many. Raises StoreUnavailable."""
        found = await self._store.answer(self._store.client.zrevrange(self._keys.rooms, 0, -1, withscores=True))
        rooms = {room_of_field(field.decode()): int(count) for field, count in found}
        return {room: count for room, count in rooms.items() if namespace in (None, room.namespace)}


def _keep_farewell(socket: LocalSocket, room_id: RoomId, farewell: str) -> None:
    """Where Redis is emptied, this node is the only one that knows it."""
    if farewell:
        socket.farewells[room_id] = farewell
    else:
        socket.farewells.pop(room_id, None)


def _fields(data: Mapping[str, object]) -> list[str]:
    return [text for key, value in data.items() for text in (DATA + key, to_json(value))]


def _named(reply: bytes, nickname: str) -> int:
    """The clock in a reply of what gives a nickname; 0 where it had that one. Raises NicknameTaken and more."""
    if reply == b"taken":
        raise NicknameTaken(f"{nickname!r} is taken in this room")
    word, _, clock = reply.partition(b" ")
    return int(clock or 0) if word in (b"already", b"same") else clock_of(reply)


def _member(sid: bytes, value: bytes) -> Member:
    entered, generation, node_id, nickname = value.decode().split(" ", 3)
    return Member(sid.decode(), nickname, node_id, int(generation), int(entered))
