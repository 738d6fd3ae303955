"""The log of a run: what each client sent, was acknowledged, received, and was told about its connection.

It only keeps; whether that is right is judged by `checks.py`, `order.py` and `rosters.py`. All times are
seconds of the machine's monotonic clock, which Node.js (`process.hrtime`) and Python share on Linux.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any, TypeVar


@dataclass(frozen=True, slots=True)
class Connected:
    """The server has answered CONNECT. `node`: id of the node; `pid`: whether it was given one."""

    at_s: float
    sid: str
    recovered: bool
    pid: bool = True
    node: str = ""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection has ended, as far as the client has noticed."""

    at_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """A connection could not be made, or was refused. `code`: what the server's refusal said, if it was one."""

    at_s: float
    message: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message was handed to the client's own queue, for the first and only time."""

    at_s: float
    id: str


@dataclass(frozen=True, slots=True)
class Acked:
    """The server has answered. `error`: empty for `ok`, else the code of the refusal."""

    at_s: float
    id: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The client has stopped waiting for an answer: the outcome is unknown for good."""

    at_s: float
    id: str
    why: str


@dataclass(frozen=True, slots=True)
class Received:
    """A message of the room. `offset`: the event's second argument, None where there was none."""

    at_s: float
    id: str
    offset: str | None = None


@dataclass(frozen=True, slots=True)
class Vanished:
    """The client has closed its connection without a goodbye, and does not come back."""

    at_s: float


Event = Connected | Disconnected | ConnectFailed | Sent | Acked | GivenUp | Received | Vanished
E = TypeVar("E", bound=Event)


@dataclass(slots=True)
class History:
    """One client: who it is, all it saw in the order it saw it, and how it stands now.

    `recovers`: it asks for connection state recovery. `users`: the last `userlist` it was sent.
    """

    name: str
    room: str
    recovers: bool = True
    nickname: str = ""
    events: list[Event] = field(default_factory=list)
    users: list[str] | None = None
    online: bool = False
    doomed: bool = False  # it was told to go for good, if not yet, then as soon as its connection ends
    node: str = ""  # id of the node that it is or was last connected to
    unanswered: int = 0  # messages sent that were neither acknowledged nor given up

    def __post_init__(self) -> None:
        self.nickname = self.nickname or self.name

    def add(self, event: Event) -> None:
        """Keeps what happened."""
        self.events.append(event)
        match event:
            case Connected():
                self.online, self.node = True, event.node
            case Disconnected() | Vanished():
                self.online = False
            case Sent():
                self.unanswered += 1
            case Acked() | GivenUp():
                self.unanswered -= 1

    def of(self, kind: type[E]) -> Iterator[E]:
        """The events of one kind, in order."""
        return (event for event in self.events if isinstance(event, kind))

    def around(self, at_s: float, *, before: int = 3, after: int = 3) -> Sequence[Event]:
        """What it was told of its connection around a time: the last before and the first after it.

        Of several attempts in a row that failed, the last.
        """
        told = [event for event in self.events if isinstance(event, Connected | Disconnected | ConnectFailed)]
        told = [
            event
            for event, following in zip_longest(told, told[1:])
            if not (isinstance(event, ConnectFailed) and isinstance(following, ConnectFailed))
        ]
        earlier = [event for event in told if event.at_s <= at_s]
        return earlier[-before:] + told[len(earlier) :][:after]

    def lines(self) -> Iterator[dict[str, Any]]:
        """The events as JSON objects, for the file that a failed run leaves."""
        return ({"client": self.name, "kind": type(event).__name__} | asdict(event) for event in self.events)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as its sender knows it. `acked_s` is None where no `ok` has come. `line`: the sender's messages
    of one line must keep their numbers' order in the room."""

    id: str
    sender: str
    room: str
    number: int
    line: str
    sent_s: float
    acked_s: float | None


def number_of(message_id: str) -> int:
    """The number in `<client>:<number>`."""
    return int(message_id.rpartition(":")[2])


def messages_of(histories: Iterable[History]) -> dict[str, Message]:
    """Every message that was sent, by its id.

    A client that recovers keeps one line through all its connections. One that does not is somebody new each
    time it connects: what an old connection still has under way is not ordered with what the new one sends.
    """
    found: dict[str, Message] = {}
    for history in histories:
        acked = {event.id: event.at_s for event in history.of(Acked) if not event.error}
        connects = 0
        for event in history.events:
            if isinstance(event, Connected):
                connects += 1
            elif isinstance(event, Sent):
                line = history.name if history.recovers else f"{history.name}/{connects}"
                found[event.id] = Message(
                    *(event.id, history.name, history.room, number_of(event.id), line),
                    *(event.at_s, acked.get(event.id)),
                )
    return found
