"""The master's time, as a worker works it out."""

import time

from loadtest.clock import DRIFT, Clock, apart_s


def test_the_offset_is_that_of_the_shortest_exchange() -> None:
    clock = Clock()
    clock.exchanged(10.0, 1_010.5, 11.0)  # 1 s there and back, half a second apart at most
    clock.exchanged(20.0, 1_020.1, 20.02)
    clock.exchanged(30.0, 1_031.0, 30.5)
    assert abs(clock.offset_s - 1_000.09) < 1e-9
    assert abs(clock.error_s - 0.01) < 1e-9


def test_an_exchange_is_worth_less_the_older_it_is() -> None:
    clock = Clock()
    clock.exchanged(0.0, 100.0, 0.01)
    clock.exchanged(10_000.0, 10_100.4, 10_000.2)
    assert abs(clock.offset_s - 100.3) < 1e-9


def test_nothing_is_known_before_an_exchange() -> None:
    assert Clock().error_s == float("inf")


def test_a_shared_clock_is_the_machine_s() -> None:
    clock = Clock.shared()
    assert clock.error_s == 0
    assert abs(clock.now_s() - time.monotonic()) < 0.1


def test_two_clocks_are_apart_by_the_errors_of_both() -> None:
    assert apart_s([0.001, 0.004, 0.002]) == 0.006
    assert apart_s([]) == 0.0
    assert Clock.shared().bound_s() == 0.0


def test_an_error_grows_until_the_next_exchange() -> None:
    clock, now_s = Clock(), time.monotonic()
    clock.exchanged(now_s - 1000.0, 5000.0, now_s - 999.0)
    assert clock.bound_s() >= 0.5 + 999.0 * DRIFT
