"""A room with planted faults, told to ledgers of several processes, and what the counts must then be.

The truth is kept message by message and member by member, with loops over everything: slow, and nothing in it
is the ledger's.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from loadtest.measure.ledger import Ledger
from loadtest.measure.stay import Stay

ROOM = "room"
INTERVAL_S = 0.1  # between messages
ACKED_AFTER_S = 0.05
IN_FLIGHT_S = 1.0
CLEAR = 12  # messages between two faults of one member, so that each is a fault of its own
ALWAYS_THERE = 9  # members who are there from the beginning to the end: the majority


@dataclass
class Visit:
    """One member's stay, and what it hears in which order and when."""

    member: str
    entered_s: float
    left_s: float | None
    delay_s: float
    heard: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    stay: Stay | None = None


@dataclass
class Counts:
    """The planted truth."""

    expected: int = 0
    delivered: int = 0
    lost: int = 0
    duplicates: int = 0
    order_violations: int = 0
    unexpected: int = 0


class Simulation:
    """Everything is decided by the seed; `run` then tells it in the order of time."""

    def __init__(self, seed: int, *, messages: int = 300, visitors: int = 12) -> None:
        self._random = random.Random(seed)
        self.messages = messages
        self.refused = {k for k in range(messages) if self._random.random() < 0.02}
        self.unknown = {k for k in range(messages) if self._random.random() < 0.02} - self.refused
        # Delivered all the same.
        self.leaked = {k for k in self.refused if self._random.random() < 0.5}
        # Lost on the way to everybody.
        self.vanished = {k for k in range(messages) if self._random.random() < 0.01} - self.refused - self.unknown
        self.visits = [self._visit(number) for number in range(ALWAYS_THERE + visitors)]
        self.truth = Counts()
        for visit in self.visits:
            self._plant(visit)
            self._judge(visit)

    def _visit(self, number: int) -> Visit:
        end_s = self.messages * INTERVAL_S
        delay_s = self._random.uniform(0.0, 0.5)
        if number < ALWAYS_THERE:
            return Visit(f"m{number}", -1.0, None, delay_s)
        entered_s = self._random.uniform(0.0, end_s)
        left_s = entered_s + self._random.uniform(0.0, end_s)
        return Visit(f"m{number}", entered_s, left_s if left_s < end_s + 2 else None, delay_s)

    def sent_s(self, message: int) -> float:
        return message * INTERVAL_S

    def _plant(self, visit: Visit) -> None:
        """What arrives, in order, then one fault now and again."""
        missing = self.refused - self.leaked | self.vanished
        arriving = [k for k in range(self.messages) if k not in missing]
        # Something from just before its entry may come, too.
        arriving = [k for k in arriving if self.sent_s(k) >= visit.entered_s - self._random.choice([0.0, 0.15])]
        if visit.left_s is not None:
            arriving = [k for k in arriving if self.sent_s(k) + visit.delay_s + ACKED_AFTER_S < visit.left_s]
        place = self._random.randrange(4 * CLEAR)
        while place < len(arriving) - CLEAR:
            place += self._fault(arriving, place)
        visit.heard = arriving
        self.truth.unexpected += len(self.refused & set(arriving))
        now_s = visit.entered_s
        for k in visit.heard:
            now_s = max(now_s, self.sent_s(k) + visit.delay_s + ACKED_AFTER_S)
            visit.times_s.append(now_s)

    def _fault(self, arriving: list[int], place: int) -> int:
        match self._random.choice(["none"] * 10 + ["drop", "repeat", "swap", "delay"]):
            case "drop":
                del arriving[place]
            case "repeat":
                arriving.insert(place + self._random.randrange(1, 9), arriving[place])
                self.truth.duplicates += 1
            case "swap":
                arriving[place], arriving[place + 1] = arriving[place + 1], arriving[place]
                self.truth.order_violations += 1
            case "delay":
                arriving.insert(place + self._random.randrange(2, 9), arriving.pop(place))
                self.truth.order_violations += 1
            case _:
                return 1
        return CLEAR

    def _judge(self, visit: Visit) -> None:
        known = {k for each in self.visits for k in each.heard}
        heard = set(visit.heard)
        for k in range(self.messages):
            if k in self.refused or k in self.unknown or self.sent_s(k) < visit.entered_s:
                continue
            acked_s = self.sent_s(k) + ACKED_AFTER_S
            is_due = visit.left_s is None or acked_s <= visit.left_s - IN_FLIGHT_S
            stands_before = k not in self.vanished and bool(heard) and k < max(heard)
            if k in heard or is_due or stands_before:
                self.truth.expected += 1
                self.truth.delivered += k in heard
                self.truth.lost += k not in heard
        assert not known & self.vanished

    def run(self, processes: int, settle_s: Sequence[float] = ()) -> list[list[dict[str, object]]]:
        """Tell it all to so many ledgers; the wires of each part, one of each process."""
        ledgers = [Ledger() for _ in range(processes)]
        events: list[tuple[float, int, int, object]] = []
        for k in range(self.messages):
            events += [(self.sent_s(k), 0, k, "sent"), (self.sent_s(k) + ACKED_AFTER_S, 0, k, "answered")]
        for number, visit in enumerate(self.visits):
            # Half of them come back recovered once.
            events += [(visit.entered_s, 1, number, "enter")]
            events += [(time_s, 2, k, visit) for k, time_s in zip(visit.heard, visit.times_s, strict=True)]
            if visit.left_s is not None:
                events += [(visit.left_s, 3, number, "leave")]
        events += [(time_s + 10.0, 4, 0, time_s) for time_s in settle_s]
        parts = []
        for time_s, kind, what, whom in sorted(events, key=lambda event: event[:2]):
            home = ledgers[what % processes]
            if kind == 0:
                self._answer(home, what, time_s) if whom == "answered" else home.sent(ROOM, what, time_s)
            elif kind == 1:
                self.visits[what].stay = home.entered(ROOM, self.visits[what].member, time_s)
            elif kind == 2:
                assert isinstance(whom, Visit) and whom.stay is not None
                number = self.visits.index(whom)
                ledgers[number % processes].room(ROOM).learned(what, self.sent_s(what))
                whom.stay.heard(what, time_s)
            elif kind == 3:
                leaving = self.visits[what].stay
                assert leaving is not None
                leaving.left(time_s)
            else:
                assert isinstance(whom, float)
                parts.append([ledger.settle(whom) for ledger in ledgers])
        for ledger in ledgers:
            ledger.close(1e6)
        return [*parts, [ledger.to_wire() for ledger in ledgers]]

    def _answer(self, ledger: Ledger, k: int, time_s: float) -> None:
        if k in self.refused:
            ledger.refused(ROOM, k)
        elif k not in self.unknown:
            ledger.acknowledged(ROOM, k, time_s)
