"""A node that is told to stop: WebSockets get a close frame, nobody new comes in, and nobody delays the end."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.support.eventually import eventually
from tests.support.raw_members import joined
from tests.support.raw_websocket import (
    CLOSE,
    RawWebSocket,
    close_payload,
    event,
    opening,
    raw_upgrade,
    server_frame,
)
from tests.support.redis_server import RedisServer
from tests.support.wire_node import WireCluster, wire_cluster

from .engine import Session

POLLING = "/socket.io/?EIO=4&transport=polling"
# The last words' second, and the machine is busy.
EXIT_WITHIN_S = 5.0


@pytest.fixture
async def cluster(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[WireCluster]:
    """A node to be stopped, sound at the end."""
    async with wire_cluster(redis_server.url, key_prefix) as cluster:
        yield cluster


@asynccontextmanager
async def stopping(cluster: WireCluster) -> AsyncIterator[None]:
    """SIGTERM before the block; behind it, the node's exit in time."""
    started_s = time.monotonic()
    ended = asyncio.create_task(asyncio.to_thread(cluster[0].end))
    try:
        yield
    finally:
        assert await ended == 0
    assert time.monotonic() - started_s < EXIT_WITHIN_S


async def opened(url: str) -> RawWebSocket:
    ws = await RawWebSocket.connect(url)
    await ws.shake_hands()
    await ws.open_engine()
    return ws


async def test_all_websockets_get_a_close_frame_and_no_more(
    cluster: WireCluster, http: aiohttp.ClientSession
) -> None:
    idle = [await opened(cluster.url) for _ in range(30)]
    members = [await joined(cluster.url, "room") for _ in range(30)]
    session = await Session.open(http, cluster.url)
    async with raw_upgrade(cluster.url, session.sid) as upgrading:
        await upgrading.say("2probe")
        assert await upgrading.message() == "3probe"
        async with stopping(cluster):
            for ws in idle + members:
                assert await ws.rest() == server_frame(CLOSE, close_payload(1000))
            # It is not a session yet: the server itself ends it.
            assert await upgrading.close_code() in (1000, 1012)
    for ws in idle + members:
        ws.close()


async def test_what_was_said_before_the_end_comes_before_the_close_frame(cluster: WireCluster) -> None:
    listener, speaker = [await joined(cluster.url, "room") for _ in range(2)]
    await speaker.say(*(event("say", "room", n) for n in range(50)), event("answer", 1, ack=2))
    await speaker.message_for("43/wire,2")
    async with stopping(cluster):
        due = b"".join(server_frame(1, b'42/wire,["said",%d]' % n) for n in range(50))
        got = await listener.rest()
    assert got.endswith(server_frame(CLOSE, close_payload(1000)))
    assert due.startswith(got.removesuffix(server_frame(CLOSE, close_payload(1000))))
    listener.close()
    speaker.close()


async def test_nobody_who_is_silent_or_does_not_read_delays_the_exit(cluster: WireCluster) -> None:
    silent = [await opened(cluster.url) for _ in range(5)]
    stalled = await joined(cluster.url, "room", receive_buffer_bytes=4096)
    await stalled.say(*(event("answer", "x" * 60_000, ack=1) for _ in range(10)))
    half = await RawWebSocket.connect(cluster.url)
    await half.send(opening(half.host)[:50])
    nothing = await RawWebSocket.connect(cluster.url)
    await cluster.state()
    async with stopping(cluster):
        pass
    for ws in [*silent, stalled, half, nothing]:
        ws.close()


async def test_a_draining_node_takes_nobody_new(cluster: WireCluster) -> None:
    """Not on connections that were open before either."""
    slow, newcomer, poller = await joined(cluster.url, "room"), *[await kept_alive(cluster.url) for _ in range(2)]
    await slow.say(event("shut", ack=2), event("linger", ack=3))
    await slow.message_for("43/wire,3")
    started_s = time.monotonic()
    ended = asyncio.create_task(asyncio.to_thread(cluster[0].end))
    assert await slow.close_code() == 1000  # so it drains; the gate is shut, which keeps it from its end
    await newcomer.send(opening(newcomer.host))
    status, _, _ = await newcomer.answer()
    assert status in (401, 403, 503)
    await poller.send(f"GET {POLLING} HTTP/1.1\r\nHost: {poller.host}\r\n\r\n".encode())
    status, _, _ = await poller.answer()
    assert status in (401, 403, 503)
    assert await ended == 0
    assert time.monotonic() - started_s < 10.0  # after which SIGKILL would come
    with pytest.raises(OSError):
        await RawWebSocket.connect(cluster.url)
    for ws in (slow, newcomer, poller):
        ws.close()


async def kept_alive(url: str) -> RawWebSocket:
    """A connection that has made a request."""
    ws = await RawWebSocket.connect(url)
    await ws.send(f"GET /healthz HTTP/1.1\r\nHost: {ws.host}\r\n\r\n".encode())
    assert (await ws.answer())[0] == 200
    return ws


async def test_a_client_that_ends_while_the_node_does_is_no_error(cluster: WireCluster) -> None:
    clients = [await opened(cluster.url) for _ in range(40)]
    async with stopping(cluster):
        for number, ws in enumerate(clients):
            if number % 2:
                ws.reset()
            else:
                ws.close()
    await eventually(lambda: "node stopped" in cluster[0].log())
