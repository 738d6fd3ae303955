"""A member that does not read is cut off, counted, and costs the node and the room's others nothing."""

import asyncio
import time
from collections.abc import Iterator
from statistics import median, quantiles

import aiohttp
import pytest

from tests.support.eventually import eventually
from tests.support.raw_members import Member, joined, members
from tests.support.raw_websocket import (
    PING,
    RawWebSocket,
    client_frame,
    event,
    raw_upgrade,
    raw_websocket,
    text,
)
from tests.support.redis_server import RedisServer
from tests.support.wire_node import WireCluster, shared_wire_cluster

from .engine import Refusal, Session

SEND_BUFFER_BYTES = 200_000
MEMBERS = 199
RATE_PER_S = 30
MESSAGE_BYTES = 8_000
BASELINE = 45  # messages
# What the kernels may hold beside that, for a reader with a small receive buffer.
KERNEL_BYTES = 4_000_000
# Measured: 5 to 7 ms at the median, 12 to 34 ms at p95 (two busy cores, the clients on them as well), stalled
# members or not. A reader that was waited for would cost whole seconds.
ADDED_LATENCY_S = 0.25
GROWTH_KB = 8_000


@pytest.fixture(scope="module")
def cluster(redis_server: RedisServer, cluster_prefix: str) -> Iterator[WireCluster]:
    """One node, sound at the end."""
    yield from shared_wire_cluster(
        redis_server.url,
        cluster_prefix,
        1,
        SEND_BUFFER_BYTES=str(SEND_BUFFER_BYTES),
        MAX_MESSAGE_BYTES=str(SEND_BUFFER_BYTES),
        LOG_MAX_ENTRIES="100",
    )


class Talk:
    """Messages at a fixed rate, and how long each took to each member."""

    def __init__(self, speaker: RawWebSocket, room: str, listeners: list[Member]) -> None:
        self._speaker = speaker
        self._packet = event("say", room, "x" * MESSAGE_BYTES)
        self._listeners = listeners
        self._begun = [listener.size for listener in listeners]
        self._frame_bytes = 0
        self.sent_s: list[float] = []

    async def go_on(self, count: int) -> None:
        """So many messages, one every 1/30 s."""
        start_s = time.monotonic()
        for number in range(count):
            await asyncio.sleep(max(0.0, start_s + number / RATE_PER_S - time.monotonic()))
            self.sent_s.append(time.monotonic())
            await self._speaker.say(self._packet)

    async def all_came(self) -> None:
        """Waits until everybody has everything."""
        listener = self._listeners[0]
        self._frame_bytes = self._frame_bytes or MESSAGE_BYTES + len('42/wire,["said",""]') + 4
        due = self._frame_bytes * len(self.sent_s)
        pairs = list(zip(self._listeners, self._begun, strict=True))
        await eventually(lambda: all(each.size - begun >= due for each, begun in pairs), 10)
        assert {each.size - begun for each, begun in pairs} == {due}, listener.size

    def latencies_s(self, first: int, last: int) -> list[float]:
        """Of these messages, to every member."""
        return [
            listener.came_s(begun + (number + 1) * self._frame_bytes) - self.sent_s[number]
            for listener, begun in zip(self._listeners, self._begun, strict=True)
            for number in range(first, last)
        ]


def p95(values: list[float]) -> float:
    return quantiles(values, n=20)[-1]


async def hears_of(cluster: WireCluster, cut_off: int) -> None:
    """Waits until so many were cut off, and only they."""

    async def counted() -> bool:
        return int((await cluster.state())["slow_readers"]) >= cut_off

    await eventually(counted)
    assert (await cluster.state())["slow_readers"] == cut_off
    assert cluster[0].log().count("it does not read") == cut_off


async def until_cut_off(cluster: WireCluster, talk: Talk) -> int:
    """Talks until somebody is cut off; returns how many bytes that took."""
    before, start = await cut_off_so_far(cluster), len(talk.sent_s)
    while await cut_off_so_far(cluster) == before:
        await talk.go_on(3)
        sent = (len(talk.sent_s) - start) * MESSAGE_BYTES
        assert sent < SEND_BUFFER_BYTES + KERNEL_BYTES, "nobody was cut off"
    return sent


async def cut_off_so_far(cluster: WireCluster) -> int:
    return int((await cluster.state())["slow_readers"])


async def test_a_member_that_stops_reading_is_cut_off_while_the_others_keep_their_latency(
    cluster: WireCluster, http: aiohttp.ClientSession
) -> None:
    listeners = await members(cluster.url, "many", MEMBERS)
    async with raw_websocket(cluster.url) as speaker:
        talk = Talk(speaker, "many", listeners)
        await talk.go_on(BASELINE)
        before, cut_off = await cluster.state(), await cut_off_so_far(cluster)
        stalled = await joined(cluster.url, "many", receive_buffer_bytes=4096)
        sent = await until_cut_off(cluster, talk)
        assert sent > SEND_BUFFER_BYTES * 0.9
        poller = await polling_member(http, cluster.url)
        sent = await until_cut_off(cluster, talk)
        assert SEND_BUFFER_BYTES * 0.9 < sent < SEND_BUFFER_BYTES + 10 * MESSAGE_BYTES
        await talk.go_on(10)
        await talk.all_came()
        await hears_of(cluster, cut_off + 2)
        after = await cluster.state()
        assert after["rss_kb"] - before["rss_kb"] < GROWTH_KB
        assert after["sessions"] == before["sessions"]
        assert await ends(stalled)
        with pytest.raises(Refusal):
            await poller.poll()
    quiet, loud = talk.latencies_s(0, BASELINE), talk.latencies_s(BASELINE, len(talk.sent_s))
    figures_ms = [1000 * each for each in (median(quiet), p95(quiet), median(loud), p95(loud))]
    assert median(loud) < 3 * median(quiet) + ADDED_LATENCY_S, figures_ms
    assert p95(loud) < 3 * p95(quiet) + ADDED_LATENCY_S, figures_ms
    for listener in listeners:
        assert not listener.lost
        listener.close()


async def ends(ws: RawWebSocket) -> bool:
    """Whether its connection is cut once it reads again."""
    await ws.rest()
    return ws.ended


async def polling_member(http: aiohttp.ClientSession, url: str, room: str = "many") -> Session:
    session = await Session.open(http, url)
    await session.connect(namespace="/wire")
    await session.post(event("join", room, ack=1))
    await session.poll_for("43/wire,1")
    return session


async def test_who_stops_half_way_through_an_upgrade_is_cut_off(
    cluster: WireCluster, http: aiohttp.ClientSession
) -> None:
    cut_off = await cut_off_so_far(cluster)
    session = await polling_member(http, cluster.url, "half way")
    async with raw_upgrade(cluster.url, session.sid) as ws, raw_websocket(cluster.url) as speaker:
        await ws.say("2probe")
        assert await ws.message() == "3probe"
        packet = event("say", "half way", "x" * MESSAGE_BYTES)
        await speaker.say(*[packet] * (2 * SEND_BUFFER_BYTES // MESSAGE_BYTES))
        await hears_of(cluster, cut_off + 1)
        await ws.say("5")
        assert await ws.close_code() == 1000


@pytest.mark.parametrize("what", ["acknowledgements", "pongs", "echoes"])
async def test_who_asks_and_never_reads_the_answers_is_cut_off(cluster: WireCluster, what: str) -> None:
    """Whatever makes the node write: what waits is bounded, and asking more does not help."""

    async def nobody_is_there() -> bool:
        return bool((await cluster.state())["sessions"] == 0)

    await eventually(nobody_is_there)
    before, cut_off = await cluster.state(), await cut_off_so_far(cluster)
    ask = {
        "acknowledgements": text(event("answer", "x" * MESSAGE_BYTES, ack=1)) * 10,
        "pongs": client_frame(PING, "x" * 125) * 1000,
        "echoes": text(event("echo", "x" * MESSAGE_BYTES)) * 10,
    }[what]
    ws = await joined(cluster.url, "asking", receive_buffer_bytes=4096)
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(10):
            while True:
                await ws.send(ask)
    await hears_of(cluster, cut_off + 1)
    await eventually(nobody_is_there)
    assert (await cluster.state())["rss_kb"] - before["rss_kb"] < GROWTH_KB
    ws.close()


async def test_messages_that_together_are_larger_than_the_buffer_reach_who_reads(cluster: WireCluster) -> None:
    cut_off = await cut_off_so_far(cluster)
    large = "가" * (SEND_BUFFER_BYTES // 4)  # three bytes each
    async with raw_websocket(cluster.url) as ws:
        await ws.say(event("echo", large), event("answer", large, ack=1))
        got = [await ws.message(), await ws.message()]
        assert sorted(str(each)[:12] for each in got) == ['42/wire,["ec', '43/wire,1["가']
    assert await cut_off_so_far(cluster) == cut_off
