"""Ends what nobody holds any more: sockets whose grace is over, and those of dead nodes.

Every node sweeps; a due socket is claimed by one, and what it does is fenced by the socket's generation. A dead
node's sockets are put away first, with a new generation, so that the node finds them taken should it only have
been paused. A client that may still come back keeps its session for the recovery window.
"""

import logging

from redis.exceptions import RedisError

from ..errors import Stale, StoreError
from ..metrics import Metrics
from ..settings import Settings
from ..store.keys import Keys
from ..store.redis import CONNECTION_ERRORS, Store
from ..store.scripts import script
from .ending import Ending
from .nodes import NodeRecord, Nodes
from .sessions import Session, Sessions, confirmed_since
from .supervision import gather_all

logger = logging.getLogger(__name__)

SOCKETS_PER_STEP = 200  # claimed or put away with one command: some milliseconds of Redis' time
CLAIM_MS = 10_000  # a node that claims sockets and dies leaves them to the others after so long


class Sweeper:
    """Looks once a heartbeat."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        keys: Keys,
        nodes: Nodes,
        sessions: Sessions,
        ending: Ending,
        metrics: Metrics,
    ) -> None:
        self._grace_ms = round(min(settings.leave_grace_s, settings.recovery_window_s) * 1000)
        self._lease_ms = round(settings.lease_s * 1000)
        self._window_s = float(settings.recovery_window_s)
        self._store = store
        self._keys = keys
        self._nodes = nodes
        self._sessions = sessions
        self._ending = ending
        self._metrics = metrics

    async def look(self) -> None:
        """Buries the dead and sweeps what is due; what fails is tried again with the next heartbeat."""
        try:
            for record in self._nodes.dead():
                await self.bury(record)
            await self.sweep()
        except (StoreError, RedisError, *CONNECTION_ERRORS) as error:
            logger.warning("could not sweep: %s", error)

    async def bury(self, record: NodeRecord) -> None:
        """Puts the sockets of a dead node away. Raises StoreUnavailable."""
        held = self._keys.node_sockets(record.node_id)
        while sids := await self._store.answer(self._store.client.srandmember(held, SOCKETS_PER_STEP)):
            sids = [sid.decode() for sid in sids]
            count = await self._store.run(
                script("node_bury"),
                (self._keys.nodes, self._keys.away, held, *map(self._keys.socket, sids)),
                (
                    *(record.node_id, record.beat, self._lease_ms, self._grace_ms),
                    *(record.confirmed, confirmed_since(record.confirmed), *sids),
                ),
            )
            if count < 0:
                return
            self._metrics.buried += count
            logger.warning("node %s is dead; %d of its sockets were put away", record.node_id, count)

    async def sweep(self) -> None:
        """Lets away sockets leave whose grace is over. Raises StoreError."""
        while True:
            args = (SOCKETS_PER_STEP, CLAIM_MS)
            due = await self._store.run(script("away_claim"), (self._keys.away,), args)
            sids = [sid.decode() for sid in due]
            sessions = await self._sessions.read(sids) if sids else []
            await gather_all(map(self._end, sids, sessions))
            if len(sids) < SOCKETS_PER_STEP:
                return

    async def _end(self, sid: str, session: Session | None) -> None:
        if session is None:
            await self._store.answer(self._store.client.zrem(self._keys.away, sid))
            return
        if session.node_id:  # taken since it was claimed
            return
        keep_s = self._window_s if session.lineage else None
        try:
            await self._ending.end(sid, session.namespace, session.generation, session.rooms, keep_s=keep_s)
            self._metrics.swept += 1
        except Stale:  # taken meanwhile
            return
