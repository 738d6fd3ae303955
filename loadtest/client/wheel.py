"""One timer for all deadlines of a process: silent servers, late acknowledgements, connections on their way out.

A deadline is kept to within a tick. Ten thousand clients cost a look at each when its deadline comes, about once
per ping interval, and no timer of their own.
"""

import time
from typing import Protocol
from weakref import WeakKeyDictionary

from . import hub

TICK_S = 0.1


class Watched(Protocol):
    """Something with a deadline."""

    def due(self, now_s: float) -> None:
        """The deadline has passed, and is forgotten."""


class Wheel:
    """Deadlines by the tick they fall in; `time.monotonic` is the clock."""

    __slots__ = ("_cursor", "_earliest", "_timer", "_turning", "_watched")

    def __init__(self) -> None:
        self._watched: dict[int, set[Watched]] = {}  # tick -> those due in it
        self._cursor = 0  # the tick that is looked at next
        self._earliest = 0  # the tick that a new deadline is put in at the earliest
        self._turning = False
        self._timer = hub.timer(TICK_S, TICK_S)

    def watch(self, watched: Watched, at_s: float) -> int:
        """Has `due` called once `at_s` is past. Returns the tick, for `forget`."""
        if not self._turning:
            self._turning = True
            self._cursor = self._earliest = int(time.monotonic() / TICK_S)
            self._timer.start(self._turn)
        tick = max(int(at_s / TICK_S) + 1, self._earliest)
        found = self._watched.get(tick)
        if found is None:
            self._watched[tick] = {watched}
        else:
            found.add(watched)
        return tick

    def forget(self, watched: Watched, tick: int) -> None:
        """The deadline no longer matters; nothing happens where it has passed already."""
        found = self._watched.get(tick)
        if found is not None:
            found.discard(watched)
            if not found:
                del self._watched[tick]

    def _turn(self) -> None:
        now_s = time.monotonic()
        last = int(now_s / TICK_S)
        self._earliest = last + 1
        # One by one: a call may watch and forget others, and may raise.
        while self._cursor <= last:
            found = self._watched.get(self._cursor)
            if found:
                found.pop().due(now_s)
            else:
                self._watched.pop(self._cursor, None)
                self._cursor += 1
        if not self._watched:
            self._turning = False
            self._timer.stop()


_wheels: WeakKeyDictionary[object, Wheel] = WeakKeyDictionary()  # hub -> its wheel


def wheel() -> Wheel:
    """The current hub's."""
    own = hub.current()
    found = _wheels.get(own)
    if found is None:
        found = _wheels[own] = Wheel()
    return found
