"""Frames: byte for byte what RFC 6455 says, whatever a client sends and however the network cuts it."""

import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, pairwise
from types import FrameType
from typing import Any, SupportsIndex, overload

import pytest
import websockets.utils
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from app.transport import frames
from app.transport.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameReader,
    binary_frame,
    close_code,
    close_frame,
    control_frame,
    text_frame,
)

light = settings(max_examples=200, deadline=None, database=None, derandomize=True)

MAX_BYTES = 4_000_000
SIZES = (0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000)
HEADS = {  # of an unmasked final text frame, written out by hand
    0: "81 00",
    1: "81 01",
    125: "81 7d",
    126: "81 7e 00 7e",
    127: "81 7e 00 7f",
    65_535: "81 7e ff ff",
    65_536: "81 7f 00 00 00 00 00 01 00 00",
    1_000_000: "81 7f 00 00 00 00 00 0f 42 40",
}
WORDS = ("안녕하세요", "👩‍👩‍👧‍👦 🇰🇷 🤷🏽‍♀️", "é", "汉" * 21_846, "")
MASK = b"\x37\xfa\x21\x3d"  # of RFC 6455, 5.7
CONTINUATION = 0

Message = tuple[int, str | bytes]


def masked(opcode: int, payload: bytes = b"", *, final: bool = True, mask: bytes = MASK) -> bytes:
    """A client's frame, made as plainly as the RFC tells it."""
    size = len(payload)
    if size < 126:
        sizes = bytes((0x80 | size,))
    elif size < 65_536:
        sizes = b"\xfe" + size.to_bytes(2, "big")
    else:
        sizes = b"\xff" + size.to_bytes(8, "big")
    hidden = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes((0x80 * final | opcode,)) + sizes + mask + hidden


def announced(opcode: int, size: int, *, final: bool = True) -> bytes:
    """The head alone of a client's frame that needs 8 bytes for its size."""
    return bytes((0x80 * final | opcode, 0xFF)) + size.to_bytes(8, "big")


def read(data: bytes, max_bytes: int = MAX_BYTES) -> list[Message]:
    return list(FrameReader(max_bytes).feed(data))


def read_in(chunks: Iterable[bytes], reader: FrameReader) -> list[Message]:
    return [message for chunk in chunks for message in reader.feed(chunk)]


def in_chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def until_refused(reader: FrameReader, data: bytes) -> tuple[list[Message], FrameError]:
    """What came before the error, and the error."""
    messages: list[Message] = []
    with pytest.raises(FrameError) as refused:
        for message in reader.feed(data):
            messages.append(message)
    return messages, refused.value


def refusal(data: bytes, max_bytes: int = MAX_BYTES) -> FrameError:
    messages, error = until_refused(FrameReader(max_bytes), data)
    assert messages == []
    return error


def client() -> ClientProtocol:
    """The client's end of an open connection, by websockets."""
    return ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=None)


def sent(client: ClientProtocol) -> bytes:
    return b"".join(client.data_to_send())


def text_of(size: int) -> bytes:
    """A client's text frame of that many bytes."""
    sending = client()
    sending.send_text(b"x" * size)
    return sent(sending)


def held_bytes(reader: FrameReader) -> int:
    """Memory of a reader and of all that only it refers to."""
    held = gc.get_referents(reader)
    own = [data for data in held if isinstance(data, bytearray) or (isinstance(data, bytes) and data)]
    return sys.getsizeof(reader) + sum(map(sys.getsizeof, own))


# --- to the client -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_a_text_frame_is_its_head_and_its_payload(size: int) -> None:
    assert text_frame(b"a" * size) == bytes.fromhex(HEADS[size]) + b"a" * size


@pytest.mark.parametrize("size", SIZES)
def test_a_binary_frame_differs_in_its_opcode_only(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    head = bytes.fromhex(HEADS[size])
    assert binary_frame(payload[:size]) == b"\x82" + head[1:] + payload[:size]


@pytest.mark.parametrize("size", SIZES)
def test_data_frames_are_those_of_websockets(size: int) -> None:
    payload = b"\x00\xff" * (size // 2) + b"z" * (size % 2)
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
    assert binary_frame(payload) == Frame(Opcode.BINARY, payload).serialize(mask=False)


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word[:8])
def test_a_client_reads_the_text_that_was_framed(word: str) -> None:
    reading = client()
    reading.receive_data(text_frame(word.encode()) + binary_frame(word.encode()))
    text, binary = reading.events_received()
    assert isinstance(text, Frame)
    assert isinstance(binary, Frame)
    assert (text.opcode, bytes(text.data).decode()) == (TEXT, word)
    assert (binary.opcode, bytes(binary.data).decode()) == (BINARY, word)


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
@pytest.mark.parametrize("payload", [b"", b"?", b"x" * 125], ids=len)
def test_control_frames_are_those_of_websockets(opcode: int, payload: bytes) -> None:
    assert control_frame(opcode, payload) == Frame(Opcode(opcode), payload).serialize(mask=False)


def test_a_control_frame_has_no_payload_unless_given_one() -> None:
    assert control_frame(PING) == b"\x89\x00"


@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY, 3, 11, 16])
def test_a_control_frame_of_another_opcode_is_not_made(opcode: int) -> None:
    with pytest.raises(ValueError, match=f"got {opcode}"):
        control_frame(opcode)


def test_a_control_frame_of_126_bytes_is_not_made() -> None:
    with pytest.raises(ValueError, match="got 126"):
        control_frame(PING, b"x" * 126)


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1009, 1011, 1013, 3000, 4999])
def test_a_close_frame_is_that_of_websockets(code: int) -> None:
    theirs = Frame(Opcode.CLOSE, Close(code, "안녕").serialize()).serialize(mask=False)
    assert close_frame(code, "안녕") == theirs


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65_536])
def test_a_close_code_that_must_not_be_sent_is_not_sent(code: int) -> None:
    with pytest.raises(ValueError, match=f"got {code}"):
        close_frame(code)


def test_the_close_frame_for_no_code_is_empty() -> None:
    assert close_frame(1005, "not sent") == b"\x88\x00"


@pytest.mark.parametrize(
    ("reason", "left"),
    [
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("안" * 42, "안" * 41),  # 3 bytes each, 123 is 41 of them
        ("x" + "안" * 42, "x" + "안" * 40),
        ("😀" * 31, "😀" * 30),
        ("\ud800", "?"),  # half a character: UTF-8 has no bytes for it
    ],
    ids=["whole", "cut", "between", "in a character", "in an emoji", "surrogate"],
)
def test_a_long_reason_is_cut_between_characters(reason: str, left: str) -> None:
    payload = close_frame(1000, reason)[2:]
    assert payload == b"\x03\xe8" + left.encode()
    assert len(payload) <= 125
    assert close_code(payload) == 1000


# --- close codes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_the_code_of_a_close_frame_is_read(code: int) -> None:
    assert close_code(code.to_bytes(2, "big")) == code
    assert close_code(code.to_bytes(2, "big") + "이유".encode()) == code


def test_no_code_is_read_as_1005() -> None:
    assert close_code(b"") == 1005


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
def test_a_close_code_that_nobody_may_send_is_a_protocol_error(code: int) -> None:
    with pytest.raises(FrameError) as refused:
        close_code(code.to_bytes(2, "big"))
    assert refused.value.code == 1002


def test_half_a_close_code_is_a_protocol_error() -> None:
    with pytest.raises(FrameError) as refused:
        close_code(b"\x03")
    assert refused.value.code == 1002


def test_a_reason_that_is_no_utf_8_is_invalid_text() -> None:
    with pytest.raises(FrameError) as refused:
        close_code(b"\x03\xe8\xff")
    assert refused.value.code == 1007


# --- from the client ---------------------------------------------------------------------------------------


def test_the_rfcs_own_example_is_read() -> None:
    assert read(bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58")) == [(TEXT, "Hello")]


@pytest.mark.parametrize("size", SIZES)
def test_every_size_of_message_is_read(size: int) -> None:
    text, binary = "a" * size, bytes(size)
    sending = client()
    sending.send_text(text.encode())
    sending.send_binary(binary)
    assert read(sent(sending)) == [(TEXT, text), (BINARY, binary)]


@pytest.mark.parametrize("size", SIZES)
def test_a_message_alone_in_its_chunk_is_read(size: int) -> None:
    assert read(masked(TEXT, b"a" * size)) == [(TEXT, "a" * size)]


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word[:8])
def test_text_of_any_script_is_read(word: str) -> None:
    sending = client()
    sending.send_text(word.encode())
    assert read(sent(sending)) == [(TEXT, word)]


@pytest.mark.parametrize("mask", [bytes(4), b"\xff" * 4, b"\x00\x01\x02\x03"], ids=bytes.hex)
def test_any_mask_is_taken_off(mask: bytes) -> None:
    payload = bytes(range(256))
    assert read(masked(BINARY, payload, mask=mask)) == [(BINARY, payload)]


def test_a_fragmented_text_may_split_a_character() -> None:
    start, rest = masked(TEXT, b"\xec\x95", final=False), masked(CONTINUATION, b"\x88")
    assert read(start + rest) == [(TEXT, "안")]


def test_control_frames_between_fragments_come_before_the_message() -> None:
    data = (
        masked(TEXT, b"Hel", final=False)
        + masked(PING, b"1")
        + masked(CONTINUATION, final=False)
        + masked(PONG, b"2")
        + masked(CONTINUATION, b"lo")
    )
    assert read(data) == [(PING, b"1"), (PONG, b"2"), (TEXT, "Hello")]


def test_a_message_of_empty_fragments_is_empty() -> None:
    parts = masked(CONTINUATION, final=False) * 3 + masked(CONTINUATION)
    assert read(masked(TEXT, final=False) + parts) == [(TEXT, "")]
    assert read(masked(BINARY, final=False) + parts) == [(BINARY, b"")]


def test_a_message_may_follow_a_fragmented_one() -> None:
    fragmented = masked(BINARY, b"a", final=False) + masked(CONTINUATION, b"b")
    assert read(fragmented + masked(TEXT, b"c")) == [(BINARY, b"ab"), (TEXT, "c")]


def test_nothing_is_read_behind_a_close() -> None:
    reader = FrameReader(MAX_BYTES)
    close = masked(CLOSE, b"\x03\xe8")
    assert list(reader.feed(close + masked(TEXT, b"late") + b"\xff\xff")) == [(CLOSE, b"\x03\xe8")]
    assert list(reader.feed(masked(TEXT, b"later"))) == []
    assert list(reader.feed(b"\xff" * 100)) == []
    assert held_bytes(reader) == held_bytes(FrameReader(MAX_BYTES))


def test_a_close_in_the_middle_of_a_message_ends_it() -> None:
    reader = FrameReader(MAX_BYTES)
    assert list(reader.feed(masked(TEXT, b"Hel", final=False) + masked(CLOSE))) == [(CLOSE, b"")]
    assert list(reader.feed(masked(CONTINUATION, b"lo"))) == []


def test_everything_is_read_without_the_c_extension_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "apply_mask", websockets.utils.apply_mask)
    assert read(masked(TEXT, "안녕".encode()) + masked(BINARY, b"x" * 20_001)) == [
        (TEXT, "안녕"),
        (BINARY, b"x" * 20_001),
    ]


# --- however it is cut -------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
LONG = st.sampled_from([124, 125, 126, 127, 65_535, 65_536, 70_000])
PAYLOADS: st.SearchStrategy[Message] = st.one_of(
    TEXTS.map(lambda text: (TEXT, text)),
    st.binary(max_size=300).map(lambda data: (BINARY, data)),
    LONG.map(lambda size: (TEXT, "é" * (size // 2) + "z" * (size % 2))),
    LONG.map(lambda size: (BINARY, b"\x80" * size)),
)
CONTROLS: st.SearchStrategy[Message] = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))
CUTS = st.lists(st.floats(0, 1), max_size=4)


def pieces(data: bytes, cuts: Iterable[float]) -> list[bytes]:
    """`data` cut at these parts of its length."""
    ends = sorted(int(cut * len(data)) for cut in cuts)
    return [data[start:end] for start, end in pairwise([0, *ends, len(data)])]


def as_bytes(payload: str | bytes) -> bytes:
    return payload.encode() if isinstance(payload, str) else payload


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[Message]]:
    """What a client sends, as websockets puts it into frames, and what is to be read from it."""
    sending, expected = client(), []
    for opcode, payload in draw(st.lists(PAYLOADS, max_size=5)):
        send = sending.send_text if opcode == TEXT else sending.send_binary
        parts = pieces(as_bytes(payload), draw(CUTS))
        for number, part in enumerate(parts, 1):
            (send if number == 1 else sending.send_continuation)(part, number == len(parts))
            if number < len(parts):
                expected += controls(draw, sending)
        expected += [(opcode, payload), *controls(draw, sending)]
    return sent(sending), expected


def controls(draw: st.DrawFn, sending: ClientProtocol) -> list[Message]:
    """Pings and pongs, sent here and now."""
    drawn = draw(st.lists(CONTROLS, max_size=2))
    for opcode, payload in drawn:
        (sending.send_ping if opcode == PING else sending.send_pong)(as_bytes(payload))
    return drawn


@light
@given(conversations(), st.lists(st.floats(0, 1), max_size=12))
def test_messages_come_out_the_same_however_fragmented_and_cut(
    conversation: tuple[bytes, list[Message]], cuts: list[float]
) -> None:
    data, expected = conversation
    messages = read_in(pieces(data, cuts), FrameReader(MAX_BYTES))
    assert messages == expected
    assert [type(payload) for _, payload in messages] == [type(payload) for _, payload in expected]


@light
@given(conversations(), st.lists(st.floats(0, 1), max_size=12), st.lists(st.integers(1, 3), min_size=1))
def test_what_an_iterator_left_comes_out_of_the_next(
    conversation: tuple[bytes, list[Message]], cuts: list[float], taken: list[int]
) -> None:
    data, expected = conversation
    reader = FrameReader(MAX_BYTES)
    messages: list[Message] = []
    for number, chunk in enumerate(pieces(data, cuts) + [b""] * len(expected)):
        messages += islice(reader.feed(chunk), taken[number % len(taken)])
    assert messages == expected


@light
@given(st.binary(max_size=400), st.lists(st.floats(0, 1), max_size=5))
def test_any_bytes_mean_the_same_however_they_are_cut(data: bytes, cuts: list[float]) -> None:
    assert outcome([data]) == outcome(pieces(data, cuts)) == outcome(in_chunks(data, 1))


@light
@given(conversations(), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_one_wrong_bit_means_the_same_however_it_is_cut(
    conversation: tuple[bytes, list[Message]], where: float, bit: int
) -> None:
    data = bytearray(conversation[0] or b"\x00")
    data[int(where * min(len(data), 1000))] ^= 1 << bit
    assert outcome([bytes(data)]) == outcome(in_chunks(bytes(data), 1009))


def outcome(chunks: Iterable[bytes]) -> list[tuple[Any, ...]]:
    """What is read, then the code and the words of a refusal."""
    messages: list[tuple[Any, ...]] = []
    reader = FrameReader(MAX_BYTES)
    try:
        for chunk in chunks:
            for message in reader.feed(chunk):
                messages.append(message)
    except FrameError as error:
        messages.append((error.code, str(error)))
    return messages


def test_two_iterators_take_turns_without_a_loss() -> None:
    reader = FrameReader(MAX_BYTES)
    first = reader.feed(b"".join(masked(TEXT, b"%d" % number) for number in range(4)))
    assert next(first) == (TEXT, "0")
    second = reader.feed(masked(TEXT, b"4"))
    assert [next(second), next(first), next(second), next(first)] == [(TEXT, str(n)) for n in (1, 2, 3, 4)]
    assert list(first) == list(second) == []


def test_an_iterator_left_at_a_half_frame_loses_nothing() -> None:
    reader = FrameReader(MAX_BYTES)
    data = masked(TEXT, b"one") + masked(TEXT, b"two") + masked(BINARY, b"three")
    assert next(reader.feed(data[:-3])) == (TEXT, "one")
    assert list(reader.feed(b"")) == [(TEXT, "two")]
    assert list(reader.feed(b"")) == []
    assert list(reader.feed(data[-3:])) == [(BINARY, b"three")]


def test_a_big_message_of_before_does_not_hold_up_small_ones() -> None:
    reader, two = FrameReader(MAX_BYTES), masked(TEXT, b"x") * 2
    assert len(read_in(in_chunks(text_of(70_000), 1400), reader)) == 1
    for _ in range(3):
        assert next(reader.feed(two)) == (TEXT, "x")
    assert list(reader.feed(b"")) == [(TEXT, "x")] * 3


def test_a_reader_that_was_resumed_is_idle_again() -> None:
    reader = FrameReader(MAX_BYTES)
    assert next(reader.feed(masked(TEXT, b"one") + masked(TEXT, b"two"))) == (TEXT, "one")
    assert list(reader.feed(b"")) == [(TEXT, "two")]
    assert held_bytes(reader) == held_bytes(FrameReader(MAX_BYTES))


# --- what breaks the protocol ------------------------------------------------------------------------------

VIOLATIONS = {
    "first reserved bit": b"\xc1" + masked(TEXT, b"x")[1:],
    "second reserved bit": b"\xa1" + masked(TEXT, b"x")[1:],
    "third reserved bit": b"\x91" + masked(TEXT, b"x")[1:],
    "reserved bit of a ping": b"\xc9" + masked(PING, b"x")[1:],
    "reserved bit of a continuation": masked(TEXT, b"x", final=False) + b"\x40" + masked(CONTINUATION)[1:],
    **{f"opcode {opcode}": masked(opcode, b"x") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "text without a mask": text_frame(b"x"),
    "long text without a mask": text_frame(b"x" * 126),
    "ping without a mask": control_frame(PING),
    "fragment of a close": masked(CLOSE, final=False),
    "fragment of a ping": masked(PING, final=False),
    "fragment of a pong": masked(PONG, final=False),
    "close of 126 bytes": masked(CLOSE, b"x" * 126),
    "ping of 126 bytes": masked(PING, b"x" * 126),
    "pong of 65,536 bytes": masked(PONG, b"x" * 65_536),
    "ping of few bytes in the long form": b"\x89\xfe\x00\x01" + MASK + b"x",
    "continuation of nothing": masked(CONTINUATION, b"x"),
    "fragment that continues nothing": masked(CONTINUATION, b"x", final=False),
    "text within a text": masked(TEXT, b"x", final=False) + masked(TEXT, b"x"),
    "binary within a text": masked(TEXT, b"x", final=False) + masked(BINARY, b"x"),
    "fragmented text within a binary": masked(BINARY, b"", final=False) + masked(TEXT, b"x", final=False),
    "0 in 2 bytes": b"\x81\xfe\x00\x00" + MASK,
    "125 in 2 bytes": b"\x82\xfe\x00\x7d" + MASK,
    "0 in 8 bytes": announced(TEXT, 0) + MASK,
    "65,535 in 8 bytes": announced(BINARY, 65_535),
    "2**63": announced(BINARY, 1 << 63),
    "2**64 - 1": announced(TEXT, (1 << 64) - 1),
}


@pytest.mark.parametrize("data", VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_broken_rule_is_a_protocol_error(data: bytes) -> None:
    error = refusal(data)
    assert error.code == 1002
    assert "expected" in str(error)


@pytest.mark.parametrize("data", VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_broken_rule_takes_nothing_from_what_came_before(data: bytes) -> None:
    before = masked(TEXT, b"one") + masked(PING) + masked(BINARY, b"two")
    reader = FrameReader(MAX_BYTES)
    messages, error = until_refused(reader, before + data + masked(TEXT, b"late"))
    assert messages == [(TEXT, "one"), (PING, b""), (BINARY, b"two")]
    assert error.code == 1002
    assert list(reader.feed(masked(TEXT, b"later"))) == []


@pytest.mark.parametrize("data", VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_broken_rule_is_seen_byte_by_byte_too(data: bytes) -> None:
    with pytest.raises(FrameError) as refused:
        read_in(in_chunks(data, 1), FrameReader(MAX_BYTES))
    assert refused.value.code == 1002


NOT_UTF_8 = (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xec\x95", b"ok\x80" + b"x" * 200)


@pytest.mark.parametrize("payload", NOT_UTF_8, ids=lambda payload: payload[:4].hex())
def test_text_that_is_no_utf_8_is_invalid_text(payload: bytes) -> None:
    assert refusal(masked(TEXT, payload)).code == 1007
    assert refusal(masked(TEXT, payload, final=False) + masked(CONTINUATION)).code == 1007
    assert read(masked(BINARY, payload)) == [(BINARY, payload)]


def test_invalid_text_takes_nothing_from_what_came_before() -> None:
    reader = FrameReader(MAX_BYTES)
    messages, error = until_refused(reader, masked(TEXT, b"fine") + masked(TEXT, b"\xff") + masked(TEXT, b"late"))
    assert messages == [(TEXT, "fine")]
    assert error.code == 1007
    assert list(reader.feed(masked(TEXT, b"later"))) == []


def test_a_refused_reader_holds_nothing() -> None:
    reader = FrameReader(MAX_BYTES)
    until_refused(reader, masked(TEXT, b"x" * 1000, final=False) + b"\xff" * 1000)
    assert held_bytes(reader) == held_bytes(FrameReader(MAX_BYTES))


# --- what is too big ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 1, 100, 125, 126, 300, 65_535, 65_536])
def test_a_message_may_have_the_size_of_the_limit_and_no_more(limit: int) -> None:
    assert read(masked(BINARY, b"x" * limit), limit) == [(BINARY, b"x" * limit)]
    assert read(masked(TEXT, b"x" * limit), limit) == [(TEXT, "x" * limit)]
    assert refusal(masked(BINARY, b"x" * (limit + 1)), limit).code == 1009
    assert refusal(masked(TEXT, b"x" * (limit + 1)), limit).code == 1009


@pytest.mark.parametrize("head", [b"\x82\xe4", b"\x82\xfe\x01\x00", announced(BINARY, 1 << 62)], ids=bytes.hex)
def test_a_message_too_big_is_refused_by_its_head_alone(head: bytes) -> None:
    assert refusal(head, 99).code == 1009
    assert list(FrameReader(99).feed(head[:-1])) == []


@pytest.mark.parametrize("size", [200 << 48, 65_535 << 32, 1 << 24])
def test_a_size_of_8_bytes_is_read_in_whole(size: int) -> None:
    assert refusal(announced(TEXT, size) + b"x" * 70_000).code == 1009


def test_fragments_are_too_big_together() -> None:
    start = masked(TEXT, b"x" * 60, final=False) + masked(PING, b"x" * 125)
    assert read(start + masked(CONTINUATION, b"x" * 40), 100)[-1] == (TEXT, "x" * 100)
    messages, error = until_refused(FrameReader(100), start + masked(CONTINUATION, b"x" * 41)[:2])
    assert messages == [(PING, b"x" * 125)]
    assert error.code == 1009


def test_control_frames_do_not_count_for_the_limit() -> None:
    assert read(masked(PING, b"x" * 125), 0) == [(PING, b"x" * 125)]


# --- what it costs -----------------------------------------------------------------------------------------


class Moved(bytes):
    """Bytes that count how many bytes are copied out of them, as does a bytearray that is made of them."""

    total = 0

    class Array(bytearray):
        def __init__(self, data: bytes = b"") -> None:
            super().__init__(data)
            Moved.total += len(data)

    @overload
    def __getitem__(self, key: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(found, int):
            return found
        return self if len(found) == len(self) else self._counted(found)  # the whole is not copied

    def __add__(self, other: Any) -> bytes:
        return self._counted(super().__add__(other))

    @staticmethod
    def _counted(data: bytes) -> bytes:
        Moved.total += len(data)
        return Moved(data)


def moved_bytes(chunks: Iterable[bytes]) -> int:
    """How many bytes are copied to read these chunks."""
    reader = FrameReader(MAX_BYTES)
    Moved.total = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "bytearray", Moved.Array, raising=False)
        read_in(map(Moved, chunks), reader)
    return Moved.total


def calls(work: Callable[[], Any]) -> int:
    """How many functions are called."""
    count = 0

    def step(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(step)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("size", [1, 3, 1400, 65_536])
def test_a_big_message_in_small_chunks_is_not_moved_again_with_each(size: int) -> None:
    data = text_of(1_000_000 if size > 3 else 100_000)
    chunks = list(in_chunks(data, size))
    assert moved_bytes(chunks) < 4 * len(data) + 14 * len(chunks)  # a head of 14 bytes


@pytest.mark.parametrize("fragment", [1, 1000])
def test_many_fragments_in_small_chunks_are_moved_a_few_times(fragment: int) -> None:
    parts = masked(CONTINUATION, b"x" * fragment, final=False) * (200_000 // (fragment + 6))
    data = masked(BINARY, final=False) + parts + masked(CONTINUATION)
    assert moved_bytes(in_chunks(data, 1400)) < 4 * len(data)


def test_a_chunk_of_a_big_message_costs_a_few_calls() -> None:
    reader, data = FrameReader(MAX_BYTES), text_of(1_000_000)
    chunks = list(in_chunks(data[:-1], 1400))
    assert calls(lambda: read_in(chunks, reader)) < 10 * len(chunks)


def test_many_messages_in_one_chunk_are_moved_once_each() -> None:
    data = (masked(TEXT, b"x" * 100) + masked(BINARY, b"y") + masked(PING)) * 2000
    assert moved_bytes([data]) < 2 * len(data)


def test_messages_left_for_later_are_not_moved_again_with_each_feed() -> None:
    chunk = masked(TEXT, b"x" * 50) * 20
    reader = FrameReader(MAX_BYTES)
    Moved.total = 0
    taken = [next(reader.feed(Moved(chunk if number < 100 else b""))) for number in range(2000)]
    assert taken == [(TEXT, "x" * 50)] * 2000
    assert Moved.total < 4 * 100 * len(chunk)


@pytest.mark.parametrize(
    "frame",
    [masked(TEXT, b"x"), masked(BINARY, b"x" * 200), masked(PING)],
    ids=["text", "binary", "ping"],
)
def test_each_frame_of_a_chunk_takes_the_same_work(frame: bytes) -> None:
    few, many = calls(lambda: read(frame * 10)), calls(lambda: read(frame * 1000))
    assert many <= few * 100


def test_an_idle_reader_holds_less_than_a_hundred_bytes() -> None:
    reader = FrameReader(MAX_BYTES)
    assert not hasattr(reader, "__dict__")
    idle = held_bytes(reader)
    assert idle <= 100
    fragmented = masked(BINARY, b"x" * 9000, final=False) + masked(CONTINUATION, b"y" * 9000)
    read_in(in_chunks(fragmented + text_of(70_000) + masked(TEXT, b"x") * 9, 1400), reader)
    assert held_bytes(reader) == idle


def test_the_start_of_a_frame_does_not_keep_the_chunk_it_came_in() -> None:
    reader = FrameReader(MAX_BYTES)
    for _ in reader.feed(masked(TEXT, b"x" * 50) * 1000 + masked(TEXT, b"x" * 50)[:9]):
        pass
    assert held_bytes(reader) < 200


@pytest.mark.parametrize("payload", [b"", b"x"], ids=["empty", "tiny"])
def test_an_endless_stream_of_fragments_holds_only_what_they_carry(payload: bytes) -> None:
    reader = FrameReader(MAX_BYTES)
    stream = chain([masked(TEXT, final=False)], [masked(CONTINUATION, payload, final=False) * 100] * 100)
    assert read_in(stream, reader) == []
    assert held_bytes(reader) < 400 + 2 * len(payload) * 10_000


def test_a_frame_that_trickles_in_holds_only_its_bytes() -> None:
    reader = FrameReader(MAX_BYTES)
    assert read_in(in_chunks(text_of(100_000)[:-1], 2), reader) == []
    assert held_bytes(reader) < 150_000
