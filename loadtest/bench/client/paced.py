"""A fixed number of messages a second, whatever comes back (an open loop), and how long each delivery took.

A delivery's latency counts from when its message was meant to be sent, so a client or a server that falls
behind is not spared (what is called coordinated omission).
"""

import time
from collections.abc import Callable, Iterator
from itertools import count

from ..proc import CpuMeter, CpuShares, pss_kb
from . import chat
from .bulk import BulkReader
from .measurement import Order, Sample, latencies_ms
from .opening import Connections
from .room import Room, join, send
from .timer import NS_PER_S, Timer
from .witness import Witness, check

POLL_S = 0.5
LATENCY_RATE_PER_S = 30.0
LEAD_NS = 20_000_000
CROWD_WITNESSES = 3

# Sends the next message and returns where the times of that room's messages are kept.
Send = Callable[[], list[int]]


class Paced:
    """Sends at a fixed rate and gathers latencies. `times_of`: fd -> when its room's messages were meant to be
    sent, in ns, in the room's order; members of a room share a list."""

    def __init__(
        self, reader: BulkReader, order: Order, rate_per_s: float, times_of: dict[int, list[int]]
    ) -> None:
        self._reader = reader
        self._order = order
        self._interval_ns = round(NS_PER_S / rate_per_s)
        self._times_of = times_of
        self._samples_ns: list[int] = []
        self._counted_from_ns = 0
        self.sent = 0

    def run(self, send_next: Send) -> tuple[list[int], CpuShares]:
        """The latencies in ns of all deliveries of what was sent after the warm-up, and the CPU shares."""
        first_ns = time.monotonic_ns() + LEAD_NS
        self._counted_from_ns = first_ns + round(self._order.warm_up_s * NS_PER_S)
        end_ns = self._counted_from_ns + round(self._order.measure_s * NS_PER_S)
        timer = Timer(first_ns, self._interval_ns)

        def send_due() -> None:
            now_ns = min(time.monotonic_ns(), end_ns - 1)
            while (intended_ns := first_ns + self.sent * self._interval_ns) <= now_ns:
                send_next().append(intended_ns)
                self.sent += 1

        def due() -> None:
            timer.acknowledge()
            send_due()

        with self._reader.reading(timer.fd, due):
            self._poll_until(self._counted_from_ns)
            meter = CpuMeter(self._order.target.server_pid, self._order.target.redis_pid)
            self._poll_until(end_ns)
            shares = meter.stop()
        timer.close()
        send_due()  # those that came due in the last round
        self._wait()
        return self._samples_ns, shares

    def _poll_until(self, end_ns: int) -> None:
        while time.monotonic_ns() < end_ns:
            self._reader.poll_timed(POLL_S, self._arrived)

    def _wait(self) -> None:
        """For what is still under way."""
        wanted = sum(map(len, self._times_of.values())) * self._reader.frame_bytes
        self._reader.wait_for(wanted, lambda timeout_s: self._reader.poll_timed(timeout_s, self._arrived))
        self._reader.check_each(lambda fd: len(self._times_of[fd]))

    def _arrived(self, fd: int, first: int, behind: int, now_ns: int) -> None:
        for intended_ns in self._times_of[fd][first:behind]:
            if intended_ns >= self._counted_from_ns:
                self._samples_ns.append(now_ns - intended_ns)


def measure_latency(room: Room, line: str = "latency") -> Sample:
    """30 messages a second of one sender to all members of the room."""
    before, times = room.start(), list[int]()
    paced = Paced(room.reader, room.order, LATENCY_RATE_PER_S, {each.fileno(): times for each in room.members})

    def send_next() -> list[int]:
        send(room.members[0], room.next_messages(0, 1))
        return times

    samples_ns, shares = paced.run(send_next)
    room.finish(before)
    return Sample(line, latencies_ms(samples_ns), shares)


def measure_rooms(connections: Connections, order: Order) -> Sample:
    """`order.members` in all, in `order.rooms` rooms; a member of each room in turn says something."""
    size = order.members // order.rooms
    join(connections, [(number, f"room{number // size:04d}") for number in range(order.members)], order.in_flight)
    reader = BulkReader(connections.sockets, connections.epoll, chat.said(0, 0, connections.offset))
    times = [list[int]() for _ in range(order.rooms)]
    witnesses = [Witness() for _ in range(size)]
    for witness, member in zip(witnesses, connections.sockets, strict=False):
        reader.watch(member, witness.hear)

    def messages() -> Iterator[list[int]]:
        for number in count():
            room, turn = number % order.rooms, number // order.rooms
            send(connections.sockets[room * size], chat.say(room * size, turn))
            yield times[room]

    paced = Paced(
        reader, order, order.rate_per_s, {s.fileno(): times[n // size] for n, s in enumerate(connections.sockets)}
    )
    samples_ns, shares = paced.run(messages().__next__)
    check([witness.take() for witness in witnesses], {0: range(len(times[0]))})
    return Sample("rooms", latencies_ms(samples_ns), shares)


def measure_crowd(connections: Connections, order: Order) -> Sample:
    """All in the echo namespace, where everybody gets everything."""
    before_kb = pss_kb(order.target.server_pid)
    took_s = connections.open(order.members, order.in_flight, chat.ECHO_NAMESPACE)
    connections.drain()
    idle_kb = pss_kb(order.target.server_pid)
    members, times = connections.sockets, list[int]()
    reader = BulkReader(members, connections.epoll, chat.shouted(0, 0, connections.offset))
    witnesses = [Witness() for _ in range(CROWD_WITNESSES)]
    for witness, member in zip(witnesses, reversed(members), strict=False):
        reader.watch(member, witness.hear)
    paced = Paced(reader, order, order.rate_per_s, {each.fileno(): times for each in members})

    def send_next() -> list[int]:
        send(members[0], chat.shout(0, paced.sent))
        return times

    samples_ns, shares = paced.run(send_next)
    check([witness.take() for witness in witnesses], {0: range(paced.sent)})
    figures = {
        "missing": paced.sent * len(members) - reader.total_bytes // reader.frame_bytes,
        "kb_per_connection": round((idle_kb - before_kb) / order.members, 2),
        "server_mb": round(pss_kb(order.target.server_pid) / 1024, 1),
        "accepts_per_s": round(order.members / took_s),
    }
    return Sample("15000", latencies_ms(samples_ns) | figures, shares)
