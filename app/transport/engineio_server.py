"""python-engineio's server with sessions that say which node owns them.

It touches python-engineio's private `_handle_connect`, to make our sockets instead of its own and to announce
the ping interval in whole milliseconds, and its driver table `_async`;
`tests/transport/test_engineio_internals.py` fails when they move.
"""

from typing import Any
from urllib.parse import parse_qs

from engineio import AsyncServer, exceptions, packet
from engineio.async_drivers.asgi import translate_request

from ..node import Node
from .engineio_socket import EngineSocket


class ClientLeft(Exception):
    """The client was gone before its request had come whole; there is nobody to answer."""


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
    """An Engine.IO server of one node."""

    start_service_task: bool
    _async: dict[str, Any]

    def __init__(self, *, node: Node, **options: Any) -> None:
        super().__init__(**options)
        self._node = node
        self._async = self._async | {"translate_request": _translate_request}

    async def handle_request(self, scope: Any, receive: Any, send: Any) -> Any:
        """One HTTP request or WebSocket, as ASGI has it."""
        try:
            return await super().handle_request(scope, receive, send)
        except ClientLeft:
            return None

    def generate_id(self) -> str:
        """A session id that begins with the node's id."""
        return self._node.new_eio_sid()

    async def _handle_connect(
        self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None
    ) -> Any:
        """Opens a session; for a WebSocket, returns when it has ended."""
        if transport == "websocket" and environ["asgi.scope"]["type"] != "websocket":
            return self._bad_request("Invalid websocket upgrade")
        self._start_service_task()
        sid = self.generate_id()
        socket = self.sockets[sid] = EngineSocket(self, sid)
        socket.queue.put_nowait(packet.Packet(packet.OPEN, self._opening(sid, transport)))
        accepted = await self._trigger_event("connect", sid, environ, run_async=False)
        if accepted is not None and accepted is not True:
            del self.sockets[sid]
            return self._unauthorized(accepted or None)
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

    def _start_service_task(self) -> None:
        if self.start_service_task:
            self.start_service_task = False
            self.service_task_handle = self.start_background_task(self._service_task)

    async def _serve_websocket(self, socket: EngineSocket, environ: dict[str, Any]) -> Any:
        result = await socket.handle_get_request(environ)
        if socket.closed:
            self.sockets.pop(socket.sid, None)
        return result
