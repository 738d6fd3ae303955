"""What this process sent to one room and what became of it: columns, 32 bytes a message.

A message that is neither acknowledged nor refused stays unknown: nobody knows whether it was stored, so it is
neither expected nor wrong if it comes.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, compress
from typing import Any

from .columns import packed, unpacked

UNKNOWN, ACKNOWLEDGED, REFUSED = 0, 1, 2
COLUMNS = ("_ids", "_sent_s", "_acked_s", "_intended_s", "_states")


@dataclass(frozen=True, slots=True)
class Send:
    """One message. All times in seconds of the master's clock; `acked_s` is 0 unless it was acknowledged."""

    sent_s: float
    acked_s: float
    intended_s: float
    state: int


class Sends:
    """The messages of one room in the order sent."""

    __slots__ = ("_acked_s", "_ids", "_intended_s", "_pending", "_sent_s", "_settled", "_states")

    def __init__(self) -> None:
        self._ids = array("Q")
        self._sent_s = array("d")
        self._acked_s = array("d")
        self._intended_s = array("d")
        self._states = array("B")
        self._pending: dict[int, int] = {}  # message -> its row, until it is answered
        self._settled: set[int] = set()  # messages that were split off before they were answered

    def __len__(self) -> int:
        return len(self._ids)

    def sent(self, message: int, at_s: float, intended_s: float) -> None:
        """A message leaves now."""
        self._pending[message] = len(self._ids)
        self._ids.append(message)
        self._sent_s.append(at_s)
        self._acked_s.append(0.0)
        self._intended_s.append(intended_s)
        self._states.append(UNKNOWN)

    def answered(self, message: int, at_s: float, state: int) -> None:
        """Its acknowledgement came; KeyError if it was not sent, or answered before. A settled one is unknown."""
        if message in self._settled:
            self._settled.discard(message)
            return
        row = self._pending.pop(message)
        self._acked_s[row] = at_s
        self._states[row] = state

    def forget(self, message: int) -> None:
        """It stays unknown; KeyError as with `answered`."""
        if message in self._settled:
            self._settled.discard(message)
            return
        del self._pending[message]

    def split(self, before_s: float) -> "Sends":
        """Take out what was intended before this; what of it is still unanswered stays unknown for ever."""
        old = [intended_s < before_s for intended_s in self._intended_s]
        new = [not each for each in old]
        older = Sends()
        for name in COLUMNS:
            column = getattr(self, name)
            setattr(older, name, array(column.typecode, compress(column, old)))
            setattr(self, name, array(column.typecode, compress(column, new)))
        row_of = [0, *accumulate(new)]
        pending = {message: row_of[row] for message, row in self._pending.items() if new[row]}
        self._settled.update(self._pending.keys() - pending.keys())
        self._pending = pending
        return older

    def to_wire(self) -> dict[str, Any]:
        """Packed columns."""
        return {
            "ids": packed(self._ids),
            "sent": packed(self._sent_s),
            "acked": packed(self._acked_s),
            "intended": packed(self._intended_s),
            "states": packed(self._states),
        }


def sends_by_id(wire: Mapping[str, Any]) -> dict[int, Send]:
    """What `to_wire` of one process says, message -> Send."""
    times = (unpacked("d", wire[name]) for name in ("sent", "acked", "intended"))
    rows = zip(unpacked("Q", wire["ids"]), *times, unpacked("B", wire["states"]), strict=True)
    return {message: Send(sent, acked, intended, state) for message, sent, acked, intended, state in rows}
