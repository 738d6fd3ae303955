"""What the fan-out gives to those who can recover: the same as to the others, with offsets, and made once."""

from collections.abc import Iterable

import pytest

from app.transport import fanout
from app.transport.fanout import frame_of
from app.wire import UNMARKED, Packet
from tests.support.fake_loop import FakeLoop

from .members import Node, Room, Socket

SEND_BUFFER_BYTES = 100_000


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> FakeLoop:
    return FakeLoop.install(monkeypatch, fanout)


@pytest.fixture
def node(loop: FakeLoop) -> Node:
    return Node(send_buffer_bytes=SEND_BUFFER_BYTES)


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def framed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that frames were made of, in order."""
    texts: list[str] = []

    def noted(packet: Packet) -> bytes:
        texts.append(packet.text)
        return frame_of(packet)

    monkeypatch.setattr(fanout, "frame_of", noted)
    return texts


def said(*numbers: int) -> list[str | bytes]:
    """Events as those get them that cannot recover."""
    return [f'2["said",{number}]' for number in numbers]


def said_with_offsets(*numbers: int) -> list[str | bytes]:
    """The same with their offsets."""
    return [f'2["said",{number},"{number}"]' for number in numbers]


def say(node: Node, room: Room, *numbers: int, skip: Iterable[Socket] = ()) -> None:
    for number in numbers:
        node.fanout.broadcast(room, Packet(f'2["said",{number}]'), offset=number, skip=list(skip))


def tell(node: Node, number: int, *sockets: Socket) -> None:
    node.fanout.write(sockets, Packet(f'2["said",{number}]'), offset=number)


# --- what is on the wire -------------------------------------------------------------------------------------


def test_who_can_recover_gets_offsets_and_who_cannot_the_plain_packet_in_one_room(
    node: Node, loop: FakeLoop, room: Room
) -> None:
    members = [node.member(room, recovers=number % 2 == 0) for number in range(6)]
    say(node, room, 7, 8)
    loop.settle()
    for member in members:
        assert node.writes(member) == [said_with_offsets(7, 8) if member.recovers else said(7, 8)]


def test_an_event_written_to_some_has_its_offset_too(node: Node, loop: FakeLoop, room: Room) -> None:
    plain, recovering = node.member(room), node.member(room, recovers=True)
    tell(node, 7, plain, recovering)
    assert node.got(plain) == said(7)
    assert node.got(recovering) == said_with_offsets(7)


def test_a_binary_event_has_its_offset_in_its_text_and_its_attachments_behind(
    node: Node, loop: FakeLoop, room: Room
) -> None:
    plain, recovering = node.member(room), node.member(room, recovers=True)
    packet = Packet('51-/lobby,["file",{"_placeholder":true,"num":0}]', (b"\x00\xff",))
    node.fanout.broadcast(room, packet, offset=7)
    node.fanout.write([plain, recovering], packet, offset=8)
    text = packet.text[:-1]
    assert node.got(plain) == [f"{text}]", b"\x00\xff", f"{text}]", b"\x00\xff"]
    assert node.got(recovering) == [f'{text},"7"]', b"\x00\xff", f'{text},"8"]', b"\x00\xff"]


@pytest.mark.parametrize(("text", "expected"), [('2["x","y"]', '2["x","y",null]'), ('2["x",1]', '2["x",1]')])
def test_an_event_in_no_log_ends_with_a_null_where_a_string_would_be_taken_for_an_offset(
    node: Node, loop: FakeLoop, room: Room, text: str, expected: str
) -> None:
    plain, recovering = node.member(room), node.member(room, recovers=True)
    node.fanout.broadcast(room, Packet(text))
    node.fanout.write([plain, recovering], Packet(text))
    assert node.got(plain) == [text, text]
    assert node.got(recovering) == [expected, expected]


def test_an_event_that_asks_for_an_acknowledgement_stays_as_it_is(node: Node, loop: FakeLoop, room: Room) -> None:
    plain, recovering = node.member(room), node.member(room, recovers=True)
    question = Packet('27["ask","you"]')
    node.fanout.write([plain, recovering], question, offset=UNMARKED)
    assert node.got(plain) == node.got(recovering) == [question.text]


def test_what_is_sent_past_the_rooms_stays_as_it_is(node: Node, loop: FakeLoop, room: Room) -> None:
    recovering = node.member(room, recovers=True)
    node.fanout.send(recovering.eio_sid, Packet('2["x","y"]'))
    loop.settle()
    assert node.got(recovering) == ['2["x","y"]']


def test_who_polls_gets_offsets_or_not_just_the_same(node: Node, loop: FakeLoop, room: Room) -> None:
    plain, recovering = node.polling("plain"), node.polling("recovering")
    node.enter(Socket("plain", "plain"), room)
    node.enter(Socket("recovering", "recovering", recovers=True), room)
    say(node, room, 7, 8)
    loop.settle()
    assert plain.polled() == said(7, 8)
    assert recovering.polled() == said_with_offsets(7, 8)


def test_what_is_held_for_who_can_recover_has_its_offsets_already(node: Node, loop: FakeLoop, room: Room) -> None:
    plain, recovering = node.member(room, held=True), node.member(room, held=True, recovers=True)
    say(node, room, 7)
    tell(node, 8, plain, recovering)
    for socket in (plain, recovering):
        node.connected(socket)
    loop.settle()
    assert node.got(plain) == said(7, 8)
    assert node.got(recovering) == said_with_offsets(7, 8)


# --- in which order ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recovers", [False, True], ids=["plain", "recovering"])
def test_what_goes_to_a_room_and_to_single_members_comes_in_the_order_of_the_calls(
    node: Node, loop: FakeLoop, room: Room, *, recovers: bool
) -> None:
    told, silent = node.member(room, recovers=recovers), node.member(room, recovers=recovers)
    others = [node.member(room), node.member(room, recovers=True)]
    say(node, room, 1, 2)
    tell(node, 3, told)
    say(node, room, 4)
    tell(node, 5, *others, told)
    say(node, room, 6, skip=[told])
    say(node, room, 7)
    loop.settle()
    expected = said_with_offsets if recovers else said
    assert node.got(told) == expected(1, 2, 3, 4, 5, 7)
    assert node.writes(silent) == [expected(1, 2, 4, 6, 7)]
    assert node.got(others[0]) == said(1, 2, 4, 5, 6, 7)
    assert node.got(others[1]) == said_with_offsets(1, 2, 4, 5, 6, 7)


@pytest.mark.parametrize("recovers", [False, True], ids=["plain", "recovering"])
def test_a_member_of_several_rooms_gets_them_merged_in_its_own_kind(
    node: Node, loop: FakeLoop, *, recovers: bool
) -> None:
    rooms = [Room(), Room()]
    both = node.member(*rooms, recovers=recovers)
    plain, recovering = node.member(rooms[0]), node.member(rooms[1], recovers=True)
    for number in range(1, 7):
        say(node, rooms[number % 2], number)
    loop.settle()
    assert node.writes(both) == [(said_with_offsets if recovers else said)(1, 2, 3, 4, 5, 6)]
    assert node.writes(plain) == [said(2, 4, 6)]
    assert node.writes(recovering) == [said_with_offsets(1, 3, 5)]


@pytest.mark.parametrize("recovers", [False, True], ids=["plain", "recovering"])
def test_who_enters_and_leaves_between_flushes_gets_its_part_in_its_own_kind(
    node: Node, loop: FakeLoop, room: Room, *, recovers: bool
) -> None:
    node.member(room), node.member(room, recovers=True)
    passing = node.member(recovers=recovers)
    say(node, room, 1)
    node.enter(passing, room)
    say(node, room, 2, 3)
    node.leave(passing, room)
    say(node, room, 4)
    loop.settle()
    assert node.got(passing) == (said_with_offsets if recovers else said)(2, 3)


# --- how often frames are made -------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [0, 5])
@pytest.mark.parametrize("recovering", [0, 5])
def test_frames_are_made_once_for_each_kind_that_is_there(
    node: Node, loop: FakeLoop, room: Room, framed: list[str], plain: int, recovering: int
) -> None:
    for number in range(plain + recovering):
        node.member(room, recovers=number < recovering)
    say(node, room, 7, 8)
    loop.settle()
    expected = (said(7, 8) if plain else []) + (said_with_offsets(7, 8) if recovering else [])
    assert sorted(framed) == sorted(map(str, expected))


def test_frames_are_made_no_earlier_than_they_leave(
    node: Node, loop: FakeLoop, room: Room, framed: list[str]
) -> None:
    node.member(room), node.member(room, recovers=True)
    say(node, room, 7)
    assert framed == []
    loop.settle()
    assert len(framed) == 2


def test_frames_that_were_made_for_one_member_are_not_made_again_at_the_flush(
    node: Node, loop: FakeLoop, room: Room, framed: list[str]
) -> None:
    members = [node.member(room, recovers=number % 2 == 0) for number in range(6)]
    say(node, room, 1, 2)
    for member in members[:4]:
        node.fanout.settle(member)
    say(node, room, 3)
    node.fanout.settle(members[0])
    loop.settle()
    assert sorted(framed) == sorted(map(str, said(1, 2, 3) + said_with_offsets(1, 2, 3)))
    for member in members:
        assert node.got(member) == (said_with_offsets if member.recovers else said)(1, 2, 3)


def test_frames_for_some_are_made_once_for_each_kind(
    node: Node, loop: FakeLoop, room: Room, framed: list[str]
) -> None:
    members = [node.member(room, recovers=number % 2 == 0) for number in range(6)]
    tell(node, 7, *members)
    assert sorted(framed) == sorted(map(str, said(7) + said_with_offsets(7)))
    tell(node, 8, members[0])
    assert framed[2:] == said_with_offsets(8)


def test_frames_are_made_for_nobody_where_nobody_is_there(
    node: Node, loop: FakeLoop, room: Room, framed: list[str]
) -> None:
    say(node, room, 7)
    tell(node, 8)
    loop.settle()
    assert framed == []


# --- how much ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "recovers"),
    [
        pytest.param('2["x"]', False, id="short"),
        pytest.param('2["x"]', True, id="short, recovering"),
        pytest.param(f'2["x","{"x" * 1000}"]', True, id="latin, recovering"),
        pytest.param(f'2["x","{"김" * 300}"]', True, id="korean, recovering"),
        pytest.param(f'2["x","{chr(0x1F600) * 250}"]', False, id="emojis"),
        pytest.param(f'2["x","{chr(0x1F600) * 250}"]', True, id="emojis, recovering"),
    ],
)
def test_one_flush_never_fills_what_may_wait_for_a_client(
    node: Node, loop: FakeLoop, room: Room, text: str, *, recovers: bool
) -> None:
    member = node.member(room, recovers=recovers)
    for number in range(3 * SEND_BUFFER_BYTES // len(text)):  # in one turn
        node.fanout.broadcast(room, Packet(text), offset=1_790_000_000_000_000 + number)
    loop.advance(1)
    sizes = [len(data) for data in node.connections[member.eio_sid].transport.writes]
    assert max(sizes) <= SEND_BUFFER_BYTES


def test_what_a_client_has_not_taken_is_unsent(node: Node, loop: FakeLoop, room: Room) -> None:
    member = node.member(room)
    assert not node.fanout.has_unsent(member)
    connection = node.connections[member.eio_sid]
    connection.transport.waiting_bytes = 1
    assert node.fanout.has_unsent(member)
    connection.closing = True
    assert not node.fanout.has_unsent(member)
    node.connections.clear()
    assert not node.fanout.has_unsent(member)


def test_what_was_not_polled_is_unsent(node: Node, loop: FakeLoop, room: Room) -> None:
    session, socket = node.polling("p"), Socket("p", "p")
    assert not node.fanout.has_unsent(socket)
    node.fanout.send("p", Packet("x"))
    loop.settle()
    assert node.fanout.has_unsent(socket)
    assert session.polled() == ["x"]
    assert not node.fanout.has_unsent(socket)
