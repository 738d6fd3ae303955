"""What heartbeats tell of Redis itself: that it was emptied, went back in time, lost entries or was silent."""

import asyncio
import time

import pytest
from redis.exceptions import RedisError

from app.store.redis import CONNECTION_ERRORS
from app.wire import to_json
from tests.store.redis_proxy import Cut, redis_proxy

from .registry import Registry, record_of


@pytest.mark.parametrize("how", ["hdel", "flushall", "older", "another epoch"])
async def test_a_heartbeat_that_redis_lost_is_noticed_once(registry: Registry, how: str) -> None:
    one = registry.member()
    await one.beat(3)
    assert one.losses == 0
    record = record_of(registry, one)
    if how == "hdel":
        registry.redis.command("HDEL", one.keys.nodes, one.node.node_id)
    elif how == "flushall":
        registry.redis.command("FLUSHALL")
    elif how == "another epoch":
        registry.redis.command("SET", one.keys.epoch, "another")
    else:
        assert record is not None
        registry.redis.command("HSET", one.keys.nodes, one.node.node_id, to_json(record | {"beat": 2}))
    await one.beat()
    assert (one.losses, one.metrics.data_losses) == (1, 1)
    assert one.went_back == (how == "older"), "where it was emptied there is nothing to recover from"
    await one.beat(3)
    assert (one.losses, one.metrics.data_losses) == (1, 1)


async def test_all_nodes_know_redis_by_one_epoch_until_it_was_emptied(registry: Registry) -> None:
    one, other = registry.member(), registry.member()
    await asyncio.gather(one.beat(), other.beat())
    epoch = registry.redis.command("GET", one.keys.epoch)
    await one.beat(2)
    assert one.nodes.epoch == other.nodes.epoch == epoch.encode()
    registry.redis.command("FLUSHALL")
    await asyncio.gather(one.beat(), other.beat())
    assert one.nodes.epoch == other.nodes.epoch
    assert one.nodes.epoch not in (b"", epoch.encode())
    assert (one.losses, other.losses) == (1, 1)


async def test_a_first_heartbeat_has_nothing_to_lose(registry: Registry) -> None:
    one = registry.member()
    await one.beat()
    assert one.losses == 0


@pytest.mark.parametrize("request_bytes", [0, 10**6], ids=["never done", "done"])
async def test_an_unanswered_heartbeat_is_no_lost_data(registry: Registry, request_bytes: int) -> None:
    async with redis_proxy(registry.redis.port) as proxy:
        one = registry.member(url=proxy.url)
        await one.beat(2)
        for _ in range(3):
            proxy.once(Cut(request_bytes), containing=b"HSET")
            with pytest.raises((RedisError, *CONNECTION_ERRORS)):
                await one.beat()
        await one.beat(2)
        assert one.losses == 0
        record = record_of(registry, one)
        assert record is not None
        assert record["beat"] == 4


async def test_who_was_not_answered_for_half_a_lease_is_told_that_others_may_have_buried_it(
    registry: Registry,
) -> None:
    async with redis_proxy(registry.redis.port) as proxy:
        one = registry.member(url=proxy.url, lease_s=0.4)
        await one.beat(2)
        assert one.silences == 0
        proxy.refusing = True
        proxy.cut_all()
        cut_s = time.monotonic()
        while time.monotonic() - cut_s < 0.25:
            with pytest.raises((RedisError, *CONNECTION_ERRORS)):
                await one.beat()
            assert one.silences == 0, "there is nobody to ask yet"
        proxy.refusing = False
        await one.beat()
        assert (one.silences, one.losses) == (1, 0)
        await one.beat(2)
        assert one.silences == 1


async def test_a_hole_that_some_node_has_found_is_told_once_each(registry: Registry) -> None:
    one, other = registry.member(), registry.member()
    await asyncio.gather(one.beat(), other.beat())
    registry.redis.command("SET", one.keys.broken, "7")
    await asyncio.gather(one.beat(2), other.beat(2))
    assert (one.holes, other.holes) == ([7], [7])
    registry.redis.command("SET", one.keys.broken, "9")
    await one.beat(2)
    assert one.holes == [7, 9]
