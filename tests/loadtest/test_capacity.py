"""`make capacity`: where the search ends, what the table says of it, and runs of it."""

import json
import math
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from loadtest.capacity.__main__ import probe_of
from loadtest.capacity.search import Load, Probe, search
from loadtest.capacity.table import markdown, page
from tests.cli.running import ROOT

from .running import environment

TARGET_US = 50_000
SHAPE = Load(1, 2, 50, 0.0)


@dataclass
class Holds:
    """A cluster, in numbers: it is late above `deliveries_s`, or loses; its generator is good for `generator`."""

    deliveries_s: float
    generator: float = math.inf
    loses: bool = False
    asked: list[Load] = field(default_factory=list)

    def run(self, load: Load) -> Probe:
        self.asked.append(load)
        late = load.deliveries_s > self.deliveries_s
        p99_us = 90_000 if late and not self.loses else 10_000
        why = "" if load.deliveries_s <= self.generator else "g1: too slow."
        rss_bytes = (10**8, 10**8 + 12_000 * load.connections)
        return Probe(load, 5_000, p99_us, 7 if late and self.loses else 0, not why, why, 0.5, rss_bytes)


@pytest.mark.parametrize("holds", [2_000, 7_777, 100_000, 123_456])
def test_what_is_found_is_at_most_a_fifth_below_what_holds(holds: float) -> None:
    found = search(SHAPE, TARGET_US, Holds(holds).run)
    assert found.best is not None
    assert holds / 1.2 < found.best.load.deliveries_s <= holds
    assert found.limit == "the target"


def test_a_cluster_that_holds_nothing_is_asked_once() -> None:
    cluster = Holds(0)
    found = search(SHAPE, TARGET_US, cluster.run)
    assert (found.best, found.limit) == (None, "the target, missed at the lowest rate tried")
    assert len(cluster.asked) == 1
    assert "| none | none |" in markdown([found], TARGET_US, 6)


def test_what_is_lost_ends_it_however_fast_the_rest_was() -> None:
    found = search(SHAPE, TARGET_US, Holds(10_000, loses=True).run)
    assert found.best is not None
    assert found.best.load.deliveries_s <= 10_000
    assert found.limit == "7 deliveries lost"


def test_a_generator_that_is_too_slow_is_named_as_the_limit() -> None:
    found = search(SHAPE, TARGET_US, Holds(1e9, generator=20_000).run)
    assert found.best is not None
    assert 20_000 / 1.2 < found.best.load.deliveries_s <= 20_000
    assert found.limit == "the generator"
    first = search(SHAPE, TARGET_US, Holds(1e9, generator=0).run)
    assert (first.best, first.limit) == (None, "the generator")
    assert "the cluster holds more than the row says" in markdown([first], TARGET_US, 6)


def test_a_run_that_the_generator_spoilt_is_made_once_more() -> None:
    cluster, spoilt = Holds(10_000), []

    def run(load: Load) -> Probe:
        probe = cluster.run(load)
        if load.deliveries_s == 4_000 and not spoilt:
            spoilt.append(load)
            return replace(probe, valid=False, why="g1: a hiccup.")
        return probe

    found = search(SHAPE, TARGET_US, run)
    assert spoilt
    assert found.best is not None
    assert found.best.load.deliveries_s > 8_000
    assert found.limit == "the target"


def test_a_run_that_not_all_got_into_keeps_no_target() -> None:
    cluster = Holds(1e9)
    found = search(SHAPE, TARGET_US, lambda load: replace(cluster.run(load), absent=3, valid=False))
    assert (found.best, found.limit) == (None, "3 users who could not connect")
    assert not replace(found.probes[0], valid=True).keeps(TARGET_US)


def test_the_number_of_runs_is_bounded_and_said() -> None:
    cluster = Holds(1e12)
    found = search(SHAPE, TARGET_US, cluster.run, runs_max=3)
    assert [load.deliveries_s for load in cluster.asked] == [2_000, 4_000, 8_000]
    assert (found.best, found.limit) == (found.probes[-1], "the number of runs, 3")


def test_the_table_says_what_was_measured_and_what_was_not() -> None:
    found = [search(Load(1, 1, members, 0.0), TARGET_US, Holds(10_000).run) for members in (100, 1_000)]
    text = markdown(found, TARGET_US, 6)
    assert "| 1 | 1 | 1,000 | 10 | 9,514 |" in text
    assert "the nodes' memory grew by 12.0 kB for each of the first 100 connections" in text
    assert "Extrapolated from it: 83,333 connections in 1 GB." in text
    html = page(found, TARGET_US, 6)
    assert html.count("<svg") == 1
    assert "1 nodes, 1 × 1,000" in html
    assert "://" not in html.replace("http://www.w3.org/2000/svg", "")


def capacity(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "loadtest.capacity", "--report", str(folder), *options]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=110)


def test_redis_and_balancers_are_no_nodes() -> None:
    names = {"app.cli serve (7)": 0.2, "app.main (8)": 0.3, "redis-server (9)": 0.9, "nginx: worker (10)": 0.8}
    report = {
        "latencies": {"fanout": {"p50_us": 1000, "p99_us": 2000}},
        "counters": {"lost": 0, "users": 20, "joined": 20},
        "verdict": {"valid": True, "reasons": []},
        "servers": {name: {"cpu": [cpu] * 5, "rss_bytes": [100, 300]} for name, cpu in names.items()},
    }
    probe = probe_of(SHAPE, report)
    assert (probe.node_cpu, probe.rss_bytes) == (0.3, (200, 600))


@pytest.mark.time_limit(120)
def test_two_runs_for_each_row_of_a_real_cluster(tmp_path: Path) -> None:
    small = ("--nodes", "1", "--rooms", "1", "2", "--connections", "20", "--runs", "2", "--seconds", "1")
    done = capacity(tmp_path / "report", *small)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "report/capacity.json").read_text())
    assert [(row["shape"]["rooms"], row["shape"]["members"]) for row in rows] == [(1, 20), (2, 10)]
    assert all(len(row["probes"]) <= 2 and row["probes"][0]["lost"] == 0 for row in rows)
    assert (tmp_path / "report/capacity.md").read_text() in done.stdout
    assert "Latency by load" in (tmp_path / "report/capacity.html").read_text()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--rooms", "0"), "expected a whole number from 1 on, got '0'"),
        (("--seconds", "-1"), "expected a number above 0, got '-1'"),
        (("--rooms", "50", "--connections", "20"), "more rooms than connections"),
    ],
)
def test_a_wrong_option_is_explained(tmp_path: Path, options: tuple[str, ...], expected: str) -> None:
    done = capacity(tmp_path, *options)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
