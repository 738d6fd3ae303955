"""What a client gets of the time it was away: all that it would have got, and nothing else."""

import pytest

from app.hub.emitter import Emitter
from tests.support.cluster import RunningCluster
from tests.support.js_client import JsClient, JsClients

from .door import Door
from .people import agree, away, back, offsets, say, stock, told, whisper, witness
from .visitor import visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def leave_for_a_while(ann: JsClient, door: Door) -> None:
    door.shut()
    await away(ann, door.cut)


async def come_back(ann: JsClient, door: Door, cluster: RunningCluster) -> None:
    door.lead_to(cluster[1].url)
    await back(ann, ann.connects + 1)
    assert ann.recovered


async def test_a_client_gets_nothing_from_before_it_joined(
    cluster: RunningCluster, js: JsClients, door: Door, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, None)
    await say(bob, "before ann")
    assert (await ann.emit("joinroom", {"room": room, "nickname": "ann"}))["ok"]
    await leave_for_a_while(ann, door)
    await say(bob, "while away")
    await come_back(ann, door, cluster)
    await say(bob, "after")
    await agree(ann, bob)
    assert told(ann) == ["ann has joined.", "bob : while away", "bob : after"]


async def test_a_client_that_had_read_nothing_gets_nothing_from_before_it_joined(
    cluster: RunningCluster, js: JsClients, emitter: Emitter, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    await say(bob, "before ann")
    await emitter.emit("everybody", "before ann")
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        assert ann.offset is None
        ann.cut()
        await say(bob, "while away")
        await ann.come(cluster[1].url)
        assert ann.recovered
        await ann.read_until(lambda: ann.told()[-1:] == ["bob : while away"])
        assert ann.told() == ["ann has joined.", "bob : while away"]
        assert ann.told("changename") == [{"nickname": "ann"}]
        assert not ann.told("everybody")


async def test_a_client_gets_the_whispers_to_it_and_no_others(
    cluster: RunningCluster, js: JsClients, door: Door, room: str
) -> None:
    bob, cat = await witness(js, cluster[2].url, room), await witness(js, cluster[0].url, room, "cat")
    ann = await stock(js, door.url, room, "ann")
    await whisper(ann, "bob", "ann's own")
    await leave_for_a_while(ann, door)
    await whisper(bob, "cat", "between others")
    await whisper(bob, "ann", "to ann")
    await whisper(cat, "cat", "to herself")
    await come_back(ann, door, cluster)
    await say(bob, "after")
    await agree(ann, bob)
    assert told(ann, "whisper") == ["Whisper :ann : ann's own", "Whisper :bob : to ann"]


async def test_a_break_right_behind_its_own_message_neither_loses_nor_doubles_it(
    cluster: RunningCluster, js: JsClients, door: Door, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, room, "ann")
    ann.send("send_msg", {"to": "ALL", "msg": "mine"})
    await bob.wait_for("broadcast_msg", lambda data: data["msg"] == "ann : mine")
    await leave_for_a_while(ann, door)
    await come_back(ann, door, cluster)
    await say(bob, "after")
    await agree(ann, bob)
    assert told(ann, "message") == ["ann : mine", "bob : after"]


async def test_events_of_the_room_the_namespace_and_the_sid_come_in_the_order_they_were_sent(
    cluster: RunningCluster, js: JsClients, door: Door, emitter: Emitter, room: str
) -> None:
    ann = await stock(js, door.url, room, "ann")
    sid = ann.sid
    await leave_for_a_while(ann, door)
    for number in range(5):
        await emitter.emit("step", f"{number} room", room=room)
        await emitter.emit("step", f"{number} all")
        await emitter.emit("step", f"{number} sid", to=sid)
        await emitter.emit("step", f"{number} two rooms", room=[room, f"{room}-2"])
        await emitter.emit("step", f"{number} all but ann", skip_sid=str(sid))
    await come_back(ann, door, cluster)
    await emitter.emit("step", "end", to=sid)
    await ann.wait_for("step", lambda step, offset: step == "end")
    targets = ("room", "all", "sid", "two rooms")
    assert [step for step, _ in ann.args_of("step")] == [
        *(f"{number} {target}" for number in range(5) for target in targets),
        "end",
    ]
    assert offsets(ann) == sorted(set(offsets(ann)))


async def test_binary_events_are_replayed(
    cluster: RunningCluster, js: JsClients, door: Door, emitter: Emitter, room: str
) -> None:
    ann = await stock(js, door.url, room, "ann")
    await emitter.emit("blob", {"n": 0, "bytes": b"\x00live"}, room=room)
    await ann.wait_for("blob")
    await leave_for_a_while(ann, door)
    await emitter.emit("blob", ({"n": 1, "bytes": b"\x00missed"}, b"\xff" * 3), room=room)
    await emitter.emit("blob", b"to her alone", to=ann.sid or "ann")
    await come_back(ann, door, cluster)
    await emitter.emit("end", room=room)
    await ann.wait_for("end")
    assert [args[:-1] for args in ann.args_of("blob")][:2] == [
        ({"n": 0, "bytes": b"\x00live"},),
        ({"n": 1, "bytes": b"\x00missed"}, b"\xff" * 3),
    ]
    assert (await ann.state())["offset"] == str(offsets(ann)[-1])


async def test_who_changed_rooms_gets_what_was_said_in_the_new_one_only(
    cluster: RunningCluster, js: JsClients, door: Door, emitter: Emitter, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    cat = await witness(js, cluster[0].url, f"{room}-2", "cat")
    ann = await stock(js, door.url, room, "ann")
    assert (await ann.emit("joinroom", {"room": f"{room}-2", "nickname": "ann"}))["ok"]
    await leave_for_a_while(ann, door)
    await say(bob, "in the room she left")
    await say(cat, "in the room she is in")
    await come_back(ann, door, cluster)
    await say(ann, "still here")
    assert told(ann, "message") == ["cat : in the room she is in", "ann : still here"]
    await cat.wait_until(lambda: told(cat, "message") == told(ann, "message"))


async def test_who_renamed_herself_is_recovered_under_the_new_name(
    cluster: RunningCluster, js: JsClients, door: Door, room: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, room, "ann")
    assert (await ann.emit("changename", {"nickname": "anna"}))["ok"]
    await leave_for_a_while(ann, door)
    await whisper(bob, "anna", "psst")
    await come_back(ann, door, cluster)
    await say(ann, "me")
    await agree(ann, bob)
    assert told(ann, "message", "whisper") == ["Whisper :bob : psst", "anna : me"]
