"""Writes packets to the sockets of this node.

A message's way, 5 of 5: an entry's packet is encoded once and queued for every local member, without a task
or an encoding for each. Who is a member, and in which order entries come, was decided before.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from engineio import packet as eio_packet

from ..wire import Packet

logger = logging.getLogger(__name__)

# A client that reads so slowly that more packets than this wait for it is cut off.
PACKETS_WAITING_MAX = 10_000


class Recipient(Protocol):
    """What the fan-out needs of a socket."""

    eio_sid: str
    held: list[Packet] | None  # packets wait here until the client was told that it is connected


class QueueFanOut:
    """Puts packets into the queues of python-engineio's sockets, ours (`engineio_socket`) or stock ones."""

    def __init__(self) -> None:
        self._connections: dict[str, Any] = {}  # eio_sid -> Engine.IO socket
        self._closing: set[asyncio.Task[None]] = set()

    def attach(self, connections: dict[str, Any]) -> None:
        """Says where the Engine.IO server keeps its sockets."""
        self._connections = connections

    def write(self, sockets: Iterable[Recipient], packet: Packet) -> None:
        """Queues one packet for each socket, in this order, without waiting."""
        frames = _frames(packet)
        for socket in sockets:
            if socket.held is not None:
                socket.held.append(packet)
                continue
            connection = self._connections.get(socket.eio_sid)
            if connection is None or connection.closing:
                continue
            for frame in frames:
                connection.queue.put_nowait(frame)
            if connection.queue.qsize() > PACKETS_WAITING_MAX:
                self.close(socket, "it does not read")

    def close(self, socket: Recipient, reason: str) -> None:
        """Ends the Engine.IO connection, not the namespace: a stock client comes back after that."""
        connection = self._connections.get(socket.eio_sid)
        if connection is None or connection.closing:
            return
        logger.info("closing connection %s: %s", socket.eio_sid, reason)
        connection.queue.put_nowait(None)  # nothing behind this is sent; a stock socket closes upon it, too
        task = asyncio.ensure_future(_close(connection))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def is_open(self, socket: Recipient) -> bool:
        """Whether the connection below a socket is there, and not about to go."""
        connection = self._connections.get(socket.eio_sid)
        return connection is not None and not connection.closing


async def _close(connection: Any) -> None:
    # abort: no CLOSE packet, after which a stock Python client would not come back
    await connection.close(wait=False, abort=True)


class _Attachment(eio_packet.Packet):  # type: ignore[misc]
    """A binary message for many sockets: python-engineio keeps the first encoding, whichever it was."""

    def encode(self, b64: bool = False) -> Any:
        """As for WebSocket, or in base64 for long-polling."""
        self.encode_cache = None
        return super().encode(b64=b64)


def _frames(packet: Packet) -> Sequence[Any]:
    text = eio_packet.Packet(eio_packet.MESSAGE, packet.text)
    return [text, *(_Attachment(eio_packet.MESSAGE, data) for data in packet.attachments)]
