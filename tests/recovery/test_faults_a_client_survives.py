"""Nodes and Redis fail in every way there is: stock clients are recovered, and have missed nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from app.hub.emitter import Emitter
from tests.support.cluster import RunningCluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients
from tests.support.redis_server import RedisServer

from .breakdowns import drained, killed, paused, paused_redis
from .door import Door
from .people import WITHIN_S, agree, back, say, stock, told, witness
from .visitor import visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

LEASE_S = 2
REDIS_STOPPED_S = 3.0
# More than the buffers between a node and its client hold.
MISSED = 1_500
RECEIVE_BUFFER_BYTES = 8_192
# What a client says just when its connection breaks once more is said again.
RETRYING = {"retries": 10, "ackTimeout": 2000}


@pytest.fixture(scope="module")
def cluster_redis() -> Iterator[RedisServer]:
    """One to break, which keeps its data over a restart."""
    with RedisServer(appendonly="yes") as server:
        yield server


@pytest.fixture(scope="module")
def cluster_settings() -> dict[str, str]:
    """A node is soon taken for dead, and so is a connection."""
    return {"LEASE_S": f"{LEASE_S}", "PING_INTERVAL_S": "1", "PING_TIMEOUT_S": "2"}


class Party:
    """Recovering clients in a room, behind a door to node 0, and a witness on node 2."""

    def __init__(self, cluster: RunningCluster, door: Door, bob: JsClient, guests: list[JsClient]) -> None:
        self.cluster = cluster
        self.door = door
        self.bob = bob
        self.guests = guests
        self._sids = [guest.sid for guest in guests]
        self._connects = [guest.connects for guest in guests]

    async def gone(self, how: Callable[[], Any] = lambda: None) -> None:
        """Waits until all have noticed that they are not connected, after `how`."""
        how()
        for guest in self.guests:
            await guest.wait_until(lambda guest=guest: not guest.connected, WITHIN_S, what="disconnect")

    async def all_back(self, number: int = 1) -> None:
        """Lets them in at a node; they are who they were, and agree with the witness, who saw nobody leave."""
        self.door.lead_to(self.cluster[number].url)
        for guest, connects in zip(self.guests, self._connects, strict=True):
            await back(guest, connects + 1, 2 * WITHIN_S)
        for guest in self.guests:
            await say(guest, "me")
        await say(self.bob, "after")
        for guest, sid in zip(self.guests, self._sids, strict=True):
            assert (guest.recovered, guest.sid) == (True, sid)
            await agree(guest, self.bob)
        assert told(self.bob, "message")[-3:] == ["web : me", "phone : me", "bob : after"]
        assert told(self.bob, "leave") == []


@pytest_asyncio.fixture(loop_scope="module")
async def party(cluster: RunningCluster, js: JsClients, door: Door, room: str) -> AsyncIterator[Party]:
    """One of them over a WebSocket, one over long-polling."""
    bob = await witness(js, cluster[2].url, room)
    guests = [
        await stock(js, door.url, room, "web", "websocket", **RETRYING),
        await stock(js, door.url, room, "phone", "polling", **RETRYING),
    ]
    await say(bob, "before")
    yield Party(cluster, door, bob, guests)


async def test_a_killed_node(party: Party) -> None:
    party.door.shut()
    async with killed(party.cluster, 0):
        await party.gone()
        await say(party.bob, "while away", "and more")
        await party.all_back()


async def test_a_node_that_was_killed_long_enough_to_be_given_up(party: Party) -> None:
    party.door.shut()
    async with killed(party.cluster, 0):
        await party.gone()
        await say(party.bob, "while away")
        await eventually(lambda: any("is dead" in node.log() for node in party.cluster.nodes[1:]), WITHIN_S)
        await party.all_back()


async def test_a_node_that_stands_still_for_longer_than_its_lease(party: Party) -> None:
    """What the clients find out by themselves, since no ping comes."""
    buried = [node.log().count("is dead") for node in party.cluster.nodes]
    with paused(party.cluster[0]):
        party.door.lead_to(party.cluster[1].url)
        await say(party.bob, "while it stands still")
        await eventually(lambda: buried != [node.log().count("is dead") for node in party.cluster.nodes], WITHIN_S)
        await say(party.bob, "while it is taken for dead")
        await party.all_back()
    await say(party.bob, "when it goes on")
    for guest in party.guests:
        await agree(guest, party.bob)
    assert told(party.bob, "leave") == []


async def test_a_node_that_is_drained(party: Party) -> None:
    party.door.shut()
    async with drained(party.cluster, 0):
        await party.gone()
        await say(party.bob, "while away")
        await party.all_back()


async def test_a_rolling_restart_of_all_nodes_but_the_witness_own(party: Party) -> None:
    for number, other in ((0, 1), (1, 0)):
        party.door.lead_to(party.cluster[other].url)
        async with drained(party.cluster, number):
            await say(party.bob, f"without node {number}")
            for guest in party.guests:
                await guest.wait_connected(guest.reconnects + 1)
        await say(party.bob, f"with node {number}")
    await eventually(lambda: all(guest.connected and guest.connects == 3 for guest in party.guests), WITHIN_S)
    await party.all_back(0)


@pytest.mark.parametrize("kind", [None, "pubsub"], ids=["all", "subscriptions"])
async def test_cut_connections_to_redis(party: Party, cluster_redis: RedisServer, kind: str | None) -> None:
    party.door.shut()
    await party.gone(party.door.cut)
    await asyncio.to_thread(cluster_redis.kill_connections, kind=kind)
    await say(party.bob, "while away")
    party.door.lead_to(party.cluster[1].url)
    await asyncio.to_thread(cluster_redis.kill_connections, kind=kind)
    await party.all_back()


async def test_a_redis_that_stands_still_and_a_cut_after_it(party: Party, cluster_redis: RedisServer) -> None:
    with paused_redis(cluster_redis):
        party.bob.send("send_msg", {"to": "ALL", "msg": "meanwhile"})
        await asyncio.sleep(REDIS_STOPPED_S)  # the length of the fault
    party.door.shut()
    await party.gone(party.door.cut)
    await say(party.bob, "while away")
    await party.all_back()


async def test_a_cut_while_redis_stands_still(party: Party, cluster_redis: RedisServer) -> None:
    with paused_redis(cluster_redis):
        party.door.shut()
        await party.gone(party.door.cut)
        party.door.lead_to(party.cluster[1].url)
        party.bob.send("send_msg", {"to": "ALL", "msg": "meanwhile"})
        await asyncio.sleep(REDIS_STOPPED_S)  # the length of the fault
    await party.all_back()


async def test_a_restart_of_redis_that_keeps_its_data(party: Party, cluster_redis: RedisServer) -> None:
    party.door.shut()
    await party.gone(party.door.cut)
    await say(party.bob, "while away")
    await asyncio.to_thread(cluster_redis.kill)
    await asyncio.to_thread(cluster_redis.start)
    await say(party.bob, "after the restart")
    await party.all_back()


async def test_a_killed_node_and_a_redis_that_restarts(party: Party, cluster_redis: RedisServer) -> None:
    party.door.shut()
    async with killed(party.cluster, 0):
        await party.gone()
        await say(party.bob, "while away")
        await asyncio.to_thread(cluster_redis.kill)
        await asyncio.to_thread(cluster_redis.start)
        await party.all_back()


async def test_all_nodes_killed_at_once(cluster: RunningCluster, js: JsClients, door: Door, room: str) -> None:
    """Nobody is left to see it: two who recover find each other again, and all that was said."""
    ann = await stock(js, door.url, room, "ann", **RETRYING)
    eve = await stock(js, cluster[2].url, room, "eve", **RETRYING)
    sids = ann.sid, eve.sid
    await say(eve, "before")
    async with contextlib.AsyncExitStack() as replaced:
        for number in range(3):
            await replaced.enter_async_context(killed(cluster, number))
        for client in (ann, eve):
            await client.wait_until(lambda client=client: not client.connected)
    for client in (ann, eve):
        await back(client, 2, 2 * WITHIN_S)
    await say(ann, "here")
    await say(eve, "here, too")
    await agree(eve, ann)
    assert (ann.recovered, eve.recovered) == (True, True)
    assert (ann.sid, eve.sid) == sids
    assert told(ann) == ["ann has joined.", "eve has joined.", "eve : before", "ann : here", "eve : here, too"]


async def test_a_redis_that_stands_still_during_a_replay(
    cluster: RunningCluster, cluster_redis: RedisServer, emitter: Emitter, room: str
) -> None:
    """It ends the connection, and the client goes on from there."""
    async with visitor(cluster[0].url, room=room) as ann:
        ann.cut()
        await asyncio.gather(*(emitter.emit("step", [n, "x" * 4_000], room=room) for n in range(MISSED)))
        await ann.come(cluster[1].url, RECEIVE_BUFFER_BYTES)
        await ann.read_until(lambda: len(ann.told("step")) >= 10)
        with paused_redis(cluster_redis), pytest.raises((AssertionError, OSError)):
            await ann.read_until(lambda: len(ann.told("step")) == MISSED)
        await ann.come(cluster[0].url)
        assert ann.recovered
        await ann.read_until(lambda: len(ann.told("step")) == MISSED)
        assert [n for n, _ in ann.told("step")] == list(range(MISSED))
