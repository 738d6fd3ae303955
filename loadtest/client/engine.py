"""An Engine.IO v4 session: its opening, the server's pings, the upgrade from polling to a WebSocket, its end.

It hands events through in batches and Socket.IO's other packets one by one; `client.py` knows what they mean.
"""

import time
from typing import Any, Protocol

import orjson

from .errors import (
    ClientError,
    ConnectionBroke,
    NotSocketIO,
    OpeningFailed,
    OpeningTimedOut,
    ProtocolViolation,
    SendBufferFull,
    UpgradeFailed,
)
from .packets import BINARY, CLOSE, MESSAGE, NOOP, OPEN, PING, PONG, UPGRADE, Batch, Batches, shown
from .polling import PollingTransport
from .route import Route
from .session import Transport
from .websocket import WebSocketTransport
from .wheel import TICK_S, wheel

PROBE, PROBED = b"2probe", b"3probe"


class PingTimeout(ConnectionBroke):
    """The server was silent for longer than it said it would be."""


class User(Protocol):
    """Whose session it is. All are called in the hub."""

    def engine_opened(self) -> None:
        """The session is there; packets can be sent."""

    def heard(self, batch: Batch, now_s: float) -> None:
        """Events of its namespace that want no acknowledgement."""

    def packet(self, message: bytes, now_s: float) -> None:
        """Any other Socket.IO packet, with Engine.IO's `4` before it. Raises ProtocolViolation."""

    def attachment(self) -> None:
        """A binary message."""

    def not_upgraded(self, error: UpgradeFailed) -> None:
        """It stays with polling."""

    def engine_ended(self, error: ClientError) -> None:
        """It was not opened, or broke. Not called after it was told to end."""


class Engine:
    """One session. `transport`: `websocket`, `polling`, or `upgrade` from the one to the other.

    `sid` is None until it is open; `waiting_for`: what the opening waits for.
    """

    __slots__ = (
        *("_batches", "_deadline_s", "_doubted", "_probe", "_route", "_silence_s", "_tick", "_transport"),
        *("_upgrades", "_user", "_waiting", "heard", "sid", "waiting_for"),
    )

    def __init__(self, user: User, route: Route, batches: Batches, transport: str) -> None:
        self._user = user
        self._route = route
        self._batches = batches
        self._upgrades = transport == "upgrade"
        self._waiting: list[bytes] | None = None  # messages, while neither transport takes any
        self._probe: WebSocketTransport | None = None
        self._tick = 0
        self._deadline_s = self._silence_s = 0.0
        self._doubted = False  # the deadline has passed, but something may be unread
        self.heard = user.heard  # without a call in between: this is where all deliveries pass
        self.sid: str | None = None
        self.waiting_for = ""
        self._transport: Transport | None = None
        made = WebSocketTransport if transport == "websocket" else PollingTransport
        self._transport = made(self, route, batches)

    @property
    def transport(self) -> str:
        """The one in use, `websocket` or `polling`; empty once it has ended."""
        return self._transport.name if self._transport is not None else ""

    def send(self, message: bytes) -> None:
        """An Engine.IO message. Raises SendBufferFull."""
        if self._waiting is not None:
            self._waiting.append(message)
        elif self._transport is not None:
            self._transport.send([message])

    def leave(self, goodbye: bytes | None) -> None:
        """Ends it politely; `goodbye` is the last message."""
        transport, probe = self._forget()
        if probe is not None:
            probe.close()
        if transport is None:
            return
        last = [*(self._waiting or ()), *([goodbye] if goodbye is not None else ())]
        try:
            if last:
                transport.send(last)
            transport.leave()
        except SendBufferFull:
            transport.close()  # the server has not read for long, and would not read this either

    def reset(self) -> None:
        """Breaks its TCP connections."""
        for each in self._forget():
            if each is not None:
                each.reset()

    def close(self) -> None:
        """Ends its TCP connections at once."""
        for each in self._forget():
            if each is not None:
                each.close()

    def _forget(self) -> tuple[Transport | None, Transport | None]:
        found = self._transport, self._probe
        self._transport = self._probe = None
        if self._tick:
            wheel().forget(self, self._tick)
            self._tick = 0
        return found

    def _end(self, error: ClientError) -> None:
        self.close()
        self._user.engine_ended(error)

    # Of its transports

    def step(self, waiting_for: str) -> None:
        """As Session's."""
        if self.sid is None:
            self.waiting_for = waiting_for

    def opened(self, transport: Transport) -> None:
        """The WebSocket did. One that shall take over is tried first."""
        if transport is self._probe:
            transport.send([PROBE])

    def messages(self, transport: Transport, messages: list[bytes], now_s: float) -> None:
        """Engine.IO messages; events that follow each other are one batch."""
        if transport is self._probe and transport is not None:
            self._probed(messages)
            return
        events: list[bytes] = []
        for message in messages:
            if self._transport is not transport:
                return  # it was told to end by what it has handed over
            if self._batches.is_event(message):
                events.append(message)
                continue
            if events:
                self.heard(Batch(events), now_s)
                events = []
            if self._transport is transport:
                self._message(message, now_s)
        if events and self._transport is transport:
            self.heard(Batch(events), now_s)

    def broke(self, transport: Transport, error: ClientError) -> None:
        """It ended, or the one that should take over did."""
        if transport is self._probe and transport is not None:
            self._not_upgraded(error)
        elif transport is self._transport and transport is not None:
            self._end(error)

    # Messages

    def _message(self, message: bytes, now_s: float) -> None:
        kind = message[:1]
        if kind == MESSAGE:
            self._user.packet(message, now_s)
        elif kind == PING:
            self._heartbeat()
            self.send(PONG + message[1:])
        elif kind == OPEN:
            self._handshake(message)
        elif kind == BINARY:
            self._user.attachment()
        elif kind not in (CLOSE, PONG, NOOP):
            raise ProtocolViolation(f"expected an Engine.IO message, got {shown(message)}")

    def _handshake(self, message: bytes) -> None:
        try:
            told = orjson.loads(message[1:])
            sid, upgrades = str(told["sid"]), list(told["upgrades"])
            self._silence_s = (float(told["pingInterval"]) + float(told["pingTimeout"])) / 1000
        except (ValueError, KeyError, TypeError):
            self._end(NotSocketIO(f"expected OPEN of an Engine.IO v4 server, got {shown(message)}"))
            return
        if self.sid is not None:
            raise ProtocolViolation("expected one OPEN in a session, got another")
        self.sid = sid
        self._heartbeat()
        self._tick = wheel().watch(self, self._deadline_s)
        transport = self._transport
        if isinstance(transport, PollingTransport):
            transport.sid, transport.max_payload_bytes = sid, _size(told)
        self.waiting_for = "an answer to CONNECT"
        self._user.engine_opened()
        if self._upgrades and "websocket" in upgrades and self._transport is transport:
            self._probe = WebSocketTransport(self, self._route, self._batches, sid)

    # Pings

    def _heartbeat(self) -> None:
        self._deadline_s = time.monotonic() + self._silence_s
        self._doubted = False

    def due(self, now_s: float) -> None:
        """Looks whether the server is silent, and not just unread because this process is late."""
        if now_s < self._deadline_s:
            self._tick = wheel().watch(self, self._deadline_s)
        elif not self._doubted:
            self._doubted = True
            self._tick = wheel().watch(self, now_s + TICK_S)
        else:
            self._tick = 0
            self._end(PingTimeout(f"expected a ping every {self._silence_s:g} s at least, got none"))

    # Upgrade

    def _probed(self, messages: list[bytes]) -> None:
        if messages != [PROBED]:
            self._not_upgraded(ProtocolViolation(f"expected {PROBED!r}, got {shown(messages[0])}"))
            return
        assert isinstance(self._transport, PollingTransport)
        self._waiting = []
        self._transport.pause(self._take_over)

    def _take_over(self) -> None:
        if self._probe is None or self._transport is None:
            return  # ended meanwhile
        polling, self._transport, self._probe = self._transport, self._probe, None
        waiting, self._waiting = self._waiting or [], None
        polling.close()
        self._transport.send([UPGRADE, *waiting])

    def _not_upgraded(self, error: ClientError) -> None:
        if self._probe is None:
            return
        self._probe.close()
        self._probe = None
        if self._waiting is not None:
            # Polling has paused, or will: the server takes no more of it once it was probed.
            self._end(error)
            return
        self._user.not_upgraded(UpgradeFailed(f"the WebSocket could not take over from polling: {error}"))


def opening_failed(error: ClientError) -> OpeningFailed:
    """The same, as the reason for which there is no connection."""
    return error if isinstance(error, OpeningFailed) else OpeningFailed(f"it broke while it was opened: {error}")


def opening_timed_out(waiting_for: str, within_s: float) -> OpeningTimedOut:
    """For whoever waits for the opening."""
    return OpeningTimedOut(f"expected {waiting_for} within {within_s:g} s, got nothing", waiting_for)


def _size(told: dict[str, Any]) -> int:
    size = told.get("maxPayload")
    return size if isinstance(size, int) else 0
