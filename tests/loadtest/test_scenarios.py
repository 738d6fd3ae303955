"""Every scenario against three nodes: whatever was acknowledged reached everybody once, in one order."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtest.__main__ import cluster as own_cluster
from tests.cli.running import ROOT, free_ports

from .running import Outcome, environment, load_test

pytestmark = pytest.mark.time_limit(120)

PEOPLE = ("--users", "24", "--rooms", "2", "--spawn-rate", "100", "--talk-time", "4", "--storm-every", "1.5")
BROKEN_CONNECTIONS = {"never acknowledged: its connection was lost"}
FAULTS = ("lost", "duplicates", "order_violations", "unexpected")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The URL of three nodes."""
    with own_cluster(REDIS_URL="") as url:
        yield url


async def run(cluster: str, folder: Path, *options: str) -> Outcome:
    """A run in which nothing went wrong."""
    outcome = await load_test(cluster, folder, *PEOPLE, *options)
    assert outcome.report, outcome.output
    assert outcome.exit_code in (0, 2), outcome.output  # 2: others had the generator's core
    assert "Traceback" not in outcome.output
    assert {name: outcome.count(name) for name in FAULTS} == dict.fromkeys(FAULTS, 0)
    assert outcome.count("delivered") == outcome.count("expected")
    assert set(outcome.report["errors"]) <= BROKEN_CONNECTIONS
    return outcome


@pytest.mark.parametrize("transport", ["websocket", "polling", "upgrade"])
async def test_broadcast(cluster: str, tmp_path: Path, transport: str) -> None:
    outcome = await run(cluster, tmp_path, "--transport", transport, "--rate", "20")
    assert 2 * 4 * 20 <= outcome.count("sent") <= 2 * 5 * 20
    assert outcome.count("expected") == outcome.count("sent") * 12
    assert outcome.report["latencies"]["fanout"]["count"] == outcome.count("expected")
    assert outcome.report["latencies"]["last_receiver"]["count"] == outcome.count("sent")
    assert outcome.report["connections_max"] == 24
    assert len(outcome.report["fanout_by_node"]) > 1


async def test_generators_in_two_processes_count_as_one(cluster: str, tmp_path: Path) -> None:
    outcome = await run(cluster, tmp_path, "--processes", "2")
    assert outcome.count("expected") == outcome.count("sent") * 12
    assert len(outcome.report["generators"]) == 2
    assert all(each["finished"] for each in outcome.report["generators"])


async def test_a_closed_loop_sends_when_it_is_answered(cluster: str, tmp_path: Path) -> None:
    outcome = await run(cluster, tmp_path, "--loop", "closed", "--senders", "1")
    assert outcome.count("sent") > 200
    assert outcome.report["latencies"]["ack"]["count"] == outcome.count("sent")


async def test_a_closed_loop_waits_for_the_connection_it_lost(cluster: str, tmp_path: Path) -> None:
    storms = ("--tags", "reconnect_storm", "--recover", "--storm-every", "2")
    outcome = await run(cluster, tmp_path, "--loop", "closed", *storms)
    assert outcome.count("reconnects") > 0
    assert outcome.count("sent") > 100


async def test_whispers_reach_two(cluster: str, tmp_path: Path) -> None:
    outcome = await run(cluster, tmp_path, "--tags", "whisper")
    assert outcome.count("expected") == 2 * outcome.count("sent") > 100


async def test_a_join_storm_has_everybody_connect_again(cluster: str, tmp_path: Path) -> None:
    outcome = await run(cluster, tmp_path, "--tags", "join_storm")
    assert outcome.report["latencies"]["connect"]["count"] >= 3 * 24
    assert outcome.count("reconnects") == 0


async def test_after_a_reconnect_storm_nothing_is_missing(cluster: str, tmp_path: Path) -> None:
    outcome = await run(cluster, tmp_path, "--tags", "reconnect_storm", "--recover")
    assert outcome.count("reconnects") == outcome.count("recoveries") >= 24


async def test_renames_are_heard_by_all(cluster: str, tmp_path: Path) -> None:
    outcome = await run(cluster, tmp_path, "--tags", "rename")
    assert outcome.count("expected") == 12 * outcome.count("sent") > 500


@pytest.mark.parametrize("scenario", ["mixed", "soak"])
async def test_people_who_do_as_they_like(cluster: str, tmp_path: Path, scenario: str) -> None:
    outcome = await run(cluster, tmp_path, "--tags", scenario, "--idle", "0.5")
    assert outcome.count("expected") > 100


async def test_what_is_settled_while_it_runs_counts_at_the_end(cluster: str, tmp_path: Path) -> None:
    program = ("-m", "locust", "-f", "tests/loadtest/settling_locustfile.py", "--headless")
    port = str(free_ports(1))
    processes = ("--processes", "2", "--master-bind-port", port, "--master-port", port)
    outcome = await load_test(cluster, tmp_path, *PEOPLE, *processes, program=program)
    assert outcome.count("expected") == outcome.count("delivered") == 12 * outcome.count("sent") > 0
    assert {name: outcome.count(name) for name in FAULTS} == dict.fromkeys(FAULTS, 0)


async def test_a_shape_ends_the_run(cluster: str, tmp_path: Path) -> None:
    outcome = await run(cluster, tmp_path, "--shape", "steps", "--stages", "2", "--stage-time", "2")
    assert outcome.output.index("Ramping to 12 users") < outcome.output.index("Ramping to 24 users")
    assert outcome.report["connections_max"] == 24


async def test_who_leaves_while_a_run_goes_on_misses_nothing(cluster: str, tmp_path: Path) -> None:
    spike = ("--shape", "spike", "--stages", "1", "--stage-time", "3", "--talk-time", "60")
    outcome = await run(cluster, tmp_path, *spike, "--senders", "2", "--rate", "20")
    assert outcome.report["connections_max"] == 24
    assert 12 in outcome.report["series"]["connections"][-4:], "nobody left"
    assert max(outcome.report["series"]["sends"][-5:]) >= 0.9 * 2 * 20, "who left took its turns along"


async def test_ctrl_c_ends_a_run_with_its_report(cluster: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtest", "--host", cluster, "--report", str(tmp_path), "--users", "5"]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    running = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment(), start_new_session=True, **streams
    )
    assert running.stdout is not None
    said = b""
    while b"delivered/s" not in said:
        said += await asyncio.wait_for(running.stdout.readline(), 30)
    os.killpg(running.pid, signal.SIGINT)
    rest, _ = await asyncio.wait_for(running.communicate(), 60)
    assert running.returncode in (0, 2), rest.decode()
    assert re.search(rb"Delivered ([\d,]+) of \1 expected", rest), rest.decode()
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--gate", "fanout.p98<=fast"), "Known figures are"),
        (("--rate", "0"), "expected a number above 0, got '0'"),
        (("--rooms", "x"), "expected a whole number from 1 on, got 'x'"),
        (("--tags", "party"), "expected one of broadcast, whisper"),
        (("--transport", "pigeon"), "invalid choice"),
        (("--server-processes", "("), "expected a regular expression"),
    ],
)
async def test_a_wrong_option_is_explained(
    cluster: str, tmp_path: Path, options: tuple[str, ...], expected: str
) -> None:
    outcome = await load_test(cluster, tmp_path, *options)
    assert outcome.exit_code != 0
    assert expected in outcome.output
    assert "Traceback" not in outcome.output


async def test_nobody_there_is_said_and_not_valid_to_pass(tmp_path: Path) -> None:
    people = ("--users", "2", "--talk-time", "1", "--connect-timeout", "1")
    outcome = await load_test("http://127.0.0.1:9", tmp_path, *people)
    assert outcome.exit_code == 3
    assert "had not joined their room" in outcome.output
    assert outcome.count("connect_failures") > 0
    assert any("refused" in text for text in outcome.report["errors"])
    assert "2 of 2 users never joined" in " ".join(outcome.report["verdict"]["reasons"])
    assert outcome.report["latencies"]["connect"]["count"] == 2, "they have waited until the end"


async def test_help_lists_every_option_with_its_variable(tmp_path: Path) -> None:
    outcome = await load_test("http://127.0.0.1:9", tmp_path, "--help")
    assert outcome.exit_code == 0
    for name in ("GATE", "RATE", "ROOMS", "TALK_TIME", "DROP_COOKIES", "RECOVER", "STORM_EVERY", "SHAPE"):
        assert f"LOADTEST_{name}" in outcome.output


async def test_the_environment_goes_before_the_headline_and_options_before_both(
    cluster: str, tmp_path: Path
) -> None:
    variables = {"LOCUST_TAGS": "rename", "LOCUST_USERS": "4", "LOCUST_SPAWN_RATE": "50"}
    variables |= {"LOADTEST_TALK_TIME": "1.5", "LOADTEST_RATE": "7"}
    outcome = await load_test(cluster, tmp_path, "--rate", "8", **variables)
    found = outcome.report["parameters"]
    assert (found["users"], found["talk_s"], found["rate"]) == (4, 1.5, 8.0)
    assert outcome.report["scenario"] == "rename"


async def test_a_run_without_a_pattern_watches_no_process(cluster: str, tmp_path: Path) -> None:
    outcome = await run(cluster, tmp_path, "--talk-time", "1", "--server-processes", "")
    assert outcome.report["servers"] == {}
