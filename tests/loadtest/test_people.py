"""What a person makes of what happens to its connection."""

from collections.abc import Iterator
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import gevent
import orjson
import pytest
from locust.env import Environment

from loadtest import people
from loadtest.client.errors import ClientError, ConnectionBroke, SendBufferFull
from loadtest.client.listener import BY_CLIENT
from loadtest.client.packets import Batch
from loadtest.clock import Clock
from loadtest.generator import Generator, place_of
from loadtest.measure.judging import judge
from loadtest.message import Message
from loadtest.options import Options
from loadtest.people import Person

from .test_options import given

ROOM = "run-0"


class FakeClient:
    """Connects as often as it is told to, and says so."""

    def __init__(self, url: str, listener: Person, **options: Any) -> None:
        self.listener = listener
        self.state = "new"
        self.recovered = False
        self.node_id = "node"
        self.opened_s = 0.0
        self.bytes_in = self.bytes_out = 0
        self.failures = 0
        self.is_full = False
        self.answers: list[Any] = []

    @property
    def is_connected(self) -> bool:
        return self.state == "connected"

    def connect(self) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionBroke("nobody there")
        self.state = "connected"
        self.listener.connected(self)  # type: ignore[arg-type]

    def comes_back(self, *, recovered: bool, early: Batch | None = None) -> None:
        self.recovered, self.state = recovered, "connected"
        if early is not None:
            self.hears(early)
        self.listener.connected(self)  # type: ignore[arg-type]

    def breaks(self, state: str = "reconnecting") -> None:
        self.state = state
        self.listener.lost(self, "it broke")  # type: ignore[arg-type]

    def hears(self, batch: Batch) -> None:
        self.listener.heard(self, batch, Clock.shared().now_s())  # type: ignore[arg-type]

    def send(self, event: str, fields: dict[str, Any], on_ack: Any) -> None:
        self.answers.append(on_ack)  # as the stock outbox does, before it finds out
        if self.is_full:
            raise SendBufferFull("nobody reads")

    def cut(self) -> None:
        self.breaks()

    def disconnect(self) -> None:
        if self.state != "closed":
            self.state = "closed"
            self.listener.lost(self, BY_CLIENT)  # type: ignore[arg-type]


class Talker(Person):
    """One of a room."""

    client: Any
    wait_time = None


@pytest.fixture
def generator() -> Generator:
    """Of a run that has begun."""
    options = asdict(Options.of(given())) | {"recover": True, "drain_s": 0.2}
    made = Generator(Options(**options), Clock.shared(), run="run", index=0, workers=1, started_s=0.0)
    made.users, made.senders = 2, 1
    made.began_s = made.clock.now_s()
    made.talking.set()
    return made


@pytest.fixture
def people_here(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Talker]]:
    """Two of them, who have come."""
    monkeypatch.setattr(people, "Client", FakeClient)
    monkeypatch.setattr(people, "RETRY_S", 0.01)
    monkeypatch.setattr(people, "IDLE_S", 0.01)
    environment = Environment(user_classes=[Talker])
    place_of(environment).put(generator)
    made = [Talker(environment) for _ in range(2)]
    for each in made:
        each.on_start()
    yield made
    for each in made:
        each.on_stop()


def a_batch(sender: int, n: int, now_s: float) -> Batch:
    data = {"type": "message", "msg": f"somebody : {Message(sender, n, int(now_s * 1e6)).text()}"}
    return Batch([b"42" + orjson.dumps(["broadcast_msg", data])])


def counted(generator: Generator, *names: str) -> tuple[int, ...]:
    return tuple(generator.figures.counters[name] for name in names)


def test_who_comes_back_while_the_run_ends_has_recovered(generator: Generator, people_here: list[Talker]) -> None:
    client = people_here[0].client
    client.breaks()
    generator.finishing = True
    client.comes_back(recovered=True)
    client.breaks()
    client.comes_back(recovered=True)
    names = ("connections_lost", "reconnects", "recoveries", "recoveries_refused")
    assert counted(generator, *names) == (2, 2, 2, 0)
    assert len(generator.ledger.room(ROOM).stays) == 2, "one for each of them, from the beginning on"


def test_what_did_not_come_back_is_no_reconnect(generator: Generator, people_here: list[Talker]) -> None:
    people_here[0].client.breaks()
    assert counted(generator, "connections_lost", "reconnects") == (1, 0)


def test_a_second_visit_is_no_refused_recovery(generator: Generator, people_here: list[Talker]) -> None:
    someone = people_here[0]
    someone.client.breaks()
    someone.client.comes_back(recovered=False)
    assert counted(generator, "recoveries_refused") == (1,)
    someone.leave()
    someone.join()
    assert counted(generator, "recoveries_refused") == (1,)
    assert generator.figures.connect.count == 3


def test_nobody_is_cut_off_when_the_run_ends(generator: Generator, people_here: list[Talker]) -> None:
    generator.finishing = True
    people_here[0]._lose(iter([1.0]))
    assert people_here[0].client.is_connected


def test_what_comes_before_connect_is_answered_is_the_next_stay_s(
    generator: Generator, people_here: list[Talker]
) -> None:
    someone, now_s = people_here[0], generator.clock.now_s()
    someone.leave()
    someone.client.opened_s = 10.0
    someone.client.state = "connecting"
    generator.ledger.sent(ROOM, Message(7, 0, 0).id, now_s + 1)
    generator.ledger.acknowledged(ROOM, Message(7, 0, 0).id, now_s + 1)
    someone.client.comes_back(recovered=False, early=a_batch(7, 0, now_s + 1))
    generator.close()
    assert judge([generator.ledger.to_wire()]).unexpected == 0
    assert generator.ledger.room(ROOM).stays[-1].next == 1


def test_connecting_counts_from_the_first_attempt(generator: Generator, people_here: list[Talker]) -> None:
    someone = people_here[0]
    someone.leave()
    someone.client.failures = 5
    someone.join()
    assert generator.figures.connect.max_us is not None
    assert generator.figures.connect.max_us >= 50_000


def test_who_never_gets_there_has_waited_until_the_end(generator: Generator, people_here: list[Talker]) -> None:
    generator.connecting[99] = generator.clock.now_s() - 5
    generator.close()
    assert generator.figures.connect.max_us is not None
    assert generator.figures.connect.max_us >= 5_000_000


def test_who_never_comes_back_was_away_until_the_end(generator: Generator, people_here: list[Talker]) -> None:
    back, away = people_here
    for each in people_here:
        each.client.breaks()
    back.client.comes_back(recovered=True)
    assert list(generator.away) == [away.seat.sender]
    generator.away[away.seat.sender] -= 5
    generator.close()
    assert generator.figures.reconnect.count == 2
    assert generator.figures.reconnect.max_us is not None
    assert generator.figures.reconnect.max_us >= 5_000_000


def test_a_message_is_settled_with_its_deliveries(generator: Generator, people_here: list[Talker]) -> None:
    """Also where the border is between the intended time and that time in whole µs, which receivers know."""
    whole_s = int(generator.clock.now_s()) + 0.25
    people_here[0].say(whole_s + 0.6e-6)
    people_here[0].client.answers[0]([{"ok": True}], generator.clock.now_s())
    for each in people_here:
        each.client.hears(a_batch(people_here[0].seat.sender, 0, whole_s))
    found = judge([generator.ledger.settle(whole_s + 0.3e-6)]).plus(judge([generator.ledger.to_wire()]))
    assert (found.expected, found.delivered, found.lost, found.unexpected) == (2, 2, 0, 0)


def test_a_message_that_cannot_be_sent_is_an_error_and_ends_nothing(
    generator: Generator, people_here: list[Talker]
) -> None:
    client = people_here[0].client
    client.is_full = True
    people_here[0].say(generator.clock.now_s())
    client.answers[0](None, generator.clock.now_s())  # the connection breaks, too
    assert generator.waiting == 0
    assert generator.figures.errors["nobody reads"] == 1
    assert counted(generator, "sent", "acknowledged") == (1, 0)


def test_who_does_not_even_try_when_the_run_ends_has_not_waited(
    generator: Generator, people_here: list[Talker]
) -> None:
    people_here[0].leave()
    generator.finishing = True
    people_here[0].join()
    generator.close()
    assert generator.figures.connect.count == 2


def test_users_and_those_who_joined_are_counted(generator: Generator, people_here: list[Talker]) -> None:
    generator.seat()
    assert counted(generator, "users", "joined") == (3, 2)


def test_a_listener_takes_over_when_a_sender_leaves_for_good(
    generator: Generator, people_here: list[Talker]
) -> None:
    sender, listener = people_here
    first, second = gevent.spawn(next, sender.turns()), gevent.spawn(next, listener.turns())
    first.join()
    gevent.sleep(0)
    assert (sender.turn, listener.turn, second.ready()) == (0, None, False)
    now_s = generator.clock.now_s()
    sender.on_stop()
    assert listener.turn == 0
    assert second.get() >= now_s, "what was due before was another's"


def test_nobody_takes_over_when_the_run_ends(generator: Generator, people_here: list[Talker]) -> None:
    sender, listener = people_here
    gevent.spawn(next, sender.turns()).join()
    waiting = gevent.spawn(next, listener.turns(), None)
    gevent.sleep(0)
    generator.finishing = True
    sender.on_stop()
    waiting.join()
    assert listener.turn is None


def test_who_was_stopped_does_not_come_back(generator: Generator, people_here: list[Talker]) -> None:
    someone = people_here[0]
    someone.client.breaks("closed")
    someone.on_stop()
    gevent.sleep(0.05)
    assert not someone.client.is_connected


def test_a_connection_that_fails_is_counted(generator: Generator, people_here: list[Talker]) -> None:
    client: Any = SimpleNamespace(state="reconnecting")
    people_here[0].failed(client, ClientError("no"))
    assert counted(generator, "connect_failures") == (1,)


def test_a_run_that_is_asked_twice_drains_no_longer(generator: Generator) -> None:
    generator.drain()
    until_s = generator._drain_until_s
    generator.drain()
    assert generator._drain_until_s == until_s
