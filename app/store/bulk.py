"""Many commands and many replies at a time, over a connection that redis-py has made.

redis-py connects, does TLS and Sentinel, authenticates and selects the database. From then on its own way
costs a task for every write, and a timer and five coroutine frames for every reply; here a write is a write, and
all replies that have come are taken with one wait. It touches redis-py's private `_reader` and `_writer`
(asyncio's streams) and `_parser._reader`, which is hiredis' reader: what redis-py had read already is in there,
error replies become the exceptions that redis-py makes of them, and `connection.read_response()` goes on
working. Who repeats what after an error is not decided here.
"""

import asyncio
import time
from typing import Any

import hiredis
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .redis import Connection

# What is read at a time, so that a flood of messages leaves the others in this process their turn.
CHUNK_BYTES = 65_536
# Beyond this, asyncio's usual mark, a write waits until some of it is gone.
WAITING_BYTES_MAX = 65_536


def local_host(connection: Connection) -> str:
    """The address that Redis sees a connection come from; where that is a Unix socket, this machine's own."""
    assert connection._writer is not None
    name = connection._writer.get_extra_info("sockname")
    return str(name[0]) if isinstance(name, tuple) else "127.0.0.1"


class BulkConnection:
    """A connected `connection` of redis-py; its user disconnects that, after any error raised here too.

    `timeout_s`: how long a reply may take, and a write that has to wait. Raises TypeError where redis-py has
    other insides than expected.
    """

    __slots__ = ("_deadline_s", "_gets", "_reader", "_stream", "_timeout_s", "_timer", "_writer", "connection")

    def __init__(self, connection: Connection, timeout_s: float) -> None:
        reader = getattr(connection._parser, "_reader", None)
        stream, writer = connection._reader, connection._writer
        if not isinstance(reader, hiredis.Reader):
            raise TypeError(f"expected redis-py to read with hiredis, got {type(connection._parser).__name__}")
        if not reader.has_data() and reader.gets() is not NOT_ENOUGH_DATA:
            raise TypeError("expected an empty reader of redis-py to say NOT_ENOUGH_DATA")
        if not isinstance(stream, asyncio.StreamReader) or not isinstance(writer, asyncio.StreamWriter):
            raise TypeError("expected a connected redis-py connection on asyncio's streams")
        self.connection = connection
        self._reader = reader
        self._gets = reader.gets
        self._stream = stream
        self._writer = writer
        self._timeout_s = timeout_s
        self._deadline_s: float | None = None  # monotonic time; None while nobody waits for a reply
        self._timer: asyncio.TimerHandle | None = None

    async def send(self, packed: bytes) -> None:
        """Writes commands, see `store.resp`. Raises OSError, or redis-py's TimeoutError."""
        self._writer.write(packed)
        if self._writer.transport.get_write_buffer_size() > WAITING_BYTES_MAX:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._writer.drain()
            except TimeoutError:
                raise RedisTimeoutError(f"Redis took nothing more for {self._timeout_s:g} s") from None

    async def replies(self) -> list[Any]:
        """Every reply that is here, in order; waits for the first one where there is none.

        Error replies are exceptions in the list. Raises OSError or redis-py's ConnectionError where the
        connection has ended, its TimeoutError where no whole reply came in time, and its InvalidResponse for
        what is not RESP.
        """
        replies = self._complete()
        if not replies:
            self._watch()
            try:
                while not replies:
                    chunk = await self._stream.read(CHUNK_BYTES)
                    if not chunk:
                        raise RedisConnectionError("Redis closed the connection")
                    self._reader.feed(chunk)
                    replies = self._complete()
            finally:
                self._deadline_s = None
            if len(chunk) == CHUNK_BYTES:  # there is probably more, and reading that would not wait
                await asyncio.sleep(0)
        return replies

    def _complete(self) -> list[Any]:
        gets, replies = self._gets, []
        while (reply := gets()) is not NOT_ENOUGH_DATA:
            replies.append(reply)
        return replies

    # One timer that looks again instead of one for each reply: a thousand a second would cost more than these.

    def _watch(self) -> None:
        self._deadline_s = time.monotonic() + self._timeout_s
        if self._timer is None:
            self._look_in(self._timeout_s)

    def _look_in(self, delay_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._deadline_s is None:
            return
        left_s = self._deadline_s - time.monotonic()
        if left_s > 0:
            self._look_in(left_s)
        else:  # wakes who waits in `replies`
            self._stream.set_exception(RedisTimeoutError(f"nothing came from Redis for {self._timeout_s:g} s"))
