"""Engine.IO messages with Socket.IO packets in them: texts to send, and batches of events for listeners.

Engine.IO v4: a message's first character is its type. Socket.IO v5: the second is the packet's. An event of the
namespace `/` without an acknowledgement id is `42["name",...]`, one of `/lobby` is `42/lobby,["name",...]`.
"""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from .errors import ProtocolViolation

OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP, BINARY = b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"b"
SEPARATOR = b"\x1e"  # between messages in the body of a long-polling request or answer
CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = range(7)

PACKET = re.compile(rb"4([0-6])(?:(\d+)-)?(?:(/[^,]*)(?:,|$))?(\d+)?(.*)", re.DOTALL)
SHOWN_BYTES = 100
# Chunks of a size that servers write at once come to many clients alike. Longer ones hardly do.
KEPT_CHUNK_MAX_BYTES = 16384
KEPT_MAX_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Packet:
    """A Socket.IO packet. `id`: of the acknowledgement, -1 without; `data`: what its JSON says, None without."""

    kind: int
    namespace: str
    id: int
    data: Any


def shown(message: bytes) -> str:
    """Its beginning, for an error's text."""
    return repr(message[:SHOWN_BYTES])


def decode(message: bytes) -> Packet:
    """Takes a message that begins with `4` apart. Raises ProtocolViolation."""
    found = PACKET.fullmatch(message)
    if found is None:
        raise ProtocolViolation(f"expected a Socket.IO packet, got {shown(message)}")
    kind, _, namespace, number, text = found.groups()
    try:
        data = orjson.loads(text) if text else None
    except orjson.JSONDecodeError as error:
        raise ProtocolViolation(f"expected JSON in a packet, got {shown(message)}: {error}") from None
    return Packet(int(kind), (namespace or b"/").decode(errors="replace"), int(number) if number else -1, data)


def prefix(kind: int, namespace: str) -> bytes:
    """What a packet of this kind begins with, up to its id or data."""
    return f"4{kind}".encode() if namespace == "/" else f"4{kind}{namespace},".encode()


class Batch(list[bytes]):
    """Events in the order they came, each a whole message from its `4` on, e.g. `b'42["hi",1]'`.

    Clients that receive the same bytes get the same Batch, so it must not be changed. `note` is the listener's,
    for what it found out about these packets once; None at first. `trailing`: the last of them whose last
    argument is a string.
    """

    __slots__ = ("note", "trailing")

    def __init__(self, messages: list[bytes]) -> None:
        super().__init__(messages)
        self.note: Any = None
        self.trailing: bytes | None = None
        for message in reversed(messages):
            if message.endswith(b'"]'):
                self.trailing = message
                break


class Batches:
    """What chunks of bytes turned out to be, for all clients of one namespace in this process.

    `known`: chunk -> its batch; look in it, and `keep` what was not there. It forgets all now and then.
    """

    __slots__ = ("_event", "_kept_bytes", "known")

    def __init__(self, namespace: str) -> None:
        self._event = prefix(EVENT, namespace) + b"["
        self._kept_bytes = 0
        self.known: dict[bytes, Batch] = {}

    def is_event(self, message: bytes) -> bool:
        """Whether it is an event of the namespace that wants no acknowledgement."""
        return message.startswith(self._event)

    def of(self, messages: list[bytes]) -> Batch | None:
        """All of them as a batch, or None where some are not such events."""
        event = self._event
        for message in messages:
            if not message.startswith(event):
                return None
        return Batch(messages)

    def keep(self, chunk: bytes, batch: Batch) -> None:
        """Remembers what a chunk that begins and ends between messages is."""
        size = len(chunk)
        if size > KEPT_CHUNK_MAX_BYTES:
            return
        self._kept_bytes += size
        if self._kept_bytes > KEPT_MAX_BYTES:
            self.known.clear()
            self._kept_bytes = size
        self.known[chunk] = batch


_batches: dict[str, Batches] = {}  # namespace -> the process' one


def batches(namespace: str) -> Batches:
    """The process' own of a namespace."""
    found = _batches.get(namespace)
    if found is None:
        found = _batches[namespace] = Batches(namespace)
    return found
