"""Frames as a server sends them, in whatever pieces they arrive, against a reader that is plain and slow."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.client.errors import ProtocolViolation, ServerClosed
from loadtest.client.frames import BINARY_MARK, FrameReader, client_frame
from tests.support.raw_websocket import BINARY, CLOSE, CONTINUATION, FINAL, PING, PONG, TEXT, masked, server_frame

LONG = b"x" * 70_000
EVENT = b'42["broadcast_msg",{"msg":"' + b"m" * 120 + b'"}]'


def part(opcode: int, payload: bytes, *, final: bool) -> bytes:
    """A frame of a message in several."""
    whole = server_frame(opcode, payload)
    return bytes((whole[0] & ~FINAL | (FINAL if final else 0),)) + whole[1:]


def in_parts(opcode: int, payload: bytes, cuts: list[int], between: bytes = b"") -> bytes:
    """A message in frames, with `between` after each but the last."""
    places = [0, *sorted(min(cut, len(payload)) for cut in cuts), len(payload)]
    pieces = [payload[start:end] for start, end in itertools.pairwise(places)]
    last = len(pieces) - 1
    frames = [
        part(CONTINUATION if number else opcode, piece, final=number == last)
        for number, piece in enumerate(pieces)
    ]
    return between.join(frames)


def read(*chunks: bytes) -> tuple[list[bytes], FrameReader]:
    reader = FrameReader()
    return [message for chunk in chunks for message in reader.feed(chunk)], reader


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes], list[bytes]]:
    """What a server sends, the messages in it, and the pings in it."""
    wire, messages, pings = b"", [], []
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["text", "text", "text", "binary", "ping", "pong"]))
        payload = draw(
            st.one_of(st.binary(max_size=130), st.sampled_from([EVENT, LONG, b"2", b"x" * 125, b"x" * 126]))
        )
        ping = server_frame(PING, payload[:125])
        if kind == "ping":
            wire += ping
            pings.append(payload[:125])
        elif kind == "pong":
            wire += server_frame(PONG, payload[:125])
        else:
            cuts = draw(st.lists(st.integers(0, len(payload)), max_size=3))
            between = draw(st.sampled_from([b"", ping]))
            wire += in_parts(TEXT if kind == "text" else BINARY, payload, cuts, between)
            pings += [payload[:125]] * (len(cuts) if between else 0)
            messages.append(payload if kind == "text" else BINARY_MARK + payload)
    return wire, messages, pings


@given(streams(), st.lists(st.integers(0, 200_000), max_size=6))
def test_messages_are_the_same_however_the_bytes_are_cut(
    stream: tuple[bytes, list[bytes], list[bytes]], cuts: list[int]
) -> None:
    wire, messages, pings = stream
    places = [0, *sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]
    found, reader = read(*(wire[start:end] for start, end in itertools.pairwise(places) if start < end))
    assert found == messages
    assert (reader.pings or []) == pings
    assert reader.ended is None and reader.between


def test_frames_are_found_when_split_at_every_byte() -> None:
    wire = (
        server_frame(TEXT, EVENT)
        + server_frame(TEXT, b"2")
        + in_parts(TEXT, b"in parts", [3], server_frame(PING, b"p"))
        + server_frame(TEXT, b"y" * 70_000)[:]
        + server_frame(TEXT, b"last")
    )
    expected = [EVENT, b"2", b"in parts", b"y" * 70_000, b"last"]
    for cut in [*range(len(EVENT) + 60), *range(len(wire) - 20, len(wire))]:
        assert read(wire[:cut], wire[cut:])[0] == expected
    assert read(*(wire[at : at + 1] for at in range(400)))[0] == expected[:3]


def test_a_reader_holds_nothing_between_messages() -> None:
    _, reader = read(server_frame(TEXT, EVENT) * 5)
    assert reader.between
    reader.feed(server_frame(TEXT, EVENT)[:7])
    assert not reader.between
    reader.feed(server_frame(TEXT, EVENT)[7:])
    assert reader.between


def illegal() -> Iterator[object]:
    def case(name: str, wire: bytes) -> object:
        return pytest.param(wire, id=name)

    yield case("reserved bits", b"\xc1\x01x")
    yield case("unknown opcode", b"\x83\x01x")
    yield case("unknown control opcode", b"\x8b\x00")
    yield case("masked", b"\x81\x81abcd" + masked(b"x", b"abcd"))
    yield case("a control frame in parts", b"\x09\x00")
    yield case("a long control frame", b"\x89\x7e\x00\x80" + b"x" * 128)
    yield case("a continuation of nothing", b"\x80\x01x")
    yield case("a message within another", b"\x01\x01x" + server_frame(TEXT, b"y"))
    yield case("a short length in two bytes", b"\x81\x7e\x00\x05hello")
    yield case("a short length in eight bytes", b"\x81\x7f" + (200).to_bytes(8, "big") + b"x" * 200)
    yield case("a length without end", b"\x81\x7f" + b"\xff" * 8)
    yield case("a close code of one byte", b"\x88\x01x")


@pytest.mark.parametrize("wire", list(illegal()))
def test_what_is_illegal_ends_the_reading_and_says_why(wire: bytes) -> None:
    for chunks in ([server_frame(TEXT, b"before") + wire], [wire[at : at + 1] for at in range(len(wire))]):
        messages, reader = read(*chunks)
        assert isinstance(reader.ended, ProtocolViolation)
        assert "expected" in str(reader.ended) and "got" in str(reader.ended)
        assert messages == ([b"before"] if len(chunks) == 1 else [])
        assert reader.feed(server_frame(TEXT, b"after")) == []


def test_a_message_may_not_be_larger_than_the_limit_in_one_frame_or_in_many() -> None:
    reader = FrameReader(1000)
    assert reader.feed(server_frame(TEXT, b"x" * 1000)) == [b"x" * 1000]
    reader.feed(server_frame(TEXT, b"x" * 1001)[:10])
    assert isinstance(reader.ended, ProtocolViolation) and "1,001 bytes" in str(reader.ended)
    reader = FrameReader(1000)
    reader.feed(part(TEXT, b"x" * 600, final=False))
    assert reader.ended is None
    reader.feed(part(CONTINUATION, b"x" * 600, final=False))
    assert isinstance(reader.ended, ProtocolViolation) and "1,200 bytes" in str(reader.ended)


def test_a_huge_message_in_many_reads_is_put_together_once() -> None:
    wire = server_frame(TEXT, b"z" * (48 << 20))
    step = 65536
    messages, _ = read(*(wire[at : at + step] for at in range(0, len(wire), step)))
    assert [len(message) for message in messages] == [48 << 20]


@pytest.mark.parametrize(
    ("payload", "told"),
    [(b"", "code 1005"), ((1001).to_bytes(2, "big") + b"going away", "code 1001 going away")],
)
def test_a_close_frame_is_told_with_its_code_behind_what_came_before(payload: bytes, told: str) -> None:
    messages, reader = read(
        server_frame(TEXT, b"before") + server_frame(CLOSE, payload) + server_frame(TEXT, b"after")
    )
    assert messages == [b"before"]
    assert isinstance(reader.ended, ServerClosed) and str(reader.ended).endswith(told)


@given(st.binary(max_size=300) | st.just(LONG))
def test_what_is_sent_is_masked_and_whole(payload: bytes) -> None:
    frame = client_frame(TEXT, payload)
    head = len(server_frame(TEXT, payload)) - len(payload)
    assert frame[0] == FINAL | TEXT and frame[1] & 0x80
    assert (
        frame[1] & 0x7F == server_frame(TEXT, payload)[1] and frame[2:head] == server_frame(TEXT, payload)[2:head]
    )
    assert masked(frame[head + 4 :], frame[head : head + 4]) == payload
