"""Pings against a running node: who answers stays, who does not goes in time, and nobody's end stops the wheel."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterator

import aiohttp
import pytest

from tests.support.eventually import eventually
from tests.support.raw_websocket import (
    CLOSE,
    PING,
    PONG,
    Ended,
    RawWebSocket,
    answering,
    client_frame,
    event,
    raw_upgrade,
    raw_websocket,
)
from tests.support.redis_server import RedisServer
from tests.support.wire_node import WireCluster, shared_wire_cluster, wire_cluster

from .engine import Refusal, Session

INTERVAL_S = 0.3
TIMEOUT_S = 0.9
TICKS_PER_TURN_MIN = 20  # of `app.transport.pings`
SLACK_S = 2.0  # the machine is busy
WITHIN_S = INTERVAL_S + TIMEOUT_S + SLACK_S


@pytest.fixture(scope="module")
def cluster(redis_server: RedisServer, cluster_prefix: str) -> Iterator[WireCluster]:
    """One node with short intervals, sound at the end."""
    settings = {"PING_INTERVAL_S": str(INTERVAL_S), "PING_TIMEOUT_S": str(TIMEOUT_S)}
    yield from shared_wire_cluster(redis_server.url, cluster_prefix, 1, **settings)


async def answer_pings(ws: RawWebSocket, count: int) -> list[float]:
    """Answers so many; returns when they came."""
    came: list[float] = []
    for _ in range(count):
        assert await ws.message() == "2"
        came.append(time.monotonic())
        await ws.say("3")
    return came


async def test_who_answers_stays_and_is_pinged_once_an_interval(cluster: WireCluster) -> None:
    async with raw_websocket(cluster.url) as ws:
        came = await answer_pings(ws, 10)
        assert 9 * INTERVAL_S * 0.95 < came[-1] - came[0] < 9 * INTERVAL_S + 10 * SLACK_S
        await ws.say(event("answer", 1, ack=1))
        assert await ws.message_for("43") == "43/wire,1[1]"


async def test_who_answers_stays_over_polling_and_an_upgrade(
    cluster: WireCluster, http: aiohttp.ClientSession
) -> None:
    session = await Session.open(http, cluster.url)
    for _ in range(5):
        assert await session.poll() == ["2"]
        await session.post("3")
    async with raw_upgrade(cluster.url, session.sid) as ws:
        await ws.say("2probe")
        assert await ws.message() == "3probe"
        await ws.say("5")
        await answer_pings(ws, 6)


@pytest.mark.parametrize("namespace", [None, "/wire"])
async def test_who_is_silent_is_closed_in_time(cluster: WireCluster, namespace: str | None) -> None:
    started_s = time.monotonic()
    async with raw_websocket(cluster.url, namespace) as ws:
        assert await ws.message() == "2"
        assert await ws.close_code() == 1000
        assert INTERVAL_S + TIMEOUT_S * 0.9 < time.monotonic() - started_s < WITHIN_S


async def test_who_answers_with_anything_but_a_pong_is_closed_in_time(cluster: WireCluster) -> None:
    started_s = time.monotonic()
    async with raw_websocket(cluster.url) as ws, asyncio.timeout(WITHIN_S + 1):
        with contextlib.suppress(Ended, OSError):
            while (frame := await ws.frame()).opcode != CLOSE:
                await ws.send(client_frame(PONG) + client_frame(PING, "x"))
                if frame.payload == b"2":
                    await ws.say(event("answer", 1, ack=1))
    assert time.monotonic() - started_s < WITHIN_S


async def test_pongs_that_nobody_asked_for_neither_end_a_session_nor_keep_it(cluster: WireCluster) -> None:
    async with raw_websocket(cluster.url) as ws:
        await ws.say(*["3"] * 50)
        started_s = time.monotonic()
        assert await ws.message() == "2"
        assert await ws.close_code() == 1000
        assert time.monotonic() - started_s < WITHIN_S


@pytest.mark.parametrize("polls", [True, False])
async def test_a_silent_poller_is_gone_in_time(
    cluster: WireCluster, http: aiohttp.ClientSession, polls: bool
) -> None:
    session = await Session.open(http, cluster.url)
    if polls:
        assert await session.poll() == ["2"]

    async def gone() -> bool:
        return bool((await cluster.state())["sessions"] == 0)

    await eventually(gone, WITHIN_S)
    with pytest.raises(Refusal):
        await session.poll()


async def test_an_upgrade_restarts_the_wait_for_a_pong(cluster: WireCluster, http: aiohttp.ClientSession) -> None:
    """A ping that was on its way by a poll may be answered by the WebSocket, or come there again."""
    session = await Session.open(http, cluster.url)
    assert await session.poll() == ["2"]
    async with raw_upgrade(cluster.url, session.sid) as ws:
        await ws.say("2probe")
        assert await ws.message() == "3probe"
        await ws.say("5", "3")
        await answer_pings(ws, 4)


async def lingering(url: str) -> RawWebSocket:
    """A client whose end its handler does not let go before the gate is opened."""
    ws = await RawWebSocket.connect(url)
    await ws.shake_hands()
    await ws.open_engine()
    await ws.enter()
    await ws.say(event("shut", ack=1), event("linger", ack=2))
    await ws.message_for("43/wire,2")
    return ws


async def test_the_slow_end_of_a_client_leaves_the_others_their_pings(
    redis_server: RedisServer, key_prefix: str
) -> None:
    """Its handler waits (for Redis, say) longer than a ping interval."""
    settings = {"PING_INTERVAL_S": str(INTERVAL_S), "PING_TIMEOUT_S": str(TIMEOUT_S)}
    async with wire_cluster(redis_server.url, key_prefix, **settings) as cluster:
        async with raw_websocket(cluster.url) as other, answering(other):
            ended, reset, said_goodbye, closed = [await lingering(cluster.url) for _ in range(4)]
            ended.close()
            reset.reset()
            await said_goodbye.say("1")
            await closed.send(client_frame(CLOSE))
            pings = other.pings
            await eventually(lambda: other.pings > pings + 4, 5 * WITHIN_S)
            await other.say(event("gate"))
            await eventually(lambda: ended_are(cluster, 4))
        said_goodbye.close()
        closed.close()


async def ended_are(cluster: WireCluster, count: int) -> bool:
    return len((await cluster.state())["ended"]) == count


async def test_nothing_is_sent_behind_a_close_frame(cluster: WireCluster) -> None:
    """Not a ping either, while the handlers of the session's end still run (RFC 6455, 5.5.1)."""
    ws = await lingering(cluster.url)
    await ws.say("1")
    assert await ws.close_code() == 1000
    try:
        assert await ws.rest(3) == b""
    finally:
        async with raw_websocket(cluster.url) as other:
            await other.say(event("gate"))
        ws.close()


async def test_a_busy_node_pings_before_its_clients_give_it_up(redis_server: RedisServer, key_prefix: str) -> None:
    """A stock client goes when no ping has come for the interval and the timeout together."""
    interval_s, timeout_s = 1.0, 0.6
    settings = {"PING_INTERVAL_S": str(interval_s), "PING_TIMEOUT_S": str(timeout_s)}
    async with wire_cluster(redis_server.url, key_prefix, **settings) as cluster, raw_websocket(cluster.url) as ws:
        await answer_pings(ws, 1)
        # Every turn of the loop takes two ticks. With the default settings that would be 0.2 s, and two turns of
        # 0.1 s come to the same: a flush to some 15,000 members.
        await ws.say(event("busy", 2 * timeout_s / TICKS_PER_TURN_MIN, 3.5))
        came = await answer_pings(ws, 3)
        gaps = [later - earlier for earlier, later in itertools.pairwise(came)]
        assert max(gaps) < interval_s + timeout_s, gaps
