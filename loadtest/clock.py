"""One clock for all generators of a run: the master's monotonic one.

A worker asks the master for its time and halves the round trip, as NTP does (RFC 5905, section 8): the answer of
the shortest exchange counts, and it is wrong by half its round trip at most. Workers on the master's own
machine share its clock, and are 0 apart.
"""

import contextlib
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TIME_NAMESPACE = Path("/proc/self/ns/time")


def clock_id() -> str:
    """Names the running kernel's monotonic clock that this process sees; empty where that is not known."""
    with contextlib.suppress(OSError):
        return f"{BOOT_ID.read_text().strip()} {TIME_NAMESPACE.readlink()}"
    return ""


# What two quartz clocks drift apart at most, s for each s: an exchange says less the older it is.
DRIFT = 50e-6


@dataclass(slots=True)
class Clock:
    """`offset_s`: master's time less ours. `error_s`: by how much that may be wrong, at first infinitely."""

    offset_s: float = 0.0
    error_s: float = float("inf")
    _at_s: float = 0.0

    @classmethod
    def shared(cls) -> "Clock":
        """That of the master itself, and of all on its machine."""
        return cls(0.0, 0.0, float("inf"))

    def now_s(self) -> float:
        """The master's monotonic time."""
        return time.monotonic() + self.offset_s

    def bound_s(self) -> float:
        """By how much `offset_s` may be wrong by now."""
        return self.error_s + DRIFT * max(0.0, time.monotonic() - self._at_s)

    def exchanged(self, asked_s: float, theirs_s: float, answered_s: float) -> None:
        """Takes an answer of the master; `asked_s` and `answered_s` by our own monotonic clock."""
        error_s = (answered_s - asked_s) / 2
        if error_s < self.error_s + DRIFT * (answered_s - self._at_s):
            self.offset_s = theirs_s - (asked_s + answered_s) / 2
            self.error_s, self._at_s = error_s, answered_s


def apart_s(bounds_s: Collection[float]) -> float:
    """What any two clocks can be apart that may be wrong by so much each: the two worst together."""
    return sum(sorted(bounds_s)[-2:])
