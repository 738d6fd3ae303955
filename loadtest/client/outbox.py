"""What a client sends: at once, or once it is connected; and the acknowledgements of it."""

import time
from typing import Any

import orjson

from .acknowledgements import Acknowledgements, OnAck
from .engine import Engine
from .errors import SendBufferFull
from .packets import EVENT, prefix
from .send_queue import SendQueue

WAITING_MAX = 10_000


class Outbox:
    """One client's, for all of its connections. `ack_timeout_s`: how long an acknowledgement is waited for.

    With `retries`, events go one at a time, and again until they are acknowledged (see `send_queue.py`).
    """

    __slots__ = ("_ack_timeout_s", "_acks", "_engine", "_prefix", "_queue", "_waiting")

    def __init__(self, namespace: str, retries: int, ack_timeout_s: float | None) -> None:
        self._prefix = prefix(EVENT, namespace)
        self._ack_timeout_s = ack_timeout_s
        self._acks = Acknowledgements()
        self._engine: Engine | None = None  # while connected
        self._waiting: list[tuple[int, bytes]] | None = None  # (acknowledgement or -1, message) for the connection
        self._queue: SendQueue | None = None
        if retries:
            counts = ack_timeout_s is not None
            self._queue = SendQueue(self._send, self._is_connected, retries, counts_losses=counts)

    def put(self, event: str, args: tuple[Any, ...], on_ack: OnAck | None) -> None:
        """An event to send. Raises SendBufferFull, and TypeError for what is no JSON."""
        if self._queue is not None:
            self._queue.add(event, args, on_ack)
        else:
            self._send(event, args, on_ack)

    def acknowledged(self, number: int, args: list[Any], now_s: float) -> None:
        """The server has answered an event."""
        self._acks.answer(number, args, now_s)

    def connected(self, engine: Engine) -> None:
        """CONNECT was answered: sends what waits."""
        self._engine = engine
        waiting, self._waiting = self._waiting, None
        for number, message in waiting or ():
            # What was not sent until its acknowledgement was due never will be.
            if number < 0 or self._acks.expects(number):
                engine.send(message)
        if self._queue is not None:
            self._queue.go_on()

    def lost(self) -> None:
        """The connection is gone, and with it the acknowledgements of what was sent through it."""
        self._engine = None
        self._acks.lose({number for number, _ in self._waiting or ()})

    def give_up(self) -> None:
        """No connection will come: nothing that waits is sent."""
        self._engine = self._waiting = None
        self._acks.lose()
        if self._queue is not None:
            self._queue.give_up(time.monotonic())

    def _is_connected(self) -> bool:
        return self._engine is not None

    def _send(self, event: str, args: tuple[Any, ...], on_ack: OnAck | None) -> None:
        if self._waiting is not None and len(self._waiting) >= WAITING_MAX:
            raise SendBufferFull(f"{WAITING_MAX:,} events wait for a connection already")
        text = orjson.dumps([event, *args])
        number = self._acks.expect(on_ack, self._ack_timeout_s) if on_ack is not None else -1
        message = b"%b%d%b" % (self._prefix, number, text) if number >= 0 else self._prefix + text
        if self._engine is not None:
            self._engine.send(message)
            return
        if self._waiting is None:
            self._waiting = []
        self._waiting.append((number, message))
