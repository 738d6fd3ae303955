"""An app in the place of `app.main`: it answers what `clusterkit` asks for, and writes its life to a log.

Its ways to fail are chosen by the environment variable STUB: `startup` raises, `slow` never becomes ready,
`hang` never starts, `stuck` never drains.
"""

import asyncio
import json
import logging
import os
from typing import Any

from app.settings import Settings

logger = logging.getLogger("stub")
NODE = {"node_id": "0123abcd", "started_at": "2026-01-01T00:00:00+00:00", "connections": 7}


def create_app(settings: Settings) -> "StubApp":
    return StubApp(settings, os.environ.get("STUB", ""))


class StubApp:
    def __init__(self, settings: Settings, failing: str) -> None:
        self.settings = settings
        self.failing = failing

    async def drain(self) -> None:
        logger.info("draining")
        if self.failing == "stuck":
            await asyncio.sleep(3600)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, send)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        logger.warning("a warning of the stub")
        if self.failing == "startup":
            raise RuntimeError("the stub was told to fail")
        if self.failing == "hang":
            await asyncio.sleep(3600)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        logger.info("leaving")
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Any, send: Any) -> None:
        status, body = self._route(scope)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    def _route(self, scope: Any) -> tuple[int, object]:
        if scope["path"] == "/readyz":
            return (503 if self.failing == "slow" else 200), {}
        if scope["path"] == "/whoami":
            return 200, {"pid": os.getpid(), "private_url": self.settings.private_url}
        token = self.settings.admin_token
        if token and (b"authorization", f"Bearer {token}".encode()) not in scope["headers"]:
            return 401, {}
        if scope["path"] == "/api/nodes":
            node = NODE | {"url": self.settings.private_url}
            return 200, {"nodes": [node | {"draining": False, "alive": True, "this": True}]}
        if scope["path"] == "/other/api/rooms":
            return 200, ["what another server may say"]
        if scope["path"] == "/api/rooms":
            rooms = [{"namespace": "/", "room": "차\x1b[31m방", "members": 2}]
            return 200, {"rooms": rooms, "total": 3, "query": scope["query_string"].decode()}
        return 404, {}
