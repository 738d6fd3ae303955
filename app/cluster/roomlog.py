"""Appends events to the logs of rooms and of single sockets.

A message's way, 3 of 5: one script numbers, stores and publishes an event; from there it comes back to every
node with members (`cluster.relay`, 4 of 5). No node delivers anything that did not take this way.

Every method takes its place in the order at once and returns a future with the entry's clock (0 where the
room has no member, and nothing was stored). The future fails with StoreUnavailable, StoreOverloaded,
OutcomeUnknown, Stale where the acting socket was taken over, or as the method says.
"""

import asyncio
from collections.abc import Sequence

from ..errors import NoSuchMember, NotConnected, Stale
from ..store.keys import Keys
from ..store.scripts import script
from ..wire import Ask, Direct, Disconnect, Event, Packet, Payload, RoomId, encode_body, to_json
from .local import LocalSocket
from .writer import Writer

Clock = asyncio.Future[int]
# Where a whisper's body is cut, for the script to put the recipient's sid in.
_RECIPIENT = "\x00"


class RoomLog:
    """The log's writing side."""

    def __init__(self, writer: Writer, keys: Keys) -> None:
        self._writer = writer
        self._keys = keys

    def append(
        self, room: RoomId, packet: Packet, *, skip: Sequence[str] = (), actor: LocalSocket | None = None
    ) -> Clock:
        """An event to all members of `room` but those whose sids are in `skip`.

        `actor`: the socket that sends it, if one does; its generation is checked.
        """
        keys = self._keys.room(room)
        body = encode_body(Event(packet, skip=tuple(skip)))
        return self._writer.submit(
            script("event_append"),
            (keys.log, keys.last, keys.members, self._keys.socket(actor.sid) if actor else keys.members),
            (keys.channel, actor.generation if actor else "", body),
            clock_of,
        )

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

    def whisper(self, room: RoomId, nickname: str, packet: Packet, *, actor: LocalSocket) -> Clock:
        """An event to the member called `nickname` and to the sender. Fails with NoSuchMember."""
        keys = self._keys.room(room)
        to = (actor.sid, _RECIPIENT)
        before, _, after = encode_body(Event(packet, to=to)).partition(to_json(_RECIPIENT)[1:-1].encode())

        def settle(reply: bytes) -> int:
            if reply == b"nobody":
                raise NoSuchMember(f"nobody in this room is called {nickname!r}")
            return clock_of(reply)

        return self._writer.submit(
            script("whisper_append"),
            (keys.log, keys.last, keys.roster, self._keys.socket(actor.sid)),
            (keys.channel, actor.generation, nickname, before, after),
            settle,
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
