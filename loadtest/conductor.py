"""Runs a load test within locust: the master's part (`Master`) and that of each generating process (`Worker`).

They talk by locust's own messages, which a run without workers delivers within the process:

    master  plan {run, index, workers, clock_id}     before anybody is started
    worker  plan?                                   of one that comes later; it gets the plan, too
    worker  clock? {asked_s}                        and the answer, clock! {asked_s, theirs_s}
    worker  joined {people, all}                    as it grows: so many of its people are in their rooms
    master  begin {at_s, users}                     who sends, sends from then on, by the master's clock
    worker  figures {...}                           what was measured so far
    master  settle {before_s}                       now and then: what is that old can be judged, and forgotten
    worker  settled {before_s, ledger, clock_error_s}
    master  finish                                  nobody sends any more
    worker  drained {ledger, clock_error_s}         nothing seems under way; asked again while anything is missing
    master  close                                   that was all
    worker  final {ledger, ...}
"""

import logging
import time
from collections.abc import Container
from dataclasses import asdict
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from locust.env import Environment
from locust.runners import STATE_INIT, MasterRunner, WorkerRunner

from .breath import Breath
from .clock import Clock, clock_id
from .collector import Collector
from .exit_codes import NOTHING
from .generator import Generator, place_of
from .options import Options
from .scenarios import DEFAULT, SCENARIOS
from .shapes import Shape

logger = logging.getLogger(__name__)

PREFIX = "loadtest."
# Everybody has heard `begin` before that.
BEGIN_IN_S = 1.0
CLOCK_EVERY_S = 2.0
CLOCK_FIRST = 10
FIGURES_EVERY_S = 1.0
SETTLE_EVERY_S = 10.0
# Longer than anything is on its way, to a client that comes back within RECOVERY_WINDOW_S (120), too.
SETTLE_AGE_S = 180.0
# Beyond `--connect-timeout`.
JOIN_SPARE_S = 5.0
# Beyond `--drain`.
FINAL_SPARE_S = 20.0
# Between two looks for what is missing at the end.
AGAIN_S = 0.5
LOOK_S = 0.05


def attach(environment: Environment, runner: Any, web_ui: Any = None, **_: Any) -> None:
    """Locust's `init`: takes part in whatever role this process has. The web UI gets the report, at /fanout."""
    if not isinstance(runner, WorkerRunner):
        master = Master(environment, runner)
        if web_ui is not None:
            web_ui.app.add_url_rule("/fanout", "fanout", master.collector.report)
    if not isinstance(runner, MasterRunner):
        Worker(environment, runner)


class Master:
    """Plans, begins and ends the run, and has the collector judge it."""

    def __init__(self, environment: Environment, runner: Any) -> None:
        self._environment = environment
        self._runner = runner
        self._options = Options.of(environment.parsed_options)
        self._choose_scenario()
        self.collector = Collector(self._options, environment.host or "")
        self._plan: dict[str, Any] = {}
        self._planned: list[str] = []  # the run's workers, those among them that were lost
        self._begin_at: dict[str, Any] | None = None
        self._told_to_begin: set[str] = set()
        self._joined: dict[str, dict[str, Any]] = {}  # worker -> what it said last
        self._drained: dict[str, dict[str, Any]] = {}  # worker -> its ledger
        self._finals: set[str] = set()
        self._beginning: gevent.Greenlet | None = None
        self._settling: gevent.Greenlet | None = None
        self._done = False
        runner.register_message(PREFIX + "plan?", self._on_plan_asked)
        runner.register_message(PREFIX + "clock?", self._on_clock)
        runner.register_message(PREFIX + "joined", self._on_joined)
        runner.register_message(PREFIX + "figures", self._on_figures)
        runner.register_message(PREFIX + "settled", self._on_settled)
        runner.register_message(PREFIX + "drained", self._on_drained)
        runner.register_message(PREFIX + "final", self._on_final)
        events = environment.events
        events.test_start.add_listener(self._on_start)
        events.spawning_complete.add_listener(self._on_spawned)
        events.test_stopping.add_listener(self._on_stopping)
        events.quitting.add_listener(self._on_quitting)
        events.quit.add_listener(self._on_quit)

    def _choose_scenario(self) -> None:
        options: Any = self._environment.parsed_options
        tags = list(options.tags or [DEFAULT])
        if len(tags) != 1 or tags[0] not in SCENARIOS:
            logger.error("--tags: expected one of %s, got %s", ", ".join(SCENARIOS), " ".join(tags))
            raise SystemExit(NOTHING)
        options.tags = None  # locust would look into the others for tasks, and warn that there are none
        self.scenario = tags[0]
        self._environment.user_classes = [SCENARIOS[self.scenario]]
        if self._options.shape:
            shape = Shape(self._options, options.num_users or 1, options.spawn_rate or 1)
            shape.runner = self._runner
            self._environment.shape_class = shape
        options.only_summary = True  # locust's table knows acknowledgements alone

    def _workers(self) -> list[str]:
        clients = getattr(self._runner, "clients", None)
        if clients is None:
            return ["local"]
        return sorted(each.id for each in [*clients.ready, *clients.spawning, *clients.running])

    def _tell(self, kind: str, data: dict[str, Any], worker: str | None = None) -> None:
        self._runner.send_message(PREFIX + kind, data, client_id=worker)

    # --- beginning -----------------------------------------------------------------------------------------

    def _on_start(self, **_: Any) -> None:
        self._plan, self._done = {}, False
        try:
            self._options = Options.of(self._environment.parsed_options)
        except ValueError as error:  # of the web UI
            logger.error("the run does not begin: %s", error)
            self.collector.refuse(str(error))
            gevent.spawn(self._runner.stop)
            return
        workers = self._planned = self._workers()
        self._joined, self._drained, self._finals, self._told_to_begin = {}, {}, set(), set()
        self._begin_at = self._beginning = self._settling = None
        self.collector.start(self.scenario, workers, self._options, self._environment.host or "")
        run = f"lt{time.time_ns() // 1_000_000:x}"
        self._plan = {"run": run, "workers": len(workers), "started_s": time.monotonic(), "clock_id": clock_id()}
        self._plan |= {"options": asdict(self._options)}
        for index, worker in enumerate(workers):
            self._tell("plan", self._plan | {"index": index}, worker)

    def _on_plan_asked(self, msg: Any, **_: Any) -> None:
        """A worker that came during the run, to which locust has moved people: they listen."""
        if not self._plan:
            return
        logger.error("worker %s has joined the run that is under way; it is not valid", msg.node_id)
        self._tell("plan", self._plan | {"index": len(self._planned)}, msg.node_id)
        self._planned.append(msg.node_id)
        self.collector.join_late(msg.node_id)

    def _on_clock(self, msg: Any, **_: Any) -> None:
        self._tell("clock!", msg.data | {"theirs_s": time.monotonic()}, msg.node_id)

    def _on_spawned(self, **_: Any) -> None:
        if self._plan and self._beginning is None:
            self._beginning = gevent.spawn(self._begin)

    def _begin(self) -> None:
        until_s = time.monotonic() + self._options.connect_timeout_s + JOIN_SPARE_S
        while not all(self._has_joined(worker) for worker in self._workers()) and time.monotonic() < until_s:
            gevent.sleep(LOOK_S)
        users = self._runner.user_count
        self.collector.begin(users, sum(each["people"] for each in self._joined.values()))
        self._begin_at = {"at_s": time.monotonic() + BEGIN_IN_S, "users": users}
        for worker in self._workers():
            self._tell_to_begin(worker)
        self._settling = gevent.spawn(self._settle)
        if self._options.talk_s:
            gevent.sleep(BEGIN_IN_S + self._options.talk_s)
            logger.info("everybody has talked for %g s", self._options.talk_s)
            self._end()  # first: locust stands still for 50 ms when it stops, and the last messages would wait
            # The web UI goes on, for the next run.
            self._runner.quit() if self._environment.web_ui is None else self._runner.stop()

    def _has_joined(self, worker: str) -> bool:
        return worker in self._joined and self._joined[worker]["all"]

    def _tell_to_begin(self, worker: str) -> None:
        if self._begin_at is not None and worker not in self._told_to_begin:
            self._told_to_begin.add(worker)
            self._tell("begin", self._begin_at, worker)

    def _settle(self) -> None:
        while True:
            gevent.sleep(SETTLE_EVERY_S)
            for worker in set(self._planned).difference(self._workers()):
                self.collector.lose(worker)
            self._tell("settle", {"before_s": time.monotonic() - SETTLE_AGE_S})

    def _on_joined(self, msg: Any, **_: Any) -> None:
        self._joined[msg.node_id] = msg.data
        self._tell_to_begin(msg.node_id)

    # --- while it runs, and its end ------------------------------------------------------------------------

    def _on_figures(self, msg: Any, **_: Any) -> None:
        self.collector.take(msg.node_id, msg.data)

    def _on_settled(self, msg: Any, **_: Any) -> None:
        self.collector.take_settled(msg.node_id, msg.data["before_s"], msg.data)

    def _on_drained(self, msg: Any, **_: Any) -> None:
        self._drained[msg.node_id] = msg.data

    def _on_final(self, msg: Any, **_: Any) -> None:
        self.collector.take_final(msg.node_id, msg.data)
        self._finals.add(msg.node_id)

    def _on_stopping(self, **_: Any) -> None:
        """Before anybody is stopped."""
        self._end()

    def _end(self) -> None:
        """Waits until everything under way has come, and has it judged."""
        if not self._plan:
            return
        for greenlet in (self._beginning, self._settling):
            if greenlet is not None and greenlet is not gevent.getcurrent():  # `_begin` comes here itself
                greenlet.kill()
        until_s = time.monotonic() + self._options.drain_s
        self._drain(until_s)
        self._tell("close", {})
        self._wait_for_all(self._finals, until_s + FINAL_SPARE_S)
        self.collector.end([worker for worker in self._planned if worker not in self._finals])
        self._plan, self._done = {}, True

    def _drain(self, until_s: float) -> None:
        """Until nothing is missing, or so long."""
        while True:
            self._drained.clear()
            self._tell("finish", {})
            self._wait_for_all(self._drained, until_s + FINAL_SPARE_S)
            if time.monotonic() > until_s or not self.collector.misses_any(list(self._drained.values())):
                return
            gevent.sleep(AGAIN_S)

    def _wait_for_all(self, heard_of: Container[str], until_s: float) -> None:
        while not all(worker in heard_of for worker in self._workers()) and time.monotonic() < until_s:
            gevent.sleep(LOOK_S)

    def _on_quitting(self, **_: Any) -> None:
        if not self.collector.started:
            return
        if not self._done:  # Ctrl-C
            self._runner.quit()
        self._environment.process_exit_code = NOTHING  # should judging fail: locust logs that, and goes on
        self._environment.process_exit_code = self.collector.judge()

    def _on_quit(self, **_: Any) -> None:
        if self.collector.started:
            self.collector.say()


class Worker:
    """One generating process."""

    def __init__(self, environment: Environment, runner: Any) -> None:
        self._environment = environment
        self._place = place_of(environment)
        self._runner = runner
        self._plan: dict[str, Any] = {}  # of the run that is on, or about to be
        self._starting = False  # and has no plan yet
        self._clock = Clock()
        self._loops: list[gevent.Greenlet] = []
        self._whole = BoundedSemaphore(1)  # while the ledger is settled nobody else takes it
        runner.register_message(PREFIX + "plan", self._on_plan)
        runner.register_message(PREFIX + "clock!", self._on_clock)
        runner.register_message(PREFIX + "begin", self._on_begin, concurrent=True)
        runner.register_message(PREFIX + "settle", self._on_settle, concurrent=True)
        runner.register_message(PREFIX + "finish", self._on_finish, concurrent=True)
        runner.register_message(PREFIX + "close", self._on_close, concurrent=True)
        environment.events.test_start.add_listener(self._on_start)
        environment.events.spawning_complete.add_listener(self._on_spawned)
        if getattr(runner, "worker_state", STATE_INIT) != STATE_INIT:  # it was set to work before it had read this
            self._on_start()
            self._on_spawned()

    def _tell(self, kind: str, data: dict[str, Any]) -> None:
        self._runner.send_message(PREFIX + kind, data)

    def _on_plan(self, msg: Any, **_: Any) -> None:
        self._plan = msg.data
        self._place.put(None)
        if self._starting:
            self._start()

    def _on_start(self, **_: Any) -> None:
        self._starting = True
        if self._plan:
            self._start()
        else:
            self._tell("plan?", {})

    def _start(self) -> None:
        self._starting = False
        self._stop_loops()
        if self._plan["clock_id"] == clock_id() != "":
            self._clock = Clock.shared()
            self._begin()
        else:
            self._clock = Clock()
            self._loops.append(gevent.spawn(self._ask_clock))

    def _begin(self) -> None:
        plan = self._plan
        generator = Generator(
            Options(**plan["options"]),
            self._clock,
            run=plan["run"],
            index=plan["index"],
            workers=plan["workers"],
            started_s=plan["started_s"],
        )
        self._loops += [gevent.spawn(self._push, generator), gevent.spawn(generator.check.run)]
        self._place.put(generator)

    def _ask_clock(self) -> None:
        """Often at first: the shortest exchange is the best."""
        for _ in range(CLOCK_FIRST):
            self._tell("clock?", {"asked_s": time.monotonic()})
            gevent.sleep(LOOK_S)
        while self._clock.error_s == float("inf"):
            gevent.sleep(LOOK_S)
        self._begin()
        while True:
            self._tell("clock?", {"asked_s": time.monotonic()})
            gevent.sleep(CLOCK_EVERY_S)

    def _on_clock(self, msg: Any, **_: Any) -> None:
        self._clock.exchanged(msg.data["asked_s"], msg.data["theirs_s"], time.monotonic())

    def _push(self, generator: Generator) -> None:
        while True:
            gevent.sleep(FIGURES_EVERY_S)
            self._tell("figures", generator.figures.to_wire(self._clock.now_s()))

    def _on_spawned(self, **_: Any) -> None:
        gevent.spawn(self._report_joined)

    def _report_joined(self) -> None:
        generator = self._place.get()
        told = -1
        while not generator.finishing:
            people = generator.joined
            if people != told:
                self._tell("joined", {"people": people, "all": people >= self._runner.user_count})
                told = people
            if people >= self._runner.user_count:
                return
            gevent.sleep(LOOK_S)

    def _on_begin(self, msg: Any, **_: Any) -> None:
        gevent.spawn(self._place.get().begin, msg.data["at_s"], msg.data["users"])

    def _on_settle(self, msg: Any, **_: Any) -> None:
        before_s = msg.data["before_s"]
        with self._whole:
            ledger = self._place.get().ledger.settle(before_s, Breath())
            self._tell("settled", self._found(ledger) | {"before_s": before_s})

    def _on_finish(self, **_: Any) -> None:
        generator = self._place.get()
        generator.drain()
        with self._whole:
            self._tell("drained", self._found(generator.ledger.to_wire()))

    def _on_close(self, **_: Any) -> None:
        generator = self._place.get()
        generator.close()
        self._stop_loops()
        figures = generator.figures.to_wire(self._clock.now_s(), final=True)
        self._plan = {}
        with self._whole:
            self._tell("final", self._found(generator.ledger.to_wire()) | {"figures": figures})

    def _found(self, ledger: dict[str, Any]) -> dict[str, Any]:
        return {"ledger": ledger, "clock_error_s": self._clock.bound_s()}

    def _stop_loops(self) -> None:
        gevent.killall(self._loops)
        self._loops = []
