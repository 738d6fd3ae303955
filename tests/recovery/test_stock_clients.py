"""A stock client whose connection breaks is told `recovered`, is who it was, and has missed nothing."""

import pytest

from app.hub.emitter import Emitter
from tests.support.cluster import RunningCluster
from tests.support.js_client import JsClient, JsClients

from .door import Door
from .people import WAYS, agree, away, back, offsets, say, stock, told, witness

pytestmark = pytest.mark.asyncio(loop_scope="module")

every_way = pytest.mark.parametrize("way", WAYS)


async def assert_the_same(client: JsClient, sid: str | None, bob: JsClient) -> None:
    """It is recovered, speaks under its old name, and agrees with the witness, who saw nobody come or go."""
    assert client.recovered
    assert client.sid == sid
    await say(client, "it is me")
    await say(bob, "after")
    await agree(client, bob)
    assert told(bob, "message")[-2:] == ["ann : it is me", "bob : after"]
    assert told(bob, "join", "leave", "rename") == ["bob has joined.", "ann has joined."]


@every_way
@pytest.mark.parametrize("how", ["drop", "engine_close", "cut"])
async def test_a_client_whose_connection_breaks_is_recovered_on_another_node(
    cluster: RunningCluster, js: JsClients, door: Door, room: str, way: str, how: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, room, "ann", way)
    sid = ann.sid
    await say(bob, "before")
    door.shut()
    await away(ann, {"drop": ann.drop, "engine_close": ann.engine_close, "cut": door.cut}[how])
    await say(bob, "one", "two", "three")
    door.lead_to(cluster[1].url)
    await back(ann)
    await assert_the_same(ann, sid, bob)


@every_way
@pytest.mark.parametrize("number", [0, 1], ids=["the same node", "another node"])
async def test_a_client_is_recovered_while_a_node_still_holds_its_half_open_connection(
    cluster: RunningCluster, js: JsClients, door: Door, room: str, way: str, number: int
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, room, "ann", way)
    sid = ann.sid
    await say(bob, "before")
    door.shut()
    await away(ann, door.cut_off)
    if ann.connected:
        ann.drop()
    await say(bob, "one", "two", "three")
    door.lead_to(cluster[number].url)
    await back(ann)
    await assert_the_same(ann, sid, bob)


@every_way
async def test_a_client_is_recovered_twice_in_a_row(
    cluster: RunningCluster, js: JsClients, door: Door, room: str, way: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, room, "ann", way)
    sid = ann.sid
    for number in (1, 0, 0, 2):
        door.shut()
        await away(ann, door.cut)
        await say(bob, f"while away from node {number}")
        door.lead_to(cluster[number].url)
        await back(ann, ann.connects + 1)
        assert ann.recovered
    await assert_the_same(ann, sid, bob)


@every_way
async def test_a_client_that_comes_back_and_breaks_at_once_is_recovered(
    cluster: RunningCluster, js: JsClients, door: Door, room: str, way: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, room, "ann", way)
    sid = ann.sid
    for number in (1, 2, 0):
        door.shut()
        await away(ann, door.cut_off)
        door.lead_to(cluster[number].url)
        await say(bob, f"to node {number}")
        await back(ann, ann.connects + 1)
    await assert_the_same(ann, sid, bob)


@every_way
async def test_a_client_that_had_received_nothing_gets_all_since_it_connected(
    cluster: RunningCluster, js: JsClients, door: Door, emitter: Emitter, way: str
) -> None:
    await emitter.emit("news", "before it connected")
    ann = await stock(js, door.url, None, way=way)
    sid = ann.sid
    assert (await ann.state())["offset"] is None
    door.shut()
    await away(ann, door.cut)
    await emitter.emit("news", "to everybody")
    await emitter.emit("note", "to it alone", to=sid)
    door.lead_to(cluster[1].url)
    await back(ann)
    await ann.wait_for("note")
    assert (ann.recovered, ann.sid) == (True, sid)
    assert [(name, args[0]) for name, args in ann.events] == [("news", "to everybody"), ("note", "to it alone")]
    assert (await ann.state())["offset"] == str(offsets(ann)[-1])
