"""Opens Socket.IO connections over WebSocket, a bounded number at a time, and lets their members join.

It is the unhurried part: here every frame is looked at. `bulk.py` takes over once a line is measured.
"""

import select
import socket
import time
from collections.abc import Callable, Iterable

from . import chat
from .errors import Violation
from .frames import PONG, texts

READ_BYTES = 1 << 18
EVENTS_MAX = 1024
STEP_LIMIT_S = 60.0  # within this something must happen
POLL_S = 1.0
QUIET_S = 0.6
# The key is the same for all: it is no secret, and 16 random bytes each time would be the client's cost.
REQUEST = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ACCEPTED = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

Taken = Callable[[int, bytes], None]  # fd, payload of a text frame


class Connections:
    """Sockets in the order they were opened, all in one epoll, and the bytes of incomplete frames."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sockets: list[socket.socket] = []
        self.offset = ""  # what events end with: one as long as any, or nothing where the server has none
        self.epoll = select.epoll()
        self._by_fd: dict[int, socket.socket] = {}
        self._rest: dict[int, bytes] = {}  # fd -> the beginning of a frame, or of the HTTP answer
        self._upgrading: set[int] = set()  # fds that have no HTTP answer yet
        self._buffer = bytearray(READ_BYTES)

    def close(self) -> None:
        """Closes all of them."""
        for each in self.sockets:
            each.close()
        self.epoll.close()

    def open(self, count: int, in_flight: int, namespace: str = chat.ROOM_NAMESPACE) -> float:
        """Opens `count` more and connects each to a namespace; returns the seconds that took.

        From the TCP connect to the answered CONNECT, `in_flight` of them at a time. Raises Violation.
        """
        answer, connect = chat.connected(namespace), chat.connect(namespace)
        opening: set[int] = set()
        last = len(self.sockets) + count

        def begin() -> None:
            while len(self.sockets) < last and len(opening) < in_flight:
                opening.add(self._connect())

        def taken(fd: int, payload: bytes) -> None:
            if payload[:1] == b"0":
                self._by_fd[fd].send(connect)
            elif payload.startswith(answer):
                opening.discard(fd)
                self.offset = chat.ANY_OFFSET if chat.PID in payload else ""
            elif payload[:2] == b"44":
                raise Violation(f"a connection was refused: {payload[:200]!r}")

        began_s = time.perf_counter()
        self._go_on(lambda: bool(opening), taken, begin)
        return time.perf_counter() - began_s

    def ask(self, requests: Iterable[tuple[int, bytes]], answer: bytes, in_flight: int) -> None:
        """Sends each (index of a connection, frame), and waits for the answers, `in_flight` at a time.

        An answer begins with `answer`. Raises Violation for another acknowledgement.
        """
        waiting: set[int] = set()
        left = iter(requests)

        def begin() -> None:
            while len(waiting) < in_flight and (request := next(left, None)):
                member = self.sockets[request[0]]
                waiting.add(member.fileno())
                member.send(request[1])

        def taken(fd: int, payload: bytes) -> None:
            if payload.startswith(answer):
                waiting.discard(fd)
            elif payload.startswith(b"430"):
                raise Violation(f"expected {answer!r}, got {payload[:200]!r}")

        self._go_on(lambda: bool(waiting), taken, begin)

    def receive(self, index: int) -> bytes:
        """The next payload of one connection, pings aside; what others get meanwhile is dropped."""
        wanted, found = self.sockets[index].fileno(), list[bytes]()

        def taken(fd: int, payload: bytes) -> None:
            if fd == wanted:
                found.append(payload)

        self._go_on(lambda: not found, taken)
        return found[0]

    def drain(self, quiet_s: float = QUIET_S) -> None:
        """Reads until nothing but pings has come for `quiet_s`; then every connection is between two frames."""
        heard_s = began_s = time.perf_counter()
        while time.perf_counter() - heard_s < quiet_s:
            if self._pump(quiet_s / 4, lambda fd, payload: None):
                heard_s = time.perf_counter()
            if heard_s - began_s > STEP_LIMIT_S:
                raise Violation(f"it did not become quiet within {STEP_LIMIT_S:g} s")
        if any(self._rest.values()):
            raise Violation("a frame's end is missing")

    def _connect(self) -> int:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=STEP_LIMIT_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.send(REQUEST % self.port)
        made.setblocking(False)
        fd = made.fileno()
        self.sockets.append(made)
        self._by_fd[fd] = made
        self._rest[fd] = b""
        self._upgrading.add(fd)
        self.epoll.register(fd, select.EPOLLIN)
        return fd

    def _go_on(
        self, unfinished: Callable[[], bool], taken: Taken, begin: Callable[[], None] = lambda: None
    ) -> None:
        """Calls `begin`, which may start something more, before every look at what came."""
        heard_s = time.perf_counter()
        begin()
        while unfinished():
            if self._pump(POLL_S, taken):
                heard_s = time.perf_counter()
            elif time.perf_counter() - heard_s > STEP_LIMIT_S:
                raise Violation(f"nothing came for {STEP_LIMIT_S:g} s")
            begin()

    def _pump(self, timeout_s: float, taken: Taken) -> bool:
        """Reads once from whatever is readable, and answers pings; whether anything else came."""
        heard = False
        for fd, _ in self.epoll.poll(timeout_s, EVENTS_MAX):
            size = self._by_fd[fd].recv_into(self._buffer)
            if not size:
                raise Violation("the server closed a connection")
            data = self._rest[fd] + self._buffer[:size]
            start = self._after_head(fd, data) if fd in self._upgrading else 0
            if start is not None:
                for payload, end in texts(data, start):
                    start = end
                    if payload == b"2":
                        self._by_fd[fd].send(PONG)
                    else:
                        heard = True
                        taken(fd, payload)
            self._rest[fd] = data[start:]
        return heard

    def _after_head(self, fd: int, data: bytes) -> int | None:
        """Where the frames begin behind the HTTP answer; None where that is not complete. Raises Violation."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return None
        if not data.startswith(b"HTTP/1.1 101 ") or ACCEPTED not in data[:end]:
            raise Violation(f"expected a WebSocket, got {data[:200]!r}")
        self._upgrading.discard(fd)
        return end + 4
