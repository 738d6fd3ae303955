"""The one connection through which a node's appends reach Redis, in order and each once.

Calls of one loop tick travel in one pipeline, and one pipeline is in flight at a time. Every call has a
number, and the scripts apply each number once and in order (`store/lua/_entry.lua`), so that a pipeline can be
repeated after any error without doing anything twice. What is appended is up to `cluster.roomlog` and
`cluster.roster`.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from redis.exceptions import NoScriptError, RedisError

from ..errors import OutcomeUnknown, StoreOverloaded, StoreUnavailable
from ..metrics import Metrics
from ..settings import Settings
from ..store.bulk import BulkConnection
from ..store.keys import Keys
from ..store.redis import CONNECTION_ERRORS, Store, is_passing
from ..store.resp import Arg, Packed, pack, pack_begin, pack_one
from ..store.scripts import Script

logger = logging.getLogger(__name__)

# A pipeline is cut here, so that one reply's wait stays short: 128 calls take Redis about two milliseconds.
# Their replies are one small hash there, in which each new one is looked for; twice as many cost more each.
PIPELINE_CALLS_MAX = 128
OUT_OF_ORDER = "OUTOFORDER"  # a script's refusal, see `_entry.lua`
PAUSE_S = 0.02  # before a pipeline is repeated, doubled up to
PAUSE_MAX_S = 0.5
# Beginnings of commands that are kept packed: one for each script and number of keys and arguments.
BEGINNINGS_CACHED = 1_024
# Arguments that every call has, see `_entry.lua`: its number, and four of its pipeline's and the writer's.
SHARED_ARGS = 5


class Call:
    """One numbered script call. `settle` turns its reply into the future's result, or raises.

    `head` and `tail`: the command's bytes up to and from the arguments that are its pipeline's.
    """

    __slots__ = ("deadline", "future", "head", "number", "script", "sent", "settle", "tail")

    def __init__(
        self,
        number: int,
        script: Script,
        head: bytes,
        tail: bytes,
        settle: Callable[[bytes], Any],
        deadline: float,
        future: "asyncio.Future[Any]",
    ) -> None:
        self.number = number
        self.script = script
        self.head = head
        self.tail = tail
        self.settle = settle
        self.deadline = deadline
        self.sent = False
        self.future = future


class HighestClock:
    """The highest clock this node has heard; scripts number above it."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def saw(self, clock: int) -> None:
        """Remembers `clock`."""
        if clock > self.value:
            self.value = clock


class Writer:
    """Takes calls and sees them through.

    `writer_id`: its own for each process and start, since the scripts know calls by it. Of the settings it
    uses how long a call is repeated for, how many may wait, and how much a log keeps.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        keys: Keys,
        writer_id: str,
        highest: HighestClock,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._key = keys.writer(writer_id)
        self._own_keys = pack((self._key, keys.clock))
        self._highest = highest
        self._metrics = metrics
        self._append_timeout_s = settings.append_timeout_s
        self._queue_max = settings.append_queue_max
        self._log_limits = pack((settings.log_max_entries, settings.log_max_age_s)).data
        self._beginning = lru_cache(BEGINNINGS_CACHED)(self._pack_beginning)
        self._waiting: deque[Call] = deque()
        self._pipeline: deque[Call] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._connection: BulkConnection | None = None
        self._number = 0

    def submit(
        self,
        script: Script,
        keys: Sequence[str] | Packed,
        args: Sequence[Arg] | Packed,
        settle: Callable[[bytes], Any] = bytes,
        *,
        essential: bool = False,
    ) -> "asyncio.Future[Any]":
        """Takes a place in the order at once; the future holds what `settle` makes of the reply.

        `keys` and `args` are those behind the ones every call has. `essential`: even where too many wait;
        for what must be done and is bounded otherwise. The future fails with StoreUnavailable or
        StoreOverloaded (certainly not done), OutcomeUnknown, or what `settle` raises. Raises TypeError or
        ValueError for what cannot be sent.
        """
        key_count, packed_keys = keys if isinstance(keys, Packed) else pack(keys)
        arg_count, packed_args = args if isinstance(args, Packed) else pack(args)
        waiting = self._waiting
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if len(waiting) >= self._queue_max and not essential:
            future.set_exception(StoreOverloaded(f"{len(waiting)} appends wait for Redis; try later"))
            return future
        self._number = number = self._number + 1
        head = self._beginning(script.sha, key_count, arg_count) + packed_keys + pack_one(number)
        deadline = time.monotonic() + self._append_timeout_s
        waiting.append(Call(number, script, head, packed_args, settle, deadline, future))
        self._idle.clear()
        self._wake.set()
        return future

    @property
    def waiting(self) -> int:
        """Calls that have no answer yet."""
        return len(self._waiting) + len(self._pipeline)

    async def run(self) -> None:
        """Sends what is submitted, for ever."""
        try:
            while True:
                self._expire(self._pipeline)
                if not self._pipeline and not self._waiting:
                    self._idle.set()
                    self._wake.clear()
                    await self._wake.wait()
                while self._waiting and len(self._pipeline) < PIPELINE_CALLS_MAX:
                    self._pipeline.append(self._waiting.popleft())
                await self._see_through()
        finally:
            await self._disconnect()

    async def close(self) -> None:
        """Forgets in Redis what only a living writer needs. Raises StoreUnavailable."""
        await self._store.answer(self._store.client.delete(self._key))

    async def drained(self, within_s: float) -> None:
        """Waits until every call has its answer, at most `within_s`."""
        async with asyncio.timeout(within_s):
            await self._idle.wait()

    async def _see_through(self) -> None:
        """Repeats the pipeline until each of its calls has an outcome or is out of time."""
        pause_s = PAUSE_S
        while self._pipeline:
            try:
                again = await self._exchange(self._connection or await self._connect())
            except (RedisError, *CONNECTION_ERRORS) as error:
                await self._disconnect()
                if pause_s == PAUSE_S:
                    logger.warning("appends wait, Redis is away: %s", error)
                again = True
            if again:
                self._metrics.append_repeats += 1
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MAX_S)
            self._expire(self._pipeline)
            self._expire(self._waiting)
        if pause_s > PAUSE_S and self._connection is not None:
            logger.warning("appends go on")

    async def _connect(self) -> BulkConnection:
        connection = await self._store.connection()
        try:
            await self._store.load_scripts(connection)
            self._connection = BulkConnection(connection, self._store.timeout_s)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return self._connection

    async def _disconnect(self) -> None:
        bulk, self._connection = self._connection, None
        if bulk is not None:
            await bulk.connection.disconnect(nowait=True)

    async def _exchange(self, bulk: BulkConnection) -> bool:
        """Sends the pipeline, settles what got an answer; whether to pause before the rest is sent again."""
        calls = list(self._pipeline)
        await bulk.send(self._packed(calls))
        replies = await bulk.replies()
        while len(replies) < len(calls):
            replies += await bulk.replies()
        submitted_s = time.monotonic() + self._append_timeout_s  # with a call's deadline: how long it took
        for call, reply in zip(calls, replies, strict=True):
            if isinstance(reply, RedisError):
                return await self._refused(bulk, call, reply)
            self._pipeline.popleft()
            self._metrics.append_seconds.observe(submitted_s - call.deadline)
            self._settle(call, reply)
        return False

    def _packed(self, calls: Sequence[Call]) -> bytes:
        """The pipeline's bytes; all its calls are marked as sent, which from here on they may be."""
        shared = pack((calls[0].number, self._highest.value)).data + self._log_limits
        pieces: list[bytes] = []
        for call in calls:
            call.sent = True
            pieces += (call.head, shared, call.tail)
        return b"".join(pieces)

    def _pack_beginning(self, sha: str, keys: int, args: int) -> bytes:
        """A command up to the keys that every call has."""
        keys += self._own_keys.number
        return pack_begin(3 + keys + SHARED_ARGS + args, "EVALSHA", sha, keys) + self._own_keys.data

    async def _refused(self, bulk: BulkConnection, call: Call, error: RedisError) -> bool:
        """Redis answered `call` with an error; none behind it was applied, so they are sent again."""
        if isinstance(error, NoScriptError):
            await self._store.load_scripts(bulk.connection)
            return False
        if str(error).startswith(OUT_OF_ORDER):  # Redis lost its data between two calls of this pipeline
            return False
        if is_passing(error):
            await self._disconnect()
            return True
        self._pipeline.popleft()
        logger.error("Redis refused %s: %s", call.script.name, error)
        _fail(call, StoreUnavailable(f"Redis refused {call.script.name}: {error}"))
        return False

    def _settle(self, call: Call, reply: bytes) -> None:
        self._metrics.appends += 1
        if call.future.done():  # its caller was cancelled
            return
        try:
            call.future.set_result(call.settle(reply))
        except Exception as error:  # what the reply means is the caller's to hear, not this loop's
            call.future.set_exception(error)

    def _expire(self, calls: deque[Call]) -> None:
        now = time.monotonic()
        while calls and calls[0].deadline <= now:
            call = calls.popleft()
            limit = f"Redis did not answer {call.script.name} within {self._append_timeout_s:g} s"
            _fail(call, OutcomeUnknown(limit) if call.sent else StoreUnavailable(limit))


def _fail(call: Call, error: Exception) -> None:
    if not call.future.done():
        call.future.set_exception(error)
