"""A message that is sent again under its id is in the room once, and acknowledged the same way each time."""

import asyncio
import contextlib
import random
from typing import Any

import pytest

from tests.support.cluster import RunningCluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients

from .door import Door
from .people import agree, away, back, say, stock, told, whisper, witness
from .visitor import visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

WINDOW_S = 3
SENT_IDS_MAX = 8
MESSAGES = 100
SEED = 20_261_123


@pytest.fixture(scope="module")
def cluster_settings() -> dict[str, str]:
    """Clients that are soon forgotten, and ids that are."""
    return {
        "RECOVERY_WINDOW_S": f"{WINDOW_S}",
        "LEAVE_GRACE_S": "0",
        "SENT_IDS_MAX": f"{SENT_IDS_MAX}",
    }


async def send(client: JsClient, message: str, mark: str, to: str = "ALL") -> Any:
    """Sends it and returns the acknowledgement."""
    return await client.emit("send_msg", {"to": to, "msg": message, "id": mark})


async def cut_and_lead_to(client: JsClient, door: Door, url: str, after_s: float = 0.0) -> None:
    door.shut()
    await away(client, door.cut)
    await asyncio.sleep(after_s)
    door.lead_to(url)
    await back(client, client.connects + 1)


async def test_a_message_that_is_repeated_on_its_connection(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, cluster[0].url, room, "ann")
    answers = [await send(ann, "hello", "m1") for _ in range(3)]
    assert answers == [{"ok": True, "id": "m1"}] * 3
    await say(bob, "after")
    await agree(ann, bob)
    assert told(bob, "message") == ["ann : hello", "bob : after"]


async def test_a_message_that_is_repeated_by_a_client_that_does_not_recover(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    assert [await send(bob, "hello", "m1") for _ in range(2)] == [{"ok": True, "id": "m1"}] * 2
    await say(bob, "after")
    assert told(bob, "message") == ["bob : hello", "bob : after"]


async def test_the_repeat_is_the_first_message_whatever_it_says(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, cluster[0].url, room, "ann")
    await asyncio.gather(*(send(ann, f"hello {n}", "m1") for n in range(5)))
    await say(bob, "after")
    assert told(bob, "message") == ["ann : hello 0", "bob : after"]


async def test_a_message_that_is_repeated_on_another_node_after_recovery(
    cluster: RunningCluster, js: JsClients, door: Door, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, room, "ann")
    first = await send(ann, "hello", "m1")
    await cut_and_lead_to(ann, door, cluster[1].url)
    assert ann.recovered
    assert await send(ann, "hello", "m1") == first == {"ok": True, "id": "m1"}
    await say(bob, "after")
    await agree(ann, bob)
    assert told(bob, "message") == ["ann : hello", "bob : after"]


async def test_a_message_that_is_repeated_by_a_client_that_was_not_recovered(
    cluster: RunningCluster, js: JsClients, door: Door, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, room, "ann")
    sid, first = ann.sid, await send(ann, "hello", "m1")
    await cut_and_lead_to(ann, door, cluster[1].url, after_s=WINDOW_S + 1.5)
    assert not ann.recovered
    assert ann.sid != sid
    assert await send(ann, "hello", "m1") == first
    assert (await send(ann, "something new", "m2"))["ok"]
    await cut_and_lead_to(ann, door, cluster[0].url)
    assert await send(ann, "hello", "m1") == first
    await say(bob, "after")
    assert told(bob, "message") == ["ann : hello", "ann : something new", "bob : after"]


async def test_a_whisper_that_is_repeated(cluster: RunningCluster, js: JsClients, door: Door, room: str) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, room, "ann")
    first = await send(ann, "psst", "m1", to="bob")
    assert await send(ann, "psst", "m1", to="bob") == first == {"ok": True, "id": "m1"}
    await cut_and_lead_to(ann, door, cluster[1].url)
    assert await send(ann, "psst", "m1", to="bob") == first
    await bob.close()
    assert await send(ann, "psst", "m1", to="bob") == first
    await whisper(ann, "ann", "after")
    await ann.wait_until(lambda: told(ann, "whisper")[-1:] == ["Whisper :ann : after"])
    assert told(ann, "whisper") == ["Whisper :ann : psst", "Whisper :ann : after"]
    assert told(bob, "whisper") == ["Whisper :ann : psst"]


async def test_a_refused_message_may_be_sent_again(cluster: RunningCluster, js: JsClients, room: str) -> None:
    ann = await stock(js, cluster[0].url, room, "ann")
    refused = await send(ann, "psst", "m1", to="bob")
    assert not refused["ok"]
    bob = await witness(js, cluster[2].url, room)
    assert (await send(ann, "psst", "m1", to="bob"))["ok"]
    await bob.wait_until(lambda: told(bob, "whisper") == ["Whisper :ann : psst"])


async def test_the_same_id_of_another_client_is_another_message(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, cluster[0].url, room, "ann")
    eve = await stock(js, cluster[0].url, room, "eve")
    for client in (ann, eve, bob, ann, eve, bob):
        assert (await send(client, "hello", "m1"))["ok"]
    await say(bob, "after")
    assert told(bob, "message") == ["ann : hello", "eve : hello", "bob : hello", "bob : after"]


async def test_an_id_is_known_until_so_many_newer_ones_have_come(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    ann = await stock(js, cluster[0].url, room, "ann")
    marks = [f"m{n}" for n in range(SENT_IDS_MAX + 1)]
    for mark in marks:
        assert (await send(ann, mark, mark))["ok"]
    for mark in reversed(marks):  # the oldest is forgotten, the others are not
        assert (await send(ann, mark, mark))["ok"]
    await say(ann, "after")
    assert told(ann, "message") == [f"ann : {text}" for text in (*marks, "m0", "after")]


async def test_a_message_without_an_id_is_another_one_each_time(cluster: RunningCluster, room: str) -> None:
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        for _ in range(2):
            assert await ann.call("send_msg", {"to": "ALL", "msg": "hello"}) == {"ok": True}
        await ann.read_until(lambda: ann.told()[-2:] == ["ann : hello"] * 2)


async def _cut_at_random(ann: JsClient, bob: JsClient, door: Door, cluster: RunningCluster) -> None:
    """Each time when some more messages have come through, often just when the next one is on its way."""
    chance, seen = random.Random(SEED), 0
    while True:
        seen += chance.randint(1, 6)
        await bob.wait_until(lambda seen=seen: len(told(bob, "message")) >= seen, 60)
        door.lead_to(chance.choice(cluster.nodes).url)
        chance.choice((door.cut, door.cut_off, ann.drop))()


@pytest.mark.parametrize("way", ["websocket", "polling"])
async def test_every_message_of_a_client_that_retries_is_there_once_and_in_order_however_often_it_is_cut(
    cluster: RunningCluster, js: JsClients, door: Door, room: str, way: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, room, "ann", way, retries=100, ackTimeout=500)
    fields = {"to": "ALL", "msg": "m{n}", "id": "m{n}"}
    cutting = asyncio.create_task(_cut_at_random(ann, bob, door, cluster))
    try:
        answers = await ann.emit_many("send_msg", MESSAGES, fields, within_s=45.0)
    finally:
        cutting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await cutting
    assert answers == [{"ok": True, "id": f"m{n}"} for n in range(MESSAGES)]
    expected = [f"ann : m{n}" for n in range(MESSAGES)]
    await eventually(lambda: told(bob, "message") == expected, message=f"{told(bob, 'message')}")
    await eventually(lambda: told(ann, "message") == expected, message=f"{told(ann, 'message')}")
    assert ann.reconnects > 5
