"""The chat through nginx and through haproxy: stickiness where clients keep cookies, and no need of it."""

import asyncio

import aiohttp
import orjson
import pytest
import socketio

from tests.recovery.people import PATIENCE, say, told
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients

from .stack import PROFILES, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

HANDSHAKE = "/socket.io/?EIO=4&transport=polling"
NODE_ID_CHARS = 8
WITHIN_S = 20.0

both = pytest.mark.parametrize("balancer", PROFILES)


async def join(js: JsClients, url: str, room: str, nickname: str, way: str) -> JsClient:
    options = PATIENCE | {"retries": 20, "ackTimeout": 2_000}
    client = await js.open(url, auth={"room": room, "nickname": nickname}, transports=[way], **options)
    await client.wait_for("changename")
    return client


def keeping() -> aiohttp.CookieJar:
    """A jar that takes cookies of 127.0.0.1, too."""
    return aiohttp.CookieJar(unsafe=True)


async def node_of_handshake(session: aiohttp.ClientSession, url: str) -> str:
    """The node that a new Engine.IO session is on."""
    async with session.get(url + HANDSHAKE) as response:
        assert response.status == 200, await response.text()
        return str(orjson.loads((await response.text())[1:])["sid"][:NODE_ID_CHARS])


@both
async def test_messages_reach_everybody_by_every_transport(
    stack: Stack, js: JsClients, room: str, balancer: str
) -> None:
    url = stack.urls[balancer]
    ways = [("websocket", n) for n in range(4)] + [("polling", n) for n in range(4)]
    clients = [await join(js, url, room, f"{way}{n}", way) for way, n in ways]
    async with aiohttp.ClientSession(cookie_jar=keeping()) as session:
        heard: list[str] = []
        ours = socketio.AsyncClient(http_session=session, reconnection=False)
        ours.on("broadcast_msg", lambda data, *_: heard.append(data["msg"]))
        await ours.connect(url, transports=["polling"], auth={"room": room, "nickname": "ours"})
        assert any(cookie.key == "clusterkit" for cookie in session.cookie_jar)
        for client in clients:
            await say(client, f"hello {client.number}")
        assert (await ours.call("send_msg", {"to": "ALL", "msg": "from ours"}))["ok"]
        said = [*(f"hello {client.number}" for client in clients), "from ours"]
        for client in clients:
            await eventually(lambda client=client: len(told(client, "message")) == len(said), WITHIN_S)
            assert [text.partition(" : ")[2] for text in told(client, "message")] == said
        await eventually(lambda: [text.partition(" : ")[2] for text in heard if " : " in text] == said, WITHIN_S)
        await ours.disconnect()
    assert not [client for client in clients if client.reconnects]


@both
async def test_who_keeps_its_cookie_stays_on_a_node_and_others_spread(stack: Stack, balancer: str) -> None:
    nodes = {stack.node_of(container) for container in stack.containers()}
    async with aiohttp.ClientSession(cookie_jar=keeping()) as keeps:
        assert len({await node_of_handshake(keeps, stack.urls[balancer]) for _ in range(8)}) == 1
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as drops:
        assert {await node_of_handshake(drops, stack.urls[balancer]) for _ in range(24)} == nodes


@both
@pytest.mark.parametrize("path", ["/api/nodes", "/%61pi/nodes", "/metrics", "/metrics%0a", "/metrics/"])
async def test_what_is_for_operators_is_hidden(stack: Stack, balancer: str, path: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(stack.urls[balancer] + path) as response:
            assert response.status == 404
        async with session.get(stack.urls[balancer] + "/healthz") as response:
            assert response.status == 200
            assert response.headers["X-Content-Type-Options"] == "nosniff"


@both
async def test_only_websockets_are_upgraded(stack: Stack, balancer: str) -> None:
    host, _, port = stack.urls[balancer].removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
    writer.write(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\n".encode())
    status = await asyncio.wait_for(reader.readline(), 10)
    assert status.split()[1] in (b"200", b"400"), status
    writer.close()
