"""python-engineio's socket, made strict: bad bytes end a connection quietly, closing really closes.

A message's way, 1 of 5: bytes become an Engine.IO message, which python-socketio dispatches to a handler
(`chat/rooms.py`, 2 of 5).

It touches python-engineio's private `_websocket_handler` and the attributes `queue`, `connected`,
`upgrading`, `upgraded`, `closing`, `closed`; `tests/transport/test_engineio_internals.py` fails when these move.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from engineio import exceptions, packet
from engineio.async_socket import AsyncSocket

# A client that began an upgrade has this long to finish it (the stock client allows itself 10 s).
UPGRADE_TIMEOUT_S = 10.0
# What waits for a client when its connection ends has this long to leave.
LAST_WORDS_S = 1.0
# A megabyte can hold half a million packets; the node's others get a turn after so many.
PACKETS_PER_TURN = 64
SEPARATOR = b"\x1e"  # Engine.IO v4: between the packets of one long-polling payload


class BadMessage(exceptions.EngineIOError):  # type: ignore[misc]
    """Bytes that are no Engine.IO packet; the server answers 400 and ends the session."""


class EngineSocket(AsyncSocket):  # type: ignore[misc]
    """One Engine.IO session."""

    connected: bool
    upgrading: bool
    upgraded: bool
    closing: bool
    closed: bool
    last_ping: float | None
    polling = False  # a poll is under way

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        """The packets of one POST body, in order, however many (stock python-engineio: at most 16).

        A body that was cut off is not handled at all, and nothing of one behind the end of the session.
        Raises ContentTooLongError and BadMessage.
        """
        limit = self.server.max_http_buffer_size
        if int(environ.get("CONTENT_LENGTH", "0")) > limit:
            raise exceptions.ContentTooLongError
        body: bytes = await environ["wsgi.input"].read(limit + 1)
        if len(body) > limit:
            raise exceptions.ContentTooLongError
        if environ["wsgi.input"].event["type"] == "http.disconnect":
            return
        for number, part in enumerate(_parts(body), 1):
            if self.closing:
                return
            await self.receive(_decode(_text(part)))
            if number % PACKETS_PER_TURN == 0:
                await asyncio.sleep(0)

    async def check_ping_timeout(self) -> bool:
        """Whether the client still answers; else its session is ended, by a task of its own: handlers that
        are told of it may take their time, and others are waiting to be checked.

        Raises SocketIsClosedError.
        """
        if self.closed:
            raise exceptions.SocketIsClosedError
        if self.last_ping is None or time.time() - self.last_ping <= self.server.ping_timeout:
            return True
        self.server.start_background_task(self.close, reason=self.server.reason.PING_TIMEOUT)
        return False

    async def receive(self, pkt: packet.Packet) -> None:
        """Handles one packet. Raises BadMessage for an UPGRADE where no upgrade is under way."""
        if pkt.packet_type == packet.UPGRADE:
            raise BadMessage
        await super().receive(pkt)

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
            await self.close(wait=False, reason=self.server.reason.TRANSPORT_CLOSE)
            raise exceptions.SocketIsClosedError
        return await polling

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """Ends the session: a WebSocket is closed, a poll fails.

        The transport goes first, since the handlers told of it may wait for Redis.
        """
        if self.closed or self.closing:
            return
        self.closing = True
        reason = reason or self.server.reason.SERVER_DISCONNECT
        if reason == self.server.reason.CLIENT_DISCONNECT and not self.upgraded:  # its poll ends in peace
            self.queue.put_nowait(packet.Packet(packet.NOOP))
        self.queue.put_nowait(None)
        await self.server._trigger_event("disconnect", self.sid, reason, run_async=False)
        self.closed = True
        self.server.sockets.pop(self.sid, None)  # requests that still come find no session

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
        except (BadMessage, exceptions.UnknownPacketError):
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
                if not _is(await ws.wait(), packet.PING, "probe") or self.upgraded or self.upgrading:
                    return False
                return await self._switch(ws)
        except (OSError, BadMessage):  # a time-out is an OSError
            return False

    async def _switch(self, ws: Any) -> bool:
        self.upgrading = True  # from here on nothing leaves by long-polling
        try:
            await ws.send(packet.Packet(packet.PONG, data="probe").encode())
            self.queue.put_nowait(packet.Packet(packet.NOOP))
            self.upgraded = _is(await ws.wait(), packet.UPGRADE, "")
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
            await self.receive(_decode(data))

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


def _decode(data: str | bytes) -> packet.Packet:
    """One Engine.IO packet. Raises BadMessage."""
    if isinstance(data, str) and data[:1] not in "0123456b":
        raise BadMessage
    try:
        return packet.Packet(encoded_packet=data)
    except ValueError:
        raise BadMessage from None


def _is(data: str | bytes, packet_type: int, text: str) -> bool:
    pkt = _decode(data)
    return bool(pkt.packet_type == packet_type and pkt.data == text)
