"""Engine.IO v4 by hand: what a client writes and reads, byte for byte, over aiohttp.

A stock client would hide what matters here: single requests, to a node of one's choice, in a wrong order,
or broken off. Nothing is done by itself, pings are not answered either.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from tests.support.eventually import eventually

PATH = "/socket.io/?EIO=4&transport="
SEPARATOR = "\x1e"
ANSWER_WITHIN_S = 10.0
WEBSOCKET_MAX_BYTES = 16 * 1024 * 1024

UNKNOWN_SESSION = {"code": 1, "message": "Session ID unknown"}


class Refusal(AssertionError):
    """An HTTP answer other than 200."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body[:300]!r}")
        self.status = status
        self.body = body

    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)


class Session:
    """A session that was opened by long-polling at `url`; each request may go to another node.

    `handshake` is what the server opened it with.
    """

    def __init__(self, http: aiohttp.ClientSession, url: str, handshake: dict[str, Any]) -> None:
        self._http = http
        self.url = url
        self.handshake = handshake
        self.sid: str = handshake["sid"]
        self._left: list[str] = []

    @classmethod
    async def open(cls, http: aiohttp.ClientSession, url: str) -> Self:
        """Engine.IO's handshake, without a namespace."""
        opened = await request(http, "GET", f"{url}{PATH}polling")
        assert opened[:1] == b"0", opened
        return cls(http, url, orjson.loads(opened[1:]))

    async def connect(self, auth: dict[str, Any] | None = None, namespace: str = "/") -> str:
        """Connects to a namespace; returns the socket's sid. What comes later stays to be polled."""
        prefix = "" if namespace == "/" else f"{namespace},"
        await self.post(f"40{prefix}{orjson.dumps(auth or {}).decode()}")
        connected = await self.poll_for(f"40{prefix}")
        return str(orjson.loads(connected.removeprefix(f"40{prefix}"))["sid"])

    def poll_url(self, url: str | None = None) -> str:
        """Where polls and posts of this session go."""
        return f"{url or self.url}{PATH}polling&sid={self.sid}"

    async def poll(self, url: str | None = None, **options: Any) -> list[str]:
        """One poll's packets. Raises Refusal."""
        return (await request(self._http, "GET", self.poll_url(url), **options)).decode().split(SEPARATOR)

    async def post(self, *packets: str, url: str | None = None, **options: Any) -> bytes:
        """One POST of these packets. Raises Refusal."""
        body = SEPARATOR.join(packets).encode()
        return await request(self._http, "POST", self.poll_url(url), data=body, **options)

    async def poll_for(self, start: str, url: str | None = None) -> str:
        """Polls until a packet begins with `start`, and returns that one; the ones after it come next."""
        return (await self.poll_many(start, 1, url))[0]

    async def poll_many(self, start: str, count: int, url: str | None = None) -> list[str]:
        """Polls until so many packets that begin with `start` have come; answers pings."""
        found: list[str] = []
        async with asyncio.timeout(ANSWER_WITHIN_S):
            while len(found) < count:
                packets = self._left or await self.poll(url)
                self._left = []
                if "2" in packets:
                    await self.post("3", url=url)
                for position, packet in enumerate(packets):
                    if packet.startswith(start):
                        found.append(packet)
                    if len(found) == count:
                        self._left = packets[position + 1 :]
                        break
        return found

    @contextlib.asynccontextmanager
    async def websocket(self, url: str | None = None) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket for this session, as an upgrade begins."""
        async with websocket(self._http, url or self.url, self.sid) as ws:
            yield ws

    @contextlib.asynccontextmanager
    async def upgraded(self, url: str | None = None) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """The session after its upgrade to a WebSocket."""
        async with self.websocket(url) as ws:
            await ws.send_str("2probe")
            assert await receive(ws) == "3probe"
            await ws.send_str("5")
            yield ws


@contextlib.asynccontextmanager
async def websocket(
    http: aiohttp.ClientSession, url: str, sid: str | None = None
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A WebSocket for a new session, or for that of `sid`. Raises WSServerHandshakeError."""
    suffix = f"&sid={sid}" if sid else ""
    async with http.ws_connect(
        f"{url}{PATH}websocket{suffix}", max_msg_size=WEBSOCKET_MAX_BYTES, autoclose=False
    ) as ws:
        yield ws


async def request(http: aiohttp.ClientSession, method: str, url: str, **options: Any) -> bytes:
    """The body of a 200. Raises Refusal, and TimeoutError after `ANSWER_WITHIN_S`."""
    async with asyncio.timeout(ANSWER_WITHIN_S), http.request(method, url, **options) as answer:
        body = await answer.read()
        if answer.status != 200:
            raise Refusal(answer.status, body)
        return body


async def receive(ws: aiohttp.ClientWebSocketResponse) -> str | bytes:
    """The next frame's content. Raises AssertionError when the WebSocket ends."""
    message = await ws.receive(ANSWER_WITHIN_S)
    assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), f"{message} {ws.close_code}"
    content: str | bytes = message.data
    return content


async def receive_for(ws: aiohttp.ClientWebSocketResponse, start: str) -> str:
    """The next text frame that begins with `start`."""
    async with asyncio.timeout(ANSWER_WITHIN_S):
        while True:
            content = await receive(ws)
            if isinstance(content, str) and content.startswith(start):
                return content


async def close_code(ws: aiohttp.ClientWebSocketResponse) -> int | None:
    """Reads until the WebSocket ends; the code of the close frame, None or 1006 where there was none."""
    async with asyncio.timeout(ANSWER_WITHIN_S):
        while True:
            message = await ws.receive()
            if message.type is aiohttp.WSMsgType.CLOSE:
                return int(message.data)
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return ws.close_code


def event(name: str, fields: dict[str, Any], ack: int | None = None) -> str:
    """A packet that carries an event of namespace `/`."""
    return f"42{'' if ack is None else ack}{orjson.dumps([name, fields]).decode()}"


def fields_of(packet: str) -> dict[str, Any]:
    """The fields of an event or of an acknowledgement."""
    values = orjson.loads(packet[packet.index("[") :])
    fields: dict[str, Any] = values[-1]
    return fields


def said(packets: list[str]) -> list[str]:
    """What was said in `broadcast_msg`s, without the speakers' names."""
    fields = [fields_of(packet) for packet in packets if packet.startswith('42["broadcast_msg"')]
    return [each["msg"].rpartition(" : ")[2] for each in fields if each["type"] == "message"]


async def greeted(http: aiohttp.ClientSession, url: str) -> Session:
    """A session in the echo, where nothing comes by itself after its greeting."""
    session = await Session.open(http, url)
    await session.connect(namespace="/echo")
    await session.poll_for('42/echo,["toclient"')
    return session


async def break_off_a_poll(session: Session, url: str | None = None) -> None:
    """A poll at `url` that has reached the session's node, and whose client then goes away."""
    address = URL(session.poll_url(url))
    _, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(f"GET {address.raw_path_qs} HTTP/1.1\r\nHost: {address.authority}\r\n\r\n".encode())
    await writer.drain()
    # What was written before has been read once a request after it is answered, at this node and the next.
    async with aiohttp.ClientSession() as http:
        for place in (address.origin(), session.url):
            async with http.get(f"{place}/healthz") as answer:
                assert answer.status == 200
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def gone(http: aiohttp.ClientSession, url: str, room: str) -> None:
    """Returns when a room has no members any more."""

    async def empty() -> bool:
        async with http.get(f"{url}/api/rooms/{room}") as answer:
            return answer.status == 404

    await eventually(empty)
