"""What the tests of recovery share: a cluster for a module, a door to it, stock clients, somebody who emits."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
import pytest_asyncio

from app.hub.emitter import Emitter
from app.settings import load_settings
from tests.chat.conftest import js, js_process, room
from tests.support.cluster import RunningCluster, running_cluster
from tests.support.redis_server import RedisServer

from .door import Door

__all__ = ["js", "js_process", "room"]


@pytest.fixture(scope="module")
def cluster_redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    """The Redis of the module's cluster; a module that breaks it has a fixture of this name."""
    yield redis_server


@pytest.fixture(scope="module")
def cluster_settings() -> dict[str, str]:
    """The settings of the module's cluster, as LOCALE="en"."""
    return {}


@pytest.fixture(scope="module")
def cluster_nodes() -> int:
    """How many nodes the module's cluster has."""
    return 3


@pytest.fixture(scope="module")
def cluster_prefix() -> str:
    """What the keys of the module's cluster begin with."""
    return f"test-{uuid4().hex[:12]}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(
    cluster_redis: RedisServer, cluster_prefix: str, cluster_nodes: int, cluster_settings: dict[str, str]
) -> AsyncIterator[RunningCluster]:
    """Nodes for all tests of a module, none of which has logged a traceback in the end."""
    settings = {"LOCALE": "en"} | cluster_settings
    async with running_cluster(cluster_redis.url, cluster_prefix, cluster_nodes, **settings) as cluster:
        yield cluster
        logs = "\n".join(node.log() for node in cluster.nodes)
    assert "Traceback" not in logs, logs[-5000:]


@pytest_asyncio.fixture(loop_scope="module")
async def door(cluster: RunningCluster) -> AsyncIterator[Door]:
    """A door that leads to node 0."""
    async with Door(cluster[0].url) as door:
        yield door


@pytest_asyncio.fixture(loop_scope="module")
async def emitter(
    cluster: RunningCluster, cluster_redis: RedisServer, cluster_prefix: str
) -> AsyncIterator[Emitter]:
    """Emits from outside the nodes."""
    async with Emitter(load_settings(redis_url=cluster_redis.url, key_prefix=cluster_prefix)) as emitter:
        yield emitter
