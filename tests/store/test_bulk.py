"""Replies in bulk: what redis-py's connection would have given, all at once, and from inside of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import hiredis
import pytest
from redis._parsers import _AsyncRESP2Parser
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.exceptions import BusyLoadingError, NoScriptError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.store.bulk import CHUNK_BYTES, BulkConnection
from app.store.redis import CONNECTION_ERRORS, Store, is_passing
from app.store.resp import Arg, pack, pack_begin
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

TIMEOUT_S = 1.0
LATE_S = 10.0  # how much later than that a busy machine may say so


@pytest.fixture
async def bulk(own_redis: RedisServer) -> AsyncIterator[BulkConnection]:
    store = Store(own_redis.url, TIMEOUT_S)
    connection = await store.connection()
    yield BulkConnection(connection, TIMEOUT_S)
    await connection.disconnect()
    await store.aclose()


def command(*words: Arg) -> bytes:
    return pack_begin(len(words)) + pack(words).data


async def ask(bulk: BulkConnection, *commands: bytes) -> list[Any]:
    """As many replies as commands."""
    await bulk.send(b"".join(commands))
    replies: list[Any] = []
    while len(replies) < len(commands):
        replies += await bulk.replies()
    return replies


# --- redis-py's insides ------------------------------------------------------------------------------------


async def test_redis_py_keeps_what_is_used_of_it_where_it_was(bulk: BulkConnection) -> None:
    connection = bulk.connection
    assert type(connection._reader) is asyncio.StreamReader
    assert type(connection._writer) is asyncio.StreamWriter
    reader = connection._parser._reader  # type: ignore[union-attr]
    assert type(reader) is hiredis.Reader
    assert reader.gets() is NOT_ENOUGH_DATA


async def test_redis_pys_own_read_goes_on_working_between_ours(bulk: BulkConnection) -> None:
    for number in range(3):
        assert await ask(bulk, command("ECHO", number)) == [b"%d" % number]
        await bulk.connection.send_command("ECHO", "own")
        assert await bulk.connection.read_response() == b"own"


async def test_what_redis_py_has_read_already_is_not_lost(own_redis: RedisServer) -> None:
    store = Store(own_redis.url, TIMEOUT_S)
    connection = await store.connection()
    await connection.send_packed_command(connection.pack_commands([("ECHO", n) for n in range(5)]))
    assert await connection.read_response() == b"0"
    bulk = BulkConnection(connection, TIMEOUT_S)
    own_redis.pause()  # nothing more can come
    assert await bulk.replies() == [b"1", b"2", b"3", b"4"]
    own_redis.resume()
    await connection.disconnect()
    await store.aclose()


async def test_another_parser_and_a_connection_that_is_none_are_clear_errors(own_redis: RedisServer) -> None:
    store = Store(own_redis.url, TIMEOUT_S)
    connection = store.client.connection_pool.make_connection()
    with pytest.raises(TypeError, match="hiredis"):
        BulkConnection(connection, TIMEOUT_S)
    connection.set_parser(_AsyncRESP2Parser)
    await connection.connect()
    with pytest.raises(TypeError, match="hiredis, got _AsyncRESP2Parser"):
        BulkConnection(connection, TIMEOUT_S)
    await connection.disconnect()
    closed = await store.connection()
    await closed.disconnect()
    with pytest.raises(TypeError, match="a connected redis-py connection"):
        BulkConnection(closed, TIMEOUT_S)
    await store.aclose()


# --- replies -----------------------------------------------------------------------------------------------


async def test_the_replies_of_a_pipeline_come_in_order(bulk: BulkConnection) -> None:
    assert await ask(bulk, *(command("ECHO", n) for n in range(500))) == [b"%d" % n for n in range(500)]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("LOADING Redis is loading the dataset in memory", BusyLoadingError),
        ("READONLY You can't write against a read only replica.", ReadOnlyError),
        ("NOSCRIPT No matching script.", NoScriptError),
        ("OUTOFORDER call 3 came after call 1", ResponseError),
        ("ERR something", ResponseError),
    ],
)
async def test_an_error_reply_is_the_exception_that_redis_py_makes_of_it(
    bulk: BulkConnection, said: str, kind: type[RedisError]
) -> None:
    before, error, behind = await ask(
        bulk,
        command("ECHO", "before"),
        command("EVAL", f"return redis.error_reply([[{said}]])", 0),
        command("ECHO", "behind"),
    )
    assert (before, behind) == (b"before", b"behind")
    assert type(error) is kind
    await bulk.connection.send_command("EVAL", f"return redis.error_reply([[{said}]])", 0)
    with pytest.raises(kind) as own:
        await bulk.connection.read_response()
    assert (str(error), is_passing(error)) == (str(own.value), is_passing(own.value))


async def test_an_error_within_a_reply_is_an_exception_there(bulk: BulkConnection) -> None:
    (reply,) = await ask(bulk, command("EVAL", "return {'a', redis.error_reply('READONLY no'), {1}}", 0))
    assert reply[0] == b"a"
    assert type(reply[1]) is ReadOnlyError
    assert reply[2] == [1]


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 9, CHUNK_BYTES, 5 * CHUNK_BYTES + 1])
async def test_a_reply_is_whole_whatever_its_size(bulk: BulkConnection, size: int) -> None:
    value = bytes(n % 251 for n in range(size))
    assert await ask(bulk, command("ECHO", value), command("ECHO", "behind")) == [value, b"behind"]


async def test_a_flood_of_replies_leaves_the_others_their_turn(bulk: BulkConnection) -> None:
    takes: list[int] = []
    turns_before: list[int] = []
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(other())
    await bulk.send(b"".join(command("ECHO", "x" * 1_000) for _ in range(1_000)))
    # All of it waits in the kernel and in the stream, so that hardly a read has to wait.
    await eventually(lambda: len(bulk.connection._reader._buffer) > 2 * CHUNK_BYTES, every_s=0.001)
    while sum(takes) < 1_000:
        turns_before.append(turns)
        takes.append(len(await bulk.replies()))
    others.cancel()
    assert max(takes) * 1_000 <= 2 * CHUNK_BYTES
    assert turns - turns_before[0] >= len(takes) - 2


# --- what goes wrong ---------------------------------------------------------------------------------------


async def test_a_redis_that_does_not_answer_in_time_is_a_connection_error(
    own_redis: RedisServer, bulk: BulkConnection
) -> None:
    await ask(bulk, command("PING"))
    own_redis.pause()
    started_s = time.monotonic()
    with pytest.raises(RedisTimeoutError, match="nothing came from Redis for 1 s") as error:
        await ask(bulk, command("PING"))
    assert TIMEOUT_S <= time.monotonic() - started_s < TIMEOUT_S + LATE_S
    own_redis.resume()
    assert isinstance(error.value, CONNECTION_ERRORS)
    assert is_passing(error.value)


async def test_the_limit_is_for_one_answer_and_not_for_all(bulk: BulkConnection) -> None:
    stream, heard = bulk.connection._reader, 0
    assert stream is not None

    async def listen() -> None:
        nonlocal heard
        while True:
            heard += len(await bulk.replies())

    listening = asyncio.create_task(listen())
    for _ in range(6):
        await asyncio.sleep(TIMEOUT_S / 4)  # the pace of the answers
        stream.feed_data(b"+answer\r\n")
    fed_s = time.monotonic()
    with pytest.raises(RedisTimeoutError):
        await listening
    assert heard == 6
    assert TIMEOUT_S * 0.99 <= time.monotonic() - fed_s < TIMEOUT_S + LATE_S


async def test_a_part_of_a_reply_does_not_put_the_limit_off(own_redis: RedisServer) -> None:
    """What trickles in is no answer."""
    store = Store(own_redis.url, TIMEOUT_S)
    connection = await store.connection()
    bulk = BulkConnection(connection, TIMEOUT_S)

    async def trickle() -> None:
        assert connection._reader is not None
        connection._reader.feed_data(b"$1000\r\n")
        while True:
            await asyncio.sleep(TIMEOUT_S / 5)  # the pace of the bytes
            connection._reader.feed_data(b"x")

    trickling = asyncio.create_task(trickle())
    with pytest.raises(RedisTimeoutError):
        await bulk.replies()
    trickling.cancel()
    await connection.disconnect()
    await store.aclose()


async def test_time_between_the_answers_does_not_count(bulk: BulkConnection) -> None:
    assert await ask(bulk, command("PING")) == [b"PONG"]
    await asyncio.sleep(TIMEOUT_S * 1.2)  # longer than an answer may take
    assert await ask(bulk, command("PING")) == [b"PONG"]


async def test_a_connection_that_redis_ends_is_a_connection_error(
    own_redis: RedisServer, bulk: BulkConnection
) -> None:
    waiting = asyncio.create_task(bulk.replies())
    await asyncio.sleep(0)
    assert await asyncio.to_thread(own_redis.kill_connections, name="clusterkit") == 1
    with pytest.raises(CONNECTION_ERRORS):
        await waiting
    with pytest.raises(CONNECTION_ERRORS):
        await ask(bulk, command("PING"))


async def test_a_write_that_redis_does_not_take_is_a_connection_error(
    own_redis: RedisServer, bulk: BulkConnection
) -> None:
    own_redis.pause()
    with pytest.raises(RedisTimeoutError, match="took nothing more"):
        await bulk.send(command("ECHO", b"x" * 50_000_000))
    own_redis.resume()


async def test_what_is_no_resp_is_an_error(bulk: BulkConnection) -> None:
    assert bulk.connection._reader is not None
    bulk.connection._reader.feed_data(b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(RedisError):
        await bulk.replies()


async def test_who_stops_waiting_loses_nothing(own_redis: RedisServer, bulk: BulkConnection) -> None:
    await ask(bulk, command("SUBSCRIBE", "channel"))
    waiting = asyncio.create_task(bulk.replies())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.to_thread(own_redis.command, "PUBLISH", "channel", "x")
    assert await bulk.replies() == [[b"message", b"channel", b"x"]]
