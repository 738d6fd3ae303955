"""Many members of a room that only count bytes: what one process can read at a pace that measures the server.

Everybody's stream is the same, so the n-th message has come to a member when its bytes have.
"""

import asyncio
import time

from .raw_websocket import RawWebSocket, event


class Member(asyncio.Protocol):
    """A client that has joined; from then on it counts."""

    def __init__(self) -> None:
        self.size = 0
        self.came: list[tuple[float, int]] = []  # when, and how many bytes in all
        self.lost = False
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Counts."""
        self.size += len(data)
        self.came.append((time.monotonic(), self.size))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self.lost = True

    def came_s(self, size: int) -> float:
        """When so many bytes had come."""
        return next(when for when, so_far in self.came if so_far >= size)

    def close(self) -> None:
        """Ends the connection."""
        if self.transport is not None:
            self.transport.close()  # type: ignore[attr-defined]


async def joined(url: str, room: str, receive_buffer_bytes: int = 0) -> RawWebSocket:
    """A WebSocket in a room of `/wire`, with nothing unread."""
    ws = await RawWebSocket.connect(url, receive_buffer_bytes)
    await ws.shake_hands()
    await ws.open_engine()
    await ws.enter()
    await ws.say(event("join", room, ack=1))
    await ws.message_for("43/wire,1")
    return ws


async def members(url: str, room: str, count: int) -> list[Member]:
    """So many of them."""
    made: list[Member] = []
    for _ in range(count):
        ws = await joined(url, room)
        member = Member()
        await asyncio.get_running_loop().create_connection(lambda member=member: member, sock=ws.sock)
        made.append(member)
    return made
