"""What one client sends without waiting is handled in the order sent, whatever the client and its transport."""

import asyncio
from typing import Any

import pytest

from tests.support.cluster import RunningCluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients
from tests.support.py_client import PyClient

from .people import Client, joined, left, renamed, said, told, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNT = 500
WITHIN_S = 20.0


async def burst_of_js(client: JsClient, room: str, nickname: str) -> None:
    """Joins and sends in one go; every message is acknowledged."""
    client.send("joinroom", {"room": room, "nickname": nickname})
    message = {"to": "ALL", "msg": f"{nickname} {{n}}", "id": "{n}"}
    answers = await client.emit_many("send_msg", COUNT, message, within_s=WITHIN_S)
    assert answers == [{"ok": True, "id": str(n)} for n in range(COUNT)]


async def burst_of_python(client: PyClient, room: str, nickname: str) -> None:
    """As `burst_of_js`."""
    answers: list[Any] = []
    await client.io.emit("joinroom", {"room": room, "nickname": nickname})
    for n in range(COUNT):
        message = {"to": "ALL", "msg": f"{nickname} {n}", "id": str(n)}
        await client.io.emit("send_msg", message, callback=answers.append)
    await eventually(lambda: len(answers) == COUNT, WITHIN_S)
    assert sorted(answers, key=lambda answer: int(answer["id"])) == [
        {"ok": True, "id": str(n)} for n in range(COUNT)
    ]


def burst(nickname: str) -> list[dict[str, Any]]:
    """What the room sees of a burst."""
    return [said(nickname, f"{nickname} {n}", id=str(n)) for n in range(COUNT)]


async def saw_all(client: Client, bursts: int = 1) -> list[dict[str, Any]]:
    """The messages a client has seen, when they are as many as were sent."""

    def messages() -> list[dict[str, Any]]:
        return [data for data in told(client) if data["type"] == "message"]

    await until(client, lambda: len(messages()) >= bursts * COUNT, WITHIN_S)
    return messages()


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_joinroom_and_500_messages_of_a_javascript_client_stay_in_order(
    cluster: RunningCluster, js: JsClients, room: str, transport: str
) -> None:
    url = cluster[0].url if transport == "websocket" else cluster.url
    sender = await js.open(url, transports=[transport])
    witness = await js.open(cluster[1].url, transports=["websocket"], auth={"room": room, "nickname": "증인"})
    await burst_of_js(sender, room, "빠름")
    assert await saw_all(sender) == burst("빠름")
    assert await saw_all(witness) == burst("빠름")
    assert told(sender) == [joined("빠름"), *burst("빠름")]
    assert not sender.disconnects


async def test_joinroom_and_500_messages_of_a_python_client_stay_in_order(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    witness = await js.open(cluster[1].url, transports=["websocket"], auth={"room": room, "nickname": "증인"})
    sender = PyClient()
    await sender.connect(cluster[2].url)
    await burst_of_python(sender, room, "빠름")
    assert await saw_all(sender) == burst("빠름")
    assert await saw_all(witness) == burst("빠름")
    await sender.close()


async def test_two_bursts_at_once_keep_their_orders_and_all_see_one_order(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    auth = {"room": room, "nickname": "증인"}
    witness = await js.open(cluster[1].url, transports=["websocket"], auth=auth)
    web = await js.open(cluster[0].url, transports=["websocket"])
    phone = await js.open(cluster.url, transports=["polling"])
    script = PyClient()
    await script.connect(cluster[2].url)
    await asyncio.gather(
        burst_of_js(web, room, "하나"), burst_of_js(phone, room, "둘"), burst_of_python(script, room, "셋")
    )
    seen = await saw_all(witness, 3)
    for nickname in ("하나", "둘", "셋"):
        assert [data for data in seen if data["nickname"] == nickname] == burst(nickname)
    for client, nickname in ((web, "하나"), (phone, "둘"), (script, "셋")):
        await until(client, lambda client=client: told(client)[-1:] == told(witness)[-1:], WITHIN_S)
        own = told(client)
        assert own[0] == joined(nickname)
        assert own == told(witness)[-len(own) :], "everything from its own arrival on, in the same order"
    await script.close()


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_events_of_all_kinds_stay_in_order(
    cluster: RunningCluster, js: JsClients, room: str, transport: str
) -> None:
    """Each would be refused, or say something else, in any other order."""
    client = await js.open(cluster.url, transports=[transport])
    for event, data in (
        ("joinroom", {"room": room, "nickname": "가"}),
        ("send_msg", {"to": "ALL", "msg": "1"}),
        ("changename", {"nickname": "나"}),
        ("send_msg", {"to": "나", "msg": "2"}),
        ("joinroom", {"room": f"{room}-2", "nickname": "다"}),
        ("changename", {"nickname": "라"}),
        ("joinroom", {"room": room, "nickname": "마"}),
    ):
        client.send(event, data)
    assert await client.emit("send_msg", {"to": "ALL", "msg": "3"}) == {"ok": True}
    await until(client, lambda: told(client)[-1:] == [said("마", "3")])
    assert told(client, "error_msg") == []
    assert [data["msg"] for data in told(client)] == [
        joined("가")["msg"],
        "가 : 1",
        renamed("가", "나")["msg"],
        "귓속말 :나 : 2",
        joined("다")["msg"],
        renamed("다", "라")["msg"],
        joined("마")["msg"],
        "마 : 3",
    ]


async def test_what_was_sent_before_a_goodbye_is_said_before_the_leave(
    cluster: RunningCluster, js: JsClients, room: str
) -> None:
    witness = await js.open(cluster[1].url, transports=["websocket"], auth={"room": room, "nickname": "증인"})
    sender = await js.open(cluster[0].url, transports=["websocket"])
    sender.send("joinroom", {"room": room, "nickname": "빠름"})
    sender.send_many("send_msg", COUNT, {"to": "ALL", "msg": "빠름 {n}", "id": "{n}"})
    sender.disconnect()
    await until(witness, lambda: told(witness)[-1:] == [left("빠름")], WITHIN_S)
    assert told(witness) == [joined("증인"), joined("빠름"), *burst("빠름"), left("빠름")]
