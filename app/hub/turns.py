"""Handles the events of one client in the order they were sent.

python-socketio starts a task for every event, so `joinroom` and the `send_msg` behind it race. Here each
client has a line: its next event begins when the handler of the last one has returned. A handler that
returns a future has taken its place in the log's order already; the next event does not wait for it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

# Handles one event; what it returns, if anything, is still to come when the next event begins.
Job = Callable[[], Awaitable["asyncio.Future[None] | None"]]


class _Line:
    """One client's unfinished events."""

    __slots__ = ("jobs", "room", "task", "unfinished")

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque()
        self.unfinished = 0
        self.task: asyncio.Task[None] | None = None
        self.room: asyncio.Event | None = None


class Turns:
    """The lines of all clients (Engine.IO connections); an idle one has none.

    `limit`: how many unfinished events a client may have before `take` waits, which stops the reading of its
    connection.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines: dict[str, _Line] = {}  # client -> line

    async def take(self, client: str, job: Job) -> None:
        """Queues a job behind the client's others; waits while there are too many."""
        while (line := self._lines.get(client)) is not None and line.unfinished >= self._limit:
            line.room = line.room or asyncio.Event()
            await line.room.wait()
        self._put(client, job)

    async def take_last(self, client: str, job: Callable[[], Awaitable[None]]) -> None:
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

        self._put(client, and_tell)
        await done

    def _put(self, client: str, job: Job) -> None:
        line = self._lines.get(client)
        if line is None:
            line = self._lines[client] = _Line()
        line.jobs.append(job)
        line.unfinished += 1
        if line.task is None:
            line.task = asyncio.ensure_future(self._work(client, line))

    async def _work(self, client: str, line: _Line) -> None:
        while line.jobs:
            job = line.jobs.popleft()
            try:
                to_come = await job()
            except asyncio.CancelledError:
                if line.task is not None and line.task.cancelling():
                    raise
                logger.warning("an event's handler waited for something that was cancelled")
                to_come = None
            except Exception:  # an app's handler; its error must not end the line
                logger.exception("an event's handler failed")
                to_come = None
            if to_come is None or to_come.done():
                self._finished(client, line)
            else:
                to_come.add_done_callback(lambda _: self._finished(client, line))
        line.task = None
        self._forget_idle(client, line)

    def _finished(self, client: str, line: _Line) -> None:
        line.unfinished -= 1
        if line.room is not None and line.unfinished < self._limit:
            line.room.set()
            line.room = None
        self._forget_idle(client, line)

    def _forget_idle(self, client: str, line: _Line) -> None:
        if line.task is None and line.unfinished == 0 and self._lines.get(client) is line:
            del self._lines[client]
