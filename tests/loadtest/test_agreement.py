"""The load test beside `make bench`: as people run it, on a few members, and what counts as agreeing."""

import os
import subprocess
import sys

import pytest

from loadtest.bench.agreement import Found, disagreements
from tests.cli.running import ROOT, environment
from tests.support.machine import find_redis_server, lacking

BENCH = Found(messages=30, deliveries=600, p50_ms=5.0, p99_ms=9.0)


@pytest.mark.parametrize("p50_ms", [3.1, 5.0, 6.9])
def test_two_milliseconds_are_borne(p50_ms: float) -> None:
    assert disagreements(BENCH, Found(31, 620, p50_ms, 50.0), 20) == []


def test_a_fifth_is_borne_where_that_is_more() -> None:
    slow = Found(30, 600, 100.0, 200.0)
    assert disagreements(slow, Found(30, 600, 119.0, 200.0), 20) == []
    assert disagreements(slow, Found(30, 600, 121.0, 200.0), 20) == [
        "The p50s are 21.00 ms apart, more than 20% and 2 ms."
    ]


def test_a_delivery_too_few_or_too_many_is_no_agreement() -> None:
    (said,) = disagreements(BENCH, Found(30, 599, 5.0, 9.0), 20)
    assert said == "the load test: 599 deliveries of 30 messages, expected 20 of each."
    assert len(disagreements(Found(0, 0, 5.0, 9.0), BENCH, 20)) == 1


@pytest.mark.time_limit(120)
def test_both_count_the_same_deliveries_of_each_message() -> None:
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        raise lacking("Linux and two cores", "one is for the server and one for the load client")
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.bench.agreement", "--members", "20", "--seconds", "1"],
        cwd=ROOT,
        env=environment({"PATH": f"{find_redis_server().parent}{os.pathsep}{os.environ['PATH']}"}),
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode in (0, 1, 2), done.stderr  # how fast anything is is not tested
    assert "of each message" in done.stdout, done.stderr
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert [row[3].strip() for row in rows if "---" not in row[0]] == ["20", "20"]
