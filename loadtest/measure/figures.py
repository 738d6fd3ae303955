"""What one generator process measures, each under its own name, never mixed: histograms, counters, seconds.

`to_wire()` is the state so far, not the difference: a report that is lost or comes twice changes nothing. The
rows of seconds are complete when they are sent, and are sent several times. `collected.py` merges all processes.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .histogram import Histogram
from .own_cpu import OwnCpu

WIRE_VERSION = 1
# Counted by a generator. The rest of what a run counts is judged from its ledgers (`totals.py`).
COUNTERS = (
    *("users", "joined", "sent", "not_sent", "acknowledged", "refused", "unknown", "deliveries"),
    *("connections_lost", "reconnects", "recoveries", "recoveries_refused", "connect_failures"),
    *("bytes_in", "bytes_out"),
)
# Recorded by a generator; `fanout` by the node of the receiver, `last_receiver` is judged from the ledgers.
HISTOGRAMS = ("connect", "reconnect", "ack", "send_lateness", "loop_lag")
# So many reports of 3 s may be lost in a row.
ROWS_REPEATED_S = 15
# More kinds of errors than these are counted together: a text with an id in it must not fill the memory.
ERRORS_MAX = 50
ERROR_LENGTH_MAX = 300
OTHER_ERRORS = "(other errors)"
# So many nodes have a fan-out of their own. Other servers than this kit do not name theirs: every connection looks
# like a node.
LANES_MAX = 64
OTHER_NODES = "(others)"


@dataclass(slots=True)
class SecondRow:
    """One second of one process. `connections` is the level at its end."""

    second: int
    deliveries: int = 0
    sends: int = 0
    connections: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    cpu: float | None = None  # share of a core
    wait: float | None = None  # share of the time that it was ready and had none
    lag_max_us: int = 0
    lateness_max_us: int = 0
    fanout: dict[str, Any] = field(default_factory=dict)  # Histogram.to_wire()
    connects: int = 0  # who came, or came back

    def to_wire(self) -> list[Any]:
        """In the order of the fields."""
        return [getattr(self, name) for name in self.__slots__]


class Figures:
    """Times are seconds of the master's clock, latencies µs. Second 0 begins at `started_s`.

    `look` is called before a second is completed, whoever completes it: it puts `connections` and the counters of
    bytes to what they are now. The caller compares `rolls_at_s` with the time now and again, at least with
    everything that is received, and calls `roll` when it has passed.
    """

    def __init__(
        self, started_s: float, *, own_cpu: OwnCpu | None = None, look: Callable[[], None] | None = None
    ) -> None:
        self.connect = Histogram()
        self.reconnect = Histogram()
        self.ack = Histogram()
        self.send_lateness = Histogram()
        self._lag_of_load = Histogram()  # of the seconds with load: when nothing is measured, it distorts nothing
        self._lag_of_connects = Histogram()  # of those in which somebody came
        self._lag = Histogram()  # of the second that runs
        self.counters: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.connections = 0
        self._connects = 0  # when this second began
        self.rolls_at_s = started_s
        self._started_s = started_s
        self._own_cpu = own_cpu
        self._look = look
        self._lanes: dict[str, Histogram] = {}  # node of the receiver -> fan-out in the second that runs
        self._by_node: dict[str, Histogram] = {}  # and in those before
        self._row = SecondRow(-1)
        self._rows: list[SecondRow] = []  # complete, the newest at the end
        self._counted: Counter[str] = Counter()  # the counters when this second began
        self._reported_second = -1
        self._reports = 0

    def lane(self, node_id: str) -> Histogram:
        """Where deliveries to connections of a node are recorded: call its `record_many` for each read."""
        lane = self._lanes.get(node_id)
        if lane is None:
            if len(self._lanes) >= LANES_MAX and node_id != OTHER_NODES:
                return self.lane(OTHER_NODES)
            lane = self._lanes[node_id] = Histogram()
            self._by_node[node_id] = Histogram()
        return lane

    def late(self, lateness_us: int) -> None:
        """A send left so much later than intended."""
        self.send_lateness.record(lateness_us)
        if lateness_us > self._row.lateness_max_us:
            self._row.lateness_max_us = lateness_us

    def lagged(self, lag_us: int, interval_us: int) -> None:
        """The loop came so much too late to a timer of that interval."""
        self._lag.record_stall(lag_us, interval_us)
        if lag_us > self._row.lag_max_us:
            self._row.lag_max_us = lag_us

    def failed(self, text: str) -> None:
        """An error, in words that are the same for the same cause."""
        text = text[:ERROR_LENGTH_MAX]
        is_new = text not in self.errors
        self.errors[OTHER_ERRORS if is_new and len(self.errors) >= ERRORS_MAX else text] += 1

    def roll(self, now_s: float) -> None:
        """Complete the seconds that are over; those in which the process stood still have rows too."""
        now = math.floor(now_s - self._started_s)
        if now <= self._row.second:
            return
        if self._look is not None:
            self._look()
        self._complete()
        used, waited = self._own_cpu.sample() if self._own_cpu else (None, None)
        stood_still = [SecondRow(second) for second in range(self._row.second + 1, now)]
        for row in [self._row, *stood_still]:
            row.connections, row.cpu, row.wait = self.connections, used, waited
        self._rows += [row for row in [self._row, *stood_still] if row.second >= 0]
        self._row = SecondRow(now)
        self.rolls_at_s = self._started_s + now + 1
        kept_from = min(now - ROWS_REPEATED_S, self._reported_second)
        self._rows = [row for row in self._rows if row.second >= kept_from]

    def _complete(self) -> None:
        row = self._row
        together = Histogram()
        for node_id, lane in self._lanes.items():
            together.merge(lane)
            self._by_node[node_id].merge(lane)
            lane.clear()
        row.deliveries = together.count
        row.fanout = together.to_wire()
        self.counters["deliveries"] += row.deliveries
        gone = self.counters - self._counted
        row.sends, row.bytes_in, row.bytes_out = gone["sent"], gone["bytes_in"], gone["bytes_out"]
        self._counted = self.counters.copy()
        connects = self.connect.count + self.reconnect.count
        row.connects, self._connects = connects - self._connects, connects
        if row.deliveries or row.sends:
            self._lag_of_load.merge(self._lag)
        elif row.connects:
            self._lag_of_connects.merge(self._lag)
        self._lag.clear()

    @property
    def loop_lag(self) -> Histogram:
        """Of the seconds with messages; where there are none at all, of those in which somebody connected."""
        return self._lag_of_load if self._lag_of_load.count else self._lag_of_connects

    def to_wire(self, now_s: float, *, final: bool = False) -> dict[str, Any]:
        """Plain values; with `final`, the second that runs is complete too, and nothing may be recorded after."""
        self.roll(now_s)
        if final:
            self.roll(self.rolls_at_s)
        self._reports += 1
        since = min(self._reported_second, self._row.second - ROWS_REPEATED_S)
        rows = [row for row in self._rows if row.second >= since]
        self._reported_second = max(self._reported_second, self._row.second)
        return {
            "version": WIRE_VERSION,
            "report": self._reports,
            "final": final,
            "histograms": {name: getattr(self, name).to_wire() for name in HISTOGRAMS},
            "fanout_by_node": {node_id: each.to_wire() for node_id, each in self._by_node.items()},
            "counters": dict(self.counters),
            "errors": dict(self.errors),
            "rows": [row.to_wire() for row in rows],
        }
