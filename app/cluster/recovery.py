"""Connection state recovery: a client comes back, to whichever node, and gets what it has missed.

A session that a pid names is taken if its logs prove that nothing is missing behind the client's offset; else it
is ended, and the client starts anew. After the client was told that it is connected it is sent, page by page, what
its logs have; then, at one instant, it becomes a member here, and what came up to that instant follows. Live
entries wait for that in `LocalSocket.held`. What is in a session is `cluster.sessions`' business.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import Stale, StoreUnavailable
from ..metrics import Metrics
from ..node import parse_pid
from ..settings import Settings
from ..store.keys import Keys
from ..store.redis import Store
from ..store.scripts import script
from ..wire import Closed, Disconnect, Entry, Joined, Left, RoomId, Taken, decode_body, marked, size_of
from .delivery import Delivery, FanOut, seen_by
from .ending import Ending
from .history import History
from .local import Locals, LocalSocket, Replay
from .nodes import Nodes
from .relay import Relay
from .roomlog import RoomLog
from .sessions import REPLAY_MAX_S, Session, Sessions, confirmed_since
from .sockets import Sockets

logger = logging.getLogger(__name__)

ENTRIES_PER_PAGE = 128  # of each log
PAGE_BYTES_MAX = 256 * 1024
PAGE_BUFFER_SHARE = 0.25  # of what may wait for a client
# Pages read at the same time; more wait, so that the node's other clients do not.
READS_MAX = 8
UNSENT_LOOKED_AT_S = 0.01
# From Redis having a hole to every node knowing of it: two heartbeats, and time to find the new master.
HOLE_NOTICED_US = 10_000_000
OFFSET_CHARS_MAX = 16  # of a clock in µs, until the year 2286


@dataclass(frozen=True, slots=True)
class Presented:
    """What a client presents at connecting: a pid and the newest offset it has, or nothing."""

    recovers: bool
    pid: object = None
    offset: object = None

    @property
    def lineage(self) -> str | None:
        """Of the socket it had; known even when Redis has forgotten that."""
        parsed = parse_pid(self.pid)
        return parsed[1] if parsed is not None else None


@dataclass(frozen=True, slots=True)
class Page:
    """Entries of several logs in clock order: all up to the clock `upto`, and whether that is all.

    `clock`: the newest one when it was read. Logs are called by their rooms, the socket's own one None; `lasts`:
    the newest clock of each.
    """

    entries: list[tuple[RoomId | None, Entry]]
    clock: int
    upto: int
    whole: bool
    lasts: dict[RoomId | None, int]


class Missed(Exception):
    """Entries are missing that the client should have had, or too many were missed."""


class Recovery:
    """Takes sessions up and replays."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        keys: Keys,
        locals_: Locals,
        relay: Relay,
        delivery: Delivery,
        fanout: FanOut,
        log: RoomLog,
        sessions: Sessions,
        ending: Ending,
        sockets: Sockets,
        nodes: Nodes,
        history: History,
        metrics: Metrics,
    ) -> None:
        self._entries_max = settings.recovery_max_entries
        self._log_age_us = settings.log_max_age_s * 1_000_000
        self._page_bytes = min(PAGE_BYTES_MAX, round(settings.send_buffer_bytes * PAGE_BUFFER_SHARE))
        self._store = store
        self._keys = keys
        self._locals = locals_
        self._relay = relay
        self._delivery = delivery
        self._fanout = fanout
        self._log = log
        self._sessions = sessions
        self._ending = ending
        self._sockets = sockets
        self._nodes = nodes
        self._history = history
        self._metrics = metrics
        self._places = asyncio.Semaphore(READS_MAX)

    # --- taking a session up -------------------------------------------------------------------------------

    async def find(self, namespace: str, presented: Presented) -> Session | None:
        """The session that a client has presented the pid of, if there is one. Raises StoreUnavailable."""
        parsed = parse_pid(presented.pid)
        if parsed is None:
            return None
        sid, lineage = parsed
        (session,) = await self._sessions.read([sid])
        if session is None or session.namespace != namespace or session.lineage != lineage:
            return None
        return session

    async def take(self, session: Session, offset: object, eio_sid: str) -> LocalSocket | None:
        """The session's socket on this node, its rooms open; None where the session is not as it was read.

        Raises Missed where the client cannot get all that it has missed, StoreError.
        """
        replay = await self._proven(session, _offset(offset))
        socket = LocalSocket(session.sid, eio_sid, session.namespace, session.lineage)
        socket.replay, socket.recovered = replay, True
        socket.position = replay.own_last
        try:
            for room_id in (RoomId(session.namespace, None), *session.rooms):
                socket.rooms[room_id] = await self._relay.open(room_id)
            if self._locals.sockets.get(session.sid) is not None:  # another connection was faster
                taken = None
            else:
                self._locals.add(socket)
                taken = await self._sessions.take(session)
        except BaseException:
            self._undo(socket)
            raise
        if taken is None:
            self._undo(socket)
            return None
        socket.entered, socket.farewells = session.entered, session.farewells
        socket.generation, replay.taken, own_last = taken
        socket.came_back = replay.taken, replay.offset
        replay.own_last = max(replay.own_last, own_last)
        replay.deadline_s = asyncio.get_running_loop().time() + REPLAY_MAX_S
        self._metrics.recoveries += 1
        return socket

    def recovered_over(self, hole: int) -> list[LocalSocket]:
        """The sockets that have come back across a hole up to that clock, before it was known."""

        def is_over(came_back: tuple[int, int] | None) -> bool:
            return came_back is not None and came_back[1] < hole < came_back[0] + HOLE_NOTICED_US

        return [socket for socket in self._locals.sockets.values() if is_over(socket.came_back)]

    async def give_up(self, session: Session) -> None:
        """Ends a session whose client starts anew, so that its nicknames are free. Raises StoreError."""
        self._metrics.recoveries_refused += 1
        sid, generation = session.sid, session.generation
        try:
            await self._ending.end(sid, session.namespace, generation, session.rooms)
        except Stale:  # another connection was faster
            return
        if session.node_id:
            await self._log.notify_node(session.node_id, Taken(sid, generation + 1))

    def _undo(self, socket: LocalSocket) -> None:
        self._locals.remove(socket)
        self._sockets.release(socket)

    async def _proven(self, session: Session, offset: int) -> Replay:
        """Where to begin, with the first page. Raises Missed."""
        if await self._sessions.is_over(session):
            raise Missed("the recovery window has passed")
        if session.restored:
            raise Missed("Redis was emptied")
        floors = {room: entered - 1 for room, entered in session.rooms.items()}
        floors |= {room: entered - 1 for room, (entered, _) in session.lapsed.items()}
        floors[RoomId(session.namespace, None)] = session.entered
        replay = Replay(
            max(offset, self._confirmed(session)),
            floors,
            {room: nickname for room, (_, nickname) in session.lapsed.items()},
            [],
        )
        if replay.offset < session.unproven:
            raise Missed("it has been in too many rooms")
        replay.stays = [stay for stay in session.stays if stay[2] > replay.offset]
        stays = replay.behind_stays(floors)
        replay.page = await self._read(session.sid, stays, replay.offset, most=self._entries_max)
        broken = await self._history.broken_until()
        if replay.offset < broken and session.taken < broken:
            raise Missed("Redis has lost entries since")
        if offset > replay.page.clock:
            raise Missed("the offset is ahead of the clock")
        if any(left < replay.page.clock - self._log_age_us for _, _, left in replay.stays):
            raise Missed("the log of a room that it has left may be gone")
        if any(room.name is not None and replay.page.lasts[room] <= floor for room, floor in floors.items()):
            raise Missed("the entry of its joining is gone")
        replay.own_last = replay.page.lasts[None]
        return replay

    def _confirmed(self, session: Session) -> int:
        record = self._nodes.record(session.node_id)
        if record is None or session.taken > confirmed_since(record.confirmed):
            return session.confirmed
        return max(record.confirmed, session.confirmed)

    # --- sending what was missed ---------------------------------------------------------------------------

    async def replay(self, socket: LocalSocket) -> None:
        """Sends a socket what it has missed and makes it a member of its rooms here.

        Where that cannot be finished its connection is closed: its client comes back and goes on from there.
        """
        assert socket.replay is not None
        try:
            async with asyncio.timeout_at(socket.replay.deadline_s):
                await self._send_until_now(socket, socket.replay)
                await self._go_live(socket, socket.replay)
        except Missed as error:
            logger.info("socket %s starts anew: %s", socket.sid, error)
            socket.lost = True
            self._fanout.close(socket, "entries it has missed are gone")
        except (StoreUnavailable, TimeoutError) as error:
            logger.warning("socket %s was not sent all that it has missed: %s", socket.sid, error or "too slow")
            self._fanout.close(socket, "not all that was missed could be sent")

    async def _send_until_now(self, socket: LocalSocket, replay: Replay) -> None:
        """All that its logs have, while more may come, until this node has delivered as much."""
        while self._fanout.is_open(socket):
            floors = replay.behind_stays(_entered(socket, replay))
            page = replay.page or await self._read(socket.sid, floors, replay.offset)
            replay.page = None
            await self._send(socket, replay, page)
            replay.offset, replay.own_last = page.upto, max(page.lasts[None], replay.own_last)
            if page.whole:
                for room_id, room in list(socket.rooms.items()):
                    await room.reached(page.lasts.get(room_id, 0))
                return

    async def _go_live(self, socket: LocalSocket, replay: Replay) -> None:
        """Makes the socket a member, at one instant, and sends what had come by then."""
        floors = replay.behind_stays(_entered(socket, replay))
        limits = self._restore(socket, replay)
        while replay.offset < max(limits.values()) and self._fanout.is_open(socket):
            page = await self._read(socket.sid, floors, replay.offset)
            await self._send(socket, replay, page, limits)
            replay.offset = page.upto

    def _restore(self, socket: LocalSocket, replay: Replay) -> dict[RoomId | None, int]:
        """From here on the socket gets what is delivered; returns, for each log, up to where it does not."""
        limits: dict[RoomId | None, int] = {}
        for room_id, room in list(socket.rooms.items()):
            member = room_id.name is None or socket.sid in room.roster
            if room_id in replay.floors:
                limits[room_id] = room.position or 0
                if member:
                    self._delivery.restored(room, socket)
            if not member and (room_id in limits or replay.has_ended(room_id)):
                del socket.rooms[room_id]
                self._relay.release(room)
        limits[None] = socket.position = max(socket.position or 0, replay.own_last)
        socket.replay = None
        return limits

    async def _send(
        self,
        socket: LocalSocket,
        replay: Replay,
        page: Page,
        limits: dict[RoomId | None, int] | None = None,
    ) -> None:
        """Sends what is for the socket, of each log up to its limit, and waits until the client has taken it."""
        sent, sent_bytes = 0, 0
        for log, entry in page.entries:
            if entry.clock == sent or (limits is not None and entry.clock > limits.get(log, 0)):
                continue
            if log is not None:
                _follow(socket.sid, replay, log, entry)
                if not replay.covers(log, entry.clock):
                    continue
            sent = entry.clock  # an event to several rooms is in each of their logs, under one clock
            sent_bytes += self._send_entry(socket, entry)
            if sent_bytes > self._page_bytes:
                await self._until_taken(socket)
                sent_bytes = 0
        await self._until_taken(socket)

    async def _until_taken(self, socket: LocalSocket) -> None:
        await asyncio.sleep(0)  # it is sent at the end of this turn
        while self._fanout.has_unsent(socket):  # noqa: ASYNC110 - a transport tells nobody that it is empty
            await asyncio.sleep(UNSENT_LOOKED_AT_S)

    def _send_entry(self, socket: LocalSocket, entry: Entry) -> int:
        """About as many bytes as it has."""
        if isinstance(entry.payload, Disconnect):
            socket.doomed = True
        packets = seen_by(socket.sid, entry)
        for packet, offset in packets:
            self._fanout.send(socket.eio_sid, marked(packet, offset))
        self._metrics.replayed += len(packets)
        return sum(size_of(packet) for packet, _ in packets)

    # --- reading -------------------------------------------------------------------------------------------

    async def _read(self, sid: str, floors: Mapping[RoomId, int], at: int, *, most: int | None = None) -> Page:
        """The entries behind `at` of the socket's own log and, behind their floors, of rooms.

        Raises Missed where some are gone or where there are more than `most` in a log, StoreUnavailable.
        """
        names: list[RoomId | None] = [None, *floors]
        keys = [self._keys.clock, self._keys.socket_log(sid), self._keys.socket_last(sid)]
        for room_id in floors:
            room = self._keys.room(room_id)
            keys += (room.log, room.last)
        behind = [at, *(max(at, floor) for floor in floors.values())]
        args = [ENTRIES_PER_PAGE, "" if most is None else most, max(1, self._page_bytes // len(behind)), *behind]
        async with self._places:
            clock, *answers = await self._store.run(script("missed_read"), keys, args)
            return _page(names, int(clock), answers)


def _page(names: Sequence[RoomId | None], clock: int, answers: Sequence[list[bytes]]) -> Page:
    entries: list[tuple[RoomId | None, Entry]] = []
    lasts: dict[RoomId | None, int] = {}
    upto = clock
    for name, (word, *rest) in zip(names, answers, strict=True):
        if word in (b"lost", b"many"):
            raise Missed("entries are gone" if word == b"lost" else "too much was missed")
        last, *read = rest
        found = [Entry(int(at), 0, decode_body(body)) for at, body in zip(*[iter(read)] * 2, strict=True)]
        entries += ((name, entry) for entry in found)
        lasts[name] = int(last)
        if word == b"part":
            upto = min(upto, found[-1].clock)
    in_order = sorted((each for each in entries if each[1].clock <= upto), key=lambda each: each[1].clock)
    return Page(in_order, clock, upto, upto == clock, lasts)


def _follow(sid: str, replay: Replay, room: RoomId, entry: Entry) -> None:
    """A membership may have ended, or begun, since the session was taken."""
    if entry.clock > replay.taken:
        match entry.payload:
            case Left(sid=left) if left == sid:
                replay.end(room, entry.clock)
            case Closed():
                replay.end(room, entry.clock)
            case Joined(sid=joined) if joined == sid:
                replay.floors.setdefault(room, entry.clock - 1)


def _entered(socket: LocalSocket, replay: Replay) -> dict[RoomId, int]:
    """The floors of the rooms that the socket is in; one that it is just about to enter has none yet."""
    return {room_id: floor for room_id, floor in replay.floors.items() if room_id in socket.rooms}


def _offset(presented: object) -> int:
    """A clock; 0 where the client has no offset, or one that is not ours."""
    if not isinstance(presented, str) or len(presented) > OFFSET_CHARS_MAX:
        return 0
    return int(presented) if presented.isascii() and presented.isdigit() else 0
