"""WebSocket frames as the bench needs them: masked ones to send, and whole ones found in what was received.

RFC 6455, section 5. No fragments, no extensions and no closing handshake: the contenders send none of these
while they are measured, and a frame that is neither text nor a close is an error here.
"""

import struct
from collections.abc import Iterator

MASK = b"\x5a\xa5\x3c\xc3"
# Engine.IO's ping and pong; both are text messages of one character.
PING = b"\x81\x012"
TEXT_OPCODE = 0x81
CLOSE_OPCODE = 0x88


def masked(payload: bytes) -> bytes:
    """A client's text frame."""
    size = len(payload)
    if size < 126:
        head = bytes((TEXT_OPCODE, 0x80 | size))
    elif size < 65536:
        head = struct.pack(">BBH", TEXT_OPCODE, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", TEXT_OPCODE, 0x80 | 127, size)
    key = int.from_bytes((MASK * (size // 4 + 1))[:size], "big")
    return head + MASK + (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def unmasked(payload: bytes) -> bytes:
    """A server's text frame."""
    size = len(payload)
    if size < 126:
        return bytes((TEXT_OPCODE, size)) + payload
    if size < 65536:
        return struct.pack(">BBH", TEXT_OPCODE, 126, size) + payload
    return struct.pack(">BBQ", TEXT_OPCODE, 127, size) + payload


PONG = masked(b"3")


def frame_at(data: bytes | bytearray | memoryview, start: int, end: int) -> tuple[int, int] | None:
    """Where the payload of the server's frame at `start` begins and ends; None where it is not all there."""
    if end - start < 2:
        return None
    size, begin = data[start + 1], start + 2
    if size >= 126:
        width = 2 if size == 126 else 8
        begin += width
        if begin > end:
            return None
        size = int.from_bytes(data[start + 2 : begin], "big")
    return (begin, begin + size) if begin + size <= end else None


def texts(data: bytes, start: int = 0) -> Iterator[tuple[bytes, int]]:
    """Each whole text frame's payload and where it ends. Raises ValueError for any other kind of frame."""
    end = len(data)
    while (found := frame_at(data, start, end)) is not None:
        if data[start] != TEXT_OPCODE:
            raise ValueError(f"expected a text frame, got opcode {data[start]:#x}: {data[start : start + 64]!r}")
        start = found[1]
        yield data[found[0] : start], start
