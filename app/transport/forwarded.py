"""What a node has under way for other nodes' sessions, so that it can be ended when the node drains.

Who forwards where is `forwarding.py`'s; the sessions themselves are the other nodes' and go on.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

NORMAL = 1000  # RFC 6455, 7.4.1; as the end of a session of one's own
# The owner's answer to a poll that is to end has this long; what is left the server cuts short, somewhat later.
END_POLL_S = 0.8


class ForwardedWebSocket:
    """A client's WebSocket (`receive`, `send`), joined to the `other` that goes on to its session's owner."""

    __slots__ = ("_ending", "_other", "_receive", "_send", "_told")

    def __init__(self, other: aiohttp.ClientWebSocketResponse, receive: Receive, send: Send) -> None:
        self._other = other
        self._receive = receive
        self._send = send
        self._ending = asyncio.Event()
        self._told = asyncio.Event()

    async def serve(self) -> None:
        """Accepts, and hands everything on, both ways, until one side ends or `close()` ends both."""
        try:
            await self._send({"type": "websocket.accept"})
            if await self._pumped():
                await self._send({"type": "websocket.close", "code": NORMAL})
        finally:
            self._told.set()

    async def _pumped(self) -> bool:
        """Whether neither side has ended."""
        pumps = [asyncio.ensure_future(pump) for pump in (self._pump_in(), self._pump_out(), self._ending.wait())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            return not (pumps[0].done() or pumps[1].done())
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def close(self, wait: bool = False) -> None:
        """Ends the client's WebSocket; a stock client comes back, to another node."""
        self._ending.set()
        await self._told.wait()

    async def _pump_in(self) -> None:
        while (message := await self._receive())["type"] == "websocket.receive":
            if message.get("text") is not None:
                await self._other.send_str(message["text"])
            else:
                await self._other.send_bytes(message["bytes"])
        await self._other.close(code=_close_code(message.get("code")))

    async def _pump_out(self) -> None:
        async for message in self._other:
            if message.type is aiohttp.WSMsgType.TEXT:
                await self._send({"type": "websocket.send", "text": message.data})
            elif message.type is aiohttp.WSMsgType.BINARY:
                await self._send({"type": "websocket.send", "bytes": message.data})
        await self._send({"type": "websocket.close", "code": _close_code(self._other.close_code)})


class ForwardedPoll:
    """A GET that waits for its session's owner. `ask_to_end` has the owner answer it."""

    __slots__ = ("_answered", "_ask_to_end")

    def __init__(self, answered: "asyncio.Future[None]", ask_to_end: Callable[[], Awaitable[None]]) -> None:
        self._answered = answered
        self._ask_to_end = ask_to_end

    async def close(self, wait: bool = False) -> None:
        """Has it answered now. It is not broken off: that would end its session, as a client that leaves does."""
        with contextlib.suppress(aiohttp.ClientError, OSError):  # a time-out is an OSError
            async with asyncio.timeout(END_POLL_S):
                await self._ask_to_end()
                await asyncio.wait((self._answered,))


def _close_code(code: int | None) -> int:
    """1005 and 1006 say how a connection ended and may not be sent (RFC 6455, 7.4.1)."""
    return NORMAL if code in (None, 1005) else 1011 if code == 1006 else code
