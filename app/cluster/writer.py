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
from typing import Any

from redis.exceptions import NoScriptError, RedisError

from ..errors import OutcomeUnknown, StoreOverloaded, StoreUnavailable
from ..metrics import Metrics
from ..settings import Settings
from ..store.keys import Keys
from ..store.redis import CONNECTION_ERRORS, Connection, Store, is_passing
from ..store.scripts import Script

logger = logging.getLogger(__name__)

# A pipeline is cut here, so that one reply's wait stays short; 256 calls take Redis a few milliseconds.
PIPELINE_CALLS_MAX = 256
OUT_OF_ORDER = "OUTOFORDER"  # a script's refusal, see `_entry.lua`
PAUSE_S = 0.02  # before a pipeline is repeated, doubled up to
PAUSE_MAX_S = 0.5

Arg = str | bytes | int


class Call:
    """One numbered script call. `settle` turns its reply into the future's result, or raises."""

    __slots__ = ("args", "deadline", "future", "keys", "number", "script", "sent", "settle")

    def __init__(
        self,
        number: int,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[bytes],
        settle: Callable[[bytes], Any],
        deadline: float,
    ) -> None:
        self.number = number
        self.script = script
        self.keys = keys
        self.args = args
        self.settle = settle
        self.deadline = deadline
        self.sent = False
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


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
        self._own_keys = (keys.writer(writer_id), keys.clock)
        self._highest = highest
        self._metrics = metrics
        self._append_timeout_s = settings.append_timeout_s
        self._queue_max = settings.append_queue_max
        self._log_limits = (settings.log_max_entries, settings.recovery_window_s)
        self._waiting: deque[Call] = deque()
        self._pipeline: deque[Call] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._connection: Connection | None = None
        self._number = 0

    def submit(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Arg],
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
        encoded_keys, encoded_args = [_encoded(key) for key in keys], [_encoded(arg) for arg in args]
        if len(self._waiting) >= self._queue_max and not essential:
            refused: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            refused.set_exception(StoreOverloaded(f"{len(self._waiting)} appends wait for Redis; try later"))
            return refused
        self._number += 1
        deadline = time.monotonic() + self._append_timeout_s
        call = Call(self._number, script, encoded_keys, encoded_args, settle, deadline)
        self._waiting.append(call)
        self._idle.clear()
        self._wake.set()
        return call.future

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
        await self._store.answer(self._store.client.delete(self._own_keys[0]))

    async def drained(self, within_s: float) -> None:
        """Waits until every call has its answer, at most `within_s`."""
        async with asyncio.timeout(within_s):
            await self._idle.wait()

    async def _see_through(self) -> None:
        """Repeats the pipeline until each of its calls has an outcome or is out of time."""
        pause_s = PAUSE_S
        while self._pipeline:
            try:
                connection = self._connection or await self._connect()
                again = await self._exchange(connection)
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

    async def _connect(self) -> Connection:
        connection = await self._store.connection()
        try:
            await self._store.load_scripts(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        return connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _exchange(self, connection: Connection) -> bool:
        """Sends the pipeline, settles what got an answer; whether to pause before the rest is sent again."""
        calls = list(self._pipeline)
        first = calls[0].number
        packed = connection.pack_commands([self._command(call, first) for call in calls])
        for call in calls:
            call.sent = True
        await connection.send_packed_command(packed)
        replies = [await self._reply(connection) for _ in calls]
        for call, reply in zip(calls, replies, strict=True):
            if isinstance(reply, RedisError):
                return await self._refused(connection, call, reply)
            self._pipeline.popleft()
            self._settle(call, reply)
        return False

    def _command(self, call: Call, first: int) -> tuple[Arg, ...]:
        return (
            "EVALSHA",
            call.script.sha,
            len(call.keys) + len(self._own_keys),
            *self._own_keys,
            *call.keys,
            call.number,
            first,
            self._highest.value,
            *self._log_limits,
            *call.args,
        )

    @staticmethod
    async def _reply(connection: Connection) -> Any:
        try:
            return await connection.read_response()
        except CONNECTION_ERRORS:
            raise
        except RedisError as error:
            return error

    async def _refused(self, connection: Connection, call: Call, error: RedisError) -> bool:
        """Redis answered `call` with an error; none behind it was applied, so they are sent again."""
        if isinstance(error, NoScriptError):
            await self._store.load_scripts(connection)
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


def _encoded(arg: Arg) -> bytes:
    if isinstance(arg, bytes):
        return arg
    if isinstance(arg, str | int):
        return str(arg).encode()
    raise TypeError(f"expected text, bytes or a whole number, got {type(arg).__name__}")


def _fail(call: Call, error: Exception) -> None:
    if not call.future.done():
        call.future.set_exception(error)
