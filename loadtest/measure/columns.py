"""Columns of numbers as bytes for the wire: little-endian, compressed where that makes them shorter."""

import sys
import zlib
from array import array
from collections.abc import Iterable

# The first byte says what follows.
PLAIN, DEFLATED = b"p", b"z"
# Fast rather than small: columns of ids and times shrink by half already so.
LEVEL = 1


def packed(column: Iterable[float], typecode: str = "") -> bytes:
    """An array, or numbers of the given `typecode`, as bytes."""
    numbers = column if isinstance(column, array) else array(typecode, column)
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    raw = numbers.tobytes()
    deflated = zlib.compress(raw, LEVEL)
    return DEFLATED + deflated if len(deflated) < len(raw) else PLAIN + raw


def unpacked(typecode: str, data: bytes) -> "array[float]":
    """The opposite; ValueError for bytes that are not of `packed`."""
    kind, body = data[:1], data[1:]
    if kind not in (PLAIN, DEFLATED):
        raise ValueError(f"expected a packed column, got {data[:8]!r}")
    numbers = array(typecode, zlib.decompress(body) if kind == DEFLATED else body)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers  # type: ignore[return-value]
