from collections.abc import AsyncIterator

import pytest

from tests.support.redis_server import RedisServer

from .registry import Registry


@pytest.fixture
async def registry(own_redis: RedisServer, key_prefix: str) -> AsyncIterator[Registry]:
    registry = Registry(own_redis, key_prefix)
    yield registry
    await registry.close()
