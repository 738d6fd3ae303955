"""Long work lets a generator's other greenlets go on, and a standstill is of the second in which it ends."""

import time

import gevent

from loadtest.breath import WORK_S, Breath
from loadtest.clock import Clock
from loadtest.measure.collected import Collected
from loadtest.measure.figures import Figures
from loadtest.self_check import SelfCheck


def test_others_go_on_while_long_work_pauses() -> None:
    turns: list[float] = []

    def other() -> None:
        while True:
            turns.append(time.monotonic())
            gevent.sleep(WORK_S / 2)

    running, breath, until_s = gevent.spawn(other), Breath(), time.monotonic() + 20 * WORK_S
    while time.monotonic() < until_s:
        breath()
    running.kill()
    assert len(turns) > 5


def test_a_standstill_is_of_the_second_in_which_it_ends() -> None:
    clock = Clock.shared()
    figures = Figures(clock.now_s() - 0.97)
    check = SelfCheck(figures, clock)
    figures.roll(clock.now_s())
    running = gevent.spawn(check.run)
    gevent.sleep(0)
    time.sleep(0.1)
    gevent.sleep(0.02)
    running.kill()
    collected = Collected()
    collected.add("w", figures.to_wire(clock.now_s(), final=True))
    first, second = collected.health()[0].seconds
    assert first.lag_max_us < 50_000 < second.lag_max_us
