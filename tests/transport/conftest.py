"""A cluster that the tests of a module share, and an HTTP client that keeps nothing for itself."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import aiohttp
import pytest

from tests.support.cluster import RunningCluster, running_cluster
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module")
def cluster_prefix() -> str:
    """What the keys of the module's cluster begin with."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def cluster_settings() -> dict[str, str]:
    """The settings of the module's cluster; a module that wants others has a fixture of this name."""
    return {}


@pytest.fixture(scope="module")
def cluster_nodes() -> int:
    """How many nodes the module's cluster has."""
    return 3


@pytest.fixture(scope="module")
def cluster(
    redis_server: RedisServer, cluster_prefix: str, cluster_settings: dict[str, str], cluster_nodes: int
) -> Iterator[RunningCluster]:
    """Running nodes, all of them sound at the end: none has logged a traceback."""
    with asyncio.Runner() as runner:
        running = running_cluster(redis_server.url, cluster_prefix, cluster_nodes, **cluster_settings)
        cluster = runner.run(running.__aenter__())
        logs = ""
        try:
            yield cluster
            logs = "\n".join(node.log() for node in cluster.nodes)
        finally:
            runner.run(running.__aexit__(None, None, None))
    assert "Traceback" not in logs, logs[-5000:]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client with as many connections as it takes, each on its own: none is used twice."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as client:
        yield client
