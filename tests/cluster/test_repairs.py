"""What a node repairs in Redis: sockets that Redis has lost, and those that it holds although they have ended."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.cluster import restorer as restorer_module
from app.cluster.cluster import Cluster
from app.cluster.local import LocalSocket
from app.wire import RoomId
from tests.support.eventually import eventually
from tests.support.hub_node import Node, cluster_manager_node
from tests.support.redis_server import RedisServer

STEP = 2
SOCKETS = 7


@pytest.fixture
async def node(own_redis: RedisServer, key_prefix: str) -> AsyncIterator[Node]:
    async with cluster_manager_node(own_redis.url, key_prefix) as node:
        yield node


async def test_sockets_are_written_anew_in_steps(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster: Cluster = node.manager.cluster
    monkeypatch.setattr(restorer_module, "SOCKETS_PER_STEP", STEP)
    sockets = [cluster.locals.sockets[(await node.client()).sid] for _ in range(SOCKETS)]
    at_once: list[int] = []
    running: set[str] = set()

    async def counted(held: Any, _: bytes) -> None:
        running.add(held.socket.sid)
        at_once.append(len(running))
        await asyncio.sleep(0)
        running.remove(held.socket.sid)

    monkeypatch.setattr(cluster.restorer, "_restore", counted)
    cluster.restorer.start_over(sockets, "a test says so")
    await eventually(lambda: len(at_once) == SOCKETS)
    assert max(at_once) == STEP


async def leave_behind(node: Node, own_redis: RedisServer) -> LocalSocket:
    """A socket that has ended here, and still stands in Redis."""
    cluster: Cluster = node.manager.cluster
    client = await node.client(rooms=["den"])
    socket = cluster.locals.sockets[client.sid]
    cluster.locals.remove(socket)
    assert own_redis.command("SISMEMBER", cluster.keys.node_sockets(cluster.node.node_id), socket.sid)
    return socket


async def test_what_ended_here_is_ended_in_redis(node: Node, own_redis: RedisServer) -> None:
    socket = await leave_behind(node, own_redis)
    cluster: Cluster = node.manager.cluster
    cluster.reconciler.suspect()
    await cluster.reconciler.reconcile()
    den = cluster.keys.room(RoomId("/", "den"))
    assert not own_redis.command("EXISTS", cluster.keys.socket(socket.sid))
    assert not own_redis.command("EXISTS", den.members)


async def test_who_comes_back_while_its_session_is_read_is_not_ended(
    node: Node, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = await leave_behind(node, own_redis)
    cluster: Cluster = node.manager.cluster
    read = cluster.sessions.read
    reads = 0

    async def back_meanwhile(sids: list[str]) -> Any:
        nonlocal reads
        found = await read(sids)
        await asyncio.sleep(0)
        cluster.locals.add(socket)
        reads += 1
        return found

    monkeypatch.setattr(cluster.sessions, "read", back_meanwhile)
    cluster.reconciler.suspect()
    await cluster.reconciler.reconcile()
    assert reads == 1
    assert own_redis.command("EXISTS", cluster.keys.socket(socket.sid))
    assert own_redis.command("HKEYS", cluster.keys.room(RoomId("/", "den")).members) == [socket.sid]
