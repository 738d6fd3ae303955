"""python-engineio's server with sessions that say which node owns them, and connections that cost little.

Long-polling sessions are `engineio_socket.EngineSocket`s; so are WebSockets under another ASGI server than
uvicorn with our protocol, whose connections are `protocol.WebSocketConnection`s. What comes in is handed to a
`Receiver`, by a plain call.

It touches python-engineio's private `_handle_connect`, to make our sockets instead of its own and to announce
the ping interval in whole milliseconds, `_trigger_event`, `_cors_allowed_origins`, and its driver table
`_async`; `tests/transport/test_engineio_internals.py` fails when they move.
"""

import asyncio
import logging
import math
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol
from urllib.parse import parse_qs

from engineio import AsyncServer, exceptions, packet
from engineio.async_drivers.asgi import translate_request

from ..metrics import Metrics
from ..node import Node
from ..wire import to_json
from .engineio_packet import OPEN
from .engineio_socket import EngineSocket
from .forwarding import END_POLL
from .opening import Opening
from .pings import PingWheel
from .protocol import WebSocketConnection

logger = logging.getLogger(__name__)

# What a node that drains answers to new clients: a balancer then asks the next one.
DRAINING = [("Content-Type", "application/json"), ("Retry-After", "1")]
# So many sessions end at once at least, and a thousand a second come back to the others.
BATCH, BATCH_PAUSE_S = 100, 0.1


class ClientLeft(Exception):
    """The client was gone before its request had come whole; there is nobody to answer."""


class Connection(Protocol):
    """What a node that drains closes."""

    async def close(self, wait: bool = ...) -> None:
        """Returns when that is done."""


class Receiver(Protocol):
    """Who handles what comes in (`hub.socketio_server`)."""

    def opened(self, eio_sid: str) -> None:
        """There is a new session, which WebSocketConnections begin without python-engineio's event."""

    def received(self, eio_sid: str, data: str | bytes) -> None:
        """A message has come. It may call `pause_reading` of the session's socket.

        Raises BadMessage for one that ends the connection.
        """


async def _translate_request(scope: Any, receive: Any, send: Any) -> dict[str, Any]:
    environ: dict[str, Any] = await translate_request(scope, receive, send)
    if not environ:
        raise ClientLeft
    if "j" in parse_qs(environ["QUERY_STRING"]):
        # JSONP: a script element sends no Origin, so any page could open a session. No client of Engine.IO 4
        # has it; python-engineio refuses an unknown transport.
        environ["QUERY_STRING"] = "EIO=4&transport=jsonp"
    return environ


class EngineServer(AsyncServer):  # type: ignore[misc]
    """An Engine.IO server of one node. `send_buffer_bytes`: what may wait for a client that does not read."""

    receiver: Receiver
    max_http_buffer_size: int
    _async: dict[str, Any]

    def __init__(self, *, node: Node, metrics: Metrics, send_buffer_bytes: int, **options: Any) -> None:
        super().__init__(monitor_clients=False, **options)  # the wheel finds who is silent
        self._node = node
        self.metrics = metrics
        self.send_buffer_bytes = send_buffer_bytes
        self.pings = PingWheel(self.ping_interval, self.ping_timeout)
        self.draining = False
        self._ending: set[asyncio.Task[None]] = set()
        self._async = self._async | {"translate_request": _translate_request}

    async def handle_request(self, scope: Any, receive: Any, send: Any) -> Any:
        """One HTTP request or WebSocket, as ASGI has it."""
        if any(name == END_POLL for name, _ in scope["headers"]):
            self._end_poll(scope)
        try:
            return await super().handle_request(scope, receive, send)
        except ClientLeft:
            return None

    def generate_id(self) -> str:
        """A session id that begins with the node's id."""
        return self._node.new_eio_sid()

    async def disconnect(self, sid: str | None = None) -> None:
        """Ends a session, or all."""
        if sid is None:  # python-engineio would put another dictionary in the place of `sockets`
            await asyncio.gather(*(socket.close(wait=False) for socket in list(self.sockets.values())))
        elif (socket := self.sockets.get(sid)) is not None and not socket.closing:
            # python-engineio would forget one that is closing already, whose handlers are still to be told.
            await super().disconnect(sid)

    async def shutdown(self) -> None:
        """Pings nobody any more."""
        self.pings.stop()
        await super().shutdown()

    def _end_poll(self, scope: Any) -> None:
        """Has a session's poll answered; one that has not come yet, too, since it is on its way."""
        socket = self.sockets.get(parse_qs(scope["query_string"].decode("latin-1")).get("sid", [""])[0])
        if isinstance(socket, EngineSocket) and not socket.upgraded and socket.queue.empty():
            socket.end_poll()

    # --- by the ordinary way -------------------------------------------------------------------------------

    async def _handle_connect(
        self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None
    ) -> Any:
        """Opens a session; for a WebSocket, returns when it has ended."""
        if (transport == "websocket") != (environ["asgi.scope"]["type"] == "websocket"):
            return self._bad_request("Invalid websocket upgrade")
        if self.draining:
            return {"status": "503 SERVICE UNAVAILABLE", "headers": DRAINING, "response": b'"Draining"'}
        socket = EngineSocket(self, self.generate_id(), environ)
        self.sockets[socket.sid] = socket
        socket.queue.put_nowait(packet.Packet(packet.OPEN, self._opening(socket.sid, transport)))
        self.receiver.opened(socket.sid)
        socket.schedule_ping()
        if transport == "websocket":
            return await self._serve_websocket(socket, environ)
        socket.connected = True
        try:
            return self._ok(await socket.poll(), jsonp_index=jsonp_index)
        except exceptions.QueueEmpty:
            return self._bad_request()

    def _opening(self, sid: str, transport: str) -> dict[str, Any]:
        """Engine.IO v4, "Handshake"."""
        return {
            "sid": sid,
            "upgrades": self._upgrades(sid, transport),
            "pingTimeout": round(self.ping_timeout * 1000),
            "pingInterval": round(self.ping_interval * 1000),
            "maxPayload": self.max_http_buffer_size,
        }

    async def _serve_websocket(self, socket: EngineSocket, environ: dict[str, Any]) -> Any:
        result = await socket.handle_get_request(environ)
        if socket.closed:
            self.sockets.pop(socket.sid, None)
        return result

    # --- by `WebSocketConnection` --------------------------------------------------------------------------

    def admits(self, opening: Opening, environ: Callable[[], dict[str, Any]]) -> bool:
        """Whether a request may have its WebSocket here; who may not is told so by the ordinary way."""
        if b"origin" in opening.headers and not self._is_accepted(environ()):
            return False
        if opening.sid is None:
            return not self.draining
        socket = self.sockets.get(opening.sid)
        return isinstance(socket, EngineSocket) and socket.may_upgrade()

    def opened(self, connection: WebSocketConnection) -> str:
        """Takes a new session in; returns the packet that tells the client."""
        sid = connection.sid = self.generate_id()
        self.sockets[sid] = connection
        self.pings.add(connection)
        self.receiver.opened(sid)
        return OPEN + to_json(self._opening(sid, "websocket"))

    def upgraded(self, socket: EngineSocket, connection: WebSocketConnection) -> Iterator[packet.Packet]:
        """Puts a WebSocket in the place of a long-polling session; returns what waited for its next poll."""
        self.sockets[socket.sid] = connection
        self.pings.discard(socket)
        self.pings.add(connection)
        return socket.hand_over()

    async def ended(self, socket: Any, reason: str) -> None:
        """Tells the handlers that a session ends, and forgets it."""
        await self._trigger_event("disconnect", socket.sid, reason, run_async=False)
        socket.closed = True
        self.pings.discard(socket)
        if self.sockets.get(socket.sid) is socket:
            del self.sockets[socket.sid]  # requests that still come find no session

    def end_later(self, socket: Any, reason: str) -> None:
        """As `ended`, by a task."""
        task = asyncio.ensure_future(self.ended(socket, reason))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close_all(self, spread_s: float = 0.0, forwarded: Iterable[Connection] = ()) -> None:
        """Takes no new session, ends every one there is, and returns when all handlers were told.

        They end in random order, some at a time with pauses of random length, so that not all clients come back at
        once; that takes `spread_s` at most. Among them is what is `forwarded` to other nodes.
        """
        self.draining = True
        sockets: list[Connection] = [*self.sockets.values(), *forwarded]
        random.shuffle(sockets)
        size = max(BATCH, math.ceil(len(sockets) * BATCH_PAUSE_S / spread_s) if spread_s else len(sockets))
        ends = []
        for start in range(0, len(sockets), size):
            if start:
                await asyncio.sleep(random.uniform(0.5, 1.5) * BATCH_PAUSE_S)
            ends += [asyncio.ensure_future(socket.close(wait=False)) for socket in sockets[start : start + size]]
        for outcome in await asyncio.gather(*ends, *self._ending, return_exceptions=True):
            if isinstance(outcome, Exception):
                logger.error("a session did not end as it should", exc_info=outcome)

    def _is_accepted(self, environ: dict[str, Any]) -> bool:
        if self.cors_allowed_origins == []:
            return True
        allowed = self._cors_allowed_origins(environ)
        return allowed is None or environ.get("HTTP_ORIGIN") in allowed
