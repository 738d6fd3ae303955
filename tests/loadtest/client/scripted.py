"""A server that does just what the test says, on raw sockets: each connection is a greenlet that runs a script."""

import base64
import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gevent.server import StreamServer

from tests.support.raw_websocket import CLOSE, GUID, TEXT, masked, server_frame

OPEN = '0{"sid":"node0001abc","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}'
WELCOME = '40{"sid":"s1"}'
KEY = re.compile(rb"(?i)sec-websocket-key: *([^\r\n]+)")


class Connection:
    """A client's connection, from the server's side."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.buffer = b""
        self.sock.settimeout(10)

    def take(self, size: int) -> bytes:
        """So many bytes. Raises EOFError."""
        while len(self.buffer) < size:
            self._more()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    def request(self) -> tuple[str, bytes]:
        """The next HTTP request: its head, and its body."""
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head = self.take(self.buffer.index(b"\r\n\r\n") + 4)
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        return head.decode(), self.take(int(length[1])) if length else b""

    def answer(self, body: str | bytes, *lines: str, status: str = "200 OK") -> None:
        """An HTTP answer."""
        data = body.encode() if isinstance(body, str) else body
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", *lines, "", ""]
        self.send("\r\n".join(head).encode() + data)

    def upgrade(self, *lines: str) -> str:
        """The opening of a WebSocket; returns the request's head."""
        head, _ = self.request()
        found = KEY.search(head.encode())
        assert found is not None, head
        accept = base64.b64encode(hashlib.sha1(found[1] + GUID).digest()).decode()
        answer = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        self.send("\r\n".join([*answer, f"Sec-WebSocket-Accept: {accept}", *lines, "", ""]).encode())
        return head

    def welcome(self, opened: str = OPEN, welcomed: str = WELCOME) -> str:
        """Everything up to the answer to CONNECT; returns the CONNECT packet."""
        self.upgrade()
        self.say(opened)
        packet = self.frame()[1].decode()
        self.say(welcomed)
        return packet

    def say(self, *packets: str) -> None:
        """Text messages in one segment."""
        self.send(b"".join(server_frame(TEXT, packet.encode()) for packet in packets))

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_bytewise(self, data: bytes) -> None:
        """A segment for each byte."""
        for position in range(len(data)):
            self.send(data[position : position + 1])
            gevent.sleep(0)

    def frame(self) -> tuple[int, bytes]:
        """The client's next frame: opcode, payload."""
        first, second = self.take(2)
        assert first & 0x80 and second & 0x80, "a client's frame is final and masked here"
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self.take(2 if size == 126 else 8), "big")
        mask = self.take(4)
        return first & 0x0F, masked(self.take(size), mask)

    def packet(self) -> str:
        """The client's next text message."""
        opcode, payload = self.frame()
        assert opcode == TEXT, (opcode, payload)
        return payload.decode()

    def until_end(self) -> list[tuple[int, bytes]]:
        """All frames up to the connection's end."""
        frames = []
        with contextlib.suppress(EOFError, OSError):
            while True:
                frames.append(self.frame())
                if frames[-1][0] == CLOSE:
                    break
        return frames


Script = Callable[[Connection], object]


@contextlib.contextmanager
def scripted(*scripts: Script, **tls: Any) -> Iterator[str]:
    """The URL of a server whose first connection runs the first script, and so on, and all others the last.

    What a script raises besides the connection's end fails the test.
    """
    failed: list[BaseException] = []
    count = 0

    def handle(sock: Any, _: object) -> None:
        nonlocal count
        script = scripts[min(count, len(scripts) - 1)]
        count += 1
        try:
            script(Connection(sock))
        except (EOFError, OSError):
            pass
        except BaseException as error:
            failed.append(error)
        finally:
            sock.close()

    server = StreamServer(("127.0.0.1", 0), handle, **tls)
    server.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.stop(timeout=0)
    assert failed == []
