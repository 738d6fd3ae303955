"""When the recovery window is over, nothing of a client that did not come back stays in Redis."""

import pytest

from tests.support.cluster import RunningCluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClients
from tests.support.redis_server import RedisServer

from .breakdowns import killed
from .door import Door
from .people import back, say, stock, witness
from .visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITHIN_S = 20.0
# What a log outlives its room's last member: the window, what may not have been received before it, and a bit.
GOES_WITHIN_S = 2 + 3 + 5


@pytest.fixture(scope="module")
def cluster_settings() -> dict[str, str]:
    """All is soon over."""
    return {
        "LEASE_S": "2",
        "LEAVE_GRACE_S": "1",
        "RECOVERY_WINDOW_S": "2",
        "SENT_IDS_TTL_S": "2",
        "PING_INTERVAL_S": "1",
        "PING_TIMEOUT_S": "1",
    }


async def left_over(redis: RedisServer, prefix: str) -> list[str]:
    """The keys that are not the nodes' own and do not go by themselves within `GOES_WITHIN_S`."""
    own = (":clock", ":nodes", ":guests", ":epoch")
    async with redis.client() as client:
        keys = [key async for key in client.scan_iter(f"{prefix}:*")]
        keys = [key for key in keys if not key.endswith(own) and ":writer:" not in key]
        ttls_s = [await client.ttl(key) for key in keys]
    forever = -1
    return sorted(
        f"{key}: {ttl_s} s"
        for key, ttl_s in zip(keys, ttls_s, strict=True)
        if ttl_s == forever or ttl_s > GOES_WITHIN_S
    )


@pytest.mark.time_limit(90)
async def test_clients_that_do_not_come_back_leave_no_key_behind(
    cluster: RunningCluster, js: JsClients, cluster_redis: RedisServer, cluster_prefix: str, room: str
) -> None:
    visitors = [Visitor({"room": room}) for _ in range(9)]
    for number, client in enumerate(visitors):
        await client.come(cluster[number % 3].url)
        assert (await client.call("send_msg", {"to": "ALL", "msg": "hello", "id": "m1"}))["ok"]
    for client in visitors[:3]:  # away, and away again
        client.cut()
        await client.come(cluster[1].url)
        assert client.recovered
    async with killed(cluster, 0):
        for client in visitors:
            client.cut()
        await eventually(lambda: _is_gone(cluster, room), WITHIN_S)

    async def nothing_is_left() -> None:
        assert await left_over(cluster_redis, cluster_prefix) == []

    await eventually(nothing_is_left, WITHIN_S)


async def _is_gone(cluster: RunningCluster, room: str) -> bool:
    rooms = (await cluster.get("/api/rooms", 1))["rooms"]
    return room not in {each["room"] for each in rooms}


async def test_clients_that_say_goodbye_leave_nothing_to_recover(
    cluster: RunningCluster, js: JsClients, door: Door, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, room, "ann")
    pid = (await ann.state())["pid"]
    ann.disconnect()
    await say(bob, "unheard")
    ann.connect()
    await back(ann)
    assert not ann.recovered
    assert (await ann.state())["pid"] != pid
