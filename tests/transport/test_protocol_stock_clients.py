"""Stock clients, on the kit's server and under plain uvicorn, by the ordinary way: all of it works on both."""

import asyncio
import importlib.util
import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients
from tests.support.machine import lacking
from tests.support.redis_server import RedisServer
from tests.support.wire_node import WireCluster, shared_wire_cluster

WIRE = "/wire"
UPGRADES, AT_ONCE = 50, 10
TALK_EVERY_S = 0.005
SERVERS = ("", "websockets-sansio", "wsproto")
TRANSPORTS = (["websocket"], ["polling"], ["polling", "websocket"])


@pytest.fixture(scope="module", params=SERVERS, ids=lambda each: each or "the kit's")
def cluster(
    request: pytest.FixtureRequest, redis_server: RedisServer, cluster_prefix: str
) -> Iterator[WireCluster]:
    """Two nodes, sound at the end."""
    if request.param == "wsproto" and importlib.util.find_spec("wsproto") is None:
        raise lacking("wsproto", "`pip install wsproto`")
    prefix = f"{cluster_prefix}-{request.param}"
    yield from shared_wire_cluster(redis_server.url, prefix, 2, request.param)


@pytest.fixture
async def js() -> AsyncIterator[JsClients]:
    """The process that hosts the clients."""
    async with JsClients() as clients:
        yield clients


async def opened(js: JsClients, cluster: WireCluster, node: int, transports: list[str]) -> JsClient:
    client = await js.open(cluster[node].url, WIRE, transports=transports)
    await client.wait_until(lambda: client.transport == transports[-1], what=f"transport {transports[-1]}")
    return client


def said(client: JsClient) -> list[object]:
    return [args[0] for args in client.args_of("said")]


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-".join)
async def test_a_client_is_answered_and_hears_its_room(
    cluster: WireCluster, js: JsClients, transports: list[str]
) -> None:
    room = "-".join(transports)
    here, there = [await opened(js, cluster, node, transports) for node in (0, 1)]
    for client in (here, there):
        assert await client.emit("join", room) is True
    for word in ("한국어", "👩‍👩‍👧‍👦", "", "x" * 70_000):
        assert await here.emit("answer", word) == word
        here.send("say", room, word)
    assert await there.emit("answer", b"\0\xff", {"deep": [b"", b"x" * 70_000]}) == (
        b"\0\xff",
        {"deep": [b"", b"x" * 70_000]},
    )
    for client in (here, there):
        await eventually(lambda client=client: len(said(client)) == 4)
        assert said(client) == ["한국어", "👩‍👩‍👧‍👦", "", "x" * 70_000]
        assert client.transport == transports[-1]
        assert client.disconnects == []


# A poller that drops dead says nothing: its session ends by ping timeout, which is tested elsewhere.
@pytest.mark.parametrize(
    ("transports", "way"),
    [
        (transports, way)
        for transports in TRANSPORTS
        for way in ("disconnect", "engine_close", "drop")
        if (transports, way) != (["polling"], "drop")
    ],
)
async def test_a_client_that_leaves_is_gone(
    cluster: WireCluster, js: JsClients, transports: list[str], way: str
) -> None:
    async def held() -> int:
        count: int = (await cluster.state())["sockets"]
        return count

    await eventually(lambda: nobody(cluster))
    client = await js.open(cluster[0].url, WIRE, transports=transports, reconnection=False)
    await client.wait_until(lambda: client.transport == transports[-1], what="transport")
    assert await held() == 1
    getattr(client, way)()
    await eventually(lambda: nobody(cluster))


async def nobody(cluster: WireCluster) -> bool:
    return bool((await cluster.state())["sockets"] == 0)


async def test_fifty_clients_that_upgrade_under_constant_traffic_miss_nothing(
    cluster: WireCluster, js: JsClients
) -> None:
    """From what each heard first after joining to the end: every number once and in order."""
    speaker = await opened(js, cluster, 0, ["websocket"])
    await speaker.emit("join", "busy")
    numbers, talking = itertools.count(), True

    async def talk() -> int:
        for number in numbers:
            is_last = not talking  # so that whoever joined last hears one, too
            speaker.send("say", "busy", number)
            await asyncio.sleep(TALK_EVERY_S)
            if is_last:
                return number
        raise AssertionError

    task = asyncio.create_task(talk())
    clients: list[JsClient] = []
    for first in range(0, UPGRADES, AT_ONCE):
        some = await asyncio.gather(
            *(js.open(cluster[n % 2].url, WIRE, transports=["polling", "websocket"]) for n in range(AT_ONCE))
        )
        # They join at once, while the upgrade is under way.
        await asyncio.gather(*(client.emit("join", "busy") for client in some))
        for client in some:
            await client.wait_until(lambda client=client: client.transport == "websocket", what="upgrade")
        clients += some
        assert len(clients) == first + AT_ONCE
    talking = False
    last = await task
    for client in clients:
        await eventually(lambda client=client: said(client)[-1:] == [last], 10)
        heard = said(client)
        assert heard == list(range(last - len(heard) + 1, last + 1))
        assert client.disconnects == []
    assert sum(len(said(client)) for client in clients) > UPGRADES * AT_ONCE
