"""The table of DESIGN.md, "The seed applications", row by row and message for message.

Everything is seen by three clients at once: stock JavaScript over a WebSocket on one node and over long-polling
through the shared port, and python-socketio on another node.
"""

import re
from typing import Any

import pytest
import socketio

from tests.support.cluster import RunningCluster, running_cluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients, JsError
from tests.support.py_client import PyClient
from tests.support.redis_server import RedisServer

from .people import (
    Client,
    all_hear,
    all_list,
    forget,
    hears,
    joined,
    left,
    listed,
    people,
    people_in,
    renamed,
    said,
    told,
    until,
    whispered,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

FENCE = "여기까지"


def number_of(nickname: str, pattern: str = r"손님-(\d+)") -> int:
    """The number of a guest."""
    found = re.fullmatch(pattern, nickname)
    assert found, nickname
    return int(found[1])


async def refused(client: Client, code: str, event: str, *args: Any) -> None:
    """The event is refused with this code, by acknowledgement and by `error_msg` alike."""
    before = len(told(client, "error_msg"))
    answer = await client.emit(event, *args)
    assert answer == {"ok": False, "error": {"code": code, "message": answer["error"]["message"]}}
    assert answer["error"]["message"]
    await until(client, lambda: told(client, "error_msg")[before:] == [answer["error"]])


# --- room chat: joining ----------------------------------------------------------------------------------------


async def test_guests_are_numbered_across_the_cluster_and_announced(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    async with people(cluster, js) as three:
        names: list[str] = []
        for client in three:
            answer = await client.emit("joinroom", {"room": room})
            names.append(answer["nickname"])
            assert answer == {"ok": True, "room": room, "nickname": names[-1]}
        first = number_of(names[0])
        assert names == [f"손님-{first + n}" for n in range(3)]
        await all_list(three, *names)
        for at, client in enumerate(three):
            await hears(client, {"nickname": names[at]}, event="changename")
            await hears(client, *map(joined, names[at:]))
            order = [name for name, _ in client.events]
            assert order[:2] == ["changename", "broadcast_msg"]
            assert {"changename", "broadcast_msg", "userlist"} == set(order)


async def test_a_nickname_of_ones_own_is_taken_along(cluster: RunningCluster, js: JsClients, room: str) -> None:
    async with people(cluster, js) as three:
        for at, client in enumerate(three):
            answer = await client.emit("joinroom", {"room": f" {room}\u3000", "nickname": f" 이름{at} "})
            assert answer == {"ok": True, "room": room, "nickname": f"이름{at}"}
        for at, client in enumerate(three):
            await hears(client, {"nickname": f"이름{at}"}, event="changename")
            await hears(client, *(joined(f"이름{n}") for n in range(at, 3)))
        await all_list(three, "이름0", "이름1", "이름2")


async def test_auth_joins_before_connect_is_answered(cluster: RunningCluster, js: JsClients, room: str) -> None:
    """What a client has queued until then finds the room."""
    auth = {"room": room, "nickname": "웹"}
    web = await js.open(cluster[0].url, wait=False, transports=["websocket"], auth=auth)
    assert await web.emit("send_msg", {"to": "ALL", "msg": "줄"}) == {"ok": True}
    await hears(web, joined("웹"), said("웹", "줄"))
    phone = await js.open(cluster.url, wait=False, transports=["polling"], auth={"room": room})
    assert await phone.emit("send_msg", {"to": "웹", "msg": "속", "id": "1"}) == {"ok": True, "id": "1"}
    guest = told(phone, "changename")[0]["nickname"]
    number_of(guest)
    await hears(phone, joined(guest), whispered(guest, "웹", "속", id="1"))
    script = PyClient()
    await script.connect(cluster[2].url, auth={"room": room, "nickname": "대본"})
    assert await script.emit("changename", {"nickname": "극본"}) == {"ok": True, "nickname": "극본"}
    await hears(script, joined("대본"), renamed("대본", "극본"))
    await all_list((web, phone, script), "웹", guest, "극본")
    await hears(
        web,
        joined("웹"),
        said("웹", "줄"),
        joined(guest),
        whispered(guest, "웹", "속", id="1"),
        joined("대본"),
        renamed("대본", "극본"),
    )
    await script.close()


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        ({"room": "lobby"}, "bad_room"),
        ({"room": 5}, "bad_room"),
        ({"room": ""}, "bad_room"),
        ({"room": "x" * 65}, "bad_room"),
        ({"room": "방", "nickname": "ALL"}, "bad_nickname"),
        ({"room": "방", "nickname": {"a": 1}}, "bad_nickname"),
    ],
)
async def test_a_wrong_auth_refuses_the_connection_and_says_why(
    cluster: RunningCluster, js: JsClients, auth: dict[str, Any], code: str
) -> None:
    for url, transport in ((cluster[0].url, "websocket"), (cluster.url, "polling")):
        with pytest.raises(JsError) as caught:
            await js.open(url, transports=[transport], auth=auth)
        assert caught.value.data == {"code": code, "message": caught.value.message}
    script = PyClient()
    with pytest.raises(socketio.exceptions.ConnectionError):
        await script.connect(cluster[2].url, auth=auth)
    (error,) = script.errors
    assert error == {"message": error["message"], "data": {"code": code, "message": error["message"]}}
    await script.close()


async def test_auth_with_a_nickname_that_is_taken_refuses_the_connection(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    async with people_in(cluster, js, room) as three:
        with pytest.raises(JsError) as caught:
            await js.open(cluster[1].url, transports=["websocket"], auth={"room": room, "nickname": "폰"})
        assert caught.value.data["code"] == "nickname_taken"
        await three.web.emit("send_msg", {"to": "ALL", "msg": FENCE})
        await all_hear(three, said("웹", FENCE))


@pytest.mark.parametrize("auth", [None, {}, {"nickname": "이름"}, {"room": None}, {"token": "x"}])
async def test_without_a_room_in_auth_one_connects_to_no_room(
    cluster: RunningCluster, js: JsClients, auth: Any
) -> None:
    client = await js.open(cluster[0].url, transports=["websocket"], **({} if auth is None else {"auth": auth}))
    await refused(client, "not_in_room", "send_msg", {"to": "ALL", "msg": "없다"})


# --- room chat: what is said -----------------------------------------------------------------------------------


async def test_a_message_to_all_reaches_all_and_the_sender(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    async with people_in(cluster, js, room) as three:
        assert await three.web.emit("send_msg", {"to": "ALL", "msg": "안녕하세요"}) == {"ok": True}
        assert await three.phone.emit("send_msg", {"to": "ＡＬＬ", "msg": " 넓은 \n", "id": "m-1"}) == {
            "ok": True,
            "id": "m-1",
        }
        assert await three.script.emit("send_msg", {"to": "ALL", "msg": "<b>{nickname}</b>", "extra": 1}) == {
            "ok": True
        }
        await all_hear(
            three,
            said("웹", "안녕하세요"),
            said("폰", " 넓은 \n", id="m-1"),
            said("대본", "<b>{nickname}</b>"),
        )


async def test_a_whisper_reaches_that_member_and_the_sender_only(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    async with people_in(cluster, js, room) as three:
        assert await three.web.emit("send_msg", {"to": "대본", "msg": "하나"}) == {"ok": True}
        assert await three.phone.emit("send_msg", {"to": "웹", "msg": "둘", "id": "w"}) == {"ok": True, "id": "w"}
        assert await three.script.emit("send_msg", {"to": " 폰 ", "msg": "셋"}) == {"ok": True}
        assert await three.script.emit("send_msg", {"to": "ALL", "msg": FENCE}) == {"ok": True}
        one, two = whispered("웹", "대본", "하나"), whispered("폰", "웹", "둘", id="w")
        three_, end = whispered("대본", "폰", "셋"), said("대본", FENCE)
        await hears(three.web, one, two, end)
        await hears(three.phone, two, three_, end)
        await hears(three.script, one, three_, end)


async def test_a_whisper_to_oneself_comes_once(cluster: RunningCluster, js: JsClients, room: str) -> None:
    async with people_in(cluster, js, room) as three:
        assert await three.phone.emit("send_msg", {"to": "폰", "msg": "나"}) == {"ok": True}
        assert await three.phone.emit("send_msg", {"to": "ALL", "msg": FENCE}) == {"ok": True}
        await hears(three.phone, whispered("폰", "폰", "나"), said("폰", FENCE))
        await hears(three.web, said("폰", FENCE))


async def test_messages_stay_in_their_room(cluster: RunningCluster, js: JsClients, room: str) -> None:
    async with people_in(cluster, js, room) as here, people_in(cluster, js, f"{room}-2") as there:
        await there.web.emit("send_msg", {"to": "ALL", "msg": "저기"})
        await there.web.emit("send_msg", {"to": "폰", "msg": "저기 폰"})
        await here.web.emit("send_msg", {"to": "ALL", "msg": FENCE})
        await all_hear(here, said("웹", FENCE))
        await hears(there.phone, said("웹", "저기"), whispered("웹", "폰", "저기 폰"))


# --- room chat: names and places -------------------------------------------------------------------------------


async def test_a_new_nickname_is_announced_with_the_old_one(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    async with people_in(cluster, js, room) as three:
        for client, old, new in zip(three, ("웹", "폰", "대본"), ("거미", "전화", "책"), strict=True):
            assert await client.emit("changename", {"nickname": new}) == {"ok": True, "nickname": new}
            await three.web.emit("send_msg", {"to": new, "msg": old})
        await all_list(three, "거미", "전화", "책")
        await hears(
            three.script,
            renamed("웹", "거미"),
            renamed("폰", "전화"),
            renamed("대본", "책"),
            whispered("거미", "책", "대본"),
        )
        assert told(three.phone, "changename") == [], "the new name comes as a broadcast only"


async def test_a_nickname_that_is_taken_is_refused_and_the_old_one_kept(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    async with people_in(cluster, js, room) as three:
        await refused(three.web, "nickname_taken", "changename", {"nickname": "폰"})
        await refused(three.phone, "nickname_taken", "changename", {"nickname": " 대본 "})
        await refused(three.script, "nickname_taken", "changename", {"nickname": "웹"})
        late = await js.open(cluster[1].url, transports=["websocket"])
        await refused(late, "nickname_taken", "joinroom", {"room": room, "nickname": "웹"})
        await refused(late, "not_in_room", "send_msg", {"to": "ALL", "msg": "x"})
        for client in three:
            await client.emit("send_msg", {"to": "ALL", "msg": "나"})
        await all_hear(three, said("웹", "나"), said("폰", "나"), said("대본", "나"))


async def test_one_may_take_the_nickname_one_has(cluster: RunningCluster, js: JsClients, room: str) -> None:
    async with people_in(cluster, js, room) as three:
        assert await three.web.emit("changename", {"nickname": "웹"}) == {"ok": True, "nickname": "웹"}
        await three.web.emit("send_msg", {"to": "ALL", "msg": FENCE})
        await all_hear(three, said("웹", FENCE))


async def test_a_nickname_is_free_again_when_its_owner_took_another_or_left(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    async with people_in(cluster, js, room) as three:
        assert (await three.web.emit("changename", {"nickname": "거미"}))["ok"]
        assert (await three.phone.emit("changename", {"nickname": "웹"}))["ok"]
        await three.script.close()
        await until(three.web, lambda: told(three.web)[-1:] == [left("대본")])
        assert (await three.web.emit("changename", {"nickname": "대본"}))["ok"]
        await all_hear(
            three[:2], renamed("웹", "거미"), renamed("폰", "웹"), left("대본"), renamed("거미", "대본")
        )


async def test_a_guest_is_never_called_like_somebody_who_is_there(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    async with people(cluster, js) as three:
        first = number_of((await three.web.emit("joinroom", {"room": room}))["nickname"])
        wanted = f"손님-{first + 1}"
        assert (await three.phone.emit("joinroom", {"room": room, "nickname": wanted}))["ok"]
        guest = (await three.script.emit("joinroom", {"room": room}))["nickname"]
        assert number_of(guest) == first + 2
        await all_list(three, f"손님-{first}", wanted, guest)


async def test_who_disconnects_is_announced_and_leaves_the_list(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    async with people_in(cluster, js, room) as three:
        watcher = await js.open(cluster[1].url, transports=["websocket"], auth={"room": room, "nickname": "증인"})
        three.web.disconnect()
        await hears(watcher, joined("증인"), left("웹"))
        three.phone.disconnect()
        await hears(watcher, joined("증인"), left("웹"), left("폰"))
        await three.script.close()
        await hears(watcher, joined("증인"), left("웹"), left("폰"), left("대본"))
        await all_list((watcher,), "증인")


async def test_a_connection_that_breaks_is_a_leave_under_the_last_nickname(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    async with people_in(cluster, js, room) as three:
        await three.web.emit("changename", {"nickname": "거미"})
        await three.script.emit("changename", {"nickname": "책"})
        three.web.drop()
        await until(three.phone, lambda: told(three.phone)[-1:] == [left("거미")])
        await three.script.break_off()
        await until(three.phone, lambda: told(three.phone)[-1:] == [left("책")])
        await all_list((three.phone,), "폰")


async def test_joining_another_room_leaves_the_first_with_its_text(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    async with people_in(cluster, js, room) as here, people_in(cluster, js, f"{room}-2") as there:
        answer = await here.phone.emit("joinroom", {"room": f"{room}-2", "nickname": "손전화"})
        assert answer == {"ok": True, "room": f"{room}-2", "nickname": "손전화"}
        await here.web.emit("send_msg", {"to": "ALL", "msg": "여기"})
        await there.web.emit("send_msg", {"to": "ALL", "msg": "저기"})
        for client in (here.web, here.script):
            await hears(client, left("폰"), said("웹", "여기"))
        await all_hear(there, joined("손전화"), said("웹", "저기"))
        await hears(here.phone, joined("손전화"), said("웹", "저기"))
        await hears(here.phone, {"nickname": "손전화"}, event="changename")
        await all_list((here.web, here.script), "웹", "대본")
        await all_list((*there, here.phone), "웹", "폰", "대본", "손전화")


async def test_a_room_that_cannot_be_joined_leaves_one_where_one_was(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    async with people_in(cluster, js, room) as here, people_in(cluster, js, f"{room}-2") as there:
        await refused(here.phone, "nickname_taken", "joinroom", {"room": f"{room}-2", "nickname": "웹"})
        await refused(here.phone, "bad_room", "joinroom", {"room": "api"})
        await here.phone.emit("send_msg", {"to": "ALL", "msg": "아직"})
        await there.web.emit("send_msg", {"to": "ALL", "msg": FENCE})
        await all_hear(here, said("폰", "아직"))
        await all_hear(there, said("웹", FENCE))


async def test_joining_the_same_room_again_only_renames(cluster: RunningCluster, js: JsClients, room: str) -> None:
    async with people_in(cluster, js, room) as three:
        assert await three.web.emit("joinroom", {"room": room}) == {"ok": True, "room": room, "nickname": "웹"}
        answer = await three.web.emit("joinroom", {"room": room, "nickname": "거미"})
        assert answer == {"ok": True, "room": room, "nickname": "거미"}
        await three.web.emit("send_msg", {"to": "ALL", "msg": FENCE})
        await all_hear(three, renamed("웹", "거미"), said("거미", FENCE))


# --- room chat: what is refused --------------------------------------------------------------------------------


async def test_a_whisper_to_nobody_is_refused_and_not_sent(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    async with people_in(cluster, js, room) as three:
        for client in three:
            await refused(client, "no_such_member", "send_msg", {"to": "아무도", "msg": "거기?"})
        await three.web.emit("send_msg", {"to": "ALL", "msg": FENCE})
        await all_hear(three, said("웹", FENCE))


async def test_before_joining_nothing_can_be_said(cluster: RunningCluster, js: JsClients, room: str) -> None:
    async with people(cluster, js) as three:
        for client in three:
            await refused(client, "not_in_room", "send_msg", {"to": "ALL", "msg": "x"})
            await refused(client, "not_in_room", "changename", {"nickname": "x"})
            assert (await client.emit("joinroom", {"room": room}))["ok"], "and joining is possible still"


async def test_what_is_wrong_is_refused_by_code(cluster: RunningCluster, js: JsClients, room: str) -> None:
    async with people_in(cluster, js, room) as three:
        for client in three:
            await refused(client, "unknown_event", "delete_everything", {"a": 1})
            await refused(client, "unknown_event", "userlist")
            await refused(client, "bad_request", "send_msg")
            await refused(client, "bad_request", "send_msg", "ALL", "안녕")
            await refused(client, "bad_msg", "send_msg", {"to": "ALL"})
            await refused(client, "bad_msg", "send_msg", {"to": "ALL", "msg": b"bytes"})
            await refused(client, "bad_msg", "send_msg", {"to": "ALL", "msg": "x" * 4_001})
            await refused(client, "bad_to", "send_msg", {"msg": "x"})
            await refused(client, "bad_id", "send_msg", {"to": "ALL", "msg": "x", "id": 5})
            await refused(client, "bad_nickname", "changename", {"nickname": "ALL"})
            await refused(client, "bad_nickname", "changename", {"nickname": b"\x00"})
            await refused(client, "bad_room", "joinroom", {"room": "healthz"})
        await three.web.emit("send_msg", {"to": "ALL", "msg": FENCE})
        await all_hear(three, said("웹", FENCE))
        assert not three.web.disconnects and not three.phone.disconnects and not three.script.disconnects


async def test_without_asking_for_an_acknowledgement_one_is_told_of_errors(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    async with people(cluster, js) as three:
        three.web.send("changename", {"nickname": "x"})
        (error,) = await three.web.wait_for("error_msg")
        assert error["code"] == "not_in_room"


async def test_an_unknown_namespace_refuses_the_connection(cluster: RunningCluster, js: JsClients) -> None:
    for transport in ("websocket", "polling"):
        with pytest.raises(JsError):
            await js.open(cluster[0].url, "/admin", transports=[transport])


# --- all of it in one order ------------------------------------------------------------------------------------


async def test_all_three_see_the_same_sequence_of_everything_at_once(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    async with people_in(cluster, js, room) as three:
        for n in range(15):
            for client, name in zip(three, ("웹", "폰", "대본"), strict=True):
                await _without_waiting(client, "send_msg", {"to": "ALL", "msg": f"{name} {n}"})
                await _without_waiting(client, "changename", {"nickname": f"{name}{n}"})
        await three.web.emit("send_msg", {"to": "ALL", "msg": FENCE})
        for client in three:
            await until(client, lambda client=client: len(told(client)) == 91)
        assert told(three.web) == told(three.phone) == told(three.script)
        for name in ("웹", "폰", "대본"):
            own = [data for data in told(three.web) if data["nickname"].startswith(name)]
            names = [name, *(f"{name}{n}" for n in range(15))]
            wanted = [
                part
                for n in range(15)
                for part in (said(names[n], f"{name} {n}"), renamed(names[n], names[n + 1]))
            ]
            assert own[:30] == wanted
        await all_list(three, "웹14", "폰14", "대본14")


async def _without_waiting(client: Client, event: str, data: dict[str, Any]) -> None:
    if isinstance(client, JsClient):
        client.send(event, data)
    else:
        await client.io.emit(event, data)


# --- lobby -----------------------------------------------------------------------------------------------------


async def test_the_lobby_names_its_guests_and_lists_them_without_texts(
    cluster: RunningCluster, js: JsClients
) -> None:
    async with people(cluster, js, "/lobby") as three:
        names = []
        for client in three:
            await until(client, lambda client=client: told(client, "new"))
            (new,) = told(client, "new")
            names.append(new["nickname"])
            assert new == {"nickname": names[-1]}
        first = number_of(names[0], r"GUEST-(\d+)")
        assert names == [f"GUEST-{first + n}" for n in range(3)]
        await all_list(three, *names)
        assert [told(client) for client in three] == [[], [], []]
        three.web.disconnect()
        await all_list(three[1:], *names[1:])
        assert [told(client) for client in three] == [[], [], []]


async def test_in_the_lobby_one_renames_talks_and_whispers_without_a_prefix(
    cluster: RunningCluster, js: JsClients
) -> None:
    async with people(cluster, js, "/lobby") as three:
        names = [(await _new(client))["nickname"] for client in three]
        assert await three.web.emit("changename", {"nickname": "웹"}) == {"ok": True, "nickname": "웹"}
        assert await three.phone.emit("send_msg", {"to": "ALL", "msg": "모두", "id": "1"}) == {
            "ok": True,
            "id": "1",
        }
        assert await three.script.emit("send_msg", {"to": "웹", "msg": "속"}) == {"ok": True}
        assert await three.web.emit("send_msg", {"to": "ALL", "msg": FENCE}) == {"ok": True}
        public = [renamed(names[0], "웹"), said(names[1], "모두", id="1")]
        whisper = whispered(names[2], "웹", "속", prefix="")
        await hears(three.web, *public, whisper, said("웹", FENCE))
        await hears(three.script, *public, whisper, said("웹", FENCE))
        await hears(three.phone, *public, said("웹", FENCE))
        await all_list(three, "웹", *names[1:])


async def test_the_lobby_refuses_as_the_rooms_do(cluster: RunningCluster, js: JsClients) -> None:
    async with people(cluster, js, "/lobby") as three:
        names = [(await _new(client))["nickname"] for client in three]
        for client in three:
            await refused(client, "unknown_event", "joinroom", {"room": "x"})
            await refused(client, "no_such_member", "send_msg", {"to": "아무도", "msg": "x"})
        await refused(three.web, "nickname_taken", "changename", {"nickname": names[1]})
        await refused(three.phone, "bad_nickname", "changename", {"nickname": "ALL"})
        await three.web.emit("send_msg", {"to": "ALL", "msg": FENCE})
        await all_hear(three, said(names[0], FENCE))


async def _new(client: Client) -> dict[str, Any]:
    await until(client, lambda: told(client, "new"))
    return told(client, "new")[0]


# --- echo ------------------------------------------------------------------------------------------------------


async def test_echo_welcomes_and_sends_to_all(cluster: RunningCluster, js: JsClients) -> None:
    async with people(cluster, js, "/echo") as three:
        await all_hear(three, {"msg": "Welcome !"}, event="toclient")
        forget(three)
        for client, message in zip(three, ("하나", " 둘 ", "<셋>"), strict=True):
            assert await client.emit("fromclient", {"msg": message}) == {"ok": True}
        await all_hear(three, {"msg": "하나"}, {"msg": " 둘 "}, {"msg": "<셋>"}, event="toclient")


async def test_echo_refuses_what_is_no_message(cluster: RunningCluster, js: JsClients) -> None:
    async with people(cluster, js, "/echo") as three:
        for client in three:
            await refused(client, "bad_msg", "fromclient", {"msg": 5})
            await refused(client, "bad_request", "fromclient")
            await refused(client, "unknown_event", "send_msg", {"to": "ALL", "msg": "x"})
        await three.web.emit("fromclient", {"msg": FENCE})
        await all_hear(three, {"msg": "Welcome !"}, {"msg": FENCE}, event="toclient")


# --- English ---------------------------------------------------------------------------------------------------


async def test_in_english_the_texts_are_english(redis_server: RedisServer, key_prefix: str, js: JsClients) -> None:
    async with running_cluster(redis_server.url, key_prefix, 1, LOCALE="en") as cluster:
        first = await js.open(cluster[0].url, transports=["websocket"], auth={"room": "r"})
        second = await js.open(cluster[0].url, transports=["polling"], auth={"room": "r", "nickname": "Bob"})
        assert await second.emit("changename", {"nickname": "Rob"}) == {"ok": True, "nickname": "Rob"}
        await second.emit("send_msg", {"to": "ALL", "msg": "hello"})
        await second.emit("send_msg", {"to": "Guest-1", "msg": "psst"})
        second.disconnect()
        await hears(
            first,
            {"msg": "Guest-1 has joined.", "type": "join", "nickname": "Guest-1"},
            {"msg": "Bob has joined.", "type": "join", "nickname": "Bob"},
            {"msg": "Bob is now called Rob.", "type": "rename", "nickname": "Rob", "old": "Bob"},
            said("Rob", "hello"),
            whispered("Rob", "Guest-1", "psst", prefix="Whisper :"),
            {"msg": "Rob has left.", "type": "leave", "nickname": "Rob"},
        )
        assert told(first, "changename") == [{"nickname": "Guest-1"}]
        await eventually(lambda: told(first, "userlist")[-1:] == [listed("Guest-1")])
