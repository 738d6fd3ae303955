"""However a socket ends, the cluster knows it soon: nobody stays in a room whom no node holds."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio

from app.hub.manager import ClusterManager
from app.hub.socketio_server import ClusterServer
from app.settings import load_settings
from tests.support.eventually import eventually
from tests.support.py_client import PyClient
from tests.support.redis_server import RedisServer
from tests.support.serving import serve

MANY = 60
pytestmark = pytest.mark.time_limit(30)


class Served:
    """A ClusterServer, its manager and its address."""

    def __init__(self, server: ClusterServer, manager: ClusterManager, url: str) -> None:
        self.server = server
        self.manager = manager
        self.url = url

    async def members(self, count: int, room: str = "den") -> list[PyClient]:
        """So many clients in a room."""
        clients = [PyClient() for _ in range(count)]
        for client in clients:  # one by one: a crowd that comes at once may be too many for a short queue
            await client.connect(self.url)
            await self.server.enter_room(client.sid, room)
        return clients

    async def nobody_is_left(self) -> bool:
        """In the room, in the namespace, and here."""
        counts = [await self.manager.count("den"), await self.manager.count(None)]
        return counts == [0, 0] and not self.manager.cluster.locals.sockets


@contextlib.asynccontextmanager
async def served(redis: RedisServer, key_prefix: str, **settings: Any) -> AsyncIterator[Served]:
    manager = ClusterManager(load_settings(redis_url=redis.url, key_prefix=key_prefix, **settings))
    server = ClusterServer(manager)
    await manager.start()
    try:
        async with serve(socketio.ASGIApp(server)) as url:
            await eventually(lambda: manager.readiness().ready)
            yield Served(server, manager, url)
    finally:
        await server.shutdown()
        await manager.stop()


async def drop(clients: list[PyClient]) -> None:
    """All connections break at once."""
    await asyncio.gather(*(client.break_off() for client in clients))


async def test_a_crowd_that_drops_at_once_leaves_nobody_behind(redis_server: RedisServer, key_prefix: str) -> None:
    async with served(redis_server, key_prefix, append_queue_max=10) as node:
        clients = await node.members(MANY)
        await drop(clients)
        await eventually(node.nobody_is_left)
        await asyncio.gather(*(client.close() for client in clients))


async def test_who_leaves_while_redis_is_away_for_long_is_gone_when_it_is_back(
    own_redis: RedisServer, key_prefix: str
) -> None:
    async with served(own_redis, key_prefix, append_timeout_s=1, redis_timeout_s=0.5) as node:
        clients = await node.members(3)
        own_redis.pause()
        await drop(clients)
        # Until the node has given up on telling Redis.
        await eventually(
            lambda: not node.manager.cluster.locals.sockets and not node.manager.cluster.writer.waiting
        )
        own_redis.resume()
        await eventually(node.nobody_is_left, within_s=10)
        await asyncio.gather(*(client.close() for client in clients))


async def test_a_disconnect_handler_that_fails_leaves_nobody_behind(
    redis_server: RedisServer, key_prefix: str
) -> None:
    async with served(redis_server, key_prefix) as node:

        async def failing(sid: str, reason: str) -> None:
            raise RuntimeError("as apps do")

        node.server.on("disconnect", failing)
        clients = await node.members(3)
        await node.server.disconnect(clients[0].sid)
        await drop(clients[1:2])
        await clients[2].close()
        await eventually(node.nobody_is_left)
        await asyncio.gather(*(client.close() for client in clients))


async def test_a_cancelled_disconnect_disconnects_all_the_same(redis_server: RedisServer, key_prefix: str) -> None:
    async with served(redis_server, key_prefix) as node:
        (client,) = await node.members(1)
        ended = asyncio.Event()

        async def slow(sid: str, reason: str) -> None:
            await ended.wait()

        node.server.on("disconnect", slow)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(node.server.disconnect(client.sid), 0.1)
        ended.set()
        await eventually(node.nobody_is_left)
        await client.close()


async def test_a_socket_disconnected_by_its_own_connect_handler_is_gone(
    redis_server: RedisServer, key_prefix: str
) -> None:
    async with served(redis_server, key_prefix) as node:

        async def reject(sid: str, environ: dict[str, Any], auth: Any) -> None:
            await node.server.disconnect(sid)

        node.server.on("connect", reject)
        client = PyClient()
        await client.connect(node.url)
        await eventually(lambda: client.disconnects)
        await eventually(node.nobody_is_left)
        await client.close()


async def test_changing_rooms_to_and_fro_ends_where_it_was_said_last(
    redis_server: RedisServer, key_prefix: str
) -> None:
    async with served(redis_server, key_prefix) as node:
        (client,) = await node.members(1, "elsewhere")
        roster, socket = node.manager.cluster.roster, node.manager.local_socket(client.sid, "/")
        den = next(room for room in socket.rooms if room.name == "elsewhere")._replace(name="den")
        for _ in range(50):
            await roster.enter(socket, den)
            await roster.leave_here(socket, den)
            assert den not in socket.rooms
        await roster.enter(socket, den)
        await node.server.emit("hi", 1, room="den")
        assert await client.wait_for("hi") == (1,)
        await client.close()
