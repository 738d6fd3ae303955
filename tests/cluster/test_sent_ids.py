"""Messages that a client sends again under the same id, since it does not know whether they have arrived."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.cluster.local import LocalSocket
from app.errors import NoSuchMember
from app.wire import RoomId, event_packet
from tests.store.appending import ATTIC, DEN
from tests.store.bare_node import BareNode, bare_node
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

IDS_MAX = 5
TTL_S = 60


@pytest.fixture
async def node(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[BareNode]:
    async with bare_node(redis_server.url, key_prefix, sent_ids_max=IDS_MAX, sent_ids_ttl_s=TTL_S) as made:
        yield made


def say(
    node: BareNode, sender: LocalSocket, text: str, message_id: str, room: RoomId = DEN
) -> "asyncio.Future[int]":
    packet = event_packet("/", "said", text)
    return node.cluster.log.append(room, packet, actor=sender, message_id=message_id, settle=lambda clock: clock)


def whisper(
    node: BareNode, sender: LocalSocket, text: str, message_id: str | None, to: str = "kim"
) -> "asyncio.Future[int]":
    packet = event_packet("/", "said", text)
    return node.cluster.log.whisper(
        DEN, to, packet, actor=sender, message_id=message_id, settle=lambda clock: clock
    )


def ids(node: BareNode, redis: RedisServer, of: LocalSocket) -> list[str]:
    found: list[str] = redis.command("ZRANGE", node.cluster.keys.sent(of.sid, of.lineage), 0, -1)
    return found


async def test_a_message_that_is_sent_again_is_in_the_log_once_and_answered_alike(node: BareNode) -> None:
    sender = await node.socket(DEN, nickname="lee")
    first, again = await asyncio.gather(say(node, sender, "a", "1"), say(node, sender, "a", "1"))
    assert first == again == await say(node, sender, "a", "1")
    assert first > sender.entered
    other = await say(node, sender, "b", "2")
    assert other > first
    await eventually(lambda: node.heard(sender) == ["a", "b"])


async def test_a_whisper_that_is_sent_again_is_in_the_log_once_and_answered_alike(node: BareNode) -> None:
    sender, kim = await node.socket(DEN, nickname="lee"), await node.socket(DEN, nickname="kim")
    first = await whisper(node, sender, "a", "1")
    assert await whisper(node, sender, "a", "1") == first
    assert await say(node, sender, "a", "1") == first, "ids are the client's, whatever it does with them"
    await whisper(node, sender, "b", None)
    await whisper(node, sender, "b", None)
    await eventually(lambda: node.heard(kim) == ["a", "b", "b"])
    await node.cluster.roster.leave(kim.sid, DEN)
    assert await whisper(node, sender, "a", "1") == first, "who has got it may have left since"
    with pytest.raises(NoSuchMember):
        await whisper(node, sender, "c", "3")


async def test_what_was_stored_nowhere_may_be_sent_again(node: BareNode) -> None:
    sender = await node.socket(DEN)
    assert await say(node, sender, "a", "1", ATTIC) == 0
    with pytest.raises(NoSuchMember):
        await whisper(node, sender, "b", "2")
    reader = await node.socket(ATTIC)
    await node.socket(DEN, nickname="kim")
    assert await say(node, sender, "a", "1", ATTIC)
    assert await whisper(node, sender, "b", "2")
    await eventually(lambda: node.heard(reader) == ["a"])


async def test_the_ids_of_different_clients_have_nothing_to_do_with_each_other(node: BareNode) -> None:
    one, other = await node.socket(DEN), await node.socket(DEN, recovers=True)
    assert await say(node, one, "a", "1") < await say(node, other, "b", "1")
    await eventually(lambda: node.heard(one) == ["a", "b"])


async def test_a_client_that_can_recover_is_known_through_all_its_sockets(
    redis_server: RedisServer, node: BareNode
) -> None:
    before = await node.socket(DEN, recovers=True)
    after = await node.socket(DEN, recovers=True)
    after.lineage = before.lineage
    assert await say(node, before, "a", "1") == await say(node, after, "a", "1")
    assert ids(node, redis_server, before) == ["1"]
    stranger = await node.socket(DEN)
    await say(node, stranger, "b", "1")
    assert ids(node, redis_server, stranger) == ["1"]


async def test_who_takes_the_sid_of_another_for_its_lineage_shares_no_ids_with_it(node: BareNode) -> None:
    plain, thief = await node.socket(DEN), await node.socket(DEN, recovers=True)
    thief.lineage = plain.sid
    assert await say(node, thief, "a", "1") < await say(node, plain, "b", "1")
    await eventually(lambda: node.heard(plain) == ["a", "b"])


@pytest.mark.parametrize("send", [say, whisper], ids=["to the room", "to one"])
async def test_of_a_client_s_ids_the_newest_are_kept_for_a_while(
    redis_server: RedisServer, node: BareNode, send: Any
) -> None:
    sender = await node.socket(DEN, nickname="kim")
    clocks = {name: await send(node, sender, name, name) for name in "hgfedcba"}
    assert ids(node, redis_server, sender) == list("edcba")
    assert 0 < redis_server.command("TTL", node.cluster.keys.sent(sender.sid, "")) <= TTL_S
    assert await send(node, sender, "e", "e") == clocks["e"]
    assert await send(node, sender, "h", "h") > max(clocks.values()), "it is not known any more"


async def test_a_message_without_an_id_is_remembered_by_none(redis_server: RedisServer, node: BareNode) -> None:
    sender = await node.socket(DEN, nickname="kim")
    await whisper(node, sender, "a", None)
    await node.cluster.log.append(DEN, event_packet("/", "said", "b"), actor=sender)
    assert not redis_server.command("EXISTS", node.cluster.keys.sent(sender.sid, ""))
