"""A test that hangs fails, and shows where it hangs."""

import asyncio
import time

import pytest

from tests.support.time_limit import time_limit


@pytest.mark.time_limit(0.5)
async def test_a_hanging_coroutine_is_interrupted_and_shows_its_chain_of_awaits(
    request: pytest.FixtureRequest,
) -> None:
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(waits_for_ever(), name="mine")
    await asyncio.sleep(0)
    hang = pytest.raises(pytest.fail.Exception, match=r"mine: .*waits_for_ever .* > Event\.wait")
    with hang, time_limit(request.node):
        time.sleep(5)  # noqa: ASYNC251 - what blocks an event loop
    task.cancel()


@pytest.mark.time_limit(0.5)
def test_blocked_code_is_interrupted(request: pytest.FixtureRequest) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"longer than 0\.5 s"), time_limit(request.node):
        time.sleep(5)
