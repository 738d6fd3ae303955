"""Containers that are killed, paused and cut off, Redis and balancers that restart: the others keep working."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.recovery.people import told
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients

from .stack import PROFILES, PROJECT, Stack, docker
from .test_balancers import join, node_of_handshake

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENTS = 12  # on each balancer
BACK_WITHIN_S = 10.0
SEND_EVERY_S = 0.2
PAUSED_S = 15.0


class Crowd:
    """Clients of one room, on both balancers and by both transports, who talk all the time."""

    def __init__(self, stack: Stack, room: str, clients: list[JsClient]) -> None:
        self.stack = stack
        self.room = room
        self.clients = clients
        self.sent: list[str] = []
        self.unacknowledged: list[str] = []
        self._talking = asyncio.create_task(self._talk())

    async def _talk(self) -> None:
        sending: set[asyncio.Task[None]] = set()
        try:
            while True:
                client = self.clients[len(self.sent) % len(self.clients)]
                message = f"m{len(self.sent)}"
                self.sent.append(message)
                sending.add(asyncio.create_task(self._say(client, message)))
                await asyncio.sleep(SEND_EVERY_S)
        finally:
            await asyncio.gather(*sending)

    async def _say(self, client: JsClient, message: str) -> None:
        try:
            answer = await client.emit("send_msg", {"to": "ALL", "msg": message, "id": message}, within_s=60)
            assert answer["ok"], answer
        except TimeoutError:
            self.unacknowledged.append(message)

    async def all_back(self) -> None:
        """Everybody is connected, and every node has the same members."""
        names = sorted(f"{name}{n}" for name in PROFILES for n in range(CLIENTS))

        async def equal() -> None:
            assert [client for client in self.clients if not client.connected] == []
            for container in self.stack.healthy():
                assert await asyncio.to_thread(self._members, container) == names

        await eventually(equal, BACK_WITHIN_S)

    async def hears(self, messages: int = 5) -> None:
        """Everybody has heard messages sent from now on."""
        wanted = len(self.sent) + messages

        def heard() -> bool:
            news = set(self.sent[wanted - messages : wanted])
            return len(news) == messages and all(news <= self._heard(client) for client in self.clients)

        await eventually(heard, BACK_WITHIN_S + messages * SEND_EVERY_S)

    @staticmethod
    def _heard(client: JsClient) -> set[str]:
        return {text.partition(" : ")[2] for text in told(client, "message")}

    def _members(self, container: str) -> list[str]:
        found: dict[str, Any] = self.stack.get(container, f"/api/rooms/{self.room}")
        return sorted(member["nickname"] for member in found["members"])

    async def end(self) -> None:
        """Stops talking; everything acknowledged has reached everybody exactly once, in one order."""
        self._talking.cancel()
        await asyncio.wait({self._talking})
        acknowledged = set(self.sent) - set(self.unacknowledged)

        def everywhere() -> None:
            for client in self.clients:
                heard = [text.partition(" : ")[2] for text in told(client, "message")]
                assert len(heard) == len(set(heard)), client
                assert acknowledged <= set(heard), (client, acknowledged - set(heard))
                assert told(client, "message") == told(self.clients[0], "message")

        await eventually(everywhere, BACK_WITHIN_S)
        print(f"{len(self.sent)} sent, {len(self.unacknowledged)} failed")


@pytest_asyncio.fixture(loop_scope="module")
async def crowd(stack: Stack, js: JsClients) -> AsyncIterator[Crowd]:
    room = f"crowd-{len(js.clients)}"
    joining = [
        join(js, stack.urls[name], room, f"{name}{n}", ("websocket", "polling")[n % 3 == 2])
        for name in PROFILES
        for n in range(CLIENTS)
    ]
    crowd = Crowd(stack, room, list(await asyncio.gather(*joining)))
    await crowd.hears()
    yield crowd
    await crowd.end()


async def in_thread(call: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.to_thread(call, *args)


async def healthy(stack: Stack, count: int = 3) -> None:
    async def look() -> bool:
        return len(await in_thread(stack.healthy)) == count

    await eventually(look, 60)


async def test_a_killed_container(stack: Stack, crowd: Crowd) -> None:
    victim = (await in_thread(stack.containers))[0]
    await in_thread(docker, "kill", victim)
    await asyncio.sleep(5)
    await in_thread(docker, "start", victim)
    await healthy(stack)
    await crowd.all_back()


async def test_a_paused_container(stack: Stack, crowd: Crowd) -> None:
    victim = (await in_thread(stack.containers))[1]
    await in_thread(docker, "pause", victim)
    await asyncio.sleep(PAUSED_S)
    await in_thread(docker, "unpause", victim)
    await healthy(stack)
    await crowd.all_back()


async def test_a_container_that_is_cut_off_from_the_network(stack: Stack, crowd: Crowd) -> None:
    victim = (await in_thread(stack.containers))[2]
    networks = [f"{PROJECT}_front", f"{PROJECT}_back"]
    for network in networks:
        await in_thread(docker, "network", "disconnect", network, victim)
    await asyncio.sleep(10)
    for network in networks:
        await in_thread(docker, "network", "connect", "--alias", "app", network, victim)
    await healthy(stack)
    await crowd.all_back()


async def test_redis_that_restarts(stack: Stack, crowd: Crowd) -> None:
    (redis,) = await in_thread(stack.containers, "redis")
    await in_thread(docker, "restart", redis)
    await crowd.hears()
    await healthy(stack)
    await crowd.all_back()


async def test_balancers_that_reload(stack: Stack, crowd: Crowd) -> None:
    for balancer, number in zip(PROFILES, ("HUP", "USR2"), strict=True):
        (container,) = await in_thread(stack.containers, balancer)
        await in_thread(docker, "kill", "-s", number, container)
        await crowd.hears()
    await crowd.all_back()


async def test_a_rolling_restart_loses_nothing(stack: Stack, crowd: Crowd) -> None:
    former = await in_thread(stack.containers)
    await in_thread(stack.rolling_restart)
    await healthy(stack)
    assert not set(former) & set(await in_thread(stack.containers))
    await crowd.all_back()


async def test_more_nodes_get_new_clients_without_a_reload(stack: Stack, js: JsClients) -> None:
    scale = ("up", "-d", "--no-recreate", "--no-build", "--wait", "app", "--scale")
    await in_thread(stack.compose, *scale, "app=5")
    try:
        containers = await in_thread(stack.containers)
        assert len(containers) == 5
        nodes = {await in_thread(stack.node_of, container) for container in containers}
        for url in stack.urls.values():
            async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
                seen: set[str] = set()

                until_s = time.monotonic() + 20
                while seen != nodes:
                    assert time.monotonic() < until_s, (seen, nodes)
                    seen.add(await node_of_handshake(session, url))
    finally:
        await in_thread(stack.compose, *scale, "app=3")
