"""What an entry does on this node: members come and go, replicas follow, packets go out.

Everything here happens when the node's deliveries reach the entry's clock, and nowhere else, so that an
`emit` before a `leave_room` still arrives. Order and gaps are `cluster.relay`'s; bytes are the fan-out's.
"""

import logging
import signal
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Protocol

from ..metrics import Metrics
from ..wire import (
    NO_OFFSET,
    Answer,
    Ask,
    Closed,
    Direct,
    Disconnect,
    Drain,
    Enter,
    Entry,
    Event,
    Joined,
    Left,
    Packet,
    Payload,
    Renamed,
    RoomId,
    Taken,
    Unknown,
)
from .local import Cursor, LocalRoom, Locals, LocalSocket

logger = logging.getLogger(__name__)


class FanOut(Protocol):
    """Where packets leave for clients (`transport.fanout`); a socket gets them in the order of these calls."""

    def broadcast(
        self, room: LocalRoom, packet: Packet, *, offset: int = 0, skip: Collection[LocalSocket] = ()
    ) -> None:
        """A packet to all who are members of `room` now, but to none of `skip`, without waiting.

        `offset`: its place in the log, which those who can recover are told; 0 where it has none.
        """

    def write(self, sockets: Iterable[LocalSocket], packet: Packet, *, offset: int = 0) -> None:
        """A packet to each of these sockets, without waiting; `offset` as above."""

    def send(self, eio_sid: str, packet: Packet) -> None:
        """A packet, as it is, to a connection, past what waits for its room and what is held for its socket."""

    def has_unsent(self, socket: LocalSocket) -> bool:
        """Whether something waits for a client to read."""

    def is_open(self, socket: LocalSocket) -> bool:
        """Whether the connection below a socket is there, and not about to go."""

    def settle(self, socket: LocalSocket) -> None:
        """The socket is about to become, or no longer be, a member of a room."""

    def close(self, socket: LocalSocket, reason: str) -> None:
        """Ends the Engine.IO connection below a socket; its client comes back by itself."""


class Notices(Protocol):
    """Who acts on what is not an event to clients (`hub.manager`)."""

    def disconnect_local(self, socket: LocalSocket) -> None:
        """The server ends this socket's place in its namespace."""

    def ask(self, sockets: Iterable[LocalSocket], ask: Ask) -> None:
        """Sends an event that wants an acknowledgement."""

    def enter(self, request: Enter) -> None:
        """Lets a socket of this node enter a room on another node's behalf."""

    def answer(self, answer: Answer) -> None:
        """An acknowledgement, or another node's answer, has come."""


class Delivery:
    """Applies entries to `locals`."""

    def __init__(self, locals_: Locals, fanout: FanOut, notices: Notices, metrics: Metrics) -> None:
        self._locals = locals_
        self._fanout = fanout
        self._notices = notices
        self._metrics = metrics
        self.roster_changed: list[Callable[[LocalRoom], None]] = []  # called after each change of a replica
        self.told_to_drain = partial(signal.raise_signal, signal.SIGTERM)  # as whoever runs the process would
        self.release: Callable[[LocalRoom], None] = lambda room: None  # set by the relay
        self.start_over: Callable[[list[LocalSocket], str], None] = self._close_all  # or the restorer's

    def apply(self, cursor: Cursor, entry: Entry) -> None:
        """Lets `entry` take effect; it is the next one of its log here."""
        if isinstance(cursor, LocalRoom):
            self._apply_to_room(cursor, entry)
        elif isinstance(cursor, LocalSocket):
            self._apply_to_socket(cursor, entry)

    def admit(self, room: LocalRoom, socket: LocalSocket, entered: int) -> None:
        """Makes a socket a member: it gets what is delivered from here on.

        One that is still to be sent what it has missed gets this from the log as well, and is admitted then.
        """
        if socket.replay is not None:
            socket.replay.floors.setdefault(room.room, entered - 1)
            return
        self._fanout.settle(socket)
        room.sockets[socket.sid] = socket

    def notice(self, payload: Payload) -> None:
        """Lets something take effect that concerns this node and no log."""
        match payload:
            case Answer() as answer:
                self._notices.answer(answer)
            case Enter() as request:
                self._notices.enter(request)
            case Drain():
                self.told_to_drain()
            case Taken() as taken:
                socket = self._locals.sockets.get(taken.sid)
                if socket is not None and socket.generation < taken.generation:
                    self._metrics.stale_sockets += 1
                    self._fanout.close(socket, "its client has another connection")

    def reset(self, room: LocalRoom, roster: dict[str, str]) -> None:
        """Replaces the replica by a snapshot."""
        room.roster = roster
        self._changed(room)

    def broken(self, cursor: Cursor) -> None:
        """Entries of this log are lost for good: who should have had them reconnects and is told.

        That is a room's members here and those about to be: their own joining may be among what was lost.
        """
        found = [
            socket
            for socket in self._locals.sockets.values()
            if socket is cursor or (isinstance(cursor, LocalRoom) and socket.rooms.get(cursor.room) is cursor)
        ]
        self.start_over(found, "entries lost")

    def _close_all(self, sockets: Iterable[LocalSocket], reason: str) -> None:
        for socket in sockets:
            self._fanout.close(socket, reason)

    @staticmethod
    def _unknown(cursor: Cursor, unknown: Unknown) -> None:
        logger.error("%s has an entry this node cannot read: %.80r", cursor, unknown.body)

    def _apply_to_room(self, room: LocalRoom, entry: Entry) -> None:
        self._metrics.deliveries += 1
        match entry.payload:
            case Event() as event:
                self._deliver(room, event, entry.clock)
            case Joined() as joined:
                self._join(room, joined, entry.clock)
            case Renamed() as renamed:
                room.roster[renamed.sid] = renamed.nickname
                self._tell(room, renamed.packet, entry.clock)
            case Left() as left:
                self._leave(room, left, entry.clock)
            case Closed():
                self._close(room)
            case Ask() as ask:
                skip = ask.skip
                self._notices.ask([s for s in room.sockets.values() if s.sid not in skip], ask)
            case Unknown() as unknown:
                self._unknown(room, unknown)

    def _apply_to_socket(self, socket: LocalSocket, entry: Entry) -> None:
        match entry.payload:
            case Direct() as direct:
                if socket.replay is None:  # else it is among what is read for it
                    self._fanout.write((socket,), direct.packet, offset=entry.clock)
            case Disconnect():
                self._notices.disconnect_local(socket)
            case Ask() as ask:
                self._notices.ask((socket,), ask)
            case Unknown() as unknown:
                self._unknown(socket, unknown)

    def _deliver(self, room: LocalRoom, event: Event, clock: int) -> None:
        members, skip = room.sockets, event.skip
        if event.to:
            to = (members[sid] for sid in dict.fromkeys(event.to) if sid in members)
            heard = [socket for socket in to if socket.entered < clock]
            self._fanout.write(heard, event.packet, offset=clock)
            return
        missing = [members[sid] for sid in dict.fromkeys(skip) if sid in members] if skip else []
        if clock <= room.newest:  # was held while somebody connected: not for who came after it
            missing += [socket for socket in members.values() if socket.entered >= clock]
        for earlier in self._earlier(room, event.rooms):
            missing += [members[sid] for sid in earlier.sockets.keys() & members.keys()]
        self._fanout.broadcast(room, event.packet, offset=clock, skip=missing)

    def _earlier(self, room: LocalRoom, names: tuple[str, ...]) -> list[LocalRoom]:
        """The rooms through which a member of several already had the event."""
        if not names:
            return []
        before = names[: names.index(room.room.name)] if room.room.name in names else ()
        ids = (RoomId(room.room.namespace, name) for name in before)
        return [self._locals.rooms[room_id] for room_id in ids if room_id in self._locals.rooms]

    def _join(self, room: LocalRoom, joined: Joined, clock: int) -> None:
        room.roster[joined.sid] = joined.nickname
        socket = self._locals.socket(joined.sid, room.room.namespace)
        if socket is not None and socket.rooms.get(room.room) is room:
            self.admit(room, socket, clock)
            if joined.own and socket.replay is None:
                self._fanout.write((socket,), Packet(joined.own), offset=own_offset(joined, clock))
        self._tell(room, joined.packet, clock)

    def _leave(self, room: LocalRoom, left: Left, clock: int) -> None:
        room.roster.pop(left.sid, None)
        socket = room.sockets.get(left.sid)
        if socket is not None:
            self._dismiss(room, socket)
        self._tell(room, left.packet, clock)

    def _close(self, room: LocalRoom) -> None:
        room.roster.clear()
        for socket in list(room.sockets.values()):
            self._dismiss(room, socket)
        self._changed(room)

    def _dismiss(self, room: LocalRoom, socket: LocalSocket) -> None:
        self._fanout.settle(socket)
        del room.sockets[socket.sid]
        socket.farewells.pop(room.room, None)
        if socket.rooms.pop(room.room, None) is not None:
            self.release(room)

    def _tell(self, room: LocalRoom, packet: Packet | None, clock: int) -> None:
        if packet is not None:
            self._fanout.broadcast(room, packet, offset=clock)
        self._changed(room)

    def restored(self, room: LocalRoom, socket: LocalSocket) -> None:
        """Makes a socket a member again that was sent what it has missed."""
        self._fanout.settle(socket)
        room.sockets[socket.sid] = socket
        self._changed(room)  # lists of members are not sent again

    def _changed(self, room: LocalRoom) -> None:
        for listener in self.roster_changed:
            listener(room)


def seen_by(sid: str, entry: Entry) -> list[tuple[Packet, int]]:
    """What a member with this sid gets of an entry: packets, each with its offset."""
    match entry.payload:
        case Event(packet, to, skip):
            return [(packet, entry.clock)] if sid not in skip and (not to or sid in to) else []
        case Joined() as joined:
            own = Packet(joined.own) if joined.own and joined.sid == sid else None
            return [*_offered(own, own_offset(joined, entry.clock)), *_offered(joined.packet, entry.clock)]
        case Renamed(packet=packet) | Left(packet=packet) | Direct(packet=packet):
            return _offered(packet, entry.clock)
    return []


def own_offset(joined: Joined, clock: int) -> int:
    """The offset of what only a new member gets: the entry's, unless that is still to come with the packet."""
    return clock if joined.packet is None else NO_OFFSET


def _offered(packet: Packet | None, clock: int) -> list[tuple[Packet, int]]:
    return [] if packet is None else [(packet, clock)]
