"""What the chat's tests share: a cluster for a whole module, rooms of a test's own, JavaScript clients."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.support.cluster import RunningCluster, running_cluster
from tests.support.js_client import JsClients
from tests.support.redis_server import RedisServer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(redis_server: RedisServer) -> AsyncIterator[RunningCluster]:
    """Three nodes, for all tests of a module: each uses `room`."""
    async with running_cluster(redis_server.url, f"chat-{uuid4().hex[:12]}") as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def js_process() -> AsyncIterator[JsClients]:
    """A Node process for all tests of a module; they run in the module's event loop."""
    async with JsClients() as clients:
        yield clients


@pytest_asyncio.fixture(loop_scope="module")
async def js(js_process: JsClients) -> AsyncIterator[JsClients]:
    """Stock JavaScript clients; what a test leaves open is closed."""
    before = len(js_process.clients)
    yield js_process
    await asyncio.gather(*(client.close() for client in list(js_process.clients.values())[before:]))


@pytest.fixture
def room() -> str:
    """A room no other test uses."""
    return f"방-{uuid4().hex[:8]}"
