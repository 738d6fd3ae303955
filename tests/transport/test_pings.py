"""The wheel of pings, turned by hand: who is pinged when, and who is told that nothing came."""

import contextlib
import gc
import weakref
from collections.abc import Callable
from itertools import pairwise
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from engineio.base_server import BaseServer
from uvicorn import Config
from uvicorn.server import ServerState

from app.transport import pings
from app.transport.frames import FrameReader
from app.transport.pings import NOWHERE, PINGS_PER_TURN, TICK_MAX_S, TIMEOUTS_MAX, PingWheel
from app.transport.protocol import WebSocketConnection
from tests.support.fake_loop import FakeLoop

from .pinged import INTERVAL_S, LATE_S, TIMEOUT_S, Client, gaps

NewClient = Callable[..., Client]


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> FakeLoop:
    return FakeLoop.install(monkeypatch, pings)


@pytest.fixture
def wheel(loop: FakeLoop) -> PingWheel:
    return PingWheel(INTERVAL_S, TIMEOUT_S)


@pytest.fixture
def client(wheel: PingWheel, loop: FakeLoop) -> NewClient:
    """Makes clients that are in the wheel."""

    def new(answers_after_s: float | None = None) -> Client:
        client = Client(wheel, loop, answers_after_s)
        wheel.add(client)
        return client

    return new


# --- who answers, and who does not ---------------------------------------------------------------------------


def test_the_first_ping_comes_after_one_interval(client: NewClient, loop: FakeLoop) -> None:
    added_s = loop.time()
    silent = client()
    loop.advance(INTERVAL_S - TICK_MAX_S)
    assert silent.pinged == []
    loop.advance(3 * TICK_MAX_S)
    assert silent.pinged == [pytest.approx(added_s + INTERVAL_S, abs=LATE_S)]


def test_who_answers_stays_and_is_pinged_an_interval_after_each_pong(client: NewClient, loop: FakeLoop) -> None:
    quick, slow = client(0.001), client(TIMEOUT_S - LATE_S)
    loop.advance(20 * (INTERVAL_S + TIMEOUT_S))
    assert quick.timed_out == slow.timed_out == []
    assert len(quick.pinged) >= 20 * (INTERVAL_S + TIMEOUT_S) // (INTERVAL_S + LATE_S)
    assert gaps(quick.pinged) == [pytest.approx(INTERVAL_S, abs=LATE_S)] * (len(quick.pinged) - 1)
    assert gaps(slow.pinged) == [pytest.approx(INTERVAL_S + TIMEOUT_S - LATE_S, abs=LATE_S)] * (
        len(slow.pinged) - 1
    )


def test_who_does_not_answer_is_told_once_and_in_time(client: NewClient, wheel: PingWheel, loop: FakeLoop) -> None:
    silent, other = client(), client(0.1)
    loop.advance(10 * (INTERVAL_S + TIMEOUT_S))
    assert len(silent.pinged) == 1
    assert silent.timed_out == [pytest.approx(silent.pinged[0] + TIMEOUT_S, abs=LATE_S)]
    assert other.timed_out == []
    assert len(wheel) == 1


def test_who_stops_answering_is_told(client: NewClient, loop: FakeLoop) -> None:
    dying = client(0.1)
    loop.advance(3 * INTERVAL_S)
    dying.answers_after_s = None
    loop.advance(INTERVAL_S + TIMEOUT_S + 1)
    assert dying.timed_out == [pytest.approx(dying.pinged[-1] + TIMEOUT_S, abs=LATE_S)]


def test_a_pong_that_comes_twice_counts_once(client: NewClient, loop: FakeLoop) -> None:
    eager, plain = client(0.1), client(0.1)
    for _ in range(100):
        loop.advance(INTERVAL_S / 10)
        eager.answer()
        eager.answer()
    assert eager.pinged == plain.pinged
    assert eager.timed_out == []


def test_a_pong_of_one_that_is_not_in_the_wheel_is_fine(wheel: PingWheel, loop: FakeLoop) -> None:
    stranger = Client(wheel, loop)
    stranger.awaits_pong = True
    stranger.answer()
    assert (stranger.ping_slot, len(wheel)) == (NOWHERE, 0)


@pytest.mark.parametrize(
    ("interval_s", "timeout_s"), [(25, 20), (20, 25), (0.3, 0.75), (1, 0.1), (0.1, 5), (0.02, 0.02), (300, 60)]
)
def test_every_setting_is_kept_within_a_tenth(loop: FakeLoop, interval_s: float, timeout_s: float) -> None:
    late_s = 0.1 * min(interval_s, timeout_s)
    wheel = PingWheel(interval_s, timeout_s)
    silent, good = Client(wheel, loop), Client(wheel, loop, timeout_s - late_s)
    added_s = loop.time()
    wheel.add(silent)
    wheel.add(good)
    loop.advance(8 * (interval_s + timeout_s))
    assert silent.pinged == [pytest.approx(added_s + interval_s, abs=late_s + 1e-6)]
    assert silent.timed_out == [pytest.approx(silent.pinged[0] + timeout_s, abs=late_s + 1e-6)]
    assert len(good.pinged) > 5
    assert good.timed_out == []


# --- who goes, and who is not read ---------------------------------------------------------------------------


@pytest.mark.parametrize("when_s", [0.0, INTERVAL_S + 1])
def test_who_goes_is_neither_pinged_nor_told(
    client: NewClient, wheel: PingWheel, loop: FakeLoop, when_s: float
) -> None:
    gone, stays = client(), client(0.1)
    loop.advance(when_s)
    before = len(gone.pinged)
    wheel.discard(gone)
    wheel.discard(gone)
    wheel.discard(Client(wheel, loop))  # which never was in it
    assert len(wheel) == 1
    loop.advance(3 * (INTERVAL_S + TIMEOUT_S))
    assert (len(gone.pinged), gone.timed_out, gone.ping_slot) == (before, [], NOWHERE)
    assert stays.pinged


def test_nothing_is_kept_of_who_has_gone(wheel: PingWheel, loop: FakeLoop) -> None:
    gone = Client(wheel, loop, 0.1)
    wheel.add(gone)
    loop.advance(2.5 * INTERVAL_S)  # it has answered, twice
    wheel.discard(gone)
    seen = weakref.ref(gone)
    del gone
    gc.collect()
    assert seen() is None


def test_who_is_not_read_is_not_told_until_it_was_read_for_a_while(client: NewClient, loop: FakeLoop) -> None:
    paused = client()
    loop.advance(INTERVAL_S + 1)
    paused.reading_paused = True
    loop.advance((TIMEOUTS_MAX - 1) * TIMEOUT_S)
    assert (len(paused.pinged), paused.timed_out) == (1, [])
    paused.reading_paused = False
    loop.advance(2 * TIMEOUT_S + LATE_S)
    assert len(paused.timed_out) == 1


def test_who_answers_when_it_is_read_again_stays(client: NewClient, loop: FakeLoop) -> None:
    paused = client()
    loop.advance(INTERVAL_S + 1)
    paused.reading_paused = True
    loop.advance(1.5 * TIMEOUT_S)
    paused.reading_paused = False
    paused.answers_after_s = 0.1
    paused.answer()
    loop.advance(10 * (INTERVAL_S + TIMEOUT_S))
    assert paused.timed_out == []
    assert len(paused.pinged) > 5


def test_who_could_not_be_heard_has_at_least_its_whole_time_to_answer_again(
    client: NewClient, wheel: PingWheel, loop: FakeLoop
) -> None:
    paused, silent = client(), client()
    loop.advance(INTERVAL_S + TIMEOUT_S - 1)
    wheel.excuse(paused)
    loop.advance(TIMEOUT_S + 1 + LATE_S)
    assert paused.timed_out == [pytest.approx(paused.pinged[0] + 2 * TIMEOUT_S, abs=LATE_S)]
    assert len(silent.timed_out) == 1


def test_nobody_is_waited_for_longer_than_so_many_time_outs(
    client: NewClient, wheel: PingWheel, loop: FakeLoop
) -> None:
    paused, flooding, good = client(), client(), client(0.1)
    paused.reading_paused = True
    for _ in range(300):
        loop.advance(TIMEOUT_S / 10)
        wheel.excuse(flooding)
        wheel.excuse(good)
    for each in (paused, flooding):
        assert each.timed_out == [pytest.approx(each.pinged[0] + TIMEOUTS_MAX * TIMEOUT_S, abs=LATE_S)]
    assert good.timed_out == []
    assert wheel.time_s() > 300 * TIMEOUT_S / 10 - (TIMEOUTS_MAX + 1) * TIMEOUT_S


def test_who_was_excused_once_is_not_excused_the_next_time(
    client: NewClient, wheel: PingWheel, loop: FakeLoop
) -> None:
    paused = client()
    loop.advance(INTERVAL_S + 1)
    wheel.excuse(paused)
    paused.answer()
    loop.advance(INTERVAL_S + TIMEOUT_S + LATE_S)
    assert paused.timed_out == [pytest.approx(paused.pinged[1] + TIMEOUT_S, abs=LATE_S)]


# --- the wheel's time ----------------------------------------------------------------------------------------


def test_the_time_passes_with_the_ticks_and_stands_while_the_node_does(
    client: NewClient, wheel: PingWheel, loop: FakeLoop
) -> None:
    assert wheel.time_s() == 0
    client(0.1)
    loop.advance(100)
    assert wheel.time_s() == pytest.approx(100, abs=LATE_S)
    loop.stall(3600)
    loop.advance(10)
    assert wheel.time_s() < 100 + 10 + TIMEOUT_S / 2


@pytest.mark.parametrize("ends", ["answers", "goes"])
def test_the_time_stands_while_a_pong_is_late(
    client: NewClient, wheel: PingWheel, loop: FakeLoop, ends: str
) -> None:
    client(0.1)
    paused = client()
    paused.reading_paused = True
    loop.advance(INTERVAL_S + TIMEOUT_S - LATE_S)
    assert wheel.time_s() == pytest.approx(INTERVAL_S + TIMEOUT_S, abs=2 * LATE_S)
    loop.advance((TIMEOUTS_MAX - 2) * TIMEOUT_S)
    assert wheel.time_s() == pytest.approx(INTERVAL_S + TIMEOUT_S, abs=2 * LATE_S)
    if ends == "answers":
        paused.answer()
    else:
        wheel.discard(paused)
    loop.advance(INTERVAL_S)
    assert wheel.time_s() == pytest.approx(2 * INTERVAL_S + TIMEOUT_S, abs=3 * LATE_S)


@pytest.mark.parametrize("seed", range(10))
def test_what_was_sent_an_interval_and_two_time_outs_ago_was_answered(
    wheel: PingWheel, loop: FakeLoop, seed: int
) -> None:
    """In the wheel's time, for clients of all kinds that come and go, and are read or not."""
    random = Random(seed)
    sent_s: list[tuple[float, float]] = []  # in the wheel's time, in the loop's

    def new() -> Client:
        client = Client(wheel, loop, random.uniform(0.1, TIMEOUT_S - 2 * LATE_S))
        wheel.add(client)
        return client

    clients = [new() for _ in range(5)]
    for _ in range(500):
        each = random.choice(clients)
        if each.reading_paused:
            each.reading_paused = False
            wheel.excuse(each)
            each.answer()
        elif random.random() < 0.3:
            each.reading_paused = True
        loop.advance(random.uniform(0, TIMEOUT_S))
        sent_s.append((wheel.time_s(), loop.time()))
        due = [real_s for own_s, real_s in sent_s if own_s < wheel.time_s() - INTERVAL_S - 2 * TIMEOUT_S - 1]
        clients = [each for each in clients if not each.timed_out] or [new()]
        for each in clients:
            assert not due or each.confirmed_s >= due[-1], (each.confirmed_s, due[-1])


def test_who_owes_nothing_is_pinged_in_time_though_it_could_not_be_heard(
    client: NewClient, wheel: PingWheel, loop: FakeLoop
) -> None:
    added_s, paused, gone = loop.time(), client(), client()
    wheel.discard(gone)
    for _ in range(100):
        loop.advance(INTERVAL_S / 50)
        wheel.excuse(paused)
        wheel.excuse(gone)
    assert paused.pinged == [pytest.approx(added_s + INTERVAL_S, abs=LATE_S)]
    assert len(wheel) == 1


# --- many at once --------------------------------------------------------------------------------------------

MANY = 10 * PINGS_PER_TURN + 1


def portions(loop: FakeLoop, clients: list[Client], noted: str) -> list[int]:
    """How many are pinged (or told) in each turn of the loop until all are."""
    counts = [sum(len(getattr(each, noted)) for each in clients)]
    while not all(getattr(each, noted) for each in clients):
        if loop.idle:
            loop.stall(TICK_MAX_S / 2)
        loop.turn()
        counts.append(sum(len(getattr(each, noted)) for each in clients))
    return [after - before for before, after in pairwise(counts)]


def test_thousands_in_a_tick_are_pinged_in_portions(client: NewClient, loop: FakeLoop) -> None:
    clients = [client() for _ in range(MANY)]
    loop.advance(INTERVAL_S - 1)
    assert max(portions(loop, clients, "pinged")) == PINGS_PER_TURN
    loop.advance(TIMEOUT_S - 1)
    assert max(portions(loop, clients, "timed_out")) <= PINGS_PER_TURN
    loop.advance(10 * INTERVAL_S)
    assert [(len(each.pinged), len(each.timed_out)) for each in clients] == [(1, 1)] * MANY


def test_between_portions_who_goes_is_not_pinged(client: NewClient, wheel: PingWheel, loop: FakeLoop) -> None:
    clients = [client() for _ in range(MANY)]
    loop.advance(INTERVAL_S - TICK_MAX_S / 2)
    loop.stall(TICK_MAX_S)
    loop.turn()
    gone = [each for each in clients if not each.pinged]
    assert 0 < len(gone) < MANY
    for each in gone:
        wheel.discard(each)
    loop.settle()
    assert not any(each.pinged for each in gone)


def test_between_portions_who_answers_is_not_told(client: NewClient, loop: FakeLoop) -> None:
    clients = [client() for _ in range(MANY)]
    loop.advance(INTERVAL_S + TIMEOUT_S - TICK_MAX_S / 2)
    assert all(each.pinged for each in clients)
    while not any(each.timed_out for each in clients):
        loop.stall(TICK_MAX_S / 2)
        loop.turn()
    last = [each for each in clients if not each.timed_out]
    assert last
    for each in last:
        each.answer()
    loop.advance(INTERVAL_S / 2)
    assert not any(each.timed_out for each in last)


def test_portions_that_take_longer_than_a_tick_ping_everybody_once(client: NewClient, loop: FakeLoop) -> None:
    clients = [client(0.5) for _ in range(MANY)]
    loop.advance(INTERVAL_S - TICK_MAX_S / 2)
    while not all(each.pinged for each in clients):
        loop.stall(TICK_MAX_S)
        loop.turn()
    assert [len(each.pinged) for each in clients] == [1] * MANY
    loop.advance(INTERVAL_S / 2)
    assert not any(each.timed_out for each in clients)


# --- the wheel itself ----------------------------------------------------------------------------------------


def test_an_empty_wheel_has_no_timer_and_starts_again(client: NewClient, wheel: PingWheel, loop: FakeLoop) -> None:
    assert loop.timers == 0
    first = client()
    assert loop.timers == 1
    wheel.discard(first)
    loop.advance(1)
    assert loop.timers == 0
    second = client(0.1)
    assert loop.timers == 1
    loop.advance(2 * INTERVAL_S)
    assert second.pinged


def test_a_wheel_that_was_stopped_pings_nobody(client: NewClient, wheel: PingWheel, loop: FakeLoop) -> None:
    clients = [client() for _ in range(3)]
    wheel.stop()
    wheel.stop()
    assert loop.timers == 0
    loop.advance(10 * (INTERVAL_S + TIMEOUT_S))
    assert not any(each.pinged for each in clients)


def test_one_timer_serves_all(client: NewClient, loop: FakeLoop) -> None:
    for _ in range(100):
        client()
        loop.advance(0.01)
    assert loop.timers == 1


def test_after_the_process_was_stopped_nobody_is_taken_for_silent(client: NewClient, loop: FakeLoop) -> None:
    clients = []
    for _ in range(100):  # one is in every part of its interval
        clients.append(client(0.5))
        loop.advance((INTERVAL_S + 0.5) / 100)
    loop.advance(2 * INTERVAL_S)
    assert any(each.awaits_pong for each in clients)
    before = [len(each.pinged) for each in clients]
    loop.stall(3600)
    loop.advance(0.9 * INTERVAL_S)
    assert all(len(each.pinged) <= count + 1 for each, count in zip(clients, before, strict=True))
    loop.advance(3 * INTERVAL_S)
    assert not any(each.timed_out for each in clients)


def test_a_busy_loop_does_not_put_pings_off(client: NewClient, loop: FakeLoop) -> None:
    """A stock client gives up where no ping has come for the interval and the timeout together."""
    added_s, waiting = loop.time(), client()
    while not waiting.pinged:
        loop.stall(1.9 * TICK_MAX_S)  # a turn
        loop.turn()
    assert waiting.pinged[0] - added_s < 1.1 * INTERVAL_S


def test_a_ping_that_fails_does_not_stop_the_wheel(client: NewClient, loop: FakeLoop) -> None:
    broken = client()
    loop.advance(1)
    other = client(0.1)

    def fail() -> None:
        raise RuntimeError("the handler is closed")

    broken.ping = fail  # type: ignore[method-assign]
    with contextlib.suppress(RuntimeError):  # which an event loop would log
        loop.advance(INTERVAL_S)
    loop.advance(3 * INTERVAL_S)
    assert len(other.pinged) >= 3
    assert other.timed_out == []


@pytest.mark.parametrize("connected", [True, False])
def test_a_connection_whose_end_has_begun_is_not_pinged_while_its_handlers_are_told(
    wheel: PingWheel, loop: FakeLoop, connected: bool
) -> None:
    """uvloop's transport raises RuntimeError where it is written to behind the end."""
    connection = WebSocketConnection(Config("app.main:app"), ServerState(), {})
    told: list[Any] = []
    engine = SimpleNamespace(pings=wheel, reason=BaseServer.reason, ended=None)
    engine.end_later = lambda *what: told.append(what)
    connection.engine = engine  # type: ignore[assignment]
    connection.reader, connection.connected = FrameReader(10), connected
    wheel.add(connection)
    connection.connection_lost(None)
    assert len(told) == connected
    assert len(wheel) == 0
    loop.advance(3 * INTERVAL_S)
