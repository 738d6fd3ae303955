"""Three nodes, ten sockets on each, thirty senders at full speed: one order for all, whatever happens below."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.support.cluster import RunningCluster, running_cluster
from tests.support.js_client import JsClient, JsClients
from tests.support.redis_server import RedisServer

NODES = 3
SOCKETS_PER_NODE = 10
STORM_S = 10.0
BURST = 5  # messages a sender has under way at once
SETTLE_WITHIN_S = 30.0
NUMBERED = re.compile(r" : (\d+-\d+)$")

pytestmark = pytest.mark.time_limit(90)
Trouble = Callable[[], Awaitable[None]]


@contextlib.asynccontextmanager
async def members(redis: RedisServer, key_prefix: str) -> AsyncIterator[tuple[RunningCluster, list[JsClient]]]:
    """A cluster with `SOCKETS_PER_NODE` members of one room on each node."""
    async with running_cluster(redis.url, key_prefix, NODES) as cluster, JsClients() as js:
        clients = [
            client
            for node in cluster.nodes
            for client in await js.open_many(
                SOCKETS_PER_NODE, node.url, transports=["websocket"], auth={"room": "storm"}
            )
        ]
        yield cluster, clients


async def storm(clients: list[JsClient], for_s: float, trouble: Trouble) -> set[str]:
    """All send at full speed for `for_s` while `trouble` runs; returns the messages that were acknowledged."""
    end_s = time.monotonic() + for_s
    troubling = asyncio.create_task(trouble())
    acknowledged = await asyncio.gather(*(_send(client, end_s) for client in clients))
    await troubling
    return set().union(*acknowledged)


async def _send(client: JsClient, end_s: float) -> set[str]:
    acknowledged: set[str] = set()
    burst = 0
    while time.monotonic() < end_s:
        first = burst * BURST
        message = f"{client.number}-{first}{{n}}"  # {n} is replaced by 0, 1, ...
        answers = await client.emit_many("send_msg", BURST, {"to": "ALL", "msg": message}, within_s=40)
        assert all(answer["ok"] for answer in answers), answers
        acknowledged |= {f"{client.number}-{first}{n}" for n in range(BURST)}
        burst += 1
    return acknowledged


def received(client: JsClient) -> list[str]:
    """The numbered messages a client has seen, in order."""
    texts = (args[0]["msg"] for args in client.args_of("broadcast_msg") if args[0]["type"] == "message")
    return [found[1] for text in texts if (found := NUMBERED.search(text))]


async def assert_one_order(clients: list[JsClient], acknowledged: set[str]) -> None:
    """Every client has the same sequence, in which each acknowledged message is once."""
    await clients[0].emit("send_msg", {"to": "ALL", "msg": "the end"}, within_s=SETTLE_WITHIN_S)
    for client in clients:
        await client.wait_for(
            "broadcast_msg", lambda data: data["msg"].endswith("the end"), within_s=SETTLE_WITHIN_S
        )
    sequence = received(clients[0])
    assert len(sequence) == len(set(sequence)), "a message came twice"
    assert acknowledged <= set(sequence), "an acknowledged message is missing"
    for client in clients[1:]:
        assert received(client) == sequence
    assert not any(client.disconnects for client in clients)


async def nothing() -> None:
    """No trouble."""


async def test_all_members_see_one_sequence(redis_server: RedisServer, key_prefix: str) -> None:
    async with members(redis_server, key_prefix) as (_, clients):
        acknowledged = await storm(clients, STORM_S, nothing)
        assert len(acknowledged) > 500
        await assert_one_order(clients, acknowledged)


async def test_the_order_survives_cut_redis_connections(own_redis: RedisServer, key_prefix: str) -> None:
    async with members(own_redis, key_prefix) as (cluster, clients):
        node_id = (await cluster.get("/healthz"))["node_id"]
        cuts = 0

        async def cut_every_second() -> None:
            nonlocal cuts
            for _ in range(int(STORM_S)):
                cuts += await asyncio.to_thread(own_redis.kill_connections, name=f"clusterkit-{node_id}")
                await asyncio.sleep(1.0)  # the schedule of the fault, not a wait for a fact

        acknowledged = await storm(clients, STORM_S, cut_every_second)
        assert cuts >= STORM_S
        await assert_one_order(clients, acknowledged)


async def test_the_order_survives_a_redis_that_stops_for_five_seconds(
    own_redis: RedisServer, key_prefix: str
) -> None:
    async with members(own_redis, key_prefix) as (_, clients):

        async def stop_for_five_seconds() -> None:
            await asyncio.sleep(3.0)
            own_redis.pause()
            await asyncio.sleep(5.0)
            own_redis.resume()

        acknowledged = await storm(clients, STORM_S, stop_for_five_seconds)
        await assert_one_order(clients, acknowledged)
