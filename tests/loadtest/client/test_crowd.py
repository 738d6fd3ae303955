"""Thousands of connections in one process: they come and go and leave nothing behind."""

import gc
import tracemalloc
from pathlib import Path

import gevent
import pytest
from gevent.pool import Pool

from loadtest.bench.limits import allow_files
from loadtest.client.client import Client
from loadtest.client.stream import Stream
from loadtest.client.wheel import wheel

from .conftest import Nodes
from .recorder import Recorder
from .waiting import until

CLIENTS = 2_000
AT_ONCE = 50
MEMORY_MAX_BYTES = 5_000  # of an idle connection, in Python


def files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def connected(nodes: Nodes, count: int, transport: str) -> list[Client]:
    """Half of them on each node."""
    recorder = Recorder()
    recorder.heard = lambda client, packets, now_s: None  # type: ignore[method-assign]
    clients = [
        Client(nodes[n % 2].url, recorder, namespace="/echo", transport=transport)  # type: ignore[arg-type]
        for n in range(count)
    ]
    pool = Pool(AT_ONCE)
    for client in clients:
        pool.spawn(client.connect)
    pool.join(raise_error=True)
    return clients


@pytest.mark.parametrize(("transport", "count"), [("websocket", CLIENTS), ("polling", CLIENTS // 4)])
def test_a_crowd_comes_and_goes_and_leaves_neither_files_nor_memory(
    nodes: Nodes, transport: str, count: int
) -> None:
    allow_files(3 * count)
    until(lambda: not wheel()._watched)  # those of before have left
    files_before = files()
    clients = connected(nodes, count, transport)
    assert all(client.is_connected for client in clients)
    assert files() >= files_before + count
    for client in clients:
        client.disconnect()
    until(lambda: files() <= files_before, within_s=10)
    gc.collect()
    gc.disable()  # what is left now would be a circle
    try:
        del clients, client
        gevent.sleep(0.1)
        left = [each for each in gc.get_objects() if isinstance(each, (Client, Stream))]
    finally:
        gc.enable()
    assert len(left) < 10
    assert not wheel()._watched


def test_an_idle_connection_takes_little_memory(nodes: Nodes) -> None:
    allow_files(3 * CLIENTS)
    tracemalloc.start()
    try:
        clients = connected(nodes, 500, "websocket")
        gevent.sleep(0.5)
        gc.collect()
        traced_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    per_client_bytes = traced_bytes / len(clients)
    for client in clients:
        client.disconnect()
    print(f"{per_client_bytes:.0f} bytes for each idle connection")
    assert per_client_bytes < MEMORY_MAX_BYTES
