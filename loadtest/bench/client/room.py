"""All members in one room: as many deliveries as go, with a fixed number of messages in flight.

`one`: the next message is sent when all members have the one before. `8x8`, `64x64`: that many senders with
that many messages in flight each; a message is out of flight when its sender has received it itself.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import replace

from ..proc import CpuMeter
from . import chat
from .bulk import BulkReader, MarkerCounter
from .errors import Violation
from .measurement import Order, Sample
from .opening import Connections
from .witness import Witness, check, message_in

ROOM = "bench"
WITNESSES = 3
POLL_S = 0.5
DRAIN_LIMIT_S = 10.0
# A client that sleeps until the next byte comes has to be woken for each, at the server's cost: a slow server
# paid a fifth of its speed for it, a fast one nothing. So the client is in no hurry where rates are measured;
# a nap is short, since the last members' messages wait for its end while a fast server has nothing to do.
NAP_S = 0.0001
Report = Callable[[Sample], None]


class Room:
    """The members, joined; one line is measured after another."""

    def __init__(self, connections: Connections, order: Order) -> None:
        self.order = order
        self.connections = connections
        join(connections, [(number, ROOM) for number in range(order.members)], order.in_flight)
        probe(connections)
        self.members = connections.sockets
        self.reader = BulkReader(self.members, connections.epoll, chat.said(0, 0, connections.offset))
        self.turns = [1] + [0] * (order.members - 1)  # number of a member -> its next turn
        self.witnesses = [Witness() for _ in range(min(WITNESSES, order.members))]

    def start(self) -> dict[int, int]:
        """Begins a line; returns the turns as they are, for `finish`."""
        self.reader.start()
        for witness, member in zip(self.witnesses, reversed(self.members), strict=False):
            self.reader.watch(member, witness.hear)
        return dict(enumerate(self.turns))

    def finish(self, before: dict[int, int]) -> bool:
        """Waits for what is under way and checks that everybody got everything. Raises Violation.

        An overloaded contender may take minutes for that. Where it need not drain it gets `DRAIN_LIMIT_S`, and
        False is returned where that was too short: only order and doubles are checked then, and the room is of
        no further use.
        """
        sent = {number: range(turn, self.turns[number]) for number, turn in before.items()}
        count = sum(map(len, sent.values()))
        total_bytes = count * len(self.members) * self.reader.frame_bytes
        if self.order.must_drain or self.reader.poll_until(total_bytes, DRAIN_LIMIT_S):
            self.reader.wait_for(total_bytes)
            self.reader.check_each(count)
            check([witness.take() for witness in self.witnesses], sent)
            return True
        check([witness.take(whole=False) for witness in self.witnesses], sent, whole=False)
        return False

    def next_messages(self, number: int, count: int) -> bytes:
        """The frames of a sender's next messages."""
        first = self.turns[number]
        self.turns[number] += count
        return b"".join(chat.say(number, turn) for turn in range(first, first + count))

    def rate(self, line: str, step: Callable[[], None]) -> Sample:
        """Deliveries per second while `step` is called again and again, after a warm-up."""
        self.reader.nap_s = NAP_S
        _repeat(step, self.order.warm_up_s)
        meter = CpuMeter(self.order.target.server_pid, self.order.target.redis_pid)
        before_bytes, began_s = self.reader.total_bytes, time.perf_counter()
        _repeat(step, self.order.measure_s)
        took_s = time.perf_counter() - began_s
        shares = meter.stop()
        self.reader.nap_s = 0.0
        rate = (self.reader.total_bytes - before_bytes) / self.reader.frame_bytes / took_s
        figures = {"deliveries_per_s": round(rate, 1)}
        if rate:
            figures["server_us"] = round(shares.server / rate * 1e6, 3)
        return Sample(line, figures, shares)


class Sender:
    """Keeps `in_flight` messages of one member under way until it is stopped."""

    def __init__(self, room: Room, number: int, in_flight: int) -> None:
        self._room = room
        self._number = number
        self._socket = room.members[number]
        self._own = MarkerCounter(chat.marker(number))
        self._seen = 0
        self.running = True
        room.reader.watch(self._socket, self._hear)
        self._send(in_flight)

    def _hear(self, chunk: bytes) -> None:
        self._own.feed(chunk)
        back, self._seen = self._own.count - self._seen, self._own.count
        if back and self.running:
            self._send(back)

    def _send(self, count: int) -> None:
        send(self._socket, self._room.next_messages(self._number, count))


def measure_one(room: Room, line: str = "one") -> Sample:
    """One message in flight."""
    before = room.start()
    each_bytes = len(room.members) * room.reader.frame_bytes

    def step() -> None:
        send(room.members[0], room.next_messages(0, 1))
        room.reader.wait_for((room.turns[0] - before[0]) * each_bytes)

    sample = room.rate(line, step)
    room.finish(before)
    return sample


def measure_many(room: Room, line: str, senders: int, in_flight: int) -> Sample:
    """`senders` members with `in_flight` messages each."""
    before = room.start()
    made = [Sender(room, number, in_flight) for number in range(min(senders, len(room.members)))]
    sample = room.rate(line, lambda: room.reader.poll(POLL_S))
    for each in made:
        each.running = False
    return replace(sample, cut=not room.finish(before))


def join(connections: Connections, seats: list[tuple[int, str]], in_flight: int) -> None:
    """Lets each member (number, room) join, and waits until the announcements have come to an end."""
    connections.ask(((number, chat.join(room, number)) for number, room in seats), chat.JOINED, in_flight)
    connections.drain()


def probe(connections: Connections) -> None:
    """Member 0 says its turn 0; what the last member gets must be exactly what all contenders send."""
    send(connections.sockets[0], chat.say(0, 0))
    payload = connections.receive(-1)
    if message_in(payload) != (0, 0):
        raise Violation(f"expected {chat.said(0, 0)!r}, got {payload!r}")
    connections.drain()


def send(member: socket.socket, data: bytes) -> None:
    """Sends all of it at once. Raises Violation where the server does not read."""
    if member.send(data) != len(data):
        raise Violation("the server does not read what is sent to it")


def _repeat(step: Callable[[], None], seconds: float) -> None:
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        step()
