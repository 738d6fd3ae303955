"""A process that did not run for a while checks its sockets before it goes on."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from app.cluster.supervision import end
from app.cluster.vigil import Vigil
from app.errors import StoreUnavailable
from tests.support.eventually import eventually

LEASE_S = 2.0
ASLEEP_S = 1.1  # longer than half a lease


class Checks:
    """Counts them; each waits for `go`, and fails as often as `failures` says."""

    def __init__(self) -> None:
        self.count = 0
        self.failures = 0
        self.go = asyncio.Event()

    async def verify(self) -> None:
        self.count += 1
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away")
        await self.go.wait()


@pytest.fixture
async def checks() -> Checks:
    return Checks()


@contextlib.asynccontextmanager
async def keeping(checks: Checks) -> AsyncIterator[Vigil]:
    """A vigil that runs, and has looked once."""
    vigil = Vigil(LEASE_S, checks.verify)
    task = asyncio.create_task(vigil.run())
    await asyncio.sleep(0)
    try:
        yield vigil
    finally:
        checks.go.set()
        await vigil.certain()
        await end([task])


async def test_while_the_loop_turns_everything_is_certain(checks: Checks) -> None:
    async with keeping(checks) as vigil:
        await asyncio.sleep(0.3)
        assert vigil.look()
        await asyncio.wait_for(vigil.certain(), 1)
    assert checks.count == 0


async def test_after_a_stop_nothing_is_certain_until_the_sockets_were_checked(checks: Checks) -> None:
    async with keeping(checks) as vigil:
        time.sleep(ASLEEP_S)  # noqa: ASYNC251 - the process stands still
        assert not vigil.look(), "whoever looks first finds it out"
        waiting = asyncio.create_task(vigil.certain())
        await eventually(lambda: checks.count == 1)
        assert not waiting.done()
        assert not vigil.look()
        checks.go.set()
        await asyncio.wait_for(waiting, 1)
        assert vigil.look()
    assert checks.count == 1


async def test_a_check_that_redis_does_not_answer_is_repeated(checks: Checks) -> None:
    checks.failures = 2
    checks.go.set()
    async with keeping(checks) as vigil:
        time.sleep(ASLEEP_S)  # noqa: ASYNC251
        vigil.look()
        await asyncio.wait_for(vigil.certain(), 5)
    assert checks.count == 3


async def test_the_vigil_finds_a_stop_out_by_itself(checks: Checks) -> None:
    checks.go.set()
    async with keeping(checks):
        time.sleep(ASLEEP_S)  # noqa: ASYNC251
        await eventually(lambda: checks.count == 1)


async def test_who_waits_may_give_up_without_ending_the_check(checks: Checks) -> None:
    async with keeping(checks) as vigil:
        time.sleep(ASLEEP_S)  # noqa: ASYNC251
        vigil.look()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(vigil.certain(), 0.05)
        assert not vigil.look()
        checks.go.set()
        await asyncio.wait_for(vigil.certain(), 1)
        assert vigil.look()
