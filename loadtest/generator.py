"""One generating process: its clock, its ledger and figures, and whom it lets talk when.

Whoever `loadtest.people` has in this process says here what it sent and heard. What is measured goes to the master
(`loadtest.collector`) every second, what must be judged as a whole when the run ends.
"""

import gc
import time
from dataclasses import dataclass
from typing import Protocol

import gevent
from gevent.event import Event

from .client.client import Client
from .client.packets import Batch
from .clock import Clock
from .measure.figures import Figures
from .measure.ledger import Ledger
from .measure.own_cpu import OwnCpu
from .message import SENDERS_EACH, Message, found_in
from .options import Options
from .self_check import SelfCheck

# Packets of which it is remembered what is in them; members of a room get the same ones within moments.
KNOWN_MAX = 20_000
# When nothing has come for so long, it is worth asking whether anything is missing.
QUIET_S = 1.0
LOOK_S = 0.05
LATE_PLACES = 1_000_000_000  # behind all others: their people listen
MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Seat:
    """A person's place in the run: `rank` in the room, from 0; the first ones send. `sender` is unique."""

    sender: int
    room: str
    rank: int


class Heir(Protocol):
    """A member who may become a sender."""

    def inherit(self, turn: int) -> None:
        """It sends from now on, as the one of that turn did."""


@dataclass(frozen=True, slots=True)
class Found:
    """Our messages in a batch; the three belong together."""

    messages: list[Message]
    ids: list[int]
    intended_us: list[int]


class Generator:
    """`index` of `workers` processes; `run` names the run, and with it the rooms."""

    def __init__(
        self, options: Options, clock: Clock, *, run: str, index: int, workers: int, started_s: float
    ) -> None:
        self.options = options
        self.clock = clock
        self.run = run
        self.index = index
        self.workers = workers
        self.ledger = Ledger()
        self.figures = Figures(started_s, own_cpu=OwnCpu(), look=self._look)
        self.clients: list[Client] = []  # all that this process ever had
        self.check = SelfCheck(self.figures, clock)
        self.people = 0  # who took a seat here so far
        self.joined = 0
        self._listeners: dict[str, list[Heir]] = {}  # room -> members who take over when a sender leaves
        self.users = 0  # in the run, when everybody began to send
        self.senders = options.senders
        self.talking = Event()  # set once everybody may send
        self.finishing = False
        self._drain_until_s = 0.0
        self.connecting: dict[int, float] = {}  # sender -> since when it tries, until it is in its room
        self.away: dict[int, float] = {}  # sender -> since when its connection is lost, until it is back
        self.began_s = 0.0  # by the master's clock, when everybody begins to send
        self.waiting = 0  # sends without an acknowledgement yet
        self._heard_s = time.monotonic()
        self._known: dict[bytes, Message | None] = {}  # packet -> what is in it
        self._known_before: dict[bytes, Message | None] = {}

    # --- who is here ---------------------------------------------------------------------------------------

    def seat(self) -> Seat:
        """The next person's place in the run."""
        late = LATE_PLACES * (self.index // self.workers)  # of a worker that came when the run had begun
        seat = self._seat(late + self.people * self.workers + self.index)
        self.people += 1
        self.figures.counters["users"] += 1
        return seat

    def beside(self, seat: Seat) -> Seat:
        """The seat beside, two and two; `is_taken` tells whether anybody is there."""
        return self._seat((seat.rank ^ 1) * self.options.rooms + self._room_number(seat))

    def is_taken(self, seat: Seat) -> bool:
        """Whether the run has a person there, once it has begun."""
        return seat.rank * self.options.rooms + self._room_number(seat) < self.users

    def share_of(self, seat: Seat) -> float:
        """How far its room is behind the first one: not all rooms talk in the same moment. From 0 to below 1."""
        return self._room_number(seat) / self.options.rooms

    def _seat(self, place: int) -> Seat:
        number, index = divmod(place, self.workers)
        rank, room = divmod(place, self.options.rooms)
        return Seat(index * SENDERS_EACH + number, f"{self.run}-{room}", rank)

    @staticmethod
    def _room_number(seat: Seat) -> int:
        return int(seat.room.rpartition("-")[2])

    def listens(self, room: str, heir: Heir) -> None:
        """It would send if a sender of its room left."""
        self._listeners.setdefault(room, []).append(heir)

    def left(self, room: str, heir: Heir, turn: int | None) -> None:
        """It is gone; if it had a turn, and the run goes on, another member in this process takes it over."""
        listeners = self._listeners.get(room, [])
        if heir in listeners:
            listeners.remove(heir)
        if turn is not None and listeners and not self.finishing:
            listeners.pop(0).inherit(turn)

    # --- beginning and end ---------------------------------------------------------------------------------

    def begin(self, at_s: float, users: int) -> None:
        """Everybody who sends begins at that time of the master's clock."""
        self.users = users
        self.senders = max(1, min(self.options.senders, users // self.options.rooms))
        self.began_s = at_s
        gc.unfreeze()  # of a run before
        gc.collect()
        gc.freeze()  # people stay; looking through all of them for garbage took tens of ms now and then
        gevent.sleep(max(0.0, at_s - self.clock.now_s() - LOOK_S))
        self.talking.set()

    def drain(self) -> None:
        """Nobody sends any more; waits until nothing seems to be under way."""
        if not self.finishing:
            self.finishing = True
            self._drain_until_s = time.monotonic() + self.options.drain_s
        self.talking.set()
        while time.monotonic() < self._drain_until_s and self._is_under_way():
            gevent.sleep(LOOK_S)

    def close(self) -> None:
        """The run is over: what has not come by now never will."""
        now_s = self.clock.now_s()
        for since_s in self.connecting.values():
            self.figures.connect.record(int((now_s - since_s) * MICRO))
        for lost_s in self.away.values():
            self.figures.reconnect.record(int((now_s - lost_s) * MICRO))
        self.ledger.close(now_s)

    def _is_under_way(self) -> bool:
        """An acknowledgement, a message, or somebody on the way back to what they missed."""
        away = any(client.state == "reconnecting" for client in self.clients)
        return bool(away or self.waiting or time.monotonic() - self._heard_s < QUIET_S)

    def _look(self) -> None:
        figures, clients = self.figures, self.clients
        figures.connections = sum(client.is_connected for client in clients)
        figures.counters["bytes_in"] = sum(client.bytes_in for client in clients)
        figures.counters["bytes_out"] = sum(client.bytes_out for client in clients)

    # --- what is heard -------------------------------------------------------------------------------------

    def found(self, batch: Batch, room: str) -> Found:
        """Our messages in a batch that a member of that room got. The hot path: looked up once for all of them."""
        found: Found | None = batch.note
        if found is None:
            messages = [message for packet in batch if (message := self._known_in(packet, room)) is not None]
            found = Found(messages, [each.id for each in messages], [each.intended_us for each in messages])
            batch.note = found
        self._heard_s = time.monotonic()
        return found

    def _known_in(self, packet: bytes, room: str) -> Message | None:
        try:
            return self._known[packet]
        except KeyError:
            pass
        if packet in self._known_before:
            message = self._known_before[packet]
        elif (message := found_in(packet)) is not None:
            self.ledger.room(room).learned(message.id, message.intended_us / MICRO)
        if len(self._known) >= KNOWN_MAX:
            self._known_before, self._known = self._known, {}
        self._known[packet] = message
        return message


class Place:
    """Where people find the generator of their process, which is there once the run's plan and clock are known."""

    def __init__(self) -> None:
        self._there = Event()
        self._generator: Generator | None = None

    def put(self, generator: Generator | None) -> None:
        """The one of the next run; None until it is known."""
        self._generator = generator
        if generator is None:
            self._there.clear()
        else:
            self._there.set()

    def get(self) -> Generator:
        """Waits for it."""
        self._there.wait()
        assert self._generator is not None
        return self._generator


_places: dict[int, Place] = {}  # id of locust's environment -> place


def place_of(environment: object) -> Place:
    """That of this process; tests have several environments."""
    return _places.setdefault(id(environment), Place())
