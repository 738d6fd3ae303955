"""Redis loses data: nodes notice, say so, and go on in one order; clients come back by themselves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.recovery.people import stock, told
from tests.support.cluster import RunningCluster, running_cluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients
from tests.support.redis_server import RedisServer

WITHIN_S = 15.0
pytestmark = pytest.mark.time_limit(60)


@contextlib.asynccontextmanager
async def chat(redis: RedisServer, key_prefix: str) -> AsyncIterator[tuple[RunningCluster, list[JsClient]]]:
    """Two nodes, two members of one room on each."""
    async with running_cluster(redis.url, key_prefix, 2) as cluster, JsClients() as js:
        clients = [
            client
            for node in cluster.nodes
            for client in await js.open_many(
                2, node.url, transports=["websocket"], auth={"room": "den"}, reconnectionDelay=100
            )
        ]
        yield cluster, clients


def said(client: JsClient) -> list[str]:
    """The numbers of the messages a client has seen, in order."""
    seen = (args[0] for args in client.args_of("broadcast_msg"))
    return [data["msg"].rpartition(" : ")[2] for data in seen if data["type"] == "message"]


async def say(client: JsClient, *messages: str) -> None:
    for message in messages:
        answer = await client.emit("send_msg", {"to": "ALL", "msg": message}, within_s=WITHIN_S)
        assert answer["ok"]


async def back_together(cluster: RunningCluster, clients: list[JsClient]) -> None:
    """Waits until every client has reconnected and the room has them all, once, on both nodes."""
    for client in clients:
        await client.wait_connected(connects=2, within_s=WITHIN_S)

    async def whole() -> bool:
        rooms = [await cluster.get("/api/rooms", number) for number in range(2)]
        return all(room["rooms"] == [{"namespace": "/", "room": "den", "members": 4}] for room in rooms)

    await eventually(whole, WITHIN_S)


async def assert_all_hear(clients: list[JsClient], messages: list[str]) -> None:
    """One more round from everybody, of messages not sent before: all hear the same in the same order."""

    def round_of(client: JsClient) -> list[str]:
        return [message for message in said(client) if message in messages]

    await asyncio.gather(*(say(client, *messages) for client in clients))
    total = len(messages) * len(clients)
    for client in clients:
        await client.wait_until(lambda c=client: len(round_of(c)) >= total, WITHIN_S)
    rounds = [round_of(client) for client in clients]
    assert all(heard == rounds[0] for heard in rounds)
    assert sorted(rounds[0]) == sorted(messages * len(clients))


async def test_an_emptied_redis_is_noticed_and_everybody_comes_back(
    own_redis: RedisServer, key_prefix: str
) -> None:
    async with chat(own_redis, key_prefix) as (cluster, clients):
        await say(clients[0], "1", "2")
        own_redis.command("FLUSHALL")
        await back_together(cluster, clients)
        await assert_all_hear(clients, ["3", "4"])
        assert all("lost" in node.log() for node in cluster.nodes)
        assert not any("Traceback" in node.log() for node in cluster.nodes)


async def test_who_does_not_come_back_to_an_emptied_redis_leaves_with_one_text(
    own_redis: RedisServer, key_prefix: str
) -> None:
    async with running_cluster(own_redis.url, key_prefix, 2, LOCALE="en") as cluster, JsClients() as js:
        bob = await stock(js, cluster[0].url, "den", "bob")
        ann = await stock(js, cluster[1].url, "den", "ann", reconnection=False)
        ann.send("changename", {"nickname": "anna"})
        await stock(js, cluster[1].url, "den", "cat", reconnection=False)
        await bob.wait_until(lambda: {"cat has joined.", "ann is now called anna."} <= set(told(bob)))
        own_redis.command("FLUSHALL")
        await bob.wait_connected(connects=2, within_s=WITHIN_S)
        left = {"anna has left.", "cat has left."}
        await bob.wait_until(lambda: left <= set(told(bob)), WITHIN_S)
        await say(bob, "1")
        assert sorted(text for text in told(bob) if text.endswith(" has left.")) == sorted(left)


async def test_an_emptied_redis_is_noticed_by_the_next_message(own_redis: RedisServer, key_prefix: str) -> None:
    async with chat(own_redis, key_prefix) as (cluster, clients):
        await say(clients[0], "1")
        own_redis.command("FLUSHALL")
        clients[3].send("send_msg", {"to": "ALL", "msg": "2"})  # before any heartbeat could tell
        await back_together(cluster, clients)
        await assert_all_hear(clients, ["3"])


async def test_a_redis_that_lacks_its_last_second_is_noticed(own_redis: RedisServer, key_prefix: str) -> None:
    async with chat(own_redis, key_prefix) as (cluster, clients):
        await say(clients[0], "1", "2")
        older = await asyncio.to_thread(own_redis.snapshot)
        await say(clients[1], "3", "4")
        for client in clients:
            await client.wait_for("broadcast_msg", lambda data: data["msg"].endswith(" : 4"))
        await asyncio.to_thread(own_redis.restore, older)
        await back_together(cluster, clients)
        await assert_all_hear(clients, ["5", "6"])
        assert any("entries of room 'den'" in node.log() for node in cluster.nodes)


async def test_a_restart_that_keeps_the_data_disconnects_nobody(own_redis: RedisServer, key_prefix: str) -> None:
    async with chat(own_redis, key_prefix) as (cluster, clients):
        await say(clients[0], "1")
        await asyncio.to_thread(own_redis.restart, keep_data=True)
        await assert_all_hear(clients, ["2", "3"])
        await cluster.ready()
        assert not any(client.disconnects for client in clients)


async def test_a_restart_without_data_brings_everybody_back(own_redis: RedisServer, key_prefix: str) -> None:
    async with chat(own_redis, key_prefix) as (cluster, clients):
        await say(clients[0], "1")
        await asyncio.to_thread(own_redis.restart, keep_data=False)
        await back_together(cluster, clients)
        await assert_all_hear(clients, ["2"])


async def test_ten_silent_seconds_of_redis_lose_nothing(own_redis: RedisServer, key_prefix: str) -> None:
    async with chat(own_redis, key_prefix) as (cluster, clients):
        await say(clients[0], "1")
        own_redis.pause()
        waiting = [asyncio.create_task(say(client, "2")) for client in clients]
        await asyncio.sleep(10.0)  # the length of the fault
        own_redis.resume()
        await asyncio.gather(*waiting)
        await assert_all_hear(clients, ["3"])
        await cluster.ready()
        assert not any(client.disconnects for client in clients)
        assert all(sorted(said(client)) == ["1", *["2"] * 4, *["3"] * 4] for client in clients)
