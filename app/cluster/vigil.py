"""Notices that this process was stopped for a while, so that others may have taken its sockets; or is told so.

Until it is known which sockets are still this node's, their clients' events wait. A Redis that stalls is none of
its business: then everybody waits, and nobody is taken for dead.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from ..errors import StoreError

logger = logging.getLogger(__name__)

LOOKS_PER_LEASE = 10
STOPPED_LEASES = 0.5  # a loop that did not turn for so long may have missed heartbeats
RETRY_S = 0.2


class Vigil:
    """`verify` closes the connections whose sockets are another node's by now. Raises StoreError."""

    def __init__(self, lease_s: float, verify: Callable[[], Awaitable[None]]) -> None:
        self._look_s = lease_s / LOOKS_PER_LEASE
        self._stopped_s = lease_s * STOPPED_LEASES
        self._verify = verify
        self._awake_s = time.monotonic()
        self._doubted = False  # since the check that is under way began
        self._verifying: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Looks at the clock, for ever."""
        self._awake_s = time.monotonic()
        while True:
            self.look()
            await asyncio.sleep(self._look_s)

    def look(self) -> bool:
        """Whether it is certain that this node's sockets are its own."""
        now_s = time.monotonic()
        asleep_s, self._awake_s = now_s - self._awake_s, now_s
        if asleep_s > self._stopped_s:
            logger.warning("this process did not run for %.1f s; checking which sockets it still has", asleep_s)
            self.doubt()
        return self._verifying is None

    def doubt(self) -> None:
        """Others may have taken sockets up to now: until that was checked nothing is certain."""
        self._doubted = True
        if self._verifying is None:
            self._verifying = asyncio.ensure_future(self._until_verified())

    async def certain(self) -> None:
        """Waits until it is."""
        if self._verifying is not None:
            await asyncio.shield(self._verifying)

    async def _until_verified(self) -> None:
        try:
            while self._doubted:
                self._doubted = False
                try:
                    await self._verify()
                except StoreError as error:
                    logger.warning("could not check the sockets: %s", error)
                    self._doubted = True
                    await asyncio.sleep(RETRY_S)
        finally:
            self._verifying = None
