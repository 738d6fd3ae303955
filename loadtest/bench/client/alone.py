"""One member alone in a room: how long its own message takes to come back, one after another."""

import time

from ..proc import CpuMeter
from .measurement import Order, Sample, latencies_ms
from .opening import Connections
from .room import Room, send


def measure_echo(connections: Connections, order: Order) -> Sample:
    """Round trips of one sender."""
    room = Room(connections, order)
    before, reader = room.start(), room.reader
    began_s = time.perf_counter()
    samples_ns: list[int] = []
    meter = None
    while (passed_s := time.perf_counter() - began_s) < order.warm_up_s + order.measure_s:
        if meter is None and passed_s >= order.warm_up_s:
            meter = CpuMeter(order.target.server_pid, order.target.redis_pid)
            samples_ns.clear()
        sent_ns = time.perf_counter_ns()
        send(room.members[0], room.next_messages(0, 1))
        reader.wait_for((room.turns[0] - before[0]) * reader.frame_bytes)
        samples_ns.append(time.perf_counter_ns() - sent_ns)
    shares = meter.stop() if meter is not None else None
    room.finish(before)
    return Sample("echo", latencies_ms(samples_ns), shares)
