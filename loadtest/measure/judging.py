"""From the ledgers of all processes to exact totals: what was expected, and what of it came, once and in order.

A message is expected by a stay when it was acknowledged, and sent after the stay began. If the stay ended
early, what was on its way then is not: a message it did not hear is expected only if it stands before one that
it did hear, or was acknowledged `in_flight_s` before the end. What is left between (on its way at the borders,
or never answered) is neither expected nor unexpected. `lost` is always expected - delivered.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Any

from .agreement import Agreed, agreed_order
from .claims import Claims
from .histogram import Histogram
from .pausing import Pause, without_pause
from .sends import ACKNOWLEDGED, REFUSED, UNKNOWN, Send
from .stay_record import StayRecord
from .totals import EXAMPLES_MAX, Totals
from .views import View

# What a node, a proxy and the kernel may hold for a connection at the moment it is lost.
IN_FLIGHT_S = 5.0


def judge(
    wires: Iterable[Mapping[str, Any]],
    *,
    in_flight_s: float = IN_FLIGHT_S,
    clock_error_s: float = 0.0,
    is_missing: Callable[[int], bool] = lambda message: False,
    pause: Pause = without_pause,
) -> Totals:
    """The totals of a run from `Ledger.to_wire()` (or `settle` of one moment) of each of its processes.

    `clock_error_s` is the most by which two processes may disagree about the time. `is_missing` says whether a
    message is of a process whose ledger is not here: nobody knows what became of it. `pause` is called between
    parts of the work, and may let others go on.
    """
    rooms: dict[str, list[View]] = {}
    for wire in wires:
        for name, room in wire["rooms"].items():
            rooms.setdefault(name, []).append(View.from_wire(room, pause))
    how = (in_flight_s, clock_error_s, is_missing, pause)
    return Totals().plus(*(Hearing(name, views, *how).totals() for name, views in rooms.items()))


class Hearing:
    """The judgement of one room."""

    def __init__(
        self,
        room: str,
        views: Sequence[View],
        in_flight_s: float,
        clock_error_s: float,
        is_missing: Callable[[int], bool],
        pause: Pause,
    ) -> None:
        self._room = room
        self._views = views
        self._in_flight_s = in_flight_s
        self._clock_error_s = clock_error_s
        self._sends: dict[int, Send] = {message: send for view in views for message, send in view.sends.items()}
        self._is_missing = is_missing
        self._pause = pause
        self._agreed: Agreed = agreed_order(views, pause)
        self._examples: list[str] = []

    def totals(self) -> Totals:
        """All counts of the room."""
        lost: Counter[int] = Counter()
        delivered = duplicates = unexpected = 0
        for view in self._views:
            claims = Claims(view, self._sends)
            unexpected += self._foreign(view)
            for stay in view.stays:
                self._pause()
                delivered += self._delivered(claims, stay)
                lost.update(self._lost(claims, stay))
                unexpected += self._out_of_time(claims, stay)
                duplicates += stay.duplicates
                self._note(stay.duplicates, f"{stay.duplicates} duplicates: {self._member(stay)}")
        states = Counter(send.state for send in self._sends.values())
        return Totals(
            sent=len(self._sends),
            acknowledged=states[ACKNOWLEDGED],
            refused=states[REFUSED],
            unknown=states[UNKNOWN],
            expected=delivered + lost.total(),
            delivered=delivered,
            lost=lost.total(),
            duplicates=duplicates,
            order_violations=self._agreed.violations,
            unexpected=unexpected,
            last_receiver=self._last_receiver(lost),
            examples=self._examples,
        )

    def _delivered(self, claims: Claims, stay: StayRecord) -> int:
        """What of the expected was heard."""
        sent_s, since_s = claims.sent_s, self._since_s(stay)
        count = claims.acknowledged_below[stay.next] - claims.acknowledged_below[stay.begin]
        count -= sum(sent_s[place] is not None for place in stay.skipped)
        skipped = set(stay.skipped)
        for place in claims.places_sent_before(since_s, stay):
            count -= place not in skipped
        for place in stay.before:
            sent = sent_s[place]
            count += sent is not None and sent >= since_s
        return count

    def _lost(self, claims: Claims, stay: StayRecord) -> Iterator[int]:
        """The messages that were expected and not heard."""
        since_s = self._since_s(stay)
        until_s = inf if stay.ended_s is None else stay.ended_s
        ranks = self._agreed.ranks
        heard_up_to = max((ranks[claims.view.order[place]] for place in stay.heard_last()), default=-1)
        for message in claims.not_heard(stay, since_s, until_s):
            send = self._sends[message]
            is_due = send.acked_s <= until_s - self._in_flight_s - self._clock_error_s
            if send.sent_s >= since_s and (is_due or ranks.get(message, inf) <= heard_up_to):
                when = f"sent at {send.sent_s:.3f} s"
                self._note(True, f"lost: message {name_of(message)} {self._member(stay)}, {when}")
                yield message

    def _since_s(self, stay: StayRecord) -> float:
        return stay.entered_s + self._clock_error_s

    def _foreign(self, view: View) -> int:
        """Receipts of what nobody sent to this room, or what was refused."""
        count = 0
        for place, message in enumerate(view.order):
            send = self._sends.get(message)
            is_foreign = not self._is_missing(message) if send is None else send.state == REFUSED
            if is_foreign and (heard_by := view.heard_by[place]):
                count += heard_by
                why = "refused" if send else "not sent to it"
                self._note(True, f"unexpected: message {name_of(message)} in room {self._room}, {why}")
        return count

    def _out_of_time(self, claims: Claims, stay: StayRecord) -> int:
        """Receipts of what was answered before the entry was asked for, or was sent after the end."""
        early = late = 0
        if stay.asked_s is not None:
            before_s = stay.asked_s - self._clock_error_s
            order, skipped = claims.view.order, set(stay.skipped)
            for place in (*claims.places_sent_before(before_s, stay), *stay.before):
                send = self._sends.get(order[place])
                is_old = send is not None and send.state == ACKNOWLEDGED and send.acked_s < before_s
                early += is_old and place not in skipped
        if stay.ended_s is not None:
            sends = (self._sends.get(message) for message in set(stay.after))
            late = sum(send is not None and send.sent_s > stay.ended_s + self._clock_error_s for send in sends)
        self._note(early, f"unexpected: {early} from before the entry {self._member(stay)}")
        self._note(late, f"unexpected: {late} sent after the end {self._member(stay)}")
        return early + late

    def _last_receiver(self, lost: Mapping[int, int]) -> Histogram:
        """µs from the intended sending until the last receiver of all processes had it."""
        latest_s: dict[int, float] = {}
        for view in self._views:
            for message, at_s, heard_by in zip(view.order, view.latest_s, view.heard_by, strict=True):
                if heard_by:
                    latest_s[message] = max(at_s, latest_s.get(message, at_s))
        due = ((m, send) for m, send in self._sends.items() if send.state == ACKNOWLEDGED and m not in lost)
        return Histogram.of(round((latest_s[m] - send.intended_s) * 1e6) for m, send in due if m in latest_s)

    def _member(self, stay: StayRecord) -> str:
        return f"at {stay.member} in room {self._room}"

    def _note(self, happened: object, text: str) -> None:
        if happened and len(self._examples) < EXAMPLES_MAX:
            self._examples.append(text)


def name_of(message: int) -> str:
    """A message as people read it: `<sender>.<n>`."""
    return f"{message >> 32}.{message & 0xFFFFFFFF}"
