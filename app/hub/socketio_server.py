"""python-socketio's AsyncServer, in order and unimpressed by bad packets.

Packets of one connection are handled in the order they came (`hub.turns`); a packet that breaks the protocol
ends its connection, as the Node.js server does, without a traceback; a handler may return a future as its
acknowledgement.

It touches python-socketio's private `_handle_eio_disconnect`, `_handle_connect`, `_handle_disconnect`,
`_handle_ack`, `_trigger_event`, `_send_packet`, `_binary_packet` and `_engineio_server_class`;
`tests/hub/test_socketio_internals.py` fails when they move.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from socketio import AsyncServer, packet

from .. import wire
from ..errors import ClusterKitError, NotConnected, Stale, StoreError
from ..transport.engineio_packet import BadMessage
from ..transport.engineio_server import Connection, EngineServer
from ..wire import Packet
from .environs import Environs
from .manager import ClusterManager
from .turns import Turns

logger = logging.getLogger(__name__)


def _library_logger(name: str) -> logging.Logger:
    """At INFO the libraries write a line for every packet; and they log what clients sent as it came."""
    library = logging.getLogger(name)
    library.setLevel(logging.ERROR)
    library.addFilter(_on_one_line)
    return library


def _on_one_line(record: logging.LogRecord) -> bool:
    record.msg, record.args = record.getMessage().encode("unicode_escape").decode(), ()
    return True


# Events that only the library itself may raise (socket.io-parser refuses them, too).
RESERVED_EVENTS = frozenset({"connect", "connect_error", "disconnect", "disconnecting"})
# A binary event announces its attachments; so many may be announced, and together be as long as one message.
ATTACHMENTS_MAX = 64


class BadPacket(ClusterKitError):
    """What came is no Socket.IO v5 packet."""


class OrjsonModule:
    """What python-socketio asks of a JSON module."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        """Compact JSON."""
        return wire.to_json(value)

    @staticmethod
    def loads(text: str | bytes, **_: Any) -> Any:
        """The value of a JSON text, lone surrogates replaced by U+FFFD. Raises ValueError."""
        try:
            return wire.from_json(text)
        except ValueError:
            return wire.from_json(_without_lone_surrogates(text))


class ClusterServer(AsyncServer):  # type: ignore[misc]
    """A Socket.IO server of one node. `options` are AsyncServer's."""

    manager_initialized: bool

    def __init__(self, manager: ClusterManager, **options: Any) -> None:
        settings = manager.settings
        super().__init__(
            client_manager=manager,
            node=manager.node,
            async_mode="asgi",
            logger=_library_logger("app.socketio"),
            engineio_logger=_library_logger("app.engineio"),
            json=OrjsonModule,
            ping_interval=settings.ping_interval_s,
            ping_timeout=settings.ping_timeout_s,
            max_http_buffer_size=settings.max_message_bytes,
            send_buffer_bytes=settings.send_buffer_bytes,
            metrics=manager.metrics,
            **options,
        )
        self.eio: EngineServer
        self.eio.receiver = self
        self.environ = Environs(self.eio.sockets)
        self._metrics = manager.metrics
        self._turns = Turns(settings.event_queue_max, self._pause_reading, self._resume_reading)

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    async def drain(
        self,
        notice_s: float = 0.0,
        spread_s: float = 0.0,
        forwarded: Callable[[], Iterable[Connection]] = tuple,
    ) -> None:
        """Takes no new connection, and after `notice_s` ends every one there is, over at most `spread_s`.

        Stock clients come back, to another node. `forwarded` tells what else ends then.
        """
        self.eio.draining = True
        await asyncio.sleep(notice_s)
        self.manager.fanout.flush()
        await self.eio.close_all(spread_s, forwarded())

    # --- packets in: `transport.engineio_server.Receiver` ----------------------------------------------------

    def opened(self, eio_sid: str) -> None:
        """A session begins."""
        if not self.manager_initialized:
            self.manager_initialized = True
            self.manager.initialize()

    def received(self, eio_sid: str, data: str | bytes) -> None:
        """A message has come: what it is or completes takes its place in the client's line.

        Raises BadMessage where it is no Socket.IO packet, which ends the connection.
        """
        try:
            pkt = self._assemble(eio_sid, data)
        except BadPacket as error:
            self._metrics.bad_packets += 1
            logger.info("closing connection %s: %s", eio_sid, error)
            raise BadMessage from None
        if pkt is None:  # its attachments are still to come
            return
        if pkt.packet_type in (packet.ACK, packet.BINARY_ACK):  # a handler may be waiting for it
            if self.manager.expects(eio_sid, pkt.namespace or "/", pkt.id):
                self.start_background_task(self._handle_ack, eio_sid, pkt.namespace, pkt.id, pkt.data)
        else:
            self._turns.take(eio_sid, partial(self._dispatch, eio_sid, pkt))

    def _pause_reading(self, eio_sid: str) -> None:
        connection = self.eio.sockets.get(eio_sid)
        if connection is not None:
            connection.pause_reading()

    def _resume_reading(self, eio_sid: str) -> None:
        connection = self.eio.sockets.get(eio_sid)
        if connection is not None:
            connection.resume_reading()

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        self._binary_packet.pop(eio_sid, None)
        self.manager.returning.broke(eio_sid, self.eio.ping_timeout if reason == self.reason.PING_TIMEOUT else 0.0)
        await self._turns.take_last(eio_sid, partial(super()._handle_eio_disconnect, eio_sid, reason))

    def _assemble(self, eio_sid: str, data: Any) -> packet.Packet | None:
        """The packet that `data` is or completes. Raises BadPacket."""
        try:
            waiting = self._binary_packet.get(eio_sid)
            if waiting is not None:
                return self._attach(eio_sid, waiting, data)
            if not isinstance(data, str):
                raise BadPacket("a binary message that no packet announced")
            pkt = self.packet_class(encoded_packet=data)
            _check(pkt)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise BadPacket(f"not a Socket.IO packet: {error}") from None
        if pkt.attachment_count == 0:
            return pkt
        if self.manager.sid_from_eio_sid(eio_sid, pkt.namespace or "/") is None:
            raise BadPacket("a binary packet before connecting to its namespace")
        self._binary_packet[eio_sid] = pkt
        return None

    def _attach(self, eio_sid: str, waiting: packet.Packet, data: Any) -> packet.Packet | None:
        if not isinstance(data, bytes):
            raise BadPacket("a text message where a binary attachment was announced")
        if sum(map(len, waiting.attachments)) + len(data) > self.eio.max_http_buffer_size:
            raise BadPacket("attachments that are together too long")
        if not waiting.add_attachment(data):
            return None
        del self._binary_packet[eio_sid]
        return waiting

    # --- one packet's turn ---------------------------------------------------------------------------------

    async def _dispatch(self, eio_sid: str, pkt: packet.Packet) -> "asyncio.Future[Any] | None":
        if not self.manager.cluster.vigil.look():
            await self.manager.cluster.vigil.certain()
        if eio_sid not in self.environ:
            return None
        if pkt.packet_type == packet.CONNECT:
            await self._handle_connect(eio_sid, pkt.namespace, pkt.data)
        elif pkt.packet_type == packet.DISCONNECT:
            await self._handle_disconnect(eio_sid, pkt.namespace)
        else:
            return await self._handle_ordered_event(eio_sid, pkt)
        return None

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        """As python-socketio's, with an error object for an unknown namespace; where Redis is away the
        connection ends, so that the client tries again (a stock one does not after CONNECT_ERROR).
        """
        if not self._knows(namespace or "/"):
            error = self.packet_class(packet.CONNECT_ERROR, {"message": "Invalid namespace"}, namespace)
            await self._send_packet(eio_sid, error)
            return
        self.manager.returning.present(eio_sid, namespace or "/", data)
        try:
            await super()._handle_connect(eio_sid, namespace, data)
        except (StoreError, Stale, NotConnected) as error:  # or it was taken, or swept, meanwhile
            logger.warning("closing connection %s, it cannot be served: %s", eio_sid, error)
            await self._abandon(eio_sid, namespace)
        except Exception:  # the app's connect handler
            self._metrics.handler_errors += 1
            logger.exception("the connect handler of %s failed", namespace or "/")
            await self._abandon(eio_sid, namespace)

    async def _handle_disconnect(self, eio_sid: str, namespace: str | None, reason: str | None = None) -> None:
        """As python-socketio's, whatever the app's handler does; without a reason the client has said goodbye."""
        namespace = namespace or "/"
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        if sid is None or not self.manager.is_connected(sid, namespace):
            return
        self.manager.pre_disconnect(sid, namespace)
        try:
            await self._trigger_event("disconnect", namespace, sid, reason or self.reason.CLIENT_DISCONNECT)
        except Exception:  # the app's
            self._metrics.handler_errors += 1
            logger.exception("the disconnect handler of %s failed", namespace)
        finally:
            await self.manager.disconnect(sid, namespace, ignore_queue=True, broken=reason is not None)

    def _knows(self, namespace: str) -> bool:
        if self.namespaces == "*":
            return True
        return any(namespace in known for known in (self.handlers, self.namespace_handlers, self.namespaces))

    async def _abandon(self, eio_sid: str, namespace: str | None) -> None:
        """Undoes a connect that failed half-way."""
        namespace = namespace or "/"
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        if sid is not None and not self.manager.is_connected(sid, namespace):
            recovered = self.manager.is_recovered(sid, namespace)
            await self.manager.disconnect(sid, namespace, ignore_queue=True, broken=recovered)
        await self._close(eio_sid)

    async def _handle_ordered_event(self, eio_sid: str, pkt: packet.Packet) -> "asyncio.Future[Any] | None":
        namespace = pkt.namespace or "/"
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        if sid is None or not self.manager.serves(sid, namespace):
            return None
        try:
            result = await self._trigger_event(pkt.data[0], namespace, sid, *pkt.data[1:])
        except Exception:  # the app's handler; the client gets no acknowledgement
            self._metrics.handler_errors += 1
            logger.exception("the handler of %r in %s failed", pkt.data[0], namespace)
            return None
        if asyncio.isfuture(result):
            result.add_done_callback(partial(self._acknowledge_later, eio_sid, pkt))
            return result
        self._acknowledge(eio_sid, pkt, result)
        return None

    def _acknowledge_later(self, eio_sid: str, pkt: packet.Packet, result: "asyncio.Future[Any]") -> None:
        try:
            self._acknowledge(eio_sid, pkt, result.result())
        except asyncio.CancelledError:
            logger.warning("%r was not acknowledged: what its handler returned was cancelled", pkt.data[0])
        except StoreError as error:  # not acknowledged: what a retry can mend must not look like an answer
            logger.warning("%r was not acknowledged: %s", pkt.data[0], error)
        except Exception:  # the app's
            self._metrics.handler_errors += 1
            logger.exception("what the handler of %r returned failed", pkt.data[0])

    def _acknowledge(self, eio_sid: str, pkt: packet.Packet, result: Any) -> None:
        if pkt.id is None or result is self.not_handled:
            return
        data = [] if result is None else list(result) if isinstance(result, tuple) else [result]
        self._send(eio_sid, self.packet_class(packet.ACK, namespace=pkt.namespace, id=pkt.id, data=data))

    async def _send_packet(self, eio_sid: str, pkt: packet.Packet) -> None:
        if pkt.packet_type == packet.CONNECT:
            pkt.data |= self.manager.returning.pid(eio_sid, pkt.namespace or "/")
        self._send(eio_sid, pkt)

    def _send(self, eio_sid: str, pkt: packet.Packet) -> None:
        """Sends a packet past the log and all that waits there for the client."""
        encoded = pkt.encode()
        text, *attachments = encoded if isinstance(encoded, list) else [encoded]
        self.manager.fanout.send(eio_sid, Packet(text, tuple(map(bytes, attachments))))

    async def _close(self, eio_sid: str) -> None:
        connection = self.eio.sockets.get(eio_sid)
        if connection is not None:
            await connection.close(wait=False, reason=self.reason.TRANSPORT_ERROR)


def _without_lone_surrogates(text: str | bytes) -> bytes:
    """The same JSON with U+FFFD for each half of a character: browsers send them, as `\\ud800`, and strict
    parsers refuse them. Raises ValueError where it is no JSON all the same."""
    value = json.loads(text, parse_constant=_refuse)
    exact = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass")
    return exact.decode("utf-16", "replace").encode()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _check(pkt: packet.Packet) -> None:
    """Whether a packet is one that a client may send. Raises BadPacket."""
    if pkt.attachment_count > ATTACHMENTS_MAX:
        raise BadPacket(f"{pkt.attachment_count} attachments, {ATTACHMENTS_MAX} are allowed")
    match pkt.packet_type:
        case packet.CONNECT:
            good = pkt.data is None or isinstance(pkt.data, dict)
        case packet.DISCONNECT:
            good = pkt.data is None
        case packet.EVENT | packet.BINARY_EVENT:
            good = (
                isinstance(pkt.data, list)
                and len(pkt.data) > 0
                and isinstance(pkt.data[0], str)
                and pkt.data[0] not in RESERVED_EVENTS
            )
        case packet.ACK | packet.BINARY_ACK:
            good = isinstance(pkt.data, list) and pkt.id is not None
        case _:
            good = False
    if not good:
        raise BadPacket(f"a packet of type {pkt.packet_type} with the wrong content")
