"""`clusterkit drain`: has one node end as by SIGTERM, wherever it runs.

What a node then does is `uvicorn_server.py`'s; what started it may start it again.
"""

import asyncio
import time
from pathlib import Path

from redis.exceptions import RedisError

from ..errors import ClusterKitError, StoreUnavailable
from ..settings import Settings
from .output import say
from .redis_server import without_password
from .run_dir import settings_of_cluster

LOOK_S = 0.2


def drain_node(node_id: str, *, wait_s: float, run_dir: Path) -> None:
    """Tells it to drain and returns when it is gone. Raises ClusterKitError where it is not known, or stays."""
    settings = settings_of_cluster(run_dir)
    try:
        asyncio.run(_drain(settings, node_id, wait_s))
    except (RedisError, OSError) as error:
        where = without_password(settings.redis_url)
        raise StoreUnavailable(f"no answer from Redis at {where}: {error}") from None


async def _drain(settings: Settings, node_id: str, wait_s: float) -> None:
    from ..hub.emitter import Emitter

    async with Emitter(settings) as emitter:
        if not await emitter.knows_node(node_id):
            raise ClusterKitError(f"there is no node {node_id!r}; `clusterkit status` lists them")
        await emitter.drain(node_id)
        say(f"node {node_id} was told to drain")
        until_s = time.monotonic() + wait_s
        while time.monotonic() < until_s:
            await asyncio.sleep(LOOK_S)
            if not await emitter.knows_node(node_id):
                say(f"node {node_id} is gone")
                return
        if wait_s:
            raise ClusterKitError(f"node {node_id} is still there after {wait_s:g} s; its log says why")
