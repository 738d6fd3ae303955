"""What the load client itself can take: frames from a server that does nothing but write ready-made ones.

The server (`trivial_server.py`) is limited by the kernel, so the client's CPU share belongs to the figure.
"""

import select
import socket
import time

from ..proc import CpuMeter
from ..trivial_server import FRAME
from .bulk import BulkReader
from .measurement import Order, Sample

POLL_S = 0.5


def measure_ceiling(order: Order) -> list[Sample]:
    """One sample for each of the server's batches that is named as a line."""
    return [_measure(order, name) for name in order.lines]


def _measure(order: Order, name: str) -> Sample:
    epoll, sockets = select.epoll(), list[socket.socket]()
    control = socket.create_connection(("127.0.0.1", order.target.port))
    control.sendall(f"{order.members} {name}\n".encode())
    for _ in range(order.members):
        made = socket.create_connection(("127.0.0.1", order.target.port))
        made.setblocking(False)
        epoll.register(made.fileno(), select.EPOLLIN)
        sockets.append(made)
    reader = BulkReader(sockets, epoll, FRAME)
    try:
        _poll_for(reader, order.warm_up_s)
        meter = CpuMeter(order.target.server_pid, order.target.redis_pid)
        before, began_s = reader.total_bytes, time.perf_counter()
        _poll_for(reader, order.measure_s)
        took_s = time.perf_counter() - began_s
        rate = (reader.total_bytes - before) / len(FRAME) / took_s
        return Sample(name, {"deliveries_per_s": round(rate, 1)}, meter.stop())
    finally:
        for each in [control, *sockets]:
            each.close()
        epoll.close()


def _poll_for(reader: BulkReader, seconds: float) -> None:
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        reader.poll(POLL_S)
