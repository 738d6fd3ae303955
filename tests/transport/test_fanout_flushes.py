"""How soon the fan-out's packets leave, and what happens to those who do not read."""

import asyncio

import pytest

from app.transport import fanout
from app.transport.fanout import FLUSH_BUFFER_SHARE, PACKETS_WAITING_MAX
from app.wire import Packet
from tests.support.eventually import eventually
from tests.support.fake_loop import FakeLoop

from .members import Node, Room, Socket

SEND_BUFFER_BYTES = 100_000
WRITE_S = 0.001  # of a member whose transport is slow
MEMBERS = 20
FLUSH_S = MEMBERS * WRITE_S
WAIT_MAX_S = 0.1  # for a flush, however long the last one took


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> FakeLoop:
    return FakeLoop.install(monkeypatch, fanout)


@pytest.fixture
def node(loop: FakeLoop) -> Node:
    return Node(send_buffer_bytes=SEND_BUFFER_BYTES)


@pytest.fixture
def room() -> Room:
    return Room()


def crowd(node: Node, loop: FakeLoop, room: Room, write_s: float = WRITE_S) -> list[Socket]:
    """Members to whom a write takes `write_s` each."""
    return [node.member(room, cost=lambda: loop.stall(write_s)) for _ in range(MEMBERS)]


# --- how soon ------------------------------------------------------------------------------------------------


def test_with_nothing_waiting_a_packet_leaves_with_the_loop_s_next_turn(
    node: Node, loop: FakeLoop, room: Room
) -> None:
    member = node.member(room)
    node.fanout.broadcast(room, Packet("a"))
    assert node.writes(member) == []
    loop.turn()
    assert node.writes(member) == [["a"]]


def test_what_is_handed_over_in_one_turn_leaves_together(node: Node, loop: FakeLoop, room: Room) -> None:
    member = node.member(room)
    for number in range(3):
        loop.call_soon(node.fanout.broadcast, room, Packet(str(number)))
    loop.turn()
    loop.settle()
    assert node.writes(member) == [["0", "1", "2"]]


def test_after_a_while_a_packet_leaves_at_once_again(node: Node, loop: FakeLoop, room: Room) -> None:
    members = crowd(node, loop, room)
    node.fanout.broadcast(room, Packet("a"))
    loop.settle()
    loop.advance(FLUSH_S)
    node.fanout.broadcast(room, Packet("b"))
    loop.turn()
    assert node.got(members[-1]) == ["a", "b"]


def test_an_idle_fan_out_has_nothing_to_do(node: Node, loop: FakeLoop, room: Room) -> None:
    node.member(room)
    node.fanout.broadcast(room, Packet("a"))
    loop.advance(1)
    assert loop.timers == 0
    assert loop.idle


def under_load(
    node: Node, loop: FakeLoop, room: Room, *, packets: int, every_s: float, turn_s: float
) -> list[float]:
    """Packets come at this pace, and each turn of the loop hands over those that have; how long they waited then
    until the first member was written to."""
    came_s = loop.time()
    handed_over_s: list[float] = []
    waited_s: list[float] = []

    def hand_over() -> None:
        while len(handed_over_s) < packets and came_s + len(handed_over_s) * every_s <= loop.time():
            handed_over_s.append(loop.time())
            node.fanout.broadcast(room, Packet(str(len(handed_over_s))))

    first = node.member(
        cost=lambda: waited_s.extend(loop.time() - at_s for at_s in handed_over_s[len(waited_s) :])
    )
    first.rooms[room] = room
    room.sockets = {first.sid: first} | room.sockets
    while len(waited_s) < packets:
        loop.call_soon(hand_over)
        loop.turn()
        loop.stall(turn_s)
        assert len(handed_over_s) < packets or loop.time() < came_s + 10 * packets * every_s, "it never leaves"
    assert node.got(first) == [str(number) for number in range(1, packets + 1)]
    return waited_s


# A turn of the loop is shorter than the time between packets, or brings several.
turns = pytest.mark.parametrize("turn_s", [WRITE_S / 10, 3 * WRITE_S])


@turns
def test_under_load_nothing_waits_longer_than_the_last_flush_took(
    node: Node, loop: FakeLoop, room: Room, turn_s: float
) -> None:
    crowd(node, loop, room)
    waited_s = under_load(node, loop, room, packets=1000, every_s=WRITE_S, turn_s=turn_s)
    assert max(waited_s) <= FLUSH_S + 2 * turn_s


@turns
def test_under_load_what_came_during_a_flush_leaves_with_one_write(
    node: Node, loop: FakeLoop, room: Room, turn_s: float
) -> None:
    members = crowd(node, loop, room)
    under_load(node, loop, room, packets=1000, every_s=WRITE_S, turn_s=turn_s)
    assert len(node.writes(members[0])) <= 1000 * WRITE_S / FLUSH_S + 2


def test_while_every_turn_brings_more_half_of_the_time_at_most_is_spent_on_flushing(
    node: Node, loop: FakeLoop, room: Room
) -> None:
    members, started_s = crowd(node, loop, room), loop.time()
    under_load(node, loop, room, packets=1000, every_s=WRITE_S, turn_s=3 * WRITE_S)
    assert len(node.writes(members[0])) * FLUSH_S <= (loop.time() - started_s) / 2 + 2 * FLUSH_S


def test_after_a_flush_that_took_very_long_nothing_waits_as_long(node: Node, loop: FakeLoop, room: Room) -> None:
    crowd(node, loop, room, write_s=1.0)
    waited_s = under_load(node, loop, room, packets=10_000, every_s=0.01, turn_s=0.03)
    assert max(waited_s) <= WAIT_MAX_S + 0.06


def test_what_comes_right_behind_an_early_flush_waits_no_longer_than_that_took(
    node: Node, loop: FakeLoop, room: Room
) -> None:
    members = crowd(node, loop, room)
    node.fanout.broadcast(room, Packet("x" * SEND_BUFFER_BYTES))
    assert len(node.got(members[0])) == 1
    node.fanout.broadcast(room, Packet("b"))
    loop.settle()
    loop.advance(FLUSH_S * 1.1)
    assert node.got(members[0])[1:] == ["b"]


# --- how much ------------------------------------------------------------------------------------------------


def test_a_big_room_s_flush_is_not_put_off_beyond_a_share_of_the_send_buffer(
    node: Node, loop: FakeLoop, room: Room
) -> None:
    member, packet = node.member(room), Packet("x" * 1000)
    for _ in range(200):  # in one turn
        node.fanout.broadcast(room, packet)
    loop.advance(1)
    sizes = [sum(len(message) for message in write) for write in node.writes(member)]
    assert sum(sizes) == 200 * 1000
    assert max(sizes) <= SEND_BUFFER_BYTES * FLUSH_BUFFER_SHARE + 1100
    assert len(sizes) <= 2 / FLUSH_BUFFER_SHARE + 1


def test_an_early_flush_keeps_the_order_among_rooms(node: Node, loop: FakeLoop, room: Room) -> None:
    other = Room()
    both = node.member(room, other)
    node.fanout.broadcast(other, Packet("first"))
    node.fanout.broadcast(room, Packet("x" * SEND_BUFFER_BYTES))
    node.fanout.broadcast(other, Packet("last"))
    loop.advance(1)
    assert node.got(both) == ["first", "x" * SEND_BUFFER_BYTES, "last"]


# --- who does not read ---------------------------------------------------------------------------------------
# The transport itself tells a WebSocketConnection that its client does not read: `test_protocol_slow_readers.py`.


@pytest.fixture
def real() -> Node:
    """A fan-out on the test's own event loop."""
    return Node(send_buffer_bytes=SEND_BUFFER_BYTES)


async def test_who_does_not_poll_is_cut_off_with_too_many_bytes_waiting(real: Node, room: Room) -> None:
    session, other = real.polling("p"), real.member(room)
    real.enter(Socket("p", "p"), room)
    packet = Packet("x" * (SEND_BUFFER_BYTES // 10))
    for _ in range(9):
        real.fanout.broadcast(room, packet)
        real.fanout.flush()
    assert (real.metrics.slow_readers, session.closing) == (0, False)
    for _ in range(2):
        real.fanout.broadcast(room, packet)
    real.fanout.flush()
    await eventually(lambda: session.closed, 2)
    assert session.closed == [{"wait": False, "abort": True}]
    assert real.metrics.slow_readers == 1
    assert len(real.got(other)) == 11
    waiting = [session.queue.get_nowait() for _ in range(session.queue.qsize())]
    assert waiting[-1] is None  # which ends the poll


async def test_who_polls_is_not_cut_off(real: Node, room: Room) -> None:
    session = real.polling("p")
    real.enter(Socket("p", "p"), room)
    for _ in range(50):
        real.fanout.broadcast(room, Packet("x" * (SEND_BUFFER_BYTES // 10)))
        real.fanout.flush()
        assert len(session.polled()) == 1
    await asyncio.sleep(0)
    assert (real.metrics.slow_readers, session.closing) == (0, False)


@pytest.mark.parametrize("kind", ["polling", "held"])
async def test_who_has_too_many_packets_waiting_is_cut_off(real: Node, room: Room, kind: str) -> None:
    session = real.polling("p")
    real.enter(Socket("p", "p", held=kind == "held"), room)
    for _ in range(PACKETS_WAITING_MAX):
        real.fanout.broadcast(room, Packet("x"))
    real.fanout.flush()
    assert real.metrics.slow_readers == 0
    real.fanout.broadcast(room, Packet("x"))
    real.fanout.flush()
    await eventually(lambda: session.closing, 2)
    assert real.metrics.slow_readers == 1


@pytest.mark.parametrize("kind", ["polling", "held"])
async def test_who_is_cut_off_is_counted_once(real: Node, room: Room, kind: str) -> None:
    session = real.polling("p")
    socket = Socket("p", "p", held=kind == "held")
    real.enter(socket, room)
    for _ in range(PACKETS_WAITING_MAX + 10):
        real.fanout.write([socket], Packet("x"))
    await eventually(lambda: session.closing, 2)
    real.fanout.write([socket], Packet("x"))
    assert real.metrics.slow_readers == 1


async def test_a_connection_is_closed_for_a_reason_once_and_is_not_open_then(real: Node, room: Room) -> None:
    session, socket = real.polling("p"), Socket("p", "p")
    real.enter(socket, room)
    assert real.fanout.is_open(socket)
    real.fanout.close(socket, "entries lost")
    await eventually(lambda: session.closing, 2)
    real.fanout.close(socket, "entries lost")
    real.fanout.broadcast(room, Packet("behind"))
    real.fanout.flush()
    assert session.polled() == []
    assert len(session.closed) == 1
    assert not real.fanout.is_open(socket)
    assert real.metrics.slow_readers == 0
    real.connections.clear()
    assert not real.fanout.is_open(socket)
    real.fanout.close(socket, "gone already")
