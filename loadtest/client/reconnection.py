"""When a client that has lost its connection tries again: as the stock client, ever later and not in step."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from . import hub

DOUBLINGS_MAX = 30


@dataclass(frozen=True, slots=True)
class Reconnection:
    """`randomization`: by which share a delay is longer or shorter. `attempts`: None for no end of them."""

    delay_s: float = 1.0
    delay_max_s: float = 5.0
    randomization: float = 0.5
    attempts: int | None = None

    def delay_before_s(self, attempt: int) -> float:
        """How long to wait before attempt number 0, 1, ..."""
        planned_s = self.delay_s * 2 ** min(attempt, DOUBLINGS_MAX)
        shifted_s = planned_s * (1 + self.randomization * random.uniform(-1, 1))
        return float(min(shifted_s, self.delay_max_s))

    def keep_trying(self, goes_on: Callable[[], bool], is_back: Callable[[], bool]) -> None:
        """Waits and tries while it `goes_on`, until one try succeeds or there were as many as may be."""
        attempt = 0
        while goes_on() and attempt != self.attempts:
            hub.sleep(self.delay_before_s(attempt))
            attempt += 1
            if goes_on() and is_back():
                return


STOCK = Reconnection()


def planned(given: bool | Reconnection) -> Reconnection | None:
    """The stock client's for True, none for False."""
    if isinstance(given, Reconnection):
        return given
    return STOCK if given else None
