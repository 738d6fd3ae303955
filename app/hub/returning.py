"""Clients that come back: what they present with CONNECT, and the socket they get for it.

What is in a session and what was missed is `cluster.recovery`'s; this decides who may recover, ends a client's
former connection where it is still here, and lets sockets enter again what they left while they were away.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from ..cluster.cluster import Cluster
from ..cluster.local import LocalSocket
from ..cluster.recovery import Missed, Presented
from ..errors import NicknameTaken, Refused, StoreUnavailable
from ..node import new_lineage, new_sid, pid_of
from ..transport.fanout import FanOut

logger = logging.getLogger(__name__)

TRIES = 10  # to take a session that changes meanwhile
LET_GO_TIMEOUT_S = 10.0
LOOKED_AT_S = 0.01


class Returning:
    """`recovery`: the setting of that name."""

    def __init__(self, recovery: str, cluster: Cluster, fanout: FanOut) -> None:
        self._recovery = recovery
        self._cluster = cluster
        self._fanout = fanout
        self._put_away: dict[str, asyncio.Future[int]] = {}  # sid -> its being put away
        self._presented: dict[tuple[str, str], Presented] = {}  # eio_sid, namespace -> what came with CONNECT

    def present(self, eio_sid: str, namespace: str, auth: Any) -> None:
        """What a client has sent with CONNECT."""
        self._presented[eio_sid, namespace] = self._read(auth)

    def presented(self, eio_sid: str, namespace: str) -> Presented:
        """The same, once; nothing where another server than ours has asked its client."""
        return self._presented.pop((eio_sid, namespace), None) or Presented(False)

    def pid(self, eio_sid: str, namespace: str) -> dict[str, str]:
        """`{pid}`, what the client of a connection presents when it comes back; empty where it cannot."""
        socket = self._cluster.locals.of_connection(eio_sid, namespace)
        return {"pid": pid_of(socket.sid, socket.lineage)} if socket is not None and socket.lineage else {}

    def broke(self, eio_sid: str, silent_s: float) -> None:
        """A connection has broken, whose client was silent for so long: from here on others may take its sockets,
        however long its handlers take."""
        for socket in self._cluster.locals.by_eio_sid.get(eio_sid, {}).values():
            if socket.lineage and not (socket.lost or socket.leaving) and socket.held is None:
                done = self._put_away[socket.sid] = self._cluster.put_away(socket, silent_s)
                done.add_done_callback(lambda done: done.cancelled() or done.exception())  # who waits is told

    def has_broken(self, sid: str) -> bool:
        """Whether a socket that is still here was put away."""
        return sid in self._put_away

    def put_away(self, socket: LocalSocket) -> Callable[[], Awaitable[int]]:
        """What gives a socket up that is no more here, if that was not done yet. Raises Stale, StoreError."""
        done = self._put_away.pop(socket.sid, None)
        return lambda: done if done is not None else self._cluster.put_away(socket)

    async def take_up(self, eio_sid: str, namespace: str, presented: Presented) -> LocalSocket | None:
        """The socket that the client had, on this connection; None where it starts anew. Raises StoreError."""
        recovery = self._cluster.recovery
        for _ in range(TRIES):
            session = await recovery.find(namespace, presented)
            if session is None:
                return None
            here = self._cluster.locals.sockets.get(session.sid)
            if here is not None:
                await self._let_go(here)
                continue
            try:
                socket = await recovery.take(session, presented.offset, eio_sid)
            except Missed as missed:
                logger.info("socket %s starts anew: %s", session.sid, missed)
                await recovery.give_up(session)
                return None
            if socket is not None:
                await self.enter_again(socket, named=False)
                return socket
        raise StoreUnavailable("other connections want the same session")

    async def start_anew(self, eio_sid: str, namespace: str, presented: Presented) -> LocalSocket:
        """A new socket, for a client that may be known by its lineage. Raises StoreError."""
        lineage = (presented.lineage or new_lineage()) if presented.recovers else ""
        socket = LocalSocket(new_sid(), eio_sid, namespace, lineage)
        self._cluster.locals.add(socket)
        try:
            await self._cluster.sockets.connect(socket)
        except BaseException:
            self._cluster.locals.remove(socket)
            self._cluster.sockets.release(socket)
            raise
        return socket

    async def enter_again(self, socket: LocalSocket, *, named: bool) -> None:
        """Makes a socket a member again of rooms that it left while it was away, and no handler has seen to.

        Those where it had a nickname, or those where it had none. Raises StoreError.
        """
        assert socket.replay is not None
        for room, nickname in socket.replay.lapsed.items():
            if room in socket.rooms or bool(nickname) != named:
                continue
            try:
                try:
                    await self._cluster.roster.enter(socket, room, nickname)
                except NicknameTaken:
                    await self._cluster.roster.enter(socket, room)
            except Refused as error:
                logger.info("socket %s cannot enter %r again: %s", socket.sid, room.name, error)

    def _read(self, auth: Any) -> Presented:
        fields = auth if isinstance(auth, dict) else {}
        asked = self._recovery == "optin" and fields.get("recover") is True
        if not asked and self._recovery != "on":
            return Presented(False)
        return Presented(True, fields.get("pid"), fields.get("offset"))

    async def _let_go(self, socket: LocalSocket) -> None:
        """Ends the connection that a client had here before; returns when its handlers were told."""
        self._fanout.close(socket, "its client has another connection")
        try:
            async with asyncio.timeout(LET_GO_TIMEOUT_S):
                while self._cluster.locals.sockets.get(socket.sid) is socket:  # noqa: ASYNC110 - rare, and bounded
                    await asyncio.sleep(LOOKED_AT_S)
        except TimeoutError:
            raise StoreUnavailable("the client's former connection does not end") from None
