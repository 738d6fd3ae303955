"""A run is INVALID when its latencies are the generator's, and VALID in spite of a hiccup."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from loadtest.measure.histogram import Histogram
from loadtest.measure.verdict import HealthSecond, Verdict, WorkerHealth, verdict_on

FANOUT = Histogram.of([4_000] * 100)
FINE = HealthSecond(0, cpu=0.4, wait=0.02, lag_max_us=1_200, lateness_max_us=1_500, deliveries=10_000, sends=20)
INTERVAL_US = 20_000

Spoil = Callable[[HealthSecond], HealthSecond]


def worker(bad: int = 0, spoil: Spoil = lambda second: second, seconds: int = 60, name: str = "w") -> WorkerHealth:
    """The first `bad` seconds are spoilt."""
    rows = [replace(FINE, second=number) for number in range(seconds)]
    rows = [spoil(row) if row.second < bad else row for row in rows]
    lag, lateness = Histogram(), Histogram()
    for row in rows:
        # 49 timers were in time and one, the worst, was not.
        for _ in range(49):
            lag.record(300)
        lag.record_stall(row.lag_max_us, INTERVAL_US)
        late = row.lateness_max_us
        for turn in range(20):
            lateness.record(max(200, late - turn * 50_000))
    return WorkerHealth(name, rows, lag, lateness)


def judged(bad: int, **changes: object) -> Verdict:
    return verdict_on([worker(), worker(bad, lambda second: replace(second, **changes), name="odd")], FANOUT)  # type: ignore[arg-type]


def test_generators_with_time_to_spare_are_valid() -> None:
    found = judged(0)
    assert (found.valid, found.word, found.reasons, found.advice, found.warnings) == (True, "VALID", (), (), ())


def test_a_core_that_is_used_up_is_invalid_and_says_who_and_what_to_do() -> None:
    found = judged(30, cpu=0.97)
    assert found.word == "INVALID"
    (reason,) = found.reasons
    assert reason.startswith("odd: used more than 90% of a core in 30 of 60 s, at 10,000 deliveries/s")
    assert "--processes 3" in found.advice[0]
    assert "--expect-workers" in found.advice[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"cpu": 0.99},
        {"cpu": 0.5, "wait": 0.5},
        {"lag_max_us": 500_000},
        {"lateness_max_us": 500_000},
    ],
)
def test_a_single_bad_second_is_a_hiccup(changes: dict[str, float]) -> None:
    assert judged(1, **changes).valid


def test_a_long_standstill_is_told_even_if_the_run_is_valid() -> None:
    (warning,) = judged(1, lag_max_us=500_000).warnings
    assert warning.startswith("odd: its loop stood still for 500 ms in second 0")


def test_a_quarter_of_a_core_is_invalid_though_the_cpu_share_is_low() -> None:
    found = judged(60, cpu=0.12, wait=0.86, lag_max_us=90_000)
    assert any("had to wait for a core" in reason for reason in found.reasons)
    assert any("quota" in text for text in found.advice)


def test_it_is_invalid_without_the_kernels_word_on_waiting_too() -> None:
    found = judged(60, cpu=0.12, wait=None, lag_max_us=90_000)
    (reason,) = found.reasons
    assert "its loop came 90 ms too late" in reason


def test_a_load_that_was_not_the_one_asked_for_is_invalid() -> None:
    (reason,) = judged(60, lateness_max_us=150_000).reasons
    assert "later than intended" in reason


def test_a_short_run_of_two_bad_seconds_is_invalid() -> None:
    spoilt = worker(2, lambda second: replace(second, cpu=0.98), seconds=5)
    assert not verdict_on([spoilt], FANOUT).valid


def test_seconds_without_load_do_not_thin_out_the_bad_ones() -> None:
    busy = worker(4, lambda second: replace(second, cpu=0.98), seconds=4)
    idle = [replace(FINE, second=4 + n, cpu=0.01, deliveries=0, sends=0) for n in range(1000)]
    assert not verdict_on([replace(busy, seconds=[*busy.seconds, *idle])], FANOUT).valid


@pytest.mark.parametrize(
    ("p99_ms", "lag_ms", "is_valid"),
    [(4, 9, True), (4, 11, False), (30, 14, True), (30, 16, False), (900, 49, True), (900, 60, False)],
)
def test_lag_is_compared_with_what_it_would_distort_within_bounds(
    p99_ms: int, lag_ms: int, is_valid: bool
) -> None:
    lagging = worker(60, lambda second: replace(second, lag_max_us=lag_ms * 1000))
    assert verdict_on([lagging], Histogram.of([p99_ms * 1000] * 100)).valid is is_valid


def test_a_worker_whose_last_report_is_missing_is_invalid() -> None:
    found = verdict_on([replace(worker(), finished=False)], FANOUT)
    assert found.reasons == ("w: its last report is missing, nothing is known of it after second 59.",)


def test_no_worker_at_all_is_invalid() -> None:
    assert not verdict_on([], FANOUT).valid
    assert not verdict_on([WorkerHealth("w", [], Histogram(), Histogram())], FANOUT).valid


def test_a_run_that_measured_nothing_is_invalid() -> None:
    found = verdict_on([worker()], Histogram(), measured=False)
    assert found.reasons[0].startswith("Not one connection")


def test_deliveries_before_they_were_sent_are_the_clocks_fault() -> None:
    found = verdict_on([worker()], Histogram.of([-500] * 2 + [400] * 98))
    (reason,) = found.reasons
    assert reason.startswith("2% of the deliveries came before they were sent")
    assert verdict_on([worker()], Histogram.of([-500] + [4000] * 199)).valid


def test_latencies_of_which_lag_is_a_great_part_are_told() -> None:
    found = verdict_on([worker(60, lambda second: replace(second, lag_max_us=4_000))], FANOUT)
    assert found.valid
    assert "the server is faster than it looks" in found.warnings[0]


def test_a_standstill_in_one_second_that_is_the_p99_is_invalid() -> None:
    stalled = worker(1, lambda second: replace(second, lag_max_us=2_000_000))
    own = Histogram.of([4_000] * 98 + [1_500_000] * 2)
    (reason,) = verdict_on([worker(), stalled], own).reasons
    assert "that is its own latency" in reason
    server_s = Histogram.of([4_000] * 90 + [9_000_000] * 10)
    assert verdict_on([worker(), stalled], server_s).valid, "the server's own is far above it"


def test_a_run_that_some_never_joined_is_invalid() -> None:
    found = verdict_on([worker()], FANOUT, {"users": 500, "joined": 3, "sent": 9, "acknowledged": 9})
    assert found.reasons == ("497 of 500 users never joined their room: the load was not the one asked for.",)
    assert "--connect-timeout" in found.advice[0]
    assert verdict_on([worker()], FANOUT, {"users": 500, "joined": 500}).valid


@pytest.mark.parametrize(("not_sent", "reasons", "warnings"), [(5, 0, 0), (10, 0, 1), (101, 1, 0)])
def test_messages_that_could_not_be_sent_are_told_and_many_are_invalid(
    not_sent: int, reasons: int, warnings: int
) -> None:
    found = verdict_on([worker()], FANOUT, {"sent": 100, "acknowledged": 100, "not_sent": not_sent})
    assert (len(found.reasons), len(found.warnings)) == (reasons, warnings)
    assert all("were not sent" in text for text in (*found.reasons, *found.warnings))


def test_a_run_in_which_nothing_could_be_sent_is_invalid() -> None:
    assert not verdict_on([worker()], FANOUT, {"users": 5, "joined": 5, "not_sent": 200}).valid


def test_where_nothing_is_delivered_lag_is_compared_with_connecting() -> None:
    rows = [HealthSecond(n, 0.4, 0.0, 900_000 * (n % 10 == 0), 0, 0, 0, connects=500) for n in range(30)]
    stalled = WorkerHealth("w", rows, Histogram.of([900_000] * 90 + [300] * 10), Histogram())
    (reason,) = verdict_on([stalled], Histogram(), connecting=Histogram.of([900_000] * 1500)).reasons
    assert "where connecting took 9" in reason
    assert verdict_on([stalled], Histogram(), connecting=Histogram.of([9_000_000] * 1500)).valid is False
    calm = replace(stalled, loop_lag=Histogram.of([300] * 100))
    assert verdict_on([calm], Histogram(), connecting=Histogram.of([900_000] * 1500)).valid


def test_a_run_in_which_nothing_was_acknowledged_is_invalid() -> None:
    found = verdict_on([worker()], FANOUT, {"users": 5, "joined": 5, "sent": 200, "acknowledged": 0})
    (reason,) = found.reasons
    assert reason.startswith("Not one of 200 messages was acknowledged")
