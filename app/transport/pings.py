"""One wheel for the pings of all connections of a node (Engine.IO v4, "Heartbeat").

A connection is in one slot of the wheel and has no timer and no task of its own. What a ping looks like, and
what becomes of a connection that does not answer, is the connection's business.

The wheel counts ticks and catches up by a few at most, so after a process was stopped for a while nobody is taken
for silent who had no chance to be heard.
"""

import asyncio
import math
from collections.abc import Iterator
from typing import Protocol

# The coarsest and the finest tick. With 25 s between pings, a tenth of a second is half a percent.
TICK_MAX_S = 0.1
TICKS_PER_TURN_MIN = 20
# A loop that is late catches up by so many ticks at once. Beyond that the process was stopped, and so were its
# connections' chances to be heard.
TICKS_CAUGHT_UP_MAX = 5
# After so many pings in a row the node's other work gets a turn.
PINGS_PER_TURN = 256
NOWHERE = -1
# Longer nobody is waited for, since `time_s` stands meanwhile: a handler hangs, or a client floods the node.
TIMEOUTS_MAX = 8


class Pinged(Protocol):
    """What the wheel needs of a connection; it sets all but the last."""

    ping_slot: int  # NOWHERE while it is not in the wheel
    awaits_pong: bool
    excused: bool  # its pong could not be seen for a while since the newest ping
    overdue: int  # time-outs that have passed since then
    reading_paused: bool  # by this node, so that a pong cannot be seen

    def ping(self) -> None:
        """Sends a ping."""

    def ping_timed_out(self) -> None:
        """No pong came in time."""


class PingWheel:
    """Pings every connection `interval_s` after its last pong, and gives it `timeout_s` to answer.

    One that this node does not read, or did not read meanwhile, is given another time-out, several times.
    """

    def __init__(self, interval_s: float, timeout_s: float) -> None:
        self._tick_s = min(TICK_MAX_S, min(interval_s, timeout_s) / TICKS_PER_TURN_MIN)
        self._interval = math.ceil(interval_s / self._tick_s)
        self._timeout = math.ceil(timeout_s / self._tick_s)
        self._slots: list[set[Pinged]] = [set() for _ in range(max(self._interval, self._timeout) + 1)]
        self._ticks = 0
        self._late: set[Pinged] = set()  # their newest ping is older than a time-out
        self._now = 0
        self._count = 0
        self._ticked_s = 0.0  # loop time of the last tick
        self._timer: asyncio.TimerHandle | None = None

    def time_s(self) -> float:
        """A time that stands while nobody is here, or while a pong is late: what was sent an interval and two
        time-outs ago has been received by everyone, since a ping behind it was answered.
        """
        return self._ticks * self._tick_s

    def __len__(self) -> int:
        return self._count

    def add(self, connection: Pinged) -> None:
        """Takes a connection in; its first ping comes after one interval."""
        self._count += 1
        self._put(connection, self._interval)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._ticked_s = loop.time()
            self._timer = loop.call_later(self._tick_s, self._tick)

    def discard(self, connection: Pinged) -> None:
        """Lets a connection go; one that is not in the wheel is fine."""
        if connection.ping_slot != NOWHERE:
            self._slots[connection.ping_slot].discard(connection)
            self._late.discard(connection)
            connection.ping_slot = NOWHERE
            self._count -= 1

    def answered(self, connection: Pinged) -> None:
        """A pong has come."""
        if connection.awaits_pong and connection.ping_slot != NOWHERE:
            connection.awaits_pong = False
            self._slots[connection.ping_slot].discard(connection)
            self._late.discard(connection)
            self._put(connection, self._interval)

    def excuse(self, connection: Pinged) -> None:
        """It could not be heard for a while: what it owes gets at least its whole time again."""
        connection.excused = connection.awaits_pong

    def stop(self) -> None:
        """Pings nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _put(self, connection: Pinged, ticks: int) -> None:
        connection.ping_slot = (self._now + ticks) % len(self._slots)
        self._slots[connection.ping_slot].add(connection)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._tick_s, self._tick) if self._count else None
        for _ in range(self._passed(loop.time())):
            self._ticks += not self._late
            self._now = (self._now + 1) % len(self._slots)
            self._go_round(self._now, iter(list(self._slots[self._now])))

    def _passed(self, now_s: float) -> int:
        """How many ticks have passed: the loop is late where it has much to do."""
        passed = max(1, round((now_s - self._ticked_s) / self._tick_s))
        if passed > TICKS_CAUGHT_UP_MAX:
            self._ticked_s = now_s
            return TICKS_CAUGHT_UP_MAX
        self._ticked_s += passed * self._tick_s
        return passed

    def _go_round(self, slot: int, due: Iterator[Pinged]) -> None:
        for done, connection in enumerate(due, 1):
            if connection.ping_slot == slot:  # else it has answered, or gone
                self._slots[slot].discard(connection)
                self._check(connection)
            if done % PINGS_PER_TURN == 0:
                asyncio.get_running_loop().call_soon(self._go_round, slot, due)
                return

    def _check(self, connection: Pinged) -> None:
        if not connection.awaits_pong:
            connection.awaits_pong = True
            connection.excused, connection.overdue = False, 0
            self._put(connection, self._timeout)
            connection.ping()
            return
        excused, connection.excused = connection.excused or connection.reading_paused, False
        connection.overdue += 1
        self._late.add(connection)
        self._put(connection, self._timeout)
        if not excused or connection.overdue == TIMEOUTS_MAX:
            connection.ping_timed_out()
