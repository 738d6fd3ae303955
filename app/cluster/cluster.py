"""One node's part of the cluster, put together: what there is, and starting and stopping it.

It makes the parts and runs their loops; what each does is in its own module.
"""

import asyncio
import logging
import time
from dataclasses import dataclass

from ..errors import StoreError
from ..metrics import Metrics
from ..node import Node
from ..settings import Settings
from ..store.keys import Keys
from ..store.redis import Store
from .delivery import Delivery, FanOut, Notices
from .ending import Ending
from .guests import Guests
from .history import History
from .local import Cursor, Locals, LocalSocket
from .nodes import Nodes
from .reconciler import Reconciler
from .recovery import Recovery
from .relay import Relay
from .restorer import Restorer
from .roomlog import RoomLog
from .roster import Roster
from .sessions import Sessions
from .sockets import Sockets
from .supervision import end, keep_running
from .sweeper import Sweeper
from .vigil import Vigil
from .writer import HighestClock, Writer

logger = logging.getLogger(__name__)

# The canary comes every second; after this many without one the node takes no new clients.
CANARY_MAX_AGE_S = 5.0
DRAIN_S = 3.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether this node can serve, and if not, why."""

    ready: bool
    reason: str
    canary_age_s: float


class Cluster:
    """Everything below the hub, for one node."""

    def __init__(self, settings: Settings, node: Node, fanout: FanOut, notices: Notices, metrics: Metrics) -> None:
        self.node = node
        self.metrics = metrics
        self.locals = Locals()
        self.store = Store(settings.redis_url, settings.redis_timeout_s, f"clusterkit-{node.node_id}")
        self.keys = Keys(settings.key_prefix)
        highest = HighestClock()
        self.delivery = Delivery(self.locals, fanout, notices, self.metrics)
        self.writer = Writer(settings, self.store, self.keys, node.node_id, highest, self.metrics)
        self.relay = Relay(
            self.store,
            self.keys,
            node,
            self.locals,
            self.delivery,
            highest,
            self.metrics,
            open_timeout_s=settings.append_timeout_s,
        )
        self.log = RoomLog(settings, self.writer, self.keys)
        self.roster = Roster(self.store, self.writer, self.keys, node, self.relay, self.delivery)
        self.sockets = Sockets(self.store, self.writer, self.keys, node, self.relay, self.delivery)
        self.guests = Guests(self.store, self.keys)
        self.nodes = Nodes(
            self.store,
            self.keys,
            node,
            self.metrics,
            lease_s=settings.lease_s,
            connections=lambda: len(self.locals.by_eio_sid),
            delivered=self.relay.delivered,
            confirmed_after_s=settings.confirmed_after_s,
            on_beat=self._after_beat,
            on_data_loss=self._check_everything,
            on_silence=self._check_who_is_here,
            on_hole=self._heard_of_hole,
        )
        self.history = History(settings, self.store, self.keys, highest)
        self.relay.lost = self._lost
        self.sessions = Sessions(settings, self.store, self.writer, self.keys, node)
        self.ending = Ending(self.sessions, self.roster, self.sockets)
        self.recovery = Recovery(
            settings,
            self.store,
            self.keys,
            self.locals,
            self.relay,
            self.delivery,
            fanout,
            self.log,
            self.sessions,
            self.ending,
            self.sockets,
            self.nodes,
            self.history,
            metrics,
        )
        self.reconciler = Reconciler(
            self.store, self.keys, node, self.locals, self.writer, self.sessions, self.ending
        )
        self.sweeper = Sweeper(settings, self.store, self.keys, self.nodes, self.sessions, self.ending, metrics)
        self.restorer = Restorer(self.writer, self.keys, node, self.nodes, self.roster, fanout, metrics)
        self.delivery.start_over = self.restorer.start_over
        self.vigil = Vigil(settings.lease_s, self._check_sockets)
        self._beaten = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Starts the loops; the node is ready when `readiness()` says so."""
        if self._loops:
            return
        loops = {
            "writer": self.writer.run,
            "relay": self.relay.run,
            "heartbeat": self.nodes.run,
            "sweeper": self._sweep,
            "vigil": self.vigil.run,
        }
        self._loops = [
            asyncio.create_task(keep_running(name, loop, self.metrics), name=f"clusterkit {name}")
            for name, loop in loops.items()
        ]

    async def stop(self) -> None:
        """Sees waiting appends through for a moment, leaves the registry, and ends the loops."""
        if not self._loops:
            return
        loops, self._loops = self._loops, []
        try:
            await self.writer.drained(DRAIN_S)
        except TimeoutError:
            logger.warning("stopping with %d appends unanswered", self.writer.waiting)
        try:
            await self.nodes.leave()
            await self.writer.close()
        except StoreError as error:
            logger.warning("Redis was not told that this node stops: %s", error)
        await self.guests.stop()
        await self.restorer.stop()
        await self.history.stop()
        await end(loops)
        await self.store.aclose()

    def readiness(self) -> Readiness:
        """Whether Redis has taken a heartbeat, and sent its canary to this node, within the last seconds."""
        age_s = time.monotonic() - self.relay.canary_seen_s
        if self.nodes.draining:
            return Readiness(False, "draining", age_s)
        if not self.relay.listening:
            return Readiness(False, "not subscribed to Redis", age_s)
        if age_s > CANARY_MAX_AGE_S:
            return Readiness(False, "no heartbeat has come back from Redis", age_s)
        return Readiness(True, "ready", age_s)

    async def _after_beat(self) -> None:
        self._beaten.set()

    def put_away(self, socket: LocalSocket, silent_s: float = 0.0) -> "asyncio.Future[int]":
        """Gives up a socket whose connection broke; its client was silent for so long.

        Fails with Stale, StoreError.
        """
        confirmed = self.nodes.confirmed if socket.replay is None else 0
        return self.sessions.put_away(socket.sid, socket.generation, silent_s=silent_s, confirmed=confirmed)

    async def _sweep(self) -> None:
        """Once after each heartbeat that was answered."""
        while True:
            await self._beaten.wait()
            self._beaten.clear()
            await self.reconciler.reconcile()
            await self.sweeper.look()

    async def _check_everything(self, went_back: bool) -> None:
        """Redis lost data: rooms that lost entries, and sockets it does not know, start over."""
        self.reconciler.suspect()
        if went_back:
            self.history.went_back()
        try:
            await self._check_sockets()
        except StoreError as error:
            logger.warning("could not check the sockets: %s", error)
        self.relay.verify()

    def _lost(self, cursor: Cursor) -> None:
        """So may be that somebody has left."""
        self.history.lost(cursor)
        self.reconciler.suspect()

    def _heard_of_hole(self, clock: int) -> None:
        """Some node has found out; who has come back here just before that was not told."""
        self.reconciler.suspect()
        self.restorer.start_over(self.recovery.recovered_over(clock), "entries that it had missed are lost")

    def _check_who_is_here(self) -> None:
        """Other nodes may have put sockets away, or ended them, that are still here."""
        self.vigil.doubt()
        self.reconciler.suspect()

    async def _check_sockets(self) -> None:
        """Ends the connections whose sockets another node has, or Redis has lost. Raises StoreUnavailable."""
        sockets = [socket for socket in self.locals.sockets.values() if socket.entered]
        owned = await self.sockets.owned(sockets)
        gone = [socket for socket, still in zip(sockets, owned, strict=True) if not still]
        here = [socket for socket in gone if self.locals.sockets.get(socket.sid) is socket]
        self.restorer.start_over(here, "it is not this node's any more")
