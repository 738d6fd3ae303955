"""What a run ended with: frozen, for the report and the gates. `collected.py` makes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .histogram import Histogram
from .totals import COUNTS, Totals
from .verdict import Verdict, WorkerHealth

# name -> what it measures. Never mixed: each is a distribution of its own.
HISTOGRAM_NAMES = {
    "connect": "from the first attempt to connect until it is in its room, or until the end of who never was",
    "reconnect": "from losing a connection until it is back in its room, or the end; the client's own pause too",
    "ack": "from the intended sending until the server's acknowledgement",
    "fanout": "from the intended sending until a receiver has it, each receiver counted",
    "last_receiver": "from the intended sending until the last receiver has it",
    "send_lateness": "how much later than intended the generator sent",
    "loop_lag": "how late the generator's own loop came to a timer while it sent or received, or else connected",
}
# name -> what it counts.
COUNTER_NAMES = {
    "users": "users that were started",
    "joined": "of these, the ones that were ever in their room",
    "sent": "messages sent",
    "not_sent": "messages that were due while their sender had no connection",
    "acknowledged": "messages that the server acknowledged",
    "refused": "messages that the server refused",
    "unknown": "messages that were never answered",
    "deliveries": "messages received, all receivers together",
    "expected": "deliveries that had to come: each acknowledged message, to each member who was there",
    "delivered": "expected deliveries that came",
    "lost": "expected deliveries that never came",
    "duplicates": "deliveries that came again",
    "order_violations": "deliveries out of the order that most members saw",
    "unexpected": "deliveries that must not have come",
    "connections_lost": "connections that broke",
    "reconnects": "of these, the ones that came back",
    "recoveries": "of these, with everything they missed",
    "recoveries_refused": "of these, without",
    "connect_failures": "attempts to connect that failed",
    "bytes_in": "bytes received",
    "bytes_out": "bytes sent",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One second of the run, all processes together. Latencies in µs, None where nothing was delivered."""

    second: int
    deliveries: int
    sends: int
    connections: int
    bytes_in: int
    bytes_out: int
    p50_us: int | None = None
    p90_us: int | None = None
    p99_us: int | None = None
    max_us: int | None = None
    cpu_max: float | None = None  # share of a core of the busiest process
    lag_max_us: int = 0


@dataclass(frozen=True, slots=True)
class ServerSecond:
    """One server process in one second."""

    second: float
    cpu: float  # share of one core
    rss_bytes: int


@dataclass(frozen=True)
class Results:
    """All of it. `histograms` has every name of HISTOGRAM_NAMES, `counters` every one of COUNTER_NAMES."""

    scenario: str
    started: str  # date and time, for people
    duration_s: float
    parameters: Mapping[str, str | int | float | bool | None]
    environment: Mapping[str, str]
    histograms: Mapping[str, Histogram]
    fanout_by_node: Mapping[str, Histogram]
    counters: Mapping[str, int]
    errors: Mapping[str, int]
    moments: Sequence[Moment]
    workers: Sequence[WorkerHealth]
    verdict: Verdict
    servers: Mapping[str, Sequence[ServerSecond]] = field(default_factory=dict)
    examples: Sequence[str] = ()  # what was lost, doubled or unexpected, in words
    clock_error_us: float | None = None  # between generator machines; None where there is one clock
    notes: Sequence[str] = ()

    @property
    def deliveries_per_s(self) -> float:
        """Over the whole seconds between the first delivery and the last."""
        return self._rate([moment.deliveries for moment in self.moments])

    @property
    def sends_per_s(self) -> float:
        """Over the whole seconds between the first send and the last."""
        return self._rate([moment.sends for moment in self.moments])

    @property
    def connections_max(self) -> int:
        """The most at the end of any second."""
        return max((moment.connections for moment in self.moments), default=0)

    @staticmethod
    def _rate(by_second: Sequence[int]) -> float:
        """The first and the last of these seconds are hardly ever whole."""
        busy = [index for index, count in enumerate(by_second) if count] or [0]
        whole = by_second[busy[0] + 1 : busy[-1]] or by_second[busy[0] : busy[-1] + 1]
        return sum(whole) / max(1, len(whole))


def all_counters(generators: Mapping[str, int], totals: Totals | None) -> dict[str, int]:
    """Every counter by name, 0 where there is none; the ledgers' counts go before the generators'."""
    judged = {name: getattr(totals, name) for name in COUNTS} if totals else {}
    return {name: judged.get(name, generators.get(name, 0)) for name in COUNTER_NAMES}
