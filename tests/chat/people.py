"""Three kinds of client in one cluster: what a test tells them to do, and what each of them has seen.

`web` is a stock JavaScript client over a WebSocket to node 0, `phone` another over long-polling alone through the
port that all nodes share, `script` a python-socketio client on node 2.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from tests.support.cluster import RunningCluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients
from tests.support.py_client import PyClient

Client = JsClient | PyClient
Fields = dict[str, Any]


class People(NamedTuple):
    """The three, in this order."""

    web: JsClient
    phone: JsClient
    script: PyClient


@contextlib.asynccontextmanager
async def people(cluster: RunningCluster, js: JsClients, namespace: str = "/") -> AsyncIterator[People]:
    """The three, connected to a namespace one after the other, in no room yet."""
    web = await js.open(cluster[0].url, namespace, transports=["websocket"])
    phone = await js.open(cluster.url, namespace, transports=["polling"])
    script = PyClient(namespace)
    await script.connect(cluster[2].url)
    try:
        yield People(web, phone, script)
    finally:
        await script.close()
        await web.close()
        await phone.close()


@contextlib.asynccontextmanager
async def people_in(cluster: RunningCluster, js: JsClients, room: str) -> AsyncIterator[People]:
    """The three in a room as "웹", "폰" and "대본", each knowing of all; what they saw until then is forgotten."""
    async with people(cluster, js) as three:
        for client, nickname in zip(three, ("웹", "폰", "대본"), strict=True):
            assert (await client.emit("joinroom", {"room": room, "nickname": nickname}))["ok"]
        await all_list(three, "웹", "폰", "대본")
        for client in three:
            await until(client, lambda client=client: seen_names(client)[-1:] == ["대본"])
            client.events.clear()
        yield three


def seen_names(client: Client) -> list[str]:
    """Whose texts a client has seen, in order."""
    return [data["nickname"] for data in told(client)]


def told(client: Client, event: str = "broadcast_msg") -> list[Fields]:
    """The one argument of each `event` a client has seen, in order."""
    found = client.args_of(event)
    assert all(len(args) == 1 for args in found), found
    return [args[0] for args in found]


async def until(client: Client, condition: Callable[[], Any], within_s: float = 8.0) -> None:
    """Waits for a fact about a client, and shows the client when it does not come true."""
    try:
        await eventually(condition, within_s, every_s=0.005)
    except AssertionError:
        raise AssertionError(f"not within {within_s} s at {client!r}: all events {client.events}") from None


async def hears(client: Client, *expected: Fields, event: str = "broadcast_msg") -> None:
    """Waits until the client has seen exactly these, in this order."""
    with contextlib.suppress(AssertionError):  # the comparison says what is missing
        await eventually(lambda: len(told(client, event)) >= len(expected), 8, every_s=0.005)
    assert told(client, event) == list(expected), f"{client!r}"


async def all_hear(clients: Any, *expected: Fields, event: str = "broadcast_msg") -> None:
    """Waits until every client has seen exactly these, in this order."""
    for client in clients:
        await hears(client, *expected, event=event)


async def all_list(clients: Any, *names: str) -> None:
    """Waits until the last `userlist` of every client has these names, in order of entering."""
    for client in clients:
        await until(client, lambda client=client: told(client, "userlist")[-1:] == [listed(*names)])


def listed(*names: str) -> Fields:
    """A `userlist` with all names of a small room."""
    return {"users": list(names), "count": len(names), "truncated": False}


def forget(clients: Any) -> None:
    """Forgets what the clients have seen."""
    for client in clients:
        client.events.clear()


# --- the texts of DESIGN.md, with the fields beside them -------------------------------------------------------


def joined(nickname: str) -> Fields:
    return {"msg": f"{nickname} 님이 입장하셨습니다.", "type": "join", "nickname": nickname}


def left(nickname: str) -> Fields:
    return {"msg": f"{nickname} 님이 나가셨습니다.", "type": "leave", "nickname": nickname}


def renamed(old: str, new: str) -> Fields:
    text = f"{old} 님이 {new}으로 대화명을 변경하셨습니다."
    return {"msg": text, "type": "rename", "nickname": new, "old": old}


def said(nickname: str, message: str, **extra: str) -> Fields:
    return {"msg": f"{nickname} : {message}", "type": "message", "nickname": nickname, "to": "ALL", **extra}


def whispered(nickname: str, to: str, message: str, prefix: str = "귓속말 :", **extra: str) -> Fields:
    return {"msg": f"{prefix}{nickname} : {message}", "type": "whisper", "nickname": nickname, "to": to, **extra}
