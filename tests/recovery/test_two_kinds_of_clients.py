"""Who asks for recovery gets a pid and offsets, who does not gets neither; and both get the same events."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from app.hub.emitter import Emitter
from tests.support.cluster import RunningCluster, running_cluster
from tests.support.eventually import eventually
from tests.support.hub_node import cluster_manager_node
from tests.support.js_client import JsClient, JsClients
from tests.support.py_client import PyClient
from tests.support.redis_server import RedisServer

from .people import stock, told
from .visitor import visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_ASKED = [{}, {"recover": False}, {"recover": "true"}, {"recover": 1}, {"recover": None}]


def without_offsets(client: JsClient) -> list[tuple[str, Any]]:
    """Its events that have an offset, with the others' arguments; lists of users are coalesced by each node."""
    return [(name, args[:-1]) for name, args in client.events if isinstance(args[-1], str)]


def logged(client: JsClient) -> list[tuple[str, Any]]:
    """The same for a client that has none."""
    return [(name, args) for name, args in client.events if name != "userlist"]


@pytest.mark.parametrize("way", ["websocket", "polling"])
async def test_both_kinds_in_one_room_get_the_same_events_in_the_same_order(
    cluster: RunningCluster, js: JsClients, emitter: Emitter, room: str, way: str
) -> None:
    nodes = cluster.nodes
    plain = [
        await js.open(node.url, auth={"room": room, "nickname": f"plain{node.number}"}, transports=[way])
        for node in nodes
    ]
    recovering = [await stock(js, node.url, room, f"recovering{node.number}", way) for node in nodes]
    everybody = [*plain, *recovering]
    await recovering[-1].wait_for("broadcast_msg")
    for client in everybody:  # all are in the room, each has seen the last one enter
        await client.wait_until(lambda client=client: told(client)[-1:] == ["recovering2 has joined."])
        client.events.clear()
    speaking = [client.emit_many("send_msg", 20, {"to": "ALL", "msg": "{n}"}) for client in everybody]
    emitting = [emitter.emit("blob", ({"n": n}, bytes([n])), room=room) for n in range(20)]
    await asyncio.gather(*speaking, *emitting)
    await emitter.emit("end", "a text at the end", room=room)
    for client in everybody:
        await client.wait_for("end")
    for client in plain:
        assert logged(client) == logged(plain[0])
    for client in recovering:
        assert without_offsets(client) == logged(plain[0])
    assert len(logged(plain[0])) == 20 * (len(everybody) + 1) + 1
    assert logged(plain[0])[-1] == ("end", ("a text at the end",))


@pytest.mark.parametrize("auth", NOT_ASKED, ids=str)
async def test_a_client_that_does_not_ask_sees_neither_pid_nor_offset(
    cluster: RunningCluster, emitter: Emitter, room: str, auth: dict[str, Any]
) -> None:
    async with visitor(cluster[0].url, **({"recover": False} | auth), room=room) as plain:
        assert plain.welcome.keys() == {"sid"}
        await emitter.emit("text", "last", room=room)
        await emitter.emit("text", "last", to=plain.sid)
        await emitter.emit("nothing", room=room)
        await plain.read_until(lambda: plain.events[-1:] == [("nothing", [])])
        assert [args for name, args in plain.events if name == "text"] == [["last"], ["last"]]
        assert all(len(args) == 1 for name, args in plain.events if name != "nothing")


async def test_a_pid_is_of_no_use_to_a_client_that_does_not_ask(cluster: RunningCluster) -> None:
    async with visitor(cluster[0].url) as ann:
        sid = ann.sid
        ann.cut()
        await ann.come(cluster[1].url, recover=False)
        assert ann.welcome.keys() == {"sid"}
        assert ann.sid != sid


async def test_a_volatile_event_has_no_offset_and_every_other_has_one(
    cluster: RunningCluster, js: JsClients, emitter: Emitter, room: str
) -> None:
    ann = await stock(js, cluster[0].url, room, "ann")
    await emitter.emit("nothing", room=room)
    await emitter.emit("blob", b"\x00", room=room)
    await emitter.emit("alone", {"n": 1}, to=ann.sid or room)
    await emitter.emit("everybody", {"n": 1})
    await ann.wait_for("everybody")
    await ann.wait_for("userlist")
    assert not (await ann.emit("send_msg", {"to": "nobody", "msg": "hm"}))["ok"]
    await ann.wait_for("error_msg")
    with_offset = {name for name, args in ann.events if isinstance(args[-1], str)}
    assert with_offset == {"broadcast_msg", "nothing", "blob", "alone", "everybody"}
    # What a new member alone hears comes with the text of its joining, which has the offset.
    assert {name for name, args in ann.events} - with_offset == {"userlist", "error_msg", "changename"}


async def test_a_text_at_the_end_of_an_event_without_an_offset_is_not_taken_for_one(
    cluster: RunningCluster, js: JsClients, cluster_redis: RedisServer, cluster_prefix: str, room: str
) -> None:
    """What a server sends past the log, and what it wants an acknowledgement of."""
    ann = await stock(js, cluster[0].url, room, "ann", replies={"question": ["answer"]})
    await ann.wait_for("broadcast_msg")
    before = (await ann.state())["offset"]
    answers: list[tuple[Any, ...]] = []
    async with cluster_manager_node(cluster_redis.url, cluster_prefix) as node:
        for target in (ann.sid, room):
            await node.server.emit("question", "1", to=target, callback=lambda *args: answers.append(args))
            await ann.wait_until(lambda: ann.events[-1][0] == "question")
            ann.events.append(("seen", ()))
        await eventually(lambda: len(answers) == 2)
    assert answers == [("answer",)] * 2
    assert ann.args_of("question") == [("1",)] * 2
    assert (await ann.state())["offset"] == before


@contextlib.asynccontextmanager
async def one_node(redis: RedisServer, key_prefix: str, **settings: str) -> AsyncIterator[RunningCluster]:
    async with running_cluster(redis.url, key_prefix, 1, LOCALE="en", **settings) as cluster:
        yield cluster


async def test_no_client_can_recover_where_it_is_switched_off(
    redis_server: RedisServer, key_prefix: str, js: JsClients
) -> None:
    async with one_node(redis_server, key_prefix, RECOVERY="off") as cluster:
        ann = await js.open(cluster[0].url, auth={"recover": True, "room": "den"}, reconnectionDelay=50)
        await ann.wait_for("broadcast_msg")
        state = await ann.state()
        assert (state["pid"], state["offset"]) == (None, None)
        assert all(len(args) == 1 for _, args in ann.events)
        sid = ann.sid
        ann.drop()
        await ann.wait_connected(2)
        assert not ann.recovered
        assert ann.sid != sid
        await ann.close()


async def test_every_client_can_recover_where_it_is_switched_on(
    redis_server: RedisServer, key_prefix: str, js: JsClients
) -> None:
    async with one_node(redis_server, key_prefix, RECOVERY="on") as cluster:
        ann = await js.open(cluster[0].url, auth={"room": "den"}, reconnectionDelay=50)
        script = PyClient()
        await script.connect(cluster[0].url, auth={"room": "den", "nickname": "script"})
        sid = ann.sid
        ann.drop()
        await ann.wait_connected(2)
        assert (ann.recovered, ann.sid) == (True, sid)
        assert (await script.emit("send_msg", {"to": "ALL", "msg": "hello"}))["ok"]
        await ann.wait_until(lambda: told(ann, "message") == ["script : hello"])
        for args in _with_two(script.args_of("broadcast_msg")):
            assert args[1].isdecimal()
        await script.close()
        await ann.close()


def _with_two(found: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    kept = list(found)
    assert kept and all(len(args) == 2 for args in kept), kept
    return kept
