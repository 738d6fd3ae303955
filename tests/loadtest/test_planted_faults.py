"""A server that breaks its promises, and how often: the report says exactly that."""

from pathlib import Path
from typing import Any

import pytest

from .running import load_test, planted

LOAD = ("--users", "30", "--spawn-rate", "100", "--rate", "40", "--talk-time", "5", "--drain", "3")
FAULTS = ("lost", "duplicates", "order_violations", "unexpected")
DELAYED_US = 190_000


@pytest.mark.parametrize(
    ("option", "kind", "figure"),
    [("--drop", "drop", "lost"), ("--twice", "twice", "duplicates"), ("--swap", "swap", "order_violations")],
)
async def test_a_fault_is_found_as_often_as_it_was_made(
    tmp_path: Path, option: str, kind: str, figure: str
) -> None:
    with planted(option, "0.01") as server:
        outcome = await load_test(server.url, tmp_path, *LOAD)
    made = server.counts.get(kind, 0)
    assert made > 10, "the server made too few to tell anything"
    assert {name: outcome.count(name) for name in FAULTS} == dict.fromkeys(FAULTS, 0) | {figure: made}
    assert outcome.count("expected") == server.counts["deliveries"]
    assert outcome.count("delivered") == server.counts["deliveries"] - server.counts.get("drop", 0)


async def test_all_faults_at_once_from_two_generators_are_told_apart(tmp_path: Path) -> None:
    shares = ("--drop", "0.01", "--twice", "0.01", "--swap", "0.01", "--delay", "0.01")
    with planted(*shares) as server:
        outcome = await load_test(server.url, tmp_path, *LOAD, "--processes", "2")
    counts = server.counts
    assert outcome.count("lost") == counts["drop"]
    assert outcome.count("duplicates") == counts["twice"]
    assert outcome.count("order_violations") == counts["swap"]
    assert outcome.count("unexpected") == 0
    assert delayed(outcome.report["latencies"]["fanout"]) >= counts["delay"]


async def test_delays_show_in_the_distribution(tmp_path: Path) -> None:
    with planted("--delay", "0.01") as server:
        outcome = await load_test(server.url, tmp_path, *LOAD)
    assert {name: outcome.count(name) for name in FAULTS} == dict.fromkeys(FAULTS, 0)
    assert server.counts["delay"] > 10
    # What comes within 10 ms behind a delayed message waits for nearly as long.
    assert server.counts["delay"] <= delayed(outcome.report["latencies"]["fanout"]) <= 2 * server.counts["delay"]


async def test_what_comes_long_after_the_last_send_is_not_lost(tmp_path: Path) -> None:
    # Everything waits for up to 3 s: when all stop after 4 s, nothing comes for the next 2 s.
    with planted("--delay", "1", "--delay-s", "3") as server:
        outcome = await load_test(server.url, tmp_path, *LOAD, "--talk-time", "4", "--drain", "20")
    assert {name: outcome.count(name) for name in FAULTS} == dict.fromkeys(FAULTS, 0)
    assert outcome.count("delivered") == server.counts["deliveries"]
    assert outcome.report["duration_s"] < 15, "nothing was missing, so that nobody had to wait for the drain's end"


async def test_a_gate_that_fails_is_exit_code_1_and_named(tmp_path: Path) -> None:
    with planted("--drop", "0.01") as server:
        outcome = await load_test(server.url, tmp_path, *LOAD, "--gate", "lost==0", "--gate", "duplicates==0")
    assert f"FAILED  lost==0        lost = {server.counts['drop']}" in outcome.output
    assert "PASSED  duplicates==0  duplicates = 0" in outcome.output
    assert outcome.exit_code == (1 if outcome.report["verdict"]["valid"] else 2)


def delayed(fanout: dict[str, Any]) -> int:
    """Deliveries that took about as long as planted delays, or longer."""
    return sum(count for lowest_us, _, count in fanout["histogram"] if lowest_us >= DELAYED_US)
