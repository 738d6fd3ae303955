"""A WebSocket client by hand: every byte that leaves and comes is the test's.

It builds and reads frames as plainly as RFC 6455 tells them, with nothing of the app's. Nothing is answered by
itself: no ping, no close.
"""

import asyncio
import base64
import contextlib
import hashlib
import itertools
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import orjson

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FINAL = 0x80
MASK = b"\x37\xfa\x21\x3d"  # of RFC 6455, 5.7
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TARGET = "/socket.io/?EIO=4&transport=websocket"
ANSWER_WITHIN_S = 10.0
SENT_WITHIN_S = 30.0
READ_BYTES = 1 << 18
SHORT_SEGMENT_BYTES = 536


class Ended(AssertionError):
    """The server has closed the connection, where something else was expected."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it came: its first byte, its payload, and all of its bytes."""

    first: int
    payload: bytes
    wire: bytes

    @property
    def opcode(self) -> int:
        """Of the first byte."""
        return self.first & 0x0F


def server_frame(opcode: int, payload: bytes) -> bytes:
    """A final frame as a server has to send it (RFC 6455, 5.2)."""
    return bytes((FINAL | opcode,)) + _size(len(payload), 0) + payload


def client_frame(
    opcode: int, payload: bytes | str = b"", *, final: bool = True, reserved: int = 0, mask: bytes | None = MASK
) -> bytes:
    """A client's frame; `reserved` bits and a missing mask are for breaking the rules."""
    data = payload.encode() if isinstance(payload, str) else payload
    first = bytes(((FINAL if final else 0) | reserved | opcode,))
    if mask is None:
        return first + _size(len(data), 0) + data
    return first + _size(len(data), 0x80) + mask + masked(data, mask)


def announced(opcode: int, size: int) -> bytes:
    """The head of a client's frame of which nothing else comes."""
    return bytes((FINAL | opcode,)) + _size(size, 0x80) + MASK


def masked(data: bytes, mask: bytes) -> bytes:
    """RFC 6455, 5.3."""
    key = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(len(data), "big")


def text(content: str) -> bytes:
    """A whole, masked text message."""
    return client_frame(TEXT, content)


def fragments(opcode: int, payload: bytes, cuts: Sequence[int]) -> list[bytes]:
    """A message in frames, cut at these places."""
    places = [0, *cuts, len(payload)]
    parts = [payload[start:end] for start, end in itertools.pairwise(places)]
    last = len(parts) - 1
    return [
        client_frame(CONTINUATION if number else opcode, part, final=number == last)
        for number, part in enumerate(parts)
    ]


def close_payload(code: int, reason: bytes = b"") -> bytes:
    """What a close frame carries."""
    return code.to_bytes(2, "big") + reason


def _size(size: int, mask_bit: int) -> bytes:
    if size < 126:
        return bytes((mask_bit | size,))
    if size < 1 << 16:
        return struct.pack(">BH", mask_bit | 126, size)
    return struct.pack(">BQ", mask_bit | 127, size)


def opening(host: str, target: str = TARGET, headers: Iterable[tuple[str, str]] = (), key: str = "") -> bytes:
    """The request that opens a WebSocket; a header that is given wins over the usual one, "" leaves it out."""
    fields = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key or base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
    } | dict(headers)
    lines = [f"{name}: {value}" for name, value in fields.items() if value]
    return "\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""]).encode("latin-1")


class RawConnection:
    """A TCP connection to a node, read through a buffer of its own."""

    def __init__(self, sock: socket.socket, host: str) -> None:
        self.sock = sock
        self.host = host
        self.buffer = b""
        self.ended = False
        self._writing = asyncio.Lock()

    @classmethod
    async def connect(cls, url: str, receive_buffer_bytes: int = 0) -> Self:
        """A new connection; a small receive buffer has to be asked for before connecting."""
        address = urlsplit(url)
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer_bytes:
            # Short segments keep the server's kernel, too, from taking megabytes for a client that does not read.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SHORT_SEGMENT_BYTES)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        await asyncio.get_running_loop().sock_connect(sock, (address.hostname, address.port))
        return cls(sock, address.netloc)

    async def send(self, data: bytes) -> None:
        """Writes all of it, behind what another task is writing. Raises OSError, and TimeoutError."""
        async with asyncio.timeout(SENT_WITHIN_S), self._writing:
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def send_bytewise(self, data: bytes) -> None:
        """Every byte in a segment of its own, as far as the kernel keeps to that."""
        for position in range(len(data)):
            await self.send(data[position : position + 1])
            await asyncio.sleep(0)

    async def more(self, within_s: float = ANSWER_WITHIN_S) -> bool:
        """Reads once; False at the end. A reset is an end."""
        try:
            async with asyncio.timeout(within_s):
                data = await asyncio.get_running_loop().sock_recv(self.sock, READ_BYTES)
        except ConnectionError:
            data = b""
        self.buffer += data
        self.ended = not data
        return bool(data)

    async def take(self, size: int, within_s: float = ANSWER_WITHIN_S) -> bytes:
        """Exactly so many bytes. Raises Ended, and TimeoutError."""
        async with asyncio.timeout(within_s):
            while len(self.buffer) < size:
                if not await self.more(within_s):
                    raise Ended(f"expected {size} bytes, got {self.buffer[:200]!r} and the end")
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    async def take_until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        async with asyncio.timeout(ANSWER_WITHIN_S):
            while mark not in self.buffer:
                if not await self.more():
                    raise Ended(f"expected {mark!r}, got {self.buffer[:500]!r} and the end")
        return await self.take(self.buffer.index(mark) + len(mark))

    async def rest(self, within_s: float = ANSWER_WITHIN_S) -> bytes:
        """Everything up to the end of the connection. Raises TimeoutError where that does not come."""
        async with asyncio.timeout(within_s):
            while await self.more(within_s):
                pass
        taken, self.buffer = self.buffer, b""
        return taken

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """An HTTP answer's status, headers and body."""
        head = (await self.take_until(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        chunked = headers.get("transfer-encoding") == "chunked"
        body = await (self._chunks() if chunked else self.take(int(headers.get("content-length", "0"))))
        return int(status.split(" ")[1]), headers, body

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.take_until(b"\r\n"), 16):
            body += await self.take(size)
            await self.take(2)
        await self.take(2)
        return body

    def close(self) -> None:
        """Ends the connection; with unread bytes that is a reset."""
        self.sock.close()

    def reset(self) -> None:
        """Breaks the connection off."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class RawWebSocket(RawConnection):
    """An open WebSocket."""

    pings = 0  # that `answering` has answered

    async def shake_hands(self, target: str = TARGET, **headers: str) -> None:
        """RFC 6455, 4.1. Raises AssertionError where the answer is not the one that is due."""
        key = base64.b64encode(os.urandom(16)).decode()
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        await self.send(opening(self.host, target, named, key))
        status, answered, body = await self.answer()
        assert status == 101, (status, answered, body)
        due = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
        assert answered["sec-websocket-accept"] == due, answered

    async def frame(self, within_s: float = ANSWER_WITHIN_S) -> Frame:
        """The next frame. Raises Ended, and TimeoutError."""
        head = await self.take(2, within_s)
        size, more = head[1] & 0x7F, b""
        assert head[1] < 0x80, "a server's frame must not be masked"
        if size >= 126:
            more = await self.take(2 if size == 126 else 8, within_s)
            size = int.from_bytes(more, "big")
        payload = await self.take(size, within_s)
        return Frame(head[0], payload, head + more + payload)

    async def message(self, within_s: float = ANSWER_WITHIN_S) -> str | bytes:
        """The next frame's content, which is a whole message."""
        frame = await self.frame(within_s)
        assert frame.first in (FINAL | TEXT, FINAL | BINARY), frame
        return frame.payload.decode() if frame.opcode == TEXT else frame.payload

    async def message_for(self, start: str, within_s: float = ANSWER_WITHIN_S) -> str:
        """The next text message that begins so."""
        async with asyncio.timeout(within_s):
            while True:
                content = await self.message(within_s)
                if isinstance(content, str) and content.startswith(start):
                    return content

    async def close_code(self, within_s: float = ANSWER_WITHIN_S) -> int:
        """Reads up to the close frame; its code, 1005 if it has none. Raises Ended where none comes."""
        async with asyncio.timeout(within_s):
            while True:
                frame = await self.frame(within_s)
                if frame.opcode == CLOSE:
                    return int.from_bytes(frame.payload[:2], "big") if frame.payload else 1005

    async def say(self, *packets: str) -> None:
        """Text messages, all in one segment."""
        await self.send(b"".join(map(text, packets)))

    async def open_engine(self) -> dict[str, Any]:
        """The packet that the server opens a session with."""
        packet = await self.message()
        assert isinstance(packet, str) and packet[0] == "0", packet
        opened: dict[str, Any] = orjson.loads(packet[1:])
        return opened

    async def enter(self, namespace: str = "/wire", auth: dict[str, Any] | None = None) -> str:
        """Connects to a namespace; returns the socket's sid."""
        prefix = "" if namespace == "/" else f"{namespace},"
        await self.say(f"40{prefix}{orjson.dumps(auth or {}).decode()}")
        connected = await self.message_for(f"40{prefix}")
        return str(orjson.loads(connected.removeprefix(f"40{prefix}"))["sid"])


@contextlib.asynccontextmanager
async def raw_websocket(
    url: str, namespace: str | None = "/wire", auth: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[RawWebSocket]:
    """A WebSocket with a new session, in a namespace unless that is None."""
    ws = await RawWebSocket.connect(url, **options)
    try:
        await ws.shake_hands()
        await ws.open_engine()
        if namespace is not None:
            await ws.enter(namespace, auth)
        yield ws
    finally:
        ws.close()


@contextlib.asynccontextmanager
async def raw_upgrade(url: str, sid: str) -> AsyncIterator[RawWebSocket]:
    """A WebSocket for a session that exists, before its probe."""
    ws = await RawWebSocket.connect(url)
    try:
        await ws.shake_hands(f"{TARGET}&sid={sid}")
        yield ws
    finally:
        ws.close()


@contextlib.asynccontextmanager
async def answering(ws: RawWebSocket) -> AsyncIterator[list[str | bytes]]:
    """Answers pings while the block runs; yields what else comes, a close frame as its code in bytes."""
    inbox: list[str | bytes] = []

    async def read() -> None:
        with contextlib.suppress(OSError, Ended):
            while True:
                frame = await ws.frame(within_s=3600)
                if frame.opcode == TEXT and frame.payload == b"2":
                    ws.pings += 1
                    await ws.say("3")
                else:
                    inbox.append(frame.payload.decode() if frame.opcode == TEXT else frame.payload)

    reading = asyncio.create_task(read())
    try:
        yield inbox
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def event(name: str, *values: Any, ack: int | None = None, namespace: str = "/wire") -> str:
    """An Engine.IO message with an event."""
    prefix = "" if namespace == "/" else f"{namespace},"
    return f"42{prefix}{'' if ack is None else ack}{orjson.dumps([name, *values]).decode()}"
