"""Writes packets to the sockets of this node.

A message's way, 5 of 5: an entry's packet is encoded once, joined with the others that wait for the same
room, and each member's transport gets one write a flush. Who is a member, and in which order entries come,
was decided before. Clients that can recover get frames of their own, which carry the packets' offsets; of each
kind they are made when somebody needs them, and once.

With nothing else to do a packet leaves at once. While every turn of the loop brings more, a flush waits for it,
at most as long as the last one took; so the more there is to do, the more leaves with one write. A socket gets
its packets in the order of the calls here; one that is in two rooms of a flush gets them merged, and one that is
written to alone gets first what waits for it. It knows nothing of entries, clocks and Redis.
"""

import asyncio
import logging
import os
import time
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from engineio import packet as eio_packet

from ..metrics import Metrics
from ..wire import NO_OFFSET, Packet, marked, size_of
from .engineio_packet import MESSAGE
from .frames import binary_frame, text_frame
from .protocol import WebSocketConnection

logger = logging.getLogger(__name__)

# A client whose packets wait for a poll, or for its being connected, has at most so many of them waiting.
PACKETS_WAITING_MAX = 10_000
HELD_COUNTED_EVERY = 64
# However long the last flush took: nothing waits longer than this for the next.
WAIT_MAX_S = 0.1
# A flush is not put off beyond this share of what may wait for a client that reads slowly.
FLUSH_BUFFER_SHARE = 0.25


class Room(Protocol):
    """What the fan-out needs of a room."""

    @property
    def sockets(self) -> Mapping[str, "Recipient"]:
        """sid -> member on this node."""


class Recipient(Protocol):
    """What the fan-out needs of a socket."""

    sid: str
    eio_sid: str
    held: list[Packet] | None  # packets wait here until the client was told that it is connected
    connection: Any  # None at first; the fan-out's own
    recovers: bool  # its packets carry their offsets

    @property
    def rooms(self) -> Mapping[Any, Room]:
        """The rooms it is in or enters."""


class _Kind:
    """What waits for those members of a room who get the same frames; made of the first so many packets."""

    __slots__ = ("frames", "packets")

    def __init__(self) -> None:
        self.packets: list[Packet] = []
        self.frames: list[bytes] = []


class _Waiting:
    """What waits for the members of a room, in order."""

    __slots__ = ("given", "marked", "numbers", "plain")

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.given: list[tuple[Packet, int]] = []  # with their offsets
        self.plain = _Kind()
        self.marked = _Kind()

    def add(self, number: int, packet: Packet, offset: int) -> None:
        self.numbers.append(number)
        self.given.append((packet, offset))

    def of(self, recovers: bool) -> _Kind:
        """All that waits, as one kind of member gets it."""
        kind = self.marked if recovers else self.plain
        for packet, offset in self.given[len(kind.packets) :]:
            kind.packets.append(marked(packet, offset) if recovers else packet)
            kind.frames.append(frame_of(kind.packets[-1]))
        return kind


class FanOut:
    """Fans packets out to `WebSocketConnection`s, and to python-engineio's sockets by their queues."""

    def __init__(self, metrics: Metrics, *, send_buffer_bytes: int) -> None:
        self._metrics = metrics
        self._send_buffer_bytes = send_buffer_bytes
        self._connections: Mapping[str, Any] = {}  # eio_sid -> Engine.IO socket
        self._rooms: dict[Room, _Waiting] = {}
        self._served: dict[Recipient, int] = {}  # who had something out of turn -> number of the last packet
        self._direct: dict[str, list[Packet]] = {}  # eio_sid -> what is sent at the end of this turn
        self._number = 0
        self._waiting_bytes = 0  # for all rooms together
        self._flush_due = False
        self._first_s = 0.0  # monotonic time since which something waits
        self._seen = 0  # number of the newest packet when it was last looked for more
        self._took_s = 0.0  # the last flush
        self._closing: dict[str, asyncio.Task[None]] = {}  # eio_sid -> what closes it

    def attach(self, connections: Mapping[str, Any]) -> None:
        """Says where the Engine.IO server keeps its sockets."""
        self._connections = connections

    # --- what is to be written -----------------------------------------------------------------------------

    def broadcast(
        self, room: Room, packet: Packet, *, offset: int = NO_OFFSET, skip: Collection[Recipient] = ()
    ) -> None:
        """A packet to all who are members of `room` now, but to none of `skip`; it leaves with the next flush.

        `offset`: its place in the log, for those who can recover.
        """
        for socket in skip:
            self.settle(socket)
        self._number += 1
        waiting = self._rooms.get(room)
        if waiting is None:
            waiting = self._rooms[room] = _Waiting()
        waiting.add(self._number, packet, offset)
        self._waiting_bytes += size_of(packet)
        for socket in skip:
            self._served[socket] = self._number
        if self._waiting_bytes > self._send_buffer_bytes * FLUSH_BUFFER_SHARE:
            self.flush()
        elif not self._flush_due:
            self._schedule()

    def write(self, sockets: Iterable[Recipient], packet: Packet, *, offset: int = NO_OFFSET) -> None:
        """A packet to each of these sockets at once, behind what waits for it; `offset` as for `broadcast`."""
        alone = _Waiting()
        alone.add(0, packet, offset)
        for socket in sockets:
            frames, packets = self._take(socket)
            kind = alone.of(socket.recovers)
            self._put(socket, b"".join((*frames, *kind.frames)), [*packets, *kind.packets])

    def send(self, eio_sid: str, packet: Packet) -> None:
        """A packet to a connection with the loop's next turn, past what waits for the room's flush: an
        acknowledgement, say. It comes before everything that is handed over here after it.
        """
        if not self._direct:
            asyncio.get_running_loop().call_soon(self._send_direct)
        self._direct.setdefault(eio_sid, []).append(packet)

    def _send_direct(self) -> None:
        direct, self._direct = self._direct, {}
        for eio_sid, packets in direct.items():
            self._put_out(self._connections.get(eio_sid), b"".join(map(frame_of, packets)), packets)

    def settle(self, socket: Recipient) -> None:
        """Writes what waits for a socket; it is about to become, or no longer be, a member of a room."""
        frames, packets = self._take(socket)
        if packets:
            self._put(socket, b"".join(frames), packets)

    # --- flushing ------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        self._flush_due = True
        self._first_s = time.monotonic()
        self._seen = self._number
        asyncio.get_running_loop().call_soon(self._flush_unless_more_comes)

    def _flush_unless_more_comes(self) -> None:
        """Flushes when a turn of the loop has brought nothing new, and at the latest when what waits has waited
        for as long as the last flush took."""
        if not self._flush_due:
            return
        if self._number != self._seen and time.monotonic() - self._first_s < self._took_s:
            self._seen = self._number
            asyncio.get_running_loop().call_soon(self._flush_unless_more_comes)
        else:
            self.flush()

    def flush(self) -> None:
        """Writes everything that waits, once to each socket."""
        started_s = time.monotonic()
        self._flush_due = False
        self._metrics.flush_bytes.observe(self._waiting_bytes)
        self._waiting_bytes = 0
        self._send_direct()
        odd = self._in_several_rooms() | self._served.keys()
        for socket in odd:
            self.settle(socket)
        rooms, self._rooms = self._rooms, {}
        self._served.clear()
        for room, waiting in rooms.items():
            members: Iterable[Recipient] = room.sockets.values()
            self._write_to(members if not odd else [each for each in members if each not in odd], waiting)
        took_s = time.monotonic() - started_s
        self._metrics.flush_seconds.observe(took_s)
        self._took_s = min(took_s, WAIT_MAX_S)

    def _write_to(self, members: Iterable[Recipient], waiting: _Waiting) -> None:
        """The loop that everything else is there for."""
        plain = with_offsets = b""
        connections, write = self._connections, os.write
        for socket in members:
            if socket.recovers:
                data = with_offsets = with_offsets or b"".join(waiting.of(True).frames)
            else:
                data = plain = plain or b"".join(waiting.of(False).frames)
            connection = socket.connection
            if connection is None:
                connection = connections.get(socket.eio_sid)
                if type(connection) is not WebSocketConnection or socket.held is not None:
                    self._put(socket, data, waiting.of(socket.recovers).packets)
                    continue
                socket.connection = connection  # there will be no other one
            if connection.queued:
                if not connection.closing:
                    connection.write(data)
                continue
            try:
                sent = write(connection.fd, data)
            except OSError:  # as in `DirectWriting.write`
                sent = 0
            if sent != len(data):
                connection.write_rest(data, sent)

    def _in_several_rooms(self) -> set[Recipient]:
        """The sockets for which something waits in more than one room."""
        if len(self._rooms) < 2:
            return set()
        seen: set[Recipient] = set()
        several: set[Recipient] = set()
        for room in self._rooms:
            members = room.sockets.values()
            several |= seen.intersection(members)
            seen.update(members)
        return several

    def _take(self, socket: Recipient) -> tuple[Sequence[bytes], Sequence[Packet]]:
        """What waits for a socket, in order; it does not wait any more."""
        if not self._rooms:
            return (), ()
        after = self._served.get(socket, 0)
        found: list[tuple[int, bytes, Packet]] = []
        for room in socket.rooms.values():
            waiting = self._rooms.get(room)
            if waiting is not None and room.sockets.get(socket.sid) is socket:
                start = bisect_right(waiting.numbers, after)
                kind = waiting.of(socket.recovers)
                found += zip(waiting.numbers[start:], kind.frames[start:], kind.packets[start:], strict=True)
        found.sort(key=lambda each: each[0])
        self._served[socket] = self._number
        return [frame for _, frame, _ in found], [packet for _, _, packet in found]

    # --- one socket ----------------------------------------------------------------------------------------

    def _put(self, socket: Recipient, data: bytes, packets: Sequence[Packet]) -> None:
        """`packets`, and the same as frames, to one socket."""
        if socket.held is None:
            self._put_out(self._connections.get(socket.eio_sid), data, packets)
            return
        socket.held += packets
        too_many = len(socket.held) > PACKETS_WAITING_MAX
        if too_many or (len(socket.held) % HELD_COUNTED_EVERY == 0 and self._is_too_much(socket.held)):
            self._cut_off(socket.eio_sid)

    def _is_too_much(self, packets: Iterable[Packet]) -> bool:
        return sum(len(frame_of(packet)) for packet in packets) > self._send_buffer_bytes

    def _put_out(self, connection: Any, data: bytes, packets: Sequence[Packet]) -> None:
        if connection is None or connection.closing or connection.sid in self._closing:
            return
        if self._direct and (direct := self._direct.pop(connection.sid, None)) is not None:
            data, packets = b"".join((*map(frame_of, direct), data)), [*direct, *packets]
        if type(connection) is WebSocketConnection:
            connection.write(data)
            return
        queue = connection.queue
        polled_all = queue.empty()  # then what comes now may be as long as it is
        for packet in packets:
            for each in _engine_packets(packet):
                queue.put_nowait(each)
        too_long = getattr(queue, "waiting_bytes", 0) > self._send_buffer_bytes
        if not polled_all and (too_long or queue.qsize() > PACKETS_WAITING_MAX):
            self._cut_off(connection.sid)

    # --- closing -------------------------------------------------------------------------------------------

    def close(self, socket: Recipient, reason: str) -> None:
        """Ends the Engine.IO connection, not the namespace: a stock client comes back after that."""
        self._close(socket.eio_sid, reason)

    def has_unsent(self, socket: Recipient) -> bool:
        """Whether something waits for a client to read."""
        connection = self._connections.get(socket.eio_sid)
        if connection is None or connection.closing:
            return False
        if type(connection) is WebSocketConnection:
            return connection.transport.get_write_buffer_size() > 0
        return not connection.queue.empty()

    def is_open(self, socket: Recipient) -> bool:
        """Whether the connection below a socket is there, and not about to go."""
        connection = self._connections.get(socket.eio_sid)
        return connection is not None and not connection.closing

    def _cut_off(self, eio_sid: str) -> None:
        if self._close(eio_sid, "it does not read"):
            self._metrics.slow_readers += 1

    def _close(self, eio_sid: str, reason: str) -> bool:
        """Whether there was something to close."""
        connection = self._connections.get(eio_sid)
        if connection is None or connection.closing or eio_sid in self._closing:
            return False
        logger.info("closing connection %s: %s", eio_sid, reason)
        if type(connection) is WebSocketConnection:
            connection.end(connection.engine.reason.SERVER_DISCONNECT)
            return True
        connection.queue.put_nowait(None)  # nothing behind this is sent; a stock socket closes upon it, too
        task = self._closing[eio_sid] = asyncio.ensure_future(_close(connection))
        task.add_done_callback(lambda _: self._closing.pop(eio_sid))
        return True


async def _close(connection: Any) -> None:
    # abort: no CLOSE packet, after which a stock Python client would not come back
    await connection.close(wait=False, abort=True)


def frame_of(packet: Packet) -> bytes:
    """The WebSocket frames of a packet (Engine.IO v4: a message's text begins with its type)."""
    frame = text_frame((MESSAGE + packet.text).encode())
    return b"".join((frame, *map(binary_frame, packet.attachments))) if packet.attachments else frame


class _Attachment(eio_packet.Packet):  # type: ignore[misc]
    """A binary message for many sockets: python-engineio keeps the first encoding, whichever it was."""

    def encode(self, b64: bool = False) -> Any:
        """As for WebSocket, or in base64 for long-polling."""
        self.encode_cache = None
        return super().encode(b64=b64)


def _engine_packets(packet: Packet) -> Iterable[Any]:
    yield eio_packet.Packet(eio_packet.MESSAGE, packet.text)
    for data in packet.attachments:
        yield _Attachment(eio_packet.MESSAGE, data)
