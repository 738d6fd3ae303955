"""What the master makes of a run: it takes the generators' figures, shows progress, judges, and reports."""

import logging
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gevent
from gevent.pool import Group

from .breath import Breath
from .clock import apart_s
from .exit_codes import GATE_FAILED, INVALID, NOTHING
from .measure.collected import Collected
from .measure.judging import judge
from .measure.results import Results
from .measure.totals import Totals
from .message import worker_of
from .options import Options
from .progress import progress_line
from .report.folder import write
from .report.gates import Outcome, evaluate, parse, table
from .report.html_file import html
from .report.summary import summary
from .servers import Servers

logger = logging.getLogger(__name__)

PROGRESS_EVERY_S = 5.0
MICRO = 1_000_000
PACKAGES = ("locust", "gevent", "orjson")


class Collector:
    """`start`, `begin`, `take` and `take_final` while it runs, then `end`, `judge` and `say`."""

    def __init__(self, options: Options, host: str) -> None:
        self._options = options
        self._host = host
        self.started = False
        self._refusal = ""
        self.results: Results | None = None
        self.outcomes: Sequence[Outcome] = ()

    # --- while it runs -------------------------------------------------------------------------------------

    def start(self, scenario: str, workers: Sequence[str], options: Options, host: str) -> None:
        """A run begins, of those workers."""
        self._options, self._host = options, host
        self.started = True
        self.results = None
        self._scenario = scenario
        self._workers = list(workers)
        self._late: list[str] = []
        self._gone: set[str] = set()
        self._silent: Sequence[str] = ()
        self._notes: list[str] = []
        self._collected = Collected()
        self._finals: dict[str, dict[str, Any]] = {}
        self._settled: dict[float, dict[str, dict[str, Any]]] = {}  # before_s -> worker -> its part
        self._judging = Group()
        self._totals = Totals()  # of what every worker has settled
        self._started_s = time.monotonic()
        self._started = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
        self._users = 0
        self._servers = Servers(options.server_processes)
        self._loops = [gevent.spawn(self._watch_servers), gevent.spawn(self._show_progress)]

    def refuse(self, why: str) -> None:
        """A run does not begin."""
        self.started, self._refusal = False, why

    def begin(self, users: int, joined: int) -> None:
        """Everybody sends from now on; so many had joined their room by then."""
        self._users = users
        if joined < users:
            self._notes.append(f"{users - joined} of {users} users had not joined their room when sending began.")
            logger.warning(self._notes[-1])

    def join_late(self, worker: str) -> None:
        """A generator that came when the run had begun."""
        self._workers.append(worker)
        self._late.append(worker)

    def lose(self, worker: str) -> None:
        """A generator is gone, for good: what it settles is not waited for, nor taken, any more."""
        if worker not in self._gone:
            logger.error("worker %s is gone; the run is not valid", worker)
            self._gone.add(worker)
            self._collected.lose(worker)
            for before_s in list(self._settled):
                self._judge_whole(before_s)

    def take(self, worker: str, figures: dict[str, Any]) -> None:
        """What a generator has measured so far."""
        self._collected.add(worker, figures)

    def take_settled(self, worker: str, before_s: float, part: dict[str, Any]) -> None:
        """A generator's part (`ledger`, `clock_error_s`) of what is old: judged once all have sent theirs."""
        if worker not in self._gone:
            self._settled.setdefault(before_s, {})[worker] = part
            self._judge_whole(before_s)

    def _judge_whole(self, before_s: float) -> None:
        """Once all parts are there."""
        if self._settled[before_s].keys() >= set(self._workers) - self._gone:
            self._judging.spawn(self._judge_settled, list(self._settled.pop(before_s).values()))

    def _judge_settled(self, parts: Sequence[dict[str, Any]]) -> None:
        found = self._judged(parts)
        self._totals = self._totals.plus(found)

    def _judged(self, parts: Sequence[dict[str, Any]]) -> Totals:
        """Lets others go on meanwhile: the generator may be in this process."""
        gone = self._gone.union(self._silent)
        silent = {number for number, worker in enumerate(self._workers) if worker in gone}
        return judge(
            [part["ledger"] for part in parts],
            clock_error_s=apart_s([part["clock_error_s"] for part in parts]),
            is_missing=lambda message: worker_of(message) in silent,
            pause=Breath(),
        )

    def misses_any(self, parts: Sequence[dict[str, Any]]) -> bool:
        """Whether anything is lost, were this the end."""
        return self._judged(parts).lost > 0

    def take_final(self, worker: str, final: dict[str, Any]) -> None:
        """A generator's last word."""
        self._collected.add(worker, final["figures"])
        self._finals[worker] = final

    def progress(self) -> str:
        """The latest second, in a line."""
        moment = self._collected.latest()
        return progress_line(moment, self._collected.counters()) if moment else "nobody is connected yet"

    def _show_progress(self) -> None:
        while True:
            gevent.sleep(PROGRESS_EVERY_S)
            logger.info(self.progress())

    def _watch_servers(self) -> None:
        while True:
            self._servers.sample(int(time.monotonic() - self._started_s))
            gevent.sleep(1 - (time.monotonic() - self._started_s) % 1)

    # --- its end -------------------------------------------------------------------------------------------

    def end(self, missing: Sequence[str]) -> None:
        """No more will come, from those nothing final."""
        gevent.killall(self._loops)
        for worker in sorted(set(missing) - self._gone):
            logger.error("worker %s has not said what it found; the run is not valid", worker)
        self._silent = sorted(self._gone.union(missing))
        self._judging.join()
        parts = [list(parts.values()) for parts in self._settled.values()]
        parts.append(list(self._finals.values()))
        totals = self._totals.plus(*map(self._judged, parts))
        clock_error_s = apart_s([final["clock_error_s"] for final in self._finals.values()])
        self.results = self._results(totals, clock_error_s)
        self.outcomes = evaluate(self.results, [parse(gate) for gate in self._options.gates])

    def report(self) -> str:
        """The newest run's report as HTML; while it runs without what only the end can tell."""
        if not self.started:
            return f"<!doctype html><p>{escape(self._refusal) or 'No run has begun yet.'}"
        return html(self.results or self._results(None, 0.0), self.outcomes)

    def _results(self, totals: Totals | None, clock_error_s: float) -> Results:
        return self._collected.results(
            scenario=self._scenario,
            started=self._started,
            duration_s=time.monotonic() - self._started_s,
            totals=totals,
            parameters=self._parameters(),
            environment=environment(),
            servers=self._servers.series(),
            clock_error_us=clock_error_s * MICRO if clock_error_s else None,
            notes=self._notes,
            silent=self._silent,
            late=self._late,
            running=totals is None,
        )

    def _parameters(self) -> dict[str, str | int | float | bool | None]:
        given = {name: value for name, value in asdict(self._options).items() if name not in ("gates", "report")}
        return {"host": self._host, "users": self._users, "workers": len(self._workers), **given}

    def judge(self) -> int:
        """Writes the report; the exit code."""
        assert self.results is not None
        try:
            write(Path(self._options.report), self.results, self.outcomes)
        except OSError as error:
            logger.error("the report cannot be written: %s; choose another folder by --report", error)
            return NOTHING
        if not self.results.counters["joined"]:
            logger.error("nobody could connect to %s; see the errors in the report", self._host)
            return NOTHING
        if not self.results.verdict.valid:
            return INVALID
        return GATE_FAILED if any(not outcome.passed for outcome in self.outcomes) else 0

    def say(self) -> None:
        """The summary, after whatever locust prints."""
        if self.results is not None:
            print(summary(self.results, self.outcomes))
            print(table(self.outcomes))
            print(f"The report is {Path(self._options.report) / 'report.html'}")


def environment() -> dict[str, str]:
    """The generating side's machine and versions."""
    found = {"Python": platform.python_version(), "kernel": platform.release(), "machine": platform.machine()}
    return found | {name: version(name) for name in PACKAGES}
