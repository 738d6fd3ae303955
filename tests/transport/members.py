"""Sockets, rooms and connections for the fan-out, without a network: what is written is noted."""

from collections.abc import Callable, Iterator
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from app.metrics import Metrics
from app.transport.engineio_socket import PacketQueue
from app.transport.fanout import FanOut
from app.transport.protocol import WebSocketConnection
from app.wire import Packet

CONFIG = Config("app.main:app")  # is not loaded


class Room:
    """A room of this node."""

    def __init__(self) -> None:
        self.sockets: dict[str, Socket] = {}


class Socket:
    """A socket, in one namespace, of a connection."""

    def __init__(self, sid: str, eio_sid: str, *, held: bool = False, recovers: bool = False) -> None:
        self.sid = sid
        self.eio_sid = eio_sid
        self.held: list[Packet] | None = [] if held else None
        self.connection: Any = None
        self.recovers = recovers
        self.rooms: dict[Any, Room] = {}

    def __repr__(self) -> str:
        return f"<socket {self.sid}>"


class Transport:
    """Where a WebSocketConnection writes; each write costs what `cost` does."""

    def __init__(self, cost: Callable[[], None] = lambda: None) -> None:
        self.writes: list[bytes] = []
        self.waiting_bytes = 0  # as a test says
        self.paused = False
        self.closed = False
        self._cost = cost

    def write(self, data: bytes) -> None:
        """Notes."""
        self.writes.append(data)
        self._cost()

    def get_write_buffer_size(self) -> int:
        """What the client has not taken."""
        return self.waiting_bytes

    def pause_reading(self) -> None:
        """Notes."""
        self.paused = True

    def resume_reading(self) -> None:
        """Notes."""
        self.paused = False

    def is_closing(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Notes."""
        self.closed = True

    def abort(self) -> None:
        """Is due when a client does not answer the closing frame; nobody waits for that here."""


class Polling:
    """A long-polling session, of which the fan-out knows its queue."""

    def __init__(self, sid: str) -> None:
        self.sid = sid
        self.queue = PacketQueue()
        self.closing = False
        self.closed: list[dict[str, Any]] = []  # how

    async def close(self, **how: Any) -> None:
        """As python-engineio's."""
        if not self.closing:
            self.closing = True
            self.closed.append(how)

    def polled(self) -> list[str | bytes]:
        """What one poll gets."""
        packets = []
        while not self.queue.empty():
            packets.append(self.queue.get_nowait())
        return [each.data for each in packets if each is not None]


class Node:
    """A fan-out, and the connections and rooms that it writes to."""

    def __init__(self, *, send_buffer_bytes: int = 1_000_000) -> None:
        self.metrics = Metrics()
        self.connections: dict[str, Any] = {}
        self.fanout = FanOut(self.metrics, send_buffer_bytes=send_buffer_bytes)
        self.fanout.attach(self.connections)

    def websocket(self, sid: str, cost: Callable[[], None] = lambda: None) -> Transport:
        """An open WebSocket's transport."""
        connection = WebSocketConnection(CONFIG, ServerState(), {})
        connection.sid, connection.connected = sid, True
        transport = Transport(cost)
        connection.transport = transport  # type: ignore[assignment]
        self.connections[sid] = connection
        return transport

    def polling(self, sid: str) -> Polling:
        """A long-polling session."""
        self.connections[sid] = session = Polling(sid)
        return session

    def member(
        self, *rooms: Room, held: bool = False, recovers: bool = False, cost: Callable[[], None] = lambda: None
    ) -> Socket:
        """A socket with a WebSocket of its own, in these rooms."""
        sid = f"socket {len(self.connections)}"
        self.websocket(sid, cost)
        socket = Socket(sid, sid, held=held, recovers=recovers)
        for room in rooms:
            self.enter(socket, room)
        return socket

    def enter(self, socket: Socket, room: Room) -> None:
        """As the cluster's delivery does."""
        socket.rooms[room] = room
        self.fanout.settle(socket)
        room.sockets[socket.sid] = socket

    def leave(self, socket: Socket, room: Room) -> None:
        """As the cluster's delivery does."""
        if socket.sid in room.sockets:
            self.fanout.settle(socket)
            del room.sockets[socket.sid]
        socket.rooms.pop(room, None)

    def connected(self, socket: Socket) -> None:
        """The client was told that it is connected, as the hub's manager does."""
        held, socket.held = socket.held or [], None
        for packet in held:
            self.fanout.send(socket.eio_sid, packet)

    def writes(self, socket: Socket) -> list[list[str | bytes]]:
        """What was written to a socket's WebSocket: the messages of each write."""
        return [list(messages(data)) for data in self.connections[socket.eio_sid].transport.writes]

    def got(self, socket: Socket) -> list[str | bytes]:
        """The messages that a socket's WebSocket got, in order."""
        return [message for write in self.writes(socket) for message in write]


def messages(data: bytes) -> Iterator[str | bytes]:
    """The messages of unmasked frames (RFC 6455, 5.2), texts without Engine.IO's `4`."""
    at = 0
    while at < len(data):
        size, start = data[at + 1], at + 2
        if size >= 126:
            start += 2 if size == 126 else 8
            size = int.from_bytes(data[at + 2 : start], "big")
        payload = data[start : start + size]
        assert len(payload) == size, "a frame that is not whole"
        if data[at] == 0x81:
            text = payload.decode()
            assert text[:1] == "4", text
            yield text[1:]
        else:
            assert data[at] == 0x82, f"a frame that begins with {data[at]:#x}"
            yield payload
        at = start + size
