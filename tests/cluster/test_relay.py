"""The relay: many messages that come at once are delivered as if they had come one at a time."""

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import Any

import pytest

from app.cluster import relay as relay_module
from app.store.bulk import BulkConnection
from app.store.keys import Keys
from app.wire import Event, RoomId, encode_body, event_packet
from tests.store.appending import ATTIC, DEN
from tests.store.bare_node import BareNode, bare_node
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

ROOMS = [DEN, ATTIC]
# Publishes and stores at once, so that all of it arrives together. For each entry: its log, its last, its
# channel, its clock, its prev, its body, and whether it is published.
WRITE_ALL = """
redis.call('SET', KEYS[1], ARGV[1])
for at = 2, #ARGV, 7 do
  redis.call('XADD', ARGV[at], ARGV[at + 3] .. '-0', 'p', ARGV[at + 4], 'b', ARGV[at + 5])
  redis.call('SET', ARGV[at + 1], ARGV[at + 3])
  if ARGV[at + 6] == '1' then
    redis.call('PUBLISH', ARGV[at + 2], ARGV[at + 3] .. ' ' .. ARGV[at + 4] .. ' ' .. ARGV[at + 5])
  end
end
"""


@dataclass(frozen=True, slots=True)
class Said:
    """An entry: its room, its event's argument, and whether it is published or only stored."""

    room: RoomId
    value: Any
    published: bool = True


def write_all(redis: RedisServer, keys: Keys, *said: Said) -> None:
    """Entries in this order, all at one instant."""
    clock = int(redis.command("GET", keys.clock))
    last = {room: int(redis.command("GET", keys.room(room).last) or 0) for room in ROOMS}
    args: list[Any] = [clock + len(said)]
    for each in said:
        clock += 1
        names = keys.room(each.room)
        body = encode_body(Event(event_packet("/", "said", each.value)))
        args += [names.log, names.last, names.channel, clock, last[each.room], body, int(each.published)]
        last[each.room] = clock
    redis.command("EVAL", WRITE_ALL, 1, keys.clock, *args)


def at_most(count: int) -> type[BulkConnection]:
    """A connection that gives this many messages at once; 1 is one at a time."""

    class Limited(BulkConnection):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self._rest: list[Any] = []

        async def replies(self) -> list[Any]:
            found = self._rest or await super().replies()
            self._rest = found[count:]
            return found[:count]

    return Limited


@contextlib.asynccontextmanager
async def nodes(redis: RedisServer, key_prefix: str, monkeypatch: pytest.MonkeyPatch, *limits: int) -> Any:
    """A node for each limit of messages at once, each with a member of both rooms."""
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for limit in limits:
            monkeypatch.setattr(relay_module, "BulkConnection", at_most(limit))
            made.append(await stack.enter_async_context(bare_node(redis.url, key_prefix)))
        yield [(node, await node.socket(*ROOMS)) for node in made]


def random_entries(random_: random.Random, count: int) -> list[Said]:
    """Of these some are not published; the newest of each room are, which shows what is missing."""
    lost = random_.choice([0.02, 0.1, 0.5])
    entries = [Said(random_.choice(ROOMS), n, random_.random() > lost) for n in range(count)]
    return [*entries, *(Said(room, f"last of {room.name}") for room in ROOMS)]


@pytest.mark.parametrize("seed", range(5))
async def test_messages_with_gaps_among_them_are_delivered_alike_however_many_come_at_once(
    redis_server: RedisServer, key_prefix: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    random_ = random.Random(seed)
    async with nodes(redis_server, key_prefix, monkeypatch, 1, 2, 7, 10_000) as made:
        expected = 0
        for _ in range(4):
            entries = random_entries(random_, random_.choice([5, 40, 300]))
            await asyncio.to_thread(write_all, redis_server, Keys(key_prefix), *entries)
            expected += len(entries)
            await eventually(lambda n=expected: [len(node.heard(s)) for node, s in made] == [n] * 4)
            heard = [node.heard(socket)[-len(entries) :] for node, socket in made]
            assert heard[1:] == heard[:1] * 3
            for room in ROOMS:
                own = [said.value for said in entries if said.room == room]
                assert [value for value in heard[0] if value in own] == own
        assert all(node.cluster.metrics.gaps_filled for node, _ in made)
        assert not any(node.witness.closed for node, _ in made)


async def test_what_comes_with_a_gap_and_behind_it_waits_until_it_is_filled(
    redis_server: RedisServer, key_prefix: str
) -> None:
    async with bare_node(redis_server.url, key_prefix) as node:
        socket = await node.socket(*ROOMS)
        entries = [
            Said(DEN, 1),
            Said(ATTIC, 2),
            Said(DEN, 3, published=False),
            Said(ATTIC, 4, published=False),
            Said(DEN, 5),  # shows that 3 is missing, and nothing yet that 4 is
            Said(ATTIC, 6),
            Said(DEN, 7),
        ]
        await asyncio.to_thread(write_all, redis_server, Keys(key_prefix), *entries)
        await eventually(lambda: len(node.heard(socket)) == 7)
        assert node.heard(socket) == [1, 2, 3, 5, 4, 6, 7]
        assert node.cluster.metrics.gaps_filled == 2


async def test_messages_of_a_room_that_is_left_in_the_middle_of_them_go_nowhere(
    redis_server: RedisServer, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bare_node(redis_server.url, key_prefix) as node:
        socket = await node.socket(*ROOMS)
        apply = node.cluster.delivery.apply

        def leave_at_two(cursor: Any, entry: Any) -> None:
            apply(cursor, entry)
            if node.heard(socket)[-1:] == [2]:
                node.cluster.relay.release(node.cluster.locals.rooms[DEN])

        monkeypatch.setattr(node.cluster.delivery, "apply", leave_at_two)
        entries = [Said(DEN, 1), Said(DEN, 2), Said(DEN, 3), Said(ATTIC, 4), Said(DEN, 5, published=False)]
        await asyncio.to_thread(write_all, redis_server, Keys(key_prefix), *entries, Said(DEN, 6), Said(ATTIC, 7))
        await eventually(lambda: node.heard(socket)[-1:] == [7])
        assert node.heard(socket) == [1, 2, 4, 7]


async def test_what_is_none_of_ours_is_left_out_and_holds_nothing_up(
    redis_server: RedisServer, key_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with bare_node(redis_server.url, key_prefix) as node:
        socket = await node.socket(*ROOMS)
        channel = node.cluster.keys.room(DEN).channel
        for wrong in ("", "x", "1 2", "one 2 e -\n", b"\xff 0 e -\n"):
            redis_server.command("PUBLISH", channel, wrong)
        await asyncio.to_thread(write_all, redis_server, Keys(key_prefix), Said(DEN, 1))
        await eventually(lambda: node.heard(socket) == [1])
    assert caplog.text.count("none of ours") == 5
    assert channel in caplog.text


async def test_a_listener_that_may_not_subscribe_says_so(
    own_redis: RedisServer, key_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    own_redis.command("ACL", "SETUSER", "default", "resetchannels")
    node = BareNode(own_redis.url, key_prefix)
    node.cluster.start()
    await eventually(lambda: "relay failed" in caplog.text)
    assert "NoPermissionError" in caplog.text
    assert not node.cluster.relay.listening
    await node.cluster.stop()
