"""One node of any client manager: a socketio.AsyncServer around it, served by uvicorn, with its clients.

It says nothing of what a manager must do; that is in tests/hub/.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import socketio

from app.hub.manager import ClusterManager
from app.settings import load_settings

from .eventually import eventually
from .py_client import PyClient
from .serving import serve

Event = tuple[str, tuple[Any, ...]]

# The event that `Node.received` emits behind everything else.
FENCE = "fence"


@dataclass(frozen=True, slots=True)
class Node:
    """A served AsyncServer. It accepts every namespace and keeps what its disconnect handler was told.

    A test that wants handlers of its own sets them on `server`; they win over the ones here.
    """

    server: socketio.AsyncServer
    manager: Any
    url: str
    disconnected: list[tuple[str, str]] = field(default_factory=list)  # (sid, reason), in order
    clients: list[PyClient] = field(default_factory=list)

    async def client(
        self,
        namespace: str = "/",
        *,
        rooms: Iterable[str] = (),
        auth: Any = None,
        transports: tuple[str, ...] = ("websocket",),
    ) -> PyClient:
        """A new client, connected here and in `rooms`; it is closed with the node."""
        client = self.unconnected(namespace)
        await client.connect(self.url, auth=auth, transports=transports)
        for room in rooms:
            await self.server.enter_room(client.sid, room, namespace=namespace)
        return client

    def unconnected(self, namespace: str = "/") -> PyClient:
        """A new client for `connect()`; it is closed with the node."""
        client = PyClient(namespace)
        self.clients.append(client)
        return client

    async def received(self, *clients: PyClient) -> list[list[Event]]:
        """What each client has received of all that was emitted before this call.

        It emits one more event to everybody and waits for it, since order is kept: so what is not there
        then was not sent. The clients may be on other nodes.
        """
        mark = uuid4().int & 0xFFFFFFFF
        for namespace in {client.namespace for client in clients}:
            await self.server.emit(FENCE, mark, namespace=namespace)
        for client in clients:
            await eventually(
                lambda client=client: [args for args in client.args_of(FENCE) if args[0] == mark],
                every_s=0.002,
                message=f"{client!r} gets an event to everybody",
            )
        return [[event for event in client.events if event[0] != FENCE] for client in clients]


@contextlib.asynccontextmanager
async def async_manager_node(**server_options: Any) -> AsyncIterator[Node]:
    """A node with python-socketio's own AsyncManager."""
    async with _serving(socketio.AsyncManager(), server_options) as node:
        yield node


@contextlib.asynccontextmanager
async def cluster_manager_node(redis_url: str, key_prefix: str, **server_options: Any) -> AsyncIterator[Node]:
    """A node with a ClusterManager; two with the same `key_prefix` are one cluster."""
    manager = ClusterManager(load_settings(redis_url=redis_url, key_prefix=key_prefix))
    async with _serving(manager, server_options) as node:
        yield node


@contextlib.asynccontextmanager
async def _serving(manager: Any, server_options: dict[str, Any]) -> AsyncIterator[Node]:
    server = socketio.AsyncServer(client_manager=manager, async_mode="asgi", namespaces="*", **server_options)
    async with _started(manager), serve(socketio.ASGIApp(server)) as url:
        node = Node(server, manager, url)
        server.on("disconnect", lambda _, sid, reason: node.disconnected.append((sid, reason)), namespace="*")
        try:
            yield node
        finally:
            await asyncio.gather(*(client.close() for client in node.clients))
            await server.shutdown()


@contextlib.asynccontextmanager
async def _started(manager: Any) -> AsyncIterator[None]:
    """A ClusterManager is started and stopped by its owner; AsyncManager knows neither."""
    if not isinstance(manager, ClusterManager):
        yield
        return
    await manager.start()
    try:
        yield
    finally:
        await manager.stop()
