"""Jobs for the lines in which events wait, and the reading that these lines pause."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from app.hub.turns import Job, Turns
from tests.support.eventually import eventually

Plain = Callable[[], Coroutine[Any, Any, None]]


class Reading:
    """Whose reading was paused and resumed, in order."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def turns(self, limit: int) -> Turns:
        """Lines that pause and resume here."""
        return Turns(
            limit,
            lambda client: self.notes.append(f"{client} paused"),
            lambda client: self.notes.append(f"{client} resumed"),
        )

    async def noted(self, *notes: str) -> None:
        """Waits until exactly these notes are there."""
        await eventually(lambda: self.notes == list(notes), 2, every_s=0.001, message=f"notes {notes}")


class Jobs:
    """Jobs that note when they begin and end, and wait until the test lets them go on."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.futures: dict[str, asyncio.Future[None]] = {}

    def quick(self, name: str) -> Plain:
        """Ends at once."""

        async def job() -> None:
            self.notes.append(name)

        return job

    def slow(self, name: str) -> Plain:
        """Ends when `gates[name]` is set."""
        gate = self.gates[name] = asyncio.Event()

        async def job() -> None:
            self.notes.append(f"{name} begins")
            await gate.wait()
            self.notes.append(f"{name} ends")

        return job

    def promising(self, name: str) -> Job:
        """Ends at once, with a future that `futures[name]` is."""

        async def job() -> asyncio.Future[None]:
            self.notes.append(name)
            self.futures[name] = asyncio.get_running_loop().create_future()
            return self.futures[name]

        return job

    def failing(self, name: str) -> Plain:
        """Raises."""

        async def job() -> None:
            self.notes.append(name)
            raise ValueError(f"{name} is wrong")

        return job

    def cancelled(self, name: str) -> Plain:
        """Waits for something that is cancelled; the job's own task is not."""

        async def job() -> None:
            self.notes.append(name)
            lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            lost.cancel()
            await lost

        return job

    async def noted(self, *notes: str) -> None:
        """Waits until exactly these notes are there."""
        await eventually(lambda: self.notes == list(notes), 2, every_s=0.001, message=f"notes {notes}")
