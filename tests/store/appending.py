"""A writer on a real Redis, and what tests read of what it wrote.

The writer's loop runs under the supervisor, as in a node; there is no relay, so nothing is delivered.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from app.cluster.roomlog import RoomLog
from app.cluster.supervision import keep_running
from app.cluster.writer import HighestClock, Writer
from app.metrics import Metrics
from app.settings import load_settings
from app.store.keys import Keys
from app.store.redis import Store
from app.wire import Event, Packet, RoomId, decode_body, event_packet, from_json
from tests.support.redis_server import RedisServer

DEN = RoomId("/", "den")
ATTIC = RoomId("/", "attic")
LIMITS: dict[str, Any] = {
    "append_timeout_s": 20.0,
    "append_queue_max": 10_000,
    "log_max_entries": 100_000,
    "recovery_window_s": 600,
}


class Appending:
    """A writer and its log. `limits` are the writer's own; `store_url` is where it finds `redis`."""

    def __init__(
        self,
        redis: RedisServer,
        key_prefix: str,
        store_url: str,
        timeout_s: float = 2.0,
        node_id: str = "node",
        **limits: Any,
    ) -> None:
        self.redis = redis
        self.keys = Keys(key_prefix)
        self.metrics = Metrics()
        self.highest = HighestClock()
        self.store = Store(store_url, timeout_s, "clusterkit-test")
        settings = load_settings(**(LIMITS | limits))
        self.writer = Writer(settings, self.store, self.keys, node_id, self.highest, self.metrics)
        self.log = RoomLog(settings, self.writer, self.keys)
        self._loop: asyncio.Task[None] | None = None

    def plant_member(self, *rooms: RoomId) -> None:
        """Gives rooms a member, without whom nothing is stored."""
        for room in rooms or (DEN,):
            self.redis.command("HSET", self.keys.room(room).members, "somebody", "1 1 node ")

    def start(self) -> None:
        self._loop = asyncio.create_task(keep_running("writer", self.writer.run, self.metrics))

    async def stop(self) -> None:
        """Ends the writer's loop wherever it is."""
        while self._loop is not None and not self._loop.done():
            # More than once: before Python 3.12, `wait_for` below redis-py may swallow one.
            self._loop.cancel()
            await asyncio.wait([self._loop], timeout=0.1)

    def append(self, value: Any, room: RoomId = DEN) -> "asyncio.Future[int]":
        return self.log.append(room, event_packet("/", "said", value))

    def entries(self, room: RoomId = DEN) -> list[tuple[int, int, Any]]:
        """A room's log: clock, prev and the event's argument."""
        found = self.redis.command("XRANGE", self.keys.room(room).log, "-", "+")
        return [(int(clock.partition("-")[0]), int(fields["p"]), argument(fields["b"])) for clock, fields in found]

    def values(self, room: RoomId = DEN) -> list[Any]:
        """The events' arguments alone."""
        return [value for _, _, value in self.entries(room)]


def argument(body: str) -> Any:
    """The first argument of an event's body."""
    payload = decode_body(body.encode())
    assert isinstance(payload, Event)
    return from_json(text_of(payload.packet))[1]


def text_of(packet: Packet) -> str:
    """The JSON of a packet in the namespace `/`."""
    return packet.text[1:]


def assert_chained(entries: list[tuple[int, int, Any]]) -> None:
    """Clocks rise, and each entry names the one before it."""
    clocks = [clock for clock, _, _ in entries]
    assert clocks == sorted(set(clocks))
    assert [prev for _, prev, _ in entries] == [0, *clocks[:-1]]


@contextlib.asynccontextmanager
async def appending(
    redis: RedisServer, key_prefix: str, *, url: str = "", timeout_s: float = 2.0, **limits: Any
) -> AsyncIterator[Appending]:
    """A writer that runs while the block does; the room `den` has a member."""
    made = Appending(redis, key_prefix, url or redis.url, timeout_s, **limits)
    made.plant_member()
    made.start()
    try:
        yield made
    finally:
        await made.stop()
        await made.store.aclose()
