"""A WebSocket connection as uvicorn's protocol and Engine.IO's socket at once.

A message's way, 1 of 5: bytes become frames and those an Engine.IO message, which python-socketio dispatches
to a handler (`chat/rooms.py`, 2 of 5).

`WebSocketConnection` is what uvicorn's `ws=` takes. An idle connection is this one slotted object: no task,
timer or queue. It serves sessions of this node that begin as a WebSocket or upgrade to one; every other
request goes to uvicorn's own protocol and so to the app by the ordinary way (`engineio_socket.py`), which
refuses or forwards it. It does not parse frames (`frames.py`), and says nothing of who may connect
(`engineio_server.py`).

It touches uvicorn's private ways: the arguments of a WebSocket protocol, `server_state.connections`, and that
`data_received` is called with the request before `set_protocol`; `tests/transport/test_uvicorn_internals.py`
fails when these move.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

from uvicorn import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from . import engineio_packet as eio
from .engineio_session import EngineSession
from .engineio_socket import LAST_WORDS_S, UPGRADE_TIMEOUT_S, EngineSocket
from .frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameReader,
    close_code,
    close_frame,
    control_frame,
    text_frame,
)
from .opening import Opening
from .pings import NOWHERE

if TYPE_CHECKING:
    from .engineio_server import EngineServer

logger = logging.getLogger(__name__)

# Where an app puts its EngineServer into the lifespan's state (ASGI, "Lifespan State").
STATE = "clusterkit.engine"
# After so many frames of one client the node's others get a turn; a chunk may hold 40,000.
FRAMES_PER_TURN = 256
# What browsers and servers usually hold to; the request is kept as long as its connection.
HEAD_MAX_BYTES = 16_384
NO_OPENING = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
# As to long-polling clients (`engineio_server.py`): a balancer that gets it asks the next node.
DRAINING = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
NORMAL, NO_CODE, RESTART = 1000, 1005, 1012  # RFC 6455, 7.4.1, and IANA's registry
PING_FRAME = text_frame(eio.PING.encode())
PROBE_ANSWER = text_frame((eio.PONG + eio.PROBE).encode())


class WebSocketConnection(EngineSession):
    """One WebSocket; once it is `connected`, an Engine.IO session of this node."""

    __slots__ = (
        "app_state",
        "awaits_pong",
        "engine",
        "excused",
        "other",
        "overdue",
        "ping_slot",
        "polling",
        "reader",
        "reading_paused",
        "rest_waits",
        "server_state",
        "timer",
    )

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None
    ) -> None:
        super().__init__(config)
        self.server_state = server_state
        self.app_state: dict[str, Any] | None = app_state  # until it is open
        self.engine: EngineServer = cast("EngineServer", app_state.get(STATE))
        self.reader: FrameReader | None = None
        self.other: WebSocketsSansIOProtocol | None = None  # that serves this connection in our place
        self.polling: EngineSocket | None = None  # what is being upgraded
        self.timer: asyncio.TimerHandle | None = None  # while it is upgrading or closing
        self.ping_slot = NOWHERE
        self.awaits_pong = False
        self.excused = False
        self.overdue = 0
        self.reading_paused = False
        self.rest_waits = False  # for another turn

    # --- asyncio's side ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by uvicorn."""
        self.transport = cast(asyncio.Transport, transport)
        self.server_state.connections.add(self)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """The request from uvicorn first, then the client's bytes."""
        if self.closing:
            self._read_last(data)
        elif self.reader is not None:
            self._read(self.reader, data)
        elif self.other is not None:
            self.other.data_received(data)
        else:
            self._open(data)

    def eof_received(self) -> None:
        """The client will send nothing more; the transport closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        self.server_state.connections.discard(self)
        if self.other is not None:
            self.other.connection_lost(exc)
        elif self.reader is not None:
            self._stop_timer()
            self._leave(self.engine.reason.TRANSPORT_CLOSE)

    def pause_writing(self) -> None:
        """More waits than a client may leave unread: it is cut off, so that nobody waits for it."""
        if self.other is not None:
            self.other.pause_writing()
        elif not self.closing:
            self.engine.metrics.slow_readers += 1
            logger.info("closing connection %s: it does not read", self.sid)
            self._leave(self.engine.reason.TRANSPORT_ERROR)
            asyncio.get_running_loop().call_soon(self.transport.abort)  # not inside its own write()

    def resume_writing(self) -> None:
        """Called by the transport."""
        if self.other is not None:
            self.other.resume_writing()

    def shutdown(self) -> None:
        """uvicorn stops."""
        if self.other is not None:
            self.other.shutdown()
        elif not self.closing and self.reader is not None:
            self._leave(self.engine.reason.SERVER_DISCONNECT)
            self.transport.write(close_frame(RESTART))
            self._close_transport()

    # --- opening -------------------------------------------------------------------------------------------

    def _open(self, head: bytes) -> None:
        if len(head) > HEAD_MAX_BYTES:
            self.transport.write(TOO_LONG)
            self.transport.close()
            return
        opening = Opening(head)
        if not opening.acceptable:
            self.transport.write(NO_OPENING)
            self.transport.close()
            return
        if opening.engineio and opening.sid is None and self.engine is not None and self.engine.draining:
            self.transport.write(DRAINING)
            self.transport.close()
            return
        answer = opening.answer() if opening.engineio and self.engine is not None else None
        self.opened_with = head
        if answer is None or not self.engine.admits(opening, lambda: self.environ):
            self._hand_on(head)
            return
        self.app_state = None
        self.reader = FrameReader(self.engine.max_http_buffer_size)
        if opening.sid is None:
            self.connected = True
            answer += text_frame(self.engine.opened(self).encode())
        else:
            self.polling = self.engine.sockets[opening.sid]
            self.timer = asyncio.get_running_loop().call_later(UPGRADE_TIMEOUT_S, self._give_up)
        self.begin_writing(self.engine.send_buffer_bytes)
        self.write(answer)

    def _hand_on(self, head: bytes) -> None:
        """Lets uvicorn's own protocol serve this connection."""
        self.server_state.connections.discard(self)
        self.other = WebSocketsSansIOProtocol(self.config, self.server_state, self.app_state or {})
        self.other.connection_made(self.transport)
        self.other.data_received(head)
        # uvicorn makes this object the transport's protocol right after this call.
        asyncio.get_running_loop().call_soon(self.transport.set_protocol, self.other)

    # --- reading -------------------------------------------------------------------------------------------

    def _read(self, reader: FrameReader, data: bytes) -> None:
        try:
            for number, (opcode, payload) in enumerate(reader.feed(data), 1):
                if opcode == TEXT:
                    self._take_text(cast(str, payload))
                elif opcode == BINARY:
                    self._take_binary(cast(bytes, payload))
                elif opcode == PING:
                    self.write(control_frame(PONG, cast(bytes, payload)))
                elif opcode == CLOSE:
                    self._take_close(cast(bytes, payload))
                if self.closing or self.reading_paused:
                    return  # the reader keeps the rest
                if number == FRAMES_PER_TURN:
                    self._pause_for_others()
                    return
        except FrameError as error:
            logger.info("closing connection %s: %s", self.sid, error)
            self.end(self.engine.reason.TRANSPORT_ERROR, error.code)
        except eio.BadMessage:
            self.end(self.engine.reason.TRANSPORT_ERROR)

    def _pause_for_others(self) -> None:
        self.transport.pause_reading()
        self.rest_waits = True
        asyncio.get_running_loop().call_soon(self._read_on)

    def _take_text(self, text: str) -> None:
        if not self.connected:
            self._take_upgrade(text)
            return
        if text[:1] == eio.MESSAGE:
            self.engine.receiver.received(self.sid, text[1:])
            return
        kind, content = eio.decode(text)
        if kind == eio.PONG:
            self.engine.pings.answered(self)
        elif kind == eio.CLOSE:
            self.end(self.engine.reason.CLIENT_DISCONNECT)
        elif kind == eio.MESSAGE:  # in base64
            self.engine.receiver.received(self.sid, content)
        else:
            raise eio.BadMessage

    def _take_binary(self, data: bytes) -> None:
        if not self.connected:
            raise eio.BadMessage
        self.engine.receiver.received(self.sid, data)

    def _take_close(self, payload: bytes) -> None:
        code = close_code(payload)
        self._leave(self.engine.reason.TRANSPORT_CLOSE)
        self.transport.write(close_frame(NORMAL if code == NO_CODE else code))
        self._close_transport()

    def pause_reading(self) -> None:
        """The client has sent more than is handled yet; what has come already waits in the reader."""
        if not self.reading_paused:
            self.reading_paused = True
            if not self.transport.is_closing():
                self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Reads on, with what has waited first."""
        if self.reading_paused:
            self.reading_paused = False
            self.engine.pings.excuse(self)
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        self.rest_waits = False
        if self.reader is not None and not self.closing and not self.reading_paused:
            self._read(self.reader, b"")
        if not (self.reading_paused or self.rest_waits or self.transport.is_closing()):
            self.transport.resume_reading()

    # --- upgrading from long-polling (Engine.IO v4, "Upgrade") -----------------------------------------------

    def _take_upgrade(self, text: str) -> None:
        polling = self.polling
        if polling is None or polling.closing or polling.upgraded:
            raise eio.BadMessage
        if text == eio.UPGRADE and polling.upgrading_by is self:
            self._stop_timer()
            self._take_over(polling)
        elif text == eio.PING + eio.PROBE and not polling.upgrading:
            polling.upgrading_by = self  # from here on nothing leaves by long-polling
            self.write(PROBE_ANSWER)
            polling.end_poll()
        else:
            raise eio.BadMessage

    def _take_over(self, polling: "EngineSocket") -> None:
        """From here on this is the session; what waited for its next poll goes out first."""
        self.sid, self.session, self.opened_with = polling.sid, polling.session, polling.environ
        self.polling, polling.upgrading_by = None, None
        self.connected = True
        for waiting in self.engine.upgraded(polling, self):
            self.write_packet(waiting)
        if polling.reading_paused:
            self.pause_reading()

    def _give_up(self) -> None:
        self.timer = None
        self.end(self.engine.reason.TRANSPORT_ERROR)

    # --- what is asked of a session --------------------------------------------------------------------------

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """Ends the session; returns when its handlers were told."""
        if self._begin_to_leave():
            self._say_goodbye(NORMAL)
            await self.engine.ended(self, reason or self.engine.reason.SERVER_DISCONNECT)

    def ping(self) -> None:
        """Called by the wheel."""
        self.write(PING_FRAME)

    def ping_timed_out(self) -> None:
        """Called by the wheel."""
        self.end(self.engine.reason.PING_TIMEOUT)

    # --- ending --------------------------------------------------------------------------------------------

    def end(self, reason: str, code: int = NORMAL) -> None:
        """Ends the connection from this side, with the closing handshake (RFC 6455, 7.1): what is written from
        here on does not reach the client. Handlers are told by a task."""
        if not self.closing:
            self._leave(reason)
            self._say_goodbye(code)

    def _begin_to_leave(self) -> bool:
        if self.closing:
            return False
        self.closing = True
        self.end_writing()
        self.engine.pings.discard(self)
        self._stop_timer()
        if self.polling is not None and self.polling.upgrading_by is self:
            self.polling.upgrading_by = None
        return True

    def _leave(self, reason: str) -> None:
        """From here on nothing is read or written; the handlers are told."""
        if self._begin_to_leave() and self.connected:
            self.engine.end_later(self, reason)

    def _say_goodbye(self, code: int) -> None:
        """Sends what waits and a closing frame, and gives the client a moment for its own."""
        self.transport.write(close_frame(code))
        loop = asyncio.get_running_loop()
        self.timer = loop.call_later(LAST_WORDS_S, self.transport.abort)
        loop.call_soon(self._read_last, b"")  # it may have said so already
        if self.reading_paused:
            self.resume_reading()

    def _close_transport(self) -> None:
        self.transport.close()  # sends what waits
        self.timer = asyncio.get_running_loop().call_later(LAST_WORDS_S, self.transport.abort)

    def _read_last(self, data: bytes) -> None:
        """After our closing frame only the client's matters."""
        try:
            if self.reader is not None and any(opcode == CLOSE for opcode, _ in self.reader.feed(data)):
                self.transport.close()
        except FrameError:
            pass  # it is cut off when its time is up

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
