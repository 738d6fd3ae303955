"""Sessions: what a socket needs to come back, and who holds it meanwhile.

A session is the socket's hash in Redis, there from connect on and following every join, so that nothing of it
is lost with a node. A pid names it: the sid, and behind it the lineage, which only the client knows. Reading it
does not change it; taking it raises its generation. What the client has missed is `cluster.recovery`'s.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ..node import Node
from ..settings import Settings
from ..store.keys import Keys, room_of_field
from ..store.redis import Store
from ..store.scripts import script
from ..wire import RoomId, Taken, encode_body
from .roomlog import clock_of
from .writer import Writer

logger = logging.getLogger(__name__)

ROOM, LAPSED, FAREWELL = b"r:", b"x:", b"f:"
# A client that is not sent what it has missed within this time, its connect handler's included, is cut off, and
# goes on from where it then is.
REPLAY_MAX_S = 60


@dataclass(frozen=True, slots=True)
class Session:
    """A socket as Redis has it. Clocks are in µs."""

    sid: str
    namespace: str
    node_id: str  # "" while nobody holds it
    generation: int
    lineage: str  # "" where its client cannot come back
    entered: int  # clock at which it became one of everybody
    rooms: dict[RoomId, int]  # its rooms -> clock at which it entered
    farewells: dict[RoomId, str]  # what is told in its rooms when it leaves
    lapsed: dict[RoomId, tuple[int, str]]  # rooms it left while away -> entered, nickname
    stays: list[tuple[RoomId, int, int]]  # in rooms it has left otherwise: entered, left
    unproven: int  # clock before which it may have had stays that are not known any more
    alive_ms: int | None  # Redis' time of the last sign of life, where it is away
    taken: int  # clock at which its newest connection took it
    confirmed: int  # its client has received all entries up to this clock; 0 where that is not known
    restored: bool  # Redis was emptied meanwhile


class Sessions:
    """Reads, takes and puts away."""

    def __init__(self, settings: Settings, store: Store, writer: Writer, keys: Keys, node: Node) -> None:
        self._grace_ms = round(min(settings.leave_grace_s, settings.recovery_window_s) * 1000)
        self._window_ms = settings.recovery_window_s * 1000
        self._store = store
        self._writer = writer
        self._keys = keys
        self._node = node

    async def read(self, sids: Sequence[str]) -> list[Session | None]:
        """The sessions of sockets; None for one that there is not, or nobody can read. Raises StoreUnavailable."""
        pipeline = self._store.client.pipeline(transaction=False)
        for sid in sids:
            pipeline.hgetall(self._keys.socket(sid))
        found = await self._store.answer(pipeline.execute())
        return [_readable(sid, fields) for sid, fields in zip(sids, found, strict=True)]

    async def is_over(self, session: Session) -> bool:
        """Whether its client was silent for longer than the recovery window. Raises StoreUnavailable."""
        if session.alive_ms is None:
            return False
        seconds, micros = await self._store.answer(self._store.client.time())
        return int(seconds) * 1000 + int(micros) // 1000 > session.alive_ms + self._window_ms

    async def take(self, session: Session) -> tuple[int, int, int] | None:
        """Makes a session this node's; returns its generation, the clock of that, and its own log's newest clock.

        None where it is not any more as it was read. Raises StoreError.
        """
        sid, generation = session.sid, session.generation + 1
        rooms = [self._keys.room(room) for room in session.rooms]
        everybody = self._keys.room(RoomId(session.namespace, None))
        reply = await self._writer.submit(
            script("socket_take"),
            (
                *(self._keys.socket(sid), self._keys.away, self._keys.node_sockets(self._node.node_id)),
                *(self._keys.node_sockets(session.node_id), everybody.members, everybody.log, everybody.last),
                *(self._keys.socket_log(sid), self._keys.socket_last(sid)),
                *(room.members for room in rooms),
            ),
            (
                *(sid, session.generation, self._node.node_id, self._keys.inbox_prefix),
                encode_body(Taken(sid, generation)),
                *(room.field for room in rooms),
            ),
        )
        if not reply.startswith(b"ok"):
            return None
        _, clock, own_last = reply.split()
        return generation, int(clock), int(own_last)

    def put_away(self, sid: str, generation: int, *, silent_s: float, confirmed: int) -> "asyncio.Future[int]":
        """Gives a socket of this node up, for another connection to take. Fails with Stale, StoreError.

        `silent_s`: since its client's last sign of life; `confirmed`: the clock up to which clients of this node
        have received all, unless they came only then.
        """
        return self._writer.submit(
            script("socket_away"),
            (self._keys.socket(sid), self._keys.away, self._keys.node_sockets(self._node.node_id)),
            (sid, generation, round(silent_s * 1000), self._grace_ms, confirmed, confirmed_since(confirmed)),
            clock_of,
            essential=True,
        )


def confirmed_since(confirmed: int) -> int:
    """The clock before which a connection was made for which `confirmed` holds: by then it had been sent what it
    had missed."""
    return max(0, confirmed - REPLAY_MAX_S * 1_000_000)


def _readable(sid: str, fields: dict[bytes, bytes]) -> Session | None:
    try:
        return _session(sid, fields) if b"g" in fields else None
    except ValueError as error:  # another program's, or a later version's
        logger.warning("socket %s has a session that cannot be read: %s", sid, error)
        return None


def _session(sid: str, fields: dict[bytes, bytes]) -> Session:
    def rooms(prefix: bytes) -> dict[RoomId, str]:
        return {
            room_of_field(field.removeprefix(prefix).decode()): value.decode()
            for field, value in fields.items()
            if field.startswith(prefix)
        }

    lapsed = {room: value.split(" ", 1) for room, value in rooms(LAPSED).items()}
    return Session(
        sid,
        fields.get(b"s", b"/").decode(),
        fields.get(b"n", b"").decode(),
        int(fields[b"g"]),
        fields.get(b"l", b"").decode(),
        int(fields.get(b"e", 0)),
        {room: int(entered) for room, entered in rooms(ROOM).items()},
        rooms(FAREWELL),
        {room: (int(entered), nickname) for room, (entered, nickname) in lapsed.items()},
        [_stay(line) for line in fields.get(b"y", b"").decode().splitlines()],
        int(fields.get(b"u", 0)),
        int(fields[b"a"]) if b"a" in fields else None,
        int(fields.get(b"t", 0)),
        int(fields.get(b"c", 0)),
        b"z" in fields,
    )


def _stay(line: str) -> tuple[RoomId, int, int]:
    left, entered, room = line.split(" ")
    return room_of_field(room), int(entered), int(left)
