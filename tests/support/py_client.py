"""python-socketio's own AsyncClient as a witness: it keeps everything it sees, in order.

One client is one socket in one namespace. For a stock JavaScript client see js_client.py.
"""

import asyncio
import contextlib
import inspect
from typing import Any

import socketio

from .eventually import eventually

CONNECT_WITHIN_S = 5.0
CLOSE_WITHIN_S = 1.0

# The answer to an event that is not acknowledged for as long as the client lives.
NEVER = object()

Args = tuple[Any, ...]


class PyClient:
    """A connected socket and what it saw: `events` are (name, args) in the order of arrival.

    `disconnects` are reasons, `errors` the data of connect_error. `replies` maps events to what they are
    acknowledged with: a value, a tuple of several, a function of the event's arguments, or NEVER. Events
    without one are acknowledged with no value, as the client does by itself.
    """

    def __init__(self, namespace: str = "/", **options: Any) -> None:
        self.namespace = namespace
        self.events: list[tuple[str, Args]] = []
        self.disconnects: list[str] = []
        self.errors: list[Any] = []
        self.replies: dict[str, Any] = {}
        self.io = socketio.AsyncClient(**({"reconnection": False, "handle_sigint": False} | options))
        self.io.on("*", self._on_event, namespace=namespace)
        self.io.on("disconnect", self.disconnects.append, namespace=namespace)
        self.io.on("connect_error", self.errors.append, namespace=namespace)
        self._closing = asyncio.Event()

    @property
    def sid(self) -> str:
        """The socket's session id. Raises AssertionError while it is not connected."""
        sid = self.io.get_sid(self.namespace)
        assert sid is not None, "this client is not connected"
        return str(sid)

    @property
    def connected(self) -> bool:
        """Whether it is connected to its namespace."""
        return self.namespace in self.io.namespaces

    async def connect(self, url: str, *, auth: Any = None, transports: tuple[str, ...] = ("websocket",)) -> None:
        """Connect; raises socketio.exceptions.ConnectionError when refused (see `errors` for the data)."""
        await self.io.connect(
            url,
            auth=auth,
            transports=list(transports),
            namespaces=[self.namespace],
            wait_timeout=CONNECT_WITHIN_S,
        )

    async def emit(self, event: str, *args: Any) -> Any:
        """Emit and return the acknowledgement: None, its one value, or a tuple of several."""
        return await self.io.call(event, args, namespace=self.namespace, timeout=CONNECT_WITHIN_S)

    def args_of(self, event: str) -> list[Args]:
        """The arguments of every `event` so far, in order."""
        return [args for name, args in self.events if name == event]

    async def wait_for(self, event: str, within_s: float = 5.0) -> Args:
        """The arguments of the first `event`, already seen or yet to come."""
        found = await eventually(
            lambda: self.args_of(event), within_s, every_s=0.002, message=f"{self!r} sees {event!r}"
        )
        return found[0]

    async def break_off(self) -> None:
        """End the connection without Socket.IO's or Engine.IO's goodbye."""
        await self.io.eio.ws.close()

    async def close(self) -> None:
        """Disconnect, and wait until the connection is gone. May be called twice."""
        self._closing.set()
        if self.connected:
            await self._say_goodbye()
        reading = self.io.eio.read_loop_task
        # Not waiting for the reader, as shutdown() does: over polling it ends with the next ping only.
        await self.io.eio.disconnect(abort=True)
        await self.io.shutdown()
        if reading is not None:
            await asyncio.wait([reading], timeout=CLOSE_WITHIN_S)

    async def _say_goodbye(self) -> None:
        """Send Socket.IO's DISCONNECT and wait until it is written.

        Over a WebSocket AsyncClient.disconnect() closes before its writer has had a turn, so that the server
        sees a connection that breaks ("transport close") and never a client that leaves.
        """
        await self.io.eio.send("1" if self.namespace == "/" else f"1{self.namespace},")
        # The writer of a connection that broke meanwhile never finishes its queue.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.io.eio.queue.join(), CLOSE_WITHIN_S)

    async def _on_event(self, event: str, *args: Any) -> Any:
        self.events.append((event, args))
        reply = self.replies.get(event)
        if reply is NEVER:
            await self._closing.wait()
        if callable(reply):
            reply = reply(*args)
        return await reply if inspect.isawaitable(reply) else reply

    def __repr__(self) -> str:
        """Shows enough to understand a wait that failed."""
        return f"<PyClient {self.namespace} {len(self.events)} events, last {self.events[-3:]}>"
