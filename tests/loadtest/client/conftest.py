"""Nodes of the kit as processes, for clients in this one; clients that are closed at a test's end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import gevent
import pytest

from loadtest.client.client import Client
from tests.cli.running import eventually, free_ports, status_of
from tests.support.cluster import ClusterNode
from tests.support.redis_server import RedisServer

from .recorder import Recorder

Connect = Callable[..., tuple[Client, Recorder]]


class Nodes:
    """Two nodes with one port in common, `url`, and one of their own each. Started again when one is killed."""

    def __init__(self, redis: RedisServer, folder: Path, **settings: str) -> None:
        port = free_ports(3)
        self.url = f"http://127.0.0.1:{port}"
        env = {"REDIS_URL": redis.url, "KEY_PREFIX": f"test-{uuid4().hex[:12]}", "PORT": str(port), "LOCALE": "en"}
        self._nodes = [
            ClusterNode(number, port + 1 + number, env | settings, folder / f"node-{number}.log")
            for number in range(2)
        ]
        self._ids: dict[str, ClusterNode] = {}
        for node in self._nodes:
            self.start(node)

    def __getitem__(self, number: int) -> ClusterNode:
        return self._nodes[number]

    def start(self, node: ClusterNode) -> None:
        node.start()
        eventually(lambda: status_of(f"{node.url}/readyz") == 200 or None)
        asking = Client(node.url, Recorder(), namespace="/echo")
        asking.connect()
        self._ids[asking.node_id] = node
        asking.disconnect()

    def kill(self) -> None:
        for node in self._nodes:
            node.kill()

    def holding(self, client: Client) -> ClusterNode:
        """The node that a client is connected to."""
        return self._ids[client.node_id]


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """The settings of the module's nodes."""
    return {}


@pytest.fixture(scope="module")
def nodes(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str]
) -> Iterator[Nodes]:
    """For all tests of a module, none of which has made them log a traceback."""
    made = Nodes(redis_server, tmp_path_factory.mktemp("nodes"), **settings)
    yield made
    made.kill()
    assert "Traceback" not in made[0].log() + made[1].log()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connects a client with a Recorder; both are gone with the test."""
    made: list[Client] = []

    def connected(url: str, **options: Any) -> tuple[Client, Recorder]:
        recorder = Recorder()
        made.append(Client(url, recorder, **options))
        made[-1].connect()
        return made[-1], recorder

    yield connected
    for client in made:
        client.disconnect()
    gevent.sleep(0)


@pytest.fixture
def room() -> str:
    """A room of the test's own."""
    return f"room-{uuid4().hex[:8]}"
