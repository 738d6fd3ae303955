"""Connections that do nothing: how fast they are accepted, and what memory each takes.

Connected to namespace `/`, in no room.
"""

from ..proc import CpuMeter, pss_kb
from .measurement import Order, Sample
from .opening import Connections

# They connect first and stay, so that neither what a server allocates once is counted, nor is what they would
# leave behind as free memory taken for the others' thrift.
EARLIER = 500
SETTLE_S = 2.0


def measure_idle(order: Order) -> list[Sample]:
    """`accepts` and `memory` of the same connections."""
    server_pid = order.target.server_pid
    connections = Connections(order.target.port)
    connections.open(min(EARLIER, order.members), order.in_flight)
    connections.drain(SETTLE_S)
    before_kb = pss_kb(server_pid)
    meter = CpuMeter(server_pid, order.target.redis_pid)
    took_s = connections.open(order.members, order.in_flight)
    shares = meter.stop()
    connections.drain(SETTLE_S)
    idle_kb = pss_kb(server_pid)
    return [
        Sample("accepts", {"accepts_per_s": round(order.members / took_s, 1)}, shares),
        Sample("memory", {"kb_per_connection": round((idle_kb - before_kb) / order.members, 3)}, None),
    ]
