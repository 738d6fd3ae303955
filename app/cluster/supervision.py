"""Keeps a node's loops running: one that ends, for whatever reason, is started again.

A listener that ends unnoticed leaves a worker deaf (python-socketio #1581: for 24 hours), so nothing here
ends but by cancellation.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..errors import StoreError
from ..metrics import Metrics
from ..store.redis import CONNECTION_ERRORS

logger = logging.getLogger(__name__)

PAUSE_S = 0.05  # before the first restart, doubled up to
PAUSE_MAX_S = 1.0
STEADY_S = 0.5  # a loop that ran this long had come up: it starts again with the short pause


async def keep_running(name: str, loop: Callable[[], Awaitable[None]], metrics: Metrics) -> None:
    """Runs `loop()` again and again until cancelled, with a capped pause in between."""
    clock = asyncio.get_running_loop().time
    pause_s = PAUSE_S
    while True:
        started = clock()
        try:
            await loop()
            logger.error("%s ended by itself; it is started again", name)
        except (StoreError, *CONNECTION_ERRORS) as error:
            logger.warning("%s: %s; it is started again", name, error)
        except Exception:
            logger.exception("%s failed; it is started again", name)
        metrics.task_restarts += 1
        pause_s = PAUSE_S if clock() - started > STEADY_S else min(pause_s * 2, PAUSE_MAX_S)
        await asyncio.sleep(pause_s)
