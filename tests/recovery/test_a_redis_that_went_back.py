"""A Redis that comes back with an older past, as after a failover to a replica that lagged."""

import asyncio

import pytest

from app.store.keys import Keys
from app.wire import from_json
from tests.support.cluster import running_cluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClients
from tests.support.redis_server import RedisServer

from .door import Door
from .people import away, back, say, stock, told, witness

pytestmark = pytest.mark.time_limit(90)


async def beaten(redis: RedisServer, key_prefix: str, times: int) -> None:
    """Waits for so many heartbeats of the only node."""

    def beat() -> int:
        (record,) = redis.command("HVALS", Keys(key_prefix).nodes)
        return int(from_json(record)["beat"])

    before = beat()
    await eventually(lambda: beat() >= before + times, 10)


@pytest.mark.parametrize("beats", [0, 3], ids=["less than a heartbeat", "some heartbeats"])
async def test_who_was_away_is_not_told_that_it_missed_nothing(
    own_redis: RedisServer, key_prefix: str, beats: int
) -> None:
    async with (
        running_cluster(own_redis.url, key_prefix, 1, LOCALE="en", LEAVE_GRACE_S="30") as cluster,
        JsClients() as js,
        Door(cluster[0].url) as door,
    ):
        bob = await stock(js, cluster[0].url, "den", "bob")
        ann = await stock(js, door.url, "den", "ann")
        await say(bob, "one")
        await ann.wait_until(lambda: told(ann)[-1:] == ["bob : one"])
        door.shut()
        await away(ann, door.cut)
        await say(bob, "two")
        older = await asyncio.to_thread(own_redis.snapshot)
        await say(bob, "lost")
        await beaten(own_redis, key_prefix, beats)
        await asyncio.to_thread(own_redis.restore, older)
        await bob.wait_connected(2, 20)
        assert not bob.recovered
        await say(bob, "four")
        door.lead_to(cluster[0].url)
        await back(ann, 2)
        assert not ann.recovered
        await say(bob, "five")
        await ann.wait_until(lambda: told(ann)[-1:] == ["bob : five"])

        door.shut()
        await away(ann, door.cut)
        await say(bob, "six")
        door.lead_to(cluster[0].url)
        await back(ann, 3)
        assert ann.recovered, "history is whole from there on"
        await ann.wait_until(lambda: told(ann)[-1:] == ["bob : six"])


async def test_who_has_come_back_over_a_hole_before_it_was_known_starts_anew(
    own_redis: RedisServer, key_prefix: str
) -> None:
    async with (
        running_cluster(own_redis.url, key_prefix, 1, LOCALE="en", LEAVE_GRACE_S="30") as cluster,
        JsClients() as js,
        Door(cluster[0].url) as door,
    ):
        bob = await stock(js, cluster[0].url, "den", "bob")
        ann = await stock(js, door.url, "den", "ann")
        door.shut()
        await away(ann, door.cut)
        await say(bob, "one")
        door.lead_to(cluster[0].url)
        await back(ann, 2)
        assert ann.recovered
        await ann.wait_until(lambda: told(ann)[-1:] == ["bob : one"])
        keys = Keys(key_prefix)
        own_redis.command("SET", keys.broken, own_redis.command("GET", keys.clock))  # as another node does
        await back(ann, 3)
        assert not ann.recovered
        assert not bob.disconnects, "it was never away"


async def test_who_left_in_what_was_lost_is_no_ghost(own_redis: RedisServer, key_prefix: str) -> None:
    async with running_cluster(own_redis.url, key_prefix, 2, LOCALE="en") as cluster, JsClients() as js:
        bob = await witness(js, cluster[1].url, "den")
        cat = await witness(js, cluster[0].url, "den", "cat")
        dan = await stock(js, cluster[0].url, "den", "dan")
        await say(bob, "one")
        older = await asyncio.to_thread(own_redis.snapshot)
        cat.disconnect()
        dan.disconnect()
        await bob.wait_until(lambda: {"cat has left.", "dan has left."} <= set(told(bob)), 10)
        await asyncio.to_thread(own_redis.restore, older)
        await bob.wait_connected(2, 20)

        async def only_bob() -> bool:
            members = (await cluster.get("/api/rooms/den"))["members"]
            return [member["nickname"] for member in members] == ["bob"]

        await eventually(only_bob, 15)
