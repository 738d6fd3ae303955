"""One run from its parts to its verdict: Redis, nodes, haproxy and clients, the faults, the end, the checks."""

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.store.redis_proxy import RedisProxy, redis_proxy
from tests.support.cluster import CLUSTERKIT, RunningCluster, running_cluster
from tests.support.eventually import eventually
from tests.support.machine import find_haproxy, find_node, find_node_modules
from tests.support.redis_server import LOG as REDIS_LOG
from tests.support.redis_server import RedisServer

from .checks import check
from .crowd import Crowd, crowd
from .findings import ABSENT, Finding
from .injector import Injector, Say
from .js_clients import Pace
from .proxy import haproxy
from .record import History
from .rosters import find_ghosts, listings, truth_of
from .schedule import SABOTAGED, Fault, schedule
from .verdict import Verdict

NODES = 3
SETTINGS = {
    "PING_INTERVAL_S": "3",
    "PING_TIMEOUT_S": "3",
    "RECOVERY": "optin",
    "LEASE_S": "5",
    "LEAVE_GRACE_S": "5",
    "RECOVERY_WINDOW_S": "120",
}
# Clients that lost a node, and then tried with a nickname that was still taken, are back well within this.
BACK_WITHIN_S = 45.0
# Without the reaper some never are, and to wait for them proves nothing.
SABOTAGED_BACK_WITHIN_S = 10.0
# Rosters may disagree with the truth for so long after the last fault.
ROSTERS_AFTER_S = 10.0
# A list that is on its way when they are compared; what is wrong stays wrong.
ROSTERS_WITHIN_S = 1.0
# Traffic goes on for so long after the last fault.
TRAFFIC_AFTER_S = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. `sabotage`: a key of SABOTAGED, whose faults are then run instead of the seed's."""

    seed: int
    minutes: float = 2.0
    sabotage: str | None = None

    @property
    def faults(self) -> list[Fault]:
        """The schedule."""
        return SABOTAGED[self.sabotage] if self.sabotage else schedule(self.seed, self.minutes, NODES)

    @property
    def sends_s(self) -> float:
        """How long clients send at least; they do so until the faults are over anyhow."""
        return 0.0 if self.sabotage else self.minutes * 60

    @property
    def back_within_s(self) -> float:
        """How long after the end all must be connected, and have no message under way."""
        return SABOTAGED_BACK_WITHIN_S if self.sabotage else BACK_WITHIN_S

    @property
    def program(self) -> tuple[str, ...]:
        """What the nodes run."""
        return ("tests.faults.sabotaged_node", self.sabotage) if self.sabotage else CLUSTERKIT


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is made of, while it runs."""

    redis: RedisServer
    ways: list[RedisProxy]  # each node's own to Redis
    cluster: RunningCluster
    crowd: Crowd


async def run(plan: Plan, folder: Path, say: Say = lambda line: None) -> Verdict:
    """Runs it; the logs of nodes, Redis and haproxy go into `folder`, and the record of a run that failed.

    `say` gets each line of progress. Raises AssertionError where the cluster or the clients do not come up, or a
    node does not come back.
    """
    started_s = time.monotonic()

    def progress(line: str) -> None:
        say(f"{time.monotonic() - started_s:7.1f} s  {line}")

    async with parts(plan, folder) as made:
        histories = made.crowd.histories
        try:
            faults, findings = await _run(plan, made, progress)
        except BaseException:
            _write_record(histories, folder)
            raise
    progress("checking the record")
    verdict = Verdict.of(plan.seed, faults, histories, [*check(histories), *findings], started_s)
    if not verdict.ok:
        _write_record(histories, folder)
    return verdict


async def _run(plan: Plan, made: Parts, progress: Say) -> tuple[dict[str, int], list[Finding]]:
    """From the first connect to the rosters: kind -> how many faults, and what is wrong at the end."""
    crowd = made.crowd
    await crowd.all_connected()
    progress(f"{len(crowd.histories)} clients are connected")
    injector = Injector(made.cluster, made.redis, made.ways, crowd, plan.seed, progress)
    crowd.send()
    ends_s = time.monotonic() + plan.sends_s
    await injector.run(plan.faults)
    await _sleep_until(max(ends_s, injector.last_s + TRAFFIC_AFTER_S))
    crowd.stop()
    progress("no more messages; waiting for those under way")
    absent = await _settled(crowd, plan.back_within_s)
    await _sleep_until(injector.last_s + ROSTERS_AFTER_S)
    progress("comparing rosters")
    return injector.done, [*await _ghosts(made, injector.up), *absent]


@contextlib.asynccontextmanager
async def parts(plan: Plan, folder: Path) -> AsyncIterator[Parts]:
    """Everything, while the block runs. What the machine lacks is said before anything is started."""
    for find in (find_haproxy, find_node, find_node_modules):
        find()
    with RedisServer(appendonly="yes", appendfsync="always") as redis:
        try:
            async with contextlib.AsyncExitStack() as stack:
                ways = [await stack.enter_async_context(redis_proxy(redis.port)) for _ in range(NODES)]
                urls, prefix = [way.url for way in ways], f"faults-{uuid4().hex[:12]}"
                nodes = running_cluster(urls, prefix, NODES, folder=folder, program=plan.program, **SETTINGS)
                cluster = await stack.enter_async_context(nodes)
                url = await stack.enter_async_context(haproxy(cluster.nodes, folder))
                yield Parts(redis, ways, cluster, await stack.enter_async_context(crowd(url, Pace())))
        finally:
            shutil.copy(redis.folder / REDIS_LOG, folder)


async def _settled(crowd: Crowd, within_s: float) -> list[Finding]:
    """Waits until all are connected and have nothing under way; who is not in time is a finding."""

    def all_settled() -> bool:
        return not crowd.missing() and not crowd.undone()

    with contextlib.suppress(AssertionError):
        await eventually(all_settled, within_s, every_s=0.1)
    at_the_end = f"{within_s:g} s after the end"
    return [
        *(Finding(ABSENT, name, f"not connected {at_the_end}") for name in crowd.missing()),
        *(Finding(ABSENT, name, f"has unanswered messages {at_the_end}") for name in crowd.undone()),
    ]


async def _ghosts(made: Parts, up: list[int]) -> list[Finding]:
    found: list[Finding] = []

    async def rosters_agree() -> bool:
        nonlocal found
        found = find_ghosts(truth_of(made.crowd.histories), await listings(made.cluster, up, made.crowd.histories))
        return not found

    with contextlib.suppress(AssertionError):
        await eventually(rosters_agree, ROSTERS_WITHIN_S, every_s=0.2)
    return found


async def _sleep_until(at_s: float) -> None:
    await asyncio.sleep(max(0.0, at_s - time.monotonic()))


def _write_record(histories: list[History], folder: Path) -> None:
    lines = sorted((line for history in histories for line in history.lines()), key=lambda line: line["at_s"])
    (folder / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
