"""The end of a socket in the cluster: it leaves its rooms, so that those who stay are told, and is forgotten.

When that is due is for others to say: `hub.manager` where a client or the server disconnects, `cluster.sweeper`
where a client stays away, `cluster.recovery` where it starts anew, `cluster.reconciler` where Redis was not told.
"""

import contextlib
from collections.abc import Iterable
from typing import Literal

from ..errors import Stale
from ..wire import RoomId
from .roster import Roster
from .sessions import Sessions
from .sockets import Sockets
from .supervision import gather_all


class Ending:
    """Ends sockets."""

    def __init__(self, sessions: Sessions, roster: Roster, sockets: Sockets) -> None:
        self._sessions = sessions
        self._roster = roster
        self._sockets = sockets

    async def end(
        self, sid: str, namespace: str, generation: int, rooms: Iterable[RoomId], *, keep_s: float | None = None
    ) -> None:
        """Ends a socket that is in these rooms, and in what it has entered meanwhile.

        `keep_s`: for so long after its last sign of life its client may still come back, and enters them again.
        Raises Stale where another connection has it, StoreError.
        """
        remember: Literal["room", "nothing"] = "nothing" if keep_s is None else "room"
        while True:
            with contextlib.suppress(Stale):  # what comes last says so too, when it has cleaned up
                leaving = (
                    self._roster.leave(sid, room, generation=generation, remember=remember) for room in rooms
                )
                await gather_all(leaving)
            if await self._sockets.disconnect(sid, namespace, generation, keep_s=keep_s):
                return
            (session,) = await self._sessions.read([sid])
            if session is None:
                raise Stale(f"socket {sid} has a session that cannot be read")
            rooms = session.rooms
