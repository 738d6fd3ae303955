"""What happens to a membership between a client's newest offset and its coming back costs it no event."""

import asyncio

import pytest

from app.hub.emitter import Emitter
from tests.support.cluster import RunningCluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClients

from .people import say, told, witness
from .visitor import Visitor, visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

MISSED = 1_500
PADDING = "x" * 4_000
RECEIVE_BUFFER_BYTES = 8_192
WITHIN_S = 5.0


@pytest.fixture(scope="module")
def cluster_settings() -> dict[str, str]:
    """Members leave as soon as the next heartbeat sees it."""
    return {"LEAVE_GRACE_S": "0", "RECOVERY_WINDOW_S": "60"}


def steps(client: Visitor) -> list[int]:
    return [n for n, _ in client.told("step")]


async def test_who_is_cut_during_the_replay_after_it_had_left_the_room_gets_everything_once(
    cluster: RunningCluster, js: JsClients, emitter: Emitter, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        await ann.read_until(lambda: ann.told() == ["ann has joined."])
        ann.cut()
        await bob.wait_until(lambda: told(bob, "leave"))
        await asyncio.gather(*(emitter.emit("step", [n, PADDING], room=room) for n in range(MISSED)))
        for number, count in ((1, 100), (0, 300)):
            await ann.come(cluster[number].url, RECEIVE_BUFFER_BYTES)
            assert ann.recovered
            await ann.read_until(lambda count=count: len(steps(ann)) >= count, WITHIN_S)
            ann.cut()
        await ann.come(cluster[1].url)
        assert ann.recovered
        await say(bob, "the end")
        await ann.read_until(lambda: ann.told()[-1:] == ["bob : the end"])
        assert steps(ann) == list(range(MISSED))


async def test_who_does_not_hear_that_it_has_entered_again_gets_everything_at_the_next_try(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        await ann.read_until(lambda: ann.told() == ["ann has joined."])
        ann.cut()
        await bob.wait_until(lambda: told(bob, "leave"))
        await say(bob, "while it is no member")
        await ann.come(cluster[1].url)  # and reads no event
        await bob.wait_until(lambda: len(told(bob, "join")) == 3)
        ann.cut()
        await ann.come(cluster[0].url)
        assert ann.recovered
        await say(bob, "the end")
        await ann.read_until(lambda: ann.told()[-1:] == ["bob : the end"])
        assert "bob : while it is no member" in ann.told()


async def test_what_was_said_in_a_room_before_a_client_changed_to_another_is_not_lost(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    other = f"{room}-2"
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        await ann.read_until(lambda: ann.told() == ["ann has joined."])
        await say(bob, "before it changed")  # and is not read
        await ann.send("joinroom", {"room": other, "nickname": "ann"})
        await eventually(lambda: _is_in(cluster, other))
        await bob.wait_until(lambda: told(bob, "leave"))
        await say(bob, "after it changed")
        ann.cut()
        await ann.come(cluster[1].url)
        assert ann.recovered
        await ann.call("send_msg", {"to": "ALL", "msg": "the end"})
        await ann.read_until(lambda: ann.told()[-1:] == ["ann : the end"])
        said = [text for text in ann.told() if " : " in text]  # by now it may have left, and joined again
        assert said == ["bob : before it changed", "ann : the end"]


async def _is_in(cluster: RunningCluster, room: str) -> bool:
    rooms = (await cluster.get("/api/rooms"))["rooms"]
    return room in {each["room"] for each in rooms}


async def test_two_connections_that_want_one_session_at_once_leave_one_member_and_one_connection(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        await ann.read_until(lambda: ann.told() == ["ann has joined."])
        for urls in ((cluster[0].url, cluster[1].url), (cluster[1].url, cluster[1].url)):
            rivals = [Visitor(ann.auth, pid=ann.pid, offset=ann.offset) for _ in urls]
            outcomes = await asyncio.gather(*map(Visitor.come, rivals, urls), return_exceptions=True)
            came = [rival for rival, outcome in zip(rivals, outcomes, strict=True) if outcome is None]
            assert came and all(rival.recovered and rival.sid == ann.sid for rival in came)
            await say(bob, "who is it?")
            heard = await asyncio.gather(*(_hears(rival, "bob : who is it?") for rival in came))
            assert heard.count(True) == 1, heard
            (ann,) = [rival for rival, hears in zip(came, heard, strict=True) if hears]
        assert (await ann.call("send_msg", {"to": "ALL", "msg": "me"}))["ok"]
        await bob.wait_until(lambda: told(bob, "message")[-1] == "ann : me")
        ann.cut()


async def _hears(client: Visitor, text: str) -> bool:
    """Whether it is told this before its connection ends."""
    try:
        await client.read_until(lambda: client.told()[-1:] == [text], 5)
    except (AssertionError, OSError):
        return False
    return True
