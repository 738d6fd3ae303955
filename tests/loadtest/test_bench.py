"""The command as people run it, on a few members; how fast anything is is not tested."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.bench.client.measurement import Order, Target, latencies_ms, percentile
from loadtest.bench.limits import TooFewFiles, allow_files
from loadtest.bench.options import groups, is_full, parser
from tests.cli.running import ROOT, environment, eventually, is_running
from tests.support.machine import find_redis_server, lacking

LIMIT_S = 60
SMALL = ["--quick", "--contenders", "kit", "--members", "20"]


@pytest.fixture(autouse=True)
def _machine() -> None:
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        raise lacking("Linux and two cores", "the bench pins the server to one and the load client to another")


@pytest.fixture
def path() -> str:
    """With the redis-server that the tests use."""
    return f"{find_redis_server().parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def started(path: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Runs to be ended after the test, should it not have done so."""
    running: list[subprocess.Popen[str]] = []
    yield running
    for each in running:
        each.kill()
        each.communicate()


def start(path: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "loadtest.bench", *SMALL, *arguments],
        cwd=ROOT,
        env=environment({"PATH": path}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.time_limit(LIMIT_S + 10)
def test_a_small_run_measures_shows_and_writes(
    path: str, started: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    output = tmp_path / "RESULTS.md"
    started.append(start(path, "--lines", "one,64x64,15000,echo", "--write", "--output", str(output)))
    out, err = started[0].communicate(timeout=LIMIT_S)
    assert started[0].returncode == 0, out + err
    assert "| 1 in flight, 1,000 members, deliveries/s | kit" in out
    written = output.read_text()
    assert "| 1 in flight, 1,000 members, deliveries/s | kit" in written
    assert "all delivered: met" in written
    assert "1024 frame(s) a write" in written
    assert "Redis 7" in written or "Redis 6" in written or "Redis 8" in written
    assert json.loads(output.with_suffix(".json").read_text())[-1]["contender"] == "kit"


@pytest.mark.time_limit(LIMIT_S + 10)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_behind(
    path: str, started: list[subprocess.Popen[str]], number: signal.Signals
) -> None:
    bench = start(path, "--no-ceiling", "--lines", "echo", "--measure-s", "30")
    started.append(bench)

    def all_there() -> list[int] | None:  # Redis, the server, the load client
        found = children(bench.pid)
        return found if len(found) == 3 else None

    pids = eventually(all_there, LIMIT_S)
    bench.send_signal(number)
    bench.communicate(timeout=LIMIT_S)
    assert bench.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    eventually(lambda: not any(is_running(pid) for pid in pids))


def test_an_order_survives_its_way_to_the_client() -> None:
    order = Order("room", ("one", "8x8"), Target(1, 2, 3), members=4, warm_up_s=0.5, measure_s=1.5)
    assert Order.from_json(json.loads(json.dumps(order.to_json()))) == order


def test_only_a_run_of_everything_writes_the_results() -> None:
    assert is_full(parser().parse_args([]))
    assert is_full(parser().parse_args(["--pairs", "7", "--no-ceiling"]))
    for some in (["--quick"], ["--lines", "one"], ["--contenders", "kit"], ["--pairs", "4"], ["--measure-s", "1"]):
        assert not is_full(parser().parse_args(some))


def test_chosen_lines_leave_the_other_groups_out() -> None:
    chosen = groups(parser().parse_args(["--lines", "one,echo", "--members", "10"]))
    assert [(group.kind, group.lines, group.members) for group in chosen] == [
        ("room", ("one",), 10),
        ("echo", ("echo",), 1),
    ]


def test_fewer_members_fill_fewer_rooms() -> None:
    (rooms,) = groups(parser().parse_args(["--lines", "rooms", "--members", "52"]))
    assert (rooms.rooms, rooms.members) == (10, 50)


@pytest.mark.parametrize("wrong", [["--lines", "two"], ["--contenders", "kit,perl"], ["--pairs", "0"]])
def test_a_wrong_option_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(wrong)
    assert wrong[0] in capsys.readouterr().err


def test_percentiles_are_nearest_ranks() -> None:
    ordered = list(range(1, 101))
    assert percentile(ordered, 0.5) == 50
    assert percentile(ordered, 0.99) == 99
    assert percentile([7], 0.99) == 7
    assert latencies_ms([3_000_000, 1_000_000]) == {"p50_ms": 1.0, "p99_ms": 3.0, "deliveries": 2}
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 0.5)


def test_too_few_files_are_said_before_anything_starts() -> None:
    with pytest.raises(TooFewFiles, match="open files"):
        allow_files(10**9)
