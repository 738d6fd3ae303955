"""A Redis that comes back with an older past, as after a failover to a replica that lagged."""

import asyncio

import pytest

from tests.support.cluster import running_cluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClients
from tests.support.redis_server import RedisServer

from .door import Door
from .people import away, back, say, stock, told, witness

pytestmark = pytest.mark.time_limit(90)


@pytest.mark.parametrize("seconds", [0, 3], ids=["less than a heartbeat", "some seconds"])
async def test_who_was_away_is_not_told_that_it_missed_nothing(
    own_redis: RedisServer, key_prefix: str, seconds: int
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
        await asyncio.sleep(seconds)
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
