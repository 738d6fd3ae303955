"""A node that stood still while others took its sockets over: it says nothing more in their name."""

import asyncio
import contextlib

import pytest

from app.hub.emitter import Emitter
from tests.support.cluster import RunningCluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients
from tests.support.raw_websocket import CLOSE, Ended, RawWebSocket

from .breakdowns import paused
from .people import say, stock, told, witness
from .visitor import Visitor, visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITHIN_S = 15.0
MISSED = 1_500
PADDING = "x" * 4_000
RECEIVE_BUFFER_BYTES = 8_192


@pytest.fixture(scope="module")
def cluster_settings() -> dict[str, str]:
    """A node is soon taken for dead, and its members leave at once."""
    return {"LEASE_S": "2", "LEAVE_GRACE_S": "1"}


async def rest(ws: RawWebSocket | None) -> list[str]:
    """What still comes on a connection that the server ends. Raises TimeoutError where it does not end."""
    assert ws is not None
    came: list[str] = []
    try:
        async with asyncio.timeout(WITHIN_S):
            while (frame := await ws.frame(WITHIN_S)).opcode != CLOSE:
                came.append(frame.payload.decode())
    except (Ended, OSError):
        pass
    return came


async def taken_for_dead(bob: JsClient, *names: str) -> None:
    """Waits until the others were told that these have left."""
    expected = sorted(f"{name} has left." for name in names)
    await bob.wait_until(lambda: sorted(told(bob, "leave")) == expected, WITHIN_S)


async def speak_twice(client: Visitor) -> None:
    """Messages of both kinds, to a node that does not read them yet."""
    await client.send("send_msg", {"to": "ALL", "msg": "unheard"}, 1)
    await client.send("send_msg", {"to": "ALL", "msg": "unheard", "id": "m1"}, 2)
    await client.send("send_msg", {"to": "bob", "msg": "unheard"}, 3)
    await client.send("changename", {"nickname": "nobody"}, 4)
    await client.send("joinroom", {"room": "elsewhere"}, 5)


async def test_what_members_sent_to_a_node_that_was_taken_for_dead_is_not_done(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    async with (
        visitor(cluster[0].url, recover=False, room=room, nickname="plain") as plain,
        visitor(cluster[0].url, room=room, nickname="ann") as ann,
    ):
        await bob.wait_until(lambda: "ann has joined." in told(bob))
        with paused(cluster[0]):
            await taken_for_dead(bob, "plain", "ann")
            await speak_twice(plain)
            await speak_twice(ann)
        for client in (plain, ann):
            assert not [packet for packet in await rest(client.ws) if packet.startswith("43")]
        await say(bob, "after")
        assert told(bob, "message", "whisper", "rename") == ["bob : after"]
        assert (await cluster.get(f"/api/rooms/{room}"))["total"] == 1
        rooms = {each["room"] for each in (await cluster.get("/api/rooms"))["rooms"]}
        assert "elsewhere" not in rooms
        await ann.come(cluster[0].url)
        assert ann.recovered
        assert (await ann.call("send_msg", {"to": "ALL", "msg": "heard"}))["ok"]
        await bob.wait_until(lambda: told(bob, "message")[-1] == "ann : heard")


async def test_a_client_whose_session_was_taken_meanwhile_gets_nothing_on_its_old_connection(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        await ann.read_until(lambda: ann.told() == ["ann has joined."])
        with paused(cluster[0]):
            former = ann.ws
            await speak_twice(ann)
            await ann.come(cluster[1].url)
            assert ann.recovered
            await say(bob, "one")
            await eventually(lambda: "is dead" in cluster[1].log() + cluster[2].log(), WITHIN_S)
            await say(bob, "two")
        came = await rest(former)
        assert not [packet for packet in came if packet.startswith("43")]
        await say(bob, "three")
        await ann.read_until(lambda: ann.told()[-1:] == ["bob : three"])
        assert ann.told()[1:] == ["bob : one", "bob : two", "bob : three"]
        assert told(bob, "message", "whisper", "rename", "leave") == ["bob : one", "bob : two", "bob : three"]


async def test_a_replay_by_a_node_that_was_taken_for_dead_ends_and_goes_on_elsewhere(
    cluster: RunningCluster, js: JsClients, emitter: Emitter, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    async with visitor(cluster[1].url, room=room, nickname="ann") as ann:
        await ann.read_until(lambda: ann.told() == ["ann has joined."])
        ann.cut()
        await asyncio.gather(*(emitter.emit("step", [n, PADDING], room=room) for n in range(MISSED)))
        await ann.come(cluster[0].url, RECEIVE_BUFFER_BYTES)
        assert ann.recovered
        await ann.read_until(lambda: len(ann.told("step")) >= 50)
        await say(bob, "she is back")
        leaves = told(bob, "leave")
        with paused(cluster[0]):
            await bob.wait_until(lambda: len(told(bob, "leave")) > len(leaves), WITHIN_S)
        with contextlib.suppress(AssertionError, ConnectionError):  # no time-out: that were a deaf client
            while True:
                await ann.read(WITHIN_S)
        assert len(ann.told("step")) < MISSED
        await ann.come(cluster[0].url)
        assert ann.recovered
        await say(bob, "the end")
        await ann.read_until(lambda: ann.told()[-1:] == ["bob : the end"])
        assert [n for n, _ in ann.told("step")] == list(range(MISSED))


async def test_a_node_that_stood_still_for_less_than_its_lease_goes_on_with_what_it_was_sent(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, cluster[0].url, room, "ann")
    with paused(cluster[0]):
        ann.send("send_msg", {"to": "ALL", "msg": "one"})
        await say(bob, "two")
    await bob.wait_until(lambda: told(bob, "message") == ["bob : two", "ann : one"])
    await ann.wait_until(lambda: told(ann, "message") == ["bob : two", "ann : one"])
    assert ann.connects == 1
