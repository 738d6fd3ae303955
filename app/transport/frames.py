"""The frame layer of RFC 6455 for a server without extensions: bytes to messages, and messages to frames.

It has no transport and no timer, does not shake hands, and answers neither a ping nor a close: `protocol.py`
does. What a message means is Engine.IO's business.
"""

import struct
from collections.abc import Iterator

# The one in C takes half the time of Python's integers for 100 bytes, and a twentieth for 64 kB.
try:
    from websockets.speedups import apply_mask
except ImportError:  # a websockets that was built without a compiler
    from websockets.utils import apply_mask

Event = tuple[int, str | bytes]  # opcode, text or payload

# RFC 6455, 5.2 and 11.8.
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
OPCODES = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
FINAL, RESERVED_BITS, OPCODE_BITS = 0x80, 0x70, 0x0F  # of the first byte
MASKED, SIZE_BITS = 0x80, 0x7F  # of the second
SIZE_16, SIZE_64 = 126, 127  # the size stands in the next 2 or 8 bytes
SIZE_64_MIN_BYTES = 1 << 16
FINAL_TEXT, MASK_BYTES = FINAL | TEXT, 4
CONTROL_MAX_BYTES, REASON_MAX_BYTES = 125, 123

PROTOCOL_ERROR, NO_STATUS, INVALID_TEXT, TOO_BIG = 1002, 1005, 1007, 1009
# Those that a close frame may carry: RFC 6455, 7.4, and 1012 to 1014 of IANA's registry.
CLOSE_CODES = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))

# From here on, a memoryview costs less than a copy of the masked payload.
VIEW_MIN_BYTES = 16_384
_head_8, _head_16, _head_64 = (struct.Struct(form).pack for form in (">BB", ">BBH", ">BBQ"))


class FrameError(Exception):
    """What came breaks RFC 6455 or a limit; `code` is the close code to answer with: 1002, 1007 or 1009."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def text_frame(payload: bytes) -> bytes:
    """A final, unmasked text frame; `payload` is UTF-8 (RFC 6455, 5.6)."""
    return _frame(FINAL_TEXT, payload)


def binary_frame(payload: bytes) -> bytes:
    """A final, unmasked binary frame (RFC 6455, 5.6)."""
    return _frame(FINAL | BINARY, payload)


def control_frame(opcode: int, payload: bytes = b"") -> bytes:
    """A CLOSE, PING or PONG frame (RFC 6455, 5.5). ValueError: another opcode, or more than 125 bytes."""
    if opcode not in (CLOSE, PING, PONG):
        raise ValueError(f"expected a control frame's opcode, got {opcode}")
    if len(payload) > CONTROL_MAX_BYTES:
        raise ValueError(f"expected at most {CONTROL_MAX_BYTES} bytes in a control frame, got {len(payload)}")
    return _frame(FINAL | opcode, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame, its reason cut between characters at 123 bytes (RFC 6455, 5.5.1).

    1005, "no code came", makes an empty one. ValueError: another code that must not be sent (7.4).
    """
    if code == NO_STATUS:
        return control_frame(CLOSE)
    if code not in CLOSE_CODES:
        raise ValueError(f"expected a close code that may be sent, got {code}")
    cut = reason.encode(errors="replace")[:REASON_MAX_BYTES].decode(errors="ignore")
    return control_frame(CLOSE, code.to_bytes(2, "big") + cut.encode())


def close_code(payload: bytes) -> int:
    """The code in a received close frame's payload; 1005 if that is empty (RFC 6455, 7.1.5).

    FrameError 1002: a single byte, or a code that must not be sent (7.4); 1007: the reason is no UTF-8.
    """
    if not payload:
        return NO_STATUS
    code = int.from_bytes(payload[:2], "big")
    if code not in CLOSE_CODES:  # nor is any number of one byte
        raise FrameError(PROTOCOL_ERROR, f"expected a close code that may be sent, got {payload[:2]!r}")
    _text(payload[2:])
    return code


class FrameReader:
    """Turns one client's bytes into its messages; `max_bytes` bounds a message, all its fragments together."""

    __slots__ = ("_at", "_data", "_max_bytes", "_message", "_more", "_needed", "_opcode")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._data = b""  # the bytes being read; those before `_at` are done with
        self._at = 0
        self._more: bytearray | None = None  # what belongs behind `_data`, and came before that was all read
        self._needed = 0  # bytes of both that make the frame that is coming in; 0: nobody knows yet
        self._opcode = 0  # of the message whose fragments are coming; CLOSE: nothing is read any more
        self._message: bytearray | None = None  # its fragments so far

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yields (TEXT, str) and (BINARY, bytes) for messages, (CLOSE, PING or PONG, bytes) for control frames.

        The iterator raises FrameError where a bad frame stands, behind everything before it (RFC 6455, 5 and
        8.1). After that, and after a CLOSE, nothing is yielded any more and what comes is dropped.

        Frames are read as the iterator advances. One that is left after any of its items leaves the rest to
        the next feed's; `feed(b"")` goes on without new bytes. Until then all that is fed is kept, so a
        consumer that stops pauses the transport, too.
        """
        if self._more is not None:
            self._more += data
            if len(self._data) + len(self._more) < self._needed:
                return iter(())
        elif self._data:
            self._more = bytearray(data) if data else None
        elif (event := self._short_text(data, 0)) is not None:
            return self._events(event) if self._data else iter((event,))
        elif self._opcode != CLOSE:
            self._data = data
        return self._events()

    def _events(self, event: Event | None = None) -> Iterator[Event]:
        if event is not None:
            yield event
        # Another iterator may have moved on meanwhile: nothing is remembered across a yield.
        while self._data or self._more is not None:
            event = self._short_text(self._data, self._at) or self._next()
            if event is None:
                return
            yield event

    def _short_text(self, data: bytes, at: int) -> Event | None:
        """Takes the frame at `at` if it is a whole, valid text message below 64 kB: nearly all are."""
        if len(data) < at + 6 or data[at] != FINAL_TEXT or self._opcode:
            return None
        size, start = data[at + 1] - MASKED, at + 6
        if size >= SIZE_16:
            size, start = data[at + 2] << 8 | data[at + 3] if size == SIZE_16 else 0, at + 8
            if size < SIZE_16:
                return None
        end = start + size
        if size < 0 or size > self._max_bytes or end > len(data):
            return None
        try:
            text = apply_mask(data[start:end], data[start - MASK_BYTES : start]).decode()
        except UnicodeDecodeError:
            return None
        self._data, self._at = (data, end) if end < len(data) else (b"", 0)
        return TEXT, text

    def _next(self) -> Event | None:
        """The next event, of any kind; None as long as it is incomplete."""
        try:
            while True:
                start, end = self._bounds()
                if end <= len(self._data):
                    if event := self._take(start, end):
                        return event
                elif not self._gather(end - self._at):
                    return None
        except FrameError:
            self._stop()
            raise

    def _bounds(self) -> tuple[int, int]:
        """Where the next frame's payload begins and ends, or how far its head must come (RFC 6455, 5.2)."""
        data, at = self._data, self._at
        if len(data) < at + 2:
            return at, at + 2
        self._check(data[at], data[at + 1])
        size, start = data[at + 1] & SIZE_BITS, at + 2
        if size >= SIZE_16:
            start = at + (4 if size == SIZE_16 else 10)
            if len(data) < start:
                return at, start
            size = int.from_bytes(data[at + 2 : start], "big")
            if size < (SIZE_16 if start == at + 4 else SIZE_64_MIN_BYTES) or size >> 63:
                raise FrameError(PROTOCOL_ERROR, f"expected a size below 2**63 in its shortest form, got {size}")
        total = size + len(self._message or b"")
        if total > self._max_bytes and data[at] & OPCODE_BITS < CLOSE:
            raise FrameError(TOO_BIG, f"expected at most {self._max_bytes} bytes in a message, got {total}")
        start += MASK_BYTES
        return start, start + size

    def _check(self, first: int, second: int) -> None:
        """FrameError unless a client may send a frame that begins so, now (RFC 6455, 5.1, 5.2, 5.4 and 5.5)."""
        if first & RESERVED_BITS or (opcode := first & OPCODE_BITS) not in OPCODES:
            raise FrameError(PROTOCOL_ERROR, f"expected no reserved bit and a known opcode, got {first:#04x}")
        if second < MASKED:
            raise FrameError(PROTOCOL_ERROR, "expected a masked frame, got one without a mask")
        if opcode >= CLOSE and first < FINAL:
            raise FrameError(PROTOCOL_ERROR, "expected a whole control frame, got a fragment of one")
        if opcode >= CLOSE and second & SIZE_BITS > CONTROL_MAX_BYTES:
            raise FrameError(PROTOCOL_ERROR, f"expected at most {CONTROL_MAX_BYTES} bytes in a control frame")
        if opcode < CLOSE and (opcode == CONTINUATION) != (self._opcode != 0):
            due = "a continuation" if self._opcode else "a new message"
            raise FrameError(PROTOCOL_ERROR, f"expected {due}, got a frame with opcode {opcode}")

    def _gather(self, needed: int) -> bool:
        """Joins what came since if that makes `needed` bytes; so a byte moves a few times, however all is cut."""
        self._data, self._at, self._needed = self._data[self._at :], 0, needed
        if self._more is None or len(self._data) + len(self._more) < needed:
            return False
        self._data, self._more, self._needed = self._data + self._more, None, 0
        return True

    def _take(self, start: int, end: int) -> Event | None:
        """Reads a whole frame; None if it is a fragment that others follow (RFC 6455, 5.3 and 5.4)."""
        data, first = self._data, self._data[self._at]
        masked = data[start:end] if end - start < VIEW_MIN_BYTES else memoryview(data)[start:end]
        payload, opcode = apply_mask(masked, data[start - MASK_BYTES : start]), first & OPCODE_BITS
        self._data, self._at = (data, end) if end < len(data) else (b"", 0)
        if opcode == CLOSE:
            self._stop()
        if opcode >= CLOSE:
            return opcode, payload
        if first >= FINAL and opcode != CONTINUATION:
            return opcode, _text(payload) if opcode == TEXT else payload
        opcode, message = opcode or self._opcode, self._message or bytearray()
        message += payload
        if first < FINAL:
            self._opcode, self._message = opcode, message
            return None
        self._opcode, self._message = 0, None
        return opcode, _text(message) if opcode == TEXT else bytes(message)

    def _stop(self) -> None:
        self._data, self._at, self._more, self._opcode, self._message = b"", 0, None, CLOSE, None


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < SIZE_16:
        return _head_8(first, size) + payload
    if size < SIZE_64_MIN_BYTES:
        return _head_16(first, SIZE_16, size) + payload
    return _head_64(first, SIZE_64, size) + payload


def _text(payload: bytes | bytearray) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise FrameError(INVALID_TEXT, f"expected UTF-8, got {error.reason} at byte {error.start}") from error
