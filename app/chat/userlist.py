"""`userlist`: who is in the room, sent by every node to its own members from its replica of the roster.

It is a volatile snapshot, past the log, so it is coalesced: ten joins in one moment cost one list.
"""

import asyncio
from weakref import WeakKeyDictionary

from ..cluster.local import LocalRoom
from ..transport.fanout import FanOut
from ..wire import event_packet

COALESCE_S = 0.02
# At most one list in this time, and in a room of many members (each list is as long as the room, and goes to
# all of it) in 1 ms for each of them.
INTERVAL_MIN_S = 0.1
INTERVAL_PER_MEMBER_S = 0.001


class UserLists:
    """Sends the lists of the rooms in `namespaces`; `names_max` names at most in each."""

    def __init__(self, fanout: FanOut, namespaces: set[str], names_max: int) -> None:
        self._fanout = fanout
        self._namespaces = namespaces
        self._names_max = names_max
        self._sent_s: WeakKeyDictionary[LocalRoom, float] = WeakKeyDictionary()  # room -> loop time
        self._due: set[LocalRoom] = set()

    def changed(self, room: LocalRoom) -> None:
        """The roster of `room` has changed: a list is due soon."""
        if room.room.name is None or room.room.namespace not in self._namespaces or room in self._due:
            return
        self._due.add(room)
        loop = asyncio.get_running_loop()
        interval_s = max(INTERVAL_MIN_S, len(room.roster) * INTERVAL_PER_MEMBER_S)
        wait_s = self._sent_s.get(room, float("-inf")) + interval_s - loop.time()
        loop.call_later(max(COALESCE_S, wait_s), self._send, room)

    def _send(self, room: LocalRoom) -> None:
        self._due.discard(room)
        self._sent_s[room] = asyncio.get_running_loop().time()
        names = [nickname for nickname in room.roster.values() if nickname]
        data = {
            "users": names[: self._names_max],
            "count": len(names),
            "truncated": len(names) > self._names_max,
        }
        self._fanout.broadcast(room, event_packet(room.room.namespace, "userlist", data))
