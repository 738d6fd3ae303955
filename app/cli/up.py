"""`clusterkit up`: runs a cluster on this machine until a signal, and leaves no process behind.

What the cluster consists of is `local_cluster.py`'s.
"""

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from ..settings import Settings, load_settings
from .local_cluster import LocalCluster
from .output import say
from .parent import parent_stops
from .run_dir import RunDir

HIGHEST_PORT = 65535
FORCED = 130


def run_cluster(run_dir: Path, app_path: str, *, with_parent: bool) -> None:
    """Returns after a clean stop. Raises ClusterKitError where the cluster cannot start.

    `with_parent`: the end of the parent process counts as a signal to stop.
    """
    settings = load_settings()
    _require_room_for_ports(settings)
    if asyncio.run(_run(settings, RunDir(run_dir, settings), app_path, with_parent)):
        sys.exit(FORCED)


def _require_room_for_ports(settings: Settings) -> None:
    if settings.port + settings.nodes > HIGHEST_PORT:
        highest = HIGHEST_PORT - settings.nodes
        expected = f"expected at most {highest} where NODES is {settings.nodes}"
        raise SettingsError(f"PORT: {expected} (got {settings.port})")


async def _run(settings: Settings, run_dir: RunDir, app_path: str, with_parent: bool) -> bool:
    """Whether the end was forced."""
    cluster = LocalCluster(settings, run_dir, app_path)
    orders = StopOrders(cluster.kill)
    working = asyncio.create_task(cluster.run())
    ends: set[asyncio.Task[Any]] = {working, asyncio.create_task(orders.given.wait())}
    if with_parent:
        ends.add(asyncio.create_task(parent_stops()))
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        await _end(working)
    finally:
        orders.given.set()
        await cluster.stop()
    return orders.forced


async def _end(working: asyncio.Task[None]) -> None:
    """Cancels what runs, or raises what it ended by."""
    if not working.done():
        say("stopping")
        working.cancel()
    with suppress(asyncio.CancelledError):
        await working


class StopOrders:
    """SIGINT, SIGTERM and SIGHUP: the first stops in order, a SIGINT after it calls `force`.

    A second SIGTERM changes nothing: to stop a process group, make included, brings two.
    """

    def __init__(self, force: Callable[[], None]) -> None:
        self.given = asyncio.Event()
        self.forced = False
        self._force = force
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        loop.add_signal_handler(signal.SIGTERM, self.given.set)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup's way to outlive the terminal
            loop.add_signal_handler(signal.SIGHUP, self.given.set)

    def _interrupted(self) -> None:
        if self.given.is_set():
            self.forced = True
            self._force()
        self.given.set()
