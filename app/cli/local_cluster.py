"""A whole cluster on this machine: which processes it has, and the order they start and stop in.

Keeping each of them running is `service.py`'s; when it all ends is `up.py`'s to say.
"""

import asyncio
import os
import sys
from collections.abc import Iterable
from functools import partial

from ..settings import Settings
from .output import say
from .ports import WILDCARDS, hold_shared, require_free, url_of
from .readiness import is_ready
from .redis_server import find_redis_server, redis_command, require_answer, why_silent, without_password
from .run_dir import RunDir
from .service import Program, Service

# So much longer than DRAIN_TIMEOUT_S, within which a node ends by itself, that only one that hangs is killed.
NODE_STOP_SPARE_S = 5.0
REDIS_STOP_LIMIT_S = 5.0


class LocalCluster:
    """A Redis, unless REDIS_URL names one, and the nodes that `settings` ask for."""

    def __init__(self, settings: Settings, run_dir: RunDir, app_path: str) -> None:
        self._settings = settings
        self._run_dir = run_dir
        self._app_path = app_path
        self._redis: Service | None = None
        self._nodes: list[Service] = []

    async def run(self) -> None:
        """Starts everything, says that it is ready, and keeps it running until cancelled.

        Raises ClusterKitError where a port is busy or something gets not ready; `stop()` it all the same.
        """
        host, port, count = self._settings.host, self._settings.port, self._settings.nodes
        require_free(host, range(port, port + count + 1))
        with hold_shared(host, port):
            self._run_dir.prepare()
            redis_url = await self._start_redis()
            self._nodes = [Service(self._node(number, redis_url)) for number in range(1, count + 1)]
            await _together(node.start() for node in self._nodes)
            say(f"ready: {url_of(host, port)} ({count} node{'s' if count > 1 else ''})", "bold green")
            await _together(service.keep() for service in self._services())

    async def stop(self) -> None:
        """Ends the nodes, then Redis, so that the nodes can still leave in order."""
        await asyncio.gather(*(node.stop() for node in self._nodes))
        if self._redis:
            await self._redis.stop()
        self._run_dir.clear()

    def kill(self) -> None:
        """Ends all processes at once; `stop()` still waits for them."""
        for service in self._services():
            service.kill()

    def _services(self) -> list[Service]:
        return [*self._nodes, self._redis] if self._redis else self._nodes

    async def _start_redis(self) -> str:
        if "redis_url" in self._settings.model_fields_set:
            await require_answer(self._settings.redis_url)
            say(f"redis: using {without_password(self._settings.redis_url)}")
            return self._settings.redis_url
        executable = find_redis_server()
        socket = self._run_dir.redis_socket()
        url = self._run_dir.note_redis(socket)
        command = redis_command(executable, socket, self._run_dir.redis_data)
        self._redis = Service(
            Program(
                name="redis",
                command=command,
                env=os.environ,
                log=self._run_dir.redis_log,
                where=f"{socket}, {executable}, data kept until the cluster stops",
                is_ready=partial(_answers, url),
                stop_limit_s=REDIS_STOP_LIMIT_S,
            )
        )
        await self._redis.start()
        return url

    def _node(self, number: int, redis_url: str) -> Program:
        settings, own_port = self._settings, self._settings.port + number
        serve = ["serve", "--own-port", str(own_port), "--app", self._app_path]
        return Program(
            name=f"node{number}",
            # -P: a folder `app` where the command is run must not stand in for this package.
            command=[sys.executable, "-P", "-m", "app.cli", *serve],
            # A private URL is one node's, so one that is set for all would be wrong for most.
            env=os.environ | {"REDIS_URL": redis_url, "PRIVATE_URL": ""},
            log=self._run_dir.node_log(number),
            where=url_of(settings.host, own_port),
            is_ready=partial(is_ready, WILDCARDS.get(settings.host, settings.host), own_port),
            stop_limit_s=settings.drain_timeout_s + NODE_STOP_SPARE_S,
            shows_warnings=True,
        )


async def _answers(url: str) -> bool:
    return await why_silent(url) is None


async def _together(tasks: Iterable[object]) -> None:
    """Runs them at once; the first that fails cancels the others, and its error is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task)  # type: ignore[arg-type]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
