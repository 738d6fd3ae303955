"""What the load client counts is what was sent, however it is cut into chunks."""

import contextlib
import select
import socket
from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from loadtest.bench.client import chat
from loadtest.bench.client.bulk import BulkReader, MarkerCounter
from loadtest.bench.client.errors import Violation
from loadtest.bench.client.frames import PING, PONG, unmasked

MESSAGE = chat.said(1, 2)
SHORT = unmasked(b'42["changename",{"nickname":"n"}]')
LONG = unmasked(b'42["userlist",{"users":["%b"]}]' % (b"u" * 400))
FRAMES = st.lists(st.sampled_from([MESSAGE] * 3 + [PING, SHORT, LONG]), max_size=12)
CUTS = st.lists(st.integers(1, len(MESSAGE) * 2), min_size=1, max_size=80)


class Member:
    """One connection to a reader, and its other end."""

    def __init__(self) -> None:
        self.own, self.far = socket.socketpair()
        self.epoll = select.epoll()
        self.own.setblocking(False)
        self.far.setblocking(False)
        self.epoll.register(self.own.fileno(), select.EPOLLIN)
        self.reader = BulkReader([self.own], self.epoll, MESSAGE)

    def close(self) -> None:
        for each in (self.own, self.far, self.epoll):
            each.close()


@contextlib.contextmanager
def joined() -> Iterator[Member]:
    member = Member()
    try:
        yield member
    finally:
        member.close()


def chunks(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """All of `data`, in pieces whose sizes repeat."""
    at, turn = 0, 0
    while at < len(data):
        yield data[at : at + cuts[turn % len(cuts)]]
        at, turn = at + cuts[turn % len(cuts)], turn + 1


def unmistakable(frames: list[bytes]) -> bool:
    """Whether what is no message can not, by its length, pass for some messages; the totals would show that."""
    return sum(len(each) % len(MESSAGE) for each in frames if each != MESSAGE) < len(MESSAGE)


@given(FRAMES, CUTS)
@settings(deadline=None)
def test_messages_are_counted_and_pings_answered_whatever_the_chunks(frames: list[bytes], cuts: list[int]) -> None:
    assume(unmistakable(frames))
    with joined() as member:
        heard: list[bytes] = []
        member.reader.watch(member.own, heard.append)
        for chunk in chunks(b"".join(frames), cuts):
            member.far.send(chunk)
            member.reader.poll(1)
        assert member.reader.total_bytes == frames.count(MESSAGE) * len(MESSAGE)
        assert member.reader.pings == frames.count(PING)
        assert member.reader.others == frames.count(SHORT) + frames.count(LONG)
        assert b"".join(heard) == b"".join(frames)
        member.reader.check_each(frames.count(MESSAGE))
        assert not frames.count(PING) or member.far.recv(1000) == PONG * frames.count(PING)


@given(FRAMES, CUTS)
@settings(deadline=None)
def test_every_message_arrives_once_where_times_are_taken(frames: list[bytes], cuts: list[int]) -> None:
    assume(unmistakable(frames))
    places: list[int] = []

    def arrived(fd: int, first: int, behind: int, now_ns: int) -> None:
        places.extend(range(first, behind))

    with joined() as member:
        for chunk in chunks(b"".join(frames), cuts):
            member.far.send(chunk)
            member.reader.poll_timed(1, arrived)
    assert places == list(range(frames.count(MESSAGE)))


@given(st.lists(st.sampled_from([b" #0001.", b" #0002.", b"#", b" ", b"0001."])), CUTS)
def test_a_marker_is_found_across_chunks(parts: list[bytes], cuts: list[int]) -> None:
    counter, data = MarkerCounter(chat.marker(1)), b"".join(parts)
    for chunk in chunks(data, cuts):
        counter.feed(chunk)
    assert counter.count == data.count(b" #0001.")


def test_a_marker_that_overlaps_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="overlaps"):
        MarkerCounter(b"abca")


def test_a_message_carries_its_senders_marker_once_and_no_others() -> None:
    for frame in (chat.said(12, 34), chat.shouted(12, 34)):
        assert frame.count(chat.marker(12)) == 1
        assert frame.count(chat.marker(34)) == 0


def test_all_messages_have_one_size() -> None:
    assert len({len(chat.said(number, turn)) for number in (0, 9999) for turn in (0, 9_999_999)}) == 1
    assert len(chat.message(1, 2)) == chat.MESSAGE_BYTES


def test_a_member_with_a_message_too_few_is_found() -> None:
    with joined() as member:
        member.far.send(MESSAGE)
        member.reader.poll(1)
        with pytest.raises(Violation, match="1 messages instead of 2"):
            member.reader.check_each(2)


def test_a_delivery_too_many_is_found() -> None:
    with joined() as member:
        member.far.send(MESSAGE * 2)
        with pytest.raises(Violation, match="1 deliveries too many"):
            member.reader.wait_for(len(MESSAGE))


def test_a_closed_connection_is_found() -> None:
    with joined() as member:
        member.far.shutdown(socket.SHUT_WR)
        with pytest.raises(Violation, match="closed"):
            member.reader.poll(1)


def test_a_close_frame_is_found() -> None:
    with joined() as member:
        member.far.send(b"\x88\x02\x03\xe8")
        with pytest.raises(Violation, match="0x88"):
            member.reader.poll(1)
