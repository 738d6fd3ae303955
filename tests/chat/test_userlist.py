"""`userlist`: few lists for many changes, none too long, and the last one right."""

import asyncio
import itertools
import random
import time
from typing import Any
from uuid import uuid4

import pytest

from app.chat.userlist import COALESCE_S, UserLists
from app.cluster.local import LocalRoom
from app.wire import Packet, RoomId, from_json
from tests.support.cluster import RunningCluster, running_cluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients
from tests.support.redis_server import RedisServer

from .people import all_list, listed, told, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

INTERVAL_S = 0.1


async def members(js: JsClients, cluster: RunningCluster, count: int) -> list[JsClient]:
    """So many clients in no room, spread over the nodes."""
    urls = [node.url for node in cluster.nodes]
    opening = (js.open(urls[n % len(urls)], transports=["websocket"]) for n in range(count))
    return await asyncio.gather(*opening)


def lists_allowed(elapsed_s: float) -> int:
    """How many lists may come in so many seconds: one at either end, and one per interval."""
    return 2 + int(elapsed_s / INTERVAL_S)


def last_count(client: JsClient) -> int:
    """How many members the last list of a client counts."""
    return sum(data["count"] for data in told(client, "userlist")[-1:])


async def test_ten_joins_in_one_moment_cost_few_lists(cluster: RunningCluster, js: JsClients, room: str) -> None:
    watchers = [
        await js.open(node.url, transports=["websocket"], auth={"room": room, "nickname": f"증인{at}"})
        for at, node in enumerate(cluster.nodes)
    ]
    await all_list(watchers, "증인0", "증인1", "증인2")
    joining = await members(js, cluster, 10)
    for watcher in watchers:
        watcher.events.clear()
    started = time.monotonic()
    await asyncio.gather(*(each.emit("joinroom", {"room": room}) for each in joining))
    for watcher in watchers:
        await until(watcher, lambda watcher=watcher: last_count(watcher) == 13)
    elapsed_s = time.monotonic() - started
    for watcher in watchers:
        assert len(told(watcher, "userlist")) <= lists_allowed(elapsed_s), (
            f"in {elapsed_s:.3f} s: {watcher.events}"
        )


async def test_a_storm_of_renames_costs_no_more_lists_than_the_interval_permits(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    watcher = await js.open(cluster[1].url, transports=["websocket"], auth={"room": room, "nickname": "증인"})
    (restless,) = await members(js, cluster, 1)
    await restless.emit("joinroom", {"room": room, "nickname": "나"})
    await all_list((watcher,), "증인", "나")
    watcher.events.clear()
    started = time.monotonic()
    await restless.emit_many("changename", 400, {"nickname": "나{n}"})
    await all_list((watcher,), "증인", "나399")
    elapsed_s = time.monotonic() - started
    assert len(told(watcher)) == 400, "the renames themselves are not coalesced"
    assert len(told(watcher, "userlist")) <= lists_allowed(elapsed_s), f"in {elapsed_s:.3f} s"


async def test_without_a_change_there_is_no_list(cluster: RunningCluster, js: JsClients, room: str) -> None:
    client = await js.open(cluster[0].url, transports=["websocket"], auth={"room": room, "nickname": "나"})
    await all_list((client,), "나")
    client.events.clear()
    await client.emit_many("send_msg", 50, {"to": "ALL", "msg": "{n}"})
    await client.emit("changename", {"nickname": "ALL"})
    await client.emit("changename", {"nickname": "나"})
    await client.emit("changename", {"nickname": "너"})
    await all_list((client,), "너")
    assert told(client, "userlist") == [listed("너")]


async def test_after_a_storm_the_last_list_is_right_on_all_nodes(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    dice = random.Random(20)
    watchers = [
        await js.open(node.url, transports=["websocket"], auth={"room": room, "nickname": f"증인{at}"})
        for at, node in enumerate(cluster.nodes)
    ]
    crowd = await members(js, cluster, 18)

    async def wander(client: JsClient, moves: list[str]) -> None:
        for move in moves:
            match move:
                case "join":
                    await client.emit("joinroom", {"room": room})
                case "go":
                    await client.emit("joinroom", {"room": f"{room}-{client.number % 4}"})
                case "rename":
                    await client.emit("changename", {"nickname": f"이름{dice.randrange(12)}"})

    moves = [dice.choices(("join", "go", "rename"), (3, 1, 3), k=12) for _ in crowd]
    await asyncio.gather(*map(wander, crowd, moves))
    for gone in crowd[:5]:
        gone.disconnect()

    async def right() -> None:
        page = await cluster.get(f"/api/rooms/{room}")
        names = [member["nickname"] for member in page["members"]]
        for watcher in watchers:
            assert told(watcher, "userlist")[-1] == listed(*names)

    await eventually(right, 8)
    assert not any(client.disconnects for client in [*watchers, *crowd[5:]])


async def test_a_list_is_cut_at_userlist_max_names(redis_server: RedisServer, js: JsClients, room: str) -> None:
    prefix = f"chat-{uuid4().hex[:12]}"
    async with running_cluster(redis_server.url, prefix, 2, USERLIST_MAX="5") as cluster:
        crowd = await members(js, cluster, 7)
        for at, client in enumerate(crowd):
            await client.emit("joinroom", {"room": room, "nickname": f"이름{at}"})
        names = [f"이름{at}" for at in range(7)]
        cut = {"users": names[:5], "count": 7, "truncated": True}
        for client in crowd:
            await until(client, lambda client=client: told(client, "userlist")[-1:] == [cut])
        crowd[0].disconnect()
        crowd[6].disconnect()
        await all_list(crowd[1:6], *names[1:6])


# --- by its own ------------------------------------------------------------------------------------------------


class Sent:
    """A fan-out that notes when which list was written."""

    def __init__(self) -> None:
        self.lists: list[tuple[float, dict[str, Any]]] = []

    def broadcast(self, room: object, packet: Packet) -> None:
        """Notes."""
        assert packet.text.startswith('2["userlist",')
        self.lists.append((asyncio.get_running_loop().time(), from_json(packet.text[1:])[1]))


def filled(names: int, name: str | None = "방", namespace: str = "/") -> LocalRoom:
    """A room of so many members."""
    local = LocalRoom(RoomId(namespace, name))
    local.roster = {f"sid{n}": f"이름{n}" for n in range(names)}
    return local


@pytest.mark.parametrize(("names", "interval_s"), [(1, 0.1), (100, 0.1), (300, 0.3)])
async def test_a_room_gets_a_list_at_most_every_100_ms_or_1_ms_for_each_member(
    names: int, interval_s: float
) -> None:
    sent = Sent()
    lists = UserLists(sent, {"/"}, 500)  # type: ignore[arg-type]
    room = filled(names)
    for wanted in (1, 2, 3):
        for _ in range(10):
            lists.changed(room)
        await eventually(lambda wanted=wanted: len(sent.lists) == wanted, every_s=0.002)
    times = [when for when, _ in sent.lists]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(gap >= interval_s - 0.002 for gap in gaps), gaps
    assert all(data == listed(*room.roster.values()) for _, data in sent.lists)


async def test_the_first_list_is_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Sent()
    lists = UserLists(sent, {"/"}, 500)  # type: ignore[arg-type]
    started = asyncio.get_running_loop().time()
    lists.changed(filled(400))
    await eventually(lambda: sent.lists, every_s=0.002)
    assert COALESCE_S - 0.002 <= sent.lists[0][0] - started < 0.1


async def test_rooms_do_not_wait_for_each_other() -> None:
    sent = Sent()
    lists = UserLists(sent, {"/"}, 500)  # type: ignore[arg-type]
    started = asyncio.get_running_loop().time()
    for number in range(20):
        lists.changed(filled(2, f"방{number}"))
    await eventually(lambda: len(sent.lists) == 20, every_s=0.002)
    assert sent.lists[-1][0] - started < 0.1


async def test_a_list_shows_the_roster_at_its_own_time_and_no_nameless_members() -> None:
    sent = Sent()
    lists = UserLists(sent, {"/"}, 2)  # type: ignore[arg-type]
    room = filled(0)
    lists.changed(room)
    room.roster = {"a": "가", "b": "", "c": "나", "d": "다"}
    await eventually(lambda: sent.lists, every_s=0.002)
    assert sent.lists[0][1] == {"users": ["가", "나"], "count": 3, "truncated": True}


async def test_other_namespaces_and_everybody_have_no_list() -> None:
    sent = Sent()
    lists = UserLists(sent, {"/"}, 500)  # type: ignore[arg-type]
    lists.changed(filled(1, None))
    lists.changed(filled(1, namespace="/admin"))
    lists.changed(filled(1))
    await eventually(lambda: sent.lists, every_s=0.002)
    assert len(sent.lists) == 1 and not lists._due
