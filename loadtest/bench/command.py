"""`make bench` from its options to its exit code: sets up, lets `run.py` measure, and shows what came of it."""

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from datetime import date

from . import machine
from .children import ChildFailed, Place
from .contenders import CONTENDERS, Contender, Missing, install_node_packages
from .figures import Measured
from .limits import TooFewFiles, allow_files
from .options import groups, is_full, pairs, parser
from .redis_server import RedisServer
from .report import aligned, ceiling, details, number, table
from .results_file import RAW, RESULTS, Circumstances, results, write_raw
from .run import Places, Plan, Run, RunFailed

SPARE_FILES = 600  # 500 of them for `client/idle.py`
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where everything was measured, whatever came of it; 1 with a line on stderr where it was not."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        Bench(options, given).run()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except (RunFailed, ChildFailed, TooFewFiles, Missing) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


class Bench:
    """One call of the command, and the samples it has so far."""

    def __init__(self, options: argparse.Namespace, given: Sequence[str]) -> None:
        self._options = options
        self._given = given
        self._samples: list[Measured] = []
        self._began_s = time.monotonic()
        contenders, self._notes = _contenders(options.contenders)
        self._names = [each.name for each in contenders]
        if options.quick or options.members:
            self._notes.append("there were other numbers of members than the lines' titles say")
        self._plan = Plan(groups(options), contenders, bool(options.contenders), pairs(options), places(options))

    def run(self) -> None:
        """Measures, shows, writes. What there is is shown even when it ends early."""
        for note in self._notes:
            print(f"note: {note}")
        allow_files(max((group.members for group in self._plan.groups), default=0) + SPARE_FILES)
        with RedisServer(self._plan.places.redis) as redis:
            try:
                self._measure(redis)
            finally:
                self._show()
            self._write(redis.program)

    def _measure(self, redis: RedisServer) -> None:
        run = Run(self._plan, redis, self._told)
        if not self._options.no_ceiling:
            run.ceiling()
        run.all()

    def _told(self, sample: Measured) -> None:
        self._samples.append(sample)
        print(f"{time.monotonic() - self._began_s:5.0f} s  {progress(sample)}", flush=True)

    def _show(self) -> None:
        rows = table(self._samples, self._names)
        if len(rows) > 1:
            print(f"\n{aligned(rows)}\n")
        for text in details(self._samples, self._names):
            print(text)
        for text in ceiling(self._samples):
            print(f"the load client's ceiling: {text}")

    def _write(self, redis_program: str) -> None:
        output = self._options.output
        raw = RAW if output == RESULTS else output.with_suffix(".json")
        write_raw(self._samples, raw)
        print(f"all samples: {os.path.relpath(raw)}")
        if not self._options.write and not is_full(self._options):
            return
        around = Circumstances(
            command="make bench" + (f" ARGS={shlex.quote(shlex.join(self._given))}" if self._given else ""),
            date=date.today().isoformat(),
            machine=machine.description(),
            versions=machine.versions(self._plan.contenders, redis_program),
            notes=self._notes,
            pairs=self._plan.pairs,
        )
        output.write_text(results(self._samples, self._names, around))
        print(f"written: {os.path.relpath(output)}")


def progress(sample: Measured) -> str:
    """One sample in one line."""
    figures = ", ".join(f"{name} {number(value)}" for name, value in sample.figures.items())
    shares = " ".join(f"{name} {value:.0%}" for name, value in (sample.cpu or {}).items())
    return f"round {sample.round + 1}  {sample.line:8} {sample.contender:8} {figures}  {shares}"


def _contenders(chosen: Sequence[str] | None) -> tuple[tuple[Contender, ...], list[str]]:
    """Those that can run here, and a note for each that cannot."""
    found: list[Contender] = []
    notes: list[str] = []
    for name in chosen or CONTENDERS:
        try:
            if name == "node":
                install_node_packages()
            found.append(CONTENDERS[name])
        except Missing as error:
            notes.append(f"without {name}: {error}")
    return tuple(found), notes


def places(options: argparse.Namespace) -> Places:
    """The first two cores that there are, unless others were chosen. Raises Missing."""
    allowed = sorted(os.sched_getaffinity(0))
    if not options.cores and len(allowed) < 2:
        raise Missing("two cores are needed: one for the server, one for the load client and Redis")
    server, client = options.cores or allowed[:2]
    # Redis ahead of the client, so that a busy client does not keep it waiting.
    ahead = int(options.realtime)
    return Places(Place(server, ahead), Place(client, ahead), Place(client, 2 * ahead))
