"""A node's loops are started again whenever they end, and only cancelling ends them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from app.cluster import supervision
from app.cluster.supervision import keep_running
from app.errors import StoreUnavailable
from app.metrics import Metrics
from tests.support.eventually import eventually

Loop = Callable[[], Awaitable[None]]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "PAUSE_S", 0.001)
    monkeypatch.setattr(supervision, "PAUSE_MAX_S", 0.008)


@contextlib.asynccontextmanager
async def supervised(loop: Loop, metrics: Metrics) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(keep_running("ears", loop, metrics))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Failing:
    """A loop that ends in a way of its own each time; it keeps when it was started."""

    def __init__(self, *ends: BaseException | None) -> None:
        self.ends = ends
        self.starts_s: list[float] = []

    async def __call__(self) -> None:
        self.starts_s.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0)
        end = self.ends[(len(self.starts_s) - 1) % len(self.ends)]
        if end is not None:
            raise end


@pytest.mark.parametrize(
    "end",
    [
        None,
        RuntimeError("bug"),
        StoreUnavailable("away"),
        ConnectionResetError(),
        TimeoutError(),
        StopAsyncIteration(),
    ],
    ids=lambda end: type(end).__name__,
)
async def test_a_loop_that_ends_is_started_again(metrics: Metrics, end: BaseException | None) -> None:
    loop = Failing(end)
    async with supervised(loop, metrics) as task:
        await eventually(lambda: len(loop.starts_s) >= 4, every_s=0.002)
        assert not task.done()
        assert metrics.task_restarts in (len(loop.starts_s) - 1, len(loop.starts_s))


async def test_a_loop_that_awaited_something_cancelled_is_started_again(metrics: Metrics) -> None:
    starts = 0

    async def loop() -> None:
        nonlocal starts
        starts += 1
        cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        await cancelled

    async with supervised(loop, metrics) as task:
        await eventually(lambda: starts >= 2 or task.done(), every_s=0.002)
        assert starts >= 2


async def test_pauses_grow_up_to_their_limit(metrics: Metrics) -> None:
    loop = Failing(None)
    async with supervised(loop, metrics):
        await eventually(lambda: len(loop.starts_s) >= 9, every_s=0.002)
    pauses_s = [after - before for before, after in zip(loop.starts_s, loop.starts_s[1:], strict=False)]
    assert all(pause_s >= 0.0009 for pause_s in pauses_s)
    assert all(pause_s >= 0.0079 for pause_s in pauses_s[4:])
    assert min(pauses_s[4:]) < 0.1


async def test_a_loop_that_had_come_up_is_started_again_soon(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "PAUSE_MAX_S", 60.0)
    monkeypatch.setattr(supervision, "STEADY_S", 0.01)
    starts = 0

    async def loop() -> None:
        nonlocal starts
        starts += 1
        await asyncio.sleep(0.02)

    async with supervised(loop, metrics):
        # With pauses that double each time, the 20th start would be a quarter of an hour away.
        await eventually(lambda: starts >= 20, within_s=5)


async def test_cancelling_ends_a_loop_that_runs(metrics: Metrics) -> None:
    ended = asyncio.Event()
    running = asyncio.Event()

    async def loop() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with supervised(loop, metrics) as task:
        await running.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ended.is_set()
    assert metrics.task_restarts == 0


async def test_cancelling_ends_a_loop_that_waits_for_its_restart(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "PAUSE_S", 60.0)
    loop = Failing(None)
    async with supervised(loop, metrics) as task:
        await eventually(lambda: metrics.task_restarts == 1, every_s=0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 1)
    assert len(loop.starts_s) == 1


async def test_what_ended_a_loop_is_said_and_a_redis_that_is_away_is_no_traceback(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    loop = Failing(None, RuntimeError("a bug"), StoreUnavailable("Redis is away"), ConnectionResetError("cut"))
    with caplog.at_level(logging.INFO, "app.cluster.supervision"):
        async with supervised(loop, metrics):
            await eventually(lambda: len(loop.starts_s) >= 5, every_s=0.002)
    ended, bug, away, cut = caplog.records[:4]
    assert (ended.levelname, bug.levelname, away.levelname, cut.levelname) == (
        *("ERROR", "ERROR"),
        *("WARNING", "WARNING"),
    )
    assert [record.exc_info is not None for record in caplog.records[:4]] == [False, True, False, False]
    assert all("ears" in record.getMessage() for record in caplog.records)
    assert "Redis is away" in away.getMessage()
