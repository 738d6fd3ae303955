"""What a generator reports arrives once, whatever happens to the reports."""

import json
import random
from typing import Any

import pytest

from loadtest.measure.collected import Collected
from loadtest.measure.figures import ERRORS_MAX, LANES_MAX, OTHER_ERRORS, Figures
from loadtest.measure.histogram import Histogram
from loadtest.measure.judging import judge
from loadtest.measure.ledger import Ledger
from loadtest.measure.own_cpu import OwnCpu
from loadtest.measure.results import COUNTER_NAMES, HISTOGRAM_NAMES, Results

RUN: dict[str, Any] = {"scenario": "s", "started": "now", "duration_s": 10.0, "parameters": {}, "environment": {}}


def a_run(seed: int, seconds: int = 30) -> tuple[list[dict[str, Any]], list[int]]:
    """The reports of a process, one every 3 s, and all latencies it recorded."""
    chance, figures, values = random.Random(seed), Figures(100.0), []
    reports = []
    for second in range(seconds):
        figures.roll(100.0 + second)
        for node_id in ("a", "b"):
            batch = [chance.randrange(100, 90_000) for _ in range(7)]
            figures.lane(node_id).record_many(batch)
            values += batch
        figures.counters["sent"] += 2
        figures.counters["bytes_in"] += 100
        figures.connections = second
        if second % 3 == 2:
            reports.append(figures.to_wire(100.5 + second))
    reports.append(figures.to_wire(100.0 + seconds - 0.1, final=True))
    return json.loads(json.dumps(reports)), values


def results(collected: Collected) -> Results:
    return collected.results(**RUN, totals=None)


def test_reports_of_two_processes_add_up() -> None:
    collected, values = Collected(), []
    for worker in ("w1", "w2"):
        reports, recorded = a_run(len(worker) + ord(worker[1]))
        values += recorded
        for report in reports:
            collected.add(worker, report)
    found = results(collected)
    assert found.histograms["fanout"].to_wire() == Histogram.of(values).to_wire()
    assert sum(each.count for each in found.fanout_by_node.values()) == len(values)
    assert (found.counters["sent"], found.counters["deliveries"]) == (120, len(values))
    assert [moment.second for moment in found.moments] == list(range(30))
    assert all((moment.deliveries, moment.sends, moment.bytes_in) == (28, 4, 200) for moment in found.moments)
    assert found.moments[10].connections == 20
    assert (found.deliveries_per_s, found.sends_per_s, found.connections_max) == (28.0, 4.0, 58)


def test_reports_that_are_lost_or_doubled_or_late_change_nothing() -> None:
    reports, _ = a_run(5)
    whole, torn = Collected(), Collected()
    for report in reports:
        whole.add("w", report)
    kept = [report for number, report in enumerate(reports) if number % 4 in (0, 3) or report["final"]]
    for report in [*kept, kept[1], kept[0]]:
        torn.add("w", report)
    assert results(torn).moments == results(whole).moments
    assert results(torn).counters == results(whole).counters
    assert results(torn).histograms["fanout"].to_wire() == results(whole).histograms["fanout"].to_wire()


def test_a_second_has_the_percentiles_of_what_came_in_it() -> None:
    figures = Figures(0.0)
    figures.roll(0.0)
    figures.lane("n").record_many([1000] * 99 + [5000])
    figures.roll(1.0)
    figures.lane("n").record(70_000)
    collected = Collected()
    collected.add("w", figures.to_wire(2.0))
    first, second = results(collected).moments
    assert (first.p50_us, first.p99_us, first.max_us) == (1003, 1003, 5000)
    assert second.p50_us == second.max_us == 70_000


def test_seconds_in_which_the_process_stood_still_are_seconds_too() -> None:
    figures = Figures(0.0)
    figures.connections = 3
    figures.roll(0.5)
    collected = Collected()
    collected.add("w", figures.to_wire(4.2))
    assert [(each.second, each.connections) for each in results(collected).moments] == [(n, 3) for n in range(4)]


def test_whoever_completes_a_second_has_looked_at_what_is_connected_then() -> None:
    connected = 0

    def look() -> None:
        figures.connections = connected
        figures.counters["bytes_in"] += 10

    figures, collected = Figures(0.0, look=look), Collected()
    figures.roll(0.5)
    for second, connected in enumerate((3, 5, 2), start=1):  # noqa: B007 - look() reads it
        collected.add("w", figures.to_wire(second + 0.01))
    found = results(collected).moments
    assert [(each.connections, each.bytes_in) for each in found] == [(3, 10), (5, 10), (2, 10)]


def test_lag_is_of_seconds_with_messages_and_without_any_of_those_in_which_people_came() -> None:
    figures = Figures(0.0)
    figures.roll(0.0)
    figures.lagged(900_000, 10_000)
    figures.roll(1.0)
    assert figures.loop_lag.count == 0, "nothing was measured"
    figures.connect.record(5)
    figures.lagged(800_000, 10_000)
    figures.roll(2.0)
    assert figures.loop_lag.max_us is not None
    assert 800_000 <= figures.loop_lag.max_us < 900_000
    figures.counters["sent"] += 1
    figures.lagged(70_000, 10_000)
    figures.roll(3.0)
    assert figures.loop_lag.max_us < 80_000
    assert [columns[-1] for columns in figures.to_wire(3.0)["rows"]] == [0, 1, 0]


def test_what_happens_before_the_run_is_in_the_totals_and_in_no_second() -> None:
    figures = Figures(10.0)
    figures.roll(7.0)
    figures.connect.record(5)
    figures.counters["reconnects"] += 1
    collected = Collected()
    collected.add("w", figures.to_wire(11.0))
    found = results(collected)
    assert found.counters["reconnects"] == found.histograms["connect"].count == 1
    assert [moment.second for moment in found.moments] == [0]


def test_many_kinds_of_errors_are_counted_together() -> None:
    figures = Figures(0.0)
    for number in range(ERRORS_MAX + 10):
        figures.failed(f"error {number}")
    figures.failed("error 0")
    assert figures.errors["error 0"] == 2
    assert figures.errors[OTHER_ERRORS] == 10


def test_the_latest_second_is_one_that_all_have_reported() -> None:
    collected = Collected()
    assert collected.latest() is None
    for worker, now_s in (("w1", 5.0), ("w2", 3.0)):
        collected.add(worker, Figures(0.0).to_wire(now_s))
    latest = collected.latest()
    assert latest is not None
    assert latest.second == 2


def test_a_long_run_keeps_percentiles_instead_of_latencies() -> None:
    collected, figures = Collected(), Figures(0.0)
    for second in range(200):
        figures.roll(float(second))
        figures.lane("n").record(1000 + second)
        collected.add("w", figures.to_wire(second + 1.0))
    found = results(collected).moments
    assert [moment.max_us for moment in found] == [1000 + second for second in range(200)]
    assert len(collected._open) < 70


def test_while_it_runs_no_last_report_is_missing() -> None:
    collected, figures = Collected(), Figures(0.0)
    figures.connect.record(1000)
    collected.add("w", figures.to_wire(3.0))
    assert not results(collected).verdict.valid
    assert collected.results(**RUN, totals=None, running=True).verdict.valid


def test_all_names_are_there_even_if_nothing_was_measured() -> None:
    found = results(Collected())
    assert tuple(found.histograms) == tuple(HISTOGRAM_NAMES)
    assert tuple(found.counters) == tuple(COUNTER_NAMES)
    assert found.moments == []
    assert not found.verdict.valid


def test_the_ledgers_counts_go_before_the_generators() -> None:
    ledger = Ledger()
    stay = ledger.entered("r", "m", 0.0)
    ledger.sent("r", 1, 1.0)
    ledger.acknowledged("r", 1, 1.1)
    stay.heard(1, 1.2)
    found = Collected().results(**RUN, totals=judge([ledger.to_wire()]))
    assert (found.counters["sent"], found.counters["expected"], found.counters["delivered"]) == (1, 1, 1)
    assert found.histograms["last_receiver"].count == 1


def test_own_cpu_is_a_share_of_a_core() -> None:
    meter = OwnCpu()
    sum(range(2_000_000))
    used, waited = meter.sample()
    assert 0 < used < 1.5
    assert waited is None or waited >= 0


@pytest.mark.parametrize("lag_us", [0, 30_000])
def test_lag_and_lateness_show_in_their_second(lag_us: int) -> None:
    figures = Figures(0.0)
    figures.roll(0.1)
    figures.lagged(lag_us, 20_000)
    figures.late(lag_us)
    collected = Collected()
    collected.add("w", figures.to_wire(1.0))
    (worker,) = collected.health()
    assert (worker.seconds[0].lag_max_us, worker.seconds[0].lateness_max_us) == (lag_us, lag_us)


def test_lag_counts_in_seconds_with_load_alone() -> None:
    figures = Figures(0.0)
    figures.roll(0.1)
    figures.lagged(700_000, 10_000)  # while everybody connects
    figures.roll(1.1)
    figures.counters["sent"] += 1
    figures.lagged(20_000, 20_000)
    collected = Collected()
    collected.add("w", figures.to_wire(2.0))
    (worker,) = collected.health()
    assert worker.loop_lag.max_us == 20_000
    assert [each.lag_max_us for each in worker.seconds] == [700_000, 20_000]


def test_the_nodes_of_a_server_that_does_not_name_them_are_bounded() -> None:
    figures = Figures(0.0)
    figures.roll(0.0)
    for number in range(10 * LANES_MAX):
        figures.lane(f"sid{number}").record(1000)
    wire = figures.to_wire(1.0, final=True)
    assert len(wire["fanout_by_node"]) == LANES_MAX + 1
    assert sum(Histogram.from_wire(each).count for each in wire["fanout_by_node"].values()) == 10 * LANES_MAX


def test_rates_are_of_whole_seconds() -> None:
    figures, collected = Figures(0.0), Collected()
    for second, sends in enumerate((0, 5, 20, 20, 20, 15, 0)):
        figures.roll(float(second))
        figures.counters["sent"] += sends
    collected.add("w", figures.to_wire(7.0))
    assert results(collected).sends_per_s == 20.0
