"""Stock clients in a room: a witness who stays connected, others who come back, and what each of them was told."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients

# The transports a client may use; the last is the stock client's own choice.
WAYS = {"websocket": ["websocket"], "polling": ["polling"], "upgrade": ["polling", "websocket"]}
# Comes back soon, and gives up on an address that does not answer.
PATIENCE = {"reconnectionDelay": 50, "reconnectionDelayMax": 200, "timeout": 3000}
WITHIN_S = 10.0


async def stock(
    js: JsClients, url: str, room: str | None, nickname: str = "", way: str = "websocket", **options: Any
) -> JsClient:
    """A stock client that recovers, in a room unless that is None, under a nickname if it has one."""
    auth = {"recover": True} | ({"room": room} if room else {}) | ({"nickname": nickname} if nickname else {})
    client = await js.open(url, auth=auth, transports=WAYS[way], **(PATIENCE | options))
    if room:
        await client.wait_for("changename")
    # One that is cut in the middle of its upgrade notices only when a ping is late.
    await client.wait_until(lambda: client.transport == WAYS[way][-1], what="upgrade")
    return client


async def witness(js: JsClients, url: str, room: str, nickname: str = "bob") -> JsClient:
    """A stock client that does not recover, in a room: it sees everything."""
    client = await js.open(url, auth={"room": room, "nickname": nickname}, transports=["websocket"])
    await client.wait_for("broadcast_msg", lambda data: data["msg"] == f"{nickname} has joined.")
    return client


def told(client: JsClient, *kinds: str) -> list[str]:
    """The texts a client has seen, in order: all that are public, or those of these kinds."""
    texts = (args[0] for args in client.args_of("broadcast_msg"))
    return [data["msg"] for data in texts if data["type"] in kinds or (not kinds and data["type"] != "whisper")]


def offsets(client: JsClient) -> list[int]:
    """Of all events a recovering client has seen, the volatile ones left out."""
    return [int(args[-1]) for _, args in client.events if args and isinstance(args[-1], str)]


async def say(client: JsClient, *messages: str) -> None:
    """Says this to the room, under an id so that a client may retry; returns when the speaker has heard it all."""
    for message in messages:
        answer = await client.emit("send_msg", {"to": "ALL", "msg": message, "id": uuid4().hex}, within_s=WITHIN_S)
        assert answer["ok"], answer
    await client.wait_until(lambda: told(client, "message")[-1:] == [told_by(client, messages[-1])])


def told_by(client: JsClient, message: str) -> str:
    """What the last of a client's own messages looks like, whatever its nickname."""
    mine = [text for text in told(client, "message") if text.endswith(f" : {message}")]
    return mine[-1] if mine else ""


async def whisper(client: JsClient, to: str, message: str) -> None:
    """Says this to one member."""
    answer = await client.emit("send_msg", {"to": to, "msg": message})
    assert answer["ok"], answer


async def agree(client: JsClient, witness: JsClient, within_s: float = WITHIN_S) -> None:
    """Waits until the client has seen exactly what the witness has seen since the client first entered.

    In the same order, each text once; and its offsets rise.
    """

    def the_same() -> None:
        seen, public = told(client), told(witness)
        assert seen and seen == public[public.index(seen[0]) :], f"{client!r}: {seen}\nbut {public}"

    await eventually(the_same, within_s)
    assert offsets(client) == sorted(set(offsets(client))), client


async def away(client: JsClient, how: Callable[[], None]) -> None:
    """Breaks a client's connection and waits until it has noticed."""
    before = len(client.disconnects)
    how()
    await client.wait_until(lambda: len(client.disconnects) > before, what="disconnect")


async def back(client: JsClient, connects: int = 2, within_s: float = WITHIN_S) -> None:
    """Waits until a client is connected for the `connects`-th time."""
    await client.wait_connected(connects, within_s)
