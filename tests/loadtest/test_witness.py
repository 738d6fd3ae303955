"""A witness finds what a contender could do wrong."""

import pytest

from loadtest.bench.client import chat
from loadtest.bench.client.errors import Violation
from loadtest.bench.client.frames import PING, unmasked
from loadtest.bench.client.witness import Said, Witness, check

SENT = {1: range(3), 2: range(5, 7)}
ORDER: list[Said] = [(1, 0), (2, 5), (1, 1), (1, 2), (2, 6)]


def heard(data: bytes) -> list[Said]:
    witness = Witness()
    for at in range(0, len(data), 50):
        witness.hear(data[at : at + 50])
    return witness.take()


def test_what_was_said_is_read_in_order() -> None:
    frames = [chat.said(*said) for said in ORDER]
    assert heard(b"".join(frames)) == ORDER


def test_an_echo_is_read_too() -> None:
    assert heard(chat.shouted(1, 0) + chat.shouted(1, 1)) == [(1, 0), (1, 1)]


def test_what_comes_with_an_offset_is_read_alike() -> None:
    offset = "1790000000000000"
    assert heard(chat.said(1, 0, offset) + chat.shouted(1, 1, offset)) == [(1, 0), (1, 1)]
    assert offset.encode() in chat.said(1, 0, offset)
    assert len(chat.said(1, 0, chat.ANY_OFFSET)) == len(chat.said(1, 0, offset))


def test_what_is_no_message_is_passed_over() -> None:
    others = PING + unmasked(b'42["userlist",{"users":[]}]') + unmasked(b'42["broadcast_msg",{"type":"join"}]')
    assert heard(others + chat.said(1, 0) + others) == [(1, 0)]


def test_one_order_at_all_passes() -> None:
    check([ORDER, ORDER, ORDER], SENT)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (ORDER[:-1], "there are 7"),  # the last lost
        (ORDER[:2] + ORDER[3:], "too early"),  # one in between lost
        ([*ORDER, ORDER[-1]], "again"),
        (ORDER[:3] + ORDER[2:], "again"),
        ([(1, 1), (2, 5), (1, 0), (1, 2), (2, 6)], "too early"),  # one sender's swapped
        ([(2, 5), (1, 0), (1, 1), (1, 2), (2, 6)], "different orders"),  # two senders' swapped
        ([*ORDER, (3, 0)], "nobody sent"),
    ],
)
def test_a_fault_at_one_witness_is_found(fault: list[Said], why: str) -> None:
    with pytest.raises(Violation, match=why):
        check([ORDER, fault], SENT)


def test_what_came_until_it_was_cut_off_may_end_anywhere() -> None:
    check([ORDER[:2], ORDER[:4], []], SENT, whole=False)
    with pytest.raises(Violation, match="different orders"):
        check([[(1, 0)], [(2, 5)]], SENT, whole=False)


def test_a_frame_that_was_cut_off_is_found() -> None:
    with pytest.raises(Violation, match="bytes of a frame"):
        heard(chat.said(1, 0)[:-1])


def test_a_message_that_was_changed_on_its_way_is_found() -> None:
    with pytest.raises(Violation, match="expected"):
        heard(chat.said(1, 0).replace(b"xx", b"xy", 1))
    with pytest.raises(Violation, match="could not read"):
        heard(chat.said(1, 0).replace(b"#", b"?", 1))
