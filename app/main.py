"""The ASGI application: everything wired together.

`app.main:app` is made from the environment on first use; `create_app(settings)` makes one from given settings.
"""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from socketio import ASGIApp
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .chat.echo import Echo
from .chat.lobby import LOBBY, Lobby
from .chat.rooms import RoomChat
from .chat.texts import TEXTS
from .chat.userlist import UserLists
from .hub.manager import ClusterManager
from .hub.socketio_server import ClusterServer
from .node import Node, url_at
from .settings import Settings, load_settings
from .transport.forwarding import Forwarder
from .transport.protocol import STATE
from .web import pages
from .web.api import Api
from .web.prometheus import Exporter
from .web.security import SecurityHeaders, origin_check

logger = logging.getLogger(__name__)

ENGINE_PATHS = ("/socket.io", "/socket.io/")


class Application:
    """One node as an ASGI application."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        url = settings.private_url or url_at(settings.host, settings.port)
        self.manager = ClusterManager(settings, Node(url=url))
        self.server = ClusterServer(
            self.manager, cors_allowed_origins=origin_check(settings.allowed_origins), namespaces=["/"]
        )
        self._add_chat(settings)
        self.forwarder = Forwarder(
            ASGIApp(self.server, socketio_path="socket.io"),
            self.manager.node,
            self._find_node,
            self.manager.cluster.nodes.registered,
            self.manager.cluster.metrics,
            poll_s=settings.ping_interval_s + settings.ping_timeout_s,
        )
        self._engine = SecurityHeaders(self.forwarder, pages=False)
        self._nothing = SecurityHeaders(PlainTextResponse("Not Found\n", 404))
        self.web = Starlette(
            routes=[*self._api(settings.admin_token), *pages.routes()],
            middleware=[Middleware(SecurityHeaders)],
            exception_handlers={HTTPException: pages.not_found},
            lifespan=self._lifespan,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Engine.IO to the forwarder, everything else to the web."""
        if scope["type"] != "lifespan" and scope["path"] in ENGINE_PATHS:
            await self._engine(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http" and scope["path"].endswith("\n"):
            # The end of a Starlette route matches before it, too: "/metrics\n" would get past a balancer's rule.
            await self._nothing(scope, receive, send)
        else:
            await self.web(scope, receive, send)

    async def drain(self) -> None:
        """Takes no new clients and ends all connections; the clients come back to another node.

        Before that it serves on for DRAIN_NOTICE_S, while balancers are told to send nobody any more. What it
        forwards ends, too; those sessions go on by way of another node, or are recovered.
        """
        self.manager.cluster.nodes.draining = True
        settings = self._settings
        await self.server.drain(settings.drain_notice_s, settings.drain_spread_s, self.forwarder.leave)

    def _add_chat(self, settings: Settings) -> None:
        texts = TEXTS[settings.locale]
        for namespace in (RoomChat(self.manager, texts), Lobby(self.manager, texts), Echo(self.manager)):
            self.server.register_namespace(namespace)
        lists = UserLists(self.manager.fanout, {"/", LOBBY.namespace}, settings.userlist_max)
        self.manager.cluster.delivery.roster_changed.append(lists.changed)

    def _api(self, admin_token: str) -> list[Route]:
        exporter = Exporter(self.manager.cluster, admin_token, lambda: self.forwarder.websockets)
        return [*Api(self.manager.cluster, admin_token).routes(), Route("/metrics", exporter.metrics)]

    async def _find_node(self, node_id: str) -> str | None:
        record = await self.manager.cluster.nodes.find(node_id)
        return record.url if record is not None else None

    @contextlib.asynccontextmanager
    async def _lifespan(self, web: Starlette) -> AsyncIterator[dict[str, Any]]:
        await self.manager.start()
        try:
            yield {STATE: self.server.eio}  # where `WebSocketConnection` looks for it
        finally:
            self.manager.cluster.nodes.draining = True
            await self.server.drain()
            await self.server.shutdown()
            await self.forwarder.aclose()
            await self.manager.stop()


class NodeApp:
    """An Application that is made when it is first called: one that is imported before a fork is nobody's."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: Application | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the Application."""
        if self._made is None:
            self._made = Application(self._settings)
        await self._made(scope, receive, send)

    async def drain(self) -> None:
        """As the Application."""
        if self._made is not None:
            await self._made.drain()


def create_app(settings: Settings | None = None) -> Application:
    """The application of one node; `settings` from the environment where none are given.

    Raises SettingsError.
    """
    return Application(settings or load_settings())


def __getattr__(name: str) -> NodeApp:
    # `uvicorn app.main:app` and gunicorn look for `app`; importing this module must not need an environment.
    if name == "app":
        globals()["app"] = application = NodeApp(load_settings())
        return application
    raise AttributeError(name)
