"""One process's view of a room beside everybody's sends: what had to be heard, indexed by place."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import inf

from .sends import ACKNOWLEDGED, Send
from .stay_record import StayRecord
from .views import View


@dataclass(frozen=True)
class Claims:
    """One process's view with what must have been heard in it, by place. Nothing here is per stay."""

    view: View
    sends: Mapping[int, Send]

    @cached_property
    def sent_s(self) -> list[float | None]:
        """Place -> when it was sent, None unless it was acknowledged."""
        found = (self.sends.get(message) for message in self.view.order)
        return [send.sent_s if send and send.state == ACKNOWLEDGED else None for send in found]

    @cached_property
    def acknowledged_below(self) -> list[int]:
        """Place -> how many of those below were acknowledged."""
        return [0, *accumulate(sent is not None for sent in self.sent_s)]

    @cached_property
    def sent_by(self) -> list[float]:
        """Place -> when the last of those up to it was sent: never falls."""
        return list(accumulate((-inf if sent is None else sent for sent in self.sent_s), max))

    @cached_property
    def sent_from(self) -> list[float]:
        """Place -> when the first of those from it on was sent: never falls."""
        return list(accumulate((inf if sent is None else sent for sent in reversed(self.sent_s)), min))[::-1]

    @cached_property
    def unheard(self) -> list[tuple[float, int]]:
        """(sent, message) of what was acknowledged and nobody here heard, by time."""
        places = self.view.places
        return sorted((s.sent_s, m) for m, s in self.sends.items() if s.state == ACKNOWLEDGED and m not in places)

    def places_sent_before(self, before_s: float, stay: StayRecord) -> Iterator[int]:
        """The places of a stay's `begin..next` whose (acknowledged) messages were sent before a time."""
        place = stay.begin
        while place < stay.next and self.sent_from[place] < before_s:
            sent = self.sent_s[place]
            if sent is not None and sent < before_s:
                yield place
            place += 1

    def not_heard(self, stay: StayRecord, since_s: float, until_s: float) -> Iterator[int]:
        """The acknowledged messages that a stay did not hear: all that were sent in that time, and a few more."""
        places = (*stay.skipped, *self._before_begin(stay, since_s), *self._from_next(stay, since_s, until_s))
        yield from (self.view.order[place] for place in places if self.sent_s[place] is not None)
        for sent_s, message in self.unheard[bisect_left(self.unheard, (since_s, 0)) :]:
            if sent_s > until_s:
                return
            yield message

    def _before_begin(self, stay: StayRecord, since_s: float) -> Iterator[int]:
        place = stay.begin - 1
        while place >= 0 and self.sent_by[place] >= since_s:
            if place not in stay.before:
                yield place
            place -= 1

    def _from_next(self, stay: StayRecord, since_s: float, until_s: float) -> Iterator[int]:
        for place in range(max(stay.next, bisect_left(self.sent_by, since_s)), len(self.sent_s)):
            if self.sent_from[place] > until_s:
                return
            yield place
