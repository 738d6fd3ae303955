"""Up to which clock Redis has lost entries, for all nodes to know: nobody recovers over such a hole.

After a failover to a replica that lagged, or a restart with older data, a log looks whole: what came behind the
hole names the entry before it as its `prev`. Only a node that has delivered more than Redis has can tell. Its own
clients are started over by `cluster.restorer`; those that are away meet the note when they come back.
"""

import asyncio
import logging

from ..errors import StoreError, StoreUnavailable
from ..settings import Settings
from ..store.keys import Keys
from ..store.redis import Store
from ..store.scripts import script
from .local import Cursor, LocalRoom, LocalSocket
from .supervision import end
from .writer import HighestClock

logger = logging.getLogger(__name__)

RETRY_S = 0.2


class History:
    """`lost` and `went_back` say what was noticed; it is written down until Redis has it."""

    def __init__(self, settings: Settings, store: Store, keys: Keys, highest: HighestClock) -> None:
        self._known_for_s = settings.log_max_age_s  # nothing older is replayed anyhow
        self._noted_within_s = settings.append_timeout_s
        self._store = store
        self._keys = keys
        self._highest = highest
        self._noticed: dict[str, int] = {}  # key of a log -> clock of what was delivered last of it
        self._noting: asyncio.Task[None] | None = None

    def lost(self, cursor: Cursor) -> None:
        """What was delivered last of a log is not in it: lost, or only trimmed."""
        match cursor:
            case LocalRoom():
                self._note(self._keys.room(cursor.room).log, cursor.position or 0)
            case LocalSocket():
                self._note(self._keys.socket_log(cursor.sid), cursor.position or 0)

    def went_back(self) -> None:
        """Redis has an older past than this node knows."""
        self._note(self._keys.broken, 0)

    async def broken_until(self) -> int:
        """The clock up to which entries may be lost; 0 where none are. Raises StoreUnavailable."""
        if self._noting is not None:
            try:
                async with asyncio.timeout(self._noted_within_s):
                    await asyncio.shield(self._noting)
            except TimeoutError:
                raise StoreUnavailable("what Redis has lost could not be noted") from None
        return int(await self._store.answer(self._store.client.get(self._keys.broken)) or 0)

    async def stop(self) -> None:
        """Notes nothing any more."""
        if self._noting is not None:
            await end([self._noting])

    def _note(self, log: str, position: int) -> None:
        self._noticed[log] = position
        if self._noting is None:
            self._noting = asyncio.ensure_future(self._until_noted())

    async def _until_noted(self) -> None:
        try:
            while self._noticed:
                log, position = next(iter(self._noticed.items()))
                try:
                    await self._write(log, position)
                except StoreError as error:
                    logger.warning("could not note that Redis has lost entries: %s", error)
                    await asyncio.sleep(RETRY_S)
        finally:
            self._noting = None

    async def _write(self, log: str, position: int) -> None:
        """One note stands for all that was noticed before it."""
        before, clock = list(self._noticed), self._highest.value
        args = (clock, self._known_for_s, position)
        if await self._store.run(script("history_break"), (self._keys.broken, log), args):
            logger.error("Redis has lost entries up to %d; who was away then starts anew", clock)
        else:
            before = [log]
        for each in before:
            self._noticed.pop(each, None)
