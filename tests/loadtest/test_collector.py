"""What the master makes of the parts that its generators send."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gevent
import pytest

from loadtest.collector import Collector
from loadtest.exit_codes import INVALID, NOTHING
from loadtest.measure.figures import Figures
from loadtest.measure.ledger import Ledger
from loadtest.message import Message
from loadtest.options import Options

from .test_options import given

ROOM = "run-0"


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """Of a run of two generators."""
    options = Options(**asdict(Options.of(given())) | {"report": str(tmp_path), "server_processes": ""})
    made = Collector(options, "http://127.0.0.1:9")
    made.start("broadcast", ["a", "b"], options, "http://127.0.0.1:9")
    yield made
    gevent.killall(made._loops)


def parts(error_s: float = 0.0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a receiver, who entered at 10 s and hears nothing, and of a sender, who sent 6 ms later."""
    receiver, sender = Ledger(), Ledger()
    receiver.entered(ROOM, "p0", 10.0)
    message = Message(1_000_000, 0, 0).id
    sender.sent(ROOM, message, 10.006)
    sender.acknowledged(ROOM, message, 10.007)
    found = [{"ledger": each.settle(100.0), "clock_error_s": error_s} for each in (receiver, sender)]
    return found[0], found[1]


def final(error_s: float = 0.0, users: int = 5, joined: int = 5) -> dict[str, Any]:
    figures = Figures(0.0)
    figures.counters.update(users=users, joined=joined)
    figures.connect.record(1000)
    return {
        "ledger": Ledger().to_wire(),
        "clock_error_s": error_s,
        "figures": figures.to_wire(3.0, final=True),
    }


def end(collector: Collector, **how: Any) -> dict[str, int]:
    for worker in "ab":
        collector.take_final(worker, final(**how))
    collector.end([])
    assert collector.results is not None
    return dict(collector.results.counters)


@pytest.mark.parametrize(("error_s", "lost"), [(0.0, 1), (0.002, 1), (0.004, 0)])
def test_settled_parts_are_judged_by_what_both_clocks_may_be_wrong(
    collector: Collector, error_s: float, lost: int
) -> None:
    for worker, part in zip("ab", parts(error_s), strict=True):
        collector.take_settled(worker, 100.0, part)
    assert end(collector, error_s=error_s)["lost"] == lost
    assert collector.results is not None
    assert (collector.results.clock_error_us or 0) == pytest.approx(2 * error_s * 1e6)


def test_who_is_gone_is_not_waited_for_and_the_run_is_invalid(collector: Collector) -> None:
    for worker in "ab":
        collector.take(worker, final(users=5, joined=5)["figures"])
    receiver, sender = parts()
    collector.take_settled("a", 100.0, receiver)
    collector.lose("b")
    collector.take_settled("b", 100.0, sender)
    for number in range(5):
        collector.take_settled("a", 200.0 + number, parts()[0])
    assert not collector._settled
    collector.take_final("a", final())
    collector.end(["b"])
    assert collector.results is not None
    assert collector.results.counters["lost"] == 0
    assert collector.judge() == INVALID


def test_who_is_gone_has_no_connections_and_holds_no_progress_up(collector: Collector) -> None:
    for worker, last_s in (("a", 5.0), ("b", 2.0)):
        figures = Figures(0.0)
        figures.connections = 3
        figures.roll(0.0)
        collector.take(worker, figures.to_wire(last_s))
    assert collector.progress().startswith("1 s: 6 connected")
    collector.lose("b")
    assert collector.progress().startswith("4 s: 3 connected")
    assert [each.connections for each in collector._collected.moments()] == [6, 6, 3, 3, 3]


def test_what_is_missing_is_asked_for_at_the_end(collector: Collector) -> None:
    receiver, sender = parts()
    assert collector.misses_any([receiver, sender])
    assert not collector.misses_any([receiver])


@pytest.mark.parametrize(("joined", "exit_code"), [(5, 0), (3, INVALID), (0, NOTHING)])
def test_a_run_that_not_all_joined_is_invalid_and_one_that_nobody_joined_is_nothing(
    collector: Collector, joined: int, exit_code: int
) -> None:
    end(collector, joined=joined)
    assert collector.judge() == exit_code


def test_progress_says_how_many_have_joined(collector: Collector) -> None:
    for worker in "ab":
        collector.take(worker, final(users=250, joined=240)["figures"])
    assert "(20 of 500 users have not joined yet)" in collector.progress()
    for worker in "ab":
        figures = Figures(0.0)
        figures.counters.update(users=250, joined=250)
        figures.to_wire(3.0)
        collector.take(worker, figures.to_wire(4.0))
    assert "joined" not in collector.progress()


def test_a_run_that_is_refused_says_why_and_escapes_it(collector: Collector) -> None:
    collector.refuse("rate: expected a number, got '<b>'")
    assert "got &#x27;&lt;b&gt;&#x27;" in collector.report()
