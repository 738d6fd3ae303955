"""`python -m loadtest.report.demo OUT_DIR`: made-up runs, to look at what a report looks like. Always the same.

Nothing is measured here. One folder each: `good`, `gate` (one node is slow, a gate fails), `invalid` (the
generators are squeezed), `empty` (nobody could connect).
"""

import math
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadtest.measure.collected import Collected
from loadtest.measure.figures import Figures
from loadtest.measure.results import Results, ServerSecond
from loadtest.measure.totals import Totals

from .folder import write
from .gates import evaluate, parse

GATES = ("fanout.p99<=50ms", "lost==0", "delivered==expected", "duplicates==0", "order_violations==0")
MEMBERS = 500
MESSAGES_PER_S = 20
SECONDS = 60
RAMP_S = 8
WORKERS = ("worker-1", "worker-2")
NODES = ("n1-a7f3", "n2-c04e", "n3-91bd")
# Server process -> its share of a core and its memory in MB.
SERVERS = {
    NODES[0]: (0.17, 61),
    NODES[1]: (0.21, 64),
    NODES[2]: (0.19, 62),
    "redis": (0.06, 14),
    "nginx": (0.09, 22),
}


@dataclass(frozen=True)
class Story:
    """What goes wrong in the run."""

    slow_node: str | None = None
    squeezed: bool = False
    seconds: int = SECONDS


def demo_results(story: Story, seed: int = 7) -> Results:
    """A run of `broadcast`, made up from a seed."""
    chance = random.Random(seed)
    collected = Collected()
    for name in WORKERS:
        figures = Figures(0.0)
        for second in range(story.seconds):
            figures.roll(second + 0.01)
            _second(figures, chance, second, story)
            if second % 3 == 2:
                collected.add(name, _with_cpu(figures.to_wire(second + 0.99), chance, story))
        figures.connections = 0
        collected.add(name, _with_cpu(figures.to_wire(story.seconds - 0.01, final=True), chance, story))
    return collected.results(
        scenario="broadcast",
        started="2026-03-14 15:09:26 UTC",
        duration_s=float(story.seconds),
        totals=_totals(collected.counters(), chance, story),
        parameters={"members": MEMBERS, "rooms": 1, "rate": MESSAGES_PER_S, "sending": "open loop"},
        environment={"Python": "3.11", "machine": "2 cores", "url": "http://127.0.0.1:8080"},
        servers={name: _server(chance, story.seconds, *usual) for name, usual in SERVERS.items()},
        clock_error_us=180.0,
    )


def _second(figures: Figures, chance: random.Random, second: int, story: Story) -> None:
    """What one process does in a second."""
    joined = int(MEMBERS / len(WORKERS) * min(1.0, (second + 1) / RAMP_S))
    for _ in range(joined - figures.connections):
        figures.connect.record(int(chance.lognormvariate(math.log(14_000), 0.5)))
        figures.counters.update(users=1, joined=1)
    figures.connections = joined
    if second == 9:
        figures.reconnect.record(1_200_000)
        figures.counters.update(connections_lost=1, reconnects=1, recoveries=1)
    sends = MESSAGES_PER_S // len(WORKERS)
    for _ in range(sends):
        figures.ack.record(int(chance.lognormvariate(math.log(2_400), 0.4)))
        figures.late(int(chance.expovariate(1 / (30_000 if story.squeezed else 400))))
    waves = 1 + 0.25 * math.sin(second / 5) + (2.5 if second == 41 else 0)
    for node_id in NODES:
        slower = 22.0 if node_id == story.slow_node and second > 20 else 9.0 if story.squeezed else 1.0
        lane = figures.lane(node_id)
        for _ in range(MESSAGES_PER_S * joined // len(NODES)):
            lane.record(int(chance.lognormvariate(math.log(3_800 * waves), 0.38) * slower))
    for _ in range(50):
        figures.lagged(int(chance.expovariate(1 / (24_000 if story.squeezed else 500))), 20_000)
    figures.counters.update(sent=sends, acknowledged=sends, bytes_in=sends * joined * 300, bytes_out=sends * 90)
    if story.slow_node and second in (24, 25):
        figures.failed("no acknowledgement within 5 s: <b>a hostile</b> | `nickname`")


def _with_cpu(wire: dict[str, Any], chance: random.Random, story: Story) -> Mapping[str, Any]:
    """With the shares of a core that a real process would have noted."""
    for row in wire["rows"]:
        row[6] = chance.uniform(0.11, 0.14) if story.squeezed else chance.uniform(0.28, 0.36)
        row[7] = chance.uniform(0.84, 0.88) if story.squeezed else chance.uniform(0.0, 0.03)
    return wire


def _totals(counted: Mapping[str, int], chance: random.Random, story: Story) -> Totals:
    totals = Totals(sent=counted["sent"], acknowledged=counted["acknowledged"])
    totals.expected = totals.delivered = counted["deliveries"]
    slower = 14 if story.slow_node or story.squeezed else 1
    for _ in range(totals.sent):
        totals.last_receiver.record(int(chance.lognormvariate(math.log(9_000), 0.3)) * slower)
    if story.slow_node:
        totals.lost, totals.duplicates = 37, 4
        totals.delivered -= totals.lost
        totals.examples += [
            f"lost: message {n}.{n * 3} at member {n * 7} in room demo, sent at {n}.2 s" for n in range(5)
        ]
    return totals


def _server(chance: random.Random, seconds: int, cpu: float, memory_mb: int) -> list[ServerSecond]:
    levels = [min(1.0, (second + 1) / RAMP_S) for second in range(seconds)]
    return [
        ServerSecond(second, cpu * level * chance.uniform(0.85, 1.2), int(memory_mb * (0.7 + 0.3 * level) * 1e6))
        for second, level in enumerate(levels)
    ]


def empty_results() -> Results:
    """A run in which nobody could connect."""
    figures = Figures(0.0)
    for _ in range(12):
        figures.failed("connection refused: http://127.0.0.1:8080")
    figures.counters.update(users=12, connect_failures=12)
    collected = Collected()
    collected.add(WORKERS[0], figures.to_wire(1.0, final=True))
    made = collected.results(
        scenario="broadcast",
        started="2026-03-14 15:09:26 UTC",
        duration_s=1.0,
        totals=Totals(),
        parameters={},
        environment={},
    )
    return replace(made, notes=["Stopped early: nobody could connect."])


def main(arguments: Sequence[str]) -> int:
    """Write all of them; 2 without a folder."""
    if len(arguments) != 1:
        print("usage: python -m loadtest.report.demo OUT_DIR", file=sys.stderr)
        return 2
    runs = {
        "good": demo_results(Story()),
        "gate": demo_results(Story(slow_node=NODES[1])),
        "invalid": demo_results(Story(squeezed=True)),
        "empty": empty_results(),
    }
    for name, results in runs.items():
        written = write(Path(arguments[0]) / name, results, evaluate(results, map(parse, GATES)))
        print(written.html)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
