"""Handles the events of one client in the order they were sent.

python-socketio starts a task for every event, so `joinroom` and the `send_msg` behind it race. Here each
client has a line: its next event begins when the handler of the last one has returned. A handler that
returns a future has taken its place in the log's order already; the next event does not wait for it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

logger = logging.getLogger(__name__)

# Handles one event; what it returns, if anything, is still to come when the next event begins.
Job = Callable[[], Coroutine[Any, Any, "asyncio.Future[Any] | None"]]
# From Python 3.12 on a task may run at once up to where it waits, and is none if it never does.
_EAGER: dict[str, Any] = {"eager_start": True} if hasattr(asyncio, "eager_task_factory") else {}


class _Line:
    """One client's unfinished events."""

    __slots__ = ("jobs", "paused", "task", "unfinished")

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque()
        self.unfinished = 0
        self.task: asyncio.Task[None] | None = None
        self.paused = False


class Turns:
    """The lines of all clients (Engine.IO connections); an idle one has none.

    `limit`: how many unfinished events a client may have before `pause(client)` is called, which is to stop
    its reading; `resume(client)` follows.
    """

    def __init__(self, limit: int, pause: Callable[[str], None], resume: Callable[[str], None]) -> None:
        self._limit = limit
        self._pause = pause
        self._resume = resume
        self._lines: dict[str, _Line] = {}  # client -> line

    def take(self, client: str, job: Job) -> None:
        """Queues a job behind the client's others."""
        line = self._lines.get(client)
        if line is None:
            line = self._lines[client] = _Line()
        line.jobs.append(job)
        line.unfinished += 1
        if line.unfinished >= self._limit and not line.paused:
            line.paused = True
            self._pause(client)
        if line.task is None:
            self._start(client, line)

    async def take_last(self, client: str, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs a job behind the client's others and waits for it; from one of them, runs it at once."""
        line = self._lines.get(client)
        if line is None or line.task is asyncio.current_task():
            await job()
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def and_tell() -> None:
            try:
                await job()
            finally:
                if not done.done():  # else whoever waited was cancelled
                    done.set_result(None)

        self.take(client, and_tell)
        await done

    def _start(self, client: str, line: _Line) -> None:
        task = asyncio.Task(self._work(client, line), loop=asyncio.get_running_loop(), **_EAGER)
        line.task = None if task.done() else task
        self._forget_idle(client, line)

    async def _work(self, client: str, line: _Line) -> None:
        line.task = asyncio.current_task()
        while line.jobs:
            to_come = await self._handle(line, line.jobs.popleft())
            if to_come is None or to_come.done():
                self._finished(client, line)
            else:
                to_come.add_done_callback(lambda _: self._finished(client, line))
        line.task = None
        self._forget_idle(client, line)

    @staticmethod
    async def _handle(line: _Line, job: Job) -> "asyncio.Future[Any] | None":
        try:
            return await job()
        except asyncio.CancelledError:
            if line.task is not None and line.task.cancelling():
                raise
            logger.warning("an event's handler waited for something that was cancelled")
        except Exception:  # an app's handler; its error must not end the line
            logger.exception("an event's handler failed")
        return None

    def _finished(self, client: str, line: _Line) -> None:
        line.unfinished -= 1
        if line.paused and line.unfinished < self._limit:
            line.paused = False
            self._resume(client)
        self._forget_idle(client, line)

    def _forget_idle(self, client: str, line: _Line) -> None:
        if line.task is None and line.unfinished == 0 and self._lines.get(client) is line:
            del self._lines[client]
