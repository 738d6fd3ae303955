"""Looks for the highest rate of messages that a cluster keeps up with, by runs of a few seconds each.

The rate doubles until a run misses the target, and is then narrowed down between the last two. A run whose
generator was the bottleneck says nothing about the cluster: it is made once more, and then a limit as well, and
named as such.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

FIRST_DELIVERIES_S = 2_000.0
NARROWINGS = 2
RUNS_MAX = 14


@dataclass(frozen=True, slots=True)
class Load:
    """What a run is given. `rate`: messages/s in each room."""

    nodes: int
    rooms: int
    members: int  # of each room
    rate: float

    @property
    def connections(self) -> int:
        """All rooms together."""
        return self.rooms * self.members

    @property
    def deliveries_s(self) -> float:
        """That the cluster is asked for."""
        return self.rate * self.rooms * self.members

    def at(self, rate: float) -> "Load":
        """The same at another rate."""
        return Load(self.nodes, self.rooms, self.members, rate)


@dataclass(frozen=True, slots=True)
class Probe:
    """What a run showed. `p99_us` is of the fan-out; `node_cpu` the share of a core of the busiest node.

    `rss_bytes` is the memory of all nodes together, before anybody connected and at the end; `absent` users never
    got into their room.
    """

    load: Load
    p50_us: int | None
    p99_us: int | None
    lost: int
    valid: bool
    why: str
    node_cpu: float | None
    rss_bytes: tuple[int, int] | None
    absent: int = 0

    def keeps(self, target_us: int) -> bool:
        """Whether everybody was there, and everything came, and in time."""
        return (
            self.valid
            and not self.absent
            and not self.lost
            and self.p99_us is not None
            and self.p99_us <= target_us
        )


@dataclass(frozen=True, slots=True)
class Capacity:
    """The outcome for one shape of load. `best`: the fastest run that kept the target; None where none did."""

    shape: Load
    probes: tuple[Probe, ...]
    best: Probe | None
    limit: str  # what ended the search


def search(shape: Load, target_us: int, run: Callable[[Load], Probe], *, runs_max: int = RUNS_MAX) -> Capacity:
    """The highest rate; `run` makes a run of it. `shape.rate` does not matter."""
    probes: list[Probe] = []
    best: Probe | None = None
    limit = f"the number of runs, {runs_max}"
    for rate in islice(_rates(shape, probes, target_us), runs_max):
        probe = run(shape.at(rate))
        if not probe.valid and not probe.absent:  # in so short a run one hiccup of the machine may be the p99
            probe = run(shape.at(rate))
        probes.append(probe)
        if probe.keeps(target_us):
            best = probe
        elif probe.absent:
            limit = f"{probe.absent:,} users who could not connect"
        elif not probe.valid:
            limit = "the generator"
        elif len(probes) == 1 or probe.lost:
            missed = "the target, missed at the lowest rate tried"
            limit = f"{probe.lost:,} deliveries lost" if probe.lost else missed
        else:
            limit = "the target"
    return Capacity(shape, tuple(probes), best, limit)


def _rates(shape: Load, probes: list[Probe], target_us: int) -> Iterator[float]:
    """The next rate to try, by what became of those before."""
    rate = FIRST_DELIVERIES_S / shape.connections
    yield rate
    while probes[-1].keeps(target_us):
        rate *= 2
        yield rate
    low, high = rate / 2, rate
    for _ in range(NARROWINGS if len(probes) > 1 else 0):
        rate = (low * high) ** 0.5
        yield rate
        low, high = (rate, high) if probes[-1].keeps(target_us) else (low, rate)
