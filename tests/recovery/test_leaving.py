"""When a member leaves the room: at once, after its grace, or when its node is dead; and how it enters again."""

import asyncio
import time
from collections.abc import Callable

import pytest

from tests.support.cluster import RunningCluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients

from .breakdowns import killed
from .door import Door
from .people import PATIENCE, agree, away, back, say, stock, told, witness

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.time_limit(90)]

GRACE_S = 2.0
AT_ONCE_S = GRACE_S / 2  # several hundred times what it takes
# Nodes look for whom to let go once a second; the rest is for a slow machine.
LATE_S = 3.0
DEAD_WITHIN_S = 10.0


@pytest.fixture(scope="module")
def cluster_settings() -> dict[str, str]:
    """A grace that can be waited for; the lease is the default."""
    return {"LEAVE_GRACE_S": f"{GRACE_S}", "RECOVERY_WINDOW_S": "60"}


async def leaves_after_s(bob: JsClient, how: Callable[[], None]) -> float:
    """How long it takes until the witness is told that somebody left."""
    before, started_s = len(told(bob, "leave")), time.monotonic()
    how()
    await bob.wait_until(lambda: len(told(bob, "leave")) > before, GRACE_S + 2 * LATE_S)
    return time.monotonic() - started_s


def users(client: JsClient) -> list[str]:
    """Who is in the room, as the client's screen shows it."""
    lists = client.args_of("userlist")
    return list(lists[-1][0]["users"]) if lists else []


async def members(cluster: RunningCluster, number: int, room: str) -> list[str]:
    """Who is in the room, as a node's HTTP roster says."""
    found = await cluster.get(f"/api/rooms/{room}", number)
    return [member["nickname"] for member in found["members"]]


async def assert_only(cluster: RunningCluster, bob: JsClient, room: str, *names: str) -> None:
    await eventually(lambda: users(bob) == list(names), message=f"{users(bob)}")
    assert await members(cluster, 0, room) == list(names)


@pytest.mark.parametrize("way", ["websocket", "polling"])
async def test_a_client_that_says_goodbye_leaves_at_once(
    cluster: RunningCluster, js: JsClients, room: str, way: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, cluster[1].url, room, "ann", way)
    assert await leaves_after_s(bob, ann.disconnect) < AT_ONCE_S
    await assert_only(cluster, bob, room, "bob")
    ann.connect()
    await back(ann)
    assert not ann.recovered
    await say(bob, "after")
    assert told(bob, "join", "leave")[1:] == ["ann has joined.", "ann has left.", "ann has joined."]


async def test_a_client_that_does_not_recover_leaves_as_soon_as_its_connection_breaks(
    cluster: RunningCluster, js: JsClients, door: Door, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    await witness(js, door.url, room, "ann")
    door.shut()
    assert await leaves_after_s(bob, door.cut) < AT_ONCE_S
    await assert_only(cluster, bob, room, "bob")


async def test_a_client_that_recovers_stays_for_its_grace(
    cluster: RunningCluster, js: JsClients, door: Door, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    await stock(js, door.url, room, "ann")
    door.shut()
    assert GRACE_S <= await leaves_after_s(bob, door.cut) < GRACE_S + LATE_S
    assert told(bob, "leave") == ["ann has left."]
    await assert_only(cluster, bob, room, "bob")


async def test_who_comes_back_within_the_grace_was_never_away_for_the_others(
    cluster: RunningCluster, js: JsClients, door: Door, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, room, "ann")
    for number in (1, 0):
        door.shut()
        await away(ann, door.cut)
        await asyncio.sleep(GRACE_S / 3)  # a part of the grace, twice
        await assert_only(cluster, bob, room, "bob", "ann")
        door.lead_to(cluster[number].url)
        await back(ann, ann.connects + 1)
    await asyncio.sleep(GRACE_S + 1.5)  # the first grace would be over, had it not ended
    await say(bob, "after")
    await agree(ann, bob)
    assert told(bob, "join", "leave") == ["bob has joined.", "ann has joined."]
    await assert_only(cluster, bob, room, "bob", "ann")


async def away_for_longer_than_the_grace(ann: JsClient, bob: JsClient, door: Door) -> None:
    door.shut()
    await away(ann, door.cut)
    await bob.wait_until(lambda: told(bob, "leave"), GRACE_S + 2 * LATE_S)


async def test_who_comes_back_after_the_grace_enters_again_under_its_name_and_has_missed_nothing(
    cluster: RunningCluster, js: JsClients, door: Door, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, room, "ann")
    sid = ann.sid
    await away_for_longer_than_the_grace(ann, bob, door)
    await say(bob, "while away")
    door.lead_to(cluster[1].url)
    await back(ann)
    assert (ann.recovered, ann.sid) == (True, sid)
    await say(ann, "here again")
    await say(bob, "after")
    await agree(ann, bob)
    assert told(bob)[1:] == [
        *("ann has joined.", "ann has left.", "bob : while away", "ann has joined."),
        *("ann : here again", "bob : after"),
    ]
    await assert_only(cluster, bob, room, "bob", "ann")


async def test_who_comes_back_after_the_grace_and_finds_its_name_taken_is_told_another(
    cluster: RunningCluster, js: JsClients, door: Door, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, room, "ann")
    await away_for_longer_than_the_grace(ann, bob, door)
    thief = await witness(js, cluster[2].url, room, "ann")
    door.lead_to(cluster[1].url)
    await back(ann)
    assert ann.recovered
    name = (await ann.wait_for("changename", lambda data, *_: data["nickname"] != "ann"))[0]["nickname"]
    await say(ann, "who am I")
    await say(thief, "I am ann")
    await agree(ann, bob)
    assert told(bob)[-3:] == [f"{name} has joined.", f"{name} : who am I", "ann : I am ann"]
    assert name.startswith("Guest-")
    await assert_only(cluster, bob, room, "bob", "ann", name)


async def test_who_comes_back_to_the_lobby_after_the_grace_is_in_it_under_its_name(
    cluster: RunningCluster, js: JsClients, door: Door
) -> None:
    bob = await js.open(cluster[2].url, "/lobby", transports=["websocket"])
    ann = await js.open(door.url, "/lobby", transports=["websocket"], auth={"recover": True}, **PATIENCE)
    name = (await ann.wait_for("new"))[0]["nickname"]
    await bob.wait_until(lambda: name in users(bob))
    door.shut()
    await away(ann, door.cut)
    await bob.wait_until(lambda: name not in users(bob), GRACE_S + 2 * LATE_S)
    await say(bob, "while away")
    door.lead_to(cluster[1].url)
    await back(ann)
    assert ann.recovered
    await say(ann, "back")
    assert [args[0]["nickname"] for args in ann.args_of("new")][-1] == name
    assert [text.rpartition(" : ")[2] for text in told(ann)] == ["while away", "back"]
    await bob.wait_until(lambda: name in users(bob))


async def test_the_members_on_a_killed_node_leave_every_screen_with_one_text_each(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    bob, cat = await witness(js, cluster[2].url, room), await witness(js, cluster[1].url, room, "cat")
    stay_away = {"reconnection": False}
    for number in range(4):
        await stock(js, cluster[0].url, room, f"recovering-{number}", **stay_away)
        auth = {"room": room, "nickname": f"plain-{number}"}
        await js.open(cluster[0].url, auth=auth, transports=["polling"], **stay_away)
    started_s = time.monotonic()
    async with killed(cluster, 0):
        for screen in (bob, cat):
            await screen.wait_until(lambda screen=screen: users(screen) == ["bob", "cat"], DEAD_WITHIN_S)
        took_s = time.monotonic() - started_s
        for number in (1, 2):
            assert await members(cluster, number, room) == ["bob", "cat"]
        await say(bob, "after")
        await say(cat, "after")
        expected = [f"{kind}-{number} has left." for kind in ("plain", "recovering") for number in range(4)]
        assert sorted(told(bob, "leave")) == sorted(told(cat, "leave")) == expected
    assert took_s < DEAD_WITHIN_S
    print(f"the dead were gone after {took_s:.1f} s")
