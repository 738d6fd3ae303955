"""A stay when it is over or is sent: plain numbers, restricted to some of a room's messages, and as a wire row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .columns import packed, unpacked


@dataclass(frozen=True, slots=True)
class StayRecord:
    """Heard are the places `begin..next` of the room's order but for `skipped`, and those `before` begin.

    `late` has (place, `next` when it came) for each that came out of turn, in the order heard. `ended_s` None
    means that it lasted to the end: everything acknowledged is expected.
    """

    member: str
    entered_s: float
    asked_s: float | None = None  # when its entry was asked for, if that is known
    ended_s: float | None = None
    begin: int = 0
    next: int = 0
    duplicates: int = 0
    skipped: Sequence[int] = ()
    before: Sequence[int] = ()
    late: Sequence[tuple[int, int]] = ()
    after: Sequence[int] = ()  # messages heard after the end

    def restricted(self, kept: Sequence[bool], index: Sequence[int]) -> "StayRecord":
        """The same sequence of only the places for which `kept` says so; `index[i]` of them are below i."""
        return replace(
            self,
            begin=index[self.begin],
            next=index[self.next],
            skipped=[index[place] for place in self.skipped if kept[place]],
            before=[index[place] for place in self.before if kept[place]],
            late=[(index[place], index[turn]) for place, turn in self.late if kept[place]],
        )

    def heard_last(self) -> list[int]:
        """The places among which is the last one heard: that in turn, and those out of turn."""
        in_turn = [self.next - 1] if self.next > self.begin else []
        return in_turn + [place for place, _ in self.late]

    def to_wire(self) -> list[Any]:
        """A row of plain values."""
        late = [number for pair in self.late for number in pair]
        columns = (self.skipped, self.before, late, self.after)
        return [
            self.member,
            self.entered_s,
            self.asked_s,
            self.ended_s,
            self.begin,
            self.next,
            self.duplicates,
            *(packed(column, "Q") if column else b"" for column in columns),
        ]

    @classmethod
    def from_wire(cls, row: Sequence[Any]) -> "StayRecord":
        """The opposite."""
        member, entered_s, asked_s, ended_s, begin, past, duplicates, *columns = row
        skipped, before, late, after = ([int(n) for n in unpacked("Q", data)] if data else [] for data in columns)
        pairs = list(zip(late[::2], late[1::2], strict=True))
        return cls(member, entered_s, asked_s, ended_s, begin, past, duplicates, skipped, before, pairs, after)
