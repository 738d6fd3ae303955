"""What travels: Socket.IO packets ready to send, and the entries and notices that nodes exchange.

A message on a channel, and an entry in a stream, is `<clock> <prev> <body>`; a body is one line of tag and
JSON, then the packet's bytes, which are routed without being parsed. The scripts add clock and prev and
never look into a body. It holds no I/O and no keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import orjson

UNSTORED = b"-"  # the `prev` of what is in no log
_OPTIONS = orjson.OPT_NON_STR_KEYS


def to_json(value: Any) -> str:
    """Compact JSON. Raises TypeError for what JSON cannot hold, lone surrogates among it."""
    return orjson.dumps(value, option=_OPTIONS).decode()


def from_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError where it is none."""
    return orjson.loads(text)


class RoomId(NamedTuple):
    """A room of a namespace; `name` None is everybody in the namespace."""

    namespace: str
    name: str | None


@dataclass(frozen=True, slots=True)
class Packet:
    """A Socket.IO packet as it is sent: its text, then its binary attachments (protocol v5, "Encoding")."""

    text: str
    attachments: tuple[bytes, ...] = ()


AROUND_TEXT_BYTES = 32  # an offset and the frame's head


def size_of(packet: Packet) -> int:
    """No less than its frames have bytes."""
    text = packet.text
    size = AROUND_TEXT_BYTES + (len(text) if text.isascii() else 4 * len(text))
    return size + sum(len(part) + AROUND_TEXT_BYTES for part in packet.attachments) if packet.attachments else size


def event_packet(namespace: str, event: str, *args: Any) -> Packet:
    """An EVENT packet without binary arguments and without an acknowledgement id."""
    prefix = "2" if namespace == "/" else f"2{namespace},"
    return Packet(prefix + to_json([event, *args]))


def with_ack_id(packet: Packet, namespace: str, ack_id: int) -> Packet:
    """The same event asking for an acknowledgement: the id stands between namespace and payload."""
    attachments = f"{len(packet.attachments)}-" if packet.attachments else ""
    prefix = packet.text[0] + attachments + ("" if namespace == "/" else f"{namespace},")
    return Packet(f"{prefix}{ack_id}{packet.text[len(prefix) :]}", packet.attachments)


NO_OFFSET = 0  # the offset of what is in no log
UNMARKED = -1  # of what a client does not look for one in, since it asks for an acknowledgement


def marked(packet: Packet, offset: int) -> Packet:
    """The event as a client gets it that can recover: with its offset as the last argument.

    Such a client takes any trailing string for an offset, an event's name even; one that has none is followed
    by a null (socket.io-client, `Socket.emitEvent`).
    """
    text = packet.text
    if offset > 0:
        return Packet(f'{text[:-1]},"{offset}"]', packet.attachments)
    if offset == NO_OFFSET and text.endswith('"]'):
        return Packet(f"{text[:-1]},null]", packet.attachments)
    return packet


# --- entries and notices: a tagged union -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """An event to a room: to all, to the sids in `to`, or to all but `skip`.

    `rooms`: where it went to several rooms, all their names in order; a member of more than one gets it
    through the first.
    """

    packet: Packet
    to: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Joined:
    """`sid` became a member. `own` is what only it receives, ahead of `packet`."""

    sid: str
    nickname: str
    node_id: str
    packet: Packet | None = None
    own: str = ""


@dataclass(frozen=True, slots=True)
class Renamed:
    """A member has another nickname."""

    sid: str
    nickname: str
    packet: Packet | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """`sid` is no longer a member."""

    sid: str
    packet: Packet | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """The room has no members any more."""


@dataclass(frozen=True, slots=True)
class Direct:
    """An event to one socket."""

    sid: str
    packet: Packet


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The socket is to be disconnected by the server."""

    sid: str


@dataclass(frozen=True, slots=True)
class Ask:
    """An event whose acknowledgement goes back to `node_id` under `ask_id`. `sid` "" means the whole room."""

    node_id: str
    ask_id: int
    packet: Packet
    sid: str = ""
    skip: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Enter:
    """A request to the socket's node: let it enter `room`, then answer under `ask_id`."""

    node_id: str
    ask_id: int
    sid: str
    room: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client acknowledged, or a node answered. `packet.text` is a JSON array of the arguments."""

    ask_id: int
    packet: Packet


@dataclass(frozen=True, slots=True)
class Taken:
    """A connection elsewhere has taken the socket, and made this its generation."""

    sid: str
    generation: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Somebody wants the node to drain and end, as by SIGTERM."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A node's message to itself: it proves that the way through Redis works."""

    number: int


@dataclass(frozen=True, slots=True)
class Marker:
    """A node's message to itself: what was published before it is in the tail just read."""

    number: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """A body this node cannot read, from a newer node perhaps: its place counts, it does nothing."""

    body: bytes


Payload = (
    Event
    | Joined
    | Renamed
    | Left
    | Closed
    | Direct
    | Disconnect
    | Ask
    | Enter
    | Answer
    | Taken
    | Drain
    | Canary
    | Marker
    | Unknown
)


class Entry(NamedTuple):
    """A payload with its place: `clock` in µs; `prev` None where it is stored in no log."""

    clock: int
    prev: int | None
    payload: Payload


_TAGS: dict[type, str] = {
    Event: "e",
    Joined: "j",
    Renamed: "r",
    Left: "l",
    Closed: "c",
    Direct: "d",
    Disconnect: "x",
    Ask: "a",
    Enter: "n",
    Answer: "w",
    Taken: "t",
    Drain: "g",
    Canary: "y",
    Marker: "m",
}
_KINDS: dict[bytes, type] = {tag.encode(): kind for kind, tag in _TAGS.items()}
# kind -> field -> default; a field that has its default is left out of a body
_DEFAULTS = {kind: {field.name: field.default for field in fields(kind)} for kind in _TAGS}
_NO_FIELDS = b"-"
# How a body begins that is an event to a whole room, without attachments: nearly all that there are.
_TO_ALL = b"e -\n"


def encode_event(packet: Packet, skip: Sequence[str] = ()) -> bytes:
    """The body of `Event(packet, skip=skip)`, without making one where it is plain."""
    if skip or packet.attachments:
        return encode_body(Event(packet, skip=tuple(skip)))
    return _TO_ALL + packet.text.encode()


def encode_body(payload: Payload) -> bytes:
    """The body of `payload`, to be given to a script."""
    values = {
        name: value
        for name, default in _DEFAULTS[type(payload)].items()
        if name != "packet" and (value := getattr(payload, name)) != default
    }
    packet: Packet | None = getattr(payload, "packet", None)
    tail = b""
    if packet is not None:
        tail = packet.text.encode()
        if packet.attachments:
            values["sizes"] = [len(tail), *map(len, packet.attachments)]
            tail += b"".join(packet.attachments)
    head = orjson.dumps(values) if values else _NO_FIELDS
    return b"%b %b\n%b" % (_TAGS[type(payload)].encode(), head, tail)


def decode(data: bytes) -> Entry:
    """The entry in a channel's message. Raises ValueError for what no node of ours published."""
    clock, prev, body = data.split(b" ", 2)
    return Entry(int(clock), None if prev == UNSTORED else int(prev), decode_body(body))


def decode_body(body: bytes) -> Payload:
    """The payload of a body; `Unknown` where it is none."""
    try:
        if body.startswith(_TO_ALL):
            return Event(Packet(body[len(_TO_ALL) :].decode()))
        head, _, tail = body.partition(b"\n")
        return _decode_fields(_KINDS[head[:1]], head[2:], tail)
    except (LookupError, TypeError, ValueError, AttributeError):
        return Unknown(body)


def _decode_fields(kind: type, head: bytes, tail: bytes) -> Payload:
    values: dict[str, Any] = {} if head == _NO_FIELDS else orjson.loads(head)
    sizes = values.pop("sizes", None)
    for name in ("to", "skip", "rooms"):
        if name in values:
            values[name] = tuple(values[name])
    if tail:
        values["packet"] = _packet(tail, sizes)
    payload: Payload = kind(**values)
    return payload


def _packet(tail: bytes, sizes: Sequence[int] | None) -> Packet:
    if sizes is None:
        return Packet(tail.decode())
    parts, start = [], 0
    for size in sizes:
        parts.append(tail[start : start + size])
        start += size
    return Packet(parts[0].decode(), tuple(parts[1:]))
