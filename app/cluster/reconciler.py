"""Ends in Redis what has ended on this node without Redis having been told.

A socket goes while Redis is away, or its connecting had an unknown outcome: Redis then has a member whom no
node holds. After trouble this compares the node's sids in Redis with its sockets. Sockets of dead nodes are
not its business.
"""

import logging

from redis.exceptions import RedisError

from ..errors import Stale, StoreError
from ..node import Node
from ..store.keys import Keys
from ..store.redis import CONNECTION_ERRORS, Store
from .ending import Ending
from .local import Locals
from .sessions import Sessions
from .writer import Writer

logger = logging.getLogger(__name__)


class Reconciler:
    """Compares when there is reason to."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        node: Node,
        locals_: Locals,
        writer: Writer,
        sessions: Sessions,
        ending: Ending,
    ) -> None:
        self._store = store
        self._keys = keys
        self._node = node
        self._locals = locals_
        self._writer = writer
        self._sessions = sessions
        self._ending = ending
        self._suspected = False

    def suspect(self) -> None:
        """Something may have ended here that Redis does not know of."""
        self._suspected = True

    async def reconcile(self) -> None:
        """Compares if something is suspected and no append waits; what fails is tried again next time."""
        if not self._suspected or self._writer.waiting:
            return
        self._suspected = False
        try:
            known: set[bytes] = await self._store.client.smembers(self._keys.node_sockets(self._node.node_id))  # type: ignore[assignment]
            for sid in (each.decode() for each in known):
                await self._end(sid)
        except (StoreError, RedisError, *CONNECTION_ERRORS) as error:
            self._suspected = True
            logger.warning("could not compare this node's sockets with Redis': %s", error)

    async def _end(self, sid: str) -> None:
        if sid in self._locals.sockets:
            return
        (session,) = await self._sessions.read([sid])
        if sid in self._locals.sockets:  # its client has come back meanwhile, with the generation that was read
            return
        if session is None or session.node_id != self._node.node_id:
            held = self._keys.node_sockets(self._node.node_id)
            await self._store.answer(self._store.client.srem(held, sid))
            return
        logger.warning("socket %s had ended here without Redis knowing it; it is ended there", sid)
        generation = session.generation
        try:
            if session.lineage:  # its client may come back
                await self._sessions.put_away(sid, generation, silent_s=0, confirmed=0)
                return
            await self._ending.end(sid, session.namespace, generation, session.rooms)
        except Stale:
            logger.info("socket %s is gone from Redis, or another node's", sid)
