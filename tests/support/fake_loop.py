"""An event loop's clock and callbacks, without an event loop: time passes when a test says so.

It is for modules that know asyncio only by `get_running_loop()`'s `call_soon`, `call_later` and `time`; a test
puts it there with `FakeLoop.install`. Nothing here is a task or a future.
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


class FakeHandle:
    """A callback that is to be called, unless it is cancelled first."""

    def __init__(self, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._call = (callback, arguments)
        self.cancelled = False

    def cancel(self) -> None:
        """It is not called."""
        self.cancelled = True

    def run(self) -> None:
        """Calls it."""
        if not self.cancelled:
            callback, arguments = self._call
            callback(*arguments)


class FakeLoop:
    """As asyncio's: what a callback adds is called in the next turn, due timers behind what is ready."""

    def __init__(self) -> None:
        self._now_s = 1000.0
        self._ready: deque[FakeHandle] = deque()
        self._timers: list[tuple[float, int, FakeHandle]] = []
        self._numbers = itertools.count()
        self.turns = 0

    @classmethod
    def install(cls, monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> "FakeLoop":
        """A loop that `module` takes for the running one; its `time.monotonic`, if it has one, is the loop's."""
        loop = cls()
        monkeypatch.setattr(module, "asyncio", _Asyncio(loop))
        if hasattr(module, "time"):
            monkeypatch.setattr(module, "time", _Time(loop))
        return loop

    def time(self) -> float:
        """Seconds since some time."""
        return self._now_s

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> FakeHandle:
        """Calls it in the next turn."""
        handle = FakeHandle(callback, arguments)
        self._ready.append(handle)
        return handle

    def call_later(self, delay_s: float, callback: Callable[..., object], *arguments: Any) -> FakeHandle:
        """Calls it when the time has passed."""
        return self.call_at(self._now_s + delay_s, callback, *arguments)

    def call_at(self, when_s: float, callback: Callable[..., object], *arguments: Any) -> FakeHandle:
        """Calls it at a time, or in the next turn where that has passed."""
        handle = FakeHandle(callback, arguments)
        heapq.heappush(self._timers, (when_s, next(self._numbers), handle))
        return handle

    @property
    def timers(self) -> int:
        """How many timers run."""
        return sum(not handle.cancelled for _, _, handle in self._timers)

    @property
    def idle(self) -> bool:
        """Whether nothing is ready now."""
        return not self._ready and not (self._timers and self._timers[0][0] <= self._now_s)

    def turn(self) -> None:
        """One turn: what is ready, and no more."""
        while self._timers and self._timers[0][0] <= self._now_s:
            self._ready.append(heapq.heappop(self._timers)[2])
        self.turns += 1
        for _ in range(len(self._ready)):
            self._ready.popleft().run()

    def settle(self) -> None:
        """Turns until nothing is ready any more."""
        while not self.idle:
            self.turn()

    def advance(self, seconds: float) -> None:
        """Lets time pass, and everything happen in it that is to."""
        until_s = self._now_s + seconds
        self.settle()
        while self._timers and self._timers[0][0] <= until_s:
            self._now_s = max(self._now_s, self._timers[0][0])
            self.settle()
        self._now_s = max(self._now_s, until_s)

    def stall(self, seconds: float) -> None:
        """Lets time pass in which nothing happens: a callback that takes long, or a process that is stopped."""
        self._now_s += seconds


class _Asyncio:
    """The module `asyncio` with another running loop."""

    def __init__(self, loop: FakeLoop) -> None:
        self._loop = loop

    def get_running_loop(self) -> FakeLoop:
        """The fake one."""
        return self._loop

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


class _Time:
    """The module `time` with another clock."""

    def __init__(self, loop: FakeLoop) -> None:
        self.monotonic = loop.time
