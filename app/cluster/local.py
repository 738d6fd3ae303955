"""The sockets this node holds and the rooms they are in.

A `LocalRoom` exists here only while somebody of this node is in it or enters it; rosters of the whole cluster
are in Redis, and `LocalRoom.roster` is this node's replica of one. Who changes what: `cluster.relay` opens
rooms and moves their positions, `cluster.delivery` their members.
"""

import asyncio
from collections import Counter
from typing import Any

from ..wire import Packet, RoomId


class Cursor:
    """How far this node has delivered one log.

    `position`: clock of the newest entry delivered, None before the first tail read. `behind`: entries may
    have been missed, so nothing is delivered until the tail has been read.
    """

    __slots__ = ("behind", "position")

    def __init__(self, position: int | None, *, behind: bool) -> None:
        self.position = position
        self.behind = behind


class Replay:
    """What a socket that came back is still to be sent, from its logs; until then it gets nothing of them here.

    `offset`: the clock up to which it has everything. `floors`: its rooms -> clock up to which entries are not
    for it. `lapsed`: rooms it left while it was away -> its nickname there. `stays`: in rooms that it has left
    otherwise, with the clocks at which it entered and left. `page`, `own_last`: what was read already, and the
    newest clock of its own log. `taken`: the clock at which it came back. `deadline_s`: loop time by which it is
    to be over.
    """

    __slots__ = ("deadline_s", "floors", "lapsed", "offset", "own_last", "page", "stays", "taken")

    def __init__(
        self,
        offset: int,
        floors: dict[RoomId, int],
        lapsed: dict[RoomId, str],
        stays: list[tuple[RoomId, int, int]],
    ) -> None:
        self.offset = offset
        self.floors = floors
        self.lapsed = lapsed
        self.stays = stays
        self.page: Any = None  # `cluster.recovery`'s
        self.own_last = 0
        self.taken = 0
        self.deadline_s = 0.0

    def covers(self, room: RoomId, clock: int) -> bool:
        """Whether the socket was a member of a room when it got an entry with this clock."""
        if room in self.floors and clock > self.floors[room]:
            return True
        return any(stay == room and entered <= clock < left for stay, entered, left in self.stays)

    def end(self, room: RoomId, clock: int) -> None:
        """The socket has left a room since it came back."""
        floor = self.floors.pop(room, None)
        if floor is not None:
            self.stays.append((room, floor + 1, clock))

    def has_ended(self, room: RoomId) -> bool:
        """Whether the socket has left a room since it came back."""
        return any(stay == room and left > self.taken for stay, _, left in self.stays)

    def behind_stays(self, floors: dict[RoomId, int]) -> dict[RoomId, int]:
        """`floors`, so low that what came during its former stays is above them."""
        lowered = dict(floors)
        for room, entered, _ in self.stays:
            lowered[room] = min(entered - 1, lowered.get(room, entered - 1))
        return lowered


class LocalSocket(Cursor):
    """A Socket.IO socket of this node; as a cursor, the log of what is sent to it alone."""

    __slots__ = (
        "came_back",
        "connection",
        "data",
        "doomed",
        "eio_sid",
        "entered",
        "farewells",
        "generation",
        "held",
        "leaving",
        "lineage",
        "lost",
        "namespace",
        "recovered",
        "recovers",
        "replay",
        "rooms",
        "sid",
    )

    def __init__(self, sid: str, eio_sid: str, namespace: str, lineage: str = "") -> None:
        super().__init__(0, behind=False)
        self.sid = sid
        self.eio_sid = eio_sid
        self.namespace = namespace
        self.connection: Any = None  # the fan-out's own
        self.generation = 1
        self.rooms: dict[RoomId, LocalRoom] = {}
        self.farewells: dict[RoomId, str] = {}  # what is told in its rooms when it leaves, where that is anything
        self.held: list[Packet] | None = []  # what came before the client was told that it is connected
        self.entered = 0  # clock at which it became one of everybody; 0 until Redis has said that it is ours
        self.doomed = False  # to be disconnected as soon as it is connected
        self.leaving = False  # its disconnect handler runs
        self.lineage = lineage  # what the client behind it is known by, "" where it cannot recover
        self.recovers = bool(lineage)  # its events carry their offsets
        self.came_back: tuple[int, int] | None = None  # at which clock, with everything up to which other
        self.recovered = False  # it has taken up an earlier connection's state
        self.lost = False  # it is not ours any more, or entries of its logs are gone: it will not come back
        self.replay: Replay | None = None  # until it was sent what it has missed
        self.data: Any = None  # the app's own view of this socket, never shared

    def __str__(self) -> str:
        return f"socket {self.sid}"

    def nickname(self, room_id: RoomId) -> str:
        """Its nickname in a room, as far as the room's log was delivered here; "" where it has none."""
        room = self.rooms.get(room_id)
        return room.roster.get(self.sid, "") if room is not None else ""


class LocalRoom(Cursor):
    """A room with members, or members to be, on this node."""

    __slots__ = ("__weakref__", "closed", "holders", "newest", "ready", "room", "roster", "sockets", "waiters")

    def __init__(self, room: RoomId) -> None:
        super().__init__(None, behind=True)
        self.room = room
        self.holders = 0  # members here, and those about to enter or on their way out
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sockets: dict[str, LocalSocket] = {}  # sid -> socket, this node's members
        self.roster: dict[str, str] = {}  # sid -> nickname or "", all nodes' members, in order of entering
        self.waiters: list[tuple[int, asyncio.Future[None]]] = []
        self.closed = False
        self.newest = 0  # of everybody: the clock at which the last member entered

    def __str__(self) -> str:
        return f"room {self.room.name!r} of {self.room.namespace}"

    async def reached(self, clock: int) -> None:
        """Waits until this node has delivered the room's log up to `clock`, or has no member there left."""
        if not self.closed and (self.position is None or self.position < clock):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.waiters.append((clock, future))
            await future

    def moved(self) -> None:
        """Wakes those who waited for the position that was reached."""
        if not self.waiters or self.position is None:
            return
        still: list[tuple[int, asyncio.Future[None]]] = []
        for clock, future in self.waiters:
            if clock > self.position:
                still.append((clock, future))
            elif not future.done():
                future.set_result(None)
        self.waiters = still

    def close(self) -> None:
        """The last one here is gone."""
        self.closed = True
        self.give_up()

    def give_up(self) -> None:
        """What is waited for may never come: wakes everybody who waits."""
        for _, future in self.waiters:
            if not future.done():
                future.set_result(None)
        self.waiters = []


class Locals:
    """This node's sockets and rooms, by name."""

    def __init__(self) -> None:
        self.sockets: dict[str, LocalSocket] = {}  # sid -> socket
        self.by_eio_sid: dict[str, dict[str, LocalSocket]] = {}  # eio_sid -> namespace -> socket
        self.rooms: dict[RoomId, LocalRoom] = {}
        self.namespaces: Counter[str] = Counter()  # namespace -> sockets here

    def add(self, socket: LocalSocket) -> None:
        """Takes a socket in."""
        self.sockets[socket.sid] = socket
        self.namespaces[socket.namespace] += 1
        self.by_eio_sid.setdefault(socket.eio_sid, {})[socket.namespace] = socket

    def remove(self, socket: LocalSocket) -> None:
        """Lets a socket go; it is a member of nothing here from now on."""
        if self.sockets.get(socket.sid) is not socket:
            return
        del self.sockets[socket.sid]
        self.namespaces[socket.namespace] -= 1
        if not self.namespaces[socket.namespace]:
            del self.namespaces[socket.namespace]
        for room in socket.rooms.values():
            room.sockets.pop(socket.sid, None)
        namespaces = self.by_eio_sid.get(socket.eio_sid, {})
        if namespaces.get(socket.namespace) is socket:
            del namespaces[socket.namespace]
            if not namespaces:
                del self.by_eio_sid[socket.eio_sid]

    def has(self, cursor: Cursor) -> bool:
        """Whether a room or a socket is still this node's."""
        if isinstance(cursor, LocalRoom):
            return self.rooms.get(cursor.room) is cursor
        return isinstance(cursor, LocalSocket) and self.sockets.get(cursor.sid) is cursor

    def of_connection(self, eio_sid: str, namespace: str) -> LocalSocket | None:
        """The socket that a connection has in a namespace."""
        return self.by_eio_sid.get(eio_sid, {}).get(namespace)

    def socket(self, sid: str, namespace: str) -> LocalSocket | None:
        """The socket with this sid, if it is here and in this namespace."""
        socket = self.sockets.get(sid)
        return socket if socket is not None and socket.namespace == namespace else None
