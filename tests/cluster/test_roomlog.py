"""What an append's future holds: the clock, or what the caller makes of it."""

from collections.abc import AsyncIterator

import pytest

from app.errors import NoSuchMember, Stale
from app.wire import event_packet
from tests.store.appending import ATTIC, DEN
from tests.store.bare_node import BareNode, bare_node
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

SAID = event_packet("/", "said", "hello")


@pytest.fixture
async def node(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[BareNode]:
    async with bare_node(redis_server.url, key_prefix) as made:
        yield made


async def test_what_the_caller_makes_of_the_clock_is_what_the_future_holds(node: BareNode) -> None:
    kim, lee = await node.socket(DEN, nickname="kim"), await node.socket(DEN, nickname="lee")
    log, room = node.cluster.log, node.cluster.locals.rooms[DEN]
    said = await log.append(DEN, SAID, actor=kim, settle=lambda clock: {"ok": True, "clock": clock})
    await eventually(lambda: room.position == said["clock"])
    whispered = await log.whisper(DEN, "lee", SAID, actor=kim, settle=lambda clock: ("whispered", clock))
    await eventually(lambda: ("whispered", room.position) == whispered)
    assert await log.append(ATTIC, SAID, settle=str) == "0", "nobody is there"
    assert node.heard(lee) == ["hello", "hello"]


async def test_what_the_caller_raises_is_the_futures(node: BareNode) -> None:
    kim = await node.socket(DEN, nickname="kim")

    def refuse(clock: int) -> None:
        raise LookupError(f"clock {clock > 0}")

    behind = node.cluster.log.append(DEN, SAID)
    for future in (
        node.cluster.log.append(DEN, SAID, settle=refuse),
        node.cluster.log.whisper(DEN, "kim", SAID, actor=kim, settle=refuse),
    ):
        with pytest.raises(LookupError, match="clock True"):
            await future
    assert await behind


async def test_what_was_not_done_is_not_settled(node: BareNode, redis_server: RedisServer) -> None:
    kim = await node.socket(DEN, nickname="kim")
    settled: list[int] = []
    log = node.cluster.log
    with pytest.raises(NoSuchMember):
        await log.whisper(DEN, "nobody", SAID, actor=kim, settle=settled.append)
    redis_server.command("HSET", node.cluster.keys.socket(kim.sid), "g", "2")
    with pytest.raises(Stale):
        await log.append(DEN, SAID, actor=kim, settle=settled.append)
    assert settled == []


async def test_a_socket_acts_with_the_generation_it_has_by_then(node: BareNode, redis_server: RedisServer) -> None:
    kim = await node.socket(DEN, nickname="kim")
    assert await node.cluster.log.append(DEN, SAID, actor=kim)
    redis_server.command("HSET", node.cluster.keys.socket(kim.sid), "g", "2")
    with pytest.raises(Stale):
        await node.cluster.log.append(DEN, SAID, actor=kim)
    kim.generation = 2
    assert await node.cluster.log.append(DEN, SAID, actor=kim)
