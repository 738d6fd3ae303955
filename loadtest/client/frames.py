"""WebSocket frames (RFC 6455, section 5): masked ones to send, and messages found in bulk in what was received.

Nearly all of what a server sends are whole text frames; these take one short loop. Everything else, and there is
much, goes frame by frame through `_other`. No extension is offered, so none may be used. That texts are UTF-8 is
left to whoever parses them.
"""

import random
import struct

from .errors import ClientError, ProtocolViolation, ServerClosed

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FINAL = 0x80
FINAL_TEXT = FINAL | TEXT
OPCODE_BITS = 0x0F
MASKED = 0x80
SIZE_IN_2, SIZE_IN_8 = 126, 127
CONTROL_MAX_BYTES = 125
HEAD_MIN_BYTES, HEAD_MAX_BYTES = 2, 10
NO_CODE = 1005
MESSAGE_MAX_BYTES = 64 << 20
# Stands before the bytes of a binary message, as polling writes it, so that a message is bytes in any case.
BINARY_MARK = b"b"


def client_frame(opcode: int, payload: bytes) -> bytes:
    """A whole message in one frame, masked with a key of its own (5.3)."""
    size = len(payload)
    if size < SIZE_IN_2:
        head = bytes((FINAL | opcode, MASKED | size))
    elif size < 1 << 16:
        head = struct.pack(">BBH", FINAL | opcode, MASKED | SIZE_IN_2, size)
    else:
        head = struct.pack(">BBQ", FINAL | opcode, MASKED | SIZE_IN_8, size)
    mask = random.getrandbits(32).to_bytes(4, "big")
    key = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + mask + masked.to_bytes(size, "big")


class FrameReader:
    """One connection's receiving side.

    `between`: no frame and no message is incomplete, so the same bytes would give the same messages. `controlled`:
    there were control frames; then look at `pings`, payloads to answer, and `ended`, why nothing more is read: a
    close frame, or a violation (which also counts as one).
    """

    __slots__ = (
        *("_kind", "_limit_bytes", "_missing", "_parts", "_parts_bytes", "_pieces"),
        *("between", "controlled", "ended", "pings"),
    )

    def __init__(self, limit_bytes: int = MESSAGE_MAX_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._pieces: list[bytes] | None = None  # of an incomplete frame
        self._missing = 0  # bytes until more of it can be told
        self._parts: list[bytes] | None = None  # payloads of an incomplete message
        self._parts_bytes = 0
        self._kind = TEXT
        self.between = True
        self.controlled = False
        self.pings: list[bytes] | None = None
        self.ended: ClientError | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes, in order; of a binary one, BINARY_MARK and its bytes."""
        messages: list[bytes] = []
        if self._pieces is not None:
            data = self._joined(data)
        at, end = 0, len(data)
        append = messages.append
        while at < end and self.ended is None:
            # Four bytes are there; an incomplete message takes no text frame.
            safe = end - 3 if self._parts is None else 0
            while at < safe:
                if data[at] != FINAL_TEXT:
                    break
                size = data[at + 1]
                if size < SIZE_IN_2:
                    begin = at + 2
                elif size == SIZE_IN_2:
                    size = data[at + 2] << 8 | data[at + 3]
                    if size < SIZE_IN_2:
                        break
                    begin = at + 4
                else:
                    break
                stop = begin + size
                if stop > end:
                    break
                append(data[begin:stop])
                at = stop
            if at < end:
                at = self._other(data, at, messages)
        self.between = self._pieces is None and self._parts is None
        return messages

    def _joined(self, data: bytes) -> bytes:
        """All there is of an incomplete frame and what follows it; nothing while that is of no use yet."""
        assert self._pieces is not None
        self._pieces.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return b""
        pieces, self._pieces = self._pieces, None
        return b"".join(pieces)

    def _other(self, data: bytes, at: int, messages: list[bytes]) -> int:
        """Takes one frame of any kind; where the next begins, or the end where it is incomplete or wrong."""
        end = len(data)
        begin, size = _head(data, at)
        wrong = self._wrong(data, at, begin, size)
        if wrong:
            self._end(ProtocolViolation(f"expected a WebSocket frame, got {wrong}: {data[at : at + 16].hex(' ')}"))
            return end
        if begin + size > end or begin > end:
            self._pieces, self._missing = [data[at:]], begin + size - end
            return end
        opcode, payload = data[at] & OPCODE_BITS, data[begin : begin + size]
        if opcode >= CLOSE:
            self._take_control(opcode, payload)
        else:
            self._take_data(opcode, payload, data[at] & FINAL, messages)
        return begin + size

    def _wrong(self, data: bytes, at: int, begin: int, size: int) -> str:
        """What the rules forbid about a frame, as far as it is there; empty where it is right."""
        opcode = data[at] & OPCODE_BITS
        if data[at] & 0x70:
            return "reserved bits"
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            return f"the unknown opcode {opcode}"
        if len(data) > at + 1 and data[at + 1] & MASKED:
            return "a masked one"
        if opcode >= CLOSE:
            if not data[at] & FINAL:
                return "a control frame in parts"
            if len(data) > at + 1 and data[at + 1] > CONTROL_MAX_BYTES:
                return f"a control frame of more than {CONTROL_MAX_BYTES} bytes"
            return ""
        if (opcode == CONTINUATION) != (self._parts is not None):
            return "a continuation of nothing" if opcode == CONTINUATION else "a message within another"
        if begin - at > HEAD_MIN_BYTES and begin <= len(data) and size < (126 if begin - at == 4 else 1 << 16):
            return "a length in more bytes than it needs"
        if size + self._parts_bytes > self._limit_bytes:
            return f"a message of {size + self._parts_bytes:,} bytes (the limit is {self._limit_bytes:,})"
        return ""

    def _take_control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.controlled = True
            self.pings = [*(self.pings or ()), payload]
        elif opcode == CLOSE and len(payload) == 1:
            self._end(ProtocolViolation("expected a close code of two bytes, got one byte"))
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if payload else NO_CODE
            reason = payload[2:].decode("utf-8", "replace")
            self._end(ServerClosed(f"the server closed the WebSocket: code {code} {reason}".rstrip()))

    def _end(self, error: ClientError) -> None:
        self.controlled = True
        self.ended = error

    def _take_data(self, opcode: int, payload: bytes, final: int, messages: list[bytes]) -> None:
        if self._parts is None:
            self._kind, self._parts, self._parts_bytes = opcode, [], 0
        if payload:
            self._parts.append(payload)
        self._parts_bytes += len(payload)
        if final:
            content = b"".join(self._parts)
            messages.append(BINARY_MARK + content if self._kind == BINARY else content)
            self._parts, self._parts_bytes = None, 0


def _head(data: bytes, at: int) -> tuple[int, int]:
    """Where the payload of the frame at `at` begins, and its size; behind the data's end while not known."""
    if len(data) < at + HEAD_MIN_BYTES:
        return at + HEAD_MIN_BYTES, 0
    size = data[at + 1] & ~MASKED
    if size < SIZE_IN_2:
        return at + HEAD_MIN_BYTES, size
    begin = at + (4 if size == SIZE_IN_2 else HEAD_MAX_BYTES)
    return begin, int.from_bytes(data[at + 2 : begin], "big") if len(data) >= begin else 0
