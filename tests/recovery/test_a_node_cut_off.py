"""A node that alone is cut off from Redis for longer than its lease: others bury it, while its clients stay."""

import pytest

from tests.store.redis_proxy import redis_proxy
from tests.support.cluster import running_cluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClients
from tests.support.redis_server import RedisServer

from .people import PATIENCE, say, told, witness

pytestmark = pytest.mark.time_limit(90)

SETTINGS = {"LOCALE": "en", "LEASE_S": "2", "LEAVE_GRACE_S": "1"}


@pytest.mark.parametrize("recover", [True, False], ids=["who recovers", "who does not"])
async def test_clients_that_only_listen_are_not_left_deaf(
    redis_server: RedisServer, key_prefix: str, recover: bool
) -> None:
    async with (
        redis_proxy(redis_server.port) as proxy,
        running_cluster(proxy.url, key_prefix, 1, **SETTINGS) as cut_off,
        running_cluster(redis_server.url, key_prefix, 1, **SETTINGS) as other,
        JsClients() as js,
    ):
        bob = await witness(js, other[0].url, "den")
        auth = {"recover": recover, "room": "den", "nickname": "ann"}
        ann = await js.open(cut_off[0].url, auth=auth, transports=["websocket"], **PATIENCE)
        await ann.wait_for("changename")
        await say(bob, "before")
        await ann.wait_until(lambda: told(ann)[-1:] == ["bob : before"])
        proxy.refusing = True
        proxy.cut_all()
        await bob.wait_until(lambda: "ann has left." in told(bob), 15)
        await say(bob, "meanwhile")
        proxy.refusing = False
        await ann.wait_connected(2, 15)
        assert bool(ann.recovered) == recover
        await bob.wait_until(lambda: told(bob, "join").count("ann has joined.") == 2, 10)
        await say(bob, "after")
        await ann.wait_until(lambda: told(ann)[-1:] == ["bob : after"], 10)
        assert ("bob : meanwhile" in told(ann)) == recover

        async def both() -> bool:
            members = (await other.get("/api/rooms/den"))["members"]
            return sorted(member["nickname"] for member in members) == ["ann", "bob"]

        await eventually(both, 10)
