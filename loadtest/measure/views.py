"""What the members of a room in one process saw, as it came over the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from .columns import unpacked
from .pausing import Pause, without_pause
from .sends import Send, sends_by_id
from .stay_record import StayRecord


@dataclass(frozen=True)
class View:
    """One process's view of one room. Places are indexes into `order`."""

    order: Sequence[int]
    latest_s: Sequence[float]
    intended_s: Sequence[float]
    stays: Sequence[StayRecord]
    sends: Mapping[int, Send]

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], pause: Pause = without_pause) -> "View":
        """Of `Room.to_wire`. `pause` of `judge`."""
        stays = []
        for row in wire["stays"]:
            stays.append(StayRecord.from_wire(row))
            pause()
        return cls(
            [int(message) for message in unpacked("Q", wire["order"])],
            unpacked("d", wire["latest"]),
            unpacked("d", wire["intended"]),
            stays,
            sends_by_id(wire["sends"]),
        )

    @cached_property
    def places(self) -> dict[int, int]:
        """Message -> place."""
        return {message: place for place, message in enumerate(self.order)}

    @cached_property
    def heard_by(self) -> list[int]:
        """Place -> by how many stays it was heard."""
        steps = [0] * (len(self.order) + 1)
        for stay in self.stays:
            steps[stay.begin] += 1
            steps[stay.next] -= 1
        heard = list(accumulate(steps[:-1]))
        for stay in self.stays:
            for place in stay.skipped:
                heard[place] -= 1
            for place in stay.before:
                heard[place] += 1
        return heard
