"""Clients that say what no stock client says: raw frames over a WebSocket, raw bodies and requests over HTTP."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from urllib.parse import urlsplit

import aiohttp

PATH = "/socket.io/?EIO=4&transport="
# A namespace that there is not: its refusal proves that everything before it has been handled.
PROBE, PROBED = "40/probe-7f3a,", "44/probe-7f3a,"
ANSWER_WITHIN_S = 5.0

Frame = str | bytes


class RawSocket:
    """A WebSocket behind its Engine.IO opening, connected to `/`."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws

    async def outcome(self, *frames: Frame) -> list[str]:
        """What the server answers to the frames; its last item is "closed" or "answered".

        Raises TimeoutError where it does neither.
        """
        with contextlib.suppress(ConnectionError):
            for frame in frames:
                await (self._ws.send_str(frame) if isinstance(frame, str) else self._ws.send_bytes(frame))
            await self._ws.send_str(PROBE)
        got: list[str] = []
        async with asyncio.timeout(ANSWER_WITHIN_S):
            while True:
                message = await self._ws.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return [*got, "closed"]
                if message.data.startswith(PROBED):
                    return [*got, "answered"]
                got.append(message.data)


@contextlib.asynccontextmanager
async def raw_socket(url: str) -> AsyncIterator[RawSocket]:
    """Opens one."""
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}{PATH}websocket", max_msg_size=0) as ws:
        assert (await ws.receive_str()).startswith("0{")
        await ws.send_str("40")
        assert (await ws.receive_str()).startswith("40{")
        yield RawSocket(ws)


class RawPolling:
    """A long-polling session, connected to `/`."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url
        self.sid = ""

    @property
    def path(self) -> str:
        """Of the session's requests."""
        return f"{PATH}polling&sid={self.sid}"

    async def open(self) -> None:
        """Opens the session."""
        async with self._http.get(f"{self._url}{PATH}polling") as answer:
            self.sid = json.loads((await answer.text())[1:])["sid"]
        assert (await self.post(b"40"))[0] == 200
        assert (await self.poll())[1].startswith("40{")

    async def post(self, body: bytes) -> tuple[int, str]:
        """Sends a body; returns status and text."""
        async with self._http.post(self._url + self.path, data=body) as answer:
            return answer.status, await answer.text()

    async def poll(self) -> tuple[int, str]:
        """Asks for packets; returns status and text."""
        async with asyncio.timeout(ANSWER_WITHIN_S), self._http.get(self._url + self.path) as answer:
            return answer.status, await answer.text()


@contextlib.asynccontextmanager
async def raw_polling(url: str) -> AsyncIterator[RawPolling]:
    """Opens one."""
    async with aiohttp.ClientSession() as http:
        client = RawPolling(http, url)
        await client.open()
        yield client


async def request(
    url: str, method: str, path: str, headers: Iterable[str] = (), body: bytes = b"", *, leave: bool = False
) -> int:
    """Sends a request byte for byte; returns the answer's status, 0 where there is none.

    `leave`: closes the connection as soon as the request is sent, and waits until the server has, too.
    """
    port = urlsplit(url).port
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()
        if leave:
            writer.write_eof()
        async with asyncio.timeout(ANSWER_WITHIN_S):
            status_line = await reader.readline()
        return int(status_line.split()[1]) if status_line else 0
    finally:
        writer.close()
