"""What travels: every payload survives its way, and nothing that comes in can be worse than unknown."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from socketio.packet import EVENT
from socketio.packet import Packet as SocketioPacket

from app.wire import (
    NO_OFFSET,
    UNMARKED,
    Answer,
    Ask,
    Canary,
    Closed,
    Direct,
    Disconnect,
    Drain,
    Enter,
    Entry,
    Event,
    Joined,
    Left,
    Marker,
    Packet,
    Payload,
    Renamed,
    Taken,
    Unknown,
    decode,
    decode_body,
    encode_body,
    encode_event,
    event_packet,
    from_json,
    marked,
    to_json,
    with_ack_id,
)

light = settings(max_examples=40, deadline=None, database=None, derandomize=True)

# Any Unicode but surrogates, which UTF-8 and so JSON on the wire cannot hold.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SIDS = st.lists(TEXTS, max_size=3).map(tuple)
NUMBERS = st.integers(0, 2**53)
ATTACHMENTS = st.lists(
    st.one_of(st.binary(max_size=40), st.sampled_from([b"", b"\n", b"\n\n", b"e -\n", b" - "])), max_size=4
)
PACKETS = st.builds(Packet, st.text(st.characters(exclude_categories=["Cs"]), min_size=1), ATTACHMENTS.map(tuple))
MAYBE_PACKETS = st.none() | PACKETS

KINDS: dict[type, st.SearchStrategy[Any]] = {
    Event: st.builds(Event, PACKETS, SIDS, SIDS, SIDS),
    Joined: st.builds(Joined, TEXTS, TEXTS, TEXTS, MAYBE_PACKETS, TEXTS),
    Renamed: st.builds(Renamed, TEXTS, TEXTS, MAYBE_PACKETS),
    Left: st.builds(Left, TEXTS, MAYBE_PACKETS),
    Closed: st.builds(Closed),
    Direct: st.builds(Direct, TEXTS, PACKETS),
    Disconnect: st.builds(Disconnect, TEXTS),
    Ask: st.builds(Ask, TEXTS, NUMBERS, PACKETS, TEXTS, SIDS),
    Enter: st.builds(Enter, TEXTS, NUMBERS, TEXTS, TEXTS),
    Answer: st.builds(Answer, NUMBERS, PACKETS),
    Taken: st.builds(Taken, TEXTS, NUMBERS),
    Drain: st.builds(Drain),
    Canary: st.builds(Canary, NUMBERS),
    Marker: st.builds(Marker, NUMBERS),
}
PAYLOADS = st.one_of(*KINDS.values())
TAGS = "ejrlcdxanwtgym"

# What python-socketio's JSON and this kit's agree on: JSON's own values.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
WITH_BYTES = st.recursive(
    st.none() | st.integers(-9, 9) | TEXTS | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
NAMESPACES = st.sampled_from(["/", "/lobby", "/a-b/c", "/12", "/한글"])


def test_every_kind_of_payload_is_tried() -> None:
    assert set(KINDS) | {Unknown} == set(Payload.__args__)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@light
@given(data=st.data())
def test_a_payload_survives_its_way(kind: type, data: st.DataObject) -> None:
    payload = data.draw(KINDS[kind])
    body = encode_body(payload)
    assert body[:1].decode() in TAGS
    assert decode_body(body) == payload
    assert type(decode_body(body)) is kind


@light
@given(PAYLOADS, st.integers(0, 2**53), st.none() | st.integers(0, 2**53))
def test_an_entry_survives_its_way(payload: Payload, clock: int, prev: int | None) -> None:
    data = b"%d %b %b" % (clock, b"-" if prev is None else b"%d" % prev, encode_body(payload))
    assert decode(data) == Entry(clock, prev, payload)


@light
@given(PACKETS, SIDS)
def test_an_event_is_encoded_alike_in_the_short_way(packet: Packet, skip: tuple[str, ...]) -> None:
    assert encode_event(packet, skip) == encode_body(Event(packet, skip=skip))
    assert encode_event(packet) == encode_body(Event(packet))


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (Event(Packet('2["x"]')), b'e -\n2["x"]'),
        (Event(Packet('2["x"]'), skip=("s",)), b'e {"skip":["s"]}\n2["x"]'),
        (Joined("s", "n", "node"), b'j {"sid":"s","nickname":"n","node_id":"node"}\n'),
        (Left("s"), b'l {"sid":"s"}\n'),
        (Closed(), b"c -\n"),
        (Taken("s", 2), b't {"sid":"s","generation":2}\n'),
        (Ask("n", 1, Packet("2[]")), b'a {"node_id":"n","ask_id":1}\n2[]'),
        (Event(Packet("51-[]", (b"ab",))), b'e {"sizes":[5,2]}\n51-[]ab'),
    ],
)
def test_a_body_leaves_out_what_is_the_default(payload: Payload, body: bytes) -> None:
    assert encode_body(payload) == body


@pytest.mark.parametrize(
    "body",
    [
        b"z -\n",
        b'z {"from": "a newer node"}\npayload',
        b'e {"to":["s"],"newer":1}\n2[]',
        b'd -\n2["no sid"]',
        b"d {",
        b'd {"sid":"s"}\n',
        b"e \xff\n",
        b"e -\n\xff",
        b"e {}",
        b"\n",
        b"",
    ],
)
def test_what_this_node_cannot_read_is_unknown(body: bytes) -> None:
    assert decode_body(body) == Unknown(body)


@light
@given(st.binary(max_size=60))
def test_garbage_is_unknown_or_no_entry_at_all(data: bytes) -> None:
    assert_readable(data)
    assert_readable(b"1 0 " + data)


@light
@given(st.sampled_from(TAGS), st.binary(max_size=40))
def test_garbage_behind_a_tag_is_unknown_or_no_entry_at_all(tag: str, data: bytes) -> None:
    assert_readable(b"1 - %b %b" % (tag.encode(), data))
    assert_readable(b"1 - %b -\n%b" % (tag.encode(), data))


FIELDS = st.dictionaries(
    st.sampled_from(
        ["sid", "nickname", "node_id", "ask_id", "to", "skip", "rooms", "number", "own", "room", "generation"]
    ),
    JSON,
    max_size=5,
)


@light
@given(st.sampled_from(TAGS), FIELDS, st.binary(max_size=20))
def test_wrong_fields_are_unknown_or_no_entry_at_all(tag: str, fields: Any, tail: bytes) -> None:
    assert_readable(b"1 - %b %b\n%b" % (tag.encode(), orjson.dumps(fields), tail))


@pytest.mark.parametrize(
    "body", [b"e 5\n", b"e null\n2[]", b'd "sid"\n2[]', b"m true\n", b'e {"sizes":[]}\n2[]'], ids=repr
)
def test_fields_that_are_no_object_are_unknown(body: bytes) -> None:
    assert decode_body(body) == Unknown(body)


def assert_readable(data: bytes) -> None:
    """It becomes an entry, or a ValueError; any other exception would end the listener."""
    try:
        entry = decode(data)
    except ValueError:
        return
    assert isinstance(entry, Entry)


# --- packets -----------------------------------------------------------------------------------------------

CLOCK = 1_790_000_000_000_000
PLACEHOLDER = '{"_placeholder":true,"num":0}'


@pytest.mark.parametrize(
    ("text", "offset", "expected"),
    [
        ('2["x"]', CLOCK, '2["x","1790000000000000"]'),
        ('2["x",1]', 7, '2["x",1,"7"]'),
        ('2["x","y"]', 7, '2["x","y","7"]'),
        ('2["x",[]]', 7, '2["x",[],"7"]'),
        ('2["x",null]', 7, '2["x",null,"7"]'),
        ('2/lobby,["x",{"a":"b"}]', 7, '2/lobby,["x",{"a":"b"},"7"]'),
        (f'51-["x",{PLACEHOLDER}]', 7, f'51-["x",{PLACEHOLDER},"7"]'),
        (f'51-/lobby,["x",{PLACEHOLDER},"y"]', 7, f'51-/lobby,["x",{PLACEHOLDER},"y","7"]'),
    ],
)
def test_an_offset_is_an_event_s_last_argument(text: str, offset: int, expected: str) -> None:
    assert marked(Packet(text, (b"1", b"2")), offset) == Packet(expected, (b"1", b"2"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('2["x"]', '2["x",null]'),
        ('2["x","y"]', '2["x","y",null]'),
        ('2["x",""]', '2["x","",null]'),
        (r'2["x","\""]', r'2["x","\"",null]'),
        ('2["x","]"]', '2["x","]",null]'),
        ('2/lobby,["x","7"]', '2/lobby,["x","7",null]'),
        (f'51-["x",{PLACEHOLDER},"y"]', f'51-["x",{PLACEHOLDER},"y",null]'),
    ],
)
def test_a_string_that_is_no_offset_is_never_an_event_s_last_argument(text: str, expected: str) -> None:
    assert marked(Packet(text, (b"1", b"2")), NO_OFFSET) == Packet(expected, (b"1", b"2"))


@pytest.mark.parametrize(
    "text",
    [
        '2["x",1]',
        '2["x",null]',
        '2["x",["y"]]',
        '2["x",{"a":"b"}]',
        f'51-["x","y",{PLACEHOLDER}]',
        '2/lobby,["x",{}]',
    ],
)
def test_an_event_without_an_offset_that_ends_with_no_string_stays_as_it_is(text: str) -> None:
    packet = Packet(text, (b"1",))
    assert marked(packet, NO_OFFSET) is packet


@pytest.mark.parametrize("text", ['27["x"]', '27["x","y"]', '2/lobby,7["x",1]', f'51-7["x",{PLACEHOLDER},"y"]'])
def test_an_event_that_asks_for_an_acknowledgement_stays_as_it_is(text: str) -> None:
    packet = Packet(text, (b"1",))
    assert marked(packet, UNMARKED) is packet


def stock_offset(packet: Packet) -> Any:
    """What socket.io-client takes for the offset (`Socket.emitEvent`): the data's last one, if it is a string."""
    last = as_socketio(packet).data[-1]
    return last if isinstance(last, str) else None


@light
@given(NAMESPACES, TEXTS, st.lists(WITH_BYTES, max_size=3), NUMBERS)
def test_a_stock_client_finds_every_offset_and_takes_nothing_else_for_one(
    namespace: str, event: str, args: Any, offset: int
) -> None:
    packet = encoded(namespace, [event, *args])
    found = marked(packet, offset)
    assert stock_offset(found) == (str(offset) if offset else None)
    expected = [event, *args, str(offset)] if offset else [event, *args]
    assert as_socketio(found).data[: len(expected)] == expected
    assert as_socketio(found).data[len(expected) :] in ([], [None])


def as_socketio(packet: Packet) -> SocketioPacket:
    """The packet as python-socketio decodes it."""
    decoded = SocketioPacket(encoded_packet=packet.text)
    for attachment in packet.attachments:
        decoded.add_attachment(attachment)
    return decoded


def encoded(namespace: str, data: list[Any], ack_id: int | None = None) -> Packet:
    """The packet as python-socketio encodes it."""
    parts = SocketioPacket(EVENT, data=data, namespace=namespace, id=ack_id).encode()
    return Packet(parts) if isinstance(parts, str) else Packet(parts[0], tuple(parts[1:]))


@light
@given(NAMESPACES, TEXTS, st.lists(JSON, max_size=3))
def test_an_event_means_what_python_socketio_would_have_sent(namespace: str, event: str, args: Any) -> None:
    ours = as_socketio(event_packet(namespace, event, *args))
    theirs = as_socketio(encoded(namespace, [event, *args]))
    assert (ours.packet_type, ours.namespace, ours.id) == (EVENT, theirs.namespace, None)
    assert ours.data == theirs.data == [event, *args]


@pytest.mark.parametrize(("namespace", "text"), [("/", '2["x",{"a":[1]}]'), ("/lobby", '2/lobby,["x",{"a":[1]}]')])
def test_an_event_is_compact(namespace: str, text: str) -> None:
    assert event_packet(namespace, "x", {"a": (1,)}).text == text


@pytest.mark.parametrize("wrong", ["\ud800", b"bytes", {1, 2}, object()], ids=lambda wrong: type(wrong).__name__)
def test_what_json_cannot_hold_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError):
        event_packet("/", "x", wrong)


def test_keys_that_are_no_text_are_written_as_python_writes_them() -> None:
    value = {7: "a", True: "b", None: "c", 1.5: "d"}
    assert from_json(to_json(value)) == json.loads(json.dumps(value))


@light
@given(NAMESPACES, TEXTS, st.lists(WITH_BYTES, max_size=3), st.integers(0, 2**31))
def test_an_acknowledgement_is_asked_for_in_any_namespace_and_with_attachments(
    namespace: str, event: str, args: Any, ack_id: int
) -> None:
    asked = as_socketio(with_ack_id(encoded(namespace, [event, *args]), namespace, ack_id))
    assert (asked.namespace or "/", asked.id, asked.data) == (namespace, ack_id, [event, *args])
    assert with_ack_id(encoded(namespace, [event, *args]), namespace, ack_id) == encoded(
        namespace, [event, *args], ack_id
    )
