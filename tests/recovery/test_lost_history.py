"""A client whose missed events are gone is somebody new, and the room sees one leave before it enters again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from app.hub.emitter import Emitter
from app.settings import load_settings
from tests.support.cluster import RunningCluster, running_cluster
from tests.support.js_client import JsClient, JsClients
from tests.support.redis_server import RedisServer

from .door import Door
from .people import away, back, say, stock, told, witness

COMING_AND_GOING = ["bob has joined.", "ann has joined.", "ann has left.", "ann has joined."]


class Scene:
    """A room with a witness, and a recovering client behind a door."""

    def __init__(self, cluster: RunningCluster, door: Door, emitter: Emitter, bob: JsClient, ann: JsClient):
        self.cluster = cluster
        self.door = door
        self.emitter = emitter
        self.bob = bob
        self.ann = ann

    async def gone(self) -> None:
        """The client is away."""
        self.door.shut()
        await away(self.ann, self.door.cut)

    async def fill(self, count: int) -> None:
        """So many entries, of half a kilobyte each."""
        texts = (f"{n} {'x' * 500}" for n in range(count))
        await asyncio.gather(*(self.emitter.emit("step", text, room="den") for text in texts))

    async def come_back(self) -> bool:
        """Whether it was recovered."""
        self.door.lead_to(self.cluster[0].url)
        await back(self.ann, self.ann.connects + 1)
        return self.ann.recovered

    async def assert_entered_again(self) -> None:
        """A new member, whose name was free; the next time it is recovered."""
        await self.ann.wait_until(lambda: len(self.ann.args_of("changename")) == 2)
        assert self.ann.args_of("changename")[-1][0] == {"nickname": "ann"}
        await say(self.bob, "seen by both")
        assert told(self.bob, "join", "leave") == COMING_AND_GOING
        await self.gone()
        await say(self.bob, "while away")
        assert await self.come_back()
        await self.ann.wait_until(lambda: told(self.ann)[-1:] == ["bob : while away"])
        assert told(self.ann, "message")[-2:] == ["bob : seen by both", "bob : while away"]
        assert told(self.bob, "join", "leave") == COMING_AND_GOING


@contextlib.asynccontextmanager
async def scene(redis: RedisServer, key_prefix: str, **settings: str) -> AsyncIterator[Scene]:
    """On one node with these settings."""
    options = load_settings(redis_url=redis.url, key_prefix=key_prefix, log_max_entries=10_000)
    if "LOG_MAX_ENTRIES" in settings:
        options = load_settings(
            redis_url=redis.url, key_prefix=key_prefix, log_max_entries=settings["LOG_MAX_ENTRIES"]
        )
    async with (
        running_cluster(redis.url, key_prefix, 1, LOCALE="en", **settings) as cluster,
        JsClients() as js,
        Emitter(options) as emitter,
        Door(cluster[0].url) as door,
    ):
        bob = await witness(js, cluster[0].url, "den")
        ann = await stock(js, door.url, "den", "ann")
        await say(bob, "before")
        yield Scene(cluster, door, emitter, bob, ann)


async def test_a_log_that_was_trimmed(redis_server: RedisServer, key_prefix: str) -> None:
    limits = {"LOG_MAX_ENTRIES": "100", "RECOVERY_MAX_ENTRIES": "5000"}
    async with scene(redis_server, key_prefix, **limits) as it:
        await it.gone()
        await it.fill(150)
        assert not await it.come_back()
        await it.assert_entered_again()
        assert "entries are gone" in it.cluster[0].log()


async def test_a_log_that_was_trimmed_within_the_first_page(redis_server: RedisServer, key_prefix: str) -> None:
    async with scene(redis_server, key_prefix, LOG_MAX_ENTRIES="10") as it:
        await it.gone()
        await it.fill(60)
        assert not await it.come_back()
        await it.assert_entered_again()


async def test_a_grace_beyond_the_window_ends_with_it(redis_server: RedisServer, key_prefix: str) -> None:
    async with scene(redis_server, key_prefix, RECOVERY_WINDOW_S="1", LEAVE_GRACE_S="30") as it:
        await it.gone()
        await it.bob.wait_until(lambda: told(it.bob, "leave"))
        assert not await it.come_back()
        await it.assert_entered_again()


async def test_a_limit_of_entries_below_a_page(redis_server: RedisServer, key_prefix: str) -> None:
    async with scene(redis_server, key_prefix, RECOVERY_MAX_ENTRIES="5") as it:
        await it.gone()
        await it.fill(20)
        assert not await it.come_back()
        await it.assert_entered_again()


@pytest.mark.parametrize("connected", [True, False], ids=["while it is connected", "while it is away"])
async def test_an_emptied_redis(own_redis: RedisServer, key_prefix: str, connected: bool) -> None:
    async with scene(own_redis, key_prefix) as it:
        sid, seen = it.ann.sid, len(it.ann.events)
        if not connected:
            await it.gone()
        own_redis.command("FLUSHALL")
        assert not await it.come_back()
        assert it.ann.sid != sid
        await it.ann.wait_for("changename", lambda data, *_: data["nickname"] == "ann", since=seen)
        await it.bob.wait_until(lambda: it.bob.connected and it.bob.connects == 2, 15)
        await it.gone()
        await say(it.bob, "while away")
        assert await it.come_back()
        await it.ann.wait_until(lambda: told(it.ann)[-1:] == ["bob : while away"])
        assert told(it.bob, "leave") == []
