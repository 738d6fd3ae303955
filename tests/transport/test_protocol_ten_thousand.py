"""Ten thousand idle connections on one node: they survive three ping intervals, answer, and cost little."""

import asyncio
import resource
import select
import socket
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.machine import lacking
from tests.support.raw_websocket import event, opening, server_frame, text
from tests.support.redis_server import RedisServer
from tests.support.wire_node import WireCluster, wire_cluster

CONNECTIONS = 10_000
FILES = CONNECTIONS + 500
AT_ONCE = 64  # openings under way
INTERVAL_S, TIMEOUT_S = 5, 5
INTERVALS = 3
READ_BYTES = 1 << 16
PING, PONG = server_frame(1, b"2"), text("3")
CONNECTED = b"40/wire,"
# Measured: 4 % of a core for 10,000 pings and pongs in 5 s, and 3.9 kB for each connection.
CPU_SHARE_MAX = 0.5
KB_EACH_MAX = 20


@pytest.fixture
async def cluster(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[WireCluster]:
    """One node; it and this process may open enough files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        raise lacking(f"{FILES} open files", f"`ulimit -Hn` says {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    settings = {"PING_INTERVAL_S": str(INTERVAL_S), "PING_TIMEOUT_S": str(TIMEOUT_S)}
    try:
        async with wire_cluster(redis_server.url, key_prefix, **settings) as cluster:
            yield cluster
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Many clients in one thread: each opens, connects to `/wire`, answers pings, and asks once when told to."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._address = (host, int(port))
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._unread: dict[int, bytes] = {}
        self._opening = 0
        self.pings: dict[int, int] = {}
        self.connected: set[int] = set()
        self.answered: set[int] = set()
        self.lost = 0

    def open(self, count: int) -> None:
        """Opens so many, a bounded number at a time."""
        while len(self._sockets) + self.lost < count or self._opening:
            while self._opening < AT_ONCE and len(self._sockets) + self.lost < count:
                self._begin()
            self._turn(1.0)

    def stay(self, for_s: float) -> None:
        """Answers pings for so long."""
        end_s = time.monotonic() + for_s
        while (left_s := end_s - time.monotonic()) > 0:
            self._turn(left_s)

    def ask(self, within_s: float) -> None:
        """Has everybody send an event; returns when all are answered."""
        packet = text(event("answer", "still here", ack=1))
        end_s = time.monotonic() + within_s
        for file, sock in list(self._sockets.items()):
            self._send(file, sock, packet)
        while len(self.answered) < len(self._sockets) and time.monotonic() < end_s:
            self._turn(0.1)

    def close(self) -> None:
        """Ends all connections."""
        for sock in self._sockets.values():
            sock.close()
        self._poll.close()

    def _begin(self) -> None:
        sock = socket.create_connection(self._address)
        sock.sendall(opening(f"{self._address[0]}:{self._address[1]}"))
        sock.setblocking(False)
        self._sockets[sock.fileno()] = sock
        self._unread[sock.fileno()] = b""
        self._poll.register(sock.fileno(), select.EPOLLIN)
        self._opening += 1

    def _turn(self, wait_s: float) -> None:
        for file, _ in self._poll.poll(wait_s):
            self._read(file)

    def _read(self, file: int) -> None:
        try:
            data = self._sockets[file].recv(READ_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            self._lose(file)
            return
        self._take(file, self._unread[file] + data)

    def _take(self, file: int, data: bytes) -> None:
        sock = self._sockets[file]
        if file not in self.connected and b"\r\n\r\n" in data and b'"maxPayload"' in data:
            self._send(file, sock, text("40/wire,"))
            data = b""
        elif file not in self.connected and CONNECTED in data:
            self.connected.add(file)
            self._opening -= 1
            data = b""
        elif file in self.connected:
            if pings := data.count(PING):
                self.pings[file] = self.pings.get(file, 0) + pings
                self._send(file, sock, PONG * pings)
            if b'43/wire,1["still here"]' in data:
                self.answered.add(file)
            data = b""
        self._unread[file] = data

    def _send(self, file: int, sock: socket.socket, data: bytes) -> None:
        try:
            sock.sendall(data)
        except OSError:
            self._lose(file)

    def _lose(self, file: int) -> None:
        self.lost += 1
        self._opening -= file not in self.connected
        self._poll.unregister(file)
        self._sockets.pop(file).close()


@pytest.mark.time_limit(120)
async def test_ten_thousand_idle_connections_survive_three_ping_intervals(cluster: WireCluster) -> None:
    before = await cluster.state()
    crowd = Crowd(cluster.url)
    try:
        await asyncio.to_thread(crowd.open, CONNECTIONS)
        assert (crowd.lost, len(crowd.connected)) == (0, CONNECTIONS)
        # A moment for what the connecting left to do.
        await asyncio.to_thread(crowd.stay, 0.5)
        begun, begun_s = await cluster.state(), time.monotonic()
        pings = dict(crowd.pings)
        await asyncio.to_thread(crowd.stay, INTERVALS * INTERVAL_S + 1)
        ended, ended_s = await cluster.state(), time.monotonic()
        assert crowd.lost == 0
        assert ended["sessions"] == ended["sockets"] == CONNECTIONS
        got = [crowd.pings.get(file, 0) - pings.get(file, 0) for file in crowd.connected]
        assert INTERVALS - 1 <= min(got) <= max(got) <= INTERVALS + 1
        share = (ended["cpu_s"] - begun["cpu_s"]) / (ended_s - begun_s)
        assert share < CPU_SHARE_MAX, share
        assert (ended["rss_kb"] - before["rss_kb"]) / CONNECTIONS < KB_EACH_MAX
        await asyncio.to_thread(crowd.ask, 20.0)
        assert (crowd.lost, len(crowd.answered)) == (0, CONNECTIONS)
    finally:
        crowd.close()
