"""What a client may make a node hold: a bounded number of events, then its reading is paused, and nothing lost."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
import pytest

from tests.support.eventually import eventually, steadily
from tests.support.raw_websocket import (
    BINARY,
    RawWebSocket,
    answering,
    client_frame,
    event,
    raw_websocket,
    text,
)
from tests.support.redis_server import RedisServer
from tests.support.wire_node import WireCluster, shared_wire_cluster, wire_cluster

from .engine import Session

EVENT_QUEUE_MAX = 8
MAX_MESSAGE_BYTES = 50_000
INTERVAL_S = TIMEOUT_S = 0.6
SETTINGS = {
    "EVENT_QUEUE_MAX": str(EVENT_QUEUE_MAX),
    "MAX_MESSAGE_BYTES": str(MAX_MESSAGE_BYTES),
    "PING_INTERVAL_S": str(INTERVAL_S),
    "PING_TIMEOUT_S": str(TIMEOUT_S),
}
# More than two kernels take for a connection whose reader has stopped.
FLOOD, PADDING = 4_000, "x" * 4_000
GROWTH_KB = 8_000


@pytest.fixture(scope="module")
def cluster(redis_server: RedisServer, cluster_prefix: str) -> Iterator[WireCluster]:
    """One node with small limits and short pings, sound at the end."""
    yield from shared_wire_cluster(redis_server.url, cluster_prefix, 1, **SETTINGS)


@asynccontextmanager
async def gatekeeper(cluster: WireCluster) -> AsyncIterator[RawWebSocket]:
    """A client that has shut the gate for `hold`, and opens it at the latest in the end."""
    async with raw_websocket(cluster.url) as ws:
        await ws.say(event("shut", ack=1))
        await ws.message_for("43/wire,1")
        try:
            async with answering(ws):
                yield ws
        finally:
            await ws.say(event("gate"))


async def handled(cluster: WireCluster) -> list[int]:
    numbers: list[int] = (await cluster.state())["handled"]
    return numbers


async def is_full(cluster: WireCluster) -> bool:
    """Whether a client has as many unhandled events as it may, and not one more."""
    count = (await cluster.state())["unfinished_max"]
    assert count <= EVENT_QUEUE_MAX, count
    return bool(count == EVENT_QUEUE_MAX)


async def test_a_flood_is_paused_bounded_and_then_handled_whole_and_in_order(cluster: WireCluster) -> None:
    async with gatekeeper(cluster) as keeper, raw_websocket(cluster.url) as ws:
        before = await cluster.state()
        flood = b"".join(text(f'42/wire,["hold",{n}]' + " " * len(PADDING)) for n in range(FLOOD))
        flooding = asyncio.create_task(ws.send(flood))
        async with answering(ws) as inbox:
            await eventually(lambda: is_full(cluster))
            # Longer than a silent client lives: its pongs are behind the flood.
            await steadily(lambda: is_full(cluster), 2.5 * (INTERVAL_S + TIMEOUT_S))
            assert not flooding.done(), "the node has taken everything"
            during = await cluster.state()
            assert during["rss_kb"] - before["rss_kb"] < GROWTH_KB
            assert during["handled"] == []
            await keeper.say(event("gate"))
            await eventually(lambda: has_handled(cluster, FLOOD), 15)
            assert await handled(cluster) == list(range(FLOOD))
            await flooding
            await ws.say(event("answer", "still here", ack=1))
            await eventually(lambda: '43/wire,1["still here"]' in inbox)
            pings = ws.pings
            await eventually(lambda: ws.pings > pings + 1)


async def has_handled(cluster: WireCluster, count: int) -> bool:
    return len(await handled(cluster)) >= count


async def test_a_post_is_answered_when_it_is_handled_and_its_client_is_not_taken_for_silent(
    cluster: WireCluster, http: aiohttp.ClientSession
) -> None:
    async with gatekeeper(cluster) as keeper:
        session = await Session.open(http, cluster.url)
        await session.connect(namespace="/wire")
        count = 3 * EVENT_QUEUE_MAX
        posting = asyncio.create_task(session.post(*(event("hold", n) for n in range(count))))
        await eventually(lambda: is_full(cluster))
        await steadily(lambda: is_full(cluster), 2.5 * (INTERVAL_S + TIMEOUT_S))
        assert not posting.done()
        await keeper.say(event("gate"))
        assert await posting == b"OK"
        await session.post("3")
        await eventually(lambda: has_handled(cluster, count))
        assert await handled(cluster) == list(range(count))


async def test_who_was_paused_has_its_time_to_answer_afterwards(cluster: WireCluster) -> None:
    """The pong is behind what was paused, and takes some of its way still when reading goes on."""
    clients = 24
    async with gatekeeper(cluster) as keeper:
        made: list[RawWebSocket] = []
        for _ in range(clients):  # at all places of the wheel
            made.append(await paused_client(cluster.url))
            await asyncio.sleep(TIMEOUT_S / clients)
        await steadily(lambda: is_full(cluster), INTERVAL_S + TIMEOUT_S)
        await keeper.say(event("gate"))
        outcomes = await asyncio.gather(*map(late_pong, made))
        assert outcomes.count(True) == clients


async def paused_client(url: str) -> RawWebSocket:
    ws = await RawWebSocket.connect(url)
    await ws.shake_hands()
    await ws.open_engine()
    await ws.enter()
    await ws.say(*(event("hold", n, ack=n) for n in range(EVENT_QUEUE_MAX + 1)))
    return ws


async def late_pong(ws: RawWebSocket) -> bool:
    """Whether the client is still there after it has answered its ping, on a link that takes half the timeout."""
    await ws.message_for(f"43/wire,{EVENT_QUEUE_MAX}")
    await asyncio.sleep(TIMEOUT_S / 2)
    try:
        await ws.say("3", event("answer", 1, ack=99))
        await ws.message_for("43/wire,99")
    except (AssertionError, OSError):
        return False
    finally:
        ws.close()
    return True


async def test_sends_are_held_while_redis_stands_still_and_come_once_and_in_order(
    own_redis: RedisServer, key_prefix: str
) -> None:
    """Their handlers have returned: what counts is that the log has not answered."""
    texts = [f"{n}" for n in range(400)]
    async with (
        wire_cluster(own_redis.url, key_prefix, **SETTINGS, LOCALE="en") as cluster,
        raw_websocket(cluster.url, "/", {"room": "room", "nickname": "me"}) as ws,
        answering(ws) as inbox,
    ):
        packets = [event("send_msg", {"to": "ALL", "msg": each}, ack=int(each), namespace="/") for each in texts]
        await asyncio.to_thread(own_redis.pause)
        await ws.say(*packets)
        await eventually(lambda: is_full(cluster))
        await steadily(lambda: is_full(cluster), 2.5 * (INTERVAL_S + TIMEOUT_S))
        await asyncio.to_thread(own_redis.resume)
        await eventually(lambda: said_in(inbox)[-1:] == texts[-1:], 15)
        assert said_in(inbox) == texts
        await eventually(lambda: len(acknowledged_in(inbox)) == len(texts))
        assert acknowledged_in(inbox) == [f'43{each}[{{"ok":true}}]' for each in texts]


def said_in(inbox: list[str | bytes]) -> list[str]:
    """What was said in the chat's room."""
    packets = [each for each in inbox if isinstance(each, str) and each.startswith('42["broadcast_msg"')]
    fields = [orjson.loads(each[2:])[1] for each in packets]
    return [each["msg"].rpartition(" ")[2] for each in fields if each["type"] == "message"]


def acknowledged_in(inbox: list[str | bytes]) -> list[str]:
    return [each for each in inbox if isinstance(each, str) and each.startswith("43")]


# --- binary attachments --------------------------------------------------------------------------------------


async def half_packets(cluster: WireCluster) -> int:
    count: int = (await cluster.state())["half_packets"]
    return count


def binary_event(count: int) -> str:
    """An event that announces so many attachments."""
    holders = [{"_placeholder": True, "num": n} for n in range(count)]
    return event("answer", *holders, ack=5).replace("42/wire,", f"45{count}-/wire,")


async def test_announced_attachments_that_never_come_are_forgotten_with_the_client(cluster: WireCluster) -> None:
    async with raw_websocket(cluster.url) as ws, raw_websocket(cluster.url) as other:
        await ws.say(binary_event(3))
        await ws.send(client_frame(BINARY, b"one") + client_frame(BINARY, b"two"))
        await eventually(lambda: holds_half_packets(cluster, 1))
        await other.say(event("answer", 1, ack=1))
        assert await other.message_for("43") == "43/wire,1[1]"
        ws.close()
        await eventually(lambda: holds_half_packets(cluster, 0))


async def holds_half_packets(cluster: WireCluster, count: int) -> bool:
    return await half_packets(cluster) == count


async def test_attachments_come_back_as_they_were_sent(cluster: WireCluster) -> None:
    data = [b"", b"\0", bytes(range(256)) * 100]
    async with raw_websocket(cluster.url) as ws:
        await ws.send(text(binary_event(3)) + b"".join(client_frame(BINARY, each) for each in data))
        assert await ws.message() == binary_event(3).replace("453-/wire,", "463-/wire,").replace('"answer",', "")
        assert [await ws.message() for _ in data] == data


@pytest.mark.parametrize(
    "frames",
    [
        [text(binary_event(65))],
        [text(binary_event(2)), client_frame(BINARY, b"one"), text(event("answer", 1))],
        [text(binary_event(64)), *[client_frame(BINARY, bytes(MAX_MESSAGE_BYTES // 10))] * 11],
        [client_frame(BINARY, b"not announced")],
    ],
    ids=["too many", "a text between", "too long together", "not announced"],
)
async def test_attachments_that_break_the_rules_end_the_connection(
    cluster: WireCluster, frames: list[bytes]
) -> None:
    bad_packets = (await cluster.state())["bad_packets"]
    async with raw_websocket(cluster.url) as ws:
        await ws.send(b"".join(frames))
        assert await ws.close_code() == 1000
    assert (await cluster.state())["bad_packets"] == bad_packets + 1  # and not because it was silent
    await eventually(lambda: holds_half_packets(cluster, 0))


async def test_acknowledgements_that_nobody_asked_for_are_dropped(cluster: WireCluster) -> None:
    async with raw_websocket(cluster.url) as ws, answering(ws) as inbox:
        before = await cluster.state()
        for _ in range(20):
            await ws.send(text("43/wire,7[1]") * 2_000)
        await ws.say(event("answer", 1, ack=1))
        await eventually(lambda: "43/wire,1[1]" in inbox, 10)
        after = await cluster.state()
        assert after["rss_kb"] - before["rss_kb"] < 2 * GROWTH_KB
        assert after["tasks"] - before["tasks"] < 50
