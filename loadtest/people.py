"""A person: one locust user with one Socket.IO client in one room, who hears what the room says and may talk.

Scenarios (`loadtest.scenarios`) say what people do; here is what all of them need. Who cannot connect tries again,
as a stock client does. What is to be said while there is no connection is not sent, and counted.
"""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gevent
from gevent.event import Event
from locust import User, constant

from .client.client import Client
from .client.errors import ClientError
from .client.listener import BY_CLIENT
from .client.packets import Batch
from .generator import MICRO, place_of
from .measure.stay import Stay
from .message import Message

RETRY_S = 1.0
LOOK_S = 0.05  # how often who has no connection looks for one, before it says anything
IDLE_S = 0.5  # how often who waits for nothing looks whether the run ends


class Person(User):
    """`act`, its task, is a scenario's; it returns when the run ends."""

    abstract = True
    named = False  # whether it asks for a nickname of its own
    _has_come = False
    wait_time = constant(IDLE_S)  # locust begins a task that has returned anew, also while the run ends

    # --- coming and going ----------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Takes a seat and joins the room."""
        self.generator = place_of(self.environment).get()
        self.sit()
        self.n = 0
        self._under_way: dict[int, str] = {}  # message id -> the ledger's room
        self._answer = Event()
        options = self.generator.options
        self.client = Client(
            self.host or "",
            self,
            auth=self.auth(),
            transport=options.transport,  # type: ignore[arg-type]
            cookies=options.cookies,
            recover=options.recover,
            connect_timeout_s=options.connect_timeout_s,
        )
        self.generator.clients.append(self.client)
        self._has_come = True
        self.turn: int | None = None  # among its room's senders, once that is known
        self._inherits = Event()
        self.join()

    def on_stop(self) -> None:
        """Says goodbye: the run ends, or goes on with fewer, or elsewhere."""
        if self._has_come:
            self.leave()
            self.generator.left(self.seat.room, self, self.turn)

    def sit(self) -> None:
        """Takes a seat."""
        self.seat = self.generator.seat()
        self.stay: Stay | None = None
        # While it comes: what was heard before CONNECT was answered.
        self._early: list[tuple[Batch, float]] | None = []
        self._coming: gevent.Greenlet | None = None

    def auth(self) -> dict[str, Any]:
        """What the server is told at connect."""
        return {"room": self.seat.room} | ({"nickname": f"p{self.seat.sender}"} if self.named else {})

    def join(self) -> None:
        """Connects, however often it takes."""
        if self.seat.sender not in self.generator.away and not self.generator.finishing:
            self.generator.connecting.setdefault(self.seat.sender, self.generator.clock.now_s())
        while not self.generator.finishing and self.client.state in ("new", "closed"):
            try:
                self.client.connect()
            except ClientError as error:
                self._count_failure(error)
                gevent.sleep(RETRY_S)

    def leave(self) -> None:
        """Says goodbye, until it joins again."""
        now_s = self.generator.clock.now_s()
        self._early = []
        self.generator.connecting.pop(self.seat.sender, None)
        self.generator.away.pop(self.seat.sender, None)
        if self._coming is not None and self._coming is not gevent.getcurrent():
            self._coming.kill()
        for stay in self.stays():
            stay.left(now_s)
        self.client.disconnect()

    def entered(self, now_s: float) -> None:
        """It is a member from now on."""
        self.stay = self.enter(self.seat.room, now_s)

    def enter(self, room: str, now_s: float) -> Stay:
        """A stay in one of the ledger's rooms."""
        asked_s = now_s - self.client.opened_s
        return self.generator.ledger.entered(room, f"p{self.seat.sender}", now_s, asked_s=asked_s)

    def stays(self) -> list[Stay]:
        """Where it is a member, for the ledger."""
        return [self.stay] if self.stay is not None else []

    # --- what the client tells -------------------------------------------------------------------------------

    def connected(self, client: Client) -> None:
        """It is in the room, for the first time or again."""
        figures, now_s = self.generator.figures, self.generator.clock.now_s()
        since_s = self.generator.connecting.pop(self.seat.sender, now_s)
        lost_s = self.generator.away.pop(self.seat.sender, None)
        was_away = lost_s is not None
        if lost_s is not None:
            figures.counters["reconnects"] += 1
            figures.reconnect.record(int((now_s - lost_s) * MICRO))
        else:
            figures.connect.record(int((now_s - since_s) * MICRO))
        if self.stay is None:
            self.generator.joined += 1
            figures.counters["joined"] += 1
        if was_away and client.recovered:
            figures.counters["recoveries"] += 1
            for stay in self.stays():
                stay.resumed()
        else:
            figures.counters["recoveries_refused"] += was_away and self.generator.options.recover
            for stay in self.stays():
                stay.left(now_s)
            self.entered(now_s)
        early, self._early = self._early or [], None
        for packets, at_s in early:
            self.hear(packets, at_s)

    def lost(self, client: Client, reason: str) -> None:
        """The connection is broken, or was closed."""
        if client.state == "closed" and reason == BY_CLIENT:
            return
        now_s = self.generator.clock.now_s()
        self._early = []
        self.generator.away.setdefault(self.seat.sender, now_s)
        for stay in self.stays():
            stay.paused(now_s)
        self.generator.figures.counters["connections_lost"] += 1
        self._come_back(client)

    def failed(self, client: Client, error: ClientError) -> None:
        """It could not come back, or the server broke the protocol."""
        self._count_failure(error)
        self._come_back(client)

    def _come_back(self, client: Client) -> None:
        """Who was sent away for good comes again all the same, as people do."""
        if client.state == "closed" and not self.generator.finishing:
            self._coming = gevent.spawn_later(RETRY_S, self.join)

    def _count_failure(self, error: ClientError) -> None:
        self.generator.figures.counters["connect_failures"] += 1
        self.generator.figures.failed(str(error))

    def heard(self, client: Client, packets: Batch, now_s: float) -> None:
        """The hot path: what came at once. What comes before CONNECT is answered is the next stay's."""
        if self._early is None:
            self.hear(packets, now_s)
        else:
            self._early.append((packets, now_s))

    def hear(self, packets: Batch, now_s: float) -> None:
        """What came to a member."""
        found = self.generator.found(packets, self.seat.room)
        if found.ids and self.stay is not None:
            now_s += self.generator.clock.offset_s
            self.stay.heard_many(found.ids, now_s)
            self.measured(now_s, found.intended_us)

    def measured(self, now_s: float, intended_us: list[int]) -> None:
        """Deliveries at that time of the master's clock."""
        now_us = int(now_s * MICRO)
        figures = self.generator.figures
        if now_s >= figures.rolls_at_s:
            figures.roll(now_s)
        figures.lane(self.client.node_id).record_many([now_us - each for each in intended_us])

    # --- saying --------------------------------------------------------------------------------------------

    def say(self, intended_s: float, *, to: str = "ALL", room: str = "") -> None:
        """Sends a message that was meant to be sent at that time of the master's clock."""
        chars = self.generator.options.message_chars
        self.send("send_msg", intended_s, lambda it: {"to": to, "msg": it.text(chars)}, room or self.seat.room)

    def rename(self, intended_s: float) -> None:
        """Takes a new nickname, which is the message."""
        self.send("changename", intended_s, lambda it: {"nickname": it.text()}, self.seat.room)

    def send(self, event: str, intended_s: float, fields: Callable[[Message], dict[str, Any]], room: str) -> None:
        """An event that is expected in one of the ledger's rooms."""
        generator = self.generator
        if not self.client.is_connected:
            generator.figures.counters["not_sent"] += 1
            return
        message = Message(self.seat.sender, self.n, math.floor(intended_s * MICRO))
        self.n += 1
        now_s = generator.clock.now_s()
        generator.figures.late(max(0, int((now_s - intended_s) * MICRO)))
        generator.figures.counters["sent"] += 1
        exactly_s = message.intended_us / MICRO  # as receivers know it
        generator.ledger.sent(room, message.id, now_s, intended_s=exactly_s)
        generator.waiting += 1
        self._under_way[message.id] = room
        answered = partial(self._acknowledged, message)
        try:
            self.client.send(event, fields(message), on_ack=answered)
        except ClientError as error:  # the server does not read
            generator.figures.failed(str(error))
            answered(None, time.monotonic())

    def _acknowledged(self, message: Message, args: list[Any] | None, now_s: float) -> None:
        generator, room = self.generator, self._under_way.pop(message.id, None)
        if room is None:  # it could not be sent
            return
        generator.waiting -= 1
        self._answer.set()
        now_s += generator.clock.offset_s
        error = ""
        if args is None:
            error = "never acknowledged: its connection was lost"
            generator.ledger.unknown(room, message.id)
        elif args and isinstance(args[0], dict) and args[0].get("ok") is False:
            error = f"refused: {args[0].get('error')}"
            generator.ledger.refused(room, message.id)
        else:
            generator.ledger.acknowledged(room, message.id, now_s)
            generator.figures.counters["acknowledged"] += 1
            generator.figures.ack.record(int(now_s * MICRO) - message.intended_us)
        if error:
            generator.figures.failed(error)
        self._tell_locust(now_s - message.intended_us / MICRO, error)

    def _tell_locust(self, took_s: float, error: str) -> None:
        """Its own table has acknowledgements and nothing else: it would mix all figures into one percentile."""
        self.environment.events.request.fire(
            request_type="send",
            name="until acknowledged",
            response_time=took_s * 1000,
            response_length=0,
            exception=RuntimeError(error) if error else None,
            context={},
        )

    # --- when ----------------------------------------------------------------------------------------------

    def talk(self) -> None:
        """Talks when it is its turn, or listens, until the run ends."""
        for turn_s in self.turns():
            self.say(turn_s)

    def inherit(self, turn: int) -> None:
        """A sender of its room has left, and it takes its turns over."""
        self.turn = turn
        self._inherits.set()

    def talk_and_lose(self, losses: Iterator[object]) -> None:
        """Talks, and loses its connection each time that `losses` yields."""
        losing = gevent.spawn(self._lose, losses)
        try:
            self.talk()
        finally:
            losing.kill()

    def _lose(self, losses: Iterator[object]) -> None:
        for _ in losses:
            if self.generator.finishing:
                return
            if self.client.is_connected:  # who is still on the way back has nothing to lose
                self.client.cut()

    def turns(self) -> Iterator[float]:
        """When it sends, by the master's clock, until the run ends; never while it is none of its room's senders.

        Open loop: the room's rate, its senders in turn, rooms evenly spread; who is late sends at once, and is
        measured from when it should have. Closed loop: as soon as what it sent before is acknowledged.
        """
        generator = self.generator
        generator.talking.wait()
        turn_s = 0.0
        every_s = generator.senders / generator.options.rate
        if self.seat.rank < generator.senders:
            self.turn = self.seat.rank
        else:
            generator.listens(self.seat.room, self)
            while self.turn is None and not generator.finishing:
                self._inherits.wait(IDLE_S)
            turn_s = generator.clock.now_s()  # what was due before was another's
        first_s = generator.began_s + ((self.turn or 0) + generator.share_of(self.seat)) / generator.options.rate
        turn_s = first_s + every_s * max(0, math.ceil((turn_s - first_s) / every_s))
        while not generator.finishing:
            if generator.options.loop == "closed":
                turn_s = self._answered()
            self.wait_until(turn_s)
            if not generator.finishing:
                yield turn_s
            turn_s += every_s

    def storms(self) -> Iterator[float]:
        """The times of storms, the same for everybody, until the run ends."""
        generator = self.generator
        generator.talking.wait()
        storm_s = generator.began_s
        while not generator.finishing:
            storm_s += generator.options.storm_every_s
            yield storm_s

    def idle(self) -> Iterator[float]:
        """No times at all; returns when the run ends."""
        while not self.generator.finishing:
            gevent.sleep(IDLE_S)
        yield from ()

    def pause(self, seconds: float) -> bool:
        """Whether the run still goes on after so long."""
        self.wait_until(self.generator.clock.now_s() + seconds)
        return not self.generator.finishing

    def wait_until(self, at_s: float) -> None:
        """Sleeps until that time of the master's clock; who is late lets others have their turn all the same."""
        gevent.sleep(max(0.0, at_s - self.generator.clock.now_s()))

    def _answered(self) -> float:
        while (self._under_way or not self.client.is_connected) and not self.generator.finishing:
            self._answer.clear()
            self._answer.wait(IDLE_S if self._under_way else LOOK_S)
        return self.generator.clock.now_s()
