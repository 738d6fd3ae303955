"""Deadlines of a whole process on one timer."""

import time

from loadtest.client.wheel import TICK_S, Wheel

from .waiting import until


class Deadline:
    def __init__(self, wheel: Wheel, after_s: float) -> None:
        self.wheel = wheel
        self.at_s = time.monotonic() + after_s
        self.late_s: list[float] = []
        self.tick = wheel.watch(self, self.at_s)

    def due(self, now_s: float) -> None:
        self.late_s.append(now_s - self.at_s)


class Again(Deadline):
    def due(self, now_s: float) -> None:
        super().due(now_s)
        if len(self.late_s) < 3:
            self.wheel.watch(self, now_s - 10)  # long past: not within the same turn, for ever


def test_a_deadline_is_kept_to_within_two_ticks_and_never_early() -> None:
    wheel = Wheel()
    deadlines = [Deadline(wheel, after_s) for after_s in (0.35, 0.0, 0.1, 0.25, -5.0)]
    until(lambda: all(each.late_s for each in deadlines))
    assert all(len(each.late_s) == 1 for each in deadlines)
    assert all(0 <= each.late_s[0] < 3 * TICK_S for each in deadlines[:4])


def test_a_deadline_that_is_forgotten_passes_unnoticed() -> None:
    wheel = Wheel()
    kept, forgotten = Deadline(wheel, 0.1), Deadline(wheel, 0.1)
    wheel.forget(forgotten, forgotten.tick)
    until(lambda: kept.late_s)
    assert forgotten.late_s == []


def test_a_deadline_set_while_another_passes_comes_with_a_later_turn() -> None:
    again = Again(Wheel(), 0.0)
    until(lambda: len(again.late_s) == 3)


def test_a_wheel_that_stood_still_turns_again() -> None:
    wheel = Wheel()
    first = Deadline(wheel, 0.0)
    until(lambda: first.late_s)
    until(lambda: not wheel._turning)
    second = Deadline(wheel, 0.05)
    until(lambda: second.late_s)
