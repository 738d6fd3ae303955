"""What a measurement is told, and what it tells: plain data, as JSON between the bench and its load client."""

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from ..proc import CpuShares


@dataclass(frozen=True, slots=True)
class Target:
    """The server under load, and the processes whose CPU time is read."""

    port: int
    server_pid: int
    redis_pid: int


@dataclass(frozen=True, slots=True)
class Order:
    """What one load client has to do: `kind` is one of `KINDS` in `__main__.py`, `lines` what it measures."""

    kind: str
    lines: tuple[str, ...]
    target: Target
    members: int
    warm_up_s: float
    measure_s: float
    in_flight: int = 100  # connections or joins under way at a time
    rate_per_s: float = 0.0
    rooms: int = 0
    must_drain: bool = True  # whether all that was sent must have come before a line ends

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Order":
        """The order in a JSON object."""
        return cls(**data | {"lines": tuple(data["lines"]), "target": Target(**data["target"])})


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one line: name -> figure, the units in the names.

    `cut`: not everything that was sent had come when it was given up.
    """

    line: str
    figures: dict[str, float]
    cpu: CpuShares | None
    cut: bool = False


def percentile(ordered: list[int], share: float) -> float:
    """The value below which `share` of the values lie, nearest rank. Raises ValueError for none."""
    if not ordered:
        raise ValueError("no samples")
    return float(ordered[max(0, ceil(len(ordered) * share) - 1)])


def latencies_ms(samples_ns: list[int]) -> dict[str, float]:
    """p50 and p99 in ms."""
    ordered = sorted(samples_ns)
    return {
        "p50_ms": round(percentile(ordered, 0.50) / 1e6, 4),
        "p99_ms": round(percentile(ordered, 0.99) / 1e6, 4),
        "deliveries": len(ordered),
    }
