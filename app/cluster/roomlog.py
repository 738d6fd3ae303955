"""Appends events to the logs of rooms and of single sockets.

A message's way, 3 of 5: one script numbers, stores and publishes an event; from there it comes back to every
node with members (`cluster.relay`, 4 of 5). No node delivers anything that did not take this way.

Every method takes its place in the order at once and returns a future with the entry's clock (0 where the
room has no member, and nothing was stored). The future fails with StoreUnavailable, StoreOverloaded,
OutcomeUnknown, Stale where the acting socket was taken over, or as the method says.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar, overload

from ..errors import NoSuchMember, NotConnected, Stale
from ..settings import Settings
from ..store.keys import Keys
from ..store.resp import Packed, pack, pack_one
from ..store.scripts import script
from ..wire import Ask, Direct, Disconnect, Event, Packet, Payload, RoomId, encode_body, encode_event, to_json
from .local import LocalSocket
from .writer import Writer

Clock = asyncio.Future[int]
Settled = TypeVar("Settled")
# Senders whose keys are kept packed, a room and a socket each: half a kilobyte for one.
SENDERS_CACHED = 16_384
EVENT_ARGS = 3  # channel, generation, body: see `event_append.lua`
# Where a whisper's body is cut, for the script to put the recipient's sid in.
_RECIPIENT = "\x00"


class RoomLog:
    """The log's writing side."""

    def __init__(self, settings: Settings, writer: Writer, keys: Keys) -> None:
        self._writer = writer
        self._keys = keys
        self._sent_limits = (settings.sent_ids_max, settings.sent_ids_ttl_s)
        self._event_append = script("event_append")
        self._sender = lru_cache(SENDERS_CACHED)(self._pack_sender)

    @overload
    def append(
        self, room: RoomId, packet: Packet, *, skip: Sequence[str] = (), actor: LocalSocket | None = None
    ) -> Clock: ...

    @overload
    def append(
        self,
        room: RoomId,
        packet: Packet,
        *,
        skip: Sequence[str] = (),
        actor: LocalSocket | None = None,
        message_id: str | None = None,
        settle: Callable[[int], Settled],
    ) -> "asyncio.Future[Settled]": ...

    def append(
        self,
        room: RoomId,
        packet: Packet,
        *,
        skip: Sequence[str] = (),
        actor: LocalSocket | None = None,
        message_id: str | None = None,
        settle: Callable[[int], Any] | None = None,
    ) -> "asyncio.Future[Any]":
        """An event to all members of `room` but those whose sids are in `skip`.

        `actor`: the socket that sends it, if one does; its generation is checked. `message_id`: what its client
        calls it; sent again it is not appended again, and the future holds the same. `settle`: what the future
        holds instead of the clock is what this makes of it; what it raises is the future's, too.
        """
        settled = clock_of if settle is None else _then(settle)
        if message_id is not None and actor is not None:
            return self._append_once(room, encode_event(packet, skip), actor, message_id, settled)
        sender = (actor.sid, actor.generation) if actor is not None else None
        keys, packed_args = self._sender(room, sender)
        args = Packed(EVENT_ARGS, packed_args + pack_one(encode_event(packet, skip)))
        return self._writer.submit(self._event_append, keys, args, settled)

    def _append_once(
        self, room: RoomId, body: bytes, actor: LocalSocket, message_id: str, settle: Callable[[bytes], Any]
    ) -> "asyncio.Future[Any]":
        keys = self._keys.room(room)
        return self._writer.submit(
            script("message_append"),
            (keys.log, keys.last, keys.members, self._keys.socket(actor.sid), self._sent(actor)),
            (keys.channel, actor.generation, body, message_id, *self._sent_limits),
            settle,
        )

    def _sent(self, actor: LocalSocket) -> str:
        """What a client has sent: all its sockets if it can recover, else this one."""
        return self._keys.sent(actor.sid, actor.lineage)

    def _pack_sender(self, room: RoomId, sender: tuple[str, int] | None) -> tuple[Packed, bytes]:
        """Of an event's call, the keys and the arguments ahead of the body."""
        keys = self._keys.room(room)
        sid, generation = sender or ("", "")
        socket = self._keys.socket(sid) if sender is not None else keys.members
        return pack((keys.log, keys.last, keys.members, socket)), pack((keys.channel, generation)).data

    def append_to_rooms(self, rooms: Sequence[RoomId], packet: Packet, *, skip: Sequence[str] = ()) -> Clock:
        """An event to the members of several rooms of one namespace, once to each."""
        rooms = list(dict.fromkeys(rooms))
        names = tuple(room.name or "" for room in rooms)
        body = encode_body(Event(packet, skip=tuple(skip), rooms=names))
        each = [self._keys.room(room) for room in rooms]
        return self._writer.submit(
            script("events_append"),
            [key for keys in each for key in (keys.log, keys.last, keys.members)],
            (body, *(keys.channel for keys in each)),
            clock_of,
        )

    @overload
    def whisper(self, room: RoomId, nickname: str, packet: Packet, *, actor: LocalSocket) -> Clock: ...

    @overload
    def whisper(
        self,
        room: RoomId,
        nickname: str,
        packet: Packet,
        *,
        actor: LocalSocket,
        message_id: str | None = None,
        settle: Callable[[int], Settled],
    ) -> "asyncio.Future[Settled]": ...

    def whisper(
        self,
        room: RoomId,
        nickname: str,
        packet: Packet,
        *,
        actor: LocalSocket,
        message_id: str | None = None,
        settle: Callable[[int], Any] | None = None,
    ) -> "asyncio.Future[Any]":
        """An event to the member called `nickname` and to the sender. Fails with NoSuchMember.

        `message_id` and `settle`: as for `append`.
        """
        keys = self._keys.room(room)
        to = (actor.sid, _RECIPIENT)
        before, _, after = encode_body(Event(packet, to=to)).partition(to_json(_RECIPIENT)[1:-1].encode())

        def heard(reply: bytes) -> Any:
            if reply == b"nobody":
                raise NoSuchMember(f"nobody in this room is called {nickname!r}")
            return clock_of(reply) if settle is None else settle(clock_of(reply))

        return self._writer.submit(
            script("whisper_append"),
            (keys.log, keys.last, keys.roster, self._keys.socket(actor.sid), self._sent(actor)),
            (keys.channel, actor.generation, nickname, before, after, message_id or "", *self._sent_limits),
            heard,
        )

    def append_to_socket(self, namespace: str, sid: str, packet: Packet) -> Clock:
        """An event to one socket, on whichever node. Fails with NotConnected."""
        return self._direct(namespace, sid, Direct(sid, packet))

    def disconnect(self, namespace: str, sid: str) -> Clock:
        """Has the socket's node disconnect it, after what was sent to it before. Fails with NotConnected."""
        return self._direct(namespace, sid, Disconnect(sid))

    def ask_socket(self, namespace: str, ask: Ask) -> Clock:
        """An event that wants an acknowledgement, stored nowhere. Fails with NotConnected."""
        return self.notify_socket(namespace, ask.sid, ask)

    def notify_socket(self, namespace: str, sid: str, notice: Payload) -> Clock:
        """A notice to the node of a socket. Fails with NotConnected."""
        return self._writer.submit(
            script("direct_publish"),
            (self._keys.socket(sid),),
            (self._keys.inbox_prefix, namespace, encode_body(notice)),
            clock_of,
        )

    def notify_room(self, room: RoomId, notice: Payload) -> Clock:
        """A notice to the nodes with members of a room."""
        return self._notify(self._keys.room(room).channel, notice)

    def notify_node(self, node_id: str, notice: Payload) -> Clock:
        """A notice to a node."""
        return self._notify(self._keys.inbox(node_id), notice)

    def _notify(self, channel: str, notice: Payload) -> Clock:
        return self._writer.submit(script("notice_publish"), (), (channel, encode_body(notice)), clock_of)

    def _direct(self, namespace: str, sid: str, payload: Payload) -> Clock:
        return self._writer.submit(
            script("direct_append"),
            (self._keys.socket_log(sid), self._keys.socket_last(sid), self._keys.socket(sid)),
            (self._keys.inbox_prefix, namespace, encode_body(payload)),
            clock_of,
        )


def clock_of(reply: bytes) -> int:
    """The clock in a script's reply `ok <clock>`. Raises what the other replies mean."""
    word, _, clock = reply.partition(b" ")
    if word == b"ok":
        return int(clock or 0)
    if word == b"absent":
        raise NotConnected("no connected socket has this sid")
    raise Stale(f"the socket has another connection now, or Redis lost it ({reply.decode()})")


def _then(settle: Callable[[int], Any]) -> Callable[[bytes], Any]:
    return lambda reply: settle(clock_of(reply))
