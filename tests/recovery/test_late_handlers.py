"""Handlers that go on after their client has broken off, and what others do to a client that is coming back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from app.errors import Stale
from app.wire import RoomId
from tests.store.bare_node import BareNode, bare_node
from tests.support.eventually import eventually, steadily
from tests.support.redis_server import RedisServer

from .handled import HandledNode, handled_node
from .visitor import Visitor

GRACE_S = 1
DEN, ATTIC = RoomId("/", "den"), RoomId("/", "attic")
SHORT = {"leave_grace_s": GRACE_S, "recovery_window_s": 30, "lease_s": 2}


@pytest.fixture
async def node(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[HandledNode]:
    async with handled_node(redis_server, key_prefix, **SHORT) as made:
        yield made


@pytest.fixture
async def bare(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[BareNode]:
    async with bare_node(redis_server.url, key_prefix, leave_grace_s=0) as made:
        await made.cluster.nodes.leave()
        yield made


async def test_a_handler_may_disconnect_its_client_after_that_has_broken_off(node: HandledNode) -> None:
    asked, returned = asyncio.Event(), asyncio.Event()

    async def misbehave(sid: str, data: object) -> None:
        await asked.wait()
        await node.server.disconnect(sid)
        returned.set()

    node.server.on("misbehave", misbehave)
    ann = Visitor({})
    await ann.come(node.url)
    await ann.send("misbehave", {})
    await asyncio.sleep(0.05)
    ann.cut()
    await eventually(lambda: node.manager.returning.has_broken(ann.sid))
    asked.set()
    await asyncio.wait_for(returned.wait(), 5)
    await eventually(lambda: not node.manager.cluster.locals.sockets)
    assert not node.server.eio.sockets
    await ann.come(node.url)  # and is told when it is back
    assert ann.recovered
    with pytest.raises(AssertionError, match="an acknowledgement: 41"):
        await ann.read()


async def test_who_is_away_becomes_a_member_of_nothing(redis_server: RedisServer, node: HandledNode) -> None:
    swept, outcomes = asyncio.Event(), []

    async def join(sid: str, data: object) -> None:
        await swept.wait()
        outcomes.extend(await asyncio.gather(node.server.enter_room(sid, "attic"), return_exceptions=True))

    node.server.on("join", join)
    ann = Visitor({})
    await ann.come(node.url)
    await ann.send("join", {})
    await asyncio.sleep(0.05)
    ann.cut()
    await eventually(lambda: node.manager.cluster.metrics.swept == 1, 10)
    swept.set()
    await eventually(lambda: outcomes)
    assert isinstance(outcomes[0], Stale)
    assert await node.members("attic") == await node.members("den") == []
    assert redis_server.command("ZCARD", node.manager.cluster.keys.away) == 0


async def test_who_is_removed_from_a_room_during_its_replay_gets_nothing_more_of_it(node: HandledNode) -> None:
    ann, bob = Visitor({}), Visitor({"recover": False})
    await ann.come(node.url)
    await bob.come(node.url, recover=False)
    ann.cut()
    await eventually(lambda: not node.manager.cluster.locals.sockets.get(ann.sid))
    said = [f"{n}" + "x" * 4_000 for n in range(1_500)]
    await asyncio.gather(*(node.server.emit("said", text, room="den", skip_sid=bob.sid) for text in said))
    await ann.come(node.url, 8_192)
    assert ann.recovered
    await ann.read_until(lambda: len(ann.told("said")) > 10)
    assert node.manager.cluster.locals.sockets[ann.sid].replay is not None
    await node.server.leave_room(ann.sid, "den")
    await node.server.emit("said", "secret", room="den")
    await node.server.emit("said", "to everybody")
    await node.server.enter_room(ann.sid, "den")
    await node.server.emit("said", "again", room="den")
    await ann.read_until(lambda: ann.told("said")[-1] == "again")
    assert ann.told("said") == [*said, "to everybody", "again"]
    assert node.server.rooms(ann.sid) == [ann.sid, "den"]
    await node.server.leave_room(ann.sid, "den")
    assert node.server.rooms(ann.sid) == [ann.sid]


async def test_who_left_a_room_whose_log_may_be_gone_since_starts_anew(
    redis_server: RedisServer, key_prefix: str
) -> None:
    pings = {"ping_interval_s": 0.5, "ping_timeout_s": 0.5, "recovery_window_s": 1, "event_queue_max": 4}
    async with handled_node(redis_server, key_prefix, leave_grace_s=1, lease_s=2, **pings) as node:
        opened = asyncio.Event()

        async def wait(sid: str, data: object) -> None:
            await opened.wait()

        node.server.on("wait", wait)
        ann = Visitor({})
        await ann.come(node.url)
        await node.server.emit("said", "one", room="den")
        await ann.read_until(lambda: ann.told("said") == ["one"])
        for _ in range(8):  # so that the node does not read, and does not miss its pongs for a while
            await ann.send("wait", {})
        await node.server.emit("said", "two, which it never gets", room="den")
        await node.server.leave_room(ann.sid, "den")
        cluster = node.manager.cluster
        log, left = cluster.keys.room(DEN), int(redis_server.command("GET", cluster.keys.clock))
        assert redis_server.command("TTL", log.log) > 0, "nobody is there"
        ann.cut()
        sid = ann.sid
        await eventually(lambda: node.manager.returning.has_broken(sid))
        opened.set()
        await eventually(lambda: not cluster.locals.sockets)
        # Time passes: the log of a room without members, and the clock's way.
        redis_server.command("DEL", log.log, log.last)
        age_us = node.manager.settings.log_max_age_s * 1_000_000
        redis_server.command("SET", cluster.keys.clock, left + age_us + 1)
        await ann.come(node.url)
        assert not ann.recovered


@pytest.mark.parametrize("who", ["a client that starts anew", "the sweeper", "its own node"])
async def test_who_enters_a_room_while_it_is_being_ended_leaves_that_too(
    redis_server: RedisServer, bare: BareNode, who: str
) -> None:
    cluster = bare.cluster
    socket = await bare.socket(DEN, recovers=True)
    (session,) = await cluster.sessions.read([socket.sid])
    assert session is not None
    await cluster.roster.enter(socket, ATTIC, "ann")
    if who == "the sweeper":
        await cluster.put_away(socket)
        (away,) = await cluster.sessions.read([socket.sid])
        assert away is not None
        await cluster.sweeper._end(socket.sid, replace(away, rooms=session.rooms))
    elif who == "its own node":
        await cluster.ending.end(socket.sid, "/", socket.generation, session.rooms)
    else:
        await cluster.recovery.give_up(session)
    for room in (DEN, ATTIC):
        assert await cluster.roster.members(room) == []
    assert redis_server.command("ZCARD", cluster.keys.away) == 0
    held = cluster.keys.node_sockets(cluster.node.node_id)
    assert not redis_server.command("SMEMBERS", held)
    assert bool(redis_server.command("EXISTS", cluster.keys.socket(socket.sid))) == (who == "the sweeper")


async def test_who_floods_its_node_is_waited_for_so_long_and_no_longer(
    redis_server: RedisServer, key_prefix: str
) -> None:
    settings = {"ping_interval_s": 0.2, "ping_timeout_s": 0.2, "event_queue_max": 4}
    async with handled_node(redis_server, key_prefix, **settings) as node:

        async def slow(sid: str, data: object) -> None:
            await asyncio.sleep(0.05)

        node.server.on("slow", slow)
        ann = Visitor({})
        await ann.come(node.url)

        async def flood() -> None:
            while True:
                await ann.send("slow", {})
                await asyncio.sleep(0)  # the node runs in this loop, and the kernel takes megabytes at once

        flooding = asyncio.create_task(flood())
        await eventually(lambda: not node.manager.cluster.locals.sockets, 10)
        flooding.cancel()
        await asyncio.wait({flooding})
        assert not node.server.eio.pings._late
        await steadily(lambda: not node.server.eio.sockets, 0.2)
