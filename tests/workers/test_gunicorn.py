"""gunicorn with several workers on one port, without any stickiness: each worker is a node."""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import pytest_asyncio
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config

from app import worker
from app.errors import ClusterKitError, SettingsError, StoreUnavailable
from tests.chat.conftest import js, js_process, room
from tests.cli.running import ROOT, Running, command, free_ports, get, status_of
from tests.recovery.people import PATIENCE, say, told
from tests.support.eventually import eventually, steadily
from tests.support.js_client import JsClient, JsClients
from tests.support.redis_server import RedisServer

__all__ = ["js", "js_process", "room"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKERS = 4
CLIENTS = 50
HELD_S = 10.0
POLLING = {"transports": ["polling"]}
Start = Callable[..., "Gunicorn"]


class Gunicorn(Running):
    """gunicorn as the deploy docs start it; `url` is the port that its workers share."""

    def __init__(self, redis: RedisServer, key_prefix: str, folder: Path, *options: str, **env: str) -> None:
        port = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        command = [str(ROOT / ".venv/bin/gunicorn"), "-c", str(ROOT / "deploy/gunicorn.conf.py"), *options]
        settings = {"REDIS_URL": redis.url, "KEY_PREFIX": key_prefix, "PORT": str(port), "LOCALE": "en"}
        settings |= {"PYTHONPATH": str(ROOT), "WEB_CONCURRENCY": str(WORKERS), "LEASE_S": "2", **env}
        super().__init__([*command, "app.main:app"], settings, folder / f"gunicorn-{port}.log")

    async def busiest(self, connections: int) -> dict[str, Any]:
        """Whoever has the most of all connections, once that is known: the kernel may give one none."""
        nodes: list[dict[str, Any]] = []

        async def all_known() -> bool:
            nodes[:] = await self.nodes()
            return sum(node["connections"] for node in nodes) == connections

        await eventually(all_known)
        return max(nodes, key=lambda node: int(node["connections"]))

    def pid(self, node: dict[str, Any]) -> int:
        return self._pids()[node["url"]]

    def _pids(self) -> dict[str, int]:
        """By the address that the other nodes know each by."""
        return {url: int(pid) for pid, url in re.findall(r"node with pid (\d+), at (\S+) for", self.text)}

    async def nodes(self, count: int = WORKERS, but: str = "") -> list[dict[str, Any]]:
        """The living nodes, once there are `count` and none is `but`: one just killed counts as living."""
        found: list[dict[str, Any]] = []

        async def all_there() -> bool:
            nodes = (await asyncio.to_thread(get, f"{self.url}/api/nodes"))["nodes"]
            found[:] = [node for node in nodes if node["alive"]]
            return len(found) == count and but not in {node["node_id"] for node in found}

        await eventually(all_there, 20)
        return found


@pytest.fixture
def start(redis_server: RedisServer, key_prefix: str, tmp_path: Path) -> Iterator[Start]:
    """Starts gunicorns; what still runs in the end is stopped."""
    started: list[Gunicorn] = []

    def start(*options: str, **env: str) -> Gunicorn:
        started.append(Gunicorn(redis_server, key_prefix, tmp_path, *options, **env))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end()


@pytest_asyncio.fixture(loop_scope="module")
async def gunicorn(start: Start) -> AsyncIterator[Gunicorn]:
    """Four workers that serve; they log no traceback, and end in order."""
    made = start()
    await asyncio.to_thread(made.says, "(?s)" + "accepting connections.*" * WORKERS)
    yield made
    assert await asyncio.to_thread(made.end) == 0
    assert "Traceback" not in made.text


async def join(js: JsClients, url: str, room: str, nickname: str, **options: Any) -> JsClient:
    client = await js.open(url, auth={"recover": True, "room": room, "nickname": nickname}, **PATIENCE | options)
    await client.wait_for("changename")
    return client


async def test_long_polling_clients_need_no_stickiness(gunicorn: Gunicorn, js: JsClients, room: str) -> None:
    clients = await asyncio.gather(*(join(js, gunicorn.url, room, f"c{n}", **POLLING) for n in range(CLIENTS)))

    async def several_have_some() -> bool:
        return sum(bool(node["connections"]) for node in await gunicorn.nodes()) > 1

    await eventually(several_have_some)

    async def talk(client: JsClient, number: int) -> None:
        for message in range(5):
            await client.emit("send_msg", {"to": "ALL", "msg": f"{number}.{message}"})
            await asyncio.sleep(HELD_S / 5)

    await asyncio.gather(*(talk(client, number) for number, client in enumerate(clients)))
    await eventually(lambda: all(len(told(client, "message")) == 5 * CLIENTS for client in clients), 20)
    assert all(told(client, "message") == told(clients[0], "message") for client in clients)
    assert not [client for client in clients if client.reconnects or client.errors]


async def test_a_killed_worker_is_replaced_and_leaves_nobody_behind(
    gunicorn: Gunicorn, js: JsClients, room: str
) -> None:
    clients = [await join(js, gunicorn.url, room, f"c{n}", transports=["websocket"]) for n in range(12)]
    victim = await gunicorn.busiest(len(clients))
    os.kill(gunicorn.pid(victim), signal.SIGKILL)
    await gunicorn.nodes(but=victim["node_id"])
    await say(clients[0], "is everybody here?")
    said = told(clients[0], "message")
    await eventually(lambda: all(told(client, "message") == said for client in clients), 20)
    assert any(client.reconnects for client in clients)
    assert all(client.recovered or not client.reconnects for client in clients)

    async def members() -> list[str]:
        found = await asyncio.to_thread(get, f"{gunicorn.url}/api/rooms/{quote(room)}")
        return sorted(member["nickname"] for member in found["members"])

    await steadily(lambda: exactly(members, sorted(f"c{n}" for n in range(12))), 3)


async def exactly(found: Callable[[], Any], expected: Any) -> bool:
    return bool(await found() == expected)


async def test_a_worker_that_has_had_its_requests_drains(start: Start, js: JsClients, room: str) -> None:
    made = start(MAX_REQUESTS="60", WEB_CONCURRENCY="2")
    await asyncio.to_thread(made.says, "accepting connections")
    await made.nodes(2)
    retrying = POLLING | {"retries": 20, "ackTimeout": 1_000}
    clients = [await join(js, made.url, room, f"c{n}", **retrying) for n in range(6)]
    sent = 0
    while made.text.count("node stopped") < 1:
        message = {"to": "ALL", "msg": f"{sent}", "id": f"{sent}"}
        assert (await clients[sent % 6].emit("send_msg", message, within_s=20))["ok"]
        sent += 1
        await asyncio.sleep(0.05)  # the pace
    await eventually(lambda: len(told(clients[0], "message")) >= sent, 20)
    for client in clients:
        await eventually(lambda client=client: told(client, "message") == told(clients[0], "message"), 20)
        assert sorted(told(client, "message")) == sorted(f"c{n % 6} : {n}" for n in range(sent))
    assert await asyncio.to_thread(made.end) == 0
    assert made.text.count("told to stop") == made.text.count("node stopped") > 0
    assert any(client.reconnects for client in clients)
    assert "Traceback" not in made.text


async def test_metrics_are_those_of_all_workers(gunicorn: Gunicorn) -> None:
    nodes = {node["node_id"] for node in await gunicorn.nodes()}

    def text() -> str:
        with urlopen(f"{gunicorn.url}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    shown = await asyncio.to_thread(text)
    for name in ("connections", "forwards_total", "forwarded_websockets"):
        assert set(re.findall(rf'(?m)^clusterkit_{name}{{node="(\w+)"}} ', shown)) == nodes


async def test_somebody_serves_while_both_workers_are_replaced(start: Start) -> None:
    """Draining takes them longer than anybody may wait."""
    drains = {"DRAIN_NOTICE_S": "4", "DRAIN_TIMEOUT_S": "12"}
    made = start(MAX_REQUESTS="10", WEB_CONCURRENCY="2", **drains)
    await asyncio.to_thread(made.says, "accepting connections")
    former = {node["node_id"] for node in await made.nodes(2)}
    slowest_s = 0.0
    while former & {node["node_id"] for node in await made.nodes(2)}:
        asked_s = time.monotonic()
        assert await asyncio.to_thread(status_of, f"{made.url}/healthz") == 200
        slowest_s = max(slowest_s, time.monotonic() - asked_s)
    assert slowest_s < 3
    assert await asyncio.to_thread(made.end) == 0


async def test_one_worker_alone_is_not_replaced_after_requests(start: Start) -> None:
    made = start(MAX_REQUESTS="10", WEB_CONCURRENCY="1")
    assert await asyncio.to_thread(made.exit_code) != 0
    assert "MAX_REQUESTS: expected WEB_CONCURRENCY to be at least 2" in made.text


async def test_workers_with_one_private_url_reach_each_other(start: Start) -> None:
    made = start(HOST="0.0.0.0", PRIVATE_URL="http://127.0.0.1:80")
    await asyncio.to_thread(made.says, "accepting connections")
    urls = [node["url"] for node in await made.nodes()]
    assert sorted(made._pids()) == sorted(urls)


async def test_a_redis_that_cannot_be_found_yet_stops_nobody(start: Start) -> None:
    made = start(HOST="0.0.0.0", REDIS_URL="redis://no.such.host.invalid/0", WEB_CONCURRENCY="2")
    await asyncio.to_thread(made.says, "heartbeat unanswered")
    assert await asyncio.to_thread(status_of, f"{made.url}/healthz") == 200
    assert await asyncio.to_thread(made.end) == 0


@pytest.mark.parametrize(
    ("error", "status"), [(SettingsError, Arbiter.WORKER_BOOT_ERROR), (StoreUnavailable, 1)]
)
async def test_only_a_wrong_setting_stops_gunicorn(
    monkeypatch: pytest.MonkeyPatch, error: type[ClusterKitError], status: int
) -> None:
    def serve(settings: Any, own: Any) -> None:
        own.close()
        raise error("on purpose")

    made = object.__new__(worker.NodeWorker)
    made.cfg = Config()
    monkeypatch.setattr(made, "_serve", serve, raising=True)
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(made.run)
    assert ended.value.code == status


async def test_workers_of_a_preloaded_app_are_nodes_of_their_own(start: Start) -> None:
    made = start("--preload")
    await asyncio.to_thread(made.says, "accepting connections")
    nodes = await made.nodes()
    assert len({node["node_id"] for node in nodes}) == len({node["url"] for node in nodes}) == WORKERS


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("LEASE_S", "0", "LEASE_S: "), ("MAX_REQUESTS", "many", "MAX_REQUESTS: expected a whole number")],
)
async def test_a_wrong_setting_is_named(start: Start, name: str, value: str, expected: str) -> None:
    made = start(**{name: value})
    assert await asyncio.to_thread(made.exit_code) != 0
    assert expected in made.text
    assert "Traceback" not in made.text


async def test_a_node_that_is_drained_by_hand_ends_and_is_replaced(
    gunicorn: Gunicorn, redis_server: RedisServer, key_prefix: str, tmp_path: Path, js: JsClients, room: str
) -> None:
    clients = [await join(js, gunicorn.url, room, f"c{n}", transports=["websocket"]) for n in range(8)]
    victim = await gunicorn.busiest(len(clients))

    def drain(node_id: str) -> Running:
        env = {"REDIS_URL": redis_server.url, "KEY_PREFIX": key_prefix}
        return Running(command("drain", node_id), env, tmp_path / f"drain-{node_id}.log")

    draining = drain(victim["node_id"])
    assert await asyncio.to_thread(draining.exit_code) == 0
    assert f"node {victim['node_id']} is gone" in draining.text
    await gunicorn.nodes(but=victim["node_id"])
    await eventually(lambda: any(client.reconnects for client in clients), 10)
    await say(clients[0], "still here")
    await eventually(lambda: all(told(client, "message") == told(clients[0], "message") for client in clients), 10)
    assert all(client.recovered or not client.reconnects for client in clients)
    unknown = drain("00000000")
    assert await asyncio.to_thread(unknown.exit_code) == 1
    assert "there is no node '00000000'; `clusterkit status` lists them" in unknown.text
