"""Who must have received what: one ledger in each generator process, a row for everything sent and every stay.

It only records, per room: messages sent and what became of them, the order in which they were first heard
here, and each member's stay. `judging.py` says what was lost, doubled or out of order, once the ledgers of all
processes are together. All times are seconds of the master's clock, and never run back within a process.
"""

from itertools import accumulate
from typing import Any

from .columns import packed
from .pausing import Pause, without_pause
from .sends import ACKNOWLEDGED, REFUSED, Sends
from .stay import RoomOrder, Stay
from .stay_record import StayRecord

WIRE_VERSION = 1


class Room:
    """One room in this process. A message that is for one member alone has a room of its own: that member's."""

    __slots__ = ("name", "order", "sends", "stays")

    def __init__(self, name: str) -> None:
        self.name = name
        self.order = RoomOrder()
        self.sends = Sends()
        self.stays: list[Stay] = []

    def learned(self, message: int, intended_s: float) -> None:
        """A message came that this process has not seen before: call it before the member's `heard`.

        Without it a message counts as intended when it first came, which `settle` and the time until the last
        receiver then go by.
        """
        self.order.append(message, intended_s)

    def settle(self, before_s: float, pause: Pause) -> dict[str, Any]:
        """Give away what was intended before this, and the stays that ended before this. `pause` of `Ledger`."""
        old = [intended_s < before_s for intended_s in self.order.intended_s]
        old_index, new_index = [0, *accumulate(old)], [0, *accumulate(not each for each in old)]
        # All at once, nobody may hear anything meanwhile; then there is time.
        older, sends = self.order.split(old), self.sends.split(before_s)
        older_stays = [stay.split(old, old_index, new_index) for stay in self.stays]
        self.stays = [stay for stay in self.stays if stay.ended_s is None or stay.ended_s >= before_s]
        pause()
        return room_wire(older, sends, older_stays, pause)

    def is_in_use(self) -> bool:
        """Whether anybody is or was there, or sent anything, since the last settling."""
        return bool(self.stays or self.order.messages or len(self.sends))

    def to_wire(self) -> dict[str, Any]:
        """Everything, as `judging.py` reads it."""
        return room_wire(self.order, self.sends, [stay.record() for stay in self.stays], without_pause)


class Ledger:
    """The rooms of one process."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    def room(self, name: str) -> Room:
        """The room of that name, new when nobody asked for it before."""
        found = self._rooms.get(name)
        if found is None:
            found = self._rooms[name] = Room(name)
        return found

    def entered(self, room: str, member: str, at_s: float, *, asked_s: float | None = None) -> Stay:
        """A member's entry was acknowledged: what is sent from now on is expected.

        With `asked_s`, when the entry was asked for, hearing what was acknowledged before that is unexpected.
        """
        kept = self.room(room)
        stay = Stay(kept.order, member, at_s, asked_s)
        kept.stays.append(stay)
        return stay

    def sent(self, room: str, message: int, at_s: float, *, intended_s: float | None = None) -> None:
        """A message leaves; `intended_s` when it should have (default: now)."""
        self.room(room).sends.sent(message, at_s, at_s if intended_s is None else intended_s)

    def acknowledged(self, room: str, message: int, at_s: float) -> None:
        """It is stored: from here on it must come. KeyError for one that is not waiting for an answer."""
        self.room(room).sends.answered(message, at_s, ACKNOWLEDGED)

    def refused(self, room: str, message: int) -> None:
        """A clear error: it must not come to anybody. KeyError as above."""
        self.room(room).sends.answered(message, 0.0, REFUSED)

    def unknown(self, room: str, message: int) -> None:
        """No answer will ever come: it is neither expected nor wrong. KeyError as above."""
        self.room(room).sends.forget(message)

    def close(self, at_s: float) -> None:
        """The run is over, after the time to drain: who is still there must have everything acknowledged.

        A stay that is paused ended when it paused. Nothing may be recorded afterwards.
        """
        for room in self._rooms.values():
            for stay in room.stays:
                if stay.paused_s is not None:
                    stay.left(at_s)

    def settle(self, before_s: float, pause: Pause = without_pause) -> dict[str, Any]:
        """Take out, as a wire of its own, everything *intended* before a time, and forget it: bounds memory.

        All processes of a run settle at the same `before_s`, and `judge` takes their wires of one `before_s`
        together; the totals of the parts add up. It needs `Room.learned`. Choose `before_s` so long ago that
        nothing of before it is still on its way, a recovery after a pause included. `pause` is called between
        parts of the work, and may let others go on, who may use the ledger; but not `to_wire` or `settle`.

        No longer checked then: the order of two messages on different sides of `before_s`. What still comes of
        before it counts as lost in its part, and as unexpected in a later one; a repetition of it is unexpected,
        not a duplicate.
        """
        rooms = [room for room in self._rooms.values() if room.is_in_use()]
        return {"version": WIRE_VERSION, "rooms": {room.name: room.settle(before_s, pause) for room in rooms}}

    def to_wire(self) -> dict[str, Any]:
        """Everything that was not settled: plain values and bytes, about 50 bytes a message and a stay."""
        rooms = {name: room.to_wire() for name, room in self._rooms.items() if room.is_in_use()}
        return {"version": WIRE_VERSION, "rooms": rooms}


def room_wire(order: RoomOrder, sends: Sends, stays: list[StayRecord], pause: Pause) -> dict[str, Any]:
    """What `judging.py` wants to know of a room."""
    rows = []
    for record in stays:
        rows.append(record.to_wire())
        pause()
    return {
        "order": packed(order.messages, "Q"),
        "latest": packed(order.latest_s, "d"),
        "intended": packed(order.intended_s, "d"),
        "sends": sends.to_wire(),
        "stays": rows,
    }
