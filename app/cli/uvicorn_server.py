"""The HTTP server of a node: uvicorn, its options, and its shutdown in the order a cluster needs.

The only module that knows uvicorn's inside: `startup`, `shutdown`, `servers`, `lifespan`,
`_captured_signals`. What is served is the app's business, and the sockets come from `serve.py`.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from ..errors import ClusterKitError
from ..settings import STOP_SPARE_S, Settings
from ..transport.protocol import WebSocketConnection
from .garbage import collect_rarely

logger = logging.getLogger(__name__)

CLOSE_LIMIT_S = 3  # for uvicorn to end the requests under way
LEAVE_LIMIT_S = STOP_SPARE_S - 1  # for those, and the app's lifespan after them
TICK_S = 0.1
# Longer than the pools that reuse connections to a node: nginx's are 60 s, aiohttp's 15 s. A pool that is
# second to close never sends a request into a closing connection.
KEEP_ALIVE_S = 75


class NodeServer(uvicorn.Server):
    """A uvicorn server that stops accepting, drains its app, and only then goes the way of uvicorn.

    `app` may have `async drain()`, which closes the connections it holds. After SIGTERM or SIGINT `run()`
    returns; a second SIGINT cuts everything short. `options` are uvicorn's.
    """

    def __init__(self, app: Any, settings: Settings, **options: Any) -> None:
        super().__init__(_config(app, settings, options))
        self._drain_limit_s = settings.drain_timeout_s - STOP_SPARE_S
        self._drain: Callable[[], Awaitable[None]] | None = getattr(app, "drain", None)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            # uvicorn raises them once more when it is done, which would make an orderly stop look like
            # a death by signal.
            self._captured_signals.clear()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the app and listens; a signal meanwhile ends it (uvicorn alone would wait for the app).

        Raises ClusterKitError where the app's startup fails.
        """
        starting = asyncio.create_task(self._start(sockets))
        while not starting.done() and not self.should_exit:
            await asyncio.wait({starting}, timeout=TICK_S)
        if starting.done():
            starting.result()
            collect_rarely()
            return logger.info("accepting connections")
        self.lifespan.startup_failed = True  # or uvicorn would log the cancelled startup as an error
        starting.cancel()
        await asyncio.wait({starting})
        return logger.warning("told to stop before the app had started")

    async def _start(self, sockets: list[socket.socket] | None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:  # in a task it would end the event loop, and as a status it says nothing
            raise ClusterKitError("the node could not start; the log above says why") from None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Leaves the port it shares, drains the app, then lets uvicorn close what is left; all in bounded time.

        The last of several sockets is the node's own: there it is still asked for the sessions that it has.
        """
        logger.info("told to stop: ending the connections there are")
        sockets = sockets or []
        self._stop_accepting(sockets[:-1])
        await self._drain_app()
        self._stop_accepting(sockets)
        try:
            async with asyncio.timeout(LEAVE_LIMIT_S):
                await super().shutdown(sockets)
        except TimeoutError:
            logger.error("the app did not end within %g s", LEAVE_LIMIT_S)

    def _stop_accepting(self, sockets: list[socket.socket]) -> None:
        for server, listening in zip(self.servers, sockets, strict=False):
            server.close()
            listening.close()

    async def _drain_app(self) -> None:
        if self._drain is None:
            return
        draining = asyncio.ensure_future(self._drain())
        until_s = time.monotonic() + self._drain_limit_s
        while not draining.done() and time.monotonic() < until_s and not self.force_exit:
            await asyncio.wait({draining}, timeout=TICK_S)
        if not draining.done():
            draining.cancel()
            logger.error("draining was cut short, connections may be left")
        elif not draining.cancelled() and (error := draining.exception()):
            logger.error("draining failed", exc_info=error)


def _config(app: Any, settings: Settings, options: dict[str, Any]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws=WebSocketConnection,
        ws_max_size=settings.max_message_bytes,
        ws_per_message_deflate=False,  # one frame is made for all members of a room, compressed for none
        ws_ping_interval=None,  # Engine.IO pings
        ws_ping_timeout=None,
        lifespan="on",
        log_config=None,
        # At info it logs every WebSocket with its URL, and that holds the session's id.
        log_level="debug" if settings.log_level == "debug" else "warning",
        access_log=False,
        server_header=False,
        # uvicorn would believe X-Forwarded-* of any local process; only a named proxy is believed here.
        proxy_headers=bool(os.environ.get("FORWARDED_ALLOW_IPS")),
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CLOSE_LIMIT_S,
        **options,
    )
