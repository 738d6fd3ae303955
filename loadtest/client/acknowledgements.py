"""Acknowledgements that a client waits for: by their ids, until they come, are lost, or are late."""

import time
from collections.abc import Callable, Collection
from typing import Any

from .wheel import wheel

# What the acknowledgement carried, or None where none will come; and `time.monotonic` when that was known.
OnAck = Callable[[list[Any] | None, float], None]


class Acknowledgements:
    """One client's. Ids are not used twice, not even after a reconnection."""

    __slots__ = ("_next", "_pending")

    def __init__(self) -> None:
        self._next = 0
        self._pending: dict[int, _Pending] | None = None  # id -> who waits

    def expect(self, on_ack: OnAck, within_s: float | None) -> int:
        """Returns the id to send. After `within_s`, if any, on_ack is called with None."""
        number = self._next
        self._next += 1
        pending = _Pending(self, number, on_ack)
        if within_s is not None:
            pending.tick = wheel().watch(pending, time.monotonic() + within_s)
        self._pending = self._pending or {}
        self._pending[number] = pending
        return number

    def answer(self, number: int, args: list[Any] | None, now_s: float) -> None:
        """It came, or never will (None). Nobody waits for one that was late."""
        pending = self._taken(number)
        if pending is not None:
            pending.on_ack(args, now_s)

    def expects(self, number: int) -> bool:
        """Whether somebody still waits for it."""
        return self._pending is not None and number in self._pending

    def lose(self, kept: Collection[int] = ()) -> None:
        """None of those that are pending will come, but for `kept`, which were not sent yet."""
        now_s = time.monotonic()
        for number in list(self._pending or ()):
            if number not in kept:
                self.answer(number, None, now_s)

    def _taken(self, number: int) -> "_Pending | None":
        pending = self._pending.pop(number, None) if self._pending else None
        if not self._pending:
            self._pending = None
        if pending is not None and pending.tick:
            wheel().forget(pending, pending.tick)
        return pending


class _Pending:
    __slots__ = ("_all", "_number", "on_ack", "tick")

    def __init__(self, all_: Acknowledgements, number: int, on_ack: OnAck) -> None:
        self._all = all_
        self._number = number
        self.on_ack = on_ack
        self.tick = 0

    def due(self, now_s: float) -> None:
        """Too late."""
        self.tick = 0
        self._all.answer(self._number, None, now_s)
