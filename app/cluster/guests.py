"""Numbers for guests, counted across the cluster.

Those who ask while a command is under way share the next one: a thousand guests who come at once cost Redis
two commands.
"""

import asyncio
from collections.abc import Awaitable

from ..errors import StoreUnavailable
from ..store.keys import Keys
from ..store.redis import Store
from .supervision import end


class Guests:
    """Gives out numbers, each once; who is cancelled while it waits leaves a gap."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._waiting: dict[str, list[asyncio.Future[int]]] = {}  # kind -> who waits
        self._tasks: dict[str, asyncio.Task[None]] = {}  # kind -> what asks Redis

    def next(self, kind: str) -> Awaitable[int]:
        """The next number for a guest of this kind. Raises StoreUnavailable."""
        number: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(kind, []).append(number)
        if kind not in self._tasks:
            self._tasks[kind] = asyncio.ensure_future(self._ask(kind))
        return number

    async def stop(self) -> None:
        """Asks Redis nothing any more."""
        await end(self._tasks.values())

    async def _ask(self, kind: str) -> None:
        try:
            while waiting := self._waiting.pop(kind, None):
                await self._share_out(kind, waiting)
        finally:
            del self._tasks[kind]

    async def _share_out(self, kind: str, waiting: list[asyncio.Future[int]]) -> None:
        try:
            last = int(await self._store.answer(self._store.client.hincrby(self._keys.guests, kind, len(waiting))))
        except BaseException as error:
            for number in waiting:
                if not number.done():
                    number.set_exception(StoreUnavailable(f"no number for a guest: {error}"))
            if not isinstance(error, StoreUnavailable):
                raise
            return
        for given, number in enumerate(waiting, last - len(waiting) + 1):
            if not number.done():
                number.set_result(given)
