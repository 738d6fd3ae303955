"""Keeps a generating process' own figures: how late its event loop is, and completes each second in time.

What that means is for `measure/verdict.py` to say.
"""

import time

import gevent

from .clock import Clock
from .measure.figures import Figures

TICK_S = 0.01
MICRO = 1_000_000


class SelfCheck:
    """`run` it in a greenlet."""

    def __init__(self, figures: Figures, clock: Clock) -> None:
        self._figures = figures
        self._clock = clock

    def run(self) -> None:
        """For ever."""
        while True:
            asleep_s = time.monotonic()
            gevent.sleep(TICK_S)
            late_s = time.monotonic() - asleep_s - TICK_S
            # First: what a standstill kept waiting is received in the second of its end.
            self._figures.roll(self._clock.now_s())
            self._figures.lagged(max(0, int(late_s * MICRO)), int(TICK_S * MICRO))
