"""Sentinel promotes a replica: one that has everything, and one that lagged behind."""

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.exceptions

from tests.cli.running import free_ports
from tests.support.cluster import RunningCluster, running_cluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients
from tests.support.redis_server import RedisServer

SERVICE = "chat"
WITHIN_S = 20.0
pytestmark = pytest.mark.time_limit(90)


class Watched:
    """A master, its replica, and the Sentinel that watches them."""

    def __init__(self, master: RedisServer, replica: RedisServer, folder: Path) -> None:
        self.master = master
        self.replica = replica
        self.port = free_ports(1)
        file = folder / "sentinel.conf"
        file.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} 1000\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )
        self._process = subprocess.Popen(
            [str(master.binary), str(file), "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def url(self) -> str:
        """For the nodes."""
        return f"redis+sentinel://127.0.0.1:{self.port}/{SERVICE}"

    def in_step(self) -> bool:
        """Whether the replica has all that the master has."""
        told = self.master.command("INFO", "replication")
        return any(
            key.startswith("slave") and each["state"] == "online" and each["offset"] == told["master_repl_offset"]
            for key, each in told.items()
            if isinstance(each, dict)
        )

    def promoted(self) -> bool:
        """Whether the replica is the master. Sentinel cuts its connections as it makes it one."""
        with contextlib.suppress(redis.exceptions.ConnectionError):
            return bool(self.replica.command("INFO", "replication")["role"] == "master")
        return False

    def close(self) -> None:
        """Ends the Sentinel."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(5)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A master with a replica that has come to know it."""
    with RedisServer() as master, RedisServer() as replica:
        replica.command("REPLICAOF", "127.0.0.1", master.port)
        with contextlib.closing(Watched(master, replica, tmp_path)) as watched:
            yield watched


@contextlib.asynccontextmanager
async def chat(watched: Watched, key_prefix: str) -> AsyncIterator[tuple[RunningCluster, list[JsClient]]]:
    """Two nodes, two members of one room on each, who can recover."""
    await eventually(watched.in_step, WITHIN_S)
    async with running_cluster(watched.url, key_prefix, 2) as cluster, JsClients() as js:
        clients = [
            client
            for number, node in enumerate(cluster.nodes)
            for client in await js.open_many(
                2,
                node.url,
                transports=["websocket"],
                auth={"room": "den", "recover": True},
                reconnectionDelay=100,
            )
        ]
        yield cluster, clients


def said(client: JsClient) -> list[str]:
    """The messages a client has seen, in order."""
    seen = (args[0] for args in client.args_of("broadcast_msg"))
    return [data["msg"].rpartition(" : ")[2] for data in seen if data["type"] == "message"]


async def say(client: JsClient, message: str) -> None:
    """Sends a message and gets its acknowledgement."""
    answer = await client.emit("send_msg", {"to": "ALL", "msg": message, "id": message}, within_s=WITHIN_S)
    assert answer["ok"]


async def all_hear(clients: list[JsClient], messages: list[str]) -> None:
    """All have seen just these, in this order, behind whatever they saw before."""
    for client in clients:
        await client.wait_until(lambda c=client: said(c)[-len(messages) :] == messages, WITHIN_S)


async def test_a_failover_to_a_replica_in_step_disconnects_nobody_and_loses_nothing(
    watched: Watched, key_prefix: str
) -> None:
    async with chat(watched, key_prefix) as (cluster, clients):
        for number in range(5):
            await say(clients[number % 4], f"before {number}")
        await eventually(watched.in_step, WITHIN_S)
        watched.master.kill()
        sends = [asyncio.create_task(say(client, f"during {n}")) for n, client in enumerate(clients)]
        await eventually(watched.promoted, WITHIN_S)
        await asyncio.gather(*sends)
        for number in range(5):
            await say(clients[number % 4], f"after {number}")
        await all_hear(clients, [f"after {number}" for number in range(5)])
        assert all(said(client) == said(clients[0]) for client in clients)
        assert len(said(clients[0])) == len(set(said(clients[0]))) == 14
        assert [client.connects for client in clients] == [1, 1, 1, 1]
        assert not any("Traceback" in node.log() for node in cluster.nodes)


async def test_a_failover_to_a_replica_that_lagged_is_told_to_everybody(watched: Watched, key_prefix: str) -> None:
    async with chat(watched, key_prefix) as (cluster, clients):
        await say(clients[0], "kept")
        await eventually(watched.in_step, WITHIN_S)
        watched.replica.pause()
        watched.master.command("CLIENT", "KILL", "TYPE", "replica")  # or it finds in its buffer what it missed
        await say(clients[1], "lost")
        await all_hear(clients, ["kept", "lost"])
        watched.master.kill()
        watched.replica.resume()
        await eventually(watched.promoted, WITHIN_S)
        for client in clients:
            await client.wait_connected(connects=2, within_s=WITHIN_S)
            assert not client.recovered
        for number in range(4):
            await say(clients[number], f"after {number}")
        await all_hear(clients, [f"after {number}" for number in range(4)])
        rooms = await asyncio.gather(*(cluster.get("/api/rooms", number) for number in range(2)))
        assert all(each["rooms"] == [{"namespace": "/", "room": "den", "members": 4}] for each in rooms)
        assert not any("Traceback" in node.log() for node in cluster.nodes)
