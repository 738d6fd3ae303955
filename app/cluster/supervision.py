"""Keeps a node's loops running: one that ends, for whatever reason, is started again.

A listener that ends unnoticed leaves a worker deaf (python-socketio #1581: for 24 hours), so nothing here
ends but by cancellation.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from ..errors import StoreError
from ..metrics import Metrics
from ..store.redis import CONNECTION_ERRORS

logger = logging.getLogger(__name__)

PAUSE_S = 0.05  # before the first restart, doubled up to
PAUSE_MAX_S = 1.0
CANCEL_AGAIN_S = 0.2
STEADY_S = 0.5  # a loop that ran this long had come up: it starts again with the short pause


async def keep_running(name: str, loop: Callable[[], Awaitable[None]], metrics: Metrics) -> None:
    """Runs `loop()` again and again until cancelled, with a capped pause in between."""
    clock, task = asyncio.get_running_loop().time, asyncio.current_task()
    assert task is not None
    pause_s = PAUSE_S
    while True:
        started = clock()
        try:
            await loop()
            logger.error("%s ended by itself; it is started again", name)
        except asyncio.CancelledError:
            if task.cancelling():
                raise
            logger.error("%s waited for something that was cancelled; it is started again", name)
        except (StoreError, *CONNECTION_ERRORS) as error:
            logger.warning("%s: %s; it is started again", name, error)
        except Exception:
            logger.exception("%s failed; it is started again", name)
        metrics.task_restarts += 1
        if clock() - started > STEADY_S:
            pause_s = PAUSE_S
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, PAUSE_MAX_S)


async def gather_all(awaitables: Iterable[Awaitable[object]]) -> None:
    """Waits for all of them, and only then raises the first error there was, if any."""
    for outcome in await asyncio.gather(*awaitables, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def end(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancels tasks until they are done.

    Once is not always enough: before Python 3.12 `asyncio.wait_for`, which redis-py sends with, swallows a
    cancellation that arrives as it finishes.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=CANCEL_AGAIN_S)
