"""Emits from a process that serves no clients: a cron job, a web app, the command line.

async with Emitter(settings) as emitter:
    await emitter.emit("broadcast_msg", {"msg": "hello"}, room="lounge")
"""

import asyncio
import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from ..cluster.roomlog import RoomLog
from ..cluster.supervision import end, keep_running
from ..cluster.writer import HighestClock, Writer
from ..errors import StoreError
from ..metrics import Metrics
from ..node import new_node_id
from ..settings import Settings
from ..store.keys import Keys
from ..store.redis import Store
from ..wire import Drain
from .emission import Emission, encode


class Emitter:
    """A writing-only connection to the cluster; use it as an async context manager."""

    def __init__(self, settings: Settings) -> None:
        writer_id = new_node_id()
        keys = Keys(settings.key_prefix)
        self._metrics = Metrics()
        self._store = Store(settings.redis_url, settings.redis_timeout_s, f"clusterkit-emitter-{writer_id}")
        self._writer = Writer(settings, self._store, keys, writer_id, HighestClock(), self._metrics)
        self._nodes_key = keys.nodes
        self._log = RoomLog(settings, self._writer, keys)
        self._emission = Emission(self._log)
        self._loop: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.create_task(keep_running("emitter", self._writer.run, self._metrics))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(StoreError):  # then its key goes by its ttl
            await self._writer.close()
        if self._loop is not None:
            await end((self._loop,))
        await self._store.aclose()

    async def drain(self, node_id: str) -> None:
        """Tells a node to drain and end. Raises StoreUnavailable, OutcomeUnknown."""
        await self._log.notify_node(node_id, Drain())

    async def knows_node(self, node_id: str) -> bool:
        """Whether a node is in the registry. Raises StoreUnavailable."""
        return bool(await self._store.answer(self._store.client.hexists(self._nodes_key, node_id)))

    async def emit(
        self,
        event: str,
        data: Any = None,
        *,
        room: str | Sequence[str] | None = None,
        to: str | Sequence[str] | None = None,
        namespace: str = "/",
        skip_sid: str | Sequence[str] = (),
    ) -> int:
        """Emits to a sid, a room, several of them, or everybody; `data` as for python-socketio's `emit`.

        The event is in the log when this returns its clock; 0 where nobody was there to get it. Raises
        StoreUnavailable, OutcomeUnknown, TypeError.
        """
        skip = [skip_sid] if isinstance(skip_sid, str) else list(skip_sid)
        return await self._emission.emit(namespace, to or room, encode(event, data, namespace), skip)
