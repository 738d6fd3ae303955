"""What a room and a socket cost in Redis: subscriptions only where members are, and few keys."""

import asyncio
import re

import aiohttp
import pytest

from tests.support.eventually import eventually
from tests.support.hub_node import Node, cluster_manager_node
from tests.support.redis_server import RedisServer

ROOMS = 1_000
SOCKETS = 1_000
pytestmark = pytest.mark.time_limit(60)


def channels(redis: RedisServer, key_prefix: str) -> list[str]:
    return redis.command("PUBSUB", "CHANNELS", f"{key_prefix}:*")  # type: ignore[no-any-return]


def subscriptions(redis: RedisServer, node: Node) -> int:
    """How many channels a node's listener has, as Redis counts them."""
    lines = redis.command("CLIENT", "LIST", "TYPE", "pubsub")
    texts = (
        lines.splitlines()
        if isinstance(lines, str)
        else [" ".join(f"{k}={v}" for k, v in c.items()) for c in lines]
    )
    own = [text for text in texts if f"clusterkit-{node.manager.node.node_id}" in text]
    assert len(own) == 1
    found = re.search(r"\bsub=(\d+)", own[0])
    assert found is not None
    return int(found[1])


async def test_a_node_hears_nothing_of_rooms_without_members_there(
    redis_server: RedisServer, key_prefix: str
) -> None:
    async with (
        cluster_manager_node(redis_server.url, key_prefix) as one,
        cluster_manager_node(redis_server.url, key_prefix) as two,
    ):
        ann = await one.client()
        rooms = [f"room-{number}" for number in range(ROOMS)]
        await asyncio.gather(*(one.server.enter_room(ann.sid, room) for room in rooms))
        await eventually(two.manager.readiness)
        own = {f"{key_prefix}:{{0}}:channel:/|{room}" for room in rooms}
        counts = redis_server.command("PUBSUB", "NUMSUB", *own)
        assert dict(zip(*[iter(counts)] * 2, strict=True)) == dict.fromkeys(own, 1)
        assert subscriptions(redis_server, one) == ROOMS + 2  # its inbox, and everybody in the namespace
        assert subscriptions(redis_server, two) == 1

        before = two.manager.cluster.metrics.deliveries
        await asyncio.gather(*(two.server.emit("hi", room, room=room) for room in rooms))
        await eventually(lambda: len(ann.args_of("hi")) == ROOMS)
        assert two.manager.cluster.metrics.deliveries == before

        await asyncio.gather(*(one.server.leave_room(ann.sid, room) for room in rooms))
        await eventually(lambda: subscriptions(redis_server, one) == 2)
        assert not own & set(channels(redis_server, key_prefix))


async def test_a_socket_that_only_receives_costs_one_key_and_no_subscription(
    redis_server: RedisServer, key_prefix: str
) -> None:
    async with (
        cluster_manager_node(redis_server.url, key_prefix) as node,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        sockets = await asyncio.gather(*(_connected(http, node.url) for _ in range(SOCKETS)))
        await eventually(lambda: len(node.manager.cluster.locals.sockets) == SOCKETS)
        assert subscriptions(redis_server, node) == 2
        keys = redis_server.command("KEYS", f"{key_prefix}:*")
        socket_keys = [key for key in keys if ":socket:" in key]
        assert len(socket_keys) == SOCKETS
        assert len(keys) - SOCKETS <= 6  # clock, nodes, writer, the node's sockets, everybody's members

        await node.server.emit("hi", 1)
        for socket in sockets:
            assert (await socket.receive_str(timeout=5)) == '42["hi",1]'
        assert subscriptions(redis_server, node) == 2
        for socket in sockets:
            await socket.close()
        await eventually(lambda: not redis_server.command("KEYS", f"{key_prefix}:*:socket:*"), within_s=20)


async def _connected(http: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse:
    socket = await http.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket")
    await socket.receive_str()
    await socket.send_str("40")
    assert (await socket.receive_str()).startswith("40{")
    return socket
