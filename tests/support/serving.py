"""Serving an ASGI application from inside the test process with a real uvicorn.

For what needs a node as a process of its own (killing it, measuring it), start `clusterkit serve` instead.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn

from .eventually import eventually

# What connections get to end by themselves when the block ends; then they are cut.
CLOSE_WITHIN_S = 0.5


@contextlib.asynccontextmanager
async def serve(app: Any, **options: Any) -> AsyncIterator[str]:
    """Serve `app` on a free port of 127.0.0.1 while the block runs; yields `http://127.0.0.1:<port>`.

    `options` are uvicorn.Config's. It drives uvicorn's own startup, and not `Server.serve()`: that one takes
    pytest's signal handlers, and looks ten times a second only whether it shall end.
    """
    config = uvicorn.Config(app, **({"log_level": "error"} | options))
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    await server.startup(sockets=[listener])
    await server.on_tick(0)  # makes the headers that every answer carries
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await _end(server)


async def _end(server: uvicorn.Server) -> None:
    for listening in server.servers:
        listening.close()
    state = server.server_state
    for connection in list(state.connections):
        connection.shutdown()
    with contextlib.suppress(AssertionError):
        await eventually(lambda: not state.connections and not state.tasks, CLOSE_WITHIN_S, every_s=0.005)
    for task in list(state.tasks):
        task.cancel()
    await asyncio.gather(*state.tasks, return_exceptions=True)
    await server.lifespan.shutdown()
