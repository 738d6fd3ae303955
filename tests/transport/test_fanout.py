"""The fan-out's order: every socket gets what it was a member for, once and in the order of the calls.

How soon packets leave, and who is cut off, is in `test_fanout_flushes.py`; what those get that can recover, in
`test_fanout_offsets.py`.
"""

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.transport import fanout
from app.transport.fanout import frame_of
from app.wire import NO_OFFSET, UNMARKED, Packet, marked
from tests.support.fake_loop import FakeLoop

from .members import Node, Polling, Room, Socket, messages


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> FakeLoop:
    return FakeLoop.install(monkeypatch, fanout)


@pytest.fixture
def node(loop: FakeLoop) -> Node:
    return Node()


@pytest.fixture
def room() -> Room:
    return Room()


# --- one thing at a time -------------------------------------------------------------------------------------


def test_what_waits_for_a_room_leaves_with_one_write_to_each_member(
    node: Node, loop: FakeLoop, room: Room
) -> None:
    members = [node.member(room) for _ in range(5)]
    for text in ("a", "b", "c"):
        node.fanout.broadcast(room, Packet(text))
    loop.settle()
    assert [node.writes(member) for member in members] == [[["a", "b", "c"]]] * 5


def test_a_member_of_several_rooms_gets_them_merged_with_one_write(node: Node, loop: FakeLoop) -> None:
    rooms = [Room(), Room(), Room()]
    both, first, second = node.member(*rooms), node.member(rooms[0]), node.member(rooms[1])
    for number in range(9):
        node.fanout.broadcast(rooms[number % 3], Packet(str(number)))
    loop.settle()
    assert node.writes(both) == [[str(number) for number in range(9)]]
    assert node.writes(first) == [["0", "3", "6"]]
    assert node.writes(second) == [["1", "4", "7"]]


def test_a_written_packet_comes_behind_what_waits_and_before_what_follows(
    node: Node, loop: FakeLoop, room: Room
) -> None:
    told, other = node.member(room), node.member(room)
    node.fanout.broadcast(room, Packet("before"))
    node.fanout.write([told], Packet("whisper"))
    assert node.writes(told) == [["before", "whisper"]]
    node.fanout.broadcast(room, Packet("after"))
    loop.settle()
    assert node.got(told) == ["before", "whisper", "after"]
    assert node.writes(other) == [["before", "after"]]


def test_a_sent_packet_passes_by_what_waits_but_not_by_what_follows(
    node: Node, loop: FakeLoop, room: Room
) -> None:
    member = node.member(room)
    node.fanout.broadcast(room, Packet("waits"))
    node.fanout.send(member.eio_sid, Packet("first"))
    node.fanout.send(member.eio_sid, Packet("second"))
    node.fanout.write([member], Packet("follows"))
    loop.settle()
    got = node.got(member)
    assert [text for text in got if text in ("first", "second")] == ["first", "second"]
    assert [text for text in got if text in ("waits", "follows")] == ["waits", "follows"]
    assert got.index("second") < got.index("follows")


def test_a_packet_for_nobody_and_a_connection_that_is_not_there_are_fine(
    node: Node, loop: FakeLoop, room: Room
) -> None:
    node.fanout.broadcast(room, Packet("nobody"))
    lost = Socket("lost", "lost")
    node.enter(lost, room)
    node.fanout.broadcast(room, Packet("a"))
    node.fanout.write([lost], Packet("b"))
    node.fanout.send("lost", Packet("c"))
    node.fanout.settle(lost)
    loop.settle()


def test_who_enters_gets_what_follows_and_who_leaves_what_came_before(
    node: Node, loop: FakeLoop, room: Room
) -> None:
    first, late = node.member(room), node.member()
    node.fanout.broadcast(room, Packet("a"))
    node.enter(late, room)
    node.fanout.broadcast(room, Packet("b"))
    node.leave(first, room)
    node.fanout.broadcast(room, Packet("c"))
    node.leave(late, room)
    node.enter(late, room)
    loop.settle()
    assert node.got(first) == ["a", "b"]
    assert node.got(late) == ["b", "c"]


def test_who_is_skipped_gets_the_rest_in_order(node: Node, loop: FakeLoop, room: Room) -> None:
    skipped, other = node.member(room), node.member(room)
    node.fanout.broadcast(room, Packet("a"))
    node.fanout.broadcast(room, Packet("b"), skip=[skipped])
    node.fanout.broadcast(room, Packet("c"))
    loop.settle()
    assert node.got(skipped) == ["a", "c"]
    assert node.writes(other) == [["a", "b", "c"]]


def test_a_socket_that_is_not_connected_yet_holds_its_packets(node: Node, loop: FakeLoop, room: Room) -> None:
    socket = node.member(room, held=True)
    node.fanout.broadcast(room, Packet("a"))
    node.fanout.write([socket], Packet("b"))
    loop.settle()
    assert node.writes(socket) == []
    assert socket.held == [Packet("a"), Packet("b")]
    node.fanout.send(socket.eio_sid, Packet("connected"))
    node.connected(socket)
    node.fanout.broadcast(room, Packet("c"))
    loop.settle()
    assert node.got(socket) == ["connected", "a", "b", "c"]


def test_the_sockets_of_one_connection_do_not_get_each_others_packets_mixed_up(
    node: Node, loop: FakeLoop, room: Room
) -> None:
    other_namespace = Room()
    first, second = node.member(room), Socket("second", "")
    second.eio_sid = first.eio_sid
    node.enter(second, other_namespace)
    for number in range(6):
        node.fanout.broadcast((room, other_namespace)[number % 2], Packet(str(number)))
    node.fanout.write([second], Packet("6"))
    loop.settle()
    got = node.got(first)
    assert sorted(map(str, got)) == [str(number) for number in range(7)]
    assert [item for item in got if item in ("0", "2", "4")] == ["0", "2", "4"]
    assert [item for item in got if item in ("1", "3", "5", "6")] == ["1", "3", "5", "6"]


def test_nothing_is_written_to_a_connection_that_is_closing(node: Node, loop: FakeLoop, room: Room) -> None:
    leaving, polling = node.member(room), Socket("p", "p")
    session = node.polling("p")
    node.enter(polling, room)
    node.fanout.broadcast(room, Packet("lost"))
    for connection in node.connections.values():
        connection.closing = True
    node.fanout.send(leaving.eio_sid, Packet("lost"))
    node.fanout.write([leaving, polling], Packet("lost"))
    loop.settle()
    assert node.writes(leaving) == []
    assert session.polled() == []


def test_nothing_is_kept_of_who_has_gone(node: Node, loop: FakeLoop, room: Room) -> None:
    stays, gone = node.member(room), node.member(room)
    node.fanout.broadcast(room, Packet("a"), skip=[gone])
    node.fanout.write([gone], Packet("b"))
    node.fanout.send(gone.eio_sid, Packet("c"))
    node.leave(gone, room)
    seen = weakref.ref(gone)
    del node.connections[gone.eio_sid], gone
    node.fanout.broadcast(room, Packet("d"))
    loop.settle()
    gc.collect()
    assert seen() is None
    assert node.got(stays) == ["a", "d"]


# --- what is on the wire -------------------------------------------------------------------------------------


def test_a_packet_s_frames_are_its_text_and_its_attachments() -> None:
    packet = Packet('51-["x",{"_placeholder":true,"num":0}]', (b"\x00\xff", b"", b"x" * 70_000))
    assert list(messages(frame_of(packet))) == [packet.text, *packet.attachments]
    assert frame_of(Packet("2가")) == b"\x81\x05" + "42가".encode()


def test_an_attachment_is_encoded_anew_for_whoever_gets_it(node: Node, loop: FakeLoop, room: Room) -> None:
    sessions = [node.polling(sid) for sid in ("a", "b")]
    for session in sessions:
        node.enter(Socket(session.sid, session.sid), room)
    node.fanout.broadcast(room, Packet("51-[]", (b"\x00\xff",)))
    loop.settle()
    polled, upgraded = ([session.queue.get_nowait() for _ in range(2)] for session in sessions)
    assert [each.encode(b64=True) for each in polled] == ["451-[]", "bAP8="]
    assert [each.encode(b64=False) for each in upgraded] == ["451-[]", b"\x00\xff"]
    assert [each.encode(b64=True) for each in upgraded] == ["451-[]", "bAP8="]


# --- everything at once, against a model ---------------------------------------------------------------------

ROOMS, SOCKETS = 3, 6


@dataclass
class Model:
    """What each socket is to get; every packet is another."""

    node: Node
    loop: FakeLoop
    rooms: list[Room] = field(default_factory=lambda: [Room() for _ in range(ROOMS)])
    sockets: list[Socket] = field(default_factory=list)
    expected: dict[Socket, list[str | bytes]] = field(default_factory=dict)  # but for what passes by
    sent: dict[Socket, list[str | bytes]] = field(default_factory=dict)  # what passes by
    before: dict[str | bytes, list[str | bytes]] = field(default_factory=dict)  # that -> what was expected then
    released: set[Socket] = field(default_factory=set)  # what was held for them passes by with the next flush
    closed: set[Socket] = field(default_factory=set)
    number: int = 0

    def packet(self) -> tuple[Packet, int]:
        """A new one and its offset; every third has an attachment."""
        self.number += 1
        attachments = () if self.number % 3 else (f"attachment {self.number}".encode(),)
        offset = {0: NO_OFFSET, 1: UNMARKED}.get(self.number % 5, self.number)
        return Packet(f'2["packet {self.number}"]', attachments), offset

    def expect(self, socket: Socket, packet: Packet, offset: int) -> None:
        """The socket is to get it."""
        self.expected[socket] += parts(marked(packet, offset) if socket.recovers else packet)

    # the operations: each takes a socket, a room and a set of sockets, and uses what it needs

    def broadcast(self, socket: Socket, room: Room, others: list[Socket]) -> None:
        """To all but `others`."""
        packet, offset = self.packet()
        for member in room.sockets.values():
            if member not in others:
                self.expect(member, packet, offset)
        self.node.fanout.broadcast(room, packet, offset=offset, skip=others)

    def broadcast_to_all(self, socket: Socket, room: Room, others: list[Socket]) -> None:
        """The usual one."""
        self.broadcast(socket, room, [])

    def write(self, socket: Socket, room: Room, others: list[Socket]) -> None:
        """To some, members or not."""
        packet, offset = self.packet()
        for other in others:
            self.expect(other, packet, offset)
        self.node.fanout.write(others, packet, offset=offset)

    def send(self, socket: Socket, room: Room, others: list[Socket]) -> None:
        """To a connection."""
        self.number += 1
        text = f"sent {self.number}"
        self.before[text] = list(self.expected[socket])
        self.sent[socket].append(text)
        self.node.fanout.send(socket.eio_sid, Packet(text))

    def settle(self, socket: Socket, room: Room, others: list[Socket]) -> None:
        """Without a reason."""
        self.node.fanout.settle(socket)

    def approach(self, socket: Socket, room: Room, others: list[Socket]) -> None:
        """It is about to enter."""
        socket.rooms[room] = room

    def enter(self, socket: Socket, room: Room, others: list[Socket]) -> None:
        """It is a member."""
        self.node.enter(socket, room)

    def leave(self, socket: Socket, room: Room, others: list[Socket]) -> None:
        """It is none."""
        self.node.leave(socket, room)

    def connected(self, socket: Socket, room: Room, others: list[Socket]) -> None:
        """Nothing is held any more."""
        if socket.held:
            self.released.add(socket)
        self.node.connected(socket)

    def close(self, socket: Socket, room: Room, others: list[Socket]) -> None:
        """What was not written is lost."""
        self.closed.add(socket)
        self.node.connections[socket.eio_sid].closing = True

    def flush(self, socket: Socket, room: Room, others: list[Socket]) -> None:
        """One write to each socket at most, and one for what passes by."""
        before = {each: len(self.node.writes(each)) for each in self.sockets if not self.polls(each)}
        sent = {each for each in self.sockets if len(self.sent[each]) > len(self.passed(each))} | self.released
        self.released.clear()
        self.node.fanout.flush()
        for each, count in before.items():
            assert len(self.node.writes(each)) - count <= 1 + (each in sent)

    def turn(self, socket: Socket, room: Room, others: list[Socket]) -> None:
        """A turn of the loop, or some time."""
        self.loop.advance(0.02 * len(others))

    def polls(self, socket: Socket) -> bool:
        """Whether it has a queue."""
        return isinstance(self.node.connections[socket.eio_sid], Polling)

    def passed(self, socket: Socket) -> list[str | bytes]:
        """What has passed by."""
        return [] if self.polls(socket) else [item for item in self.node.got(socket) if item in self.before]

    def check(self, socket: Socket) -> None:
        """It got what it was to get."""
        connection = self.node.connections[socket.eio_sid]
        got = connection.polled() if isinstance(connection, Polling) else self.node.got(socket)
        own = [item for item in got if item not in self.before]
        passed = [item for item in got if item in self.before]
        held = [part for packet in socket.held or () for part in parts(packet)]
        if socket in self.closed:
            assert own == self.expected[socket][: len(own)]
            assert passed == self.sent[socket][: len(passed)]
        else:
            assert own + held == self.expected[socket]
            assert passed == self.sent[socket]
        for text in passed:
            overtaken_by = set(got[: got.index(text)]) - set(self.before) - set(self.before[text])
            assert not overtaken_by, "what was handed over later came first"


def parts(packet: Packet) -> list[str | bytes]:
    return [packet.text, *packet.attachments]


OPERATIONS: list[Callable[..., None]] = [
    *(Model.broadcast, Model.broadcast_to_all, Model.broadcast_to_all, Model.broadcast_to_all),
    *(Model.write, Model.send, Model.settle, Model.approach, Model.enter, Model.enter, Model.leave),
    *(Model.connected, Model.close, Model.flush, Model.turn),
]
operations = st.tuples(
    st.sampled_from(OPERATIONS),
    st.integers(0, SOCKETS - 1),
    st.integers(0, ROOMS - 1),
    st.lists(st.integers(0, SOCKETS - 1), max_size=3, unique=True),
)
KINDS = ["websocket", "held", "polling", "held and polling"]


@settings(max_examples=500, deadline=None, database=None, derandomize=True)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=SOCKETS, max_size=SOCKETS),
    recovering=st.sets(st.integers(0, SOCKETS - 1)),
    rooms=st.lists(st.sets(st.integers(0, ROOMS - 1)), min_size=SOCKETS, max_size=SOCKETS),
    steps=st.lists(operations, max_size=60),
)
def test_whatever_happens_each_socket_gets_its_packets_once_and_in_order(
    kinds: list[str], recovering: set[int], rooms: list[set[int]], steps: list[Any]
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        loop = FakeLoop.install(monkeypatch, fanout)
        model = Model(Node(), loop)
        for number, kind in enumerate(kinds):
            (model.node.polling if "polling" in kind else model.node.websocket)(f"eio {number}")
            socket = Socket(f"sid {number}", f"eio {number}", held="held" in kind, recovers=number in recovering)
            model.sockets.append(socket)
            model.expected[socket], model.sent[socket] = [], []
            for room in rooms[number]:
                model.node.enter(socket, model.rooms[room])
        for operation, socket_number, room_number, others in steps:
            operation(
                model, model.sockets[socket_number], model.rooms[room_number], [model.sockets[n] for n in others]
            )
        model.node.fanout.flush()
        loop.advance(1)
        for socket in model.sockets:
            model.check(socket)
