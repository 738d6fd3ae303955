"""A run's log made by hand, clean at first, for the tests of the checker to plant faults in."""

from collections.abc import Iterable

from .record import Acked, Connected, Disconnected, History, Received, Sent

MESSAGES = 30
SENT_EVERY_S = 1.0


class Log:
    """A hand-made run of one room. A message is sent at its own second, by the members in turn, acknowledged a
    tenth of a second later, and received by everybody in between; tests then change what they want to."""

    def __init__(self, members: int = 4, plain: int = 1) -> None:
        self.members = [History(f"c{number}", "A", recovers=number < members - plain) for number in range(members)]
        self.offsets: dict[str, str] = {}
        for member in self.members:
            member.add(Connected(0.5, f"sid-{member.name}", recovered=False, pid=member.recovers))
        for number in range(MESSAGES):
            self._say(number)

    def _say(self, number: int) -> None:
        sender = self.members[number % len(self.members)]
        message = f"{sender.name}:{number // len(self.members)}"
        at_s = 1 + number * SENT_EVERY_S
        self.offsets[message] = str(1_000 + number * 10)
        sender.add(Sent(at_s, message))
        for member in self.members:
            member.add(self.receipt(member, message, at_s + 0.05))
        sender.add(Acked(at_s + 0.1, message))

    def receipt(self, member: History, message: str, at_s: float) -> Received:
        """As the member gets it: with its offset, if it recovers."""
        return Received(at_s, message, self.offsets[message] if member.recovers else None)

    @property
    def messages(self) -> list[str]:
        """All ids, in the room's order."""
        return list(self.offsets)

    def forget(self, member: int, messages: Iterable[str]) -> None:
        """The member has not received these."""
        gone = set(messages)
        history = self.members[member]
        history.events = [e for e in history.events if not (isinstance(e, Received) and e.id in gone)]

    def unacknowledge(self, message: str) -> None:
        """Its sender has not heard what became of it."""
        for history in self.members:
            history.events = [e for e in history.events if not (isinstance(e, Acked) and e.id == message)]

    def interrupt(
        self, member: int, from_s: float, to_s: float, *, recovered: bool, replayed: bool = False
    ) -> None:
        """The member's connection is gone from one time to another; `replayed`: it gets what it missed then."""
        history = self.members[member]
        sid = f"sid-{history.name}" if recovered else f"sid-{history.name}-{to_s}"
        missed = [e for e in history.of(Received) if from_s < e.at_s < to_s]
        kept = [e for e in history.events if e not in missed]
        back = [Connected(to_s, sid, recovered, pid=history.recovers)]
        late = [Received(to_s + 0.01, e.id, e.offset) for e in missed] if replayed else []
        history.events = sorted([*kept, Disconnected(from_s, "cut"), *back, *late], key=lambda e: e.at_s)

    def swap(self, member: int, first: int, second: int) -> None:
        """The member received two messages the other way round."""
        history = self.members[member]
        places = [place for place, event in enumerate(history.events) if isinstance(event, Received)]
        one, other = places[first], places[second]
        history.events[one], history.events[other] = history.events[other], history.events[one]
