"""Sends one at a time, each repeated until it is acknowledged: the stock client's `retries`.

With a message id in what is sent, that the server knows again, a message is handled exactly once. Any
acknowledgement counts as success, one that says "no" as well.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from .acknowledgements import OnAck

Send = Callable[[str, tuple[Any, ...], OnAck], object]


class SendQueue:
    """`send` carries one send out; it is called while the client is connected only.

    One that failed more than `retries` times is given up: its `on_ack` gets None. `counts_losses`: whether a lost
    connection counts as a failure; with the stock client it does where there is a time limit, and not otherwise.
    """

    __slots__ = ("_counts_losses", "_is_connected", "_pending", "_queue", "_retries", "_send", "_tries")

    def __init__(self, send: Send, is_connected: Callable[[], bool], retries: int, *, counts_losses: bool) -> None:
        self._send = send
        self._is_connected = is_connected
        self._retries = retries
        self._counts_losses = counts_losses
        self._queue: deque[tuple[str, tuple[Any, ...], OnAck | None]] = deque()
        self._tries = 0  # of the first
        self._pending = False  # the first is on its way

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, event: str, args: tuple[Any, ...], on_ack: OnAck | None) -> None:
        """Behind all others."""
        self._queue.append((event, args, on_ack))
        self.go_on()

    def go_on(self) -> None:
        """Sends the first, if there is one and it is not on its way already."""
        if self._pending or not self._queue or not self._is_connected():
            return
        self._pending = True
        self._tries += 1
        event, args, _ = self._queue[0]
        self._send(event, args, self._answered)

    def give_up(self, now_s: float) -> None:
        """The client is not coming back: none of them will be acknowledged."""
        while self._queue:
            _, _, on_ack = self._queue.popleft()
            if on_ack is not None:
                on_ack(None, now_s)
        self._pending, self._tries = False, 0

    def _answered(self, args: list[Any] | None, now_s: float) -> None:
        self._pending = False
        if not self._queue:
            return
        failed = args is None
        if failed and not self._counts_losses and not self._is_connected():
            return
        if not failed or self._tries > self._retries:
            _, _, on_ack = self._queue.popleft()
            self._tries = 0
            if on_ack is not None:
                on_ack(args, now_s)
        self.go_on()
