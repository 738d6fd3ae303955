"""A node that drains and only forwards: what it forwards ends in order, and the sessions lose nothing."""

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from app.metrics import Metrics
from app.node import Node
from app.transport.engineio_server import BATCH, BATCH_PAUSE_S, EngineServer
from app.transport.forwarding import Forwarder
from tests.support.cluster import RunningCluster, running_cluster
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

from .engine import Session, close_code, event, greeted, said

WEBSOCKETS = 20
SAID = [str(n) for n in range(5)]


@pytest.fixture
async def three(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[RunningCluster]:
    """Node 0 has the sessions, 1 forwards and drains, 2 is for afterwards. Pings come every 25 s."""
    async with running_cluster(redis_server.url, key_prefix, DRAIN_NOTICE_S="1", DRAIN_TIMEOUT_S="12") as three:
        yield three
        assert "Traceback" not in three[0].log() + three[1].log()


async def sample(http: aiohttp.ClientSession, url: str, name: str) -> int:
    """What a node's `/metrics` says."""
    async with http.get(f"{url}/metrics?alone=1") as answer:
        (found,) = re.findall(rf"^clusterkit_{name}\{{.*\}} (\S+)$", await answer.text(), re.MULTILINE)
        return int(float(found))


class Closing:
    """Something forwarded that notes when it is closed."""

    closed_s = 0.0

    async def close(self, wait: bool = True) -> None:
        self.closed_s = asyncio.get_running_loop().time()


async def test_what_is_forwarded_ends_in_batches() -> None:
    server = EngineServer(node=Node(), metrics=Metrics(), send_buffer_bytes=100_000, async_mode="asgi")
    forwarded = [Closing() for _ in range(3 * BATCH)]
    await server.close_all(1.0, forwarded)
    moments = sorted(each.closed_s for each in forwarded)
    assert [moments[n * BATCH] - moments[n * BATCH - 1] > BATCH_PAUSE_S / 4 for n in (1, 2)] == [True, True]


async def test_forwarded_websockets_end_in_order(http: aiohttp.ClientSession, three: RunningCluster) -> None:
    async with AsyncExitStack() as stack:
        sessions = await asyncio.gather(*(greeted(http, three[0].url) for _ in range(WEBSOCKETS)))
        upgrading = (stack.enter_async_context(session.upgraded(three[1].url)) for session in sessions)
        websockets = await asyncio.gather(*upgrading)
        assert await sample(http, three[1].url, "forwarded_websockets") == WEBSOCKETS
        three[1].send(signal.SIGTERM)
        told_s = time.monotonic()
        assert {await close_code(ws) for ws in websockets} == {1000}
        assert time.monotonic() - told_s > 0.9, "the notice was not waited for"
    assert await asyncio.to_thread(three[1].end) == 0


async def test_a_poll_is_answered_and_its_session_goes_on(
    http: aiohttp.ClientSession, three: RunningCluster
) -> None:
    session = await greeted(http, three[0].url)
    poll = asyncio.create_task(session.poll(three[1].url))
    three[1].send(signal.SIGTERM)
    assert await poll == ["6"]
    assert await asyncio.to_thread(three[1].end) == 0
    assert " ERROR " not in three[1].log().upper()
    await session.post(event("fromclient", {"msg": "on"}).replace("42", "42/echo,", 1), url=three[2].url)
    assert '"on"' in await session.poll_for("42/echo,", url=three[2].url)


async def test_a_poller_of_a_node_that_leaves_loses_nothing(
    http: aiohttp.ClientSession, three: RunningCluster
) -> None:
    """It polls as a stock client does, by the one connection it has as long as that lasts."""
    session, speaker = [await Session.open(http, three[0].url) for _ in range(2)]
    for each in (session, speaker):
        await each.connect({"room": "leaving"})
    heard: list[str] = []

    async def listen() -> None:
        url = three[1].url
        while said(heard) != SAID:
            try:
                heard.extend(await session.poll(url))
            except aiohttp.ClientConnectionError:  # it listens no more
                url = three[2].url

    listening = asyncio.create_task(listen())
    three[1].send(signal.SIGTERM)
    for message in SAID:
        await speaker.post(event("send_msg", {"to": "ALL", "msg": message}))
        await asyncio.sleep(0.4)  # the pace, not a wait: before, while and after it leaves
    await asyncio.wait_for(listening, 10)
    assert await asyncio.to_thread(three[1].end) == 0


async def test_a_poll_whose_owner_does_not_answer_is_ended_without_an_exception(
    http: aiohttp.ClientSession, three: RunningCluster
) -> None:
    session = await greeted(http, three[0].url)
    async with http.get(session.poll_url(three[0].url), headers={"X-Clusterkit-End-Poll": "1"}) as answer:
        assert await answer.text() == "6"
    waiting = http.get(session.poll_url(three[1].url))
    poll = asyncio.create_task(status(waiting))

    async def under_way() -> bool:
        return await sample(http, three[1].url, "forwards_total") == 1

    await eventually(under_way)
    three[0].send(signal.SIGSTOP)
    three[1].send(signal.SIGTERM)
    assert await poll == 400
    three[0].send(signal.SIGCONT)
    assert await asyncio.to_thread(three[1].end) == 0


async def status(request: "aiohttp.client._RequestContextManager") -> int:
    async with request as answer:
        return answer.status


async def test_no_websocket_is_forwarded_any_more() -> None:
    """A balancer that is answered 503 asks the next node."""

    async def nothing(*_: Any) -> None:
        raise AssertionError("not called")

    async def somewhere(node_id: str) -> str:
        return "http://127.0.0.1:1"

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    forwarder = Forwarder(nothing, Node(), somewhere, nothing, Metrics(), poll_s=1)
    assert forwarder.leave() == []
    sid = Node().new_eio_sid()
    scope = {"type": "websocket", "path": "/socket.io/", "query_string": f"sid={sid}".encode(), "headers": []}
    await forwarder({**scope, "extensions": {"websocket.http.response": {}}}, receive, send)
    assert [message.get("status") for message in sent] == [503, None]
