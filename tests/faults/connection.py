"""One Engine.IO v4 connection over a WebSocket, and the Socket.IO v5 packets of its namespace `/`.

It answers pings, notices a server that has fallen silent, and can be cut. What the packets mean for a client
that comes back, and coming back, is `recovering_client.py`'s.
"""

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import orjson

OPEN_WITHIN_S = 4.0
CLOSE_WITHIN_S = 1.0


class ConnectionEnded(Exception):
    """The connection has ended, or could not be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """CONNECT's answer: `{sid, pid?}`."""

    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """CONNECT_ERROR: `{message, data?}`."""

    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """An event, as its name and its arguments."""

    args: list[Any]


@dataclass(frozen=True, slots=True)
class Answered:
    """An acknowledgement of what was sent under `number`."""

    number: int
    args: list[Any]


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The server has disconnected the namespace."""


Packet = Welcome | Refusal | Heard | Answered | Goodbye


def parse(text: str) -> Packet:
    """A Socket.IO packet of the namespace `/` without attachments. Raises ValueError."""
    kind, rest = text[:1], text[1:]
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    body = rest[len(digits) :]
    match kind:
        case "0":
            return Welcome(orjson.loads(body or "{}"))
        case "1":
            return Goodbye()
        case "2":
            return Heard(orjson.loads(body))
        case "3":
            return Answered(int(digits), orjson.loads(body))
        case "4":
            return Refusal(orjson.loads(body))
    raise ValueError(f"expected a Socket.IO packet, got {text[:80]!r}")


class Connection:
    """An open connection. `engine_sid`: the Engine.IO session's id."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse, handshake: dict[str, Any]) -> None:
        self.engine_sid: str = handshake["sid"]
        self._websocket = websocket
        self._now_s = asyncio.get_running_loop().time
        self._silence_s = (handshake["pingInterval"] + handshake["pingTimeout"]) / 1000
        self._silent_at_s = self._now_s() + self._silence_s  # without a ping until then it is taken for dead

    @classmethod
    async def open(cls, http: aiohttp.ClientSession, url: str) -> Self:
        """Connects and reads the handshake. Raises ConnectionEnded."""
        websocket = None
        try:
            async with asyncio.timeout(OPEN_WITHIN_S):
                websocket = await http.ws_connect(
                    f"{url}/socket.io/?EIO=4&transport=websocket",
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_WITHIN_S),
                )
                text = await websocket.receive_str()
            assert text[:1] == "0", text
            return cls(websocket, orjson.loads(text[1:]))
        except (aiohttp.ClientError, OSError, TimeoutError, TypeError) as error:
            if websocket is not None:
                await websocket.close()
            raise ConnectionEnded(f"not opened: {error!r}") from None

    async def receive(self) -> Packet:
        """The next packet; pings are answered meanwhile. Raises ConnectionEnded."""
        while True:
            text = await self._text()
            if text == "2":
                self._silent_at_s = self._now_s() + self._silence_s
                await self.send_text("3")
            elif text[:1] == "4":
                return parse(text[1:])
            elif text[:1] == "1":
                raise ConnectionEnded("closed by the server")

    async def send(self, packet: str) -> None:
        """Sends a Socket.IO packet. Raises ConnectionEnded."""
        await self.send_text(f"4{packet}")

    async def send_text(self, text: str) -> None:
        """Sends an Engine.IO packet. Raises ConnectionEnded."""
        try:
            await self._websocket.send_str(text)
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionEnded(f"transport error: {error!r}") from None

    def cut(self) -> None:
        """Ends the TCP connection at once, without a goodbye on any layer."""
        raw = self._websocket.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """Lets go of it, whatever its state."""
        await self._websocket.close()

    async def _text(self) -> str:
        try:
            async with asyncio.timeout_at(self._silent_at_s):
                message = await self._websocket.receive()
        except TimeoutError:
            raise ConnectionEnded("ping timeout") from None
        if message.type is aiohttp.WSMsgType.TEXT:
            assert isinstance(message.data, str)
            return message.data
        raise ConnectionEnded(f"transport closed ({message.type.name.lower()})")
