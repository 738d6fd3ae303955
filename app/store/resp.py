"""Commands as bytes: RESP arrays of bulk strings, of which parts are packed once and used often.

Redis protocol specification, "Sending commands to a Redis server". What commands there are is up to who packs
them; sending is `store.bulk`'s.
"""

from collections.abc import Iterable
from typing import NamedTuple

Arg = str | bytes | int


class Packed(NamedTuple):
    """Arguments of a command, packed: how many they are, and their bytes."""

    number: int
    data: bytes


def pack(args: Iterable[Arg]) -> Packed:
    """Raises TypeError for what is neither text, bytes nor a whole number, ValueError for lone surrogates."""
    packed = [pack_one(arg) for arg in args]
    return Packed(len(packed), b"".join(packed))


def pack_one(arg: Arg) -> bytes:
    """One argument's bytes. Raises as `pack` does."""
    if isinstance(arg, str):
        arg = arg.encode()
    elif isinstance(arg, int):
        arg = b"%d" % arg
    elif not isinstance(arg, bytes):
        raise TypeError(f"expected text, bytes or a whole number, got {type(arg).__name__}")
    return b"$%d\r\n%b\r\n" % (len(arg), arg)


def pack_begin(count: int, *first: Arg) -> bytes:
    """The beginning of a command that has `count` arguments, its name among them: up to and with `first`."""
    return b"*%d\r\n%b" % (count, pack(first).data)
