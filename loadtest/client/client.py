"""A Socket.IO v5 client for load: one namespace, one connection, as the stock JavaScript client 4.8 behaves.

It receives in bulk: `Listener.heard` is called once for each time its socket is readable, with all events that
came; they are not decoded. Receiving needs no greenlet; `connect`, `call` and a reconnection take one. Below it
are `engine.py` (the session), `websocket.py` and `polling.py` (its transports).
"""

import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import orjson

from . import hub, packets
from .acknowledgements import OnAck
from .address import DEFAULT_PATH, parse
from .engine import Engine, opening_failed, opening_timed_out
from .errors import (
    AckTimeout,
    BinaryUnsupported,
    ClientError,
    ConnectionBroke,
    Lost,
    NotConnected,
    NotSocketIO,
    ProtocolViolation,
    Refused,
    UpgradeFailed,
)
from .listener import BY_CLIENT, BY_SERVER, Listener, reason_of
from .outbox import Outbox
from .packets import Batch, Packet, batches, decode, prefix
from .reconnection import Reconnection, planned
from .recovery import Recovery
from .route import Route

State = Literal["new", "connecting", "connected", "reconnecting", "closed"]
TransportName = Literal["websocket", "polling", "upgrade"]
Auth = Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None

NODE_ID_CHARACTERS = 8
EARLY_MAX = 10_000  # events before CONNECT is answered


class Client:
    """One client. `auth` (a callable is called before each connection, and may block) goes with CONNECT.

    `transport`: `websocket`, `polling`, or `upgrade`, polling that becomes a WebSocket. `recover` adds
    `recover: true` to `auth`. With `retries`, sends go one at a time and are repeated (see `send_queue.py`);
    `ack_timeout_s` ends the waiting for any acknowledgement. `tls`: False trusts any certificate.
    Raises AddressError.
    """

    __slots__ = (
        *("__weakref__", "_auth", "_batches", "_began_s", "_connect_timeout_s", "_early", "_engine", "_greenlet"),
        *("_hello", "_listener", "_opening", "_outbox", "_reconnection", "_recovery", "_route", "_transport"),
        *("binary_events", "data", "eio_sid", "namespace", "opened_s", "reconnects", "sid", "state", "why"),
    )

    def __init__(
        self,
        url: str,
        listener: Listener,
        *,
        namespace: str = "/",
        auth: Auth = None,
        transport: TransportName = "websocket",
        cookies: bool = True,
        reconnection: bool | Reconnection = True,
        recover: bool = False,
        retries: int = 0,
        ack_timeout_s: float | None = None,
        connect_timeout_s: float = 20.0,
        tls: bool | ssl.SSLContext = True,
        path: str = DEFAULT_PATH,
        headers: Mapping[str, str] | None = None,
        source_ip: str | None = None,
    ) -> None:
        address = parse(url, path)
        self._route = Route(address, tls=tls, cookies=cookies, headers=headers, source_ip=source_ip)
        self._listener = listener
        self._auth = auth
        self._recovery = Recovery(asks=recover)
        self._transport = transport
        self._reconnection = planned(reconnection)
        self._connect_timeout_s = connect_timeout_s
        self._batches = batches(namespace)
        self._engine: Engine | None = None
        self._opening: hub.Outcome | None = None  # while it opens
        self._began_s = 0.0
        self._hello = b""  # CONNECT, as the next engine is to send it
        self._greenlet: hub.Greenlet | None = None  # while it reconnects
        self._outbox = Outbox(namespace, retries, ack_timeout_s)
        self._early: list[bytes] | None = None  # events that came before CONNECT was answered
        self.namespace = namespace
        self.data: Any = None  # the listener's own
        self.state: State = "new"
        self.sid: str | None = None
        self.eio_sid: str | None = None  # of the newest connection, also when that is lost
        self.reconnects = 0
        self.opened_s = 0.0  # how long the newest connection took to open
        self.binary_events = 0
        self.why: ClientError | None = None  # it was lost; None where either side has said goodbye

    # What it is

    @property
    def pid(self) -> str | None:
        """By which the server knows it when it comes back; None where that offers no recovery."""
        return self._recovery.pid

    @property
    def recovered(self) -> bool:
        """Whether its newest connection goes on where the one before broke: nothing is missing."""
        return self._recovery.recovered

    @property
    def node_id(self) -> str:
        """The node of this kit that holds its newest connection; empty before the first."""
        return (self.eio_sid or "")[:NODE_ID_CHARACTERS]

    @property
    def is_connected(self) -> bool:
        """Whether what is sent leaves at once."""
        return self.state == "connected"

    @property
    def transport(self) -> str:
        """The one in use, `websocket` or `polling`; empty without a connection."""
        return self._engine.transport if self._engine is not None else ""

    @property
    def bytes_in(self) -> int:
        """Read from all of its sockets so far, HTTP and TLS included."""
        return self._route.traffic.bytes_in

    @property
    def bytes_out(self) -> int:
        """Written to all of its sockets so far, HTTP and TLS included."""
        return self._route.traffic.bytes_out

    # What it does

    def connect(self) -> None:
        """Connects; blocks the greenlet. Raises OpeningFailed, and does not try again by itself then."""
        if self.state not in ("new", "closed"):
            raise NotConnected(f"expected a client that is new or closed, this one is {self.state}")
        self.state = "connecting"
        try:
            self._open()
        except BaseException:
            if self.state == "connecting":
                self._close()
            raise

    def emit(self, event: str, *args: Any) -> None:
        """Sends an event; nobody asks whether it arrived. Raises NotConnected, SendBufferFull, TypeError (JSON).

        While it connects or reconnects, it is sent after that.
        """
        self._put(event, args, None)

    def send(self, event: str, *args: Any, on_ack: OnAck) -> None:
        """As `emit`, and calls `on_ack(args, now_s)` once: with None where no acknowledgement will come."""
        self._put(event, args, on_ack)

    def call(self, event: str, *args: Any, timeout_s: float) -> list[Any]:
        """As `emit`, and returns the acknowledgement's arguments; blocks the greenlet. Raises AckTimeout, Lost."""
        answered = hub.Outcome()
        self.send(event, *args, on_ack=lambda args, now_s: answered.tell(args))
        try:
            found: list[Any] | None = answered.wait(timeout_s)
        except TimeoutError:
            raise AckTimeout(f"{event!r} was not acknowledged within {timeout_s:g} s") from None
        if found is None:
            raise Lost(f"{event!r} will not be acknowledged: {self.why or 'too late, or the client has left'}")
        return found

    def disconnect(self) -> None:
        """Says goodbye and is closed at once; what was sent before still goes out. May be called at any time.

        The listener's `lost` is called with BY_CLIENT; acknowledgements that are waited for are lost.
        """
        was_connected = self.state == "connected"
        if self.state in ("new", "closed"):
            return
        goodbye = prefix(packets.DISCONNECT, self.namespace) if was_connected else None
        self._drop(lambda engine: engine.leave(goodbye))
        self.why = None
        self._close()
        if was_connected:
            self._gone(BY_CLIENT)
        self._outbox.give_up()

    def cut(self) -> None:
        """Breaks the connection without a word, as a cable does; then it reconnects as after any loss."""
        if self._engine is None:
            return
        self._drop(Engine.reset)
        self.engine_ended(ConnectionBroke("it was cut on purpose"))

    def _put(self, event: str, args: tuple[Any, ...], on_ack: OnAck | None) -> None:
        if self.state in ("new", "closed"):
            raise NotConnected(f"expected a connection to send {event!r}, the client is {self.state}")
        self._outbox.put(event, args, on_ack)

    # Opening

    def _open(self) -> None:
        """Connects, and returns once CONNECT is answered. Raises OpeningFailed, and what `auth` raises."""
        self._began_s, self._early = time.monotonic(), None
        self._opening = opening = hub.Outcome()
        try:
            self._route.resolve()
            auth = self._auth() if callable(self._auth) else self._auth
            self._hello = self._connect_packet(self._recovery.presented() | dict(auth or {}))
            if not opening.known:
                self._engine = Engine(self, self._route, self._batches, self._transport)
            opening.wait(self._connect_timeout_s)
        except TimeoutError:
            waiting_for = self._engine.waiting_for if self._engine is not None else "a connection"
            self._drop(Engine.close)
            raise opening_timed_out(waiting_for, self._connect_timeout_s) from None
        except BaseException:
            self._drop(Engine.close)
            raise
        finally:
            if self._opening is opening:
                self._opening = None

    def _connect_packet(self, told: dict[str, Any]) -> bytes:
        return prefix(packets.CONNECT, self.namespace) + (orjson.dumps(told) if told else b"")

    def engine_opened(self) -> None:
        """Asks for the namespace."""
        if self._engine is not None:
            self._engine.send(self._hello)

    def _welcomed(self, data: Any, now_s: float) -> None:
        sid = data.get("sid") if isinstance(data, dict) else None
        if not isinstance(sid, str) or self._engine is None or self._opening is None:
            self._drop(Engine.close)
            self.engine_ended(NotSocketIO(f"expected Socket.IO v5's answer to CONNECT, got {data!r}"))
            return
        self._recovery.answered(data.get("pid"))
        self.sid, self.eio_sid = sid, self._engine.sid
        self.opened_s = now_s - self._began_s
        self.reconnects += self.state == "reconnecting"
        self.state = "connected"
        self._opening.tell()
        early, self._early = self._early, None
        if early:
            self.heard(Batch(early), now_s)
        if self._engine is not None:
            self._outbox.connected(self._engine)
        if self._engine is not None:
            self._listener.connected(self)

    def _refused(self, data: Any) -> None:
        told = data if isinstance(data, dict) else {"message": data}
        why = f"the server refused CONNECT to {self.namespace}: {told.get('message')}"
        error = Refused(why, told.get("data"))
        self._drop(lambda engine: engine.leave(None))
        if self._opening is not None:
            self._opening.fail(error)

    # Hearing

    def heard(self, batch: Batch, now_s: float) -> None:
        """Of the engine: all events come through here."""
        if self.state != "connected":
            self._hear_early(batch)
            return
        recovery = self._recovery
        if recovery.pid is not None and batch.trailing is not None:
            recovery.trailing = batch.trailing
        self._listener.heard(self, batch, now_s)

    def packet(self, message: bytes, now_s: float) -> None:
        """Of the engine: whatever is no plain event."""
        packet = decode(message)
        if packet.namespace != self.namespace:
            return
        if packet.kind in (packets.ACK, packets.BINARY_ACK):
            self._outbox.acknowledged(packet.id, packet.data if isinstance(packet.data, list) else [], now_s)
        elif packet.kind == packets.EVENT:
            self._answer(packet, message, now_s)
        elif packet.kind == packets.CONNECT:
            self._welcomed(packet.data, now_s)
        elif packet.kind == packets.CONNECT_ERROR:
            self._refused(packet.data)
        elif packet.kind == packets.DISCONNECT:
            self._sent_away()
        elif packet.kind == packets.BINARY_EVENT:
            self._binary(packet, message)

    def _answer(self, packet: Packet, message: bytes, now_s: float) -> None:
        """An event that wants an acknowledgement gets an empty one; what carries none is heard as it is."""
        if not isinstance(packet.data, list) or not packet.data:
            raise ProtocolViolation(f"expected an event's name and arguments, got {packets.shown(message)}")
        if packet.id >= 0 and self._engine is not None:
            self._engine.send(prefix(packets.ACK, self.namespace) + b"%d[]" % packet.id)
        batch = Batch([message])
        batch.trailing = None if packet.id >= 0 else batch.trailing
        self.heard(batch, now_s)

    def _binary(self, packet: Packet, message: bytes) -> None:
        self.binary_events += 1
        if packet.id < 0 and self.pid is not None and message.endswith(b'"]'):
            self._recovery.trailing = message
        error = BinaryUnsupported(f"a binary event was dropped: {packets.shown(message)}")
        self._listener.failed(self, error)

    def attachment(self) -> None:
        """Of the engine: belongs to a binary event, which was told of."""

    def _hear_early(self, batch: Batch) -> None:
        if self._opening is None:
            return
        self._early = self._early or []
        self._early += batch
        if len(self._early) > EARLY_MAX:
            raise ProtocolViolation(f"expected an answer to CONNECT, got {EARLY_MAX:,} events")

    # Ending

    def engine_ended(self, error: ClientError) -> None:
        """Of the engine: it was not opened, or broke."""
        self._engine = None
        if self.state != "connected":
            if self._opening is not None:
                self._opening.fail(opening_failed(error))
            return
        self.why = error
        self.state = "closed"
        if self._reconnection is not None:
            self.state = "reconnecting"
            self._greenlet = hub.spawn(self._reconnect)
        self._gone(reason_of(error))
        if self._reconnection is None:
            self._outbox.give_up()

    def not_upgraded(self, error: UpgradeFailed) -> None:
        """Of the engine: it goes on polling."""
        self._listener.failed(self, error)

    def _sent_away(self) -> None:
        """The server has ended the namespace: a stock client does not come back then."""
        self.why = None
        self._drop(lambda engine: engine.leave(None))
        if self._opening is not None:
            self._opening.fail(Refused("the server ended the namespace instead of answering CONNECT", None))
        elif self.state == "connected":
            self.state = "closed"
            self._gone(BY_SERVER)
            self._outbox.give_up()

    def _drop(self, end: Callable[[Engine], None]) -> None:
        """Ends the engine, if there is one, so that it says nothing any more."""
        engine, self._engine = self._engine, None
        if engine is not None:
            end(engine)

    def _gone(self, reason: str) -> None:
        self.sid = None
        try:
            self._listener.lost(self, reason)
        finally:
            self._outbox.lost()

    def _close(self) -> None:
        self.state = "closed"
        greenlet, self._greenlet = self._greenlet, None
        if self._opening is not None:
            self._opening.fail(NotConnected("the client was disconnected while it connected"))
        elif greenlet is not None and not hub.is_running(greenlet):
            greenlet.kill(block=False)

    # Reconnecting

    def _reconnect(self) -> None:
        assert self._reconnection is not None
        try:
            self._reconnection.keep_trying(lambda: self.state == "reconnecting", self._is_back)
        finally:
            if self.state == "reconnecting" and self._greenlet is not None and hub.is_running(self._greenlet):
                self.state = "closed"  # there were too many attempts, or `auth` has raised
                self._outbox.give_up()

    def _is_back(self) -> bool:
        try:
            self._open()
        except NotConnected:
            return True  # by `disconnect`, which has told whoever must know
        except Refused as error:
            self.state = "closed"
            self._listener.failed(self, error)
            self._outbox.give_up()
            return True
        except ClientError as error:
            self._listener.failed(self, error)
            return False
        return True
