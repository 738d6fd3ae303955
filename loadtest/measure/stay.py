"""One member's time in a room as it hears it: a pointer into the room's order, and what came otherwise.

A stay that hears everything in the order in which the process first saw it costs one integer. What it was
expected to hear is judged by `judging.py`, when everybody's sends are known.
"""

import sys
from collections.abc import Sequence
from itertools import compress

from .stay_record import StayRecord

# No place in any order: nothing heard yet, or no longer in the room.
NOWHERE = sys.maxsize


class RoomOrder:
    """The messages of a room in the order in which any member of this process first heard them."""

    __slots__ = ("intended_s", "latest_s", "messages", "places")

    def __init__(self) -> None:
        self.messages: list[int] = []
        self.places: dict[int, int] = {}  # message -> its index in `messages`
        self.latest_s: list[float] = []  # place -> when the last member of this process received it
        self.intended_s: list[float] = []  # place -> when it was meant to be sent

    def append(self, message: int, intended_s: float) -> int:
        """Its place, new at the end unless it has one."""
        place = self.places.setdefault(message, len(self.messages))
        if place == len(self.messages):
            self.messages.append(message)
            self.latest_s.append(intended_s)
            self.intended_s.append(intended_s)
        return place

    def split(self, old: Sequence[bool]) -> "RoomOrder":
        """Take out the places for which `old` says so, for everybody who holds this one."""
        new = [not each for each in old]
        older = RoomOrder()
        for name in ("messages", "latest_s", "intended_s"):
            column = getattr(self, name)
            setattr(older, name, list(compress(column, old)))
            column[:] = compress(column, new)
        self.places = {message: place for place, message in enumerate(self.messages)}
        return older


class Stay:
    """From a member's entry to its end. Heard at places `begin..next` but for `skipped`; `late` out of turn."""

    __slots__ = (
        "_next",
        "_order",
        "after",
        "asked_s",
        "before",
        "begin",
        "duplicates",
        "ended_s",
        "entered_s",
        "late",
        "member",
        "passed",
        "paused_s",
        "skipped",
    )

    def __init__(self, order: RoomOrder, member: str, entered_s: float, asked_s: float | None) -> None:
        self._order = order
        self.member = member
        self.entered_s = entered_s
        self.asked_s = asked_s
        self.ended_s: float | None = None
        self.paused_s: float | None = None
        self.begin = 0
        self.passed = 0  # `next` of a stay that has ended
        self._next = NOWHERE
        self.duplicates = 0
        self.skipped: set[int] | None = None  # places below `next` not heard so far
        self.before: set[int] | None = None  # places below `begin` heard after all
        self.late: list[tuple[int, int]] | None = None  # (place, `next` when it came), in the order heard
        self.after: list[int] | None = None  # messages heard after the end

    @property
    def next(self) -> int:
        """The place after the last one heard in turn; 0 before anything was heard."""
        return self._next if self._next != NOWHERE else self.passed

    def heard(self, message: int, now_s: float) -> None:
        """A message came. The hot path: nothing but a comparison when it is the one whose turn it is."""
        order = self._order
        place = self._next
        if place < len(order.messages) and order.messages[place] == message:
            order.latest_s[place] = now_s
            self._next = place + 1
            return
        self._heard_elsewhere(message, now_s)

    def heard_many(self, messages: Sequence[int], now_s: float) -> None:
        """All that came in one read, in order."""
        order = self._order
        place = self._next
        end = place + len(messages)
        if place != NOWHERE and order.messages[place:end] == messages:
            order.latest_s[place:end] = [now_s] * len(messages)
            self._next = end
            return
        for message in messages:
            self.heard(message, now_s)

    def _heard_elsewhere(self, message: int, now_s: float) -> None:
        if self.ended_s is not None:
            self.after = self.after or []
            self.after.append(message)
            return
        order = self._order
        place = order.append(message, now_s)
        if self._next == NOWHERE:
            self.begin = place
        elif place > self._next:
            self.skipped = self.skipped or set()
            self.skipped.update(range(self._next, place))
        elif place < self._next:
            self._heard_late(place, now_s)
            return
        order.latest_s[place] = now_s
        self._next = place + 1

    def _heard_late(self, place: int, now_s: float) -> None:
        if self.skipped and place in self.skipped:
            self.skipped.discard(place)
        elif place < self.begin and place not in (self.before or ()):
            self.before = self.before or set()
            self.before.add(place)
        else:
            self.duplicates += 1
            return
        self.late = self.late or []
        self.late.append((place, self._next))
        self._order.latest_s[place] = now_s

    def paused(self, at_s: float) -> None:
        """The connection is gone; it may come back recovered, with everything in between."""
        if self.ended_s is None and self.paused_s is None:
            self.paused_s = at_s

    def resumed(self) -> None:
        """It came back recovered: the stay never ended."""
        self.paused_s = None

    def left(self, at_s: float) -> None:
        """The stay ends: the connection is lost, or the leave was acknowledged. While paused: when it paused."""
        if self.ended_s is not None:
            return
        self.passed, self._next = self.next, NOWHERE
        self.ended_s = at_s if self.paused_s is None else self.paused_s

    def record(self) -> StayRecord:
        """As it stands. While paused it counts as ended when it paused."""
        return StayRecord(
            self.member,
            self.entered_s,
            self.asked_s,
            self.paused_s if self.ended_s is None else self.ended_s,
            self.begin,
            self.next,
            self.duplicates,
            sorted(self.skipped or ()),
            sorted(self.before or ()),
            list(self.late or ()),
            list(self.after or ()),
        )

    def split(self, old: Sequence[bool], old_index: Sequence[int], new_index: Sequence[int]) -> StayRecord:
        """Take out the places for which `old` says so, the duplicates, and what came after the end.

        `old_index[i]` of them are below i, and `new_index[i]` of the others.
        """
        if self.skipped or self.before or self.late or self.after or self.duplicates:
            record = self.record()
            older = record.restricted(old, old_index)
            rest = record.restricted([not each for each in old], new_index)
            self.skipped, self.before = set(rest.skipped) or None, set(rest.before) or None
            self.late = list(rest.late) or None
            self.duplicates, self.after = 0, None
        else:  # nearly all of them
            ended_s = self.paused_s if self.ended_s is None else self.ended_s
            begin, past = old_index[self.begin], old_index[self.next]
            older = StayRecord(self.member, self.entered_s, self.asked_s, ended_s, begin, past)
        self.begin, self.passed = new_index[self.begin], new_index[self.passed]
        if self._next != NOWHERE:
            self._next = new_index[self._next]
        return older
