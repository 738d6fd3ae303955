"""`ClusterManager`: the python-socketio client manager for a cluster.

Any `socketio.AsyncServer(client_manager=ClusterManager(settings))` gets python-socketio's manager interface
across nodes, by way of the ordered log, and what python-socketio lacks: `rooms`, `members`, `count`, and bound
data (`set`, `get`, `delete`). Handlers' order is `hub.socketio_server`'s business.

It replaces the bookkeeping of python-socketio's `BaseManager`; `tests/hub/test_socketio_internals.py` fails
when the server calls something of a manager that is not here.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from socketio import AsyncManager, packet

from ..cluster.cluster import Cluster, Readiness
from ..cluster.local import LocalSocket
from ..cluster.roster import Member
from ..cluster.supervision import end
from ..errors import NotConnected, Refused, Stale, StoreError
from ..metrics import Metrics
from ..node import Node
from ..settings import Settings, load_settings
from ..transport.fanout import FanOut
from ..wire import Answer, Ask, Enter, Packet, RoomId
from .emission import Emission, Target, encode
from .requests import Requests
from .returning import Returning

logger = logging.getLogger(__name__)


class ClusterManager(AsyncManager):  # type: ignore[misc]
    """One node's client manager. `start()` it before serving (the first request does otherwise), `stop()` it
    after."""

    def __init__(self, settings: Settings | None = None, node: Node | None = None) -> None:
        # BaseManager's __init__ is not called: its books (a bidict for every socket and room) are not kept,
        # and its attribute `rooms` would hide the method.
        self.logger = logger
        self.server: Any = None
        self.settings = settings or load_settings()
        self.node = node or Node()
        self.metrics = Metrics()
        self.fanout = FanOut(self.metrics, send_buffer_bytes=self.settings.send_buffer_bytes)
        self.cluster = Cluster(self.settings, self.node, self.fanout, self, self.metrics)
        self.requests = Requests(self.cluster, self.fanout)
        self.returning = Returning(self.settings.recovery, self.cluster, self.fanout)
        self._emission = Emission(self.cluster.log)
        self._leaving: dict[str, asyncio.Future[None]] = {}  # sid -> done when the server has disconnected it
        self._tasks: set[asyncio.Task[None]] = set()

    # --- lifecycle -----------------------------------------------------------------------------------------

    def set_server(self, server: Any) -> None:
        """Called by python-socketio's server when it is made."""
        if server.packet_class is not packet.Packet:
            raise Refused("ClusterManager speaks python-socketio's default serializer only")
        self.server = server
        self.fanout.attach(server.eio.sockets)
        if (wheel := getattr(server.eio, "pings", None)) is not None:  # a plain AsyncServer has none
            self.cluster.nodes.alive_s = wheel.time_s

    def initialize(self) -> None:
        """Called by python-socketio's server before the first request."""
        self.cluster.start()

    async def start(self) -> None:
        """Connects to Redis and registers the node, in the background; `readiness()` tells when that is done."""
        self.cluster.start()

    async def stop(self) -> None:
        """Sees waiting appends through and leaves the cluster."""
        await end(self._tasks)
        await self.requests.stop()
        await self.cluster.stop()

    def readiness(self) -> Readiness:
        """Whether this node can serve."""
        return self.cluster.readiness()

    # --- connecting and disconnecting ----------------------------------------------------------------------

    async def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        """A new socket, known to the cluster but not yet to its client; None where it has one already.

        Raises StoreError.
        """
        presented = self.returning.presented(eio_sid, namespace)
        if self.cluster.locals.of_connection(eio_sid, namespace) is not None:
            return None
        try:
            socket = await self.returning.take_up(eio_sid, namespace, presented)
            if socket is None:
                socket = await self.returning.start_anew(eio_sid, namespace, presented)
        except BaseException:
            self.cluster.reconciler.suspect()
            raise
        return socket.sid

    def is_recovered(self, sid: str, namespace: str = "/") -> bool:
        """Whether a socket of this node has taken up an earlier connection's state. Raises NotConnected."""
        return self.local_socket(sid, namespace).recovered

    async def connect(self, sid: str, namespace: str) -> str:
        """The client was told that it is connected: what came for it meanwhile goes out.

        With an eio_sid for `sid` it is a whole connection at once. Raises StoreError.
        """
        socket = self.cluster.locals.socket(sid, namespace)
        if socket is None:
            sid = await self.pre_connect(sid, namespace) or ""
            socket = self.cluster.locals.socket(sid, namespace)
        if socket is not None and socket.held is not None:
            if socket.replay is not None:
                await self.returning.enter_again(socket, named=True)
                await self.cluster.recovery.replay(socket)
            held, socket.held = socket.held, None
            for packet_ in held:  # ahead of what waits for the next flush
                self.fanout.send(socket.eio_sid, packet_)
            if socket.doomed:
                self.disconnect_local(socket)
            elif not self.fanout.is_open(socket):  # it ended while it was connecting
                await self.disconnect(sid, namespace, ignore_queue=True, broken=True)
        return sid

    def pre_disconnect(self, sid: str, namespace: str) -> str | None:
        """The socket is about to go; returns its eio_sid."""
        socket = self.cluster.locals.socket(sid, namespace)
        if socket is None:
            return None
        socket.leaving = True
        return socket.eio_sid

    async def can_disconnect(self, sid: str, namespace: str) -> bool:
        """Has the socket's node disconnect it after what was sent to it before; never lets the caller do it.

        Returns when that is done for a socket of this node, and when it is in the log for another's.
        """
        socket = self.cluster.locals.socket(sid, namespace)
        if socket is not None and socket.leaving:
            return False
        try:
            await self.cluster.log.disconnect(namespace, sid)
        except NotConnected:
            return False
        if self.returning.has_broken(sid):  # its handlers have to end first, and may be asking: when it is back
            return False
        if socket is not None and socket.held is None and sid in self.cluster.locals.sockets:
            done = self._leaving.setdefault(sid, asyncio.get_running_loop().create_future())
            await asyncio.shield(done)
        return False

    async def disconnect(self, sid: str, namespace: str, **kwargs: Any) -> None:
        """Removes a socket of this node from its rooms and from the cluster; on another node, as
        `can_disconnect`.

        `broken`: its connection has gone by itself, so that its client may come back, if it can.
        """
        socket = self.cluster.locals.socket(sid, namespace)
        if socket is None:
            if not kwargs.get("ignore_queue"):
                await self.can_disconnect(sid, namespace)
            return
        rooms = [room_id for room_id in socket.rooms if room_id.name is not None]
        self._forget(socket)
        put_away = self.returning.put_away(socket)
        try:
            if kwargs.get("broken") and socket.lineage and not socket.lost:
                await put_away()
            else:
                await self.cluster.ending.end(sid, namespace, socket.generation, rooms)
        except Stale:
            logger.debug("socket %s has another connection, or Redis has lost it", sid)
        except StoreError as error:
            logger.warning("socket %s is gone, but Redis was not told yet: %s", sid, error)
            self.cluster.reconciler.suspect()

    def _forget(self, socket: LocalSocket) -> None:
        self.cluster.locals.remove(socket)
        self.cluster.sockets.release(socket)
        self.requests.gone(socket.sid)
        leaving = self._leaving.pop(socket.sid, None)
        if leaving is not None and not leaving.done():
            leaving.set_result(None)

    # --- this node's sockets, as python-socketio asks for them ---------------------------------------------

    def get_namespaces(self) -> Iterable[str]:
        """The namespaces in which this node has sockets."""
        return list(self.cluster.locals.namespaces)

    def get_participants(self, namespace: str, room: Target) -> Iterator[tuple[str, str]]:
        """(sid, eio_sid) of this node's members of a room, of everybody (None), or of any of several."""
        names = [room] if room is None or isinstance(room, str) else list(room)
        found = {socket.sid: socket for name in names for socket in self._local_members(namespace, name)}
        yield from [(socket.sid, socket.eio_sid) for socket in found.values()]

    def _local_members(self, namespace: str, name: str | None) -> list[LocalSocket]:
        own = self.cluster.locals.socket(name, namespace) if name is not None else None
        if own is not None:
            return [own]
        room = self.cluster.locals.rooms.get(RoomId(namespace, name))
        return list(room.sockets.values()) if room is not None else []

    def is_connected(self, sid: str, namespace: str) -> bool:
        """Whether a socket of this node is connected: neither about to be nor about to go."""
        socket = self.cluster.locals.socket(sid, namespace)
        return socket is not None and socket.held is None and not socket.leaving

    def serves(self, sid: str, namespace: str) -> bool:
        """Whether a socket of this node is connected and, as far as is known, still this node's."""
        return self.is_connected(sid, namespace) and not self.cluster.locals.sockets[sid].lost

    def is_pre_connected(self, sid: str, namespace: str) -> bool:
        """Whether a socket of this node waits for its connect handler."""
        socket = self.cluster.locals.socket(sid, namespace)
        return socket is not None and socket.held is not None

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        """The socket that a connection of this node has in a namespace."""
        socket = self.cluster.locals.of_connection(eio_sid, namespace)
        return socket.sid if socket is not None else None

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """The connection below a socket of this node."""
        socket = self.cluster.locals.socket(sid, namespace)
        return socket.eio_sid if socket is not None else None

    def get_rooms(self, sid: str, namespace: str) -> list[str]:
        """The rooms a socket of this node is in, its own sid among them."""
        socket = self.cluster.locals.socket(sid, namespace)
        if socket is None:
            return []
        return [sid, *(room.name for room in socket.rooms if room.name is not None)]

    def local_socket(self, sid: str, namespace: str) -> LocalSocket:
        """A socket of this node. Raises NotConnected."""
        socket = self.cluster.locals.socket(sid, namespace)
        if socket is None:
            raise NotConnected(f"this node has no socket {sid!r} in {namespace}")
        return socket

    # --- emitting ------------------------------------------------------------------------------------------

    async def emit(
        self,
        event: str,
        data: Any,
        namespace: str | None = None,
        room: Target = None,
        skip_sid: str | Sequence[str] | None = None,
        callback: Callable[..., Any] | None = None,
        to: Target = None,
        **kwargs: Any,
    ) -> None:
        """Emits to a sid, a room, several of them, or everybody, on all nodes.

        The event is in the log when this returns. Raises StoreUnavailable, StoreOverloaded or OutcomeUnknown
        where it is not, or may not be. A recipient that does not exist is fine.
        """
        namespace = namespace or "/"
        target = to or room
        skip = [] if skip_sid is None else [skip_sid] if isinstance(skip_sid, str) else list(skip_sid)
        encoded = encode(event, data, namespace)
        if kwargs.get("ignore_queue"):
            sids = dict(self.get_participants(namespace, target))
            sockets = (self.cluster.locals.sockets[sid] for sid in sids if sid not in skip)
            self.fanout.write(list(sockets), encoded)
        elif callback is not None:
            await self._ask(namespace, target, encoded, skip, callback)
        else:
            await self._emission.emit(namespace, target, encoded, skip)

    async def _ask(
        self,
        namespace: str,
        target: Target,
        encoded: Packet,
        skip: list[str],
        callback: Callable[..., Any],
    ) -> None:
        if not isinstance(target, str):
            raise ValueError("an acknowledgement can be asked of one sid or one room")
        await self.requests.ask(namespace, target, encoded, skip, callback)

    def expects(self, eio_sid: str, namespace: str, ack_id: int) -> bool:
        """Whether a connection's client was asked for this acknowledgement."""
        socket = self.cluster.locals.of_connection(eio_sid, namespace)
        return socket is not None and self.requests.expects(socket.sid, ack_id)

    async def trigger_callback(self, sid: str, id: int, data: list[Any]) -> None:
        """A client's acknowledgement: it goes back to the node that asked."""
        await self.requests.acknowledged(sid, id, data)

    # --- rooms ---------------------------------------------------------------------------------------------

    async def enter_room(self, sid: str, namespace: str, room: str, eio_sid: str | None = None) -> None:
        """Makes a socket of whichever node a member of a room; it is one when this returns.

        Raises NotConnected where there is no such socket, ValueError where the room has a socket's name,
        StoreError.
        """
        socket = self.cluster.locals.socket(sid, namespace)
        if room == sid:
            return
        if socket is None:
            await self.requests.enter_elsewhere(sid, namespace, room)
            return
        try:
            await self.cluster.roster.enter(socket, RoomId(namespace, room))
        except Refused as error:
            raise ValueError(f"cannot enter a sid room: {error}") from None

    async def leave_room(self, sid: str, namespace: str, room: str) -> None:
        """Ends a membership, on whichever node; a socket that is no member is fine. Raises StoreError."""
        clock = await self.cluster.roster.leave(sid, RoomId(namespace, room))
        await self._reached(RoomId(namespace, room), clock)

    async def close_room(self, room: str, namespace: str | None = None) -> None:
        """Ends all memberships of a room. Raises ValueError for a socket's own room, StoreError."""
        namespace = namespace or "/"
        if self.cluster.locals.socket(room, namespace) is not None:
            raise ValueError("cannot close a sid room")
        clock = await self.cluster.roster.close(RoomId(namespace, room))
        await self._reached(RoomId(namespace, room), clock)

    async def _reached(self, room_id: RoomId, clock: int) -> None:
        room = self.cluster.locals.rooms.get(room_id)
        if room is not None and room.sockets:
            await room.reached(clock)

    async def rooms(self, namespace: str = "/") -> dict[str, int]:
        """The rooms of a namespace in the whole cluster -> how many members. Raises StoreUnavailable."""
        found = await self.cluster.roster.rooms(namespace)
        return {room.name: count for room, count in found.items() if room.name is not None}

    async def members(self, room: str | None, namespace: str = "/") -> list[Member]:
        """The members of a room, or everybody (None), in the whole cluster. Raises StoreUnavailable."""
        return await self.cluster.roster.members(RoomId(namespace, room))

    async def count(self, room: str | None, namespace: str = "/") -> int:
        """How many members a room has, or everybody (None), in the whole cluster. Raises StoreUnavailable."""
        return await self.cluster.roster.count(RoomId(namespace, room))

    # --- bound data ----------------------------------------------------------------------------------------

    async def set(self, sid: str, key: str, value: Any) -> None:
        """Binds `value` (JSON) to a socket of whichever node. Raises NotConnected, StoreError, TypeError."""
        await self.cluster.sockets.set(sid, key, value)

    async def get(self, sid: str, key: str, default: Any = None) -> Any:
        """The data bound to a socket of whichever node. Raises NotConnected, StoreUnavailable."""
        return await self.cluster.sockets.get(sid, key, default)

    async def delete(self, sid: str, key: str) -> None:
        """Unbinds data. Raises NotConnected, StoreError."""
        await self.cluster.sockets.delete(sid, key)

    # --- what the log asks for (`cluster.delivery.Notices`) --------------------------------------------------

    def disconnect_local(self, socket: LocalSocket) -> None:
        """The log says that the server disconnects this socket; one that is still connecting, right after."""
        if socket.held is not None:
            socket.doomed = True
        elif not socket.leaving:
            socket.leaving = True
            task = asyncio.ensure_future(self._end(socket))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _end(self, socket: LocalSocket) -> None:
        """As AsyncServer.disconnect does, whatever the app's handler does."""
        sid, namespace, server = socket.sid, socket.namespace, self.server
        self.pre_disconnect(sid, namespace)
        goodbye = server.packet_class(packet.DISCONNECT, namespace=namespace)
        try:
            self.fanout.settle(socket)
            await server._send_packet(socket.eio_sid, goodbye)
            await server._trigger_event("disconnect", namespace, sid, server.reason.SERVER_DISCONNECT)
        except Exception:  # the app's
            logger.exception("the disconnect handler of %s failed", namespace)
        finally:
            await self.disconnect(sid, namespace, ignore_queue=True)

    def ask(self, sockets: Iterable[LocalSocket], ask: Ask) -> None:
        """Sends an event that wants an acknowledgement."""
        self.requests.put(sockets, ask)

    def enter(self, request: Enter) -> None:
        """Lets a socket of this node enter a room for another node."""
        self.requests.enter(request)

    def answer(self, answer: Answer) -> None:
        """An answer has come to something this node asked."""
        self.requests.answered(answer)
