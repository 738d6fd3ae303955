"""What is right about the log of a run, as pure functions: each returns its findings, none for a clean log.

- A message that was acknowledged reaches every client that was a member "throughout": from before it was sent
  until well after the acknowledgement, having been told `recovered` true at every reconnect in between. What
  was never acknowledged may be received or not.
- No client receives a message twice, whatever happened to its connection.
- All members of a room agree on one order, in which a sender's messages keep their numbers' order (`order.py`).

Rosters are `rosters.py`'s.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self, TypeGuard

from .findings import DUPLICATED, LOST, REORDERED, STRANGE, UNRECOVERED, Finding
from .order import merged_order, out_of_place
from .record import Acked, Connected, Disconnected, Event, History, Message, Received, Vanished, messages_of

THE_LOG = "(the log)"  # who is blamed where the offsets themselves are wrong


def check(histories: list[History]) -> list[Finding]:
    """Everything that is wrong with a run's log but its rosters."""
    messages = messages_of(histories)
    findings = [*find_duplicated(histories), *find_strange(histories), *find_unrecovered(histories)]
    for name in sorted({history.room for history in histories}):
        room = Room.of([history for history in histories if history.room == name])
        here = [message for message in messages.values() if message.room == name]
        findings += find_reordered(room, here)
        findings += find_lost(room, here)
    return findings


@dataclass(frozen=True, slots=True)
class Room:
    """The members of a room and the one order that what they saw makes together.

    `chain`: the ids whose offset is known, in the order of their offsets: what the log itself says. `rank`: id ->
    its place in the one order. What is in the log twice has no one place, and is in neither.
    """

    members: list[History]
    chain: list[str]
    rank: dict[str, int]

    @classmethod
    def of(cls, members: list[History]) -> Self:
        """Made of all that was received in a room."""
        receipts = [receipt for member in members for receipt in member.of(Received)]
        twice = received_twice(members) | at_two_offsets(members)
        offsets = {each.id: int(each.offset) for each in receipts if is_offset(each.offset)}
        first_s = {each.id: each.at_s for each in sorted(receipts, key=lambda each: each.at_s, reverse=True)}
        chain = sorted(offsets.keys() - twice, key=offsets.__getitem__)
        seen = ([each.id for each in member.of(Received) if each.id not in twice] for member in members)
        rank = {each: place for place, each in enumerate(merged_order([chain, *seen], first_s))}
        return cls(members, chain, rank)

    def received(self, member: History) -> list[str]:
        """What a member received, as far as it has its place, in the order in which it came."""
        return [receipt.id for receipt in member.of(Received) if receipt.id in self.rank]


def is_offset(offset: str | None) -> TypeGuard[str]:
    """Whether it is one, and no other trailing argument."""
    return offset is not None and offset.isdecimal()


def received_twice(histories: Iterable[History]) -> set[str]:
    """The ids that anybody received more than once."""
    times = Counter((history.name, receipt.id) for history in histories for receipt in history.of(Received))
    return {message_id for (_, message_id), count in times.items() if count > 1}


def at_two_offsets(histories: Iterable[History]) -> set[str]:
    """The ids that were seen at more than one offset."""
    seen = {(each.id, each.offset) for history in histories for each in history.of(Received) if each.offset}
    return {message_id for message_id, count in Counter(each for each, _ in seen).items() if count > 1}


# --- twice ---------------------------------------------------------------------------------------------------


def find_duplicated(histories: Iterable[History]) -> list[Finding]:
    """Every receipt of a message that the client had received before."""
    findings = []
    for history in histories:
        seen: dict[str, Received] = {}
        for receipt in history.of(Received):
            first = seen.setdefault(receipt.id, receipt)
            if first is not receipt:
                later_s = receipt.at_s - first.at_s
                what = f"received at offset {first.offset}, and {later_s:.3f} s later at {receipt.offset} again"
                findings.append(Finding(DUPLICATED, history.name, what, receipt.at_s, receipt.id))
    return findings


# --- order ---------------------------------------------------------------------------------------------------


def find_reordered(room: Room, messages: Iterable[Message]) -> list[Finding]:
    """What a member received, or the log has, out of the room's order; and where that is not the order in which a
    sender numbered its messages."""
    findings = [
        Finding(REORDERED, THE_LOG, "its offset disagrees with the order in which members received it", 0.0, each)
        for each in out_of_place(room.chain, room.rank)
    ]
    for member in room.members:
        wrong = set(out_of_place(room.received(member), room.rank))
        findings += [
            Finding(REORDERED, member.name, f"received out of order, at offset {each.offset}", each.at_s, each.id)
            for each in member.of(Received)
            if each.id in wrong
        ]
    return findings + _misnumbered(messages, room.rank)


def _misnumbered(messages: Iterable[Message], rank: dict[str, int]) -> list[Finding]:
    lines: defaultdict[str, list[Message]] = defaultdict(list)
    for message in messages:
        if message.id in rank:
            lines[message.line].append(message)
    findings = []
    for line in lines.values():
        line.sort(key=lambda message: message.number)
        wrong = set(out_of_place([message.id for message in line], rank))
        what = "stands in the room out of its sender's order"
        findings += [
            Finding(REORDERED, message.sender, what, message.sent_s, message.id)
            for message in line
            if message.id in wrong
        ]
    return findings


# --- lost ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Span:
    """A time for which a client was told that it missed nothing, and what it received in it.

    `open`: it lasts until the end of the run, which everything had time to reach.
    """

    start_s: float
    open: bool = True
    received: list[str] = field(default_factory=list)


def spans_of(history: History) -> list[Span]:
    """A client's spans. One ends where the next connect is told `recovered` false, and for a client that does
    not ask for recovery at every disconnect."""
    spans: list[Span] = []
    connected = False
    for event in history.events:
        match event:
            case Connected():
                connected = True
                if not (event.recovered and history.recovers and spans):
                    _end(spans)
                    spans.append(Span(event.at_s))
            case Disconnected() | Vanished():
                connected = False
                if not history.recovers:
                    _end(spans)
            case Received() if spans:
                spans[-1].received.append(event.id)
    if not connected:
        _end(spans)
    return spans


def _end(spans: list[Span]) -> None:
    if spans:
        spans[-1].open = False


def find_lost(room: Room, messages: Iterable[Message]) -> list[Finding]:
    """Acknowledged messages that a member throughout did not receive; one finding for each member.

    Of a span that has ended, all is expected up to the last message it received: what came later may have been
    under way when the connection broke.
    """
    acknowledged = [message for message in messages if message.acked_s is not None]
    findings = []
    for member in room.members:
        received = {receipt.id for receipt in member.of(Received)}
        missing = [message for message in acknowledged if message.id not in received]
        for span in spans_of(member) if missing else ():
            places = [room.rank[each] for each in span.received if each in room.rank]
            bounds = (min(places), max(places)) if places else None
            findings += [
                Finding(LOST, member.name, _fate(message), message.sent_s, message.id)
                for message in missing
                if _is_due(message, span, room.rank.get(message.id), bounds)
            ]
    return findings


def _is_due(message: Message, span: Span, place: int | None, bounds: tuple[int, int] | None) -> bool:
    """`place`: of the message in the room's order, None where nobody has received it; `bounds`: of what the span
    has received."""
    begun = message.sent_s >= span.start_s
    if place is None or bounds is None:
        return begun and span.open
    return (begun or place > bounds[0]) and (span.open or place < bounds[1])


def _fate(message: Message) -> str:
    assert message.acked_s is not None
    acked_after_s = message.acked_s - message.sent_s
    return f"acknowledged {acked_after_s:.3f} s after it was sent by {message.sender}, never received"


# --- what clients are told -------------------------------------------------------------------------------------


def find_unrecovered(histories: Iterable[History]) -> list[Finding]:
    """Reconnects that were told `recovered` false, of clients that ask for recovery."""
    return [
        Finding(UNRECOVERED, history.name, f"reconnected as {event.sid}, recovered false", event.at_s)
        for history in histories
        if history.recovers
        for event in list(history.of(Connected))[1:]
        if not event.recovered
    ]


def find_strange(histories: list[History]) -> list[Finding]:
    """What no client may be shown: an offset where it has not asked for recovery, none where it was given a pid,
    two offsets for one message (where nobody received it twice, which says as much) or one for two, another sid
    upon recovery, a refusal of a well-formed message."""
    findings = [
        Finding(STRANGE, history.name, what, event.at_s, getattr(event, "id", ""))
        for history in histories
        for event, what in _oddities(history)
    ]
    moved = at_two_offsets(histories) - received_twice(histories)
    id_at: dict[tuple[str, str], str] = {}  # room, offset -> the id that was seen there first
    for history in histories:
        for receipt in history.of(Received):
            if receipt.offset is None:
                continue
            other = id_at.setdefault((history.room, receipt.offset), receipt.id)
            if receipt.id in moved:
                what = f"received at offset {receipt.offset}, and elsewhere at another"
            elif other != receipt.id:
                what = f"received at offset {receipt.offset}, as {other} was"
            else:
                continue
            findings.append(Finding(STRANGE, history.name, what, receipt.at_s, receipt.id))
    return findings


def _oddities(history: History) -> Iterator[tuple[Event, str]]:
    """What is wrong within one client's history alone."""
    sid, has_pid = "", False
    for event in history.events:
        match event:
            case Connected():
                if event.recovered and event.sid != sid:
                    yield event, f"recovered with sid {event.sid}, which was {sid}"
                if event.pid and not history.recovers:
                    yield event, "was given a pid, and has not asked for recovery"
                sid, has_pid = event.sid, event.pid
            case Received(offset=str() as offset) if not history.recovers:
                yield event, f"was shown offset {offset}, and has not asked for recovery"
            case Received(offset=str() as offset) if not is_offset(offset):
                yield event, f"was shown {offset!r} as an offset"
            case Received(offset=None) if history.recovers and has_pid:
                yield event, "came without an offset"
            case Acked() if event.error:
                yield event, f"was refused: {event.error}"
