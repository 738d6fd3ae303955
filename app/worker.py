"""The gunicorn worker: `gunicorn -c deploy/gunicorn.conf.py app.main:app`.

Each worker is a node: besides the port that gunicorn has bound for all it listens on one of its own, where the
others reach it. How a node serves and stops is `cli/uvicorn_server.py`'s; here that is fitted to gunicorn's
signals, heartbeats and `max_requests`. The app is made in the worker, also under `--preload`, so that no two nodes
share an id or a connection.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from typing import IO, Any, ClassVar

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from .cli.address import private_url_of_several
from .cli.log_format import configure_logging
from .cli.ports import bind_alone
from .cli.uvicorn_server import NodeServer
from .errors import ClusterKitError, SettingsError
from .main import NodeApp, create_app
from .settings import Settings, load_settings

logger = logging.getLogger(__name__)

NOTIFY_S = 1.0
RESTART_PAUSE_S = 1.0  # gunicorn itself makes none
# After a worker that was replaced has ended, the next one waits so long for the new one to serve.
BOOT_S = 5.0


class NodeWorker(Worker):  # type: ignore[misc]
    """A node. `max_requests` counts HTTP requests and WebSockets; the worker then drains as by SIGTERM.

    One at a time, so that somebody serves the port meanwhile.
    """

    turn: ClassVar[IO[bytes] | None] = None  # locked by the worker that is being replaced

    def __init__(self, *args: Any) -> None:
        """Called by the arbiter before it forks: what is opened here all its workers have."""
        super().__init__(*args)
        if NodeWorker.turn is None:
            NodeWorker.turn = tempfile.TemporaryFile(dir=self.cfg.worker_tmp_dir)  # noqa: SIM115

    def init_signals(self) -> None:
        """NodeServer takes SIGTERM and SIGINT, so what gunicorn's base would do with them is left out."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGABRT, self.handle_abort)  # the arbiter's, to a worker that has stopped notifying
        signal.signal(signal.SIGQUIT, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        for ignored in (signal.SIGUSR1, signal.SIGWINCH, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)

    def run(self) -> None:
        """Serves until told to stop. Where a setting is wrong gunicorn gives up, and ends the workers that serve;
        after any other error it starts another one.
        """
        try:
            settings = load_settings()
            configure_logging(settings.log_level)
            if self.cfg.max_requests and self.cfg.workers < 2:
                raise SettingsError("MAX_REQUESTS: expected WEB_CONCURRENCY to be at least 2 with it, got 1")
            own = bind_alone(settings.host, 0)
            asyncio.run(self._serve(settings, own))
        except SettingsError as error:
            logger.error("%s", error)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        except ClusterKitError as error:
            logger.error("%s", error)
            sys.exit(1)

    async def _serve(self, settings: Settings, own: socket.socket) -> None:
        own_port = own.getsockname()[1]
        settings = settings.model_copy(update={"private_url": private_url_of_several(settings, own_port)})
        app = create_app(settings) if isinstance(self.wsgi, NodeApp) else self.wsgi
        server = NodeServer(app, settings)
        shared = [each.sock for each in self.sockets]
        logger.info("node with pid %d, at %s for the others", self.pid, settings.private_url)
        async with self._heartbeats(server):
            try:
                await server.serve(sockets=[*shared, own])
            except ClusterKitError:
                await asyncio.sleep(RESTART_PAUSE_S)
                raise
        logger.info("node stopped")

    @contextlib.asynccontextmanager
    async def _heartbeats(self, server: NodeServer) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._beat(server)), asyncio.create_task(self._end_after_requests(server))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    async def _beat(self, server: NodeServer) -> Any:
        """To the arbiter, while the event loop runs; draining counts as well. Without an arbiter it ends."""
        while True:
            self.notify()
            if os.getppid() != self.ppid and not server.should_exit:
                logger.warning("gunicorn's arbiter is gone")
                server.should_exit = True
            await asyncio.sleep(NOTIFY_S)

    async def _end_after_requests(self, server: NodeServer) -> None:
        """In the place of uvicorn's own limit, which workers with equal shares of the load reach together."""
        while server.server_state.total_requests < self.max_requests or not self._has_turn():  # noqa: ASYNC110
            await asyncio.sleep(NOTIFY_S)
        await asyncio.sleep(BOOT_S)
        logger.info("%d requests were served; another worker takes over", server.server_state.total_requests)
        server.should_exit = True

    def _has_turn(self) -> bool:
        """Until this process ends, which gives the lock back however it does."""
        assert NodeWorker.turn is not None
        try:
            fcntl.lockf(NodeWorker.turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
