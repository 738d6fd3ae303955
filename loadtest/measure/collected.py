"""At the master: what the generator processes reported, merged into `Results`, and the latest second meanwhile."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .figures import HISTOGRAMS, SecondRow
from .histogram import Histogram
from .results import HISTOGRAM_NAMES, Moment, Results, ServerSecond, all_counters
from .totals import Totals
from .verdict import HealthSecond, WorkerHealth, verdict_on

# A second's latencies of all processes are kept as a histogram for so long, then only as percentiles.
OPEN_S = 60
SERIES_PERCENTILES = (50, 90, 99, 100)

Percentiles = Sequence[int | None]


class Collected:
    """Reports may come twice, out of turn, or not at all: each is the state so far."""

    def __init__(self) -> None:
        self._latest: dict[str, Mapping[str, Any]] = {}  # worker -> its newest report
        self._rows: dict[str, dict[int, SecondRow]] = {}  # worker -> second -> row, without latencies
        self._open: dict[int, Histogram] = {}  # second -> fan-out of all
        self._closed: dict[int, Percentiles] = {}
        self._came_late = 0
        self._gone: set[str] = set()

    def add(self, worker: str, wire: Mapping[str, Any]) -> None:
        """A report of `Figures.to_wire`; `worker` names the process, the same each time."""
        known = self._latest.get(worker)
        if known is None or wire["report"] > known["report"]:
            self._latest[worker] = wire
        rows = self._rows.setdefault(worker, {})
        for columns in wire["rows"]:
            row = SecondRow(*columns)
            if row.second not in rows:
                rows[row.second] = row
                self._add_fanout(row)
        newest = max(self._open, default=0)
        for second in [each for each in self._open if each < newest - OPEN_S]:
            self._closed[second] = self._open.pop(second).percentiles(SERIES_PERCENTILES)

    def lose(self, worker: str) -> None:
        """A process is gone: behind its last second it has no connections."""
        self._gone.add(worker)

    def _add_fanout(self, row: SecondRow) -> None:
        if row.second in self._closed:
            self._came_late += 1
        elif row.fanout:
            self._open.setdefault(row.second, Histogram()).merge(Histogram.from_wire(row.fanout))
        row.fanout = {}

    @property
    def workers(self) -> list[str]:
        """The names of those that ever reported."""
        return sorted(self._latest)

    def counters(self) -> Counter[str]:
        """The generators' counts so far, all together."""
        together: Counter[str] = Counter()
        for wire in self._latest.values():
            together.update(wire["counters"])
        return together

    def errors(self) -> Counter[str]:
        """Text -> how often, all together."""
        together: Counter[str] = Counter()
        for wire in self._latest.values():
            together.update(wire["errors"])
        return together

    def histogram(self, name: str) -> Histogram:
        """`connect`, `ack`, `send_lateness`, `loop_lag` or `fanout` so far. KeyError for others."""
        if name == "fanout":
            return Histogram.merged(self.fanout_by_node().values())
        return Histogram.merged(Histogram.from_wire(wire["histograms"][name]) for wire in self._latest.values())

    def fanout_by_node(self) -> dict[str, Histogram]:
        """Node of the receiver -> fan-out so far."""
        together: dict[str, Histogram] = {}
        for wire in self._latest.values():
            for node_id, each in wire["fanout_by_node"].items():
                together.setdefault(node_id, Histogram()).merge(Histogram.from_wire(each))
        return dict(sorted(together.items()))

    def latest(self) -> Moment | None:
        """The newest second that all processes have reported, for a progress line; None before there is one."""
        there = [rows for worker, rows in self._rows.items() if worker not in self._gone]
        return self._moment(min(map(max, there))) if there and all(there) else None

    def moments(self) -> list[Moment]:
        """Every second of the run that anybody reported."""
        seconds = {second for rows in self._rows.values() for second in rows}
        return [self._moment(second) for second in range(min(seconds), max(seconds) + 1)] if seconds else []

    def _moment(self, second: int) -> Moment:
        rows = [rows[second] for rows in self._rows.values() if second in rows]
        opened = self._open.get(second)
        p50, p90, p99, highest = (
            opened.percentiles(SERIES_PERCENTILES) if opened else self._closed.get(second, (None,) * 4)
        )
        return Moment(
            second,
            deliveries=sum(row.deliveries for row in rows),
            sends=sum(row.sends for row in rows),
            connections=sum(self._level(worker, second) for worker in self._rows),
            bytes_in=sum(row.bytes_in for row in rows),
            bytes_out=sum(row.bytes_out for row in rows),
            p50_us=p50,
            p90_us=p90,
            p99_us=p99,
            max_us=highest,
            cpu_max=max((row.cpu for row in rows if row.cpu is not None), default=None),
            lag_max_us=max((row.lag_max_us for row in rows), default=0),
        )

    def _level(self, worker: str, second: int) -> int:
        """A process's connections in a second, or in the last one before that it reported."""
        rows = self._rows[worker]
        if worker in self._gone and second not in rows:
            return 0
        while second not in rows and second >= 0:
            second -= 1
        return rows[second].connections if second in rows else 0

    def health(self, silent: Sequence[str] = (), late: Sequence[str] = ()) -> list[WorkerHealth]:
        """Each process, as the verdict looks at it; of `silent` ones no last report came, perhaps none at all."""
        known = [
            replace(each, late=each.name in late, finished=each.finished and each.name not in silent)
            for each in map(self._health, self.workers)
        ]
        gone = [worker for worker in silent if worker not in self._latest]
        return known + [WorkerHealth(worker, (), Histogram(), Histogram(), finished=False) for worker in gone]

    def _health(self, worker: str) -> WorkerHealth:
        wire = self._latest[worker]
        lag, lateness = (Histogram.from_wire(wire["histograms"][name]) for name in ("loop_lag", "send_lateness"))
        rows = [self._rows[worker][second] for second in sorted(self._rows[worker])]
        seconds = [
            HealthSecond(
                row.second,
                row.cpu,
                row.wait,
                row.lag_max_us,
                row.lateness_max_us,
                row.deliveries,
                row.sends,
                row.connects,
            )
            for row in rows
        ]
        return WorkerHealth(worker, seconds, lag, lateness, bool(wire["final"]))

    def results(
        self,
        *,
        scenario: str,
        started: str,
        duration_s: float,
        totals: Totals | None,
        parameters: Mapping[str, str | int | float | bool | None],
        environment: Mapping[str, str],
        servers: Mapping[str, Sequence[ServerSecond]] | None = None,
        clock_error_us: float | None = None,
        notes: Sequence[str] = (),
        silent: Sequence[str] = (),
        late: Sequence[str] = (),
        running: bool = False,
    ) -> Results:
        """The end of the run. `totals` of `judge`; None where no ledger was kept.

        `running`: a look at it meanwhile, in which no last report is missed. `silent` and `late` of `health`.
        """
        histograms = {name: self.histogram(name) for name in (*HISTOGRAMS, "fanout")}
        histograms["last_receiver"] = totals.last_receiver if totals else Histogram()
        workers = [replace(each, finished=each.finished or running) for each in self.health(silent, late)]
        measured = any(histograms[name].count for name in ("connect", "ack", "fanout"))
        counters = all_counters(self.counters(), totals)
        unplotted = [f"{self._came_late} seconds of a worker came too late for the plot."] * bool(self._came_late)
        return Results(
            scenario,
            started,
            duration_s,
            dict(parameters),
            dict(environment),
            {name: histograms[name] for name in HISTOGRAM_NAMES},
            self.fanout_by_node(),
            counters,
            dict(self.errors().most_common()),
            self.moments(),
            workers,
            verdict_on(
                workers,
                histograms["fanout"],
                None if running else counters,
                measured=measured,
                connecting=Histogram.merged([histograms["connect"], histograms["reconnect"]]),
            ),
            dict(servers or {}),
            totals.examples if totals else (),
            clock_error_us,
            [*notes, *unplotted],
        )
