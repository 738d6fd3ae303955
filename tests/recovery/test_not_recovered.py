"""A client that cannot have missed nothing is told so: it is somebody new, with a new pid."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from app.hub.emitter import Emitter
from tests.support.cluster import RunningCluster
from tests.support.js_client import JsClient, JsClients

from .door import Door
from .people import agree, away, back, say, stock, told, witness
from .visitor import Visitor, visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

WINDOW_S = 2
ENTRIES_MAX = 200
FUTURE = "9" * 16


@pytest.fixture(scope="module")
def cluster_nodes() -> int:
    """One for the client to come from, one to come to."""
    return 2


@pytest.fixture(scope="module")
def cluster_settings() -> dict[str, str]:
    """What can be waited for."""
    return {
        "RECOVERY_WINDOW_S": f"{WINDOW_S}",
        "LEAVE_GRACE_S": "1",
        "RECOVERY_MAX_ENTRIES": f"{ENTRIES_MAX}",
    }


async def gone(ann: JsClient, door: Door) -> tuple[str | None, dict[str, Any]]:
    """The client is away and will not come back yet; its sid, and its pid and offset."""
    sid, state = ann.sid, await ann.state()
    door.shut()
    await away(ann, door.cut)
    return sid, state


async def assert_somebody_new(ann: JsClient, former: tuple[str | None, dict[str, Any]]) -> None:
    sid, state = former
    assert not ann.recovered
    assert ann.sid != sid
    assert (await ann.state())["pid"] not in (None, state["pid"])


async def assert_can_recover_from_here(ann: JsClient, bob: JsClient, door: Door, url: str) -> None:
    """The new pid, together with whatever offset it has, is as good as any."""
    sid = ann.sid
    door.shut()
    await away(ann, door.cut)
    await say(bob, "while away again")
    door.lead_to(url)
    await back(ann, ann.connects + 1)
    await say(bob, "the end")
    await ann.wait_for("broadcast_msg", lambda data, offset: data["msg"] == "bob : the end")
    assert (ann.recovered, ann.sid) == (True, sid)
    assert told(ann, "message")[-2:] == ["bob : while away again", "bob : the end"]


async def test_after_the_window_a_client_that_enters_by_auth_is_a_new_member_under_its_old_name(
    cluster: RunningCluster, js: JsClients, door: Door, room: str
) -> None:
    bob = await witness(js, cluster[1].url, room)
    ann = await stock(js, door.url, room, "ann")
    former = await gone(ann, door)
    await bob.wait_until(lambda: told(bob, "leave"), WINDOW_S + 5)
    await say(bob, "unheard")
    await asyncio.sleep(WINDOW_S)  # the window
    seen = len(ann.events)
    door.lead_to(cluster[1].url)
    await back(ann)
    await ann.wait_for("changename", since=seen)
    await assert_somebody_new(ann, former)
    await say(bob, "heard")
    assert told(bob, "join", "leave") == ["bob has joined.", "ann has joined.", "ann has left.", "ann has joined."]
    await ann.wait_until(lambda: told(ann)[-1:] == ["bob : heard"])
    assert told(ann) == ["ann has joined.", "ann has joined.", "bob : heard"]
    await assert_can_recover_from_here(ann, bob, door, cluster[0].url)


async def test_after_the_window_a_client_that_does_not_enter_by_auth_is_in_no_room(
    cluster: RunningCluster, js: JsClients, door: Door, room: str
) -> None:
    bob = await witness(js, cluster[1].url, room)
    ann = await stock(js, door.url, None)
    assert (await ann.emit("joinroom", {"room": room, "nickname": "ann"}))["ok"]
    former = await gone(ann, door)
    await asyncio.sleep(WINDOW_S + 1)  # the window, and what may be between a break and its being noticed
    door.lead_to(cluster[1].url)
    await back(ann)
    await assert_somebody_new(ann, former)
    answer = await ann.emit("send_msg", {"to": "ALL", "msg": "am I in?"})
    assert answer["error"]["code"] == "not_in_room"
    assert (await cluster.get(f"/api/rooms/{room}"))["total"] == 1
    assert told(bob, "join", "leave") == ["bob has joined.", "ann has joined.", "ann has left."]


async def test_a_client_that_missed_too_much_starts_anew_and_its_name_is_free(
    cluster: RunningCluster, js: JsClients, door: Door, emitter: Emitter, room: str
) -> None:
    bob = await witness(js, cluster[1].url, room)
    ann = await stock(js, door.url, room, "ann")
    await say(bob, "before")
    former = await gone(ann, door)
    await asyncio.gather(*(emitter.emit("step", n, room=room) for n in range(ENTRIES_MAX + 1)))
    seen = len(ann.events)
    door.lead_to(cluster[1].url)
    await back(ann)
    await ann.wait_for("changename", lambda data, *_: data["nickname"] == "ann", since=seen)
    await assert_somebody_new(ann, former)
    await say(bob, "after")
    assert told(bob, "join", "leave") == ["bob has joined.", "ann has joined.", "ann has left.", "ann has joined."]
    assert not ann.args_of("step")
    await assert_can_recover_from_here(ann, bob, door, cluster[0].url)


async def test_a_client_that_missed_as_much_as_it_may_is_recovered(
    cluster: RunningCluster, js: JsClients, door: Door, emitter: Emitter, room: str
) -> None:
    bob = await witness(js, cluster[1].url, room)
    ann = await stock(js, door.url, room, "ann")
    await gone(ann, door)
    await asyncio.gather(*(emitter.emit("step", n, room=room) for n in range(ENTRIES_MAX)))
    door.lead_to(cluster[1].url)
    await back(ann)
    assert ann.recovered
    await say(bob, "after")
    await agree(ann, bob)
    assert [args[0] for args in ann.args_of("step")] == list(range(ENTRIES_MAX))


async def come_back_with(client: Visitor, url: str, **presented: Any) -> bool:
    """Whether it is recovered when it comes back with this."""
    client.cut()
    await client.come(url, **presented)
    return client.recovered


def lineage_of(pid: str | None) -> str:
    return (pid or "")[20:]


@pytest.mark.parametrize(
    "pid",
    [
        "A" * 40,
        "A" * 39,
        "A" * 41,
        "",
        "*" * 40,
        "ä" * 40,
        "A" * 100_000,
        12,
        None,
        True,
        ["A" * 40],
        {"pid": "A" * 40},
    ],
    ids=lambda pid: repr(pid)[:12],
)
async def test_a_pid_that_nobody_was_given_makes_a_new_client(cluster: RunningCluster, pid: object) -> None:
    async with visitor(cluster[0].url) as ann:
        sid, own = ann.sid, ann.pid
        assert not await come_back_with(ann, cluster[1].url, pid=pid)
        assert ann.sid != sid
        assert ann.pid is not None
        assert ann.pid not in (own, pid)
        assert await come_back_with(ann, cluster[0].url)


async def test_a_sid_with_the_lineage_of_another_client_takes_nobodys_session(
    cluster: RunningCluster, room: str
) -> None:
    async with (
        visitor(cluster[0].url, room=room, nickname="ann") as ann,
        visitor(cluster[0].url) as eve,
        visitor(cluster[1].url) as mallory,
    ):
        assert ann.pid is not None
        await mallory.come(cluster[1].url, pid=ann.pid[:20] + lineage_of(eve.pid))
        assert mallory.sid not in (ann.sid, eve.sid)
        assert not mallory.welcome["pid"].startswith(ann.sid)
        assert (await ann.call("send_msg", {"to": "ALL", "msg": "still connected"}))["ok"]


async def test_a_pid_of_another_namespace_makes_a_new_client(cluster: RunningCluster) -> None:
    async with visitor(cluster[0].url, "/lobby") as ann, visitor(cluster[0].url) as other:
        await ann.read_until(lambda: ann.told("new"))
        lobby_sid, lobby_pid = ann.sid, ann.pid
        assert not await come_back_with(other, cluster[1].url, pid=lobby_pid)
        assert other.sid != lobby_sid
        assert await come_back_with(ann, cluster[1].url, pid=lobby_pid)
        assert ann.sid == lobby_sid


async def test_an_offset_from_the_future_makes_a_new_client(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    bob = await witness(js, cluster[1].url, room)
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        sid = ann.sid
        await ann.read_until(lambda: ann.told("changename"))
        assert not await come_back_with(ann, cluster[1].url, offset=FUTURE)
        assert ann.sid != sid
        await ann.read_until(lambda: ann.told("changename") == [{"nickname": "ann"}] * 2)
        await say(bob, "after")
        assert told(bob, "join", "leave")[1:] == ["ann has joined.", "ann has left.", "ann has joined."]


@pytest.mark.parametrize(
    "offset",
    ["x", "", "-1", "1.5", "9" * 17, "１２", "0x10", "1795467444357702; --", 17, 1.5, True, None, ["1"], {"n": 1}],
    ids=lambda offset: repr(offset)[:12],
)
async def test_an_offset_that_is_none_replays_everything_since_the_client_entered(
    cluster: RunningCluster, emitter: Emitter, offset: object
) -> None:
    room = uuid4().hex
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        await emitter.emit("step", 1, room=room)
        await ann.read_until(lambda: ann.told("step"))
        ann.events.clear()
        assert await come_back_with(ann, cluster[1].url, offset=offset)
        await emitter.emit("step", 2, room=room)
        await ann.read_until(lambda: ann.told("step")[-1:] == [2])
        assert ann.told("step") == [1, 2]
        assert ann.told() == ["ann has joined."]
        assert ann.told("changename") == [{"nickname": "ann"}]
