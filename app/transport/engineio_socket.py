"""python-engineio's socket, made strict: bad bytes end a connection quietly, closing really closes.

It serves long-polling, and under other ASGI servers than uvicorn with our protocol WebSockets, too. The way
that a message usually takes is `protocol.py`'s.

It touches python-engineio's private `_websocket_handler` and the attributes `queue`, `connected`,
`upgrading`, `upgraded`, `closing`, `closed`; `tests/transport/test_engineio_internals.py` fails when these move.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from engineio import exceptions, packet
from engineio.async_socket import AsyncSocket

from . import engineio_packet as eio
from .engineio_packet import BadMessage
from .pings import NOWHERE

# A client that began an upgrade has this long to finish it (the stock client allows itself 10 s).
UPGRADE_TIMEOUT_S = 10.0
# What waits for a client when its connection ends has this long to leave.
LAST_WORDS_S = 1.0
# A megabyte can hold half a million packets; the node's others get a turn after so many.
PACKETS_PER_TURN = 64
SEPARATOR = b"\x1e"  # Engine.IO v4: between the packets of one long-polling payload


class PacketQueue(asyncio.Queue[Any]):
    """What waits for the next poll; knows how many bytes that is."""

    waiting_bytes = 0

    def _put(self, item: Any) -> None:
        super()._put(item)
        self.waiting_bytes += _size(item)

    def _get(self) -> Any:
        item = super()._get()
        self.waiting_bytes -= _size(item)
        return item


def _size(item: packet.Packet | None) -> int:
    return len(item.data) if item is not None and isinstance(item.data, str | bytes) else 0


class EngineSocket(AsyncSocket):  # type: ignore[misc]
    """One Engine.IO session."""

    queue: PacketQueue
    connected: bool
    upgraded: bool
    closing: bool
    closed: bool
    polling = False  # a poll is under way
    upgrading_by: object | None = None  # the WebSocket that was probed with
    ping_slot = NOWHERE
    awaits_pong = False
    excused = False
    overdue = 0
    reading_paused = False

    def __init__(self, server: Any, sid: str, environ: dict[str, Any]) -> None:
        super().__init__(server, sid)
        self.queue = PacketQueue()
        self.environ = environ
        self._may_read = asyncio.Event()
        self._may_read.set()

    @property
    def upgrading(self) -> bool:
        """Whether an upgrade has begun: from then on nothing leaves by long-polling."""
        return self.upgrading_by is not None

    @upgrading.setter
    def upgrading(self, upgrading: bool) -> None:
        self.upgrading_by = self if upgrading else None

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        """The packets of one POST body, in order, however many (stock python-engineio: at most 16).

        A body that was cut off is not handled at all, and nothing of one behind the end of the session.
        Raises ContentTooLongError and BadMessage.
        """
        limit = self.server.max_http_buffer_size
        if self.closing:
            return
        if int(environ.get("CONTENT_LENGTH", "0")) > limit:
            raise exceptions.ContentTooLongError
        body: bytes = await environ["wsgi.input"].read(limit + 1)
        if self.closing or environ["wsgi.input"].event["type"] == "http.disconnect":
            return
        if len(body) > limit:
            raise exceptions.ContentTooLongError
        for number, part in enumerate(_parts(body), 1):
            if self.closing:
                return
            await self._take(*eio.decode(_text(part)))
            if number % PACKETS_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _take(self, kind: str, content: str | bytes) -> None:
        """Handles one packet, and waits while too much is unhandled. Raises BadMessage."""
        if kind == eio.MESSAGE:
            self.server.receiver.received(self.sid, content)
            await self._may_read.wait()
        elif kind == eio.PONG:
            self.server.pings.answered(self)
        elif kind == eio.CLOSE:
            await self.close(wait=False, abort=True, reason=self.server.reason.CLIENT_DISCONNECT)
        else:
            raise BadMessage

    def pause_reading(self) -> None:
        """The client has sent more than is handled yet."""
        self.reading_paused = True
        self._may_read.clear()

    def resume_reading(self) -> None:
        """Reads on."""
        self.reading_paused = False
        self.server.pings.excuse(self)
        self._may_read.set()

    # --- what the wheel of pings asks of a connection ------------------------------------------------------

    def schedule_ping(self) -> None:
        """Has the session pinged from now on."""
        self.server.pings.add(self)

    def ping(self) -> None:
        """Called by the wheel."""
        self.queue.put_nowait(packet.Packet(packet.PING))

    def ping_timed_out(self) -> None:
        """Called by the wheel."""
        self.server.start_background_task(self.close, reason=self.server.reason.PING_TIMEOUT)

    async def check_ping_timeout(self) -> bool:
        """The wheel does that. Raises SocketIsClosedError."""
        if self.closed:
            raise exceptions.SocketIsClosedError
        return True

    # --- upgrading -----------------------------------------------------------------------------------------

    def may_upgrade(self) -> bool:
        """Whether a WebSocket may take this session over."""
        return self.connected and not (self.upgraded or self.upgrading or self.closing)

    def end_poll(self) -> None:
        """Ends the poll under way, if one is."""
        self.queue.put_nowait(packet.Packet(packet.NOOP))

    def hand_over(self) -> Iterator[packet.Packet]:
        """This session is a WebSocket's from now on, and so is what waits."""
        self.upgraded = True
        self._may_read.set()  # a POST may still be under way; the WebSocket is what is paused from here on
        while not self.queue.empty():
            waiting = self.queue.get_nowait()
            if waiting is not None and waiting.packet_type != packet.NOOP:
                yield waiting
        if self.polling:  # one that the client did not wait for; its NOOP was among what waited
            self.end_poll()

    # --- long-polling --------------------------------------------------------------------------------------

    async def handle_get_request(self, environ: dict[str, Any]) -> Any:
        """A poll's packets, or the WebSocket's response.

        A poll that the end of the session meets fails: an Engine.IO CLOSE packet would keep a stock Python
        client from ever coming back. A poll whose client leaves ends the session, as in the Node.js server:
        what it may have taken with it is lost otherwise, and nobody told.
        """
        if environ["asgi.scope"]["type"] == "websocket":
            return await super().handle_get_request(environ)
        if self.polling:
            raise BadMessage
        self.polling = True
        try:
            packets = await self._poll_for(environ)
        finally:
            self.polling = False
        if packets == []:
            raise exceptions.SocketIsClosedError
        return packets

    async def _poll_for(self, environ: dict[str, Any]) -> Any:
        polling = asyncio.ensure_future(super().handle_get_request(environ))
        leaving = asyncio.ensure_future(_left(environ["asgi.receive"]))
        await asyncio.wait((polling, leaving), return_when=asyncio.FIRST_COMPLETED)
        left = leaving.done() and not leaving.cancelled()
        leaving.cancel()
        if left:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
            if self.upgraded:  # it is the WebSocket's session now
                return [packet.Packet(packet.NOOP)]
            await self.close(wait=False, reason=self.server.reason.TRANSPORT_CLOSE)
            raise exceptions.SocketIsClosedError
        return await polling

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """Ends the session: a WebSocket is closed, a poll fails.

        The transport goes first, since the handlers told of it may wait for Redis.
        """
        if self.closed or self.closing:
            return
        heir = self.server.sockets.get(self.sid)
        if heir is not None and heir is not self:  # a WebSocket that took the session over
            await heir.close(reason=reason)
            return
        self.closing = True
        reason = reason or self.server.reason.SERVER_DISCONNECT
        if reason == self.server.reason.CLIENT_DISCONNECT and not self.upgraded:  # its poll ends in peace
            self.queue.put_nowait(packet.Packet(packet.NOOP))
        self.queue.put_nowait(None)
        self._may_read.set()
        await self.server.ended(self, reason)

    async def _websocket_handler(self, ws: Any) -> None:
        """A WebSocket from its opening, or from an upgrade's probe, to its end."""
        if self.connected and not await self._upgrade(ws):
            return
        self.connected = self.upgraded = True
        writer = asyncio.ensure_future(self._write(ws))
        reason = self.server.reason.TRANSPORT_CLOSE
        try:
            await self._read(ws)
        except TimeoutError:
            reason = self.server.reason.PING_TIMEOUT
        except BadMessage:
            reason = self.server.reason.TRANSPORT_ERROR
        except (OSError, exceptions.SocketIsClosedError):
            pass
        finally:
            self.queue.put_nowait(None)
            await asyncio.wait((writer,), timeout=LAST_WORDS_S)
            writer.cancel()  # a client that does not read would keep it for ever
            await self.close(wait=False, abort=True, reason=reason)

    async def _upgrade(self, ws: Any) -> bool:
        """Engine.IO v4, "Upgrade": probe, answer, end the poll in flight, wait for the client's word."""
        if self.upgraded or self.upgrading:
            return False
        try:
            async with asyncio.timeout(UPGRADE_TIMEOUT_S):
                if await ws.wait() != eio.PING + eio.PROBE or self.upgraded or self.upgrading:
                    return False
                return await self._switch(ws)
        except (OSError, BadMessage):  # a time-out is an OSError
            return False

    async def _switch(self, ws: Any) -> bool:
        self.upgrading = True  # from here on nothing leaves by long-polling
        try:
            await ws.send(eio.PONG + eio.PROBE)
            self.end_poll()
            self.upgraded = await ws.wait() == eio.UPGRADE
        finally:
            self.upgrading = False
        return self.upgraded

    async def _read(self, ws: Any) -> None:
        patience_s = self.server.ping_interval + self.server.ping_timeout
        while not self.closing:
            async with asyncio.timeout(patience_s):
                data = await ws.wait()
            if len(data) > self.server.max_http_buffer_size:
                raise BadMessage
            await self._take(*eio.decode(data))

    async def _write(self, ws: Any) -> None:
        try:
            while packets := await self.poll():
                for pkt in packets:
                    await ws.send(pkt.encode())
        except (OSError, RuntimeError, exceptions.QueueEmpty):
            pass  # the other side is gone; reading ends as well
        await ws.close()


async def _left(receive: Callable[[], Awaitable[dict[str, Any]]]) -> None:
    """Returns when the client of a request, which was read, has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _parts(body: bytes) -> Iterator[bytes]:
    """The packets of a long-polling payload."""
    start = 0
    while (end := body.find(SEPARATOR, start)) >= 0:
        yield body[start:end]
        start = end + 1
    yield body[start:]


def _text(part: bytes) -> str:
    try:
        return part.decode()
    except UnicodeDecodeError:
        raise BadMessage from None
