"""What the kernel says about a process: CPU time and memory, from /proc. Linux only."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU seconds that all threads of a process have used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def pss_kb(pid: int) -> int:
    """Memory of a process in kB: its own pages, and its share of those that others use, too."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Pss":
            return int(value.split()[0])
    raise ValueError(f"no Pss in /proc/{pid}/smaps_rollup")


def core_busy_s(core: int) -> float:
    """CPU seconds that anybody has used of a core so far, other virtual machines on it included."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _io, irq, softirq, steal = map(int, ticks[:8])
            return (user + nice + system + irq + softirq + steal) / TICKS_PER_S
    raise ValueError(f"no cpu{core} in /proc/stat")


@dataclass(frozen=True, slots=True)
class CpuShares:
    """Shares of one core, 1.0 is all of it. `others`: what else ran on the server's and the client's core."""

    server: float
    client: float
    redis: float
    others: float


class CpuMeter:
    """Measures the shares from when it is made until `stop`. The client is the process it is in."""

    def __init__(self, server_pid: int, redis_pid: int) -> None:
        self._pids = server_pid, redis_pid
        self._cores = os.sched_getaffinity(server_pid) | os.sched_getaffinity(0)
        self._began_s = time.perf_counter()
        self._began = self._now()

    def stop(self) -> CpuShares:
        """The shares since it was made."""
        wall_s = time.perf_counter() - self._began_s
        server, client, redis, busy = (
            (now - before) / wall_s for now, before in zip(self._now(), self._began, strict=True)
        )
        others = max(0.0, busy - server - client - redis)
        return CpuShares(round(server, 3), round(client, 3), round(redis, 3), round(others, 3))

    def _now(self) -> tuple[float, ...]:
        server_pid, redis_pid = self._pids
        return (
            cpu_s(server_pid),
            time.process_time(),
            cpu_s(redis_pid),
            sum(core_busy_s(core) for core in self._cores),
        )
