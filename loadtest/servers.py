"""What the server's processes take, where they run on this machine: CPU and memory, each second."""

import re
from dataclasses import dataclass, field

import psutil

from .measure.results import ServerSecond

FIND_EVERY = 5  # samples between two looks for new processes


@dataclass(slots=True)
class ServerProcess:
    """One that is watched."""

    name: str
    process: psutil.Process
    seconds: list[ServerSecond] = field(default_factory=list)


class Servers:
    """Processes whose command line the pattern matches; none where it is empty."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self._by_pid: dict[int, ServerProcess] = {}
        self._looked_at: set[int] = set()  # pids
        self._samples = 0

    def sample(self, second: int) -> None:
        """Takes one look; a process that ended is not looked at any more."""
        if self._samples % FIND_EVERY == 0 and self._pattern.pattern:
            self._find()
        self._samples += 1
        for each in self._by_pid.values():
            try:
                cpu, rss = each.process.cpu_percent(), each.process.memory_info().rss
            except psutil.Error:
                continue
            each.seconds.append(ServerSecond(second, cpu / 100, rss))

    def series(self) -> dict[str, list[ServerSecond]]:
        """Process -> its seconds, by name."""
        found = {each.name: each.seconds for each in self._by_pid.values() if each.seconds}
        return dict(sorted(found.items()))

    def _find(self) -> None:
        """Among the new ones alone: to look at all of them takes a generator's loop many ms."""
        pids = set(psutil.pids())
        for pid in pids - self._looked_at:
            try:
                process = psutil.Process(pid)
                found = self._pattern.search(" ".join(process.cmdline()))
                if found is not None:
                    self._by_pid[pid] = ServerProcess(f"{found[0].strip()} ({pid})", process)
                    process.cpu_percent()  # the first one is of nothing
            except psutil.Error:
                continue
        self._looked_at = pids
