"""How much of a core this process had, and how long it had to wait for one. Linux says the second, others not."""

import time
from pathlib import Path

# Of the main thread: its ns on a core, its ns ready to run without one, its turns. A generator's loop is there.
SCHEDSTAT = Path("/proc/self/schedstat")


class OwnCpu:
    """Shares of one core since the last sample; 1.0 is all of it."""

    def __init__(self) -> None:
        self._knows_waiting = SCHEDSTAT.exists()
        self._last = self._now()

    def sample(self) -> tuple[float, float | None]:
        """(share used, share of the time it was ready and had to wait; None where the kernel does not tell)."""
        before, self._last = self._last, self._now()
        wall_s = max(1e-6, self._last[0] - before[0])
        used, waited = ((now - then) / wall_s for now, then in zip(self._last[1:], before[1:], strict=True))
        return used, waited if self._knows_waiting else None

    def _now(self) -> tuple[float, float, float]:
        waited_s = int(SCHEDSTAT.read_text().split()[1]) / 1e9 if self._knows_waiting else 0.0
        return time.monotonic(), time.process_time(), waited_s
