"""The chat through nginx and through haproxy: stickiness where clients keep cookies, and no need of it."""

import asyncio
import contextlib
import re
from collections.abc import Iterator

import aiohttp
import orjson
import pytest
import socketio

from tests.recovery.people import PATIENCE, say, told
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients
from tests.support.machine import REPOSITORY

from .stack import PROFILES, PROJECT, Stack, docker

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


@pytest.fixture(params=[*PROFILES, "hash"])
def door(stack: Stack, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a balancer; `hash` is nginx with the file for those before 1.29."""
    if request.param in PROFILES:
        yield stack.urls[request.param]
        return
    (nginx,) = stack.containers("nginx")
    image = docker("inspect", "-f", "{{.Config.Image}}", nginx).strip()
    files = {"nginx.conf": "nginx.conf", "upstream-hash.conf": "upstream.conf"}
    options = [f"-v={REPOSITORY}/nginx/{ours}:/etc/nginx/{theirs}:ro" for ours, theirs in files.items()]
    options += ["--user=101:101", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "-p=127.0.0.1::8080"]
    options += [f"--network={PROJECT}_front", "--entrypoint=nginx"]
    container = docker("run", "-d", *options, image, "-g", "daemon off;").strip()
    try:
        yield f"http://{docker('port', container, '8080/tcp').strip()}"
    finally:
        docker("rm", "-f", container)


def forwards(stack: Stack) -> int:
    """How often all nodes together have forwarded."""
    texts = [stack.text(container, "/metrics?alone=1") for container in stack.containers()]
    return sum(int(float(re.findall(r"(?m)^clusterkit_forwards_total\{.*\} (\S+)$", text)[0])) for text in texts)


async def long_polling(session: aiohttp.ClientSession, url: str) -> str:
    """Opens a session, connects, hears the greeting; returns its node."""
    async with session.get(url + HANDSHAKE) as response:
        assert response.status == 200, await response.text()
        sid = str(orjson.loads((await response.text())[1:])["sid"])
    async with session.post(f"{url}{HANDSHAKE}&sid={sid}", data="40/echo,") as response:
        assert response.status == 200, await response.text()
    heard = ""
    while "Welcome" not in heard:
        async with session.get(f"{url}{HANDSHAKE}&sid={sid}") as response:
            assert response.status == 200, await response.text()
            heard += await response.text()
    async with session.post(f"{url}{HANDSHAKE}&sid={sid}", data="1") as response:  # Engine.IO's goodbye
        assert response.status == 200
    return sid[:NODE_ID_CHARS]


async def test_who_keeps_its_cookie_stays_on_a_node_and_others_are_forwarded(stack: Stack, door: str) -> None:
    nodes = {stack.node_of(container) for container in stack.containers()}

    async def serves() -> bool:
        with contextlib.suppress(aiohttp.ClientError):  # it starts
            async with aiohttp.ClientSession() as session, session.get(f"{door}/healthz") as response:
                return response.status == 200
        return False

    await eventually(serves, WITHIN_S)
    before = forwards(stack)
    for _ in range(4):
        async with aiohttp.ClientSession(cookie_jar=keeping()) as keeps:
            assert len({await long_polling(keeps, door) for _ in range(4)}) == 1
    assert forwards(stack) == before
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as drops:
        assert {await long_polling(drops, door) for _ in range(24)} == nodes
    assert forwards(stack) > before


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


@both
async def test_nobody_speaks_http_2_past_the_rules(stack: Stack, balancer: str) -> None:
    """By prior knowledge (RFC 9113, 3.3): a server that takes it up answers with its SETTINGS frame."""
    host, _, port = stack.urls[balancer].removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    answer = await asyncio.wait_for(reader.read(9), 10)
    assert answer == b"" or answer.startswith(b"HTTP/1."), answer
    writer.close()
