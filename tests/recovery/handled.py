"""A node with handlers of the test's own, on the kit's own server class, its manager at hand."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import socketio

from app.hub.manager import ClusterManager
from app.hub.socketio_server import ClusterServer
from app.settings import load_settings
from app.transport.protocol import STATE, WebSocketConnection
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.serving import serve


class HandledNode:
    """`server` and `manager` of a node; whoever connects for the first time enters the room `den`."""

    def __init__(self, manager: ClusterManager) -> None:
        self.manager = manager
        self.server = ClusterServer(manager)
        self.url = ""
        self.server.on("connect", self._connect)

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        if not self.manager.is_recovered(sid):
            await self.server.enter_room(sid, "den")

    async def members(self, room: str) -> list[str]:
        """Their sids, as Redis has them."""
        return [member.sid for member in await self.manager.members(room)]


@contextlib.asynccontextmanager
async def handled_node(redis: RedisServer, key_prefix: str, **settings: object) -> AsyncIterator[HandledNode]:
    """One that serves."""
    made = HandledNode(ClusterManager(load_settings(redis_url=redis.url, key_prefix=key_prefix, **settings)))
    engine = socketio.ASGIApp(made.server)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"][STATE] = made.server.eio
        await engine(scope, receive, send)

    await made.manager.start()
    try:
        async with serve(app, ws=WebSocketConnection, lifespan="on") as made.url:
            await eventually(lambda: made.manager.readiness().ready)
            yield made
            await made.server.shutdown()
    finally:
        await made.manager.stop()
