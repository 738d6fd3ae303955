"""What a test breaks, for as long as a block runs."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator

from tests.support.cluster import ClusterNode, RunningCluster
from tests.support.redis_server import RedisServer


@contextlib.asynccontextmanager
async def killed(cluster: RunningCluster, number: int) -> AsyncIterator[None]:
    """A node dies at once; another process takes its place afterwards."""
    await asyncio.to_thread(cluster[number].kill)
    async with _replaced(cluster, number):
        yield


@contextlib.asynccontextmanager
async def drained(cluster: RunningCluster, number: int) -> AsyncIterator[None]:
    """A node ends as an operator ends it; another process takes its place afterwards."""
    await asyncio.to_thread(cluster[number].end)
    async with _replaced(cluster, number):
        yield


@contextlib.contextmanager
def paused(node: ClusterNode) -> Iterator[None]:
    """A node stands still while the block runs."""
    node.send(signal.SIGSTOP)
    try:
        yield
    finally:
        node.send(signal.SIGCONT)


@contextlib.contextmanager
def paused_redis(redis: RedisServer) -> Iterator[None]:
    """Redis stands still while the block runs."""
    redis.pause()
    try:
        yield
    finally:
        redis.resume()


@contextlib.asynccontextmanager
async def _replaced(cluster: RunningCluster, number: int) -> AsyncIterator[None]:
    try:
        yield
    finally:
        cluster[number].start()
        await cluster.ready(number)
