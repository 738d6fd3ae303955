"""A run: contenders in turn, round after round, each group of lines with a fresh server and load client.

Nothing is judged here. Children are ended whatever happens; a load client that reports a broken promise
fails the run.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from .children import ChildFailed, Place, spawn
from .client.measurement import Order, Target
from .contenders import TRIVIAL, Contender
from .figures import Measured
from .lines import LINES, Group
from .redis_server import RedisServer
from .trivial_server import BATCHES

CEILING = Group("ceiling", tuple(BATCHES), members=1000, warm_up_s=0.5, measure_s=1.0, limit_s=30.0)


class RunFailed(Exception):
    """A contender broke a promise, or a load client did not come to an end."""


@dataclass(frozen=True, slots=True)
class Places:
    """The load client and Redis share a core."""

    server: Place
    client: Place
    redis: Place


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, of whom, how often."""

    groups: tuple[Group, ...]
    contenders: tuple[Contender, ...]
    chosen: bool  # the contenders were named, so all of them take part wherever they can
    pairs: int
    places: Places

    def steps(self) -> Iterator[tuple[int, Group, Contender]]:
        """Rounds outermost, so that what changes on the machine meanwhile meets all alike."""
        for number in range(self.pairs):
            for group in self.groups:
                if group.pairs_max is not None and number >= group.pairs_max:
                    continue
                for contender in self.contenders:
                    its_part = part(group, contender)
                    if its_part.lines and (self.chosen or contender.name in group.contenders_by_default):
                        yield number, its_part, contender


def part(group: Group, contender: Contender) -> Group:
    """The group's lines that this contender takes part in."""
    return replace(group, lines=tuple(name for name in group.lines if contender.name in LINES[name].contenders))


class Run:
    """Carries out a plan; `told` gets one sample after another."""

    def __init__(self, plan: Plan, redis: RedisServer, told: Callable[[Measured], None]) -> None:
        self._plan = plan
        self._redis = redis
        self._told = told
        self._servers = 0

    def all(self) -> None:
        """Raises RunFailed and ChildFailed."""
        for number, group, contender in self._plan.steps():
            self.step(number, group, contender)

    def ceiling(self) -> None:
        """What the load client takes from a server that only writes; told as lines of contender `trivial`."""
        self.step(0, CEILING, TRIVIAL)

    def step(self, number: int, group: Group, contender: Contender) -> None:
        """One fresh server, one fresh client."""
        self._servers += 1
        self._redis.forget()
        server, port = contender.start(self._redis, self._plan.places.server, f"bench{self._servers}")
        with server:
            order = Order(
                kind=group.kind,
                lines=group.lines,
                target=Target(port, server.pid, self._redis.pid),
                members=group.members,
                warm_up_s=group.warm_up_s,
                measure_s=group.measure_s,
                in_flight=group.in_flight,
                rate_per_s=group.rate_per_s,
                rooms=group.rooms,
                must_drain=contender.name == "kit",
            )
            try:
                for sample in _client(order, self._plan.places.client, group.limit_s):
                    self._told(Measured(contender=contender.name, round=number, **sample))
            except RunFailed as error:
                raise RunFailed(f"{contender.name}: {error}; its log ends:\n{server.log()}") from None
            if server.process.poll() is not None:
                raise ChildFailed(f"{contender.name} ended by itself:\n{server.log()}")


def _client(order: Order, place: Place, limit_s: float) -> Iterator[dict[str, Any]]:
    """The samples of one load client as they come. Raises RunFailed."""
    command = [sys.executable, "-m", "loadtest.bench.client", json.dumps(order.to_json())]
    client = spawn(command, place, {}, subprocess.PIPE, subprocess.PIPE)
    limit = threading.Timer(limit_s, client.kill)
    limit.daemon = True  # a Ctrl-C right here would have the bench's end wait for it
    try:
        limit.start()
        assert client.stdout is not None and client.stderr is not None
        for line in client.stdout:
            yield json.loads(line)
        error = client.stderr.read().decode().strip()
        if client.wait():
            raise RunFailed(error or f"the load client was not done within {limit_s:g} s")
    finally:
        limit.cancel()
        client.kill()
        client.wait()
