"""`clusterkit emit`: one event to a room, from outside the nodes.

The sending is `app.hub.emitter`'s; here the Redis is found and failures are worded.
"""

import asyncio
from pathlib import Path

from redis.exceptions import RedisError

from ..errors import StoreUnavailable
from ..settings import Settings
from .output import say
from .redis_server import without_password
from .run_dir import settings_of_cluster


def send_event(room: str, event: str, data: object, *, namespace: str, run_dir: Path) -> None:
    """Sends it and returns when it is in the room's log. Raises StoreError where Redis could not do it."""
    settings = settings_of_cluster(run_dir)
    try:
        clock = asyncio.run(_emit(settings, room, event, data, namespace))
    except (RedisError, OSError) as error:
        where = without_password(settings.redis_url)
        raise StoreUnavailable(f"no answer from Redis at {where}: {error}") from None
    if clock:
        say(f"sent {event} to {room} in {namespace}")
    else:
        say(f"nobody is in {room} in {namespace}: nothing was sent")


async def _emit(settings: Settings, room: str, event: str, data: object, namespace: str) -> int:
    from ..hub.emitter import Emitter

    async with Emitter(settings) as emitter:
        return await emitter.emit(event, data, room=room, namespace=namespace)
