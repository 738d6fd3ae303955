"""One long-running child process of a cluster: started, watched, started again when it dies, stopped.

Which processes there are, and in what order they start and stop, is `local_cluster.py`'s.
"""

import asyncio
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ClusterKitError
from .child import how_it_ended, kill, spawn, stop
from .node_log import pass_on, tail
from .output import say

READY_LIMIT_S = 30.0
POLL_S = 0.05
STEADY_S = 10.0  # one that lived this long is started again at once
PAUSE_S = 0.5  # before starting again one that did not, doubled each time up to
PAUSE_MAX_S = 15.0
TAIL_LINES = 15
LAST_LINES_LIMIT_S = 1.0


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, where its output goes, and how to know that it is ready."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    log: Path
    where: str  # what people are told about it, an address
    is_ready: Callable[[], Awaitable[bool]]
    stop_limit_s: float
    shows_warnings: bool = False


class Service:
    """Keeps one `Program` running."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._quick_deaths = 0
        self._started_at_s = 0.0

    async def start(self) -> None:
        """Starts it for the first time. Raises ClusterKitError with its log's end if it gets not ready."""
        await self._spawn()
        if not await self._becomes_ready():
            raise ClusterKitError(self._why_not_ready())
        self._say_ready("started")

    async def keep(self) -> None:
        """Starts it again whenever it ends, for ever, after a pause that grows while it keeps dying."""
        while True:
            await asyncio.sleep(await self._end())
            try:
                await self._spawn()
            except OSError as error:
                say(f"{self.program.name}: cannot be started: {error}", "red")
                continue
            if await self._becomes_ready():
                self._say_ready("started again")
            elif self._alive():
                # Not killed: it may wait for something outside, and another start would not bring that.
                say(self._why_not_ready(), "red")

    async def stop(self) -> None:
        """Ends it, and returns when it is gone."""
        if self._process is None:
            return
        if not await stop(self._process, self.program.stop_limit_s):
            say(f"{self.program.name}: killed, for it did not stop in {self.program.stop_limit_s:g} s", "red")
        if self._reading:
            # Bounded, because a process that the child left behind may hold the pipe open.
            await asyncio.wait({self._reading}, timeout=LAST_LINES_LIMIT_S)

    def kill(self) -> None:
        if self._process:
            kill(self._process)

    async def _spawn(self) -> None:
        program = self.program
        self._started_at_s = time.monotonic()
        log = None if program.shows_warnings else program.log
        self._process = await spawn(program.command, program.env, log)
        if self._process.stdout:
            self._reading = asyncio.create_task(pass_on(self._process.stdout, program.log, program.name))

    def _alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def _becomes_ready(self) -> bool:
        deadline = time.monotonic() + READY_LIMIT_S
        while self._alive() and time.monotonic() < deadline:
            if await self.program.is_ready():
                return True
            await asyncio.sleep(POLL_S)
        return False

    async def _end(self) -> float:
        """Waits for its end, says so, and returns the seconds to wait before the next start."""
        assert self._process is not None
        code = await self._process.wait()
        pause_s = self._pause_s()
        when = f"in {pause_s:g} s" if pause_s else "now"
        how = f"ended by {how_it_ended(code)} (pid {self._process.pid})"
        say(f"{self.program.name}: {how}, starting again {when}", "red")
        return pause_s

    def _pause_s(self) -> float:
        if time.monotonic() - self._started_at_s > STEADY_S:
            self._quick_deaths = 0
            return 0.0
        self._quick_deaths += 1
        return min(PAUSE_S * 2.0 ** (self._quick_deaths - 1), PAUSE_MAX_S)

    def _say_ready(self, how: str) -> None:
        assert self._process is not None
        say(f"{self.program.name}: {how} at {self.program.where} (pid {self._process.pid})")

    def _why_not_ready(self) -> str:
        assert self._process is not None
        code = self._process.returncode
        why = f"is not ready after {READY_LIMIT_S:g} s" if code is None else f"ended by {how_it_ended(code)}"
        end = "\n".join(f"    {line}" for line in tail(self.program.log, TAIL_LINES))
        return f"{self.program.name} {why}; the end of {self.program.log}:\n{end or '    (empty)'}"
