"""The store: what it repeats (a script that Redis forgot) and what it does not (everything else)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import RedisError

from app.errors import StoreUnavailable
from app.store.redis import Store, is_passing
from app.store.scripts import all_scripts, script
from tests.support.eventually import eventually, steadily
from tests.support.redis_server import RedisServer

TAIL = script("tail_read")
ARGS = ("inbox", "marker", 10)  # a script that reads no log, and publishes


@pytest.fixture
async def store(own_redis: RedisServer) -> AsyncIterator[Store]:
    store = Store(own_redis.url, 0.3)
    yield store
    await store.aclose()


def calls(redis: RedisServer, command: str) -> int:
    stats: dict[str, Any] = redis.command("INFO", "commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


async def test_a_script_that_redis_has_forgotten_is_loaded_again(own_redis: RedisServer, store: Store) -> None:
    for _ in range(2):
        assert await store.run(TAIL, (), ARGS) == []
        own_redis.command("SCRIPT", "FLUSH")
    assert await store.run(TAIL, (), ARGS) == []
    assert own_redis.command("SCRIPT", "EXISTS", TAIL.sha) == [1]


async def test_every_script_is_loaded_on_one_connection(own_redis: RedisServer, store: Store) -> None:
    connection = await store.connection()
    try:
        await store.load_scripts(connection)
    finally:
        await connection.disconnect()
    assert own_redis.command("SCRIPT", "EXISTS", *(each.sha for each in all_scripts())) == [1] * len(
        list(all_scripts())
    )


async def test_nothing_is_sent_twice_to_a_redis_that_does_not_answer(own_redis: RedisServer, store: Store) -> None:
    await asyncio.gather(*(store.run(TAIL, (), ARGS) for _ in range(3)))  # three connections, connected
    own_redis.command("CONFIG", "RESETSTAT")
    own_redis.pause()
    scripts = [store.run(TAIL, (), ARGS) for _ in range(2)]
    outcomes = await asyncio.gather(*scripts, store.answer(store.client.incr("n")), return_exceptions=True)
    own_redis.resume()
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    await eventually(lambda: calls(own_redis, "evalsha") == 2 and calls(own_redis, "incrby") == 1)
    await steadily(
        lambda: (calls(own_redis, "evalsha"), calls(own_redis, "incrby"), calls(own_redis, "eval")) == (2, 1, 0),
        for_s=0.3,
    )


async def test_an_answer_that_came_too_late_is_nobody_elses(own_redis: RedisServer, store: Store) -> None:
    await store.client.set("late", "old")
    own_redis.pause()
    with pytest.raises(StoreUnavailable):
        await store.answer(store.client.get("late"))
    own_redis.resume()
    await store.client.set("other", "new")
    assert await store.answer(store.client.get("other")) == b"new"


async def test_a_redis_that_is_gone_is_unavailable_at_once_and_back_when_it_is(
    own_redis: RedisServer, store: Store
) -> None:
    assert await store.run(TAIL, (), ARGS) == []
    own_redis.kill()
    with pytest.raises(StoreUnavailable, match="could not run tail_read"):
        await store.run(TAIL, (), ARGS)
    with pytest.raises(StoreUnavailable, match="gave no answer"):
        await store.answer(store.client.get("x"))
    own_redis.start()
    assert await store.run(TAIL, (), ARGS) == []


async def test_what_redis_refuses_is_unavailable_too(own_redis: RedisServer, store: Store) -> None:
    own_redis.command("SET", "text", "x")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await store.run(TAIL, ("text", "last", "text"), (*ARGS, "1"))
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await store.answer(store.client.hget("text", "x"))


async def test_connections_carry_the_stores_name(own_redis: RedisServer) -> None:
    store = Store(own_redis.url, 1.0, "clusterkit-abc")
    connection = await store.connection()
    try:
        assert "name=clusterkit-abc " in own_redis.command("CLIENT", "LIST")
    finally:
        await connection.disconnect()
        await store.aclose()


PASSING = [
    "LOADING Redis is loading the dataset in memory",
    "READONLY You can't write against a read only replica.",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN The cluster is down",
    "NOREPLICAS Not enough good replicas to write.",
    "BUSY Redis is busy running a script.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
]


@pytest.mark.parametrize("reply", PASSING, ids=lambda reply: str(reply).split()[0])
async def test_what_a_redis_says_while_it_changes_passes(store: Store, reply: str) -> None:
    assert is_passing(await said(store, reply))


@pytest.mark.parametrize(
    "reply", ["WRONGTYPE Operation against a key", "OOM command not allowed", "NOSCRIPT No matching", "ERR no"]
)
async def test_what_redis_will_say_again_does_not_pass(store: Store, reply: str) -> None:
    assert not is_passing(await said(store, reply))


async def said(store: Store, reply: str) -> BaseException:
    """The exception that redis-py makes of an error reply."""
    code, _, text = reply.partition(" ")
    with pytest.raises(RedisError) as error:
        await store.client.eval(f"return redis.error_reply([[{code} {text}]])", 0)
    return error.value
