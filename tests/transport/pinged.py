"""Connections for the wheel of pings, without a network."""

from itertools import pairwise

from app.transport.pings import NOWHERE, TICK_MAX_S, PingWheel
from tests.support.fake_loop import FakeLoop

INTERVAL_S, TIMEOUT_S = 25.0, 20.0
# A tick is at most so long, and what is due within one happens at its end; a connection is put in during one.
LATE_S = 2 * TICK_MAX_S


class Client:
    """A connection whose client answers a ping after `answers_after_s`, or never."""

    def __init__(self, wheel: PingWheel, loop: FakeLoop, answers_after_s: float | None = None) -> None:
        self.wheel = wheel
        self.loop = loop
        self.answers_after_s = answers_after_s
        self.ping_slot = NOWHERE
        self.awaits_pong = False
        self.excused = False
        self.overdue = 0
        self.reading_paused = False
        self.came_s = loop.time()
        self.pinged: list[float] = []  # when, in seconds
        self.timed_out: list[float] = []

    @property
    def confirmed_s(self) -> float:
        """When the newest ping was sent that it has answered; when it came where there is none."""
        return [self.came_s, *self.pinged][-2 if self.awaits_pong else -1]

    def ping(self) -> None:
        """Notes, and answers, unless it is not read."""
        self.pinged.append(self.loop.time())
        if self.answers_after_s is not None:
            self.loop.call_later(self.answers_after_s, self._answer)

    def _answer(self) -> None:
        if not self.reading_paused:
            self.answer()

    def answer(self) -> None:
        """A pong."""
        self.wheel.answered(self)

    def ping_timed_out(self) -> None:
        """Notes, and goes."""
        self.timed_out.append(self.loop.time())
        self.wheel.discard(self)


def gaps(times: list[float]) -> list[float]:
    """The seconds between one and the next."""
    return [round(after - before, 6) for before, after in pairwise(times)]
