"""Containers that are killed, paused and cut off, Redis and balancers that restart: the others keep working."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.recovery.people import told
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients

from .conftest import SAID
from .stack import PROFILES, PROJECT, Stack, docker
from .test_balancers import join, node_of_handshake

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENTS = 12  # on each balancer
BACK_WITHIN_S = 10.0
SEND_EVERY_S = 0.2
PAUSED_S = 15.0
HANDSHAKE_EVERY_S = 0.05  # less than balancers allow
AT_ONCE_S = 3.0  # what is not hit by a fault, on a machine that is busy with it
NAMES = [f"{name}{n}" for name in PROFILES for n in range(CLIENTS)]


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
        """Everybody is connected and was told the same members, which are Redis', too."""
        names = sorted(NAMES)

        async def equal() -> None:
            assert [client for client in self.clients if not client.connected] == []
            assert [client for client in self.clients if shown(client) != names] == []
            assert sorted(await asyncio.to_thread(self._members, self.stack.healthy()[0])) == names

        await eventually(equal, BACK_WITHIN_S)

    def elsewhere(self, container: str) -> list[JsClient]:
        """Those whom a container's fault is not to touch: their WebSockets end at another node."""
        node, at = self.stack.node_of(container), self._members(container)
        clients = dict(zip(NAMES, self.clients, strict=True))
        return [each for name, each in clients.items() if at[name] != node and each.transport == "websocket"]

    async def work(self, clients: list[JsClient], for_s: float) -> None:
        """These talk with each other, for so long; each message is acknowledged and heard at once."""
        assert len(clients) > 2
        until_s = time.monotonic() + for_s
        turn = itertools.cycle(clients)
        while time.monotonic() < until_s:
            await self._at_once(next(turn), clients)
            await asyncio.sleep(SEND_EVERY_S)
        assert all(client.connected for client in clients)

    async def _at_once(self, speaker: JsClient, clients: list[JsClient]) -> None:
        message = f"m{len(self.sent)}"
        self.sent.append(message)
        answer = await speaker.emit("send_msg", {"to": "ALL", "msg": message, "id": message}, within_s=AT_ONCE_S)
        assert answer["ok"], answer
        await eventually(lambda: all(message in self._heard(client) for client in clients), AT_ONCE_S)

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

    def _members(self, container: str) -> dict[str, str]:
        found: dict[str, Any] = self.stack.get(container, f"/api/rooms/{self.room}")
        return {member["nickname"]: member["node_id"] for member in found["members"]}

    async def end(self) -> str:
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
        return f"{len(self.sent)} messages sent, {len(self.unacknowledged)} of them not acknowledged"


def shown(client: JsClient) -> list[str]:
    """The members as a client was told them last."""
    return sorted(client.args_of("userlist")[-1][0]["users"])


@pytest_asyncio.fixture(loop_scope="module")
async def crowd(stack: Stack, js: JsClients, request: pytest.FixtureRequest) -> AsyncIterator[Crowd]:
    room = f"crowd-{len(js.clients)}"
    joining = [
        join(js, stack.urls[name], room, f"{name}{n}", ("websocket", "polling")[n % 3 == 2])
        for name in PROFILES
        for n in range(CLIENTS)
    ]
    crowd = Crowd(stack, room, list(await asyncio.gather(*joining)))
    await crowd.hears()
    yield crowd
    request.config.stash[SAID].append(f"{request.node.name}: {await crowd.end()}")


ADDRESS = f'{{{{(index .NetworkSettings.Networks "{PROJECT}_back").IPAddress}}}}'


def url_of(stack: Stack, node_id: str) -> str:
    """Where the others know a node."""
    nodes = stack.get(stack.containers()[0], "/api/nodes")["nodes"]
    return str(next(node["url"] for node in nodes if node["node_id"] == node_id))


async def in_thread(call: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.to_thread(call, *args)


async def healthy(stack: Stack, count: int = 3) -> None:
    async def look() -> bool:
        return len(await in_thread(stack.healthy)) == count

    await eventually(look, 60)


async def test_a_killed_container(stack: Stack, crowd: Crowd) -> None:
    victim = (await in_thread(stack.containers))[0]
    others = await in_thread(crowd.elsewhere, victim)
    await in_thread(docker, "kill", victim)
    await crowd.work(others, 5)
    await in_thread(docker, "start", victim)
    await healthy(stack)
    await crowd.all_back()


async def test_a_paused_container(stack: Stack, crowd: Crowd) -> None:
    victim = (await in_thread(stack.containers))[1]
    others = await in_thread(crowd.elsewhere, victim)
    await in_thread(docker, "pause", victim)
    await crowd.work(others, PAUSED_S)
    await in_thread(docker, "unpause", victim)
    await healthy(stack)
    await crowd.all_back()


async def test_a_container_that_is_cut_off_from_the_network(stack: Stack, crowd: Crowd) -> None:
    victim = (await in_thread(stack.containers))[2]
    networks = [f"{PROJECT}_front", f"{PROJECT}_back"]
    others = await in_thread(crowd.elsewhere, victim)
    former = await in_thread(docker, "inspect", "-f", ADDRESS, victim)
    for network in networks:
        await in_thread(docker, "network", "disconnect", network, victim)
    await crowd.work(others, 10)
    # Its address is given to another, so that it comes back with a new one.
    image = (await in_thread(docker, "inspect", "-f", "{{.Config.Image}}", victim)).strip()
    options = [f"--network={networks[1]}", "--entrypoint=sleep"]
    holder = (await in_thread(docker, "run", "-d", "--rm", *options, image, "300")).strip()
    try:
        for network in networks:
            await in_thread(docker, "network", "connect", "--alias", "app", network, victim)
        await healthy(stack)
        await crowd.all_back()
        address = (await in_thread(docker, "inspect", "-f", ADDRESS, victim)).strip()
        assert address != former.strip()
        node = await in_thread(stack.node_of, victim)

        async def is_known_there() -> bool:
            return bool(await in_thread(url_of, stack, node) == f"http://{address}:8080")

        await eventually(is_known_there, BACK_WITHIN_S)
    finally:
        await in_thread(docker, "rm", "-f", holder)


async def test_redis_that_restarts(stack: Stack, crowd: Crowd) -> None:
    (redis,) = await in_thread(stack.containers, "redis")
    await in_thread(docker, "restart", redis)
    await crowd.hears()
    await healthy(stack)
    await crowd.all_back()


async def test_balancers_that_reload(stack: Stack, crowd: Crowd) -> None:
    for balancer, number in zip(PROFILES, ("HUP", "USR2"), strict=True):
        (container,) = await in_thread(stack.containers, balancer)
        others = [each for name, each in zip(NAMES, crowd.clients, strict=True) if not name.startswith(balancer)]
        await in_thread(docker, "kill", "-s", number, container)
        await crowd.work(others, 3)
        await crowd.hears()
    await crowd.all_back()


@pytest.mark.parametrize("balancer", PROFILES)
async def test_a_node_that_drains_gets_no_new_clients(stack: Stack, crowd: Crowd, balancer: str) -> None:
    victim = (await in_thread(stack.containers))[0]
    node = await in_thread(stack.node_of, victim)
    others = await in_thread(crowd.elsewhere, victim)
    seen: list[str] = []
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        asyncio.TaskGroup() as group,
    ):
        await in_thread(docker, "exec", victim, "clusterkit", "drain", "--wait", "0", node)
        talking = group.create_task(crowd.work(others, 8))
        while not talking.done():
            seen.append(await node_of_handshake(session, stack.urls[balancer]))
            await asyncio.sleep(HANDSHAKE_EVERY_S)
    assert node not in seen[len(seen) // 4 :], "told so, it takes a moment until it does"
    await healthy(stack)
    assert node != await in_thread(stack.node_of, victim)
    await crowd.all_back()


async def test_a_rolling_restart_loses_nothing(stack: Stack, crowd: Crowd) -> None:
    former = await in_thread(stack.containers)
    await in_thread(docker, "kill", former[0])  # one that has ended is replaced as well
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
