"""Listens to the rooms this node has members in, and delivers every entry in clock order.

A message's way, 4 of 5: an entry comes from Redis, its `prev` proves that none is missing, and it is handed
to `cluster.delivery`, which hands its packet to `transport.fanout` (5 of 5).

One subscription for each room with members here, one for the node's inbox. What was missed is read from the
streams: after every confirmed subscription (redis-py's own re-subscribing is not used, it is silent), and
when `prev` is not what was delivered last. While that goes on all deliveries of the node are held, so that
they stay in clock order. It does not decide what an entry does.
"""

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from ..errors import StoreUnavailable
from ..metrics import Metrics
from ..node import Node
from ..store.bulk import BulkConnection
from ..store.keys import Keys
from ..store.redis import CONNECTION_ERRORS, Connection, Store
from ..wire import (
    Ask,
    Canary,
    Direct,
    Disconnect,
    Entry,
    Marker,
    Payload,
    RoomId,
    decode,
    decode_body,
    encode_body,
)
from .catchup import Lost, Standing, Tail, TailReader
from .delivery import Delivery
from .local import Cursor, LocalRoom, Locals
from .writer import HighestClock

logger = logging.getLogger(__name__)

# The node's canary comes every second, so a longer silence means that nothing can be heard.
SILENCE_S = 4.0
# The canary alone proves that the inbox is subscribed to; a Redis that is slow may delay it.
CANARY_MISSED_S = 10.0
CHANNELS_PER_COMMAND = 500
# Logs asked about in one tail read: about a millisecond of Redis' time where little was missed.
CURSORS_PER_READ = 500


class Relay:
    """The listener. `run` is its loop; the other methods may be called at any time.

    `open_timeout_s`: how long opening a room may take.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        node: Node,
        locals_: Locals,
        delivery: Delivery,
        highest: HighestClock,
        metrics: Metrics,
        *,
        open_timeout_s: float,
    ) -> None:
        self._store = store
        self._keys = keys
        self._inbox = keys.inbox(node.node_id).encode()
        self._locals = locals_
        self._delivery = delivery
        self._highest = highest
        self._metrics = metrics
        self._open_timeout_s = open_timeout_s
        self._tails = TailReader(store, keys, keys.inbox(node.node_id))
        self._connection: Connection | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._arrived: deque[Any] = deque()  # messages not handled yet: the rest of what came at once
        self._channels: dict[bytes, LocalRoom] = {}  # channel -> room
        self._unconfirmed: set[bytes] = set()  # channels subscribed to when connecting, the inbox among them
        self._due: dict[Cursor, None] = {}  # cursors whose tail is to be read, in order
        self._holding = True  # deliveries wait for a tail
        self._held: list[tuple[int, int, Cursor, Entry]] = []  # clock, order of arrival, ...
        self._numbers = itertools.count(1)
        self.canary_seen_s = float("-inf")  # monotonic time of the newest canary
        self.lost: Callable[[Cursor], None] = lambda cursor: None  # set by the cluster
        delivery.release = self.release

    # --- rooms ---------------------------------------------------------------------------------------------

    async def open(self, room_id: RoomId) -> LocalRoom:
        """The room, subscribed to and with its roster read; `release` it when done.

        Raises StoreUnavailable where that takes too long.
        """
        room = self._locals.rooms.get(room_id) or self._add(room_id)
        room.holders += 1
        if room.ready.done() and not room.ready.cancelled():
            return room
        try:
            await asyncio.wait_for(asyncio.shield(room.ready), self._open_timeout_s)
        except BaseException as error:
            self.release(room)
            if isinstance(error, TimeoutError):
                limit = f"{self._open_timeout_s:g} s"
                raise StoreUnavailable(f"Redis did not confirm a subscription within {limit}") from None
            raise
        return room

    def release(self, room: LocalRoom) -> None:
        """Undoes one `open`; after the last one the subscription is dropped."""
        room.holders -= 1
        if room.holders > 0 or self._locals.rooms.get(room.room) is not room:
            return
        del self._locals.rooms[room.room]
        channel = self._keys.room(room.room).channel.encode()
        del self._channels[channel]
        self._due.pop(room, None)
        room.close()
        self._command("UNSUBSCRIBE", channel)

    def verify(self) -> None:
        """Redis lost data: reads all tails, so that every log that lost entries is found out."""
        self._fall_behind([*self._locals.rooms.values(), *self._locals.sockets.values()])

    def delivered(self) -> int:
        """The clock up to which everything was delivered here; 0 while that is not known."""
        return 0 if self._holding or not self.listening else self._highest.value

    @property
    def listening(self) -> bool:
        """Whether the listener has a connection and the subscriptions it began with are confirmed."""
        return self._connection is not None and not self._unconfirmed

    def _add(self, room_id: RoomId) -> LocalRoom:
        room = self._locals.rooms[room_id] = LocalRoom(room_id)
        channel = self._keys.room(room_id).channel.encode()
        self._channels[channel] = room
        self._command("SUBSCRIBE", channel)
        return room

    # --- the loop ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connects, subscribes, and delivers until something fails; then the supervisor calls it again."""
        connection = await self._store.connection()
        try:
            bulk = BulkConnection(connection, SILENCE_S)
            await self._subscribe(connection)
            started_s = time.monotonic()
            while True:
                await self._listen(bulk)
                self._receive_all()
                if time.monotonic() - max(started_s, self.canary_seen_s) > CANARY_MISSED_S:
                    raise RedisConnectionError(f"no canary heard for {CANARY_MISSED_S:g} s")
                while self._must_catch_up:
                    await self._catch_up(bulk)
        finally:
            self._connection = None
            await connection.disconnect(nowait=True)

    async def _subscribe(self, connection: Connection) -> None:
        """Asks for everything anew; what is confirmed falls behind and is caught up with all the others."""
        self._arrived.clear()
        self._held.clear()
        self._due.clear()
        self._holding = True
        channels = [self._inbox, *self._channels]
        self._unconfirmed = set(channels)
        self._connection = connection  # from here on `open` subscribes by itself
        for chunk in _chunks(channels, CHANNELS_PER_COMMAND):
            await connection.send_command("SUBSCRIBE", *chunk)
        self._metrics.relay_connections += 1

    def _command(self, name: str, channel: bytes) -> None:
        """Sends without waiting; without a connection there is nothing to do, connecting subscribes anew."""
        connection = self._connection
        if connection is None or not connection.is_connected:
            return
        task = asyncio.ensure_future(_send(connection, name, channel))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _listen(self, bulk: BulkConnection) -> None:
        """Waits for messages, unless some of those that came are still to be handled."""
        if not self._arrived:
            self._arrived.extend(await bulk.replies())

    @property
    def _must_catch_up(self) -> bool:
        return bool(self._due) and not self._unconfirmed

    def _receive_all(self) -> None:
        """Handles what has arrived, in one go; the rest waits as soon as there are tails to be read first."""
        arrived, receive = self._arrived, self._receive
        while arrived:
            receive(arrived.popleft())
            if self._due and self._must_catch_up:
                return

    def _receive(self, message: Any) -> Payload | None:
        """Handles one pub/sub message; returns what came in the node's inbox for the node itself, if so."""
        if isinstance(message, Exception):  # Redis refused a subscription
            raise message
        kind, channel, data = message
        if kind != b"message":
            if kind == b"subscribe":
                self._confirmed(channel)
            return None
        try:
            entry = decode(data)
        except ValueError:
            logger.error("a message on %s is none of ours; it is left out: %.80r", channel.decode(), data)
            return None
        self._highest.saw(entry.clock)
        room = self._channels.get(channel)
        if room is not None:
            self._offer(room, entry)
            return None
        return self._receive_in_inbox(entry) if channel == self._inbox else None

    def _receive_in_inbox(self, entry: Entry) -> Payload | None:
        payload = entry.payload
        if isinstance(payload, Direct | Disconnect | Ask):
            socket = self._locals.sockets.get(payload.sid)
            if socket is not None:
                self._offer(socket, entry)
            return None
        if isinstance(payload, Canary):
            self.canary_seen_s = time.monotonic()
        elif not isinstance(payload, Marker):
            self._delivery.notice(payload)
        return payload

    def _confirmed(self, channel: bytes) -> None:
        self._unconfirmed.discard(channel)
        room = self._channels.get(channel)
        if room is not None:
            self._fall_behind((room,))
        elif channel == self._inbox:
            self._fall_behind(self._locals.sockets.values())
        else:  # left again while it was being subscribed to
            self._command("UNSUBSCRIBE", channel)

    # --- order ---------------------------------------------------------------------------------------------

    def _offer(self, cursor: Cursor, entry: Entry) -> None:
        """Delivers at once, or holds, or leaves it to the tail read that is due and will have it, too."""
        if entry.prev is not None and cursor.behind:
            return
        if self._holding:
            self._held.append((entry.clock, len(self._held), cursor, entry))
        else:
            self._deliver(cursor, entry)

    def _deliver(self, cursor: Cursor, entry: Entry) -> None:
        if entry.prev is not None:
            if entry.prev != cursor.position:
                self._fall_behind((cursor,))
                return
            cursor.position = entry.clock
        self._delivery.apply(cursor, entry)
        if isinstance(cursor, LocalRoom):
            cursor.moved()

    def _fall_behind(self, cursors: Iterable[Cursor]) -> None:
        """Entries may be missing; a room that was never read has nobody yet who could miss any."""
        for cursor in cursors:
            cursor.behind = True
            self._due[cursor] = None
            self._holding = self._holding or cursor.position is not None

    # --- what was missed -----------------------------------------------------------------------------------

    async def _catch_up(self, bulk: BulkConnection) -> None:
        """Reads the tails that are due, then delivers everything held, in clock order."""
        due, self._due = list(self._due), {}
        self._holding = True
        read_to: dict[Cursor, int] = {}
        while due:
            partial: list[Cursor] = []
            for chunk in _chunks(due, CURSORS_PER_READ):
                partial += await self._fill(bulk, chunk, read_to)
            due = partial
        self._holding = any(cursor.position is not None for cursor in self._due)
        self._deliver_held()

    async def _fill(
        self, bulk: BulkConnection, cursors: Sequence[Cursor], read_to: dict[Cursor, int]
    ) -> list[Cursor]:
        """Reads one chunk of tails; returns the cursors for which there is more."""
        number = next(self._numbers)
        marker = b"0 - " + encode_body(Marker(number))
        answers = await self._tails.read(cursors, read_to, marker)
        await self._read_until(bulk, number)
        for cursor, answer in zip(cursors, answers, strict=True):
            self._take(cursor, answer, read_to)
        return [cursor for cursor in cursors if cursor.behind and cursor not in self._due]

    async def _read_until(self, bulk: BulkConnection, number: int) -> None:
        """Reads on to the marker. What comes before it for the cursors being filled is in their tails."""
        deadline_s = time.monotonic() + SILENCE_S
        while time.monotonic() < deadline_s:
            await self._listen(bulk)
            notice = self._receive(self._arrived.popleft())
            if isinstance(notice, Marker) and notice.number == number:
                return
        raise RedisConnectionError("the marker of a tail read did not come back")

    def _take(self, cursor: Cursor, answer: Tail | Standing | Lost, read_to: dict[Cursor, int]) -> None:
        if not self._locals.has(cursor):  # gone meanwhile
            cursor.behind = False
            return
        match answer:
            case Tail(entries, complete):
                for clock, prev, body in entries:
                    self._held.append((clock, len(self._held), cursor, Entry(clock, prev, decode_body(body))))
                    read_to[cursor] = clock
                self._metrics.gaps_filled += bool(entries) and complete
                cursor.behind = not complete or cursor in self._due
            case Standing(last, members):
                self._stand(cursor, last, members)
            case Lost(last, members):
                self._metrics.gaps_unfillable += 1
                logger.error("entries of %s are lost; its clients here reconnect", cursor)
                self.lost(cursor)
                self._delivery.broken(cursor)
                self._stand(cursor, last, members)
                if isinstance(cursor, LocalRoom):
                    cursor.give_up()

    def _stand(self, cursor: Cursor, last: int, members: dict[str, str]) -> None:
        cursor.position = last
        cursor.behind = cursor in self._due
        if isinstance(cursor, LocalRoom):
            self._delivery.reset(cursor, members)
            cursor.moved()
            if not cursor.ready.done():
                cursor.ready.set_result(None)

    def _deliver_held(self) -> None:
        """Delivers in clock order, up to the next gap, which holds the rest again."""
        held, self._held = sorted(self._held, key=lambda item: item[:2]), []
        for clock, order, cursor, entry in held:
            if entry.prev is not None and cursor.behind:
                continue
            if self._holding:
                self._held.append((clock, order, cursor, entry))
            else:
                self._deliver(cursor, entry)


async def _send(connection: Connection, name: str, channel: bytes) -> None:
    try:
        if connection.is_connected:
            await connection.send_command(name, channel)
    except CONNECTION_ERRORS as error:  # the reading loop meets the same and starts over
        logger.debug("could not %s %s: %s", name, channel, error)


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[at : at + size] for at in range(0, len(items), size))
