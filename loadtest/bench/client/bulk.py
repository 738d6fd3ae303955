"""Counts what members receive without looking at each message: bytes divided by the size of one frame.

All messages of a line are frames of one size, so a member's stream is known by its length, and one look at
where the last frame should begin shows whether anything else came in between. Where it did (an Engine.IO
ping, a list of users), `_odd` walks through that chunk's frames, answers, and leaves it out of the count.
That each member got as many as were sent, and nobody more, is checked at the end; which ones, and in which
order, is `witness.py`'s.
"""

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence

from .errors import Violation
from .frames import PING, PONG, TEXT_OPCODE, frame_at

BUFFER_BYTES = 1 << 20
EVENTS_MAX = 4096
FEW_EVENTS = 100
POLL_S = 1.0
SILENCE_LIMIT_S = 30.0
# A message's frame begins with two bytes for text and a size in two bytes, and the two bytes of that size. No
# other byte of it is 0x81, since its text is ASCII.
HEAD_BYTES = 4
LONG_SIZE = 126

Receive = Callable[[memoryview], int]
Arrived = Callable[[int, int, int, int], None]


class BulkReader:
    """Reads all `sockets`. `frame`: any of the line's frames, whole; only its size and its end matter.

    `total_bytes` is what came of such frames, over all members.
    """

    def __init__(self, sockets: Sequence[socket.socket], epoll: select.epoll, frame: bytes) -> None:
        if frame[:2] != bytes((TEXT_OPCODE, LONG_SIZE)):
            raise ValueError(f"expected a text frame of 130 to 65,539 bytes, got {len(frame)}")
        self.frame_bytes = len(frame)
        self.total_bytes = 0
        self.pings = 0
        self.others = 0  # whole frames that were neither a message nor a ping
        self.nap_s = 0.0  # how long `poll` lets more come where only a few members are readable
        self._head = frame[:HEAD_BYTES]
        self._last = frame[-1]
        self._sockets = {each.fileno(): each for each in sockets}
        self._epoll = epoll
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._received: list[int] = []  # fd -> bytes of messages
        self._receive: list[Receive] = []  # fd -> how to receive
        self.start()

    def watch(self, member: socket.socket, heard: Callable[[bytes], None]) -> None:
        """Also hands every chunk of this member to `heard`."""
        fd = member.fileno()
        receive = self._receive[fd]

        def watched(view: memoryview) -> int:
            size = receive(view)
            heard(bytes(view[:size]))
            return size

        self._receive[fd] = watched

    def messages(self, member: socket.socket) -> int:
        """How many whole messages one member has."""
        return self._received[member.fileno()] // self.frame_bytes

    def start(self) -> None:
        """Forgets what was counted and who watched; every member is between two frames."""
        top = max(self._sockets, default=0) + 1
        self._received = [0] * top
        self._receive = [_nothing] * top
        for fd, each in self._sockets.items():
            self._receive[fd] = each.recv_into
        self.total_bytes = 0

    @contextlib.contextmanager
    def reading(self, fd: int, call: Callable[[], None]) -> Iterator[None]:
        """Meanwhile also calls back whenever something that is no member, a timer, is readable."""

        def called(view: memoryview) -> int:
            call()
            return 0

        missing = fd + 1 - len(self._receive)
        self._receive += [_nothing] * missing
        self._received += [0] * missing
        self._receive[fd] = called
        self._epoll.register(fd, select.EPOLLIN)
        try:
            yield
        finally:
            self._epoll.unregister(fd)

    def poll(self, timeout_s: float) -> None:
        """Waits until something is readable, and reads once from whatever is."""
        frame_bytes, head, last = self.frame_bytes, self._head, self._last
        buffer, view, receive, received = self._buffer, self._view, self._receive, self._received
        total = 0
        events = self._epoll.poll(timeout_s, EVENTS_MAX)
        if self.nap_s and len(events) < FEW_EVENTS:
            time.sleep(self.nap_s)
            events = self._epoll.poll(0, EVENTS_MAX)
        for fd, _ in events:
            size = receive[fd](view)
            now = received[fd] + size
            rest = now % frame_bytes
            if rest:
                begin = size - rest
                if rest < HEAD_BYTES or buffer[begin : begin + HEAD_BYTES] != head:
                    total += self._odd(fd, size)
                    continue
            elif not size or buffer[size - 1] != last:
                total += self._odd(fd, size)
                continue
            received[fd] = now
            total += size
        self.total_bytes += total

    def poll_timed(self, timeout_s: float, arrived: Arrived) -> None:
        """As `poll`, and calls `arrived(fd, first, behind, now_ns)` for the messages that a chunk completes.

        `first` and `behind` are places in the member's own sequence of messages, from 0, as in `range`.
        """
        frame_bytes, receive, received = self.frame_bytes, self._receive, self._received
        for fd, _ in self._epoll.poll(timeout_s, EVENTS_MAX):
            before = received[fd]
            size = receive[fd](self._view)
            now_ns = time.monotonic_ns()
            if before % frame_bytes or size != frame_bytes or self._buffer[size - 1] != self._last:
                size = self._odd(fd, size)
            else:
                received[fd] = before + size
            self.total_bytes += size
            first, behind = before // frame_bytes, (before + size) // frame_bytes
            if behind > first:
                arrived(fd, first, behind, now_ns)

    def wait_for(self, total_bytes: int, poll: Callable[[float], None] | None = None) -> None:
        """Reads until so much has come in all. Raises Violation where it does not, or more than that does."""
        poll = poll or self.poll
        last_bytes, since_s = self.total_bytes, time.perf_counter()
        while self.total_bytes < total_bytes:
            poll(POLL_S)
            if self.total_bytes != last_bytes:
                last_bytes, since_s = self.total_bytes, time.perf_counter()
            elif time.perf_counter() - since_s > SILENCE_LIMIT_S:
                missing = (total_bytes - last_bytes) / self.frame_bytes
                raise Violation(f"{missing:g} deliveries are missing, nothing came for {SILENCE_LIMIT_S:g} s")
        if self.total_bytes > total_bytes:
            raise Violation(f"{(self.total_bytes - total_bytes) / self.frame_bytes:g} deliveries too many came")

    def poll_until(self, total_bytes: int, limit_s: float) -> bool:
        """Reads until so much has come in all, `limit_s` at most; whether it has."""
        end_s = time.perf_counter() + limit_s
        while self.total_bytes < total_bytes and time.perf_counter() < end_s:
            self.poll(POLL_S)
        return self.total_bytes >= total_bytes

    def check_each(self, messages: int | Callable[[int], int]) -> None:
        """Every member has exactly so many messages. Raises Violation."""
        for fd in self._sockets:
            wanted = (messages if isinstance(messages, int) else messages(fd)) * self.frame_bytes
            if self._received[fd] != wanted:
                got = self._received[fd] / self.frame_bytes
                raise Violation(f"a member got {got:g} messages instead of {wanted // self.frame_bytes}")

    def _odd(self, fd: int, size: int) -> int:
        """Walks through a chunk in which something else than messages may be; the messages' bytes in it."""
        if not size:
            if self._sockets.get(fd) is None:
                return 0
            raise Violation("the server closed a connection")
        data, before = self._buffer, self._received[fd]
        pending = before % self.frame_bytes
        at = min(size, self.frame_bytes - pending) if pending else 0
        counted = at
        while at < size:
            found = frame_at(data, at, size)
            if found is None:
                break
            if data[at] != TEXT_OPCODE:
                raise Violation(f"expected a text frame, got opcode {data[at]:#x}")
            if found[1] - at == self.frame_bytes:
                counted += self.frame_bytes
            elif data[at : at + 3] == PING:
                self.pings += 1
                self._sockets[fd].send(PONG)
            else:
                self.others += 1
            at = found[1]
        tail = bytes(data[at:size])
        if self._is_message(tail):
            counted += len(tail)
        elif tail:
            self._hold(fd, tail)
        self._received[fd] = before + counted
        return counted

    def _is_message(self, tail: bytes) -> bool:
        """Whether the beginning of a frame is that of a message, for certain."""
        return tail[:HEAD_BYTES] == self._head

    def _hold(self, fd: int, tail: bytes) -> None:
        """Puts a frame's beginning, of which kind is not known yet, before what this member receives next."""
        receive = self._receive[fd]

        def resumed(view: memoryview) -> int:
            size = receive(view[len(tail) :])
            if not size:
                raise Violation("the server closed a connection")
            view[: len(tail)] = tail
            self._receive[fd] = receive
            return size + len(tail)

        self._receive[fd] = resumed


class MarkerCounter:
    """How often `marker` has come in a stream, whatever the chunks it is cut into.

    The marker must not overlap itself (no beginning of it is an end of it), or one could be counted twice.
    """

    def __init__(self, marker: bytes) -> None:
        if any(marker.endswith(marker[:size]) for size in range(1, len(marker))):
            raise ValueError(f"{marker!r} overlaps itself")
        self.count = 0
        self._marker = marker
        self._tail = b""

    def feed(self, chunk: bytes) -> None:
        """The stream's next piece."""
        data = self._tail + chunk
        self.count += data.count(self._marker)
        keep = len(self._marker) - 1
        self._tail = data[-keep:] if keep else b""


def _nothing(view: memoryview) -> int:
    return 0
